import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { callerHead, namedByConnection } from "../exchange/headers.ts";
import { UNKNOWN_ADDRESS } from "../http/client-ip.ts";
import type { RouteAuthorize } from "./route-authorize.ts";

/** Gives the last of the values in a field that proxies add to: the one that the peer itself has set. */
const lastOf = (value: string): string => value.slice(value.lastIndexOf(",") + 1).trim();

/**
 * Writes what a service is asked about a request: all that may decide, without what differs from one request to the next. No
 * X-Forwarded-* is the caller's own: a trusted proxy's Host and Proto are believed, as on the way to a backend.
 */
export function questionOf(exchange: Exchange<Arrival>, { opening, headers }: RouteAuthorize): string {
  const { caller, incoming, ip, path, query, snapshot, dropsAuthorization } = exchange;
  const { head } = incoming;
  const { names, lower, values } = head.fields;
  const isTrusted = snapshot.trustedProxies.has(incoming.ip);
  const told = (name: string, own: string): string => lastOf((isTrusted && head.fields.joined(name)) || own);
  const host = told("x-forwarded-host", head.host);
  let text = `${opening}X-Forwarded-Method: ${head.method}\r\nX-Forwarded-Proto: ${told("x-forwarded-proto", incoming.isTls ? "https" : "http")}\r\n`;
  if (host !== "") text += `X-Forwarded-Host: ${host}\r\n`;
  text += `X-Forwarded-Uri: ${path}${query}\r\n`;
  if (ip !== UNKNOWN_ADDRESS) text += `X-Forwarded-For: ${ip}\r\n`;
  text += callerHead(caller);
  const named = namedByConnection(head.connection);
  for (let i = 0; i < names.length; i++) {
    const name = lower[i] as string;
    // What the backend does not get as the caller's own decides nothing either.
    if (!headers.has(name) || named?.has(name) || (name === "authorization" && dropsAuthorization)) continue;
    text += `${names[i]}: ${values[i]}\r\n`;
  }
  return text;
}

/** Writes the head of a question, with its empty line: what is asked, and what tells requests apart in logs and traces. */
export const headOf = (question: string, { id, trace }: Exchange<Arrival>): string =>
  `${question}X-Request-ID: ${id}\r\n${trace === null ? "" : `traceparent: ${trace.header}\r\n`}\r\n`;

/**
 * Gives what the answer to a question is kept under: the hash of all that was asked, by whom, and on which route. Callers who are told
 * apart by their credential alone have keys of their own.
 */
export const keyOf = (question: string, { scope }: RouteAuthorize, { caller }: Exchange<Arrival>): string =>
  // No line holds a line break: no two requests write the same text by different parts of it.
  new Bun.CryptoHasher("sha256").update(`${scope}\n${caller.via} ${caller.id}\n${question}`).digest("base64");
