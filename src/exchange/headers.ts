import type { UpstreamResponse } from "../http/client.ts";
import { Fields, fieldsOf, linesOf } from "../http/fields.ts";
import type { RequestHead } from "../http/head.ts";
import { inOnePiece } from "../http/latin1.ts";
import { HOP_BY_HOP } from "../http/name-filter.ts";
import type { Target } from "../upstreams/upstream.ts";
import { inThousandths } from "../values/thousandths.ts";
import type { Caller, Consumer } from "./caller.ts";
import type { Arrival, Exchange } from "./exchange.ts";
import type { Route } from "./route.ts";

/** Fields that are not passed on in a response: this hop's, those that frame the message, and those that Sluice sets. */
export const NOT_RETURNED: ReadonlySet<string> = new Set([...HOP_BY_HOP, "content-length", "x-request-id", "x-process-time"]);
/** Fields of limits that are not passed on in a limited response: Sluice's own stand there, and the backend's count something else. */
export const LIMIT_FIELDS: ReadonlySet<string> = new Set([
  "x-ratelimit-limit",
  "x-ratelimit-remaining",
  "x-ratelimit-reset",
  "ratelimit",
  "ratelimit-policy",
]);

/** Finds `trailers` among the transfer codings of a TE field. */
const TRAILERS = /(^|,)[ \t]*trailers[ \t]*(,|$)/i;

/** Fields that make a request conditional (RFC 9110 §13.1), apart from If-Range. */
const CONDITIONS = new Set(["if-none-match", "if-modified-since", "if-match", "if-unmodified-since"]);

/**
 * Writes the head of the request for `target`, with its empty line. `conditions`: header lines in place of the caller's own conditions;
 * `null` leaves those.
 */
export function requestHead(
  exchange: Exchange<Arrival>,
  route: Route,
  target: Target,
  path: string,
  conditions: string | null = null,
): string {
  const { head, body, ip: peer, isTls } = exchange.incoming;
  const { fields } = head;
  const { lower } = fields;
  const isTrusted = exchange.snapshot.trustedProxies.has(peer);
  const rules = route.requestRules;
  const { requestNames } = route;
  const host = route.preservesHost && head.host !== "" ? head.host : target.host;
  let text = `${head.method} ${path}${exchange.query} HTTP/1.1\r\n${route.setsHost ? "" : `Host: ${host}\r\n`}${rules.lines}`;
  const named = namedByConnection(head.connection);
  const { credential, prompt, trace } = exchange;
  /** The first of the fields that go on next to each other: their lines are written in one piece. */
  let first = 0;
  for (let i = 0; i < lower.length; i++) {
    const name = lower[i] as string;
    const passage = requestNames.of(name);
    const passes = passage === "always" || (passage === "trusted" && isTrusted);
    // What a response cost, and which tools it lists, can't be read from a compressed one.
    const isReplaced = passes && name === "accept-encoding" && (route.usage !== null || route.mcp !== null);
    if (passes && !isReplaced && !isLeftOut(name, exchange, named, conditions !== null)) continue;
    if (first < i) text += fields.lines(first, i);
    if (isReplaced) text += "Accept-Encoding: identity\r\n";
    first = i + 1;
  }
  if (first < lower.length) text += fields.lines(first, lower.length);
  if (credential !== null) text += credential.line;
  if (trace !== null && !rules.dropped.has("traceparent")) text += `traceparent: ${trace.header}\r\n`;
  if (prompt !== null && prompt.length >= 0 && body !== null) text += `Content-Length: ${prompt.length}\r\n`;
  else if (body !== null)
    text +=
      head.framing === "chunked" || exchange.grpc !== null ? "Transfer-Encoding: chunked\r\n" : `Content-Length: ${head.contentLength}\r\n`;
  else if (head.contentLength === 0) text += "Content-Length: 0\r\n";
  if (named !== null || head.framing === "chunked") text += trailerLines(head, named, prompt === null);
  if (head.upgrade === "websocket") text += "Connection: Upgrade\r\nUpgrade: websocket\r\n";

  const proto = isTls ? "https" : "http";
  text += `X-Forwarded-For: ${trail(fields, "x-forwarded-for", peer, isTrusted)}\r\n`;
  text += `X-Forwarded-Proto: ${trail(fields, "x-forwarded-proto", proto, isTrusted)}\r\n`;
  if (head.host !== "" || isTrusted) text += `X-Forwarded-Host: ${trail(fields, "x-forwarded-host", head.host, isTrusted)}\r\n`;
  text += `X-Request-ID: ${exchange.id}\r\n`;
  if (exchange.attempts > 1) text += `X-Retry-Count: ${exchange.attempts - 1}\r\n`;
  if (conditions !== null) text += conditions;
  text += callerHead(exchange.caller, route.overruledClaims);
  if (exchange.granted !== null) text += linesOf(exchange.granted);
  return `${text}\r\n`;
}

/** Tells whether a request's field that its route lets through is left out all the same. `isConditional`: others stand in place of its conditions. */
function isLeftOut(name: string, exchange: Exchange<Arrival>, named: ReadonlySet<string> | null, isConditional: boolean): boolean {
  const { trace } = exchange;
  if (named?.has(name) || (name === "authorization" && exchange.dropsAuthorization)) return true;
  if (isConditional && CONDITIONS.has(name)) return true;
  return trace !== null && (name === "traceparent" || (name === "tracestate" && trace.parentId === null));
}

const knownConsumers = new WeakMap<Consumer, { readonly tier: string; readonly lines: string }>();

/** Gives the lines of a consumer, made once for its tier: lines in one piece are written faster than the many parts they are made of. */
function consumerLines(consumer: Consumer): string {
  const { id, tier } = consumer;
  let known = knownConsumers.get(consumer);
  if (known === undefined || known.tier !== tier) {
    // No rule lets a name hold anything else; one that came past all rules must not become a line of its own.
    const safe = tier.replace(/[^!-~]/g, "");
    known = { tier, lines: inOnePiece(`X-Consumer-ID: ${id}\r\nX-Consumer-Tier: ${safe}\r\n`) };
    knownConsumers.set(consumer, known);
  }
  return known.lines;
}

/**
 * Writes the header lines that tell a backend who calls. `overruled`: lower-case names of fields whose claims are left out, since somebody
 * else says what stands there; `null`: none.
 */
export function callerHead({ via, consumer, lines }: Caller, overruled: ReadonlySet<string> | null = null): string {
  const text = via === "none" ? "" : consumerLines(consumer);
  if (lines === undefined) return text;
  return text + (overruled === null ? lines : linesOf(fieldsOf(lines).without(...overruled)));
}

/** Gives what a backend is told of a caller in a field of this lower-case name; `null` where it is told nothing. */
export const claimOf = ({ lines = "" }: Caller, name: string): string | null => fieldsOf(lines).get(name);

/**
 * Writes the lines of a request about trailers: that its sender takes them, which stands in Connection as well (RFC 9110 §10.1.4), and so
 * does this hop; and which follow the request, where it goes on in the chunks it came in.
 */
function trailerLines({ fields, framing, upgrade }: RequestHead, named: ReadonlySet<string> | null, isAsItCame: boolean): string {
  const takes = upgrade === "" && named?.has("te") === true && TRAILERS.test(fields.joined("te") ?? "");
  const announced = framing === "chunked" && isAsItCame ? fields.joined("trailer") : null;
  return (takes ? "TE: trailers\r\nConnection: TE\r\n" : "") + (announced === null ? "" : `Trailer: ${announced}\r\n`);
}

/** Writes the header lines of an interim response for the client (RFC 9110 §15.2). */
export function interimHead(route: Route, { names, lower, values }: Fields, connection: string): string {
  const named = namedByConnection(connection);
  let text = "";
  for (let i = 0; i < names.length; i++) {
    const name = lower[i] as string;
    if (!NOT_RETURNED.has(name) && !named?.has(name) && !route.responseRules.dropped.has(name)) text += `${names[i]}: ${values[i]}\r\n`;
  }
  return text;
}

/** Tells whether the client takes trailers. */
export function takesTrailers({ fields, minor }: RequestHead): boolean {
  // HTTP/1.0 knows no chunks for them to follow.
  return minor === 1 && TRAILERS.test(fields.joined("te") ?? "");
}

/** Writes the response's header lines for the client, without those that frame the message. */
export function responseHead(exchange: Exchange, route: Route, response: UpstreamResponse): string {
  const { fields } = response;
  const { lower, values } = fields;
  const named = namedByConnection(response.connection);
  const isLimited = exchange.limitHead !== "";
  const { dropped } = route.responseRules;
  let text = "";
  let first = 0;
  for (let i = 0; i < lower.length; i++) {
    const name = lower[i] as string;
    if (!NOT_RETURNED.has(name) && !named?.has(name) && !(isLimited && LIMIT_FIELDS.has(name)) && !dropped.has(name)) continue;
    if (first < i) text += fields.lines(first, i);
    // Providers' support asks for it: it comes under another name, since ours has this one.
    if (name === "x-request-id" && values[i] !== exchange.id && !dropped.has(name)) text += `X-Upstream-Request-ID: ${values[i]}\r\n`;
    first = i + 1;
  }
  if (first < lower.length) text += fields.lines(first, lower.length);
  if (exchange.incoming.head.minor === 1 && isStreamed(response)) {
    const announced = fields.joined("trailer");
    if (announced !== null) text += `Trailer: ${announced}\r\n`;
  }
  return text;
}

/** Tells whether a response goes on in chunks, which trailers may follow. */
const isStreamed = ({ body, fields }: UpstreamResponse): boolean =>
  body !== null && !(body instanceof Uint8Array) && body.length < 0 && fields.get("transfer-encoding") !== null;

/** Fields that go with a 304 (RFC 9110 §15.4.5). */
const NOT_MODIFIED = new Set(["cache-control", "content-location", "date", "etag", "expires", "last-modified", "vary"]);

/**
 * Gives the fields of a response that the cache stores: without those of this hop, those that are made anew for each answer, and the
 * backend's own limits, which were another caller's. `arrivedAt` in milliseconds since 1970, for a response without a Date (RFC 9110
 * §6.6.1).
 */
export function keptFields(
  fields: Fields,
  connection: string,
  route: Route,
  arrivedAt: number,
): { fields: Fields; head: string; notModifiedHead: string } {
  const named = namedByConnection(connection);
  const kept = new Fields();
  let head = "";
  let notModifiedHead = "";
  const add = (name: string, lower: string, value: string): void => {
    kept.add(name, lower, value);
    if (lower === "age" || route.responseRules.dropped.has(lower)) return;
    head += `${name}: ${value}\r\n`;
    if (NOT_MODIFIED.has(lower)) notModifiedHead += `${name}: ${value}\r\n`;
  };
  for (let i = 0; i < fields.names.length; i++) {
    const lower = fields.lower[i] as string;
    if (NOT_RETURNED.has(lower) || LIMIT_FIELDS.has(lower) || named?.has(lower)) continue;
    add(fields.names[i] as string, lower, fields.values[i] as string);
  }
  if (kept.get("date") === null) add("Date", "date", new Date(arrivedAt).toUTCString());
  return { fields: kept, head, notModifiedHead };
}

/** Writes the header lines that every response of Sluice carries. `elapsed` in milliseconds. */
export const ownHead = (exchange: Exchange, elapsed: number): string =>
  `X-Request-ID: ${exchange.id}\r\nX-Process-Time: ${inThousandths(elapsed)}\r\n${exchange.limitHead}${exchange.modelHead}${exchange.cacheHead}${exchange.routeHead}`;

/** Gives a field that each proxy adds to: a trusted proxy's value with our part behind it, or our part alone. */
function trail(fields: Fields, name: string, own: string, isTrusted: boolean): string {
  const before = isTrusted ? fields.joined(name) : null;
  return before === null ? own : own === "" ? before : `${before}, ${own}`;
}

/** Gives the names of fields in Connection, which are for this hop only; `null` for the values that nearly all requests have. */
export function namedByConnection(connection: string): Set<string> | null {
  if (connection === "" || connection === "keep-alive" || connection === "close" || connection === "upgrade") return null;
  return new Set(connection.split(",").map((name) => name.trim()));
}
