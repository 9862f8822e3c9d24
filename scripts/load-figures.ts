/** What happened in one second of a load test. Response times in milliseconds. */
export interface Second {
  users: number;
  requests: number;
  readonly times: number[];
  /** Requests without an answer, or with one that says that something is wrong. */
  failures: number;
  /** Requests that a limit refused: no failures, but then the limit is what was measured. */
  limited: number;
}

/** What became of the requests of one kind. */
export interface Kind {
  readonly times: number[];
  requests: number;
  failures: number;
  limited: number;
  /** Bytes of all answers. */
  bytes: number;
}

/** What became of one request: `time` in milliseconds, and `bytes` of its answer; both `null` where there was none. */
export interface Happened {
  readonly time: number | null;
  readonly bytes: number | null;
  readonly failure: string | null;
  readonly isLimited: boolean;
}

/** Keeps what a load test has seen: by second, by kind of request, and each failure by what it says. */
export class Figures {
  readonly seconds: Second[] = [];
  readonly kinds = new Map<string, Kind>();
  readonly failures = new Map<string, { readonly kind: string; readonly what: string; count: number }>();
  private users = 0;
  private readonly from = performance.now();

  /** Gives the seconds since the beginning. */
  get elapsed(): number {
    return (performance.now() - this.from) / 1000;
  }

  /** Notes that a user has begun (1) or ended (-1). */
  count(users: 1 | -1): void {
    this.users += users;
    const second = this.second();
    second.users = Math.max(second.users, this.users);
  }

  add(name: string, { time, bytes, failure, isLimited }: Happened): void {
    const second = this.second();
    const kind = this.kinds.get(name) ?? { times: [], requests: 0, failures: 0, limited: 0, bytes: 0 };
    this.kinds.set(name, kind);
    kind.requests++;
    second.requests++;
    kind.bytes += bytes ?? 0;
    if (time !== null) {
      kind.times.push(time);
      second.times.push(time);
    }
    if (isLimited) {
      kind.limited++;
      second.limited++;
    }
    if (failure === null) return;
    kind.failures++;
    second.failures++;
    const key = `${name}\n${failure}`;
    const failed = this.failures.get(key) ?? { kind: name, what: failure, count: 0 };
    failed.count++;
    this.failures.set(key, failed);
  }

  /** Gives all kinds together. */
  get all(): Kind {
    const kinds = [...this.kinds.values()];
    const sum = (of: (kind: Kind) => number) => kinds.reduce((total, kind) => total + of(kind), 0);
    return {
      times: kinds.flatMap(({ times }) => times),
      requests: sum(({ requests }) => requests),
      failures: sum(({ failures }) => failures),
      limited: sum(({ limited }) => limited),
      bytes: sum(({ bytes }) => bytes),
    };
  }

  private second(): Second {
    const at = Math.floor(this.elapsed);
    for (let i = this.seconds.length; i <= at; i++)
      this.seconds.push({ users: this.users, requests: 0, times: [], failures: 0, limited: 0 });
    return this.seconds[at] as Second;
  }
}

/** Gives the value below which this share of sorted values lies; 0 where there are none. */
export const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

export const sortedTimes = (times: readonly number[]): number[] => times.toSorted((a, b) => a - b);
