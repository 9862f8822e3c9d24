import { Database } from "bun:sqlite";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { loadOptions, retryAfter } from "./load-options.ts";
import { reportPage, type Second } from "./load-report.ts";

const USAGE = `Posts activities like many users, and checks in the end that what was accepted is what is in the tables.

  bun run load:activities [options]

Without --url it starts a gateway of its own, without limits, in a folder that goes afterwards.
Each user waits one to two seconds, then posts an insert or a delete.

  --users N           how many at once (50; with --batch 4)
  --ramp SECONDS      they begin one after the other within this time, not all at once
  --duration SECONDS  how long (30; with --batch 10)
  --batch N           nobody waits, and each request holds so many activities: for measuring
  --report FILE       writes a page with charts: requests a second, response times, users
  --url URL           a running gateway (SLUICE_URL)
  --key KEY           the key to send to it
  --endpoint PATH     where it takes activities (/api/activities)
  --database FILE     its activities.db, to check the tables
  --binary FILE       the compiled sluice to start, instead of the source

Against a gateway with limits give the key of a consumer that may send so much: the demo lets callers without a key send 100 requests a
minute, and one with the key demo_enterprise_key_abc 1000, which is about 25 users. Who is refused by a limit waits as long as it says.`;
const { text: option, number } = loadOptions("load:activities", USAGE);
const batch = option("batch") === undefined ? 0 : Math.floor(number("batch", 1));
const users = Math.floor(number("users", batch === 0 ? 50 : 4));
const ramp = option("ramp") === undefined ? 0 : number("ramp", 1) * 1000;
const duration = number("duration", batch === 0 ? 30 : 10);
const key = option("key");
const table = `load_${Date.now()}`;

/** A gateway of our own in a folder of its own, or the one that was named. */
async function gateway(): Promise<{ url: string; database: string | undefined; stop: () => Promise<void> }> {
  const named = option("url") ?? process.env.SLUICE_URL;
  if (named !== undefined) return { url: named, database: option("database"), stop: async () => {} };
  const folder = mkdtempSync(join(tmpdir(), "sluice-load-"));
  const config = { logging: { level: "warn" }, tiers: { anonymous: { limits: [] } }, activities: { auth: "none" } };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const binary = option("binary");
  const program = binary === undefined ? [process.execPath, resolve(import.meta.dir, "../src/main.ts")] : [resolve(binary)];
  using listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  const { port } = listener;
  listener.stop(true);
  const child = Bun.spawn([...program, "--host", "127.0.0.1", "--port", String(port)], {
    cwd: folder,
    stdout: "inherit",
    stderr: "ignore",
  });
  const url = `http://127.0.0.1:${port}`;
  while (
    !(await fetch(`${url}/health`).then(
      (answer) => answer.ok,
      () => false,
    ))
  )
    await Bun.sleep(20);
  return {
    url,
    database: join(folder, "data/activities.db"),
    stop: async () => {
      const { user, system } = usageOf(child.pid);
      console.log(`gateway: ${(user + system).toFixed(2)} s of CPU`);
      child.kill("SIGTERM");
      await child.exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Seconds of CPU that a process has had (Linux). */
function usageOf(pid: number): { user: number; system: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { user: Number(fields[11]) / 100, system: Number(fields[12]) / 100 };
}

const lists = (id: number, name: string, price: string) => ({
  colNames: ["id", "name", "price"],
  colTypes: ["INTEGER", "VARCHAR(40)", "DECIMAL(12,2)"],
  colValues: [id, name, price],
});

interface Row {
  readonly id: number;
  readonly name: string;
  readonly price: string;
}

const target = await gateway();
const endpoint = new URL(option("endpoint") ?? "/api/activities", target.url);
/** Rows that must be there in the end, and those of requests of which nobody knows what became. */
const rows = new Map<number, Row>();
const uncertain = new Set<number>();
const latencies: number[] = [];
const failures = new Map<string, number>();
let requests = 0;
let accepted = 0;
let limited = 0;
let running = 0;
/** By the second in which the answer came. */
const seconds: Second[] = [];
const second = (): Second => {
  const at = Math.floor((performance.now() - from) / 1000);
  for (let i = seconds.length; i <= at; i++) seconds.push({ users: running, times: [], failures: 0 });
  return seconds[at] as Second;
};
let nextId = 1;

async function user(index: number): Promise<void> {
  const mine: Row[] = [];
  if (ramp > 0) await Bun.sleep((index / users) * ramp);
  running++;
  while (performance.now() < end) {
    if (batch === 0) await Bun.sleep(Math.min(1000 + Math.random() * 1000, Math.max(0, end - performance.now())));
    const made: Row[] = [];
    const gone: Row[] = [];
    const activities = Array.from({ length: Math.max(1, batch) }, () => {
      const old = Math.random() < 0.3 ? mine.shift() : undefined;
      if (old !== undefined) {
        gone.push(old);
        return { operation: "delete", table, oldValue: lists(old.id, old.name, old.price) };
      }
      const id = nextId++;
      const row = { id, name: `user ${id % 97}'s`, price: `${id}.${String(id % 100).padStart(2, "0")}` };
      made.push(row);
      return { operation: "insert", table, ...lists(row.id, row.name, row.price) };
    });
    const at = performance.now();
    requests++;
    try {
      const answer = await fetch(endpoint, {
        method: "POST",
        headers: { "content-type": "application/json", ...(key === undefined ? {} : { "x-api-key": key }) },
        body: JSON.stringify({ activities }),
      });
      const text = await answer.text();
      latencies.push(performance.now() - at);
      if (answer.ok) second().times.push(performance.now() - at);
      else second().failures++;
      if (answer.status === 202) {
        accepted += activities.length;
        for (const row of made) rows.set(row.id, row);
        for (const row of gone) rows.delete(row.id);
        mine.push(...made);
      } else {
        mine.unshift(...gone);
        if (answer.status === 429) {
          limited++;
          await Bun.sleep(Math.min(retryAfter(answer), Math.max(0, end - performance.now())));
          continue;
        }
        failures.set(`${answer.status} ${text.slice(0, 200)}`, (failures.get(`${answer.status} ${text.slice(0, 200)}`) ?? 0) + 1);
        if (batch > 0) await Bun.sleep(100);
      }
    } catch (error) {
      for (const { id } of [...made, ...gone]) uncertain.add(id);
      const why = error instanceof Error ? error.message : String(error);
      failures.set(why, (failures.get(why) ?? 0) + 1);
      second().failures++;
      await Bun.sleep(200);
    }
  }
}

const from = performance.now();
const end = from + duration * 1000;
await Promise.all(Array.from({ length: users }, (_, i) => user(i)));
const took = (performance.now() - from) / 1000;

latencies.sort((a, b) => a - b);
const percentile = (share: number): string =>
  (latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0).toFixed(1);
const summary: string[] = [];
const say = (line: string): void => {
  summary.push(line);
  console.log(line);
};
say(
  `${requests} requests, ${[...failures.values()].reduce((sum, count) => sum + count, 0)} failures, ${accepted} activities accepted in ${took.toFixed(1)} s (${Math.round(accepted / took)}/s)`,
);
for (const [why, count] of failures) say(`  ${count} × ${why}`);
if (limited > 0)
  say(
    `  ${limited} × 429: the gateway limits this caller, which is no failure, but then its limit was measured. Give --key of a consumer that may send more, fewer --users, or a higher limit to its tier.`,
  );
say(`latency: p50 ${percentile(0.5)} ms, p95 ${percentile(0.95)} ms, p99 ${percentile(0.99)} ms, most ${percentile(1)} ms`);

let isRight = true;
if (target.database === undefined) say("not checked: name the tables' file with --database");
else {
  using database = new Database(target.database, { readonly: true });
  const waiting = () => (database.query("SELECT count(*) AS count FROM sluice_queue").get() as { count: number }).count;
  while (waiting() > 0) await Bun.sleep(20);
  const applied = (performance.now() - from) / 1000;
  say(`all applied after ${applied.toFixed(1)} s (${Math.round(accepted / applied)}/s accepted and applied)`);
  const found = new Map<number, number>();
  const wrong: string[] = [];
  for (const row of accepted === 0 ? [] : (database.query(`SELECT id, name, price FROM "${table}"`).all() as Row[])) {
    found.set(row.id, (found.get(row.id) ?? 0) + 1);
    if (uncertain.has(row.id)) continue;
    const should = rows.get(row.id);
    if (should === undefined) wrong.push(`row ${row.id} should not be there`);
    else if (should.name !== row.name || should.price !== row.price) wrong.push(`row ${row.id} is not as it was sent`);
  }
  for (const id of rows.keys()) if (!uncertain.has(id) && found.get(id) !== 1) wrong.push(`row ${id} is there ${found.get(id) ?? 0} times`);
  isRight = wrong.length === 0;
  say(
    isRight
      ? `${rows.size} rows are there, each once and as it was sent`
      : `${wrong.length} rows are wrong: ${wrong.slice(0, 5).join("; ")}`,
  );
}
const report = option("report");
if (report !== undefined) {
  writeFileSync(report, reportPage(`Activities at ${target.url}`, summary, seconds));
  console.log(`charts: ${report}`);
}
await target.stop();
process.exit(isRight ? 0 : 1);
