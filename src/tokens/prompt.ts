import { type Body, type Sink, WholeBody } from "../http/body.ts";
import type { Trailers } from "../http/trailers.ts";
import { isObject, parseExactly } from "../json.ts";
import { UpstreamFailure } from "../upstreams/client.ts";
import type { UsagePaths } from "./meter.ts";

/** Larger bodies go through unread: their cost is estimated from their size, and they are sent once. In bytes. */
export const MOST_READ = 1_048_576;
/** Bytes of a text per token, as providers of language models reckon. */
const BYTES_PER_TOKEN = 4;

/** A request's body, and what it will probably cost. */
export interface Prompt {
  readonly body: Body | null;
  /** Bytes; -1 when not known, and then the body is chunked. */
  readonly length: number;
  /** Tokens of the request itself. */
  readonly input: number;
  /** Tokens that it allows the answer to have; 0 when it does not say. */
  readonly output: number;
}

/**
 * Reads a request's body to see what it will cost. JSON that asks for a stream is made to ask for the usage as well, when that is where usage is looked for: providers
 * with OpenAI's interface send it then in a chunk of its own. Rejects when the body breaks off. `length`: what Content-Length says, or -1.
 */
export async function readPrompt(body: Body | null, length: number, isJson: boolean, paths: UsagePaths | null): Promise<Prompt> {
  if (body === null) return { body, length: 0, input: 0, output: 0 };
  if (length > MOST_READ) return { body, length, input: Math.ceil(length / BYTES_PER_TOKEN), output: 0 };
  const gathering = new Gathering(body);
  const bytes = await gathering.whole.catch((error: Error) => {
    throw new UpstreamFailure("request", "the request's body broke off", false, error);
  });
  if (bytes === null) return { body: gathering, length, input: Math.ceil(MOST_READ / BYTES_PER_TOKEN), output: 0 };
  const value = isJson ? parsed(bytes) : null;
  if (value === null)
    return { body: new WholeBody(bytes), length: bytes.length, input: Math.ceil(bytes.length / BYTES_PER_TOKEN), output: 0 };
  const sent = isOpenAi(paths) ? askedForUsage(bytes, value) : bytes;
  return { body: new WholeBody(sent), length: sent.length, input: Math.ceil(textBytes(value) / BYTES_PER_TOKEN), output: outputOf(value) };
}

function parsed(bytes: Uint8Array): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
    return isObject(value) ? value : null;
  } catch {
    // What is not JSON is the upstream's to refuse.
    return null;
  }
}

/** Bytes of all texts. Pictures that stand in the body as data URLs are no text. Without recursion: a body may be nested deeper than the stack. */
function textBytes(value: unknown): number {
  const open: unknown[] = [value];
  let sum = 0;
  while (open.length > 0) {
    const next = open.pop();
    if (typeof next === "string") sum += next.startsWith("data:") ? 0 : Buffer.byteLength(next);
    else if (typeof next === "object" && next !== null) for (const child of Object.values(next)) open.push(child);
  }
  return sum;
}

/** The most tokens that the answer may have: what OpenAI (two names), Anthropic and others call it; for each of `n` answers. */
function outputOf(request: Record<string, unknown>): number {
  const most = request.max_completion_tokens ?? request.max_output_tokens ?? request.max_tokens;
  if (typeof most !== "number" || !(most > 0) || most > 1e12) return 0;
  const answers = typeof request.n === "number" && request.n > 1 && request.n <= 1000 ? request.n : 1;
  return Math.ceil(most * answers);
}

const isOpenAi = (paths: UsagePaths | null): boolean => paths?.length === 1 && paths[0]?.join(".") === "usage.total_tokens";

/** The same request, asking for a usage chunk. Others than streams report their usage anyway. */
function askedForUsage(bytes: Uint8Array, request: Record<string, unknown>): Uint8Array {
  if (request.stream !== true) return bytes;
  const { stream_options: options } = request;
  if (options === undefined) {
    // Put in behind the last field: writing it all anew could change numbers that JavaScript does not hold exactly.
    const end = bytes.lastIndexOf("}".charCodeAt(0));
    return Buffer.concat([bytes.subarray(0, end), Buffer.from(',"stream_options":{"include_usage":true}'), bytes.subarray(end)]);
  }
  if (typeof options === "object" && options !== null && (options as Record<string, unknown>).include_usage === true) return bytes;
  const exact = parseExactly(Buffer.from(bytes).toString()) as Record<string, unknown>;
  return Buffer.from(JSON.stringify({ ...exact, stream_options: { ...(exact.stream_options as object | null), include_usage: true } }));
}

/** Reads a body that turns out to be small; one that does not goes on as it comes, from its beginning. */
class Gathering implements Body {
  readonly length: number;
  /** All of it, or `null` when it is too large. */
  readonly whole: Promise<Uint8Array | null>;
  private held: Uint8Array[] = [];
  private size = 0;
  private sink: Sink | null = null;
  private isEnded = false;
  private trailers: Trailers | null = null;
  private failure: Error | null = null;

  constructor(private readonly source: Body) {
    this.length = source.length;
    this.whole = new Promise((resolve, reject) => {
      source.start({
        write: (bytes) => {
          if (this.sink !== null) return this.sink.write(bytes);
          this.held.push(bytes);
          this.size += bytes.length;
          if (this.size <= MOST_READ) return true;
          resolve(null);
          return false;
        },
        end: (trailers = null) => {
          this.isEnded = true;
          resolve(this.held.length === 1 ? (this.held[0] as Uint8Array) : Buffer.concat(this.held, this.size));
          this.trailers = trailers;
          this.sink?.end(trailers);
        },
        fail: (reason) => {
          this.failure = reason;
          reject(reason);
          this.sink?.fail(reason);
        },
      });
    });
  }

  start(sink: Sink): void {
    const { held } = this;
    this.held = [];
    this.sink = sink;
    let fits = true;
    for (const bytes of held) fits = sink.write(bytes) && fits;
    if (this.failure !== null) sink.fail(this.failure);
    else if (this.isEnded) sink.end(this.trailers);
    else if (fits) this.source.resume();
  }

  resume(): void {
    this.source.resume();
  }

  cancel(): void {
    this.sink = null;
    this.source.cancel();
  }
}
