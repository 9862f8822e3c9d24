import { describe, expect, test } from "bun:test";
import { type Row, type Run, SinkAway } from "../../src/activities/sinks/sink.ts";
import { lastState, openSink, runsOf } from "../support/bigquery-sink.ts";
import { insert, int, remove, text } from "../support/runs.ts";

const people = (id: number, name = "Ann") => insert("people", { id: int(id), name: text(name) });
const LOADS = { config: { every: "5m" } };
const away = async (work: Promise<unknown>): Promise<string> => {
  const error = await work.then(
    () => new Error("nothing was thrown"),
    (thrown: unknown) => thrown as Error,
  );
  if (!(error instanceof SinkAway)) throw error;
  return error.message;
};

describe("rows that are loaded into BigQuery", () => {
  test("come in large portions, each table's by one job", async () => {
    await using it = await openSink(LOADS);
    expect(it.sink.portion).toEqual({ max: 50_000, every: 300_000 });
    expect(await it.apply(people(1), insert("t", { n: int(1) }), people(2, 'a "new"\nline'), remove("people", { id: int(1) }))).toEqual([
      null,
      null,
      null,
      null,
    ]);
    expect(it.server.count("jobs.insert")).toBe(2);
    expect(it.server.count("tabledata.insertAll")).toBe(0);
    expect(lastState(it.server, "people")).toEqual([{ id: 2n, name: 'a "new"\nline', _id: "b:3", _seq: 3n, _at: expect.any(String) }]);
  });

  test("are durable before the delivery is confirmed: a job is waited for, however long it takes", async () => {
    await using it = await openSink(LOADS);
    it.server.jobPolls = 100;
    expect(await it.apply(people(1))).toEqual([null]);
    expect(it.server.rows("people")).toHaveLength(1);
    it.server.jobPolls = 1000;
    const runs = runsOf([people(2)], 2);
    expect(await away(it.deliver(runs))).toMatch(/^BigQuery's job sluice_people_[0-9a-f]{40} has not ended yet$/);
    it.server.jobPolls = 1;
    expect(await it.deliver(runs, true)).toEqual([null]);
    expect(it.server.rows("people")).toHaveLength(2);
    expect(it.server.count("jobs.insert")).toBe(2);
  });

  test("are loaded once when they are delivered again after a crash", async () => {
    await using it = await openSink(LOADS);
    const runs = runsOf([people(1), people(2), insert("t", { n: int(1) })]);
    await it.deliver(runs);
    const other = it.open();
    expect(await it.deliver(runs, true, other)).toEqual([null, null, null]);
    // A queue that does not know that it has handed them out before: the id is there already.
    expect(await it.deliver(runs, false, other)).toEqual([null, null, null]);
    expect(it.server.rows("people")).toHaveLength(2);
    expect(it.server.rows("t")).toHaveLength(1);
    other.close();
  });

  test("are loaded once when the answer is lost", async () => {
    await using it = await openSink(LOADS);
    it.server.misbehave("jobs.insert", { drop: "after" });
    expect(await it.apply(people(1))).toEqual([null]);
    expect(it.server.rows("people")).toHaveLength(1);
  });

  test("are tried by another job when one fails, and the sink is away when that does not help", async () => {
    await using it = await openSink(LOADS);
    it.server.misbehave("jobs.insert", { error: { reason: "backendError", message: "Error encountered during execution." } }, 2);
    expect(await it.apply(people(1))).toEqual([null]);
    const runs = runsOf([people(2)], 2);
    it.server.misbehave("jobs.insert", { error: { reason: "quotaExceeded", message: "imports per table" } }, 7);
    for (let i = 0; i < 7; i++)
      expect(await away(it.deliver(runs, true))).toBe("BigQuery's job for the table people failed (quotaExceeded): imports per table");
    const other = it.open();
    expect(await it.deliver(runs, true, other)).toEqual([null]);
    expect(it.server.rows("people").map(({ id }) => id)).toEqual(["1", "2"]);
    other.close();
  });

  test("that BigQuery can't read fail by themselves, and the others are loaded", async () => {
    await using it = await openSink(LOADS);
    it.server.make("people", [
      { name: "id", type: "INTEGER" },
      { name: "name", type: "TIMESTAMP" },
    ]);
    const outcomes = await it.apply(
      people(1, "2026-01-01T00:00:00Z"),
      people(2, "é"),
      people(3, "2026-01-02T00:00:00Z"),
      people(4, "never"),
    );
    expect(outcomes).toEqual([null, expect.stringContaining("starting at position"), null, expect.stringContaining("(bad value): never")]);
    expect(it.server.rows("people").map(({ id }) => id)).toEqual(["1", "3"]);
    expect(it.server.count("jobs.insert")).toBe(2);
  });

  test("that failed are loaded when they are replayed, once what was wrong is mended", async () => {
    await using it = await openSink(LOADS);
    it.server.make("people", [{ name: "name", type: "TIMESTAMP" }]);
    const [run] = runsOf([insert("people", { name: text("never") })]) as [Run];
    expect(await it.deliver([run])).toEqual([expect.stringContaining("bad value")]);
    expect(await it.deliver([run], true)).toEqual([expect.stringContaining("bad value")]);
    expect(it.server.count("jobs.insert")).toBe(1);
    it.server.change("people", (fields) => fields.map((field) => (field.name === "name" ? { ...field, type: "STRING" } : field)));
    const [row] = run.rows as [Row];
    expect(await it.deliver([{ ...run, rows: [{ ...row, position: 7, isReplay: true }] }])).toEqual([null]);
  });

  test("are streamed when a job fails without saying for which row", async () => {
    await using it = await openSink(LOADS);
    it.server.make("people", [
      { name: "id", type: "INTEGER" },
      { name: "name", type: "TIMESTAMP" },
    ]);
    it.server.misbehave("jobs.insert", { error: { reason: "invalid", message: "something is wrong with the file" } });
    const outcomes = await it.apply(people(1, "never"), people(2, "2026-01-02T00:00:00Z"));
    expect(outcomes).toEqual(["BigQuery does not take the row: Cannot convert value to timestamp (bad value): never", null]);
    expect(it.server.rows("people").map(({ id }) => id)).toEqual(["2"]);
  });

  test("need no wait for a table or a column that was just made", async () => {
    await using it = await openSink(LOADS);
    it.server.settleTables = 600_000;
    it.server.settleColumns = 600_000;
    expect(await it.apply(people(1))).toEqual([null]);
    expect(await it.apply(insert("people", { id: int(2), age: int(3) }))).toEqual([null]);
    expect(lastState(it.server, "people").map(({ age }) => age)).toEqual([null, 3n]);
  });

  test("are loaded by several jobs when they are large", async () => {
    await using it = await openSink(LOADS);
    await it.apply(...Array.from({ length: 5 }, (_, i) => people(i, "x".repeat(9_000_000))));
    expect(it.server.rows("people")).toHaveLength(5);
    expect(it.server.count("jobs.insert")).toBe(2);
  });

  test("say which role is missing", async () => {
    await using it = await openSink(LOADS);
    it.server.misbehave("jobs.insert", { status: 403, reason: "accessDenied", message: "Access Denied: no bigquery.jobs.create" });
    expect(await away(it.apply(people(1)))).toBe(
      `BigQuery refuses ${it.server.email}: Access Denied: no bigquery.jobs.create. Give it the role roles/bigquery.dataEditor on the dataset activities, and roles/bigquery.jobUser on the project my-project`,
    );
  });

  test("are kept when a job is refused as a whole: to try them one by one would use up the day's jobs", async () => {
    await using it = await openSink({ config: { every: "1m" } });
    it.server.misbehave("jobs.insert", { status: 400, reason: "invalid", message: "Invalid job" });
    const runs = runsOf([insert("t", { id: int(1) }), insert("t", { id: int(2) })]);
    expect(await away(it.deliver(runs))).toBe("BigQuery refuses a job for the table t: Invalid job");
    expect(await it.deliver(runs, true)).toEqual([null, null]);
  });

  test("keep the log by a job too", async () => {
    await using it = await openSink({ ...LOADS, keepsLog: true });
    await it.apply(people(1), remove("t", { n: int(1) }));
    expect(it.server.rows("activity_log").map(({ id, state }) => [id, state])).toEqual([
      ["b:1", "applied"],
      ["b:2", "failed"],
    ]);
    expect(it.server.count("tabledata.insertAll")).toBe(0);
  });
});
