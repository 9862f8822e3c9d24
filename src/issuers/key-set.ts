import type { Clock } from "../values/clock.ts";
import { IssuerTrouble } from "./ask.ts";
import { FetchPolicy } from "./fetch-policy.ts";
import type { KeySource } from "./key-source.ts";
import { type VerificationKey, VerificationKeys } from "./verification-keys.ts";

/** Milliseconds that a fetch may take, and that a request waits for one. */
const FETCH_WITHIN = 5000;
const WAIT_AT_MOST = 2000;
/** The most requests that wait for one issuer's keys: further ones are told to come again. */
const MAX_WAITING = 10_000;

/** Says by which keys a token may be checked: `unknown`: none has its name; `unavailable`: nobody can say. */
export type FoundKeys =
  | { readonly kind: "keys"; readonly keys: readonly VerificationKey[]; readonly version: number }
  | { readonly kind: "unknown" }
  | { readonly kind: "unavailable"; readonly why: string };

/** Counts fetches by their outcome. */
export interface FetchCounts {
  brought: number;
  failed: number;
}

export interface KeySetDeps {
  readonly source: KeySource;
  readonly clock: Clock;
}

interface Fetch {
  /** Its number, by which is seen whether it began before somebody asked. */
  readonly number: number;
  /** Resolves when it has ended, well or not. */
  readonly ended: Promise<void>;
}

/** Keeps an issuer's public keys, and fetches them when they are due or one is missing. `FetchPolicy` says when. */
export class KeySet {
  readonly counts: FetchCounts = { brought: 0, failed: 0 };
  /** Hears of it when the keys can't be fetched any more, or can be again: `trouble` says which. */
  onChange: () => void = () => {};
  private readonly policy = new FetchPolicy();
  private keys: VerificationKeys | null = null;
  private version = 0;
  private underWay: Fetch | null = null;
  private begun = 0;
  private waiting = 0;
  private why = "its keys were never fetched";
  private readonly closing = new AbortController();

  constructor(private readonly deps: KeySetDeps) {}

  /** Says why the keys can't be fetched; `null` while they can, or were not yet. */
  get trouble(): string | null {
    return this.policy.isAway ? this.why : null;
  }

  /** The time at which they were fetched last, as of `clock.now()`; `null`: never. */
  get fetchedAt(): number | null {
    return this.policy.goodAt;
  }

  /** True while there is a set that may serve. */
  get isUsable(): boolean {
    const standing = this.policy.standing(this.deps.clock.now());
    return standing !== "none" && standing !== "lapsed";
  }

  /** Fetches the keys in the background where they are due, or their file has changed; for the start and a timer. */
  look(): void {
    const standing = this.policy.standing(this.deps.clock.now());
    if (standing !== "fresh" || this.policy.isAway) this.begin(null);
    else
      this.deps.source.hasChanged?.().then(
        (hasChanged) => {
          if (hasChanged) this.begin(null);
        },
        () => {},
      );
  }

  /**
   * Gives the keys by which a token with this `kid` may be checked, at once where they are there, and else after a fetch. `newerThan`: the
   * version of keys that were tried in vain.
   */
  find(kid: string | null, algorithm: string, newerThan = 0): FoundKeys | Promise<FoundKeys> {
    const standing = this.policy.standing(this.deps.clock.now());
    if (standing === "due" || standing === "overdue") this.begin(null);
    // A set that nobody has asked for in a while may be older than the issuer's last rotation.
    const isDoubtful = standing === "overdue" && this.underWay !== null && !this.policy.isAway;
    const found = isDoubtful ? null : this.among(kid, algorithm, newerThan);
    return found ?? this.afterFetch(kid, algorithm, newerThan);
  }

  close(): void {
    this.closing.abort();
  }

  private among(kid: string | null, algorithm: string, newerThan: number): FoundKeys | null {
    if (this.keys === null || this.version <= newerThan || !this.isUsable) return null;
    const keys = this.keys.find(kid, algorithm);
    return keys === null || (kid === null && keys.length === 0) ? null : { kind: "keys", keys, version: this.version };
  }

  private async afterFetch(kid: string | null, algorithm: string, newerThan: number): Promise<FoundKeys> {
    if (this.waiting >= MAX_WAITING) return { kind: "unavailable", why: "too many requests wait for its keys" };
    const before = this.begun;
    const late = Promise.withResolvers<"late">();
    const timer = setTimeout(() => late.resolve("late"), WAIT_AT_MOST);
    this.waiting++;
    try {
      for (;;) {
        const fetch = this.underWay ?? this.begin(kid);
        if (fetch === null) return this.among(kid, algorithm, newerThan) ?? this.without();
        if ((await Promise.race([fetch.ended, late.promise])) === "late")
          return this.among(kid, algorithm, newerThan) ?? { kind: "unavailable", why: `its keys were not there within ${WAIT_AT_MOST} ms` };
        const found = this.among(kid, algorithm, newerThan);
        // One that began before may have missed what came in between.
        if (found !== null) return found;
        if (fetch.number > before) return this.without();
      }
    } finally {
      clearTimeout(timer);
      this.waiting--;
    }
  }

  /** Says what a missing key means: where the issuer can't be asked, nobody knows whether it is one of its keys. */
  private without(): FoundKeys {
    return this.isUsable && !this.policy.isAway ? { kind: "unknown" } : { kind: "unavailable", why: this.why };
  }

  /** Begins a fetch where the budget has one, and none is under way. `kid`: the key that is looked for. */
  private begin(kid: string | null): Fetch | null {
    const { clock } = this.deps;
    if (this.underWay !== null || this.closing.signal.aborted || !this.policy.take(clock.now())) return null;
    this.begun++;
    const fetch: Fetch = { number: this.begun, ended: this.fetch(kid) };
    this.underWay = fetch;
    return fetch;
  }

  private async fetch(kid: string | null): Promise<void> {
    const { source, clock } = this.deps;
    const wasAway = this.policy.isAway;
    try {
      const signal = AbortSignal.any([AbortSignal.timeout(FETCH_WITHIN), this.closing.signal]);
      const read = VerificationKeys.read(await source.load(signal));
      if (typeof read === "string") throw new IssuerTrouble(`what it publishes ${read}`);
      this.keys = read;
      this.version++;
      this.counts.brought++;
      this.policy.went(clock.now(), kid !== null && read.has(kid));
      if (wasAway) this.onChange();
    } catch (error) {
      if (this.closing.signal.aborted) return;
      this.why = error instanceof IssuerTrouble ? error.message : `its keys can't be read: ${error}`;
      this.counts.failed++;
      this.policy.failed();
      if (!wasAway) this.onChange();
    } finally {
      this.underWay = null;
    }
  }
}
