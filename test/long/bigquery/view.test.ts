import { expect } from "bun:test";
import fc from "fast-check";
import type { BigQueryServer } from "../../support/bigquery.ts";
import { history, idsOf, openSink, runsOf } from "../../support/bigquery-sink.ts";
import { type Folder, folder } from "../../support/process.ts";
import { having } from "../../support/programs.ts";

const { test, beforeAll, afterAll } = having("python3");

let home: Folder;
beforeAll(async () => {
  home = folder();
  const command = ["python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", home.path];
  const install = Bun.spawn([...command, "-r", `${import.meta.dir}/requirements.txt`], { stdout: "ignore", stderr: "pipe" });
  const said = await new Response(install.stderr).text();
  if ((await install.exited) !== 0) throw new Error(`pip can't install what requirements.txt names:\n${said}`);
}, 300_000);
afterAll(() => home[Symbol.dispose]());

/** Runs the queries of views in GoogleSQL. Gives the ids of the rows of each. */
async function run(cases: readonly ReturnType<typeof caseOf>[]): Promise<string[][]> {
  const child = Bun.spawn(["python3", `${import.meta.dir}/query.py`], {
    env: { PATH: process.env.PATH ?? "", PYTHONPATH: home.path },
    stdin: new Blob([cases.map((each) => JSON.stringify(each)).join("\n")]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, faults] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(faults.slice(-3000));
  return out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as string[]);
}

const caseOf = (server: BigQueryServer, table: string) => ({
  query: server.query(`${table}_current`),
  table: `${server.project}.${server.dataset}.${table}`,
  fields: server.fields(table),
  rows: server.rows(table),
});

test("the view of the last state is GoogleSQL, and holds what is left of 16 histories with every type and repeated deliveries", async () => {
  const cases: ReturnType<typeof caseOf>[] = [];
  const wanted: string[][] = [];
  for (const [i, activities] of fc.sample(history, { numRuns: 16, seed: 20_261_128 }).entries()) {
    await using it = await openSink({ rank: (i % 3) as 0 | 1 | 2 });
    const runs = runsOf(activities);
    await it.deliver(runs);
    it.clock.advance(61_000);
    await it.deliver(runs.slice(i % 5, 3 + (i % 7)), true);
    cases.push(caseOf(it.server, "t"));
    wanted.push(idsOf(it.server.current("t")));
  }
  expect(await run(cases)).toEqual(wanted);
  // Deletes have taken something in many of them, and left something.
  const inserts = cases.map(({ rows }) => new Set(rows.filter(({ _op }) => _op === "insert").map(({ _id }) => _id)).size);
  const touched = wanted.filter((ids, i) => ids.length > 0 && ids.length < (inserts[i] as number));
  expect(touched.length).toBeGreaterThan(8);
}, 600_000);
