import { type Problem, problemBody } from "./problem.ts";
import type { Reply } from "./server.ts";

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  201: "Created",
  202: "Accepted",
  204: "No Content",
  304: "Not Modified",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  412: "Precondition Failed",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  417: "Expectation Failed",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

export const reasonOf = (status: number): string => REASONS[status] ?? "";

let dateLine = "";
let dateOf = 0;

/** Gives the Date line, made anew once a second: Sluice's own answers carry one (RFC 9110 §6.6.1), a backend's keep theirs. */
export function date(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateOf) {
    dateOf = second;
    dateLine = `Date: ${new Date(second * 1000).toUTCString()}\r\n`;
  }
  return dateLine;
}

/** Makes an answer of a problem (RFC 9457). `types`: see `typesFrom`; `head`: further header lines, the request's id among them. */
export function problemReply(refusal: Problem, requestId: string, types: string, head: string): Reply {
  let lines = `Content-Type: application/problem+json\r\nCache-Control: no-store\r\n${date()}${head}`;
  for (const [name, value] of refusal.headers) lines += `${name}: ${value}\r\n`;
  return {
    status: refusal.status,
    reason: reasonOf(refusal.status),
    head: lines,
    body: problemBody(refusal, requestId, types),
    length: -1,
  };
}

/** Makes a small JSON answer. */
export const jsonReply = (status: number, value: unknown, head: string): Reply => ({
  status,
  reason: reasonOf(status),
  head: `Content-Type: application/json\r\n${date()}${head}`,
  body: JSON.stringify(value),
  length: -1,
});
