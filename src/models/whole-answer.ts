import type { UpstreamResponse } from "../http/client.ts";
import { bufferOf } from "../values/buffer.ts";
import { isJsonType, isObject } from "../values/json.ts";
import { statusOfError } from "./first-content.ts";
import type { Failed } from "./outcome.ts";

/** How answers begin that may be errors: OpenAI's and Anthropic's form. */
const MAY_BE_ERROR = /^[ \t\r\n]*\{[ \t\r\n]*"(?:error"|type"[ \t\r\n]*:[ \t\r\n]*"error")/;
/** Bytes within which that shows: some servers send blanks while a model thinks. */
const BEGINNING = 4096;

/**
 * Tells whether an answer in one piece is none, though its status says that all is well: empty, or nothing but an error, which is told by
 * the status that stands for it. `null`: it is one. `method`: the request's.
 */
export function failureIn({ status, fields }: UpstreamResponse, bytes: Uint8Array, method: string): Failed | null {
  const isJson = isJsonType(fields.mediaType);
  const text = bufferOf(bytes);
  if (status === 200 && method === "POST" && (bytes.length === 0 || (isJson && isBlank(text)))) return "connect";
  if (!isJson || !MAY_BE_ERROR.test(text.toString("latin1", 0, BEGINNING))) return null;
  const value = parsed(text);
  if (!isObject(value) || !Object.keys(value).every((field) => OF_ERRORS.has(field))) return null;
  return isObject(value.error) || (typeof value.error === "string" && value.error !== "") ? statusOfError(value) : null;
}

/** What answers have that are nothing but an error; the last two are Anthropic's. */
const OF_ERRORS: ReadonlySet<string> = new Set(["error", "type", "request_id"]);

const isBlank = (text: Buffer): boolean => text.every((byte) => byte === 32 || byte === 9 || byte === 10 || byte === 13);

function parsed(text: Buffer): unknown {
  try {
    return JSON.parse(text.toString());
  } catch {
    return null;
  }
}
