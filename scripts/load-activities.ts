// Posts activities like many users, and checks at the end that what was accepted is what is in the tables:
// `bun run load:activities [--users N] [--duration SECONDS] [--batch N] [--url URL --database FILE [--endpoint PATH] [--key KEY]]`
// Each user waits one to two seconds, then posts an insert or a delete. With --batch nobody waits, and each request holds so many of them. Without --url it starts a gateway of its own.
import { Database } from "bun:sqlite";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const option = (name: string): string | undefined => {
  const at = Bun.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : Bun.argv[at + 1];
};
const number = (name: string, otherwise: number): number => {
  const value = Number(option(name) ?? otherwise);
  if (Number.isFinite(value) && value > 0) return value;
  console.error(`load:activities: --${name} must be a number above 0`);
  process.exit(2);
};
const batch = option("batch") === undefined ? 0 : Math.floor(number("batch", 1));
const users = Math.floor(number("users", batch === 0 ? 50 : 4));
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
let nextId = 1;

async function user(): Promise<void> {
  const mine: Row[] = [];
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
      if (answer.status === 202) {
        accepted += activities.length;
        for (const row of made) rows.set(row.id, row);
        for (const row of gone) rows.delete(row.id);
        mine.push(...made);
      } else {
        mine.unshift(...gone);
        failures.set(`${answer.status} ${text.slice(0, 200)}`, (failures.get(`${answer.status} ${text.slice(0, 200)}`) ?? 0) + 1);
        if (batch > 0) await Bun.sleep(100);
      }
    } catch (error) {
      for (const { id } of [...made, ...gone]) uncertain.add(id);
      const why = error instanceof Error ? error.message : String(error);
      failures.set(why, (failures.get(why) ?? 0) + 1);
      await Bun.sleep(200);
    }
  }
}

const from = performance.now();
const end = from + duration * 1000;
await Promise.all(Array.from({ length: users }, user));
const took = (performance.now() - from) / 1000;

latencies.sort((a, b) => a - b);
const percentile = (share: number): string =>
  (latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0).toFixed(1);
console.log(
  `${requests} requests, ${[...failures.values()].reduce((sum, count) => sum + count, 0)} failures, ${accepted} activities accepted in ${took.toFixed(1)} s (${Math.round(accepted / took)}/s)`,
);
for (const [why, count] of failures) console.log(`  ${count} × ${why}`);
console.log(`latency: p50 ${percentile(0.5)} ms, p95 ${percentile(0.95)} ms, p99 ${percentile(0.99)} ms, most ${percentile(1)} ms`);

let isRight = true;
if (target.database === undefined) console.log("not checked: name the tables' file with --database");
else {
  using database = new Database(target.database, { readonly: true });
  const waiting = () => (database.query("SELECT count(*) AS count FROM sluice_queue").get() as { count: number }).count;
  while (waiting() > 0) await Bun.sleep(20);
  const applied = (performance.now() - from) / 1000;
  console.log(`all applied after ${applied.toFixed(1)} s (${Math.round(accepted / applied)}/s accepted and applied)`);
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
  console.log(
    isRight
      ? `${rows.size} rows are there, each once and as it was sent`
      : `${wrong.length} rows are wrong: ${wrong.slice(0, 5).join("; ")}`,
  );
}
await target.stop();
process.exit(isRight ? 0 : 1);
