import type { Problem } from "../http/problem.ts";

/** The statuses of gRPC by their number (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md). */
export const GRPC_STATUSES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;
export type GrpcStatusName = (typeof GRPC_STATUSES)[number];

/** Holds the number of a status. */
export type GrpcStatus = number;

/** Gives the number of a status. */
export const statusOf = (name: GrpcStatusName): GrpcStatus => GRPC_STATUSES.indexOf(name);

const UNKNOWN = statusOf("UNKNOWN");

/** Gives a status's name; of a number that is none, UNKNOWN, as clients take it. */
export const nameOf = (status: GrpcStatus): GrpcStatusName => GRPC_STATUSES[status] ?? "UNKNOWN";

/** Reads the value of a `grpc-status` field; `null`: there is none. What is no number is UNKNOWN. */
export function readStatus(value: string | null): GrpcStatus | null {
  if (value === null) return null;
  return /^\d{1,3}$/.test(value) ? Number(value) : UNKNOWN;
}

/** The HTTP statuses that stand for statuses of gRPC, by their number (google/rpc/code.proto). */
const HTTP_STATUSES: readonly number[] = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];

/** Gives the HTTP status that stands for a status of gRPC: by it calls are counted and judged as other requests are. */
export const httpStatusOf = (status: GrpcStatus): number => HTTP_STATUSES[status] ?? 500;

/** Gives the status that a client takes an answer of HTTP for that has none (https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md). */
export function statusOfHttp(status: number): GrpcStatus {
  switch (status) {
    case 400:
      return statusOf("INTERNAL");
    case 401:
      return statusOf("UNAUTHENTICATED");
    case 403:
      return statusOf("PERMISSION_DENIED");
    case 404:
      return statusOf("UNIMPLEMENTED");
    case 429:
    case 502:
    case 503:
    case 504:
      return statusOf("UNAVAILABLE");
    // The caller has left.
    case 499:
      return statusOf("CANCELLED");
    default:
      return UNKNOWN;
  }
}

/** The statuses that Sluice's own refusals have, by their HTTP status; a refusal knows better than an unknown proxy's answer. */
const REFUSALS: ReadonlyMap<number, GrpcStatusName> = new Map([
  [400, "INVALID_ARGUMENT"],
  [401, "UNAUTHENTICATED"],
  [403, "PERMISSION_DENIED"],
  [404, "UNIMPLEMENTED"],
  [405, "UNIMPLEMENTED"],
  [408, "DEADLINE_EXCEEDED"],
  [409, "ABORTED"],
  [412, "FAILED_PRECONDITION"],
  [413, "RESOURCE_EXHAUSTED"],
  [415, "UNIMPLEMENTED"],
  [417, "INVALID_ARGUMENT"],
  [422, "INVALID_ARGUMENT"],
  [429, "RESOURCE_EXHAUSTED"],
  [431, "RESOURCE_EXHAUSTED"],
  [499, "CANCELLED"],
  [500, "INTERNAL"],
  [501, "UNIMPLEMENTED"],
  [502, "UNAVAILABLE"],
  [503, "UNAVAILABLE"],
  [504, "DEADLINE_EXCEEDED"],
  [505, "UNIMPLEMENTED"],
]);

/** Gives the status that tells a caller of gRPC of a refusal. */
export const statusOfRefusal = ({ status }: Pick<Problem, "status">): GrpcStatus => statusOf(REFUSALS.get(status) ?? "UNKNOWN");
