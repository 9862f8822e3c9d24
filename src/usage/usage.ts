import { existsSync } from "node:fs";
import type { Caller } from "../exchange/caller.ts";
import type { Order } from "../records/listing.ts";
import type { CellWriter } from "../shared/cell-folder.ts";
import { isUnwritable } from "../storage/faults.ts";
import type { Storage } from "../storage/open.ts";
import { MAX_CALLED_NAME, OTHER } from "../values/called-name.ts";
import type { Clock } from "../values/clock.ts";
import { COST, ERRORS, LIMITED, REQUESTS, TOKENS, UsageBook } from "./book.ts";
import type { HeavyHitter } from "./heavy-hitters.ts";
import { type IntakeDeps, type OnWritten, UsageIntake } from "./intake.ts";

/** Holds what is counted of requests. */
export interface Counts {
  requests: number;
  /** Requests answered with 5xx. */
  errors: number;
  /** Requests refused with 429 by a limit or quota. */
  limited: number;
  /** Units that responses reported, where a route counts them. */
  tokens: number;
  /** Nano-dollars that calls of models have cost. */
  cost: number;
}

/** The dimensions that usage can be told apart by. */
export const DIMENSIONS = ["consumer", "key", "route", "model", "tool"] as const;
export type Dimension = (typeof DIMENSIONS)[number];

/** The columns that are summed. */
export const COLUMNS = ["requests", "errors", "limited", "tokens", "cost"] as const satisfies (keyof Counts)[];

export interface UsageQuestion {
  /** Only what these names have used. */
  readonly of: { readonly [dimension in Dimension]?: string | undefined };
  /** Milliseconds since 1970; the first is included, the second is not. */
  readonly from: number;
  readonly to: number;
  readonly by: readonly Dimension[];
  readonly per: "hour" | "day" | null;
  /** By which sum they come; left out: by time and by what is told apart. */
  readonly order?: Order | undefined;
  readonly limit: number;
  readonly offset: number;
}

export type UsageRow = Counts & { [dimension in Dimension]?: string } & { readonly time?: number };

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

export interface UsageDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  /** Tells whether a consumer with this id was made, by the file or the admin API. */
  readonly hasRecord: (consumer: string) => boolean;
  /** Tells whether the configuration names this model or tool; left out: it names none. */
  readonly isConfigured?: IntakeDeps["isConfigured"];
  /** Makes the files that this process counts in; left out: it counts in private memory. */
  readonly writer?: CellWriter | null;
  /** True where another process puts what was counted into the database. */
  readonly isLeft?: boolean;
  /** Learns of what was put into the database, each count once. */
  readonly onWritten?: OnWritten;
}

/**
 * Counts what each consumer, key and route has used, by the hour, and of which models and tools. A request costs two look-ups and four
 * additions, one that calls a model or a tool two look-ups more; counts are written in batches.
 */
export class Usage {
  private readonly book: UsageBook;
  /** Puts what was counted into the database; `null` where another process does. */
  private readonly intake: UsageIntake | null;

  constructor(private readonly deps: UsageDeps) {
    this.book = new UsageBook(deps.writer ?? null, () => this.hourNow(), existsSync);
    this.intake = deps.isLeft === true ? null : new UsageIntake({ isConfigured: () => false, ...deps, private: this.book.private });
  }

  /** Counts one request that has ended. `cost`: in nano-dollars. `model`, `tool`: "" where it called none. */
  note(route: string, caller: Caller, status: number, isLimited: boolean, tokens: number, cost: number, model: string, tool: string): void {
    const counter = this.book.counterOf(route, caller, named(model), named(tool));
    (counter[REQUESTS] as number)++;
    if (status >= 500) (counter[ERRORS] as number)++;
    if (isLimited) (counter[LIMITED] as number)++;
    if (tokens !== 0) (counter[TOKENS] as number) += tokens;
    if (cost !== 0) (counter[COST] as number) += cost;
  }

  /** Gives the number of requests that wait to be written and that a crash would lose. */
  get waiting(): number {
    return this.intake?.waiting ?? 0;
  }

  /** Writes what has come since the last call, of all processes; for a timer. */
  flush(): void {
    this.book.turn();
    this.intake?.take();
  }

  /** Counts no more where it has counted: whoever writes it to the database can drop it then. */
  close(): void {
    this.book.close();
  }

  /**
   * Lists who calls most at the moment, by requests a second, over all processes; `null` stands for callers whom nothing names. Nothing
   * where another process writes what was counted.
   */
  heaviest(count: number): (Omit<HeavyHitter, "name"> & { consumer: string | null })[] {
    return (this.intake?.heaviest(count) ?? []).map(({ name, ...hitter }) => ({ consumer: name === "" ? null : name, ...hitter }));
  }

  /** Sums usage, the oldest first where no order is wanted. */
  sums({ of, from, to, by, per, order, limit, offset }: UsageQuestion): UsageRow[] {
    try {
      this.flush();
    } catch (error) {
      // Sums can be read from a disk that is full; the last second is then missing.
      if (!isUnwritable(error)) throw error;
    }
    const columns = [...(per === null ? [] : [`hour - hour % ${per === "day" ? DAY : HOUR} AS time`]), ...by];
    const groups = [...(per === null ? [] : ["time"]), ...by];
    const given = DIMENSIONS.flatMap((name) => (of[name] === undefined ? [] : [{ name, value: of[name] }]));
    const filters = given.map(({ name }) => ` AND ${name} = ?`).join("");
    const sortedBy = order === undefined ? groups : [`${order.by}${order.isDescending ? " DESC" : ""}`, ...groups];
    const sums = COLUMNS.map((name) => `coalesce(sum(${name}), 0) AS ${name}`);
    return this.deps.storage.client
      .query<UsageRow, (string | number)[]>(
        `SELECT ${[...columns, ...sums].join(", ")} FROM usage WHERE hour >= ? AND hour < ?${filters}${groups.length === 0 ? "" : ` GROUP BY ${groups.join(", ")} ORDER BY ${sortedBy.join(", ")}`} LIMIT ? OFFSET ?`,
      )
      .all(from - (from % HOUR), to, ...given.map(({ value }) => value), limit, offset);
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

/** Gives the name that a model or a tool is counted by. */
const named = (name: string): string => (name.length > MAX_CALLED_NAME ? OTHER : name);
