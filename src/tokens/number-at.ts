enum Byte {
  Lf = 10,
  Cr = 13,
  Space = 32,
  Quote = 34,
  Comma = 44,
  Colon = 58,
  OpenList = 91,
  Backslash = 92,
  CloseList = 93,
  OpenObject = 123,
  CloseObject = 125,
}

/** A number has no more characters than this. */
const MOST_DIGITS = 32;

/**
 * Finds the number at a path of a JSON text that comes in pieces, without keeping the text. Strings are skipped by the platform's own search, so that
 * a megabyte costs about a millisecond. Of several numbers at the path the last one counts. It takes the text to be JSON: of anything else it finds nothing or something.
 */
export class NumberAt {
  /** What was found; stays when another text begins. */
  value: number | null = null;
  private readonly path: readonly Buffer[];
  /** Containers that are open, and how many of them lie on the path. */
  private depth = 0;
  private onPath = 0;
  /** The next string, directly inside the path's object, is a field's name. */
  private expectsName = false;
  /** The name that was read last is the path's next. */
  private isHit = false;
  private inString = false;
  private isEscaped = false;
  /** The string that is being read, when it is a name that matters: how much of it is as the path says; -1 when something is not. */
  private nameLength = -1;
  private digits = "";

  constructor(path: readonly string[]) {
    this.path = path.map((name) => Buffer.from(name));
  }

  /** Another text begins. */
  restart(): void {
    this.depth = 0;
    this.onPath = 0;
    this.inString = false;
    this.isEscaped = false;
    this.isHit = false;
    this.digits = "";
  }

  /** Reads `bytes` from `from` up to `to`. */
  feed(bytes: Uint8Array, from: number, to: number): void {
    let i = from;
    while (i < to) {
      if (this.inString) {
        i = this.readString(bytes, i, to);
        continue;
      }
      const byte = bytes[i++] as number;
      if (this.digits !== "" && !isOfNumber(byte)) this.endNumber();
      switch (byte) {
        case Byte.Quote:
          this.inString = true;
          this.nameLength = this.expectsName && this.depth === this.onPath ? 0 : -1;
          this.isHit = false;
          break;
        case Byte.OpenObject:
        case Byte.OpenList:
          this.depth++;
          if (byte === Byte.OpenObject && (this.depth === 1 || (this.isHit && this.onPath < this.path.length))) {
            this.onPath++;
            this.expectsName = true;
          }
          this.isHit = false;
          break;
        case Byte.CloseObject:
        case Byte.CloseList:
          this.depth--;
          if (this.onPath > this.depth) this.onPath = this.depth;
          this.expectsName = false;
          this.isHit = false;
          break;
        case Byte.Comma:
          this.expectsName = this.depth === this.onPath;
          this.isHit = false;
          break;
        case Byte.Colon:
          this.expectsName = false;
          break;
        default:
          if (this.isHit && this.onPath === this.path.length && isOfNumber(byte) && this.digits.length < MOST_DIGITS)
            this.digits += String.fromCharCode(byte);
      }
    }
  }

  private endNumber(): void {
    const value = Number(this.digits);
    if (Number.isFinite(value)) this.value = value;
    this.digits = "";
    this.isHit = false;
  }

  /** Reads on in a string and gives the position behind what it has read. */
  private readString(bytes: Uint8Array, from: number, to: number): number {
    if (this.nameLength >= 0) return this.readName(bytes, from, to);
    let i = from;
    if (this.isEscaped) {
      this.isEscaped = false;
      i++;
    }
    for (;;) {
      const quote = bytes.indexOf(Byte.Quote, i);
      const end = quote < 0 || quote >= to ? to : quote;
      let backslashes = 0;
      while (end - 1 - backslashes >= i && bytes[end - 1 - backslashes] === Byte.Backslash) backslashes++;
      const escapes = backslashes % 2 === 1;
      if (end === to) {
        this.isEscaped = escapes;
        return to;
      }
      i = end + 1;
      if (!escapes) {
        this.inString = false;
        return i;
      }
    }
  }

  private readName(bytes: Uint8Array, from: number, to: number): number {
    const wanted = this.path[this.onPath - 1];
    for (let i = from; i < to; i++) {
      const byte = bytes[i] as number;
      if (byte === Byte.Quote) {
        this.isHit = wanted !== undefined && this.nameLength === wanted.length;
        this.inString = false;
        return i + 1;
      }
      // A name with escapes is taken for another one.
      if (byte === Byte.Backslash || wanted === undefined || byte !== wanted[this.nameLength]) {
        this.nameLength = -1;
        return i;
      }
      this.nameLength++;
    }
    return to;
  }
}

/** Digits, sign, point and exponent. */
const isOfNumber = (byte: number): boolean =>
  (byte >= 48 && byte <= 57) || byte === 45 || byte === 46 || byte === 43 || byte === 101 || byte === 69;

/** Finds numbers in the data of a stream of Server-Sent Events (WHATWG HTML §9.2.6), each of whose events is one JSON text. */
export class EventNumbers {
  /** Events with JSON in them. */
  events = 0;
  /** How much of "data:" the line has had; -1 when the line is something else; `FIELD.length` when its data is being read. */
  private at = 0;
  private isEmptyLine = true;
  private isNewEvent = true;
  private afterCr = false;

  constructor(private readonly numbers: readonly NumberAt[]) {}

  feed(bytes: Uint8Array): void {
    let i = 0;
    while (i < bytes.length) {
      const byte = bytes[i] as number;
      if (byte === Byte.Lf || byte === Byte.Cr) {
        if (!(byte === Byte.Lf && this.afterCr)) this.endLine();
        this.afterCr = byte === Byte.Cr;
        i++;
        continue;
      }
      this.afterCr = false;
      this.isEmptyLine = false;
      if (this.at === FIELD.length) {
        const end = endOfLine(bytes, i);
        this.readData(bytes, i, end);
        i = end;
      } else if (this.at < 0) i = endOfLine(bytes, i);
      else {
        this.at = byte === FIELD.charCodeAt(this.at) ? this.at + 1 : -1;
        i++;
      }
    }
  }

  private readData(bytes: Uint8Array, from: number, to: number): void {
    let i = from;
    if (this.isNewEvent) {
      while (i < to && bytes[i] === Byte.Space) i++;
      if (i === to) return;
      this.isNewEvent = false;
      if (bytes[i] === Byte.OpenObject) this.events++;
      for (const number of this.numbers) number.restart();
    }
    for (const number of this.numbers) number.feed(bytes, i, to);
  }

  private endLine(): void {
    // An event ends with an empty line.
    if (this.isEmptyLine) this.isNewEvent = true;
    this.isEmptyLine = true;
    this.at = 0;
  }
}

const FIELD = "data:";

function endOfLine(bytes: Uint8Array, from: number): number {
  const lf = bytes.indexOf(Byte.Lf, from);
  const end = lf < 0 ? bytes.length : lf;
  const cr = bytes.subarray(from, end).indexOf(Byte.Cr);
  return cr < 0 ? end : from + cr;
}
