import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import type { SinkConfig } from "../../src/activities/destinations.ts";
import { SqliteQueue } from "../../src/activities/queues/sqlite.ts";
import { type Outcome, type Run, type Sink, SinkAway } from "../../src/activities/sinks/sink.ts";
import { engineIn, sqlite } from "../support/activities.ts";
import { folder, freePort } from "../support/process.ts";
import { insert, int, remove } from "../support/runs.ts";

/** A sink that is away, and keeps nothing. */
class Away implements Sink {
  readonly delivery = "atLeastOnce";
  readonly sharesQueue = false;
  readonly ledger = null;
  isBack = false;
  got = 0;

  async apply(runs: readonly Run[]): Promise<Outcome[]> {
    if (!this.isBack) throw new SinkAway("nobody is there");
    const rows = runs.flatMap((run) => run.rows);
    this.got += rows.length;
    return rows.map(() => null);
  }

  prune(): boolean {
    return false;
  }

  close(): void {}
}

/** A sink that takes its time, and keeps nothing. */
class Slow extends Away {
  override isBack = true;

  constructor(
    private readonly takes = 1500,
    private readonly sizes: number[] = [],
  ) {
    super();
  }

  override async apply(runs: readonly Run[]): Promise<Outcome[]> {
    await Bun.sleep(this.takes);
    const outcomes = await super.apply(runs);
    this.sizes.push(outcomes.length);
    return outcomes;
  }
}

const IDS = "SELECT id FROM t ORDER BY rowid";

describe("several sinks", () => {
  test("agree on a batch that comes again under its key when the key is forgotten and its ids are not", async () => {
    using home = folder();
    const it = engineIn({
      home: home.path,
      sinks: [sqlite("first"), sqlite("copy", join(home.path, "copy.db"))],
      policy: { keepFor: 30 * 86_400_000 },
    });
    const post = { body: JSON.stringify({ activities: [insert("t", { id: int(1) })] }), key: "of a caller" };
    const [first] = await it.engine.take([post]);
    await it.work();
    it.clock.time += 2 * 86_400_000;
    while (await it.engine.prune());
    expect((await it.engine.take([post]))[0]).toEqual(first);
    await it.work();
    expect([it.all(IDS), it.all(IDS, "copy.db")]).toEqual([[{ id: 1 }], [{ id: 1 }]]);
    await it.close();
  });

  test("get the same, each at its own pace; one that is away holds up no other and gets all of it in the end", async () => {
    using home = folder();
    const away = new Away();
    const it = engineIn({
      home: home.path,
      sinks: [sqlite("first"), sqlite("copy", join(home.path, "copy.db"))],
      more: [{ name: "away", type: "kafka", sink: away }],
    });
    for (let i = 0; i < 5; i++)
      await it.post(insert("t", { id: int(2 * i) }), insert("t", { id: int(2 * i + 1) }), remove("u", { id: int(i) }));
    await it.work();
    expect([it.all(IDS).length, it.all(IDS, "copy.db")]).toEqual([10, it.all(IDS)]);
    const stats = await it.engine.stats();
    expect(stats).toMatchObject({
      accepted: 15,
      applied: 10,
      failed: 5,
      waiting: 15,
      trouble: "away: nobody is there",
      queue: { kind: "embedded" },
    });
    expect(stats.sinks).toMatchObject([
      { name: "first", state: "following", delivery: "once", waiting: 0, applied: 10, failed: 5, lastError: null },
      { name: "copy", state: "following", waiting: 0, applied: 10, failed: 5 },
      { name: "away", state: "away", delivery: "atLeastOnce", waiting: 15, applied: 0, lastError: { message: "nobody is there" } },
    ]);
    expect(it.all("SELECT count(*) AS rows FROM sluice_queue")).toEqual([{ rows: 5 }]);
    away.isBack = true;
    it.clock.time += 20_000;
    await it.work();
    expect([away.got, it.all("SELECT * FROM sluice_queue")]).toEqual([15, []]);
    await it.close();
  });

  test("keep what failed apart: the first in its log, the others beside the queue; each is replayed where it failed", async () => {
    using home = folder();
    const it = engineIn({ home: home.path, sinks: [sqlite("first"), sqlite("copy", join(home.path, "copy.db"))] });
    {
      using copy = new Database(join(home.path, "copy.db"));
      copy.run("CREATE TABLE t (id TEXT)");
      copy.run("CREATE VIEW v AS SELECT 1 AS id");
    }
    const taken = await it.post(insert("t", { id: int(1) }), insert("v", { id: int(2) }));
    const id = taken?.kind === "accepted" ? taken.id : "";
    await it.work();
    expect(await it.engine.failures(null, "", 9)).toEqual({ items: [], trouble: null });
    expect(await it.engine.failures("copy", "", 9)).toMatchObject({
      items: [{ id: `${id}:1`, state: "failed", error: expect.stringContaining("v is no table") }],
    });
    expect(await it.engine.failures("nobody", "", 9)).toBe(null);
    {
      using copy = new Database(join(home.path, "copy.db"));
      copy.run("DROP VIEW v");
    }
    expect(await it.engine.replay(id, "first")).toEqual({ replayed: 0, states: ["applied"] });
    expect(await it.engine.replay(id, null)).toEqual({ replayed: 1, states: ["applied", "failed"] });
    await it.work();
    expect([it.all("SELECT id FROM v"), it.all("SELECT id FROM v", "copy.db")]).toEqual([[{ id: 2 }], [{ id: 2 }]]);
    expect(await it.engine.failures("copy", "", 9)).toMatchObject({ items: [] });
    await it.close();
  });

  test("keep what failed in them when they become the first", async () => {
    using home = folder();
    const copy = sqlite("copy", join(home.path, "copy.db"));
    const meddle = (statement: string): void => {
      using database = new Database(join(home.path, "copy.db"));
      database.run(statement);
    };
    let it = engineIn({ home: home.path, sinks: [sqlite("first"), copy] });
    meddle("CREATE VIEW v AS SELECT 1 AS id");
    await it.post(insert("v", { id: int(1) }), insert("v", { id: int(2) }));
    await it.work();
    await it.close();
    it = engineIn({ home: home.path, sinks: [copy] });
    await it.post(insert("v", { id: int(3) }));
    await it.work();
    const all = (await it.engine.failures(null, "", 9))?.items ?? [];
    expect(all.map(({ payload }) => JSON.parse(payload).colValues)).toEqual([[3], [2], [1]]);
    const [, second] = (await it.engine.failures(null, "", 2))?.items ?? [];
    expect((await it.engine.failures(null, second?.place ?? "", 9))?.items.map(({ id }) => id)).toEqual([String(all[2]?.id)]);
    meddle("DROP VIEW v");
    for (const { id } of all) expect(await it.engine.replay(id, null)).toMatchObject({ replayed: 1 });
    await it.work();
    expect(it.all("SELECT id FROM v ORDER BY id", "copy.db")).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }]);
    expect(await it.engine.failures(null, "", 9)).toEqual({ items: [], trouble: null });
    await it.close();
  });

  test("that are added later read the log first, and what was refused is no part of it", async () => {
    using home = folder();
    {
      const it = engineIn({ home: home.path });
      await it.post(...Array.from({ length: 2500 }, (_, i) => insert("t", { id: int(i) })));
      await it.engine.take([{ body: "{", key: null }]);
      await it.step("sqlite");
      await it.close();
    }
    const it = engineIn({ home: home.path, sinks: [sqlite("sqlite"), sqlite("late", join(home.path, "late.db"))] });
    expect((await it.engine.stats()).sinks).toMatchObject([{ waiting: 1500 }, { name: "late", state: "catchingUp" }]);
    await it.step("late");
    expect(it.all("SELECT count(*) AS rows FROM t", "late.db")).toEqual([{ rows: 1000 }]);
    await it.work();
    expect([it.all(IDS).length, it.all(IDS, "late.db")]).toEqual([2500, it.all(IDS)]);
    expect((await it.engine.stats()).sinks).toMatchObject([{ waiting: 0 }, { state: "following", waiting: 0, applied: 2500 }]);
    await it.close();
  });

  test("that are no longer wanted hold nothing back, and a first one that is new takes over", async () => {
    using home = folder();
    {
      const it = engineIn({ home: home.path, sinks: [sqlite("old"), sqlite("gone", join(home.path, "gone.db"))] });
      await it.post(insert("t", { id: int(1) }), insert("t", { id: int(2) }));
      await it.step("old");
      await it.post(insert("t", { id: int(3) }));
      await it.close();
    }
    const it = engineIn({ home: home.path, sinks: [sqlite("new", join(home.path, "new.db"))] });
    await it.work();
    expect(it.all(IDS, "new.db")).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }]);
    expect(it.all("SELECT state FROM activity_log", "new.db")).toHaveLength(3);
    expect(it.all("SELECT * FROM sluice_queue")).toEqual([]);
    // What is refused goes to the log wherever that is.
    await it.engine.take([{ body: "{", key: null }]);
    expect(await it.engine.flush()).toBe(false);
    expect(await it.engine.failures(null, "", 9)).toMatchObject({ items: [{ state: "rejected", payload: "{" }] });
    await it.close();
  });

  test("agree in the end, in whatever order they work, are added, and are begun anew", async () => {
    const value = fc.integer({ min: 0, max: 3 });
    const doing = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          do: fc.constant("post" as const),
          rows: fc.array(fc.tuple(fc.boolean(), value), { minLength: 1, maxLength: 5 }),
        }),
      },
      { weight: 4, arbitrary: fc.record({ do: fc.constant("work" as const), sink: fc.integer({ min: 0, max: 3 }) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const), sinks: fc.subarray(["b", "c", "d"]) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(doing, { maxLength: 30 }), async (steps) => {
        using home = folder();
        const file = (name: string) => join(home.path, `${name}.db`);
        const open = (names: readonly string[]) =>
          engineIn({ home: home.path, sinks: [sqlite("a"), ...names.map((name) => sqlite(name, file(name)))] });
        let it = open([]);
        const model: number[] = [];
        for (const step of steps)
          if (step.do === "post") {
            for (const [isInsert, id] of step.rows)
              if (isInsert) model.push(id);
              else for (let at = model.indexOf(id); at >= 0; at = model.indexOf(id)) model.splice(at, 1);
            await it.post(...step.rows.map(([isInsert, id]) => (isInsert ? insert("t", { id: int(id) }) : remove("t", { id: int(id) }))));
          } else if (step.do === "work") await it.step(it.engine.followers[step.sink]?.name ?? "a");
          else {
            await it.close();
            it = open(step.sinks);
          }
        await it.close();
        it = open(["b", "c", "d"]);
        await it.post(insert("t", { id: int(9) }));
        await it.work();
        const expected = [...model, 9].map((id) => ({ id }));
        for (const name of ["activities", "b", "c", "d"]) expect([name, it.all(IDS, `${name}.db`)]).toEqual([name, expected]);
        await it.close();
      }),
      { numRuns: 20 },
    );
  }, 60_000);
});

/** Makes each change of this kind to a table fail until it is called. */
function failing(it: ReturnType<typeof engineIn>, change: string): () => void {
  it.database.durable.run(`CREATE TRIGGER broken BEFORE ${change} BEGIN SELECT RAISE(ABORT, 'no room'); END`);
  return () => void it.database.durable.run("DROP TRIGGER broken");
}

const many = (count: number, from = 0) => Array.from({ length: count }, (_, i) => insert("t", { id: int(from + i) }));

describe("a sink that reads the log first", () => {
  test("does not count as a backlog for what it reads there: batches are taken all the same", async () => {
    using home = folder();
    const policy = { maxBacklog: 1000 };
    {
      const it = engineIn({ home: home.path, policy });
      await it.post(...many(2500));
      await it.work();
      await it.close();
    }
    const it = engineIn({ home: home.path, sinks: [sqlite("sqlite"), sqlite("late", join(home.path, "late.db"))], policy });
    await it.step("late");
    expect((await it.engine.stats()).sinks[1]).toMatchObject({ state: "catchingUp", waiting: 1500 });
    for (const [count, from] of [
      [600, 2500],
      [300, 3100],
    ] as const)
      expect(await it.post(...many(count, from))).toMatchObject({ kind: "accepted" });
    await it.work();
    expect(it.all(IDS, "late.db")).toEqual(it.all(IDS));
    await it.close();
  });

  test("reads what the one that keeps the log now is itself still reading", async () => {
    using home = folder();
    const [next, third] = [sqlite("next", join(home.path, "next.db")), sqlite("third", join(home.path, "third.db"))];
    {
      const it = engineIn({ home: home.path });
      await it.post(...many(2500));
      await it.work();
      await it.close();
    }
    {
      const it = engineIn({ home: home.path, sinks: [next] });
      await it.step("next");
      await it.close();
    }
    const it = engineIn({ home: home.path, sinks: [next, third] });
    await it.step("third");
    await it.work();
    expect([it.all(IDS, "next.db").length, it.all(IDS, "third.db").length]).toEqual([2500, 2500]);
    await it.close();
  });

  test("is away while the one that keeps the log is, and says so once for each attempt", async () => {
    using home = folder();
    const url = `postgres://nobody@127.0.0.1:${freePort()}/nothing`;
    const postgres: SinkConfig = { type: "postgres", name: null, url, schema: "public", ca: null };
    await engineIn({ home: home.path, sinks: [postgres] }).close();
    const it = engineIn({ home: home.path, sinks: [postgres, sqlite("late", join(home.path, "late.db"))] });
    expect([await it.step("late"), await it.step("late")]).toEqual([1000, 1000]);
    expect((await it.engine.stats()).sinks[1]).toMatchObject({
      state: "away",
      lastError: { message: expect.stringContaining("can't be reached") },
    });
    it.clock.time += 1000;
    expect(await it.step("late")).toBe(2000);
    // What is old is forgotten everywhere else.
    it.engine.policy = { ...it.engine.policy, keepFor: 60_000 };
    expect(await it.engine.prune()).toBe(false);
    await it.close();
  });
});

describe("what became of activities", () => {
  test("is written down beside the queue in the transaction in which a sink there settles them", async () => {
    using home = folder();
    const it = engineIn({ home: home.path, sinks: [sqlite("first", join(home.path, "first.db")), sqlite("beside")] });
    const mend = failing(it, "INSERT ON sluice_dead_letters");
    await it.post(remove("nowhere", { id: int(1) }));
    expect(await it.step("beside")).toBe(1000);
    mend();
    it.clock.time += 1000;
    await it.work();
    expect(await it.engine.failures("beside", "", 9)).toMatchObject({ items: [{ state: "failed", error: "there is no table nowhere" }] });
    await it.close();
  });

  test("is mended by a replay that took effect, though that could not be written down at first", async () => {
    using home = folder();
    const it = engineIn({ home: home.path, sinks: [sqlite("first"), sqlite("copy", join(home.path, "copy.db"))] });
    const taken = await it.post(remove("t", { id: int(1) }));
    await it.work();
    await it.post(insert("t", { id: int(1) }));
    await it.work();
    const id = taken?.kind === "accepted" ? taken.id : "";
    expect(await it.engine.replay(id, "copy")).toMatchObject({ replayed: 1 });
    const mend = failing(it, "DELETE ON sluice_dead_letters");
    expect(await it.step("copy")).toBe(1000);
    mend();
    it.clock.time += 1000;
    await it.work();
    expect([it.all("SELECT * FROM t", "copy.db"), await it.engine.failures("copy", "", 9)]).toEqual([[], { items: [], trouble: null }]);
    await it.close();
  });
});

describe("a queue in the file", () => {
  test("hands out what stands there, and not what could not be put in", async () => {
    using home = folder();
    const [one, two] = [engineIn({ home: home.path }), engineIn({ home: home.path })];
    // The second has no room: both are told so.
    const mend = failing(one, "INSERT ON sluice_queue WHEN NEW.body LIKE '%[2]%'");
    const bodies = [1, 2].map((id) => JSON.stringify({ activities: [insert("t", { id: int(id) })] }));
    await expect(one.engine.take(bodies.map((body) => ({ body, key: null })))).rejects.toThrow("no room");
    mend();
    await two.post(insert("t", { id: int(3) }));
    await one.work();
    expect(one.all(IDS)).toEqual([{ id: 3 }]);
    await one.close();
    await two.close();
  });

  test("goes on when a portion that takes long can't be kept", async () => {
    using home = folder();
    const slow = new Slow();
    const it = engineIn({ home: home.path, more: [{ name: "slow", type: "kafka", sink: slow }] });
    await it.post(insert("t", { id: int(1) }));
    const mend = failing(it, "UPDATE OF available_at ON sluice_cursors WHEN OLD.owner IS NOT NULL AND NEW.owner IS NOT NULL");
    await it.step("slow");
    mend();
    await it.work();
    expect((await it.engine.stats()).sinks).toMatchObject([{ waiting: 0 }, { waiting: 0, applied: 1 }]);
    await it.close();
  });

  test("hands out so much at a time as memory holds", async () => {
    using home = folder();
    const sizes: number[] = [];
    const big = new Slow(0, sizes);
    const it = engineIn({ home: home.path, more: [{ name: "big", type: "kafka", sink: big }], policy: { maxBacklogSize: 1e9 } });
    const text = "x".repeat(1_000_000);
    for (let i = 0; i < 24; i++) await it.post(insert("t", { id: int(i), text: ["TEXT", text] }));
    expect(new SqliteQueue(it.database.durable, it.database.quick).leftOver(100)).toHaveLength(4);
    await it.work();
    expect([sizes.reduce((sum, each) => sum + each, 0), Math.max(...sizes) <= 17]).toEqual([24, true]);
    await it.close();
  });

  test("has nothing more for a sink that whoever takes over does not want", async () => {
    using home = folder();
    const late = sqlite("late", join(home.path, "late.db"));
    const old = engineIn({ home: home.path, sinks: [sqlite("sqlite"), late] });
    const next = engineIn({ home: home.path });
    await old.post(insert("t", { id: int(1) }));
    expect(await old.step("late")).toBe(Number.POSITIVE_INFINITY);
    expect((await old.engine.stats()).sinks).toMatchObject([{ waiting: 1 }, { waiting: 0, lag: 0 }]);
    await next.work();
    expect(old.all(IDS)).toEqual([{ id: 1 }]);
    await old.close();
    await next.close();
  });

  test("has room again when what waited was applied, however small it may be", async () => {
    using home = folder();
    const it = engineIn({ home: home.path, policy: { maxBacklog: 10 } });
    for (const count of [5, 6, 1, 11, 10]) {
      expect([count, await it.post(...many(count))]).toMatchObject([count, { kind: "accepted" }]);
      await it.work();
    }
    await it.post(...many(5));
    expect(await it.post(...many(6))).toEqual({ kind: "full", what: "backlog" });
    await it.close();
  });
});

describe("a file of an older version", () => {
  test("goes on where it was, in the middle of a batch as well", async () => {
    using home = folder();
    const path = join(home.path, "activities.db");
    {
      using old = new Database(path);
      old.run("PRAGMA journal_mode = WAL");
      old.run(`CREATE TABLE sluice_queue (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, batch TEXT NOT NULL, body TEXT NOT NULL, activities INTEGER NOT NULL, replay_of TEXT,
        done INTEGER NOT NULL, accepted_at INTEGER NOT NULL, attempts INTEGER NOT NULL, available_at INTEGER NOT NULL, owner TEXT)`);
      old.run(`CREATE TABLE activity_log (
        id TEXT PRIMARY KEY, payload TEXT NOT NULL, created_at TEXT NOT NULL, is_error INTEGER NOT NULL, error_message TEXT, state TEXT NOT NULL)`);
      old.run("CREATE INDEX activity_log_failed ON activity_log (id) WHERE is_error = 1");
      old.run("CREATE TABLE t (id INTEGER)");
      old.run("INSERT INTO t VALUES (1)");
      const put = old.query(
        "INSERT INTO sluice_queue (batch, body, activities, done, accepted_at, attempts, available_at) VALUES (?, ?, 2, ?, 0, 0, 0)",
      );
      const body = (...ids: number[]) => JSON.stringify({ activities: ids.map((id) => insert("t", { id: int(id) })) });
      put.run("gone", "{}", 0);
      put.run("begun", body(1, 2), 1);
      put.run("next", body(3, 4), 0);
      old.run("DELETE FROM sluice_queue WHERE batch = 'gone'");
      old.run("INSERT INTO activity_log VALUES ('begun:0', ?, '2026-01-01T00:00:00.000Z', 0, NULL, 'applied')", [
        JSON.stringify(insert("t", { id: int(1) })),
      ]);
      old.run("PRAGMA user_version = 1");
    }
    const it = engineIn({ home: home.path, sinks: [sqlite("sqlite"), sqlite("late", join(home.path, "late.db"))] });
    expect((await it.engine.stats()).sinks[0]).toMatchObject({ waiting: 3 });
    await it.work();
    const four = [1, 2, 3, 4].map((id) => ({ id }));
    expect([it.all(IDS), it.all(IDS, "late.db")]).toEqual([four, four]);
    await it.close();
  });
});
