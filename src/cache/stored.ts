import { keptFields } from "../exchange/headers.ts";
import type { Route } from "../exchange/route.ts";
import type { UpstreamResponse } from "../http/client.ts";
import { Fields, fieldsOf, linesOf } from "../http/fields.ts";
import { date } from "../http/reply.ts";
import type { Reply } from "../http/server.ts";
import { owned } from "./directives.ts";
import type { Lookup } from "./lookup.ts";
import { type Freshness, isUnmodified, partOf } from "./policy.ts";
import type { Entry } from "./store.ts";

/** Holds what is kept of a response's head. */
export type KeptHead = Pick<Entry, "lines" | "head" | "notModifiedHead" | "etag" | "lastModified" | "date">;

/**
 * Gives what is kept of a response's head, which arrived at `wall` milliseconds since 1970. Copies: a field's text is a part of a whole head, and fields one by one would take several
 * times the bytes of their lines.
 */
export function keptHead(allFields: Fields, connection: string, route: Route, wall: number): KeptHead {
  const kept = keptFields(allFields, connection, route, wall);
  const head = owned(kept.head);
  const lines = linesOf(kept.fields);
  const copy = (name: string): string | null => {
    const value = kept.fields.get(name);
    return value === null ? null : owned(value);
  };
  return {
    lines: lines === kept.head ? head : owned(lines),
    head,
    notModifiedHead: owned(kept.notModifiedHead),
    etag: copy("etag"),
    lastModified: copy("last-modified"),
    date: copy("date"),
  };
}

/** What a 304 does not change of a kept response: it is about another body than its own (RFC 9111 §3.2). */
const NOT_RENEWED = new Set(["content-length", "content-encoding", "content-type", "content-range", "transfer-encoding"]);

/** Gives a kept response's fields, brought up to date by those of a 304 (RFC 9111 §4.3.4). */
export function renewedFields(entry: Entry, by: Fields): Fields {
  const fields = new Fields();
  // One without a Date counts as made now (RFC 9110 §6.6.1).
  const isNew = (name: string): boolean => name === "date" || (by.get(name) !== null && !NOT_RENEWED.has(name));
  const before = fieldsOf(entry.lines);
  for (let i = 0; i < before.names.length; i++) {
    const lower = before.lower[i] as string;
    if (!isNew(lower) && lower !== "age") fields.add(before.names[i] as string, lower, before.values[i] as string);
  }
  for (let i = 0; i < by.names.length; i++) {
    const lower = by.lower[i] as string;
    if (isNew(lower)) fields.add(by.names[i] as string, lower, by.values[i] as string);
  }
  return fields;
}

/** Gives the lines that ask whether a kept response is still good (RFC 9111 §4.3.1). */
export function conditionsOf({ etag, lastModified }: Entry): string {
  const tag = etag === null ? "" : `If-None-Match: ${etag}\r\n`;
  return lastModified === null ? tag : `${tag}If-Modified-Since: ${lastModified}\r\n`;
}

/** Tells whether a HEAD speaks of another version than the one that is kept of a GET (RFC 9111 §4.3.5). */
export function isAnotherVersion({ etag, lastModified, body }: Entry, { fields, length }: UpstreamResponse): boolean {
  const differs = (own: string | null, name: string): boolean => fields.get(name) !== null && fields.get(name) !== own;
  return differs(etag, "etag") || differs(lastModified, "last-modified") || (length >= 0 && length !== body?.length);
}

/** Gives the age of a kept response, in milliseconds. `now`: on the clock that never runs backwards. */
export const ageOf = ({ freshness, arrivedAt }: { freshness: Freshness; arrivedAt: number }, now: number): number =>
  freshness.initialAge + (now - arrivedAt);

/** Gives the header line that says what the cache had to do with an answer (RFC 9211). */
export const cacheStatus = (what: string): string => `Cache-Status: sluice; ${what}\r\n`;

/** Gives a kept response as an answer: whole, the part that is asked for, or a 304 when the caller has it already. `what`: for Cache-Status. */
export function replyOf({ exchange, isForPart }: Lookup, entry: Entry, age: number, what: string): Reply {
  const { fields } = exchange.incoming.head;
  exchange.cacheHead = `Age: ${Math.max(0, Math.floor(age / 1000))}\r\n${cacheStatus(what)}`;
  if (isUnmodified(fields, entry.status, entry))
    return { status: 304, reason: "Not Modified", head: entry.notModifiedHead, body: null, length: -1 };
  const { body } = entry;
  if (body === null) return { status: entry.status, reason: entry.reason, head: entry.head, body, length: entry.length };
  const part = entry.status === 200 && isForPart ? partOf(fields, body.length, entry) : null;
  if (part === null) return { status: entry.status, reason: entry.reason, head: entry.head, body, length: body.length };
  if (part === "unsatisfiable")
    return {
      status: 416,
      reason: "Range Not Satisfiable",
      head: `${date()}Content-Range: bytes */${body.length}\r\n`,
      body: new Uint8Array(),
      length: 0,
    };
  const bytes = body.subarray(part.start, part.end);
  const head = `${entry.head}Content-Range: bytes ${part.start}-${part.end - 1}/${body.length}\r\n`;
  return { status: 206, reason: "Partial Content", head, body: bytes, length: bytes.length };
}
