import type { Answer } from "../exchange/answer.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { Answerer } from "../exchange/line.ts";
import { type Body, isWhole } from "../http/body.ts";
import { type Fields, fieldsOf, linesOf } from "../http/fields.ts";
import type { Reply } from "../http/server.ts";
import { EncodedBody, encoded, hasRoom } from "./encoder.ts";
import { codingFor } from "./negotiation.ts";
import type { RouteCompress } from "./route-compress.ts";
import type { Coding } from "./settings.ts";

/** What an answer says of itself that compression reads and changes. */
interface Message {
  readonly status: number;
  readonly fields: Fields;
  /** `null`: there is none, or only its head is asked for. */
  readonly body: Uint8Array | Body | null;
  /** Bytes of the body, or of the one that would be; -1: not known. */
  readonly length: number;
}

/** The same once compressed; `null`: it stays as it was. */
type Changed = Message | null;

/** Fields that say what a body's bytes add up to (RFC 9530, RFC 1864): they would no longer be true. */
const DIGESTS = ["content-digest", "repr-digest", "digest", "content-md5"];
const NO_TRANSFORM = /(?:^|,)\s*no-transform\s*(?:,|$)/i;

/**
 * Wraps what answers a route's requests, so that backends, cache and plug-ins keep whole answers and the caller gets compressed ones where
 * it takes them.
 */
export function compressing(compress: RouteCompress | null, answer: Answerer): Answerer {
  if (compress === null) return answer;
  return (exchange) => {
    const given = answer(exchange);
    return given instanceof Promise ? given.then((known) => compressed(exchange, known, compress)) : compressed(exchange, given, compress);
  };
}

function compressed(exchange: Exchange, answer: Answer, compress: RouteCompress): Answer | Promise<Answer> {
  if (answer.kind === "forwarded" && answer.response.tunnel === null) {
    const { response } = answer;
    const changed = changedBy(exchange, { ...response, fields: response.fields.shared() }, compress);
    const given = (message: Changed): Answer => (message === null ? answer : { kind: "forwarded", response: { ...response, ...message } });
    return changed instanceof Promise ? changed.then(given) : given(changed);
  }
  if (answer.kind === "reply") {
    const { reply } = answer;
    const changed = changedBy(exchange, messageOf(reply), compress);
    const given = (message: Changed): Answer =>
      message === null
        ? answer
        : { kind: "reply", reply: { ...reply, head: linesOf(message.fields), body: message.body, length: message.length } };
    return changed instanceof Promise ? changed.then(given) : given(changed);
  }
  return answer;
}

function messageOf({ status, head, body, length }: Reply): Message {
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  return { status, fields: fieldsOf(head), body: bytes, length: bytes === null ? length : bytes.length };
}

function changedBy(exchange: Exchange, message: Message, compress: RouteCompress): Changed | Promise<Changed> {
  const { head } = exchange.incoming;
  if (message.status === 304) return weakenedLike(head.fields.joined("if-none-match"), message);
  if (!isCompressible(message, head.method, compress)) return null;
  varies(message.fields);
  const takesNone = NO_TRANSFORM.test(head.fields.joined("cache-control") ?? "");
  const coding = takesNone ? null : codingFor(head.fields.joined("accept-encoding"), compress.codings);
  if (coding === null) return message;
  const { body } = message;
  // As it would be with the body, whose size then is not known (RFC 9110 §9.3.2).
  if (body === null || head.method === "HEAD") return encodedHead(message, coding, isWhole(body) ? null : body, -1);
  if (!isWhole(body)) return hasRoom() ? encodedHead(message, coding, new EncodedBody(body, coding), -1) : message;
  const smaller = (bytes: Uint8Array): Message =>
    bytes.length < body.length ? encodedHead(message, coding, bytes, bytes.length) : message;
  const bytes = encoded(body, coding);
  return bytes instanceof Promise ? bytes.then(smaller) : smaller(bytes);
}

/** Tells whether a message may be compressed, whoever asks for it: then its answers differ by Accept-Encoding. */
function isCompressible({ status, fields, body, length }: Message, method: string, { takes, minSize }: RouteCompress): boolean {
  if (status < 200 || status === 204 || status === 205 || status === 206) return false;
  const size = body === null ? (method === "HEAD" ? length : 0) : body.length;
  if (size >= 0 && size < minSize) return false;
  if (!takes(fields.mediaType) || fields.get("content-range") !== null) return false;
  const coding = fields.joined("content-encoding")?.trim().toLowerCase() ?? "";
  if (coding !== "" && coding !== "identity") return false;
  if (NO_TRANSFORM.test(fields.joined("cache-control") ?? "")) return false;
  return !DIGESTS.some((name) => fields.get(name) !== null);
}

/** Says that the answer depends on Accept-Encoding (RFC 9110 §12.5.5). */
function varies(fields: Fields): void {
  const vary = fields.joined("vary");
  if (vary?.split(",").some((name) => ["*", "accept-encoding"].includes(name.trim().toLowerCase())) !== true)
    fields.add("Vary", "vary", "Accept-Encoding");
}

/** Makes the head that fits a compressed body. Its parts can't be asked for, and its tag is a weak one: other bytes mean the same (RFC 9110 §8.8.1). */
function encodedHead(message: Message, coding: Coding, body: Message["body"], length: number): Message {
  const { fields } = message;
  fields.set("Content-Encoding", "content-encoding", coding);
  fields.remove("content-length");
  fields.remove("accept-ranges");
  const tag = fields.get("etag");
  if (tag !== null) fields.set("ETag", "etag", weak(tag));
  return { status: message.status, fields, body, length };
}

const weak = (tag: string): string => (tag.startsWith("W/") ? tag : `W/${tag}`);

/** Gives a 304 the weak tag that its caller has the answer under, by which it finds that answer again (RFC 9111 §4.3.4), and that answer's Vary (RFC 9110 §15.4.5). */
function weakenedLike(known: string | null, { status, fields, body, length }: Message): Changed {
  const tag = fields.get("etag");
  if (tag === null || known === null || tag.startsWith("W/")) return null;
  if (!known.split(",").some((each) => each.trim() === `W/${tag}`)) return null;
  fields.set("ETag", "etag", weak(tag));
  varies(fields);
  return { status, fields, body, length };
}
