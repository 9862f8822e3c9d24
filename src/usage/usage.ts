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
  readonly consumer: string;
  /** The key's id; "" for callers without one. */
  readonly key: string;
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
 * The most ids without a record that are told apart in an hour. Tokens and plug-ins may name anybody: an issuer with a million users is
 * ten thousand rows an hour for each route, not a million.
 */
export const MAX_NAMED = 10_000;

/** Tells whether a caller is named by something that can name anybody: a token or a plug-in. */
const isNamedFreely = ({ via }: Caller): boolean => via === "token" || via === "plugin";

/** Gives the name under which callers beyond `MAX_NAMED` are counted. It has spaces, as no id of a consumer has. */
const othersOf = ({ issuer }: Caller): string => (issuer === undefined ? "others by plug-ins" : `others of ${issuer}`);

export interface UsageDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  /** Tells whether a consumer with this id was made, by the file or the admin API. */
  readonly hasRecord: (consumer: string) => boolean;
}

/**
 * Counts what each consumer, key and route has used, by the hour. A request costs two look-ups and an addition; counts are written in
 * batches.
 */
export class Usage {
  /** Counters by route and caller; of those who are named freely, by what they are counted as: each token makes another caller. */
  private readonly byRoute = new Map<string, Map<Caller | string, Counter>>();
  /** The ids without a record that were told apart in this hour. */
  private readonly named = new Set<string>();
  private dirty: Counter[] = [];
  private hour = 0;
  private readonly hitters = new HeavyHitters();

  constructor(private readonly deps: UsageDeps) {
    this.hour = this.hourNow();
    const before = deps.storage.client.query<{ consumer: string }, [number]>(
      "SELECT DISTINCT consumer FROM usage WHERE hour = ?1 AND key = '' AND consumer <> '' AND instr(consumer, ' ') = 0",
    );
    for (const { consumer } of before.all(this.hour)) if (!deps.hasRecord(consumer)) this.named.add(consumer);
  }

  /** Counts one request that has ended. */
  note(route: string, caller: Caller, status: number, isLimited: boolean, tokens: number): void {
    const counter = this.counterOf(route, caller);
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
          for (const { route, consumer, key, requests, errors, limited, tokens } of dirty)
            add.run(hour, consumer, key, route, requests, errors, limited, tokens);
        })
        .immediate();
      this.feedHitters();
      for (const counter of dirty) {
        Object.assign(counter, { requests: 0, errors: 0, limited: 0, tokens: 0, told: 0, toldLimited: 0 });
        counter.isDirty = false;
        // Of those who are named freely there may be many: their names are kept, not their counters.
        this.byRoute.get(counter.route)?.delete(counter.consumer);
      }
      this.dirty = [];
    }
    if (now === hour) return;
    // Keys come and go: who was silent for an hour is forgotten here, not in the database.
    this.hour = now;
    this.byRoute.clear();
    this.named.clear();
  }

  /** Lists who calls most at the moment, by requests a second; `null` stands for callers whom nothing names. */
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
      if (more > 0) this.hitters.add(counter.consumer, more, moreLimited, at);
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

  private counterOf(route: string, caller: Caller): Counter {
    let counters = this.byRoute.get(route);
    if (counters === undefined) {
      counters = new Map();
      this.byRoute.set(route, counters);
    }
    const { id } = caller.consumer;
    const isFree = isNamedFreely(caller);
    const known = counters.get(isFree ? id : caller);
    if (known !== undefined) return known;
    const consumer = isFree ? this.nameOf(caller) : id;
    const others = consumer === id ? undefined : counters.get(consumer);
    if (others !== undefined) return others;
    const key = caller.via === "key" ? caller.id : "";
    const none = { requests: 0, errors: 0, limited: 0, tokens: 0, told: 0, toldLimited: 0, isDirty: false };
    const counter: Counter = { route, consumer, key, ...none };
    counters.set(isFree ? consumer : caller, counter);
    return counter;
  }

  /** Gives the name that a caller who is named freely is counted under: its id, or that of all further ones of its issuer. */
  private nameOf(caller: Caller): string {
    const { id } = caller.consumer;
    if (this.named.has(id) || this.deps.hasRecord(id)) return id;
    if (this.named.size >= MAX_NAMED) return othersOf(caller);
    this.named.add(id);
    return id;
  }

  private hourNow(): number {
    const now = this.deps.clock.wall();
    return now - (now % HOUR);
  }
}
