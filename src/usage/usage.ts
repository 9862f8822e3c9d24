import type { Caller } from "../exchange/caller.ts";
import { isUnwritable } from "../storage/faults.ts";
import type { Storage } from "../storage/open.ts";
import type { Clock } from "../values/clock.ts";
import { type HeavyHitter, HeavyHitters } from "./heavy-hitters.ts";

/** Holds what is counted of requests. */
export interface Counts {
  requests: number;
  /** Requests answered with 5xx. */
  errors: number;
  /** Requests refused with 429 by a limit or quota. */
  limited: number;
  /** Units that responses reported, where a route counts them. */
  tokens: number;
}

interface Counter extends Counts {
  readonly route: string;
  readonly caller: Caller;
  /** The part of it that `hitters` knows of already. */
  told: number;
  toldLimited: number;
  /** True while it waits to be written. */
  isDirty: boolean;
}

/** The dimensions that usage can be told apart by. */
export const DIMENSIONS = ["consumer", "key", "route"] as const;
export type Dimension = (typeof DIMENSIONS)[number];

export interface UsageQuestion {
  readonly consumer?: string | undefined;
  readonly key?: string | undefined;
  readonly route?: string | undefined;
  /** Milliseconds since 1970; the first is included, the second is not. */
  readonly from: number;
  readonly to: number;
  readonly by: readonly Dimension[];
  readonly per: "hour" | "day" | null;
  readonly limit: number;
  readonly offset: number;
}

export type UsageRow = Counts & { [dimension in Dimension]?: string } & { readonly time?: number };

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/**
 * Counts what each consumer, key and route has used, by the hour. A request costs two look-ups and an addition; counts are written in
 * batches.
 */
export class Usage {
  private readonly byRoute = new Map<string, Map<Caller, Counter>>();
  private dirty: Counter[] = [];
  private hour = 0;
  private readonly hitters = new HeavyHitters();

  constructor(private readonly deps: { readonly storage: Storage; readonly clock: Clock }) {
    this.hour = this.hourNow();
  }

  /** Counts one request that has ended. */
  note(route: string, caller: Caller, status: number, isLimited: boolean, tokens: number): void {
    let counters = this.byRoute.get(route);
    if (counters === undefined) {
      counters = new Map();
      this.byRoute.set(route, counters);
    }
    let counter = counters.get(caller);
    if (counter === undefined) {
      counter = { route, caller, requests: 0, errors: 0, limited: 0, tokens: 0, told: 0, toldLimited: 0, isDirty: false };
      counters.set(caller, counter);
    }
    counter.requests++;
    if (status >= 500) counter.errors++;
    if (isLimited) counter.limited++;
    counter.tokens += tokens;
    if (!counter.isDirty) {
      counter.isDirty = true;
      this.dirty.push(counter);
    }
  }

  /** Gives the number of requests that wait to be written. */
  get waiting(): number {
    return this.dirty.reduce((sum, { requests }) => sum + requests, 0);
  }

  /** Writes what has come since the last call; for a timer. A crash loses what came since. */
  flush(): void {
    const { hour, dirty } = this;
    const now = this.hourNow();
    if (dirty.length > 0) {
      const { client } = this.deps.storage;
      const add = client.query(
        "INSERT INTO usage (hour, consumer, key, route, requests, errors, limited, tokens) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET requests = requests + ?5, errors = errors + ?6, limited = limited + ?7, tokens = tokens + ?8",
      );
      client
        .transaction(() => {
          for (const { route, caller, requests, errors, limited, tokens } of dirty)
            add.run(hour, caller.consumer.id, caller.via === "key" ? caller.id : "", route, requests, errors, limited, tokens);
        })
        .immediate();
      this.feedHitters();
      for (const counter of dirty) {
        Object.assign(counter, { requests: 0, errors: 0, limited: 0, tokens: 0, told: 0, toldLimited: 0 });
        counter.isDirty = false;
        // Callers without a key are made anew with each of their tokens.
        if (counter.caller.via === "token" || counter.caller.via === "plugin") this.byRoute.get(counter.route)?.delete(counter.caller);
      }
      this.dirty = [];
    }
    if (now === hour) return;
    // Keys come and go: who was silent for an hour is forgotten here, not in the database.
    this.hour = now;
    this.byRoute.clear();
  }

  /** Lists who calls most at the moment, by requests a second; `null` stands for callers without a key. */
  heaviest(count: number): (Omit<HeavyHitter, "name"> & { consumer: string | null })[] {
    this.feedHitters();
    return this.hitters
      .top(count, this.deps.clock.now())
      .map(({ name, ...hitter }) => ({ consumer: name === "" ? null : name, ...hitter }));
  }

  /** Adds the requests since the last call to the heavy hitters. */
  private feedHitters(): void {
    const at = this.deps.clock.now();
    for (const counter of this.dirty) {
      const [more, moreLimited] = [counter.requests - counter.told, counter.limited - counter.toldLimited];
      if (more > 0) this.hitters.add(counter.caller.consumer.id, more, moreLimited, at);
      counter.told = counter.requests;
      counter.toldLimited = counter.limited;
    }
  }

  /** Sums usage, the oldest first. */
  sums({ consumer, key, route, from, to, by, per, limit, offset }: UsageQuestion): UsageRow[] {
    try {
      this.flush();
    } catch (error) {
      // Sums can be read from a disk that is full; the last second is then missing.
      if (!isUnwritable(error)) throw error;
    }
    const columns = [...(per === null ? [] : [`hour - hour % ${per === "day" ? DAY : HOUR} AS time`]), ...by];
    const groups = [...(per === null ? [] : ["time"]), ...by];
    const filters: [string, string | undefined][] = [
      [" AND consumer = ?", consumer],
      [" AND key = ?", key],
      [" AND route = ?", route],
    ];
    const given = filters.filter((filter): filter is [string, string] => filter[1] !== undefined);
    const sums =
      "coalesce(sum(requests), 0) AS requests, coalesce(sum(errors), 0) AS errors, coalesce(sum(limited), 0) AS limited, coalesce(sum(tokens), 0) AS tokens";
    return this.deps.storage.client
      .query<UsageRow, (string | number)[]>(
        `SELECT ${[...columns, sums].join(", ")} FROM usage WHERE hour >= ? AND hour < ?${given.map(([text]) => text).join("")}${groups.length === 0 ? "" : ` GROUP BY ${groups.join(", ")} ORDER BY ${groups.join(", ")}`} LIMIT ? OFFSET ?`,
      )
      .all(from - (from % HOUR), to, ...given.map(([, value]) => value), limit, offset);
  }

  /** Drops the hours before this time, in milliseconds since 1970. */
  prune(before: number): void {
    this.deps.storage.client.query("DELETE FROM usage WHERE hour < ?1").run(before);
  }

  private hourNow(): number {
    const now = this.deps.clock.wall();
    return now - (now % HOUR);
  }
}
