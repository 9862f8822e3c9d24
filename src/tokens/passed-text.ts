import type { ModelApi } from "./prompt.ts";
import { searchFor } from "./search.ts";

enum Byte {
  Space = 32,
  Quote = 34,
  Backslash = 92,
  LowerU = 117,
}

/** Bytes that are looked at behind a text without another search: what stands there otherwise is a part of an answer as well. */
const NEAR = 256;
/** The bytes by which `\u20ac` is longer than the character itself. */
const OF_ESCAPE = 3;

const CHAT = ["content", "arguments", "reasoning_content", "reasoning", "refusal"];
const MESSAGES = ["text", "partial_json", "thinking"];

/**
 * The fields in which an event has the text that is new with it. The events of responses repeat the whole text elsewhere, in `text`; those of
 * chat completions the reasoning.
 */
const FIELDS: { readonly [Api in ModelApi]?: readonly string[] } = { chat: CHAT, messages: MESSAGES, responses: ["delta"] };
/** Those that are looked at where none of the others has anything: of the older completions. */
const OTHERWISE: { readonly [Api in ModelApi]?: readonly string[] } = { chat: ["text"] };
const ANY = [...CHAT, ...MESSAGES, "delta"];

/** Holds `"name":`, and how it is found. */
interface Field {
  readonly name: Buffer;
  readonly lies: (bytes: Buffer, from: number) => number;
}

const fieldsOf = (names: readonly string[]): readonly Field[] =>
  names.map((text) => {
    const name = Buffer.from(`"${text}":`);
    return { name, lies: searchFor(name) };
  });

/**
 * Counts the bytes of text in the events of a language model's stream, without what stands around it. What an event costs besides: one
 * search, and a look at each byte of the text.
 */
export class PassedText {
  /** Bytes of text that have come, escapes as what they stand for in UTF-8. */
  bytes = 0;
  private readonly fields: readonly Field[];
  private readonly otherwise: readonly Field[];
  /** The number of the field that had a text last: probably that of the next event. */
  private likely = 0;
  /** True when the text goes on with the next piece, and when its next byte is escaped. */
  private isOpen = false;
  private isEscaped = false;

  constructor(api: ModelApi) {
    this.fields = fieldsOf(FIELDS[api] ?? ANY);
    this.otherwise = fieldsOf(OTHERWISE[api] ?? []);
  }

  /** Begins another event. */
  restart(): void {
    this.isOpen = false;
  }

  /** Reads a part of an event's data. */
  read(bytes: Buffer, from: number, to: number): void {
    const before = this.bytes;
    const start = this.isOpen ? this.readText(bytes, from, to) : from;
    const { likely, fields } = this;
    const at = textAt(fields[likely], bytes, start, to);
    const end = at < 0 ? start : this.readText(bytes, at, to);
    // Nearly all events have one text, and little behind it.
    if (this.bytes > before && to - end <= NEAR) return;
    for (let i = 0; i < fields.length; i++) {
      const already = this.bytes;
      this.readAll(fields[i], bytes, i === likely ? end : start, to);
      if (this.bytes > already) this.likely = i;
    }
    if (this.bytes === before) for (const field of this.otherwise) this.readAll(field, bytes, start, to);
  }

  private readAll(field: Field | undefined, bytes: Buffer, from: number, to: number): void {
    for (let at = textAt(field, bytes, from, to); at >= 0; at = textAt(field, bytes, this.readText(bytes, at, to), to));
  }

  /** Reads the text that goes on at `from`. Gives the position behind it. */
  private readText(bytes: Uint8Array, from: number, to: number): number {
    let i = this.isEscaped ? from + 1 : from;
    let surplus = 0;
    this.isEscaped = false;
    while (i < to) {
      const byte = bytes[i] as number;
      if (byte === Byte.Quote) break;
      if (byte === Byte.Backslash) {
        surplus += bytes[i + 1] === Byte.LowerU ? OF_ESCAPE : 1;
        i++;
      }
      i++;
    }
    this.isOpen = i >= to;
    this.isEscaped = i > to;
    this.bytes += Math.max(0, Math.min(i, to) - from - surplus);
    return Math.min(to, i + 1);
  }
}

/** Gives the position of the text that is the value of a field; -1 where there is none. */
function textAt(field: Field | undefined, bytes: Buffer, from: number, to: number): number {
  if (field === undefined) return -1;
  const { name, lies } = field;
  for (let at = lies(bytes, from); at < to; at = lies(bytes, at + 1)) {
    let value = at + name.length;
    if (bytes[value] === Byte.Space) value++;
    if (value < to && bytes[value] === Byte.Quote) return value + 1;
  }
  return -1;
}
