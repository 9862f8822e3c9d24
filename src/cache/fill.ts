import type { Clock } from "../values/clock.ts";

/** For how long requests for what can't be kept don't wait for each other, in milliseconds, and for how many keys that is remembered. */
const PASS_FOR = 10_000;
const MAX_PASSED = 10_000;

/** Stands for a request that fetches what is to be kept, and what others may wait for. */
export class Fill {
  /** A change or a purge came in between: what is fetched must not be kept. */
  isVoid = false;
  private waiting: (() => void)[] | null = null;

  constructor(
    private readonly fills: Fills,
    /** What others find it by; `null`: nobody waits for it. */
    readonly name: string | null,
    readonly uri: string,
  ) {}

  /** Resolves when it has ended; to false when that takes longer than this. */
  endsWithin(milliseconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), milliseconds);
      this.waiting ??= [];
      this.waiting.push(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  /** Ends it: those who wait look again. A second call does nothing. */
  end(): void {
    this.fills.drop(this);
    const { waiting } = this;
    this.waiting = null;
    if (waiting !== null) for (const wake of waiting) wake();
  }
}

/** Knows who fetches what, so that one request fetches what many want. */
export class Fills {
  /** Those that others may wait for, and all of them. */
  private readonly named = new Map<string, Fill>();
  private readonly active = new Set<Fill>();
  /** Hashes of the keys whose responses could not be kept, and until when that is believed. Two with one hash do no harm: their requests don't wait for each other. */
  private readonly passed = new Map<number, number>();

  constructor(private readonly clock: Clock) {}

  /** Begins to fetch. `name`: what others find it by; `null`: nobody waits for it. */
  begin(name: string | null, uri: string): Fill {
    const fill = new Fill(this, name, uri);
    this.active.add(fill);
    if (name !== null) this.named.set(name, fill);
    return fill;
  }

  find(name: string): Fill | null {
    return this.named.get(name) ?? null;
  }

  /** Lets nobody wait for it any more. */
  hide(fill: Fill): void {
    if (fill.name !== null && this.named.get(fill.name) === fill) this.named.delete(fill.name);
  }

  drop(fill: Fill): void {
    this.active.delete(fill);
    this.hide(fill);
  }

  /** Keeps nothing of what is under way for a URI. */
  voidUri(uri: string): void {
    for (const fill of this.active) if (fill.uri === uri) fill.isVoid = true;
  }

  /** Keeps nothing of what is under way, and believes nothing of what could not be kept. */
  voidAll(): void {
    for (const fill of this.active) fill.isVoid = true;
    this.passed.clear();
  }

  /** Lets requests for a key pass each other for a while, since its response could not be kept. */
  pass(key: string): void {
    if (this.passed.size >= MAX_PASSED) this.passed.clear();
    this.passed.set(hashOf(key), this.clock.now() + PASS_FOR);
  }

  /** Takes note of a response that was kept under this key: requests for it wait for each other again. */
  kept(key: string): void {
    this.passed.delete(hashOf(key));
  }

  isPassed(key: string): boolean {
    if (this.passed.size === 0) return false;
    const hash = hashOf(key);
    const until = this.passed.get(hash);
    if (until === undefined) return false;
    if (this.clock.now() < until) return true;
    this.passed.delete(hash);
    return false;
  }
}

const hashOf = (key: string): number => Bun.hash.xxHash32(key);
