import { writeFileSync } from "node:fs";
import { Figures, percentile, sortedTimes } from "./load-figures.ts";
import { namedGateway, ownGateway } from "./load-gateway.ts";
import { loadOptions, retryAfter } from "./load-options.ts";
import { reportPage } from "./load-report.ts";
import { faultsOf, postgresTables, type Row, settled, sqliteTables } from "./load-tables.ts";

const USAGE = `Posts activities like many users, checks in the end that what was accepted is what is in the tables, and leaves a page with charts.

  bun run load:activities [options]

Without --url it starts a gateway of its own, without limits, in a folder that goes afterwards. Against the demo (bun start):

  bun run load:activities --url http://127.0.0.1:8080

Each user waits one to two seconds, then posts an insert or a delete with an Idempotency-Key. A request whose answer is lost or is 5xx is
sent again with the same key, until it is known what became of it. Ctrl-C ends the load early, and the report is written all the same; a second one
ends at once.

  --users N           how many at once (50; with --batch 4)
  --ramp SECONDS      they begin one after the other within this time, not all at once
  --duration SECONDS  how long (30; with --batch 10)
  --batch N           nobody waits, and each request holds so many activities: for measuring
  --report FILE       the page with charts: users, response times, requests a second, failures (load-activities.html; none: no page)
  --url URL           a running gateway (SLUICE_URL)
  --key KEY           the key to send to it
  --endpoint PATH     where it takes activities (/api/activities)
  --database FILE     its activities.db, to check the tables
  --postgres URL      the database of its sink in PostgreSQL, to check the tables there
  --schema NAME       the schema of that sink (public)
  --binary FILE       the compiled sluice to start, instead of the source

The demo takes activities without limits. Against another gateway give --key of a consumer that may send so much; or set
SLUICE_ADMIN_TOKEN, and a consumer without limits is made for the time of the test. Who is refused by a limit waits as long as it says.

It ends with 1 when a row is wrong, when nobody knows what became of a request, or when nothing was accepted.`;
const { text: option, number } = loadOptions("load:activities", USAGE);
const batch = option("batch") === undefined ? 0 : Math.floor(number("batch", 1));
const users = Math.floor(number("users", batch === 0 ? 50 : 4));
const ramp = option("ramp") === undefined ? 0 : number("ramp", 1) * 1000;
const duration = number("duration", batch === 0 ? 30 : 10);
const report = option("report") ?? "load-activities.html";
const table = `load_${Date.now()}`;
/** Milliseconds after the end for which a request is sent again of which nobody knows what became. */
const PATIENCE = 60_000;
/** Milliseconds after which an answer counts as lost. */
const LOST_AFTER = 30_000;

/** What Ctrl-C does: from the first moment on it leaves no gateway behind. */
let interrupted = (): void => process.exit(130);
process.on("SIGINT", () => interrupted());

const url = option("url") ?? process.env.SLUICE_URL;
const gateway = await (url === undefined
  ? ownGateway(option("binary"))
  : namedGateway(url, { key: option("key"), token: process.env.SLUICE_ADMIN_TOKEN || undefined, database: option("database") })
).catch((error: Error): never => {
  console.error(`load:activities: ${error.message}`);
  process.exit(1);
});
const endpoint = new URL(option("endpoint") ?? "/api/activities", gateway.url);
const headers = { "content-type": "application/json", ...(gateway.key === undefined ? {} : { "x-api-key": gateway.key }) };

/** Rows that must be there in the end, and those of requests of which nobody knows what became. */
const rows = new Map<number, Row>();
const uncertain = new Set<number>();
let accepted = 0;
let nextId = 1;

const lists = ({ id, name, price }: Row) => ({
  colNames: ["id", "name", "price"],
  colTypes: ["INTEGER", "VARCHAR(40)", "DECIMAL(12,2)"],
  colValues: [id, name, price],
});

/** Sends a body once. Gives the answer's status, or 0 when it was lost, and the milliseconds to wait before it is sent again. */
async function send(kind: string, key: string, body: string): Promise<{ readonly status: number; readonly wait: number }> {
  const at = performance.now();
  const failed = (failure: string) => figures.add(kind, { time: null, bytes: null, failure, isLimited: false });
  try {
    const answer = await fetch(endpoint, {
      method: "POST",
      headers: { ...headers, "idempotency-key": key },
      body,
      signal: AbortSignal.timeout(LOST_AFTER),
    });
    const text = await answer.text();
    const { status } = answer;
    const isLimited = status === 429;
    figures.add(kind, {
      time: performance.now() - at,
      bytes: Buffer.byteLength(text),
      failure: answer.ok || isLimited ? null : `${status} ${text.slice(0, 200).replace(/"requestId":"[^"]*"/, '"requestId":"…"')}`,
      isLimited,
    });
    return { status, wait: answer.headers.has("retry-after") ? retryAfter(answer) : 1000 };
  } catch (error) {
    failed(error instanceof Error ? error.message : String(error));
    return { status: 0, wait: 500 };
  }
}

/** Sends a body until it is known what became of it: true when it was accepted, false when not, `null` when nobody knows in the end. */
async function settle(kind: string, body: string): Promise<boolean | null> {
  const key = crypto.randomUUID();
  /** True when an earlier answer was lost, or told of trouble: the batch may have been accepted. */
  let isUncertain = false;
  for (;;) {
    const { status, wait } = await send(kind, key, body);
    if (status === 202) return true;
    if (status === 0 || status >= 500) isUncertain = true;
    else if (status !== 429) return false;
    const left = end - performance.now() + (isUncertain ? PATIENCE : 0);
    if (left < wait) {
      await Bun.sleep(Math.min(wait, Math.max(0, end - performance.now())));
      return isUncertain ? null : false;
    }
    await Bun.sleep(wait);
  }
}

async function user(index: number): Promise<void> {
  const mine: Row[] = [];
  if (ramp > 0) await Bun.sleep((index / users) * ramp);
  figures.count(1);
  while (performance.now() < end) {
    if (batch === 0) {
      const wait = 1000 + Math.random() * 1000;
      await Bun.sleep(Math.min(wait, Math.max(0, end - performance.now())));
      // Whoever still waits in the end sends nothing: all of them at once would be no load of users.
      if (performance.now() >= end) break;
    }
    const made: Row[] = [];
    const gone: Row[] = [];
    const activities = Array.from({ length: Math.max(1, batch) }, () => {
      const old = Math.random() < 0.3 ? mine.shift() : undefined;
      if (old !== undefined) {
        gone.push(old);
        return { operation: "delete", table, oldValue: lists(old) };
      }
      const id = nextId++;
      const row = { id, name: `user ${id % 97}'s`, price: `${id}.${String(id % 100).padStart(2, "0")}` };
      made.push(row);
      return { operation: "insert", table, ...lists(row) };
    });
    const kind = batch > 0 ? `batch of ${batch}` : gone.length > 0 ? "delete" : "insert";
    const isAccepted = await settle(kind, JSON.stringify({ activities }));
    if (isAccepted === null) for (const { id } of [...made, ...gone]) uncertain.add(id);
    else if (isAccepted) {
      accepted += activities.length;
      for (const row of made) rows.set(row.id, row);
      for (const row of gone) rows.delete(row.id);
      mine.push(...made);
    } else {
      mine.unshift(...gone);
      // Whatever is wrong with it: not as often as the machine can ask.
      if (batch > 0) await Bun.sleep(100);
    }
  }
  figures.count(-1);
}

const began = new Date();
const figures = new Figures();
let end = performance.now() + duration * 1000;
interrupted = () => {
  // The second time nobody wants the report either.
  if (performance.now() >= end) process.exit(130);
  end = performance.now();
};
console.log(`${users} users for ${duration} s at ${endpoint.href}`);
await Promise.all(Array.from({ length: users }, (_, i) => user(i)));
const took = figures.elapsed;

const summary: string[] = [];
const say = (line: string): void => {
  summary.push(line);
  console.log(line);
};
const all = figures.all;
const times = sortedTimes(all.times);
const at = (share: number): string => percentile(times, share).toFixed(1);
say(
  `${all.requests} requests, ${all.failures} failures, ${accepted} activities accepted in ${took.toFixed(1)} s (${Math.round(accepted / took)}/s)`,
);
for (const { kind, what, count } of figures.failures.values()) say(`  ${count} × ${kind}: ${what}`);
if (all.limited > 0)
  say(
    `  ${all.limited} × 429: the gateway limits this caller, which is no failure, but then its limit was measured. Give --key of a consumer that may send more, set SLUICE_ADMIN_TOKEN, take fewer --users, or give its tier a higher limit.`,
  );
say(`latency: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms`);
if (uncertain.size > 0) say(`nobody knows what became of ${uncertain.size} activities, whose answers were lost to the end`);

let isRight = uncertain.size === 0 && accepted > 0;
const { database } = gateway;
const postgres = option("postgres");
const places = [
  ...(database === undefined ? [] : [sqliteTables(database, table)]),
  ...(postgres === undefined ? [] : [postgresTables(postgres, option("schema") ?? "public", table)]),
];
if (places.length === 0) say("not checked: name the tables with --database or --postgres");
for (const tables of places) {
  const isSettled = await settled(tables, rows.size, gateway.waiting);
  const applied = figures.elapsed;
  if (isSettled) say(`all applied after ${applied.toFixed(1)} s (${Math.round(accepted / applied)}/s accepted and applied)`);
  const wrong = faultsOf(await tables.rows(), rows, uncertain);
  if (wrong.length > 0) isRight = false;
  say(
    wrong.length === 0
      ? `${rows.size} rows are there, each once and as it was sent (${tables.name})`
      : `${wrong.length} rows are wrong: ${wrong.slice(0, 5).join("; ")} (${tables.name})`,
  );
  await tables.close();
}
await gateway.close();
if (report !== "none") {
  writeFileSync(report, reportPage({ title: `Activities at ${endpoint.href}`, began, took, summary, figures }));
  console.log(`charts: ${report}`);
}
process.exit(isRight ? 0 : 1);
