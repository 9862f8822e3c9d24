/** Says that bytes are no DER, or not what was expected of them. */
export class DerFault extends RangeError {}

/** Holds one element of DER (X.690): its tag, what it holds, and all of its bytes. */
export interface Element {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Universal tags (X.680 §8.6); those of sequences and sets say that they hold elements. */
export const BOOLEAN = 0x01;
export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OCTET_STRING = 0x04;
export const OBJECT_IDENTIFIER = 0x06;
export const UTC_TIME = 0x17;
export const GENERALIZED_TIME = 0x18;
export const SEQUENCE = 0x30;
export const SET = 0x31;

/** Gives the tag of a context-specific element. `holds`: whether it holds elements. */
export const context = (number: number, holds = true): number => (holds ? 0xa0 : 0x80) | number;

/** Reads elements one behind the other. Throws `DerFault`. */
export class Reader {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  /** True when nothing is left. */
  get isAtEnd(): boolean {
    return this.at >= this.bytes.length;
  }

  /** Gives the next element, which must have this tag where one is given. */
  next(tag?: number): Element {
    const { bytes, at } = this;
    const found = bytes[at];
    let size = bytes[at + 1];
    if (found === undefined || size === undefined) throw new DerFault("ends too early");
    // No element of a certificate has a tag of several bytes (X.690 §8.1.2.4).
    if ((found & 0x1f) === 0x1f || (tag !== undefined && found !== tag)) throw new DerFault(`holds tag ${found} in place of ${tag}`);
    let from = at + 2;
    if (size >= 0x80) {
      const count = size & 0x7f;
      if (count === 0 || count > 4 || from + count > bytes.length) throw new DerFault("has an element of unknown length");
      size = 0;
      for (let i = 0; i < count; i++) size = size * 256 + (bytes[from + i] as number);
      from += count;
    }
    if (from + size > bytes.length) throw new DerFault("ends too early");
    this.at = from + size;
    return { tag: found, content: bytes.subarray(from, from + size), bytes: bytes.subarray(at, from + size) };
  }

  /** Gives the next element if it has this tag, else `null`. */
  optional(tag: number): Element | null {
    return this.bytes[this.at] === tag ? this.next(tag) : null;
  }

  /** Gives all that are left. */
  *rest(): Generator<Element> {
    while (!this.isAtEnd) yield this.next();
  }
}

/** Reads the one element that these bytes are. */
export function whole(bytes: Uint8Array, tag: number): Reader {
  const reader = new Reader(bytes);
  const { content } = reader.next(tag);
  if (!reader.isAtEnd) throw new DerFault("goes on behind its end");
  return new Reader(content);
}

/** Gives an element's bytes in hexadecimal digits. */
export const hex = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");

/** Gives a whole number in hexadecimal digits, without zeros before it: serial numbers are compared by it. */
export const integerOf = ({ content }: Element): string => hex(content).replace(/^(?:00)+(?=..)/, "");

/** Gives an object identifier as numbers with dots between them (X.690 §8.19). */
export function identifierOf({ content }: Element): string {
  const numbers: number[] = [];
  let number = 0;
  for (const byte of content) {
    number = number * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      numbers.push(number);
      number = 0;
    }
  }
  const first = numbers[0] ?? 0;
  const top = Math.min(2, Math.floor(first / 40));
  return [top, first - 40 * top, ...numbers.slice(1)].join(".");
}

/** Gives a time in milliseconds since 1970, as certificates may hold it (RFC 5280 §4.1.2.5). */
export function timeOf({ tag, content }: Element): number {
  const text = Buffer.from(content).toString("latin1");
  const parts = /^((?:\d\d)?)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (parts === null || (tag !== UTC_TIME && tag !== GENERALIZED_TIME) || (parts[1] === "") !== (tag === UTC_TIME))
    throw new DerFault("holds a time of an unknown form");
  const [century, year, ...rest] = parts.slice(1);
  // Two digits are a year from 1950 to 2049.
  const full = century !== "" ? Number(century) * 100 + Number(year) : Number(year) + (Number(year) < 50 ? 2000 : 1900);
  const [month = 1, day, hour, minute, second] = rest.map(Number);
  return Date.UTC(full, month - 1, day, hour, minute, second);
}

/** Tells whether the next element holds a time. */
export const isTime = (reader: Reader): Element | null => reader.optional(UTC_TIME) ?? reader.optional(GENERALIZED_TIME);

/** Reads elements that stand one behind the other, to the end. Throws `DerFault`. */
export const read = (bytes: Uint8Array): Element[] => [...new Reader(bytes).rest()];

/** Writes an element with this content. */
export function write(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const length = content.reduce((sum, { length }) => sum + length, 0);
  return Buffer.concat([Buffer.from([tag, ...lengthBytes(length)]), ...content]);
}

function lengthBytes(length: number): number[] {
  if (length < 0x80) return [length];
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return [0x80 | bytes.length, ...bytes];
}

/** Writes an object identifier such as "2.5.29.17". */
export function objectIdentifier(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  return write(OBJECT_IDENTIFIER, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

function base128(number: number): number[] {
  const bytes = [number % 128];
  for (let rest = Math.floor(number / 128); rest > 0; rest = Math.floor(rest / 128)) bytes.unshift(0x80 | (rest % 128));
  return bytes;
}
