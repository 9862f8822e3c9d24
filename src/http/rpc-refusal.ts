import type { RawNumber } from "../values/json.ts";
import { withoutKeys } from "../values/redact.ts";
import { type Problem, problemBody } from "./problem.ts";
import { date, reasonOf } from "./reply.ts";
import type { Reply } from "./server.ts";

/** Says as what a refusal is told in JSON-RPC 2.0. */
export interface RpcTold {
  /** The error's code. */
  readonly code: number;
  /** What the error tells besides; left out: the refusal's code and the request's id. */
  readonly data?: unknown;
  /** The status in place of the refusal's own: clients read a result's errors from a 200 alone. Left out: its own. */
  readonly status?: number;
}

/** Holds what an answer to a request is written with. */
export interface RpcAsked {
  /** The message's id; `null`: it is not known. */
  readonly id: string | number | RawNumber | null;
  readonly requestId: string;
  /** The media types that the client takes; `null`: it does not say. */
  readonly accept: string | null;
  /** See `typesFrom`. */
  readonly types: string;
}

/** The code of an internal error (JSON-RPC 2.0, section 5.1). */
const INTERNAL_ERROR = -32603;

/**
 * Gives the answer by which a client of JSON-RPC is told of a refusal. What the protocol itself says of a message is told as it says it,
 * with nothing besides: official clients take no other. Any other problem stays one, and has the members of an error beside its own; its
 * error's code is the status, which the protocol leaves to everybody (Model Context Protocol 2026-07-28, "Error Codes"). It is told as
 * JSON to who takes that and no problems: some clients look into nothing else. `head`: further header lines, the request's id among them.
 */
export function rpcRefusalReply(refusal: Problem, { id, requestId, accept, types }: RpcAsked, head: string): Reply {
  const { rpc, status, members, code } = refusal;
  let lines = `Cache-Control: no-store\r\n${date()}${head}`;
  for (const [name, value] of refusal.headers) lines += `${name}: ${value}\r\n`;
  const asked = id === null ? {} : { id };
  if (rpc === undefined) {
    const error = { code: status < 500 ? status : INTERNAL_ERROR, message: members.detail, data: { code, requestId } };
    const body = problemBody({ ...refusal, members: { ...members, jsonrpc: "2.0", ...asked, error } }, requestId, types);
    const type = accept?.includes("application/json") === true && !accept.includes("application/problem+json") ? "json" : "problem+json";
    return { status, reason: reasonOf(status), head: `Content-Type: application/${type}\r\n${lines}`, body, length: -1 };
  }
  const told = rpc.status ?? status;
  const error = { code: rpc.code, message: members.detail, data: rpc.data ?? { code, requestId } };
  const body = withoutKeys(JSON.stringify({ jsonrpc: "2.0", ...asked, error }));
  return { status: told, reason: reasonOf(told), head: `Content-Type: application/json\r\n${lines}`, body, length: -1 };
}
