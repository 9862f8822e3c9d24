import type { Answer } from "../exchange/answer.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { Answerer } from "../exchange/line.ts";
import { collect, StreamBody, TooLarge, TooSlow } from "../http/body.ts";
import { isSignIn, maxBodyOf } from "../http/json-bounds.ts";
import { cookieText } from "../http/own-cookies.ts";
import { bodyTooLarge, type Problem, TOO_SLOW } from "../http/problem.ts";
import { INTERNAL } from "../http/refused.ts";
import { date, reasonOf } from "../http/reply.ts";
import type { Reply } from "../http/server.ts";
import type { Browser } from "../sessions/browser.ts";
import { TOOL_FIELD } from "./mcp/server.ts";

export interface AdminAnswererDeps {
  /** Answers a request to the admin API, which speaks in Request and Response. */
  readonly handle: (request: Request, requestId: string, ip: string, browser: Browser) => Promise<Response>;
  /** Tells how a request has come that a browser may have sent. */
  readonly browserOf: (exchange: Exchange) => Browser;
  /** Tells whether a request's fields show an admin token, or the cookie of a session. */
  readonly isKnown: (authorization: string | null, cookie: string | null, browser: Browser) => boolean;
  readonly onFault: (error: unknown, requestId: string) => void;
}

/** Types of answers that are passed on as they come. */
const STREAMS: readonly string[] = ["application/vnd.sqlite3", "text/event-stream"];

/** Hands requests to the admin API. */
export const adminAnswerer =
  (deps: AdminAnswererDeps): Answerer =>
  (exchange) =>
    answer(exchange, deps).then(
      (reply): Answer => ({ kind: "reply", reply }),
      (error: unknown): Answer => ({ kind: "problem", problem: refusalOf(error, exchange, deps) }),
    );

function refusalOf(error: unknown, { id, isOver }: Exchange, { onFault }: AdminAnswererDeps): Problem {
  if (error instanceof TooLarge) return bodyTooLarge(error.max);
  if (error instanceof TooSlow) return TOO_SLOW;
  if (!isOver) onFault(error, id);
  return INTERNAL;
}

async function answer(exchange: Exchange, { handle, browserOf, isKnown }: AdminAnswererDeps): Promise<Reply> {
  const { id, ip, path, query, incoming } = exchange;
  const { head } = incoming;
  const headers = new Headers();
  for (let i = 0; i < head.fields.names.length; i++) {
    const name = head.fields.lower[i] as string;
    if (name !== "content-length" && name !== "transfer-encoding" && name !== "connection")
      headers.append(name, head.fields.values[i] as string);
  }
  headers.set("x-request-id", id);
  // Strangers get their refusal before a byte of their body is kept in memory.
  const max = maxBodyOf(path);
  if (head.contentLength > max) throw new TooLarge(max);
  const browser = browserOf(exchange);
  const isWelcome = isSignIn(head.method, path) || isKnown(head.fields.get("authorization"), cookieText(head.fields), browser);
  const body = incoming.body === null || !isWelcome ? null : await collect(incoming.body, max);
  const hasBody = body !== null && head.method !== "GET" && head.method !== "HEAD";
  const request = new Request(`http://localhost${path}${query}`, {
    method: head.method === "HEAD" ? "GET" : head.method,
    headers,
    ...(hasBody ? { body } : {}),
  });
  const response = await handle(request, id, ip, browser);
  exchange.tool = response.headers.get(TOOL_FIELD);
  let lines = date();
  for (const [name, value] of response.headers) if (!OURS.has(name)) lines += `${name}: ${value}\r\n`;
  const isStream = STREAMS.includes(response.headers.get("content-type") ?? "");
  const answered = isStream && response.body !== null ? new StreamBody(response.body) : await response.bytes();
  return { status: response.status, reason: reasonOf(response.status), head: lines, body: answered, length: -1 };
}

/** Fields that frame the message, those that every answer of Sluice's carries, which are set where answers are written, and what is for the log alone. */
const OURS: ReadonlySet<string> = new Set(["content-length", "transfer-encoding", "x-request-id", TOOL_FIELD]);
