import { type BreakerSignal, type HealthSignal, held, type Signals, type SignalsHearer } from "../shared/signals.ts";
import type { RedisLink } from "./link.ts";

export interface RedisSignalsDeps {
  readonly link: RedisLink;
  readonly hearer: SignalsHearer;
  readonly onFault: (error: unknown) => void;
}

interface Said<T> {
  readonly id: string;
  readonly origin: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly what: T;
}

/** Milliseconds that an instance may be behind the others. */
const LOOK_EVERY = 250;

/**
 * Passes on what instances tell each other at once: the system's status, and which targets are cut off. A signal that is given while Redis
 * is away is passed on when Redis is back, unless a later one has come meanwhile.
 */
export class RedisSignals implements Signals {
  private readonly origin = Bun.randomUUIDv7();
  private readonly seen = new Map<string, string>();
  /** The signals that could not be passed on yet. */
  private readonly unsaid = new Map<string, Said<unknown>>();
  /** The latest signal of each kind and target: passed on again when Redis was emptied. */
  private readonly latest = new Map<string, Said<unknown>>();
  private readonly timer: Timer;
  private isLooking = false;
  private count = 0;

  constructor(private readonly deps: RedisSignalsDeps) {
    this.timer = setInterval(() => {
      if (!this.isLooking && deps.link.isUp) void this.look();
    }, LOOK_EVERY);
    this.timer.unref();
  }

  close(): void {
    clearInterval(this.timer);
  }

  sayHealth({ status, by, reason, until }: HealthSignal): void {
    this.say("health", { status, by, reason, until } satisfies HealthSignal);
  }

  sayBreaker({ since: _, ...signal }: BreakerSignal): void {
    // Another machine's clock says nothing of this one's.
    this.say(`${signal.upstream}\n${signal.url}`, signal);
  }

  /** Says nothing: what one machine can't reach another may. */
  sayTarget(): void {}

  private get key(): string {
    return `${this.deps.link.prefix}:signals`;
  }

  private say(field: string, what: unknown): void {
    const said: Said<unknown> = { id: `${++this.count}-${this.origin}`, origin: this.origin, at: Date.now(), what };
    this.seen.set(field, said.id);
    this.unsaid.set(field, said);
    this.latest.set(field, said);
    if (this.deps.link.isUp) void this.speak();
  }

  private async speak(): Promise<void> {
    try {
      for (const [field, said] of this.unsaid) {
        await this.deps.link.run((client) => client.hset(this.key, field, JSON.stringify(said)));
        if (this.unsaid.get(field) === said) this.unsaid.delete(field);
      }
    } catch {
      // It is said with the next look.
    }
  }

  /** Takes over the signals of other instances; for a timer, and once at the start. */
  async look(): Promise<void> {
    this.isLooking = true;
    try {
      const all = await this.deps.link.run((client) => client.hgetall(this.key));
      for (const [field, text] of Object.entries(all)) {
        const said = JSON.parse(text) as Said<unknown>;
        if (this.seen.get(field) === said.id) continue;
        const mine = this.unsaid.get(field);
        // Ours is later: it takes the place of theirs.
        if (mine !== undefined && mine.at >= said.at) continue;
        this.unsaid.delete(field);
        this.latest.set(field, said);
        this.seen.set(field, said.id);
        if (said.origin !== this.origin) this.applyRemoteChanges(field, said);
      }
      for (const [field, said] of this.latest) if (!Object.hasOwn(all, field)) this.unsaid.set(field, said);
      await this.speak();
    } catch {
      // Redis is away: the next look finds what is there then.
    } finally {
      this.isLooking = false;
    }
  }

  private applyRemoteChanges(field: string, { at, what }: Said<unknown>): void {
    const since = this.deps.link.clock.now() - Math.max(0, Date.now() - at);
    const { hearer } = this.deps;
    try {
      if (field === "health") {
        const signal = what as HealthSignal;
        if (signal.until === null || signal.until > Date.now()) hearer.onHealth(signal);
      } else {
        const { upstream, url, state, isHeld, isByHand, failedProbes } = what as BreakerSignal;
        // An instance of a version before says neither.
        const signal = { upstream, url, state, isHeld, isByHand: isByHand ?? true, failedProbes: failedProbes ?? 0, since };
        // What a person has opened stays so, here and for instances that come later.
        if (hearer.onBreaker(signal) === "held") this.sayBreaker(held(signal));
      }
    } catch (error) {
      this.deps.onFault(error);
    }
  }
}
