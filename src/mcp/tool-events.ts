import type { Body, Sink } from "../http/body.ts";
import { type Shows, shownTools } from "./tool-list.ts";

enum Byte {
  Lf = 10,
  Cr = 13,
  Colon = 58,
}

/** The most bytes of one event that are held until it has ended. */
const MAX_EVENT = 16_777_216;
/** What an event that lists tools holds; any other goes on as it is. */
const MARKER = Buffer.from('"tools"');

/** Says that a stream can't be gone on with: it holds an event that is too large to be looked into. */
class EventTooLarge extends Error {
  constructor() {
    super(`an event of the stream is larger than ${MAX_EVENT} bytes`);
  }
}

/**
 * Passes a stream of Server-Sent Events on (WHATWG HTML §9.2.6), and takes the tools that a caller may not call out of the answers in it.
 * An event goes on when it has ended, before which no client can use it; comments, which keep connections alive, go on with their line.
 */
export class ToolEvents implements Body {
  readonly length = -1;
  /** The pieces of the event that has not ended. */
  private held: Uint8Array[] = [];
  private heldSize = 0;
  private isLineEmpty = true;
  private isCommentLine = false;
  /** True while the event is of nothing but comments. */
  private isBare = true;
  private afterCr = false;
  private hasFailed = false;

  /** `isPrivate`: see `shownTools`. */
  constructor(
    private readonly source: Body,
    private readonly shows: Shows,
    private readonly isPrivate: boolean,
  ) {}

  start(sink: Sink): void {
    this.source.start({
      write: (bytes) => this.write(bytes, sink),
      end: (trailers) => {
        if (this.hasFailed) return;
        // An event without its end is dropped by clients: it says nothing.
        this.held = [];
        sink.end(trailers);
      },
      fail: (reason) => {
        if (!this.hasFailed) sink.fail(reason);
      },
    });
  }

  resume(): void {
    this.source.resume();
  }

  cancel(): void {
    this.source.cancel();
  }

  private write(bytes: Uint8Array, sink: Sink): boolean {
    if (this.hasFailed) return true;
    const out: Uint8Array[] = [];
    const rest = this.pass(bytes, out);
    if (rest < bytes.length) {
      this.held.push(bytes.subarray(rest));
      this.heldSize += bytes.length - rest;
    }
    const fits = out.length === 0 ? true : sink.write(out.length === 1 ? (out[0] as Uint8Array) : Buffer.concat(out));
    if (this.heldSize <= MAX_EVENT) return fits;
    this.hasFailed = true;
    this.source.cancel();
    sink.fail(new EventTooLarge());
    return true;
  }

  /** Gives the events that have ended to `out`, and where in the piece the one begins that has not. */
  private pass(bytes: Uint8Array, out: Uint8Array[]): number {
    let from = 0;
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i];
      if (byte !== Byte.Lf && byte !== Byte.Cr) {
        this.afterCr = false;
        if (this.isLineEmpty) {
          this.isLineEmpty = false;
          this.isCommentLine = byte === Byte.Colon;
          this.isBare &&= this.isCommentLine;
        }
        i = endOfLine(bytes, i) - 1;
        continue;
      }
      const isRest = byte === Byte.Lf && this.afterCr;
      this.afterCr = byte === Byte.Cr;
      // The line has ended already.
      if (isRest) continue;
      // Its line feed belongs to it.
      const end = byte === Byte.Cr && bytes[i + 1] === Byte.Lf ? i + 2 : i + 1;
      if (this.isLineEmpty || this.isBare) {
        out.push(this.whole(bytes.subarray(from, end)));
        from = end;
        if (this.isLineEmpty) this.isBare = true;
      }
      this.isLineEmpty = true;
    }
    return from;
  }

  /** Gives an event that has ended, as it goes on. `end`: its last piece. */
  private whole(end: Uint8Array): Uint8Array {
    const event = this.held.length === 0 ? end : Buffer.concat([...this.held, end]);
    this.held = [];
    this.heldSize = 0;
    const bytes = Buffer.from(event.buffer, event.byteOffset, event.length);
    return bytes.includes(MARKER) ? this.looked(bytes) : event;
  }

  private looked(event: Buffer): Uint8Array {
    // A stream may begin with a byte order mark, which is no part of its first line.
    const lines = event
      .toString()
      .replace(/^\ufeff/, "")
      .split(/\r\n|\r|\n/);
    const isData = (line: string): boolean => line === "data" || line.startsWith("data:");
    const data = lines.filter(isData).map((line) => line.slice("data:".length).replace(/^ /, ""));
    const text = data.join("\n");
    const shown = shownTools(text, this.shows, this.isPrivate);
    if (shown === null || shown === text) return event;
    const others = lines.filter((line) => line !== "" && !isData(line));
    return Buffer.from(`${[...others, `data: ${shown}`].join("\n")}\n\n`);
  }
}

function endOfLine(bytes: Uint8Array, from: number): number {
  const lf = bytes.indexOf(Byte.Lf, from);
  const until = lf < 0 ? bytes.length : lf;
  // Carriage returns are rare: the part up to the line feed is looked through once.
  const cr = bytes.subarray(from, until).indexOf(Byte.Cr);
  return cr < 0 ? until : from + cr;
}
