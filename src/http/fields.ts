/** The characters of a token (RFC 9110 §5.6.2): methods and field names are made of these. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** The number of field names that are kept, so that a client that invents names can't fill memory. */
const MAX_INTERNED = 2048;
const interned = new Map<string, string>();

/** Tells whether `text` is a token (RFC 9110 §5.6.2). */
export const isToken = (text: string): boolean => TOKEN.test(text);

/** Gives the lower-case form of a field name, or `null` when it is not a token. Names seen before cost one look-up. */
export function lowerName(name: string): string | null {
  const known = interned.get(name);
  if (known !== undefined) return known;
  if (!TOKEN.test(name)) return null;
  const lower = name.toLowerCase();
  if (interned.size >= MAX_INTERNED) return lower;
  // Copies: a name is a part of a whole head, which it would keep in memory.
  const own = Buffer.from(lower).toString();
  interned.set(Buffer.from(name).toString(), own);
  return own;
}

/** Holds the header fields of one message, in the order and with the letter case they came in. */
export class Fields {
  readonly names: string[] = [];
  /** The same names in lower case, by which look-ups compare. */
  readonly lower: string[] = [];
  readonly values: string[] = [];

  add(name: string, lower: string, value: string): void {
    this.names.push(name);
    this.lower.push(lower);
    this.values.push(value);
  }

  /** Puts one field in the place of all of this lower-case name; it stands where the first of them stood, or at the end. */
  set(name: string, lower: string, value: string): void {
    const at = this.lower.indexOf(lower);
    if (at < 0) {
      this.add(name, lower, value);
      return;
    }
    this.names[at] = name;
    this.values[at] = value;
    this.removeFrom(at + 1, lower);
  }

  /** Takes out all fields of this lower-case name. */
  remove(lower: string): void {
    this.removeFrom(0, lower);
  }

  private removeFrom(from: number, lower: string): void {
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
    this.names.splice(0, this.names.length, ...names);
    this.lower.splice(0, this.lower.length, ...lower);
    this.values.splice(0, this.values.length, ...values);
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
    return this.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase() ?? "";
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
export function linesOf({ names, values }: Fields): string {
  let lines = "";
  for (let i = 0; i < names.length; i++) lines += `${names[i]}: ${values[i]}\r\n`;
  return lines;
}
