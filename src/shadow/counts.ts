import type { LimitReading } from "../limits/limiter.ts";
import { type Policy, scopeText } from "../limits/policy.ts";

/** Says what one limit in shadow looked at, and what it would have refused, of all callers and by consumer ("": nobody names them). */
export interface ShadowCount {
  /** Whose limit it is, as in "tier free". */
  readonly owner: string;
  readonly limit: string;
  readonly requests: number;
  readonly refused: number;
  readonly consumers: readonly (readonly [consumer: string, requests: number, refused: number])[];
}

/** The most limits that are counted between two writes, and the most pairs of a limit and a consumer. Further consumers are in the limit's sum alone. */
const MAX_LIMITS = 1000;
const MAX_PAIRS = 20_000;

interface Counter {
  readonly owner: string;
  readonly limit: string;
  requests: number;
  refused: number;
  readonly consumers: Map<string, { requests: number; refused: number }>;
}

/** Counts what limits in shadow look at and would refuse, until somebody takes it, in bounded memory. */
export class ShadowCounts {
  private readonly counters = new Map<string, Counter>();
  private readonly keys = new WeakMap<Policy, string>();
  private pairs = 0;

  /** Counts one request of a consumer that limits have looked at, some of them in shadow. */
  note(consumer: string, readings: readonly LimitReading[]): void {
    for (const { policy, denied } of readings) {
      if (!policy.shadow) continue;
      let key = this.keys.get(policy);
      if (key === undefined) {
        key = keyOf(scopeText(policy), policy.name);
        this.keys.set(policy, key);
      }
      const counter = this.counters.get(key) ?? this.begin(key, scopeText(policy), policy.name);
      if (counter === null) continue;
      const refused = denied ? 1 : 0;
      counter.requests++;
      counter.refused += refused;
      this.ofConsumer(counter, consumer, 1, refused);
    }
  }

  /** Adds what another process has counted. */
  add(counts: readonly ShadowCount[]): void {
    for (const { owner, limit, requests, refused, consumers } of counts) {
      const key = keyOf(owner, limit);
      const counter = this.counters.get(key) ?? this.begin(key, owner, limit);
      if (counter === null) continue;
      counter.requests += requests;
      counter.refused += refused;
      for (const [consumer, its, itsRefused] of consumers) this.ofConsumer(counter, consumer, its, itsRefused);
    }
  }

  /** Gives everything that is counted. */
  all(): ShadowCount[] {
    return [...this.counters.values()].map(({ consumers, ...counter }) => ({
      ...counter,
      consumers: [...consumers].map(([consumer, { requests, refused }]) => [consumer, requests, refused]),
    }));
  }

  /** Forgets everything: somebody else has it. */
  clear(): void {
    this.counters.clear();
    this.pairs = 0;
  }

  private begin(key: string, owner: string, limit: string): Counter | null {
    if (this.counters.size >= MAX_LIMITS) return null;
    const counter: Counter = { owner, limit, requests: 0, refused: 0, consumers: new Map() };
    this.counters.set(key, counter);
    return counter;
  }

  private ofConsumer({ consumers }: Counter, consumer: string, requests: number, refused: number): void {
    const counts = consumers.get(consumer);
    if (counts !== undefined) {
      counts.requests += requests;
      counts.refused += refused;
    } else if (this.pairs < MAX_PAIRS) {
      this.pairs++;
      consumers.set(consumer, { requests, refused });
    }
  }
}

const keyOf = (owner: string, limit: string): string => JSON.stringify([owner, limit]);
