import type { Body, Sink } from "../http/body.ts";
import { WholeEvents } from "../tokens/whole-events.ts";
import { FirstContent } from "./first-content.ts";
import type { Failed } from "./outcome.ts";

/** The most bytes that are held: a stream that has shown nothing until then goes on as it is. */
const MAX_HELD = 65_536;

/** Takes note of what becomes of an answer after it has gone on to the caller. */
export interface Afterwards {
  /** Gives the event that ends a stream that breaks off, so that its reader is told. */
  readonly lastWords: () => Uint8Array;
  readonly onBroken: (reason: Error) => void;
}

/**
 * Holds back the body of a model's answer until it is worth passing on: a stream until its first event with content, an answer in one piece
 * until it is there as a whole, both up to 64 KiB. Until then it can be given up, and nobody has seen anything of it.
 */
export class HeldAnswer implements Body {
  readonly length: number;
  /** What it turned out to be: worth passing on (`null`), or why not. */
  readonly verdict: Promise<Failed | null>;
  private hasBegun = false;
  private readonly first: FirstContent | null;
  /** Passes a stream on event by event, so that another can be written behind any of them. */
  private readonly events: WholeEvents | null;
  private decide: (verdict: Failed | null) => void = () => {};
  private isDecided = false;
  private held: Uint8Array[] = [];
  private size = 0;
  private sink: Sink | null = null;
  private ending: { readonly trailers: Parameters<Sink["end"]>[0] } | null = null;
  private failure: Error | null = null;

  /** Begins to read. `isStream`: whether it is a stream of events; `judge` says why one in one piece is not worth passing on, `null`: it is. */
  constructor(
    private readonly source: Body,
    private readonly isStream: boolean,
    private readonly afterwards: Afterwards,
    judge: (whole: Uint8Array) => Failed | null = () => null,
  ) {
    this.length = source.length;
    this.first = isStream ? new FirstContent() : null;
    this.events = isStream ? new WholeEvents() : null;
    this.verdict = new Promise((resolve) => {
      this.decide = (verdict) => {
        this.isDecided = true;
        resolve(verdict);
      };
    });
    source.start({
      write: (bytes) => this.take(bytes),
      end: (trailers = null) => {
        this.ending = { trailers };
        if (this.sink !== null) this.end(this.sink, trailers);
        // A stream that ends without a word is none that anybody could use.
        else if (!this.isDecided) this.decide(isStream ? "connect" : judge(Buffer.concat(this.held, this.size)));
      },
      fail: (reason) => {
        this.failure = reason;
        if (this.sink !== null) this.breakOff(this.sink, reason);
        else if (!this.isDecided) this.decide("connect");
      },
    });
  }

  /** True when it is in one piece, and its first byte has come that is no blank. */
  get hasPart(): boolean {
    return this.hasBegun && !this.isStream;
  }

  /** True when it is in one piece, and there as a whole. */
  get isWhole(): boolean {
    return this.ending !== null && !this.isStream;
  }

  /** Gives it up, for this reason, unless it has turned out to be worth passing on, or to be broken, already. */
  giveUp(why: Failed): void {
    if (this.isDecided) return;
    this.decide(why);
    this.source.cancel();
  }

  start(sink: Sink): void {
    const { held } = this;
    this.held = [];
    this.sink = sink;
    let fits = true;
    for (const bytes of held) fits = this.pass(bytes, sink) && fits;
    if (this.failure !== null) this.breakOff(sink, this.failure);
    else if (this.ending !== null) this.end(sink, this.ending.trailers);
    else if (fits) this.source.resume();
  }

  resume(): void {
    this.source.resume();
  }

  cancel(): void {
    this.sink = null;
    this.held = [];
    this.source.cancel();
  }

  private take(bytes: Uint8Array): boolean {
    if (this.sink !== null) return this.pass(bytes, this.sink);
    this.held.push(bytes);
    this.size += bytes.length;
    if (this.isDecided) return false;
    this.hasBegun ||= bytes.some((byte) => byte > 32);
    const shown = this.first?.feed(bytes) ?? "nothing";
    if (shown === "content" || (shown === "nothing" && this.size > MAX_HELD)) this.decide(null);
    else if (shown !== "nothing") this.decide(shown);
    return !this.isDecided;
  }

  /** Tells the reader of a stream that it is not whole, in words that its client understands where there are some. */
  private breakOff(sink: Sink, reason: Error): void {
    this.afterwards.onBroken(reason);
    if (!this.isStream) {
      sink.fail(reason);
      return;
    }
    sink.write(Buffer.concat([Buffer.from(this.events?.gap ?? ""), this.afterwards.lastWords()]));
    sink.end();
  }

  private pass(bytes: Uint8Array, sink: Sink): boolean {
    const passed = this.events === null ? bytes : this.events.take(bytes);
    return passed === null || sink.write(passed);
  }

  private end(sink: Sink, trailers: Parameters<Sink["end"]>[0]): void {
    const rest = this.events?.rest() ?? null;
    if (rest !== null) sink.write(rest);
    sink.end(trailers);
  }
}
