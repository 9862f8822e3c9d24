import { bufferOf } from "../values/buffer.ts";
import type { NumbersAt } from "./number-at.ts";
import type { PassedText } from "./passed-text.ts";

enum Byte {
  Lf = 10,
  Cr = 13,
  Space = 32,
  Colon = 58,
  OpenObject = 123,
  CloseObject = 125,
}

const FIELD = "data:";
/** The most bytes of an event that are held back: a larger event goes on as it comes, since what is left out is small. */
const MAX_HELD = 65_536;

/**
 * Gives an event as it is to go on, in pieces, or `null` when it is to be left out. It is called when the event's JSON has been read to its
 * end.
 */
export type Sieve = (event: Uint8Array) => readonly Uint8Array[] | null;
type Write = (bytes: Uint8Array) => void;
/**
 * Looks at a whole text of JSON before it is read. Gives true when it has noted all that could be found in it, so that it need not be read.
 * `until`: the text's end.
 */
export type Glance = (bytes: Buffer, from: number, until: number) => boolean;

/** The fate of the event that is coming in. */
enum Event {
  Unknown = 0,
  GoesOn = 1,
  IsLeftOut = 2,
}

/**
 * Finds numbers in the data of a stream of Server-Sent Events (WHATWG HTML §9.2.6), each of whose events is one JSON text. With a sieve it
 * passes the stream on as well: each event when its JSON is complete, before which no client can use it, and comments and what is not JSON
 * at once.
 */
export class EventNumbers {
  /** The number of events with JSON in them. */
  events = 0;
  /**
   * The number of bytes of "data:" that the line has had; -1 when the line is something else; `FIELD.length` when its data is being read.
   */
  private at = 0;
  private isEmptyLine = true;
  private isNewEvent = true;
  private afterCr = false;
  private isObject = false;
  /** True when nothing but comments has come of the event. */
  private isBare = true;
  private isComment = false;
  private event = Event.Unknown;
  /**
   * True after an event that is left out: the end of its last line may be longer by a byte that is yet to come, and that is left out as
   * well.
   */
  private endsLeftOut = false;
  /** The pieces of the event that came before this one. */
  private held: Uint8Array[] = [];
  private heldSize = 0;
  /** Positions in the piece that is being read: where the bytes that are to be written begin, and where the event does. */
  private from = 0;
  private eventAt = 0;
  /** The parts of this piece that go on: written together at its end, for each write is a chunk of its own. */
  private out: Uint8Array[] = [];
  /** The position of the next carriage return in this piece; its end when there is none. */
  private nextCr = 0;
  /** The event's line of data that was not read, since a glance was enough. */
  private skipped: Uint8Array | null = null;

  constructor(
    private readonly numbers: NumbersAt,
    private readonly glance: Glance,
    private readonly sieve: Sieve | null = null,
    private readonly sink: Write = () => {},
    private readonly text: PassedText | null = null,
  ) {}

  /** Reads a piece of the stream. */
  feed(piece: Uint8Array): void {
    const bytes = bufferOf(piece);
    this.from = 0;
    this.eventAt = 0;
    this.nextCr = -1;
    let i = 0;
    while (i < bytes.length) {
      const byte = bytes[i] as number;
      if (byte === Byte.Lf || byte === Byte.Cr) {
        const isRest = byte === Byte.Lf && this.afterCr;
        this.afterCr = byte === Byte.Cr;
        i++;
        if (!isRest) this.endLine(bytes, i);
        else if (this.isBare && this.heldSize === 0 && this.event === Event.Unknown) {
          // It belongs to what stands before it.
          this.eventAt = i;
          if (this.endsLeftOut) this.from = i;
        }
        this.endsLeftOut &&= this.afterCr;
        continue;
      }
      this.afterCr = false;
      this.endsLeftOut = false;
      if (this.isEmptyLine) {
        this.isComment = byte === Byte.Colon;
        this.isBare &&= this.isComment;
        this.isEmptyLine = false;
      }
      if (this.at === FIELD.length) {
        const end = this.endOfLine(bytes, i);
        this.readData(bytes, i, end);
        i = end;
      } else if (this.at < 0) i = this.endOfLine(bytes, i);
      else {
        this.at = byte === FIELD.charCodeAt(this.at) ? this.at + 1 : -1;
        i++;
      }
    }
    if (this.sieve === null) return;
    this.endPiece(bytes);
    this.flush();
  }

  /** Ends the stream: the part of an event that has come goes on, unless it is to be left out. */
  end(): void {
    if (this.heldSize === 0) return;
    const event = this.whole();
    const passed = this.sieve === null || !this.isRead ? [event] : this.sieve(event);
    this.held = [];
    this.heldSize = 0;
    for (const piece of passed ?? []) this.sink(piece);
  }

  private write(bytes: Uint8Array): void {
    this.out.push(bytes);
  }

  private flush(): void {
    const { out } = this;
    if (out.length === 0) return;
    this.out = [];
    this.sink(out.length === 1 ? (out[0] as Uint8Array) : Buffer.concat(out));
  }

  private endOfLine(bytes: Uint8Array, from: number): number {
    if (this.nextCr < from) {
      const cr = bytes.indexOf(Byte.Cr, from);
      this.nextCr = cr < 0 ? bytes.length : cr;
    }
    const lf = bytes.indexOf(Byte.Lf, from);
    return lf < 0 ? this.nextCr : Math.min(lf, this.nextCr);
  }

  private readData(bytes: Buffer, from: number, to: number): void {
    let i = from;
    if (this.isNewEvent) {
      while (i < to && bytes[i] === Byte.Space) i++;
      if (i === to) return;
      this.isNewEvent = false;
      this.isObject = bytes[i] === Byte.OpenObject;
      if (this.isObject) {
        this.events++;
        this.text?.restart();
        this.text?.read(bytes, i, to);
      }
      this.numbers.restart();
      this.skipped = null;
      // Nearly all events are one line in one piece.
      if (this.isObject && to < bytes.length && bytes[to - 1] === Byte.CloseObject && this.glance(bytes, i, to)) {
        this.skipped = bytes.subarray(i, to);
        return;
      }
    } else {
      if (this.isObject) this.text?.read(bytes, from, to);
      if (this.skipped !== null) {
        // It was not the whole of it.
        const { skipped } = this;
        this.skipped = null;
        this.numbers.restart();
        this.numbers.feed(skipped, 0, skipped.length);
      }
    }
    this.numbers.feed(bytes, i, to);
  }

  private endLine(bytes: Uint8Array, end: number): void {
    const isEnd = this.isEmptyLine;
    this.isEmptyLine = true;
    this.at = 0;
    // An event ends with an empty line. Comments keep connections alive: they wait for no event.
    if (!isEnd) {
      if (this.sieve !== null && this.isBare && this.isComment && this.event === Event.Unknown) this.goesOn(bytes, end);
      return;
    }
    if (this.sieve !== null) this.endEvent(bytes, end);
    this.isNewEvent = true;
    this.isBare = true;
  }

  private endEvent(bytes: Uint8Array, end: number): void {
    if (this.event === Event.Unknown) this.decide(bytes, end);
    if (this.event === Event.IsLeftOut) {
      this.endsLeftOut = true;
      this.from = end;
    }
    this.eventAt = end;
    this.event = Event.Unknown;
  }

  /** Writes the parts of a piece that may go on, and keeps the event that has begun while its fate is not known. */
  private endPiece(bytes: Uint8Array): void {
    const end = bytes.length;
    if (this.event === Event.Unknown && this.eventAt < end && !this.isNewEvent && (!this.isObject || this.numbers.isClosed))
      this.decide(bytes, end);
    if (this.event === Event.GoesOn) this.eventAt = end;
    if (this.event === Event.IsLeftOut) this.from = this.eventAt = end;
    if (this.from < this.eventAt) this.write(bytes.subarray(this.from, this.eventAt));
    if (this.eventAt === end) return;
    this.held.push(bytes.subarray(this.eventAt));
    this.heldSize += end - this.eventAt;
    if (this.heldSize <= MAX_HELD) return;
    this.event = Event.GoesOn;
    this.write(this.whole());
    this.held = [];
    this.heldSize = 0;
  }

  /** Decides what becomes of the event, of which this piece holds the part before `end`. */
  private decide(bytes: Uint8Array, end: number): void {
    if (!this.isRead) {
      this.goesOn(bytes, end);
      this.event = Event.GoesOn;
      return;
    }
    const part = bytes.subarray(this.eventAt, end);
    const event = this.heldSize === 0 ? part : Buffer.concat([...this.held, part], this.heldSize + part.length);
    const passed = this.sieve === null ? [event] : this.sieve(event);
    this.event = passed === null ? Event.IsLeftOut : Event.GoesOn;
    if (passed?.[0] === event) {
      this.goesOn(bytes, end);
      return;
    }
    if (this.from < this.eventAt) this.write(bytes.subarray(this.from, this.eventAt));
    for (const piece of passed ?? []) this.write(piece);
    this.held = [];
    this.heldSize = 0;
    this.from = this.eventAt = end;
  }

  /** Tells whether the event has JSON in it, all of which that matters was read. */
  private get isRead(): boolean {
    return !this.isNewEvent && this.isObject;
  }

  /** Lets the part before `end` go on as it is. */
  private goesOn(bytes: Uint8Array, end: number): void {
    for (const piece of this.held) this.write(piece);
    if (this.held.length > 0) this.held = [];
    this.heldSize = 0;
    this.eventAt = Math.min(end, bytes.length);
  }

  private whole(): Uint8Array {
    return this.held.length === 1 ? (this.held[0] as Uint8Array) : Buffer.concat(this.held, this.heldSize);
  }
}
