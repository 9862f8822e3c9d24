import { Database } from "bun:sqlite";
import { join } from "node:path";
import { type ActivityDatabase, openActivities } from "../../src/activities/database.ts";
import type { SinkConfig } from "../../src/activities/destinations.ts";
import { ActivityEngine, type ActivityPolicy, type NamedSink } from "../../src/activities/engine.ts";
import type { ActivityQueue } from "../../src/activities/queues/queue.ts";
import type { SharedKeys } from "../../src/activities/queues/shared-keys.ts";
import { SqliteQueue } from "../../src/activities/queues/sqlite.ts";
import { openSinks } from "../../src/activities/sinks/open.ts";
import { FakeClock } from "./clock.ts";

export const POLICY: ActivityPolicy = {
  maxBacklog: 100_000,
  maxBacklogSize: 1e9,
  maxSize: null,
  attempts: 3,
  baseDelay: 1000,
  maxDelay: 10_000,
  keepFor: null,
};

export interface EngineOptions {
  /** The folder of the files. */
  readonly home: string;
  readonly sinks?: readonly SinkConfig[];
  /** Sinks of the test's own behind those of the configuration. */
  readonly more?: readonly NamedSink[];
  readonly queueOn?: (database: ActivityDatabase) => ActivityQueue;
  readonly sharedKeys?: SharedKeys;
  readonly policy?: Partial<ActivityPolicy>;
  readonly clock?: FakeClock;
}

/** Gives the configuration of a sink in a file; without one, of the sink beside the queue. */
export const sqlite = (name: string, path: string | null = null): SinkConfig => ({ type: "sqlite", name, path });

/** Opens an engine as the activities' thread does, on files in a folder. */
export function engineIn(options: EngineOptions) {
  const { home, sinks = [sqlite("sqlite")], more = [], policy = {}, clock = new FakeClock(Date.UTC(2026, 0, 1)) } = options;
  const path = join(home, "activities.db");
  const database = openActivities(path);
  const queue = options.queueOn?.(database) ?? new SqliteQueue(database.durable, database.quick);
  const opened = openSinks(sinks, { path, databasePath: join(home, "sluice.db"), database, queue, clock, onTrouble: () => {} });
  const engine = new ActivityEngine({
    ...opened,
    database,
    queue,
    sharedKeys: options.sharedKeys ?? null,
    sinks: [...opened.sinks, ...more],
    clock,
    policy: { ...POLICY, ...policy },
    onTrouble: () => {},
  });
  const follower = (name: string) => engine.followers.find((each) => each.name === name) ?? engine.followers[0];
  return {
    engine,
    clock,
    database,
    post: async (...activities: object[]) => (await engine.take([{ body: JSON.stringify({ activities }), key: null }]))[0],
    /** Lets one sink do one step. */
    step: async (name: string): Promise<number> => {
      const found = follower(name);
      return found === undefined ? Number.NaN : engine.workOf(found);
    },
    /** Lets all sinks work until nothing is left to do at once. */
    work: async () => {
      for (const each of engine.followers) while ((await engine.workOf(each)) === 0);
    },
    all: (query: string, file = "activities.db") => {
      using own = new Database(join(home, file), { readonly: true });
      return own.query(query).all() as Record<string, unknown>[];
    },
    close: async () => {
      await engine.close();
      database.close();
    },
  };
}
