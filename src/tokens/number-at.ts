enum Byte {
  Tab = 9,
  Lf = 10,
  Cr = 13,
  Space = 32,
  Quote = 34,
  Comma = 44,
  Zero = 48,
  Nine = 57,
  Colon = 58,
  OpenList = 91,
  Backslash = 92,
  CloseList = 93,
  OpenObject = 123,
  CloseObject = 125,
}

/** The most characters that a number has. */
const MAX_DIGITS = 32;
/** Whole numbers below this one are read digit by digit. */
const MAX_PLAIN = 1e14;
/** The bytes of a string that are looked at one by one. */
const SHORT = 24;
/** The most bytes that a name that is looked for has: longer names are known to be others. */
const MAX_NAME = 260;

/** Holds a name that is looked for, and the names that are looked for in its object. */
interface Step {
  readonly name: Buffer;
  /** The place whose path ends here; -1 when none does. */
  place: number;
  /** Further places whose path ends here, which get its numbers as well. */
  readonly others: number[];
  readonly inner: Step[];
}

/** Tells apart the kinds of values at a place. */
export enum Kind {
  Nothing = 0,
  Number = 1,
  Object = 2,
  EmptyList = 3,
  /** A list that is not empty. */
  List = 4,
  /** A text, true, false or null. */
  Other = 5,
}

/** Holds places in JSON texts, prepared so that all are looked for at once. */
export class Places {
  readonly root: Step[] = [];
  readonly size: number;

  /** Takes, for each place, the paths that lead there: names of fields from the outside in. */
  constructor(paths: readonly (readonly (readonly string[])[])[]) {
    this.size = paths.length;
    for (const [place, each] of paths.entries()) for (const path of each) this.add(path, place);
  }

  private add(path: readonly string[], place: number): void {
    let steps = this.root;
    for (const [i, text] of path.entries()) {
      const name = Buffer.from(text);
      let step = steps.find((step) => step.name.equals(name));
      if (step === undefined) {
        step = { name, place: -1, others: [], inner: [] };
        steps.push(step);
      }
      if (i === path.length - 1) {
        if (step.place >= 0) step.others.push(step.place);
        step.place = place;
      }
      steps = step.inner;
    }
  }
}

/**
 * Finds the numbers at some places of a JSON text that comes in pieces, without keeping the text. Strings are skipped by the platform's own
 * search, so that a megabyte costs about a millisecond. Of several numbers at a place the last one counts. It takes the text to be JSON: in
 * anything else it may find nothing or something.
 */
export class NumbersAt {
  /** The numbers that were found, by place; they stay when another text begins. */
  readonly values: (number | null)[];
  /** The kind of value at each place in this text. */
  readonly kinds: Uint8Array;
  /** The number of containers that are open. */
  private depth = 0;
  /** The names that are looked for in each open container that lies on a path; and the number of such containers. */
  private readonly open: (readonly Step[])[] = [];
  private onPath = 0;
  /** True when the next string, directly inside a path's object, is a field's name. */
  private expectsName = false;
  /** The name that was read last, if it is looked for and its value has not come yet. */
  private hit: Step | null = null;
  /** The place whose list has just been opened; -1 when there is none. */
  private listAt = -1;
  private inString = false;
  private isEscaped = false;
  /** The bytes that have come of the string that is being read, when it is a name that may matter; -1 when it is not. */
  private nameLength = -1;
  /** The bytes of a name that comes in several pieces; made for the first one that does. */
  private name: Buffer | null = null;
  /** The number that is being read, as long as it has nothing but digits; -1: there is none, or it stands in `digits`. */
  private integer = -1;
  private digits = "";

  constructor(private readonly places: Places) {
    this.values = new Array<number | null>(places.size).fill(null);
    this.kinds = new Uint8Array(places.size);
  }

  /** Begins another text. */
  restart(): void {
    this.depth = 0;
    this.onPath = 0;
    this.inString = false;
    this.isEscaped = false;
    this.hit = null;
    this.listAt = -1;
    this.integer = -1;
    this.digits = "";
    this.kinds.fill(Kind.Nothing);
  }

  /** Tells whether the text's outermost object or list has been closed, or none has been opened. */
  get isClosed(): boolean {
    return this.depth === 0;
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
      if ((this.integer >= 0 || this.digits !== "") && !isOfNumber(byte)) this.endNumber();
      if (byte === Byte.Space || byte === Byte.Lf || byte === Byte.Cr || byte === Byte.Tab) continue;
      if (this.listAt >= 0) {
        this.kinds[this.listAt] = byte === Byte.CloseList ? Kind.EmptyList : Kind.List;
        this.listAt = -1;
      }
      switch (byte) {
        case Byte.Quote:
          this.inString = true;
          this.nameLength = this.expectsName && this.depth === this.onPath ? 0 : -1;
          this.found(Kind.Other);
          this.hit = null;
          break;
        case Byte.OpenObject:
        case Byte.OpenList: {
          this.depth++;
          const { hit } = this;
          this.found(byte === Byte.OpenObject ? Kind.Object : Kind.List);
          if (byte === Byte.OpenObject && (this.depth === 1 || (hit !== null && hit.inner.length > 0))) {
            this.open[this.onPath++] = hit === null ? this.places.root : hit.inner;
            this.expectsName = true;
          } else if (byte === Byte.OpenList && hit !== null) this.listAt = hit.place;
          this.hit = null;
          break;
        }
        case Byte.CloseObject:
        case Byte.CloseList:
          if (this.depth > 0) this.depth--;
          if (this.onPath > this.depth) this.onPath = this.depth;
          this.expectsName = false;
          this.hit = null;
          break;
        case Byte.Comma:
          this.expectsName = this.depth === this.onPath;
          this.hit = null;
          break;
        case Byte.Colon:
          this.expectsName = false;
          break;
        default:
          if (this.hit === null || this.hit.place < 0) break;
          if (!isOfNumber(byte)) {
            this.found(Kind.Other);
            this.hit = null;
          } else this.readDigit(byte);
      }
    }
  }

  private readDigit(byte: number): void {
    if (this.digits === "" && byte >= Byte.Zero && byte <= Byte.Nine && this.integer < MAX_PLAIN) {
      this.integer = Math.max(0, this.integer) * 10 + byte - Byte.Zero;
      return;
    }
    if (this.integer >= 0) this.digits = String(this.integer);
    this.integer = -1;
    if (this.digits.length < MAX_DIGITS) this.digits += String.fromCharCode(byte);
  }

  private found(kind: Kind): void {
    if (this.hit !== null && this.hit.place >= 0) this.kinds[this.hit.place] = kind;
  }

  private endNumber(): void {
    const value = this.integer >= 0 ? this.integer : Number(this.digits);
    if (Number.isFinite(value) && this.hit !== null) {
      this.values[this.hit.place] = value;
      for (const other of this.hit.others) this.values[other] = value;
      this.found(Kind.Number);
    }
    this.integer = -1;
    this.digits = "";
    this.hit = null;
  }

  /** Reads on in a string and gives the position after what it has read. */
  private readString(bytes: Uint8Array, from: number, to: number): number {
    if (this.nameLength >= 0) return this.readName(bytes, from, to);
    let i = from;
    if (this.isEscaped) {
      this.isEscaped = false;
      i++;
    }
    // Most strings are so short that a call of the platform's search would cost more.
    for (let near = i; near < to && near < i + SHORT; near++) {
      const byte = bytes[near];
      if (byte === Byte.Backslash) break;
      if (byte !== Byte.Quote) continue;
      this.inString = false;
      return near + 1;
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
    const before = this.nameLength;
    const until = Math.min(to, from + MAX_NAME - before);
    let i = from;
    while (i < until && bytes[i] !== Byte.Quote && bytes[i] !== Byte.Backslash) i++;
    const isWhole = i < to && bytes[i] === Byte.Quote;
    if (isWhole && before === 0) {
      this.hit = this.named(bytes, from, i);
    } else if (isWhole || i === to) {
      this.name ??= Buffer.alloc(MAX_NAME);
      this.name.set(bytes.subarray(from, i), before);
      this.nameLength = before + i - from;
      if (!isWhole) return to;
      this.hit = this.named(this.name, 0, this.nameLength);
    } else {
      // A name with escapes, or one so long, is taken for another one.
      this.nameLength = -1;
      return i;
    }
    this.inString = false;
    return i + 1;
  }

  /** Gives the step whose name stands in `bytes` from `from` up to `to`; `null` when that is not looked for. */
  private named(bytes: Uint8Array, from: number, to: number): Step | null {
    const steps = this.open[this.onPath - 1] ?? [];
    for (const step of steps) {
      const { name } = step;
      if (name.length !== to - from) continue;
      let i = 0;
      while (i < name.length && name[i] === bytes[from + i]) i++;
      if (i === name.length) return step;
    }
    return null;
  }
}

/** Tells whether a byte is a digit, sign, point or exponent. */
const isOfNumber = (byte: number): boolean =>
  (byte >= 48 && byte <= 57) || byte === 45 || byte === 46 || byte === 43 || byte === 101 || byte === 69;
