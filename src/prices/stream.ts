import type { Body, Sink } from "../http/body.ts";
import { problem } from "../http/problem.ts";
import type { Trailers } from "../http/trailers.ts";
import { errorEvent } from "../tokens/error-event.ts";
import type { ModelApi } from "../tokens/prompt.ts";
import { WholeEvents } from "../tokens/whole-events.ts";
import type { ModelSpending } from "./spending.ts";

/** The refusal in a stream that limits in money can't hold any longer. */
const SPENT = problem("quotaExceeded", "The budget was used up while this answer was on its way: it ends here.");

export interface PricedStreamDeps {
  readonly spending: ModelSpending;
  readonly api: ModelApi;
  /** Gives the number of events that have come. */
  readonly events: () => number;
  /** Gives the tokens that have come, as they are estimated. */
  readonly passed: () => number;
  /** Gives the trailers of the stream, when it has ended. */
  readonly trailersOf: (trailers: Trailers | null) => Trailers | null;
  /** Learns that limits hold no more of the stream. */
  readonly onSpent: () => void;
}

/** Passes a stream of events on while there is money for it: it takes more as it grows, and ends with an error event when there is none. */
export class PricedStream implements Body {
  private readonly events = new WholeEvents();
  /** The tokens that are paid for. */
  private held: number;
  /** What came while more money was asked for; `null`: none is. */
  private waiting: Uint8Array[] | null = null;
  private hasEnded = false;
  /** How it ended while more money was asked for. */
  private afterwards: (() => void) | null = null;

  constructor(
    private readonly source: Body,
    private readonly deps: PricedStreamDeps,
  ) {
    this.held = deps.spending.tokensHeld;
  }

  get length(): number {
    return this.source.length;
  }

  start(sink: Sink): void {
    this.source.start({
      write: (bytes) => this.write(bytes, sink),
      end: (trailers = null) => this.later(() => this.end(sink, trailers)),
      fail: (reason) => this.later(() => this.fail(sink, reason)),
    });
  }

  resume(): void {
    if (this.waiting === null) this.source.resume();
  }

  cancel(): void {
    this.hasEnded = true;
    this.source.cancel();
  }

  private write(bytes: Uint8Array, sink: Sink): boolean {
    if (this.hasEnded) return true;
    if (this.waiting !== null) {
      this.waiting.push(bytes);
      return false;
    }
    if (this.deps.passed() > this.held) {
      const grown = this.grow();
      if (grown instanceof Promise) {
        this.waiting = [bytes];
        void this.grownLater(grown, sink);
        return false;
      }
      if (!grown) {
        this.stop(sink);
        return true;
      }
      this.held = this.deps.spending.tokensHeld;
    }
    const passed = this.events.take(bytes);
    return passed === null || sink.write(passed);
  }

  private grow(): boolean | Promise<boolean> {
    const { spending, passed } = this.deps;
    return spending.growFor(passed() - this.held);
  }

  private async grownLater(grown: Promise<boolean>, sink: Sink): Promise<void> {
    // Where nobody can be asked, nobody has said yes.
    const isGrown = await grown.catch(() => false);
    const waiting = this.waiting ?? [];
    this.waiting = null;
    if (this.hasEnded) return;
    if (!isGrown) {
      this.stop(sink);
      return;
    }
    this.held = this.deps.spending.tokensHeld;
    let fits = true;
    for (const bytes of waiting) {
      const passed = this.events.take(bytes);
      if (passed !== null) fits = sink.write(passed) && fits;
    }
    const { afterwards } = this;
    if (afterwards !== null) afterwards();
    else if (fits) this.source.resume();
  }

  /** Ends the stream as its source does, once it is known whether there is money for what came before. */
  private later(work: () => void): void {
    if (this.hasEnded) return;
    if (this.waiting === null) work();
    else this.afterwards = work;
  }

  private end(sink: Sink, trailers: Trailers | null): void {
    this.hasEnded = true;
    const rest = this.events.rest();
    if (rest !== null) sink.write(rest);
    sink.end(this.deps.trailersOf(trailers));
  }

  /** Breaks off behind the last whole event: nobody reads a part of one, and whoever passes this on may have a last word. */
  private fail(sink: Sink, reason: Error): void {
    this.hasEnded = true;
    sink.fail(reason);
  }

  /** Ends the stream before its time. */
  private stop(sink: Sink): void {
    const { api, events, trailersOf, onSpent } = this.deps;
    this.hasEnded = true;
    this.source.cancel();
    onSpent();
    const { gap } = this.events;
    if (gap !== "") sink.write(Buffer.from(gap));
    sink.write(errorEvent(api, SPENT, events()));
    sink.end(trailersOf(null));
  }
}
