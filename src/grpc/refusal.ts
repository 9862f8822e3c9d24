import type { Problem } from "../http/problem.ts";
import { date } from "../http/reply.ts";
import type { Reply } from "../http/server.ts";
import { withoutKeys } from "../values/redact.ts";
import type { GrpcKind } from "./call.ts";
import { encodeMessage } from "./message.ts";
import { bytesField, message, numberField } from "./protobuf.ts";
import { type GrpcStatus, statusOfRefusal } from "./status.ts";

/** The domain of the reasons in ErrorInfo. */
const DOMAIN = "sluice";

/** The media type of an answer to each kind of caller. */
export const ANSWER_TYPES: Readonly<Record<GrpcKind, string>> = {
  grpc: "application/grpc",
  web: "application/grpc-web+proto",
  "web-text": "application/grpc-web-text+proto",
};

/**
 * Makes the answer of a refusal to a caller of gRPC: a status without a message ("Trailers-Only"). What a problem says by its members stands in
 * the details, as the richer error model has it. `head`: further header lines, the request's id among them.
 */
export function grpcRefusal(refusal: Problem, requestId: string, kind: GrpcKind, head: string): Reply {
  const status = statusOfRefusal(refusal);
  const detail = withoutKeys(String(refusal.members.detail ?? refusal.members.title ?? ""));
  const seconds = Number(refusal.members.retryAfter ?? 0);
  let lines = `Content-Type: ${ANSWER_TYPES[kind]}\r\n${date()}${head}`;
  for (const [name, value] of refusal.headers) if (name !== "Allow") lines += `${name}: ${value}\r\n`;
  lines += `grpc-status: ${status}\r\ngrpc-message: ${encodeMessage(detail)}\r\n`;
  // Clients with a retry policy obey it (https://github.com/grpc/proposal/blob/master/A6-client-retries.md).
  if (seconds > 0) lines += `grpc-retry-pushback-ms: ${seconds * 1000}\r\n`;
  lines += `grpc-status-details-bin: ${details(status, detail, refusal.code, requestId, seconds)}\r\n`;
  return { status: 200, reason: "OK", head: lines, body: null, length: -1 };
}

/** Writes a google.rpc.Status with ErrorInfo and, where the caller may come again, RetryInfo (google/rpc/error_details.proto). */
function details(status: GrpcStatus, detail: string, code: string, requestId: string, seconds: number): string {
  const any = (type: string, value: Uint8Array): Uint8Array =>
    message(bytesField(1, `type.googleapis.com/google.rpc.${type}`), bytesField(2, value));
  const entry = message(bytesField(1, "requestId"), bytesField(2, requestId));
  const info = any("ErrorInfo", message(bytesField(1, code), bytesField(2, DOMAIN), bytesField(3, entry)));
  const retry = seconds > 0 ? bytesField(3, any("RetryInfo", bytesField(1, numberField(1, seconds)))) : new Uint8Array();
  const text = message(numberField(1, status), bytesField(2, detail), bytesField(3, info), retry);
  return Buffer.from(text).toString("base64").replace(/=+$/, "");
}
