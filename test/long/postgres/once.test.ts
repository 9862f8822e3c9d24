import { expect } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PostgresSink } from "../../../src/activities/sinks/postgres.ts";
import { type Outcome, REPEATED, SinkAway } from "../../../src/activities/sinks/sink.ts";
import { postgresServer } from "../../support/postgres.ts";
import { folder } from "../../support/process.ts";
import { having } from "../../support/programs.ts";
import { delivered, insert, int, parsed, remove, runsOf, text } from "../../support/runs.ts";

const tests = having("postgres");
const PORTIONS = 120;
const SIZE = 100;
const KILLS = 7;
const APPLIER = join(import.meta.dir, "../../support/postgres-applier.ts");

/** Each portion inserts a row twice with a delete between, which leaves one; deletes what the portion before has left of another; and fails once. */
const portions = Array.from({ length: PORTIONS }, (_, p) =>
  Array.from({ length: SIZE }, (_, i) => {
    const table = `t${i % 5}`;
    if (i < 90) return insert(table, { p: int(p), i: int(i), v: text("new") });
    if (i < 95) return remove(table, { p: int(p), i: int(i - 90), v: text("new") });
    if (i === 99) return remove("absent", { p: int(p) });
    return insert(table, { p: int(p), i: int(i - 95), v: text("again") });
  }),
);
const idOf = (p: number) => (index: number) => `${String(p).padStart(4, "0")}:${String(index).padStart(4, "0")}`;

/** The rows that are left of each portion, over all tables. */
async function checked(client: ReturnType<Awaited<ReturnType<typeof postgresServer>>["client"]>, schema: string): Promise<void> {
  const all = [0, 1, 2, 3, 4].map((n) => `SELECT p, i, v FROM ${schema}.t${n}`).join(" UNION ALL ");
  const rows = [
    ...(await client.unsafe(
      `SELECT p::int, count(*)::int AS rows, count(*) FILTER (WHERE v = 'again')::int AS again, count(DISTINCT i)::int AS places FROM (${all}) AS a GROUP BY p ORDER BY p`,
    )),
  ];
  expect(rows).toEqual(Array.from({ length: PORTIONS }, (_, p) => ({ p, rows: 89, again: 4, places: 89 })));
}

tests.test("what a server and an applier that are killed time and again were given is in the tables once, in its order", async () => {
  using place = folder();
  await using server = await postgresServer();
  const [input, cursor] = [join(place.path, "input.json"), join(place.path, "cursor")];
  writeFileSync(input, JSON.stringify({ url: server.url, schema: "Killed", portions }));
  const start = () => Bun.spawn([process.execPath, APPLIER, input, cursor], { stdout: "pipe", stderr: "inherit" });
  const done = () => (existsSync(cursor) ? Number(readFileSync(cursor, "utf8")) : 0);
  for (let kill = 1; kill <= KILLS; kill++) {
    const child = start();
    // By what it has done, not by the time: a fast machine would be through before it is killed.
    const from = done();
    const until = from + Math.random() * (PORTIONS / (KILLS + 1));
    while (child.exitCode === null && done() <= until) await Bun.sleep(1);
    await Bun.sleep(Math.random() * 20);
    expect(child.exitCode).toBeNull();
    if (kill % 2 === 0) {
      await server.kill();
      await server.start();
    }
    child.kill("SIGKILL");
    await child.exited;
  }
  const last = start();
  expect(await new Response(last.stdout).text()).toBe("done\n");
  const client = server.client();
  await checked(client, "killed");
  const log = [...(await client.unsafe("SELECT id, state FROM killed.activity_log ORDER BY seq"))] as { id: string; state: string }[];
  expect(log.map(({ id }) => id)).toEqual(portions.flatMap((portion, p) => portion.map((_, i) => idOf(p)(i))));
  expect(log.filter(({ state }) => state === "failed").map(({ id }) => id)).toEqual(portions.map((_, p) => idOf(p)(99)));
});

tests.test("two sinks that are given the same at the same time apply it once, while the server is killed", async () => {
  await using server = await postgresServer();
  const client = server.client();
  const runs = portions.map((portion, p) => runsOf(parsed(portion), idOf(p)));
  const given = Array.from({ length: PORTIONS }, () => [] as (readonly Outcome[])[]);
  const follow = async (keepsLog: boolean): Promise<void> => {
    const sink = new PostgresSink({ url: server.url, schema: "together", ca: null }, { keepsLog });
    for (const [p, each] of runs.entries()) {
      for (;;) {
        try {
          given[p]?.push(await sink.apply(each, delivered()));
          break;
        } catch (error) {
          if (!(error instanceof SinkAway)) throw error;
          await Bun.sleep(20);
        }
      }
    }
    await sink.close();
  };
  let isDone = false;
  const killing = (async () => {
    for (let i = 0; i < 4 && !isDone; i++) {
      await Bun.sleep(300 + Math.random() * 500);
      await server.kill();
      await server.start();
    }
  })();
  await Promise.all([follow(true), follow(true), follow(true)]);
  isDone = true;
  await killing;
  await checked(client, "together");
  for (const all of given)
    for (let i = 0; i < SIZE; i++) expect(all.filter((outcomes) => outcomes[i] !== REPEATED).length).toBeLessThanOrEqual(1);
  const log = [...(await client.unsafe("SELECT id FROM together.activity_log ORDER BY seq"))] as { id: string }[];
  expect(log.map(({ id }) => id)).toEqual(portions.flatMap((portion, p) => portion.map((_, i) => idOf(p)(i))));
});
