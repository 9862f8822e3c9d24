import { isObject } from "../values/json.ts";

const LF = 10;
const CR = 13;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

/** What a stream has shown so far: nothing to read; something; or an error, by the status that stands for it. */
export type Shown = "nothing" | "content" | number;

/**
 * Looks in a stream of Server-Sent Events for the first one with something to read, in the formats of chat completions (and completions),
 * responses and messages. Comments, pings and events that only say who speaks are none. What is in no known format counts as content.
 */
export class FirstContent {
  private rest = Buffer.alloc(0);
  private isFirst = true;
  private afterCr = false;
  private name = "";
  private data: string | null = null;

  /** Reads a piece of the stream, and tells what that has shown: the first of it that is not nothing. Not to be called after that. */
  feed(piece: Uint8Array): Shown {
    let bytes = this.rest.length === 0 ? Buffer.from(piece.buffer, piece.byteOffset, piece.length) : Buffer.concat([this.rest, piece]);
    // No line ends in what is left of those before.
    let i = this.rest.length;
    if (this.isFirst && bytes.length >= BOM.length) {
      this.isFirst = false;
      if (bytes.subarray(0, BOM.length).equals(BOM)) bytes = bytes.subarray(BOM.length);
      i = 0;
    }
    let from = 0;
    for (; i < bytes.length; i++) {
      const byte = bytes[i];
      if (byte !== LF && byte !== CR) {
        this.afterCr = false;
        continue;
      }
      const isRest = byte === LF && this.afterCr;
      this.afterCr = byte === CR;
      const line = bytes.toString("utf8", from, i);
      from = i + 1;
      const shown = isRest ? "nothing" : this.endLine(line);
      if (shown !== "nothing") return shown;
    }
    // A copy: the piece is its giver's.
    this.rest = Buffer.from(bytes.subarray(from));
    return "nothing";
  }

  private endLine(line: string): Shown {
    if (line === "") {
      const { data, name } = this;
      this.data = null;
      this.name = "";
      return data === null ? "nothing" : shownIn(data, name);
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") this.data = this.data === null ? value : `${this.data}\n${value}`;
    else if (field === "event") this.name = value;
    return "nothing";
  }
}

/** Tells what an event shows. `name`: its type, "" where it has none. */
function shownIn(data: string, name: string): Shown {
  if (data.trim() === "") return "nothing";
  const event = parsed(data);
  if (name === "error") return statusOfError(event);
  if (!isObject(event)) return "content";
  const { type, error, choices } = event;
  if (type === "error" || type === "response.failed" || (error !== undefined && error !== null)) return statusOfError(event);
  if (typeof type === "string") return isTypedContent(type, event) ? "content" : "nothing";
  if (Array.isArray(choices)) return choices.some(isChoiceContent) ? "content" : "nothing";
  return event.object === "chat.completion.chunk" ? "nothing" : "content";
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Tells whether a choice of a chat completion says something: any field but who speaks, or why it has ended. */
function isChoiceContent(choice: unknown): boolean {
  if (!isObject(choice)) return true;
  const { delta, text, finish_reason: finish } = choice;
  if (finish !== undefined && finish !== null) return true;
  if (saysSomething(text)) return true;
  return isObject(delta) && Object.entries(delta).some(([field, value]) => field !== "role" && saysSomething(value));
}

function saysSomething(value: unknown): boolean {
  if (typeof value === "string" || Array.isArray(value)) return value.length > 0;
  return isObject(value) && Object.keys(value).length > 0;
}

/** Events of messages and responses that only prepare others. */
const PREPARING: ReadonlySet<string> = new Set([
  "message_start",
  "ping",
  "content_block_stop",
  "response.created",
  "response.queued",
  "response.in_progress",
  "response.content_part.added",
  "response.reasoning_summary_part.added",
]);

/** The kinds of blocks and items that begin empty. */
const BEGINS_EMPTY: ReadonlySet<unknown> = new Set(["text", "thinking", "message", "reasoning"]);

function isTypedContent(type: string, { delta, content_block: block, item }: Record<string, unknown>): boolean {
  if (PREPARING.has(type)) return false;
  if (type === "content_block_start") return isObject(block) && (!BEGINS_EMPTY.has(block.type) || hasText(block));
  if (type === "response.output_item.added") return isObject(item) && !BEGINS_EMPTY.has(item.type);
  if (type === "content_block_delta") return isObject(delta) && hasText(delta);
  return typeof delta !== "string" || delta !== "";
}

/** Tells whether any text of a block or its piece is not empty, besides what kind it is. */
const hasText = (part: Record<string, unknown>): boolean =>
  Object.entries(part).some(([field, value]) => field !== "type" && saysSomething(value));

/** The statuses that providers' names of errors stand for. Others are taken for the provider's own fault. */
const STATUSES: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  invalid_prompt: 400,
  context_length_exceeded: 400,
  content_filter: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  model_not_found: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  rate_limit_exceeded: 429,
  insufficient_quota: 429,
  timeout_error: 504,
  overloaded_error: 529,
};

/** Gives the status that stands for an error under a status that says that all is well: an event of a stream, or an answer in one piece. */
export function statusOfError(event: unknown): number {
  if (!isObject(event)) return 500;
  const within = isObject(event.response) ? event.response.error : event.error;
  const error = isObject(within) ? within : event;
  for (const told of [error.status, error.code, error.type]) {
    const number = typeof told === "number" ? told : typeof told === "string" && /^[45]\d\d$/.test(told) ? Number(told) : 0;
    if (number >= 400 && number <= 599) return number;
    const known = typeof told === "string" && Object.hasOwn(STATUSES, told) ? STATUSES[told] : undefined;
    if (known !== undefined) return known;
  }
  return 500;
}
