import type { Clock } from "../values/clock.ts";
import { parseDuration } from "../values/units.ts";
import type { SystemHealth } from "./health.ts";

/** Says when the system becomes DEGRADED by itself. Times in milliseconds; a signal that is `null` is not looked at. */
export interface AutoPolicy {
  readonly eventLoopLag: number | null;
  /** The share of forwarded requests that failed, above 0 up to 1. */
  readonly errorRate: number | null;
  readonly latency: number | null;
  /** The time for which a signal must be over its bound. */
  readonly for: number;
  /** The time for which all signals must be below their bounds before it is NORMAL again. */
  readonly recoverAfter: number;
}

export interface AutoConfig {
  readonly eventLoopLag: string | null;
  readonly errorRate: number | null;
  readonly latency: string | null;
  readonly for: string;
  readonly recoverAfter: string;
}

export const compileAuto = (config: AutoConfig): AutoPolicy => ({
  eventLoopLag: config.eventLoopLag === null ? null : parseDuration(config.eventLoopLag),
  errorRate: config.errorRate,
  latency: config.latency === null ? null : parseDuration(config.latency),
  for: parseDuration(config.for),
  recoverAfter: parseDuration(config.recoverAfter),
});

/** Holds what was measured since the last look. */
export interface Signals {
  /** Milliseconds. */
  readonly eventLoopLag: number;
  /** `null` when there were too few requests to say. */
  readonly errorRate: number | null;
  readonly latency: number | null;
}

/** Holds what one process has seen since it was asked last: plain, so that it can be told. */
export interface Observed {
  readonly requests: number;
  readonly failed: number;
  /** Milliseconds that all of these requests took together. */
  readonly slowness: number;
  /** Milliseconds. */
  readonly eventLoopLag: number;
}

/** The number of requests between two looks below which a share of them says nothing. */
const FEWEST = 5;
/** Milliseconds between two looks. */
export const LOOK_EVERY = 500;
/** Milliseconds between two tellings of what a worker has seen. */
export const TELL_EVERY = 200;

/**
 * Makes the system DEGRADED while a signal is over its bound, and NORMAL again some time after all are below: two different spans, so that
 * it does not swing. What a person has set is not undone: it ends DEGRADED only when it began it itself. One process decides for all of a
 * gateway; the others tell it what they have seen.
 */
export class AutoHealth {
  private overSince: number | null = null;
  private belowSince: number | null = null;
  private requests = 0;
  private failed = 0;
  private slowness = 0;
  /** The longest lag of another process' event loop since the last look. */
  private othersLag = 0;
  private lookedAt: number;

  constructor(
    private readonly policy: AutoPolicy,
    private readonly health: SystemHealth,
    private readonly clock: Clock,
  ) {
    this.lookedAt = clock.now();
  }

  /** Counts one forwarded request that has ended. `latency` in milliseconds. */
  observe(isFailure: boolean, latency: number): void {
    this.requests++;
    if (isFailure) this.failed++;
    this.slowness += latency;
  }

  /** Counts what another process has seen. */
  add({ requests, failed, slowness, eventLoopLag }: Observed): void {
    this.requests += requests;
    this.failed += failed;
    this.slowness += slowness;
    this.othersLag = Math.max(this.othersLag, eventLoopLag);
  }

  /** Gives what was seen since the last call, for a timer that should come every `every` milliseconds: the time by which it is late is the event loop's lag. */
  take(every: number): Observed {
    const now = this.clock.now();
    const { requests, failed, slowness } = this;
    const eventLoopLag = Math.max(0, now - this.lookedAt - every);
    this.lookedAt = now;
    this.requests = 0;
    this.failed = 0;
    this.slowness = 0;
    return { requests, failed, slowness, eventLoopLag };
  }

  /** Measures and decides, for a timer that should come every `LOOK_EVERY`. */
  look(): void {
    const { requests, failed, slowness, eventLoopLag } = this.take(LOOK_EVERY);
    const isEnough = requests >= FEWEST;
    this.judge(
      {
        eventLoopLag: Math.max(eventLoopLag, this.othersLag),
        errorRate: isEnough ? failed / requests : null,
        latency: isEnough ? slowness / requests : null,
      },
      this.lookedAt,
    );
    this.othersLag = 0;
  }

  /** Decides by the signals that were measured. `now` in milliseconds. */
  judge(signals: Signals, now: number): void {
    const over = this.over(signals);
    if (over === null) {
      this.overSince = null;
      this.belowSince ??= now;
      const { status, by } = this.health.current();
      if (status === "DEGRADED" && by === AUTO && now - this.belowSince >= this.policy.recoverAfter)
        this.health.set("NORMAL", AUTO, `all signals below their bounds for ${this.policy.recoverAfter / 1000} s`, null);
      return;
    }
    this.belowSince = null;
    this.overSince ??= now;
    if (now - this.overSince >= this.policy.for && !this.health.isDegraded)
      this.health.set("DEGRADED", AUTO, `${over} for ${this.policy.for / 1000} s`, null);
  }

  /** Gives the first signal that is over its bound, in words; `null` when none is. */
  private over({ eventLoopLag, errorRate, latency }: Signals): string | null {
    const { policy } = this;
    if (policy.eventLoopLag !== null && eventLoopLag >= policy.eventLoopLag)
      return `eventLoopLag ${Math.round(eventLoopLag)} ms is at least ${policy.eventLoopLag} ms`;
    if (policy.errorRate !== null && errorRate !== null && errorRate >= policy.errorRate)
      return `errorRate ${errorRate.toFixed(2)} is at least ${policy.errorRate}`;
    if (policy.latency !== null && latency !== null && latency >= policy.latency)
      return `latency ${Math.round(latency)} ms is at least ${policy.latency} ms`;
    return null;
  }
}

const AUTO = "auto";
