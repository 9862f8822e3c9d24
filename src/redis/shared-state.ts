import { type RedisClient, RedisDown, type RedisLink } from "./link.ts";

/** Says how a state is passed on, and how two states that went apart are merged. */
export interface Shape<S> {
  toText(state: S): string;
  fromText(text: string): S;
  /** Applies to `remote` the changes that `local` has made since both were like `base`, while Redis was away. */
  merge(remote: S, local: S, base: S, now: number): S;
}

const SWAP = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local version = redis.call('HGET', KEYS[1], 'v') or ''
if version == ARGV[1] then
  redis.call('HSET', KEYS[1], 'v', ARGV[2], 's', ARGV[3])
  return { 1, now }
end
return { 0, now, version, redis.call('HGET', KEYS[1], 's') or '' }`;

interface Scripts {
  sluiceSwap(key: string, expected: string, next: string, state: string): Promise<[number, number, string?, string?]>;
}

/** Says that others have changed the state again and again, and the time that a request may wait is over. */
export class Contended extends Error {}

interface Waiting<S> {
  /** The time until which the change is tried, by this instance's clock. */
  readonly until: number;
  readonly work: (state: S, now: number) => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** A version that Redis never has. */
const UNKNOWN = "?";

/**
 * Keeps a small state that several instances change as one. Each change is made on a copy of the last state that is known, and put into
 * Redis if that is still the last (compare and swap); otherwise it is made again on the state that is there now. So the same code serves
 * one instance and many. Changes that come together go together. While Redis is away changes are made here, and merged afterwards.
 */
export class SharedState<S> {
  private version = UNKNOWN;
  /** The state when Redis was last asked. */
  private base: string;
  private isApart = false;
  private waiting: Waiting<S>[] = [];
  private isAsking = false;
  private ahead: number;
  private latest = 0;
  private count = 0;
  private readonly origin = Bun.randomUUIDv7();

  constructor(
    private readonly link: RedisLink,
    private readonly key: string,
    private readonly shape: Shape<S>,
    /** The state as this instance knows it; changes alter it while Redis is away. */
    public state: S,
  ) {
    link.client.defineCommand("sluiceSwap", { lua: SWAP, numberOfKeys: 1 });
    this.base = shape.toText(state);
    // Until Redis has said what time it is: its clock is the system's, or nearly.
    this.ahead = link.clock.wall() - link.clock.now();
  }

  /** Gives Redis' time in milliseconds since 1970, as far as it is known; it never runs backwards. */
  now(): number {
    this.latest = Math.max(this.latest, Math.floor(this.link.clock.now() + this.ahead));
    return this.latest;
  }

  /**
   * Makes a change, perhaps several times on different copies, and gives the result of the last time. While Redis is away the change is
   * made at once. Rejects with `Contended` when others were faster for as long as a request may wait; with `isPatient` it goes on trying.
   */
  run<T>(work: (state: S, now: number) => T, isPatient = false): T | Promise<T> {
    if (!this.link.isUp) return this.alone(work);
    const until = isPatient ? Number.POSITIVE_INFINITY : this.link.clock.now() + this.link.patience;
    return new Promise<T>((resolve, reject) => {
      this.waiting.push({ until, work, resolve: resolve as (value: unknown) => void, reject });
      if (!this.isAsking) void this.ask();
    });
  }

  /** Takes over what others have changed. */
  async refresh(): Promise<void> {
    if (this.link.isUp) await this.run(() => {}, true);
  }

  private alone<T>(work: (state: S, now: number) => T): T {
    this.isApart = true;
    return work(this.state, this.now());
  }

  private async ask(): Promise<void> {
    this.isAsking = true;
    // What comes in the same turn of the event loop goes along.
    await Promise.resolve();
    while (this.waiting.length > 0) {
      const changes = new Set(this.waiting);
      this.waiting = [];
      try {
        await this.make(changes);
      } catch (error) {
        for (const { work, resolve, reject } of changes) {
          if (!(error instanceof RedisDown)) reject(error);
          else
            try {
              resolve(this.alone(work));
            } catch (own) {
              reject(own);
            }
        }
      }
    }
    this.isAsking = false;
  }

  /** Makes all of these changes; those whose time is over are taken out and rejected. */
  private async make(changes: Set<Waiting<S>>): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      if (attempt > 1) {
        const time = this.link.clock.now();
        for (const change of changes)
          if (time > change.until) {
            changes.delete(change);
            change.reject(new Contended("others were faster"));
          }
        if (changes.size === 0) return;
      }
      const now = this.now();
      let results: (() => void)[] = [];
      let copy: S | null = null;
      let text = "";
      let expected = UNKNOWN;
      // Apart, or for the first time: only what Redis has can be gone on with.
      if (!this.isApart && this.version !== UNKNOWN) {
        copy = this.shape.fromText(this.shape.toText(this.state));
        const made = copy;
        results = Array.from(changes, ({ work, resolve, reject }) => {
          try {
            const value = work(made, now);
            return () => resolve(value);
          } catch (error) {
            return () => reject(error);
          }
        });
        text = this.shape.toText(made);
        expected = this.version;
      }
      const next = `${++this.count}-${this.origin}`;
      const [isDone, time, version = "", state = ""] = await this.link.run((client: RedisClient) =>
        (client as unknown as Scripts).sluiceSwap(this.key, expected, next, text),
      );
      this.ahead = time - this.link.clock.now();
      if (isDone === 1 && copy !== null) {
        this.state = copy;
        this.version = next;
        this.base = text;
        for (const tell of results) tell();
        return;
      }
      this.adopt(version, state);
      // Many at once: not all of them again at the same moment.
      if (attempt > 3) await Bun.sleep(Math.random() * Math.min(5, attempt / 2));
    }
  }

  /** Goes on with the state that Redis has. */
  private adopt(version: string, text: string): void {
    const { shape } = this;
    if (text === "") {
      // It was emptied, or nobody was there before: ours is what there is.
      this.version = "";
    } else if (this.isApart || this.version === UNKNOWN) {
      const remote = shape.fromText(text);
      // Nobody has changed anything since: ours goes on.
      this.state = this.version === version ? this.state : shape.merge(remote, this.state, shape.fromText(this.base), this.now());
      this.version = version;
    } else {
      this.state = shape.fromText(text);
      this.version = version;
    }
    this.isApart = false;
    this.base = text === "" ? this.base : text;
  }
}
