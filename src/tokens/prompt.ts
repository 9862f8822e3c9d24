import { type Body, WholeBody } from "../http/body.ts";
import { UpstreamFailure } from "../http/client.ts";
import { HeldBody } from "../http/held-body.ts";
import { bufferOf } from "../values/buffer.ts";
import { isJsonType, isObject, parseExactly } from "../values/json.ts";
import { fieldAt } from "./field-at.ts";
import { formOf } from "./form.ts";

/** Bodies that are not JSON are kept up to this size, so that they can be sent again with another key; larger ones go through as they come. In bytes. */
const MAX_KEPT_PLAIN = 1_048_576;
/** JSON is read up to this size: pictures and sounds stand in it as text. In bytes. */
export const MAX_READ = 16_777_216;
/** What all requests together may have under way of bodies that are larger than `MAX_KEPT_PLAIN`; beyond it they go through unread. In bytes. */
const MAX_READ_AT_ONCE = 134_217_728;
/** Bytes of a text per token, as providers of language models reckon. */
export const BYTES_PER_TOKEN = 4;

let readAtOnce = 0;

/** The interfaces of language models whose requests and answers are told apart. */
export type ModelApi = "chat" | "responses" | "messages" | "embeddings" | "images" | "audio" | "other";

/** Holds a request's body, and what it will probably cost. */
export interface Prompt {
  readonly body: Body | null;
  /** Bytes; -1 when not known, and then the body is chunked. */
  readonly length: number;
  /** Whether it is JSON that was read: only then the numbers below say something, but for those of a form that names its model. */
  readonly isRead: boolean;
  /** True when it was not read since too much of other requests' bodies was under way: a moment later it may be. */
  readonly isCrowdedOut: boolean;
  /** Tokens of the request itself; of a form, those of its texts. */
  readonly input: number;
  /** Tokens that it allows the answer to have; 0 when it does not say. */
  readonly output: number;
  /** True when the request says itself how many tokens the answer may have (`max_tokens`, or another of its names). */
  readonly hasLimit: boolean;
  /** The number of answers that it asks for (`n`), at least 1. */
  readonly answers: number;
  /** The model that it names; `null`: none, or it could not be read. */
  readonly model: string | null;
  /** The bytes of the value of "model", quotes included, in `bytes`; `null`: none was looked for, or there is none. */
  readonly modelAt: { readonly from: number; readonly to: number } | null;
  /** True when it asks for a stream. */
  readonly isStream: boolean;
  /** True when the answer may come after the one to this request, which then does not say what it costs (OpenAI's "background"). */
  readonly isDeferred: boolean;
  /** True when it asks the provider to keep parts of it, which may cost more. */
  readonly writesCache: boolean;
  /** The interface that it speaks, as its path and its body tell. */
  readonly api: ModelApi;
  /** The bytes as they are sent; `null` where they were not read. */
  readonly bytes: Uint8Array | null;
  /** Whether it was made to ask for the usage of its stream, which the caller did not ask for. */
  readonly asksForUsage: boolean;
  /** Bytes of it that count towards what all requests may have under way, until it is let go. */
  weight: number;
}

/** Lets the body go when the exchange is over: other bodies may take this one's place. A second call does nothing. */
export function letGo(prompt: Prompt): void {
  readAtOnce -= prompt.weight;
  prompt.weight = 0;
}

/** Says of a body that was not read what its path tells. */
export const unread = (body: Body | null, length: number, path: string): Prompt => ({
  body,
  length,
  isRead: false,
  isCrowdedOut: false,
  input: 0,
  output: 0,
  hasLimit: false,
  answers: 1,
  model: null,
  modelAt: null,
  isStream: false,
  isDeferred: false,
  writesCache: false,
  api: apiOf(path, null),
  bytes: null,
  asksForUsage: false,
  weight: 0,
});

/** The ends of paths by which interfaces are known, as servers may read them; Anthropic's `messages/count_tokens`, which costs nothing, is none of them. */
const ENDS: readonly (readonly [end: RegExp, api: ModelApi])[] = [
  [/\/completions\/*$/i, "chat"],
  [/\/responses\/*$/i, "responses"],
  [/\/messages\/*$/i, "messages"],
  [/\/embeddings\/*$/i, "embeddings"],
  [/\/images\/[a-z]+\/*$/i, "images"],
  [/\/audio\/[a-z]+\/*$/i, "audio"],
];

/** Tells which interface a request speaks: by the end of its path, else by what its body has. */
function apiOf(path: string, request: Record<string, unknown> | null): ModelApi {
  for (const [end, api] of ENDS) if (end.test(path)) return api;
  return Array.isArray(request?.messages) ? (request.anthropic_version === undefined ? "chat" : "messages") : "other";
}

/**
 * Reads a request's body to see what it will cost: at once, where it came with its head. Rejects when the body breaks off. `length`: what
 * Content-Length says, or -1.
 */
export function readPrompt(body: Body | null, length: number, hints: PromptHints): Prompt | Promise<Prompt> {
  const { path, mediaType } = hints;
  if (body === null) return { ...unread(body, 0, path), isRead: true };
  const isJson = isJsonType(mediaType);
  const isForm = hints.form !== null && mediaType === FORM;
  const isReadable = isJson || isForm;
  const mayRead = isReadable && readAtOnce < MAX_READ_AT_ONCE;
  const isCrowded = isReadable && !mayRead && length <= hints.max;
  const max = mayRead ? hints.max : MAX_KEPT_PLAIN;
  if (length > max) return { ...unread(body, length, path), isCrowdedOut: isCrowded };
  // How large a chunked one is shows at its end.
  const reserved = length >= 0 && length <= MAX_KEPT_PLAIN ? 0 : length < 0 && mayRead ? hints.max : Math.max(0, length);
  readAtOnce += reserved;
  const held = new HeldBody(body, max);
  if (held.ready === null) return readLater(held, reserved, length, hints, isCrowded);
  readAtOnce -= reserved;
  return ofBytes(held.ready, hints);
}

/** Waits for a body for which `reserved` bytes are put aside. `isCrowded`: there was no room for more than is kept of any. */
async function readLater(held: HeldBody, reserved: number, length: number, hints: PromptHints, isCrowded: boolean): Promise<Prompt> {
  let bytes: Uint8Array | null;
  try {
    bytes = await held.whole;
  } catch (error) {
    throw new UpstreamFailure("request", "the request's body broke off", false, error as Error);
  } finally {
    readAtOnce -= reserved;
  }
  return bytes === null ? { ...unread(held, length, hints.path), isCrowdedOut: isCrowded } : ofBytes(bytes, hints);
}

function ofBytes(bytes: Uint8Array, hints: PromptHints): Prompt {
  const { path, mediaType, form } = hints;
  const weight = bytes.length > MAX_KEPT_PLAIN ? bytes.length : 0;
  readAtOnce += weight;
  if (form !== null && mediaType === FORM) return ofForm(bytes, weight, formOf(bytes, form), path);
  const value = isJsonType(mediaType) || beginsAsObject(bytes) ? parsed(bytes) : null;
  if (value === null) return { ...unread(new WholeBody(bytes), bytes.length, path), bytes, weight };
  return ofJson(bytes, weight, value, hints);
}

const FORM = "multipart/form-data";

/** Says what a request costs whose fields stand in a form, as those do that bring a file along. */
function ofForm(bytes: Uint8Array, weight: number, form: ReadonlyMap<string, readonly string[]> | null, path: string): Prompt {
  const prompt = { ...unread(new WholeBody(bytes), bytes.length, path), bytes, weight };
  if (form === null) return prompt;
  // Who reads the first of two, and who the last, is not known.
  const [model = "", ...more] = form.get("model") ?? [];
  const answers = Number(form.get("n")?.[0]);
  return {
    ...prompt,
    input: Math.ceil([...form.values()].flat().reduce((sum, text) => sum + Buffer.byteLength(text), 0) / BYTES_PER_TOKEN),
    answers: answersOf({ n: answers }),
    model: model === "" || more.length > 0 ? null : model,
    isStream: form.get("stream")?.[0] === "true",
  };
}

function ofJson(bytes: Uint8Array, weight: number, value: Record<string, unknown>, hints: PromptHints): Prompt {
  const asksForUsage = hints.mayAsk && takesStreamOptions(value);
  const sent = asksForUsage ? askedForUsage(bytes, value) : bytes;
  const input = Math.ceil(textBytes(value) / BYTES_PER_TOKEN);
  const api = apiOf(hints.path, value);
  const limit = limitOf(api, value);
  const answers = answersOf(value);
  return {
    body: new WholeBody(sent),
    length: sent.length,
    isRead: true,
    isCrowdedOut: false,
    input,
    output: limit === null ? 0 : Math.ceil(limit * answers),
    hasLimit: limit !== null,
    answers,
    model: typeof value.model === "string" && value.model !== "" ? value.model : null,
    modelAt: hints.findsModel ? fieldAt(sent, "model") : null,
    isStream: value.stream === true,
    isDeferred: value.background === true,
    writesCache: CACHE_CONTROL.length < sent.length && bufferOf(sent).includes(CACHE_CONTROL),
    api,
    bytes: sent,
    asksForUsage,
    weight,
  };
}

/** The field by which Anthropic is asked to keep what stands before it. */
const CACHE_CONTROL = Buffer.from('"cache_control"');

/** Says how a request's body is read. */
export interface PromptHints {
  /** The request's path, of which the end tells the interface. */
  readonly path: string;
  /** The media type that Content-Type says; a body that begins as an object is tried, whatever that is. */
  readonly mediaType: string;
  /** All of Content-Type, where forms are read as well; `null`: they are not. */
  readonly form: string | null;
  /** Whether a stream of OpenAI's interface may be made to ask for its usage, which is sent in an event of its own then. */
  readonly mayAsk: boolean;
  /** The most bytes that are read of JSON and forms. */
  readonly max: number;
  /** Whether the place of the model is looked for, so that another can be put there. */
  readonly findsModel: boolean;
}

function beginsAsObject(bytes: Uint8Array): boolean {
  let i = 0;
  while (bytes[i] === 32 || bytes[i] === 9 || bytes[i] === 10 || bytes[i] === 13) i++;
  return bytes[i] === 123;
}

function parsed(bytes: Uint8Array): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(bufferOf(bytes).toString());
    return isObject(value) ? value : null;
  } catch {
    // What is not JSON is the upstream's to refuse.
    return null;
  }
}

/** The fields in which files stand as addresses that hold them (`data:…`), themselves or in a list. */
const OF_FILES = /^(?:(?:[a-z]+_)?(?:url|uri)|(?:file_|image_)?data|(?:input_)?(?:images?|audios?|videos?|files?|documents?)|mask)$/;

/** Bytes of all texts. Pictures, sounds and files that stand in the body are no text. Without recursion: a body may be nested deeper than the stack. */
function textBytes(value: unknown): number {
  const open: unknown[] = [value];
  let sum = 0;
  const take = (next: unknown, isOfFiles: boolean): void => {
    if (typeof next !== "string") open.push(next);
    // A text may begin as a file does.
    else if (!isOfFiles || !next.startsWith("data:")) sum += Buffer.byteLength(next);
  };
  while (open.length > 0) {
    const next = open.pop();
    if (Array.isArray(next)) for (const child of next) take(child, false);
    else if (isObject(next)) {
      const isFile = holdsFile(next);
      // A list of all entries would cost more than the rest of this.
      for (const name in next) {
        if (isFile && name === "data") continue;
        const field = next[name];
        const isText = typeof field === "string";
        const isOfFiles = isText ? field.startsWith("data:") && OF_FILES.test(name) : Array.isArray(field) && OF_FILES.test(name);
        if (!isText && isOfFiles) for (const child of field as unknown[]) take(child, true);
        else take(field, isOfFiles);
      }
    }
  }
  return sum;
}

/** Tells whether an object's `data` is a file in Base64: Anthropic's source, OpenAI's input_audio, Google's inlineData. */
const holdsFile = (part: Record<string, unknown>): boolean =>
  typeof part.data === "string" &&
  (part.type === "base64" || typeof part.format === "string" || typeof part.mimeType === "string" || typeof part.mime_type === "string");

/** The fields by which interfaces are told the most tokens that an answer may have. */
const LIMITS: { readonly [Api in ModelApi]?: readonly string[] } = {
  chat: ["max_tokens", "max_completion_tokens"],
  responses: ["max_output_tokens"],
  messages: ["max_tokens"],
};
const ALL_LIMITS = ["max_tokens", "max_completion_tokens", "max_output_tokens"];

/**
 * Gives the most tokens that an answer may have; `null`: the request does not say. Of several fields the largest, for which of them the
 * upstream reads is not known; those of another interface say nothing, since many servers take what they do not know.
 */
function limitOf(api: ModelApi, request: Record<string, unknown>): number | null {
  const most = Math.max(...(LIMITS[api] ?? ALL_LIMITS).map((name) => asLimit(request[name])));
  return most === 0 ? null : most;
}

const asLimit = (asked: unknown): number => (typeof asked === "number" && asked > 0 && asked <= 1e12 ? asked : 0);

const MAX_ANSWERS = 1000;

/** Gives the number of answers that are asked for: as many as are made, where that is more. Some servers read a number in a text. */
const answersOf = ({ n, best_of }: Record<string, unknown>): number => Math.max(asAnswers(n), asAnswers(best_of));

function asAnswers(asked: unknown): number {
  const count = typeof asked === "number" || typeof asked === "string" ? Number(asked) : 1;
  return count > 1 ? Math.min(MAX_ANSWERS, count) : 1;
}

/**
 * Tells whether this is a request for a stream of chat completions (or of the older completions) that does not ask for the usage itself. The Responses API has `input` and refuses
 * "stream_options"; so does Anthropic's, whose bodies on clouds name their version.
 */
const takesStreamOptions = (request: Record<string, unknown>): boolean =>
  request.stream === true &&
  (request.messages !== undefined || request.prompt !== undefined) &&
  request.input === undefined &&
  request.anthropic_version === undefined &&
  !(isObject(request.stream_options) && request.stream_options.include_usage === true);

/** Gives the same request, asking for the usage. */
function askedForUsage(bytes: Uint8Array, request: Record<string, unknown>): Uint8Array {
  if (request.stream_options === undefined) {
    // Put in behind the last field: writing it all anew could change numbers that JavaScript does not hold exactly.
    const end = bytes.lastIndexOf("}".charCodeAt(0));
    return Buffer.concat([bytes.subarray(0, end), Buffer.from(',"stream_options":{"include_usage":true}'), bytes.subarray(end)]);
  }
  const exact = parseExactly(Buffer.from(bytes).toString()) as Record<string, unknown>;
  return Buffer.from(JSON.stringify({ ...exact, stream_options: { ...(exact.stream_options as object | null), include_usage: true } }));
}
