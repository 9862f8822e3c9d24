/** Says how a caller speaks gRPC: gRPC itself, or what browsers can (gRPC-Web), in bytes or in base64. */
export type GrpcKind = "grpc" | "web" | "web-text";

/** Holds what is known of a gRPC call from its head. */
export interface GrpcCall {
  readonly kind: GrpcKind;
  /** Milliseconds that the call may take, as its caller has said; `null`: as long as it takes. */
  readonly timeout: number | null;
}

const KINDS = /^application\/grpc(-web-text|-web)?(?:[+;\s]|$)/i;

/** Tells how the sender of this Content-Type speaks gRPC; `null`: it does not. */
export function kindOf(contentType: string | null): GrpcKind | null {
  // Nearly all requests speak none.
  if (contentType === null || contentType.length < GRPC_LENGTH) return null;
  const found = KINDS.exec(contentType);
  if (found === null) return null;
  const [, web] = found;
  return web === undefined ? "grpc" : web.toLowerCase() === "-web" ? "web" : "web-text";
}

const GRPC_LENGTH = "application/grpc".length;

const TIMEOUT = /^(\d{1,8})([HMSmun])$/;

/** The milliseconds of each unit of `grpc-timeout`. */
const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/**
 * Reads `grpc-timeout` in milliseconds (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md); `null` when there is none, or it is
 * malformed.
 *
 * @example
 * timeoutOf("150m"); // 150
 */
export function timeoutOf(value: string | null): number | null {
  if (value === null) return null;
  const found = TIMEOUT.exec(value);
  if (found === null) return null;
  return Number(found[1]) * (UNITS[found[2] as string] as number);
}
