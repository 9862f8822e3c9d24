/** The characters of a token (RFC 9110 §5.6.2): methods and field names are made of these. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Holds a field name as it was sent, and its lower-case form. */
export interface Name {
  readonly name: string;
  readonly lower: string;
}

/**
 * The field names that were seen before, in slots by their length, first and last character. Their numbers are bounded, so that a client
 * that invents names can't fill memory, nor one slot.
 */
const SLOTS = 1024;
const MAX_IN_SLOT = 4;
const known: (Name[] | undefined)[] = new Array(SLOTS).fill(undefined);

/** Tells whether `text` is a token (RFC 9110 §5.6.2). */
export const isToken = (text: string): boolean => TOKEN.test(text);

/** Gives the field name between two positions of `text`, or `null` when that is no token. One that was seen before is not made anew. */
export function nameAt(text: string, from: number, to: number): Name | null {
  if (to <= from) return null;
  const at = ((to - from) * 31 + text.charCodeAt(from) * 7 + text.charCodeAt(to - 1)) % SLOTS;
  const slot = known[at];
  if (slot !== undefined)
    for (let i = 0; i < slot.length; i++) {
      const seen = slot[i] as Name;
      if (stands(seen.name, text, from, to)) return seen;
    }
  const name = text.slice(from, to);
  if (!TOKEN.test(name)) return null;
  const lower = name.toLowerCase();
  if (slot !== undefined && slot.length >= MAX_IN_SLOT) return { name, lower };
  // Copies: a name is a part of a whole head, which it would keep in memory.
  const seen = { name: Buffer.from(name).toString(), lower: Buffer.from(lower).toString() };
  if (slot === undefined) known[at] = [seen];
  else slot.push(seen);
  return seen;
}

/** Tells whether `name` is what stands between two positions of `text`. By characters: a part of the text would have to be made first. */
function stands(name: string, text: string, from: number, to: number): boolean {
  if (name.length !== to - from) return false;
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) !== text.charCodeAt(from + i)) return false;
  return true;
}

/** Gives the lower-case form of a field name, or `null` when it is not a token. */
export const lowerName = (name: string): string | null => nameAt(name, 0, name.length)?.lower ?? null;

/** Holds the header fields of one message, in the order and with the letter case they came in. */
export class Fields {
  /** True while the lists are another message's as well. */
  private isShared = false;
  /** The message's text and where in it each field's line begins, with the end of the last; "" when the lines have to be made. */
  private source = "";
  private starts: readonly number[] = [];

  constructor(
    public names: string[] = [],
    /** The same names in lower case, by which look-ups compare. */
    public lower: string[] = [],
    public values: string[] = [],
  ) {}

  add(name: string, lower: string, value: string): void {
    this.own();
    this.names.push(name);
    this.lower.push(lower);
    this.values.push(value);
  }

  /** Tells where the lines of these fields stand as they would be written: `starts` of each, and the end of the last. */
  standIn(source: string, starts: readonly number[]): void {
    this.source = source;
    this.starts = starts;
  }

  /** Gives these fields for one more message. What is changed in those does not change in these, which must not be changed any more. */
  shared(): Fields {
    const fields = new Fields(this.names, this.lower, this.values);
    fields.isShared = true;
    fields.source = this.source;
    fields.starts = this.starts;
    return fields;
  }

  /** Writes the fields from the one at `from` up to the one at `to` as header lines, each ended by CRLF. */
  lines(from: number, to: number): string {
    if (this.source !== "") return this.source.slice(this.starts[from], this.starts[to]);
    let lines = "";
    for (let i = from; i < to; i++) lines += `${this.names[i]}: ${this.values[i]}\r\n`;
    return lines;
  }

  /** Makes the lists this message's own, since they are about to be changed. */
  private own(): void {
    this.source = "";
    if (!this.isShared) return;
    this.isShared = false;
    this.names = [...this.names];
    this.lower = [...this.lower];
    this.values = [...this.values];
  }

  /** Puts one field in the place of all of this lower-case name; it stands where the first of them stood, or at the end. */
  set(name: string, lower: string, value: string): void {
    const at = this.lower.indexOf(lower);
    if (at < 0) {
      this.add(name, lower, value);
      return;
    }
    this.own();
    this.names[at] = name;
    this.values[at] = value;
    this.removeFrom(at + 1, lower);
  }

  /** Puts what `change` gives in the place of each value of this lower-case name; where that is `null`, the field is taken out. */
  replace(lower: string, change: (value: string) => string | null): void {
    this.own();
    for (let at = this.lower.indexOf(lower); at >= 0; at = this.lower.indexOf(lower, at)) {
      const value = change(this.values[at] as string);
      if (value !== null) this.values[at++] = value;
      else for (const list of [this.names, this.lower, this.values]) list.splice(at, 1);
    }
  }

  /** Takes out all fields of this lower-case name. */
  remove(lower: string): void {
    this.removeFrom(0, lower);
  }

  private removeFrom(from: number, lower: string): void {
    this.own();
    for (let at = this.lower.indexOf(lower, from); at >= 0; at = this.lower.indexOf(lower, at))
      for (const list of [this.names, this.lower, this.values]) list.splice(at, 1);
  }

  /** Gives the value of the first field with this lower-case name, or `null`. */
  get(lower: string): string | null {
    const at = this.lower.indexOf(lower);
    return at < 0 ? null : (this.values[at] ?? null);
  }

  /** Takes over other fields in the place of all of these. */
  become({ names, lower, values }: Fields): void {
    this.own();
    this.names = [...names];
    this.lower = [...lower];
    this.values = [...values];
  }

  /** Gives these fields without those of these lower-case names. */
  without(...lower: string[]): Fields {
    const fields = new Fields();
    for (let i = 0; i < this.lower.length; i++)
      if (!lower.includes(this.lower[i] as string)) fields.add(this.names[i] as string, this.lower[i] as string, this.values[i] as string);
    return fields;
  }

  /** The media type that Content-Type names, in lower case and without parameters (RFC 9110 §8.3.1); "" when it is missing. */
  get mediaType(): string {
    const value = this.get("content-type");
    return value === null ? "" : (MEDIA_TYPES.get(value) ?? mediaTypeOf(value));
  }

  /** Joins all values of this lower-case name by a comma (RFC 9110 §5.3); `null` when there is none. */
  joined(lower: string): string | null {
    let all: string | null = null;
    for (let i = 0; i < this.lower.length; i++) {
      if (this.lower[i] === lower) all = all === null ? (this.values[i] ?? "") : `${all}, ${this.values[i]}`;
    }
    return all;
  }
}

/** Remembers media types by the values that name them, of which there are few. */
const MEDIA_TYPES = new Map<string, string>();
/** The most values that are remembered, and the most characters of one. */
const MAX_VALUES = 256;
const MAX_REMEMBERED = 128;

function mediaTypeOf(value: string): string {
  const type = value.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (value.length > MAX_REMEMBERED) return type;
  if (MEDIA_TYPES.size >= MAX_VALUES) MEDIA_TYPES.clear();
  MEDIA_TYPES.set(value, type);
  return type;
}

/** Gives the fields that header lines, each ended by CRLF, were made of. */
export function fieldsOf(lines: string): Fields {
  const fields = new Fields();
  for (const line of lines.split("\r\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) fields.add(line.slice(0, colon), line.slice(0, colon).toLowerCase(), line.slice(colon + 2));
  }
  return fields;
}

/** Writes fields as header lines, each ended by CRLF. */
export const linesOf = (fields: Fields): string => fields.lines(0, fields.names.length);
