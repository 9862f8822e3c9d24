// What a decision on the shared table costs, in time and in memory. `bun test/bench/table.ts`
import { existsSync, readFileSync } from "node:fs";
import { Chunks } from "../../src/shared/chunks.ts";
import { enterColumns, hold, inFlight, release } from "../../src/shared/columns.ts";
import { deriveKey, hash } from "../../src/shared/hash.ts";
import { type Kind, PLAIN } from "../../src/shared/layout.ts";
import type { Ticket } from "../../src/shared/members.ts";
import { joinRegion, openRegion, type Region } from "../../src/shared/region.ts";
import { LOCKED, Table } from "../../src/shared/table.ts";
import { SharedValue } from "../../src/shared/value.ts";
import { folder } from "../support/process.ts";
import { parseTicket, ticketText } from "../support/tickets.ts";

const SUBJECTS = 1_000_000;
const NOW = 1_000_000;
const WINDOW = 60_000;
const RUNS = 7;

/** A step of a sliding window of two counters over the subjects from `at` on, without the clock. */
function decide(table: Table, key: ReturnType<Table["keyOf"]>, subjects: readonly string[], at: number, count: number, kind: Kind): void {
  table.begin();
  for (let k = 0; k < count; k++) table.enter(key, subjects[(at + k) % subjects.length] as string, kind);
  if (table.lock(NOW) !== LOCKED) throw new Error("A slot was not had.");
  const { f64 } = table;
  for (let p = 0; p < count; p++) {
    const isNew = table.isNew(p);
    const live = table.live(p);
    const next = table.next(p);
    const start = isNew ? NOW : (f64[live] as number);
    f64[next] = start;
    f64[next + 1] = isNew ? 1 : (f64[live + 1] as number) + 1;
    f64[next + 2] = isNew ? 0 : (f64[live + 2] as number);
    table.change(p, start + 2 * WINDOW, false);
  }
  table.commit();
}

/** The CPU time of this process in microseconds: what others do on the machine is then not measured. */
const used = (): number => process.cpuUsage().user + process.cpuUsage().system;

/** The median of some runs, and the least, in nanoseconds of CPU time for each of `times`. */
function measure(times: number, run: () => void): { readonly median: number; readonly least: number } {
  run();
  const all = Array.from({ length: RUNS }, () => {
    const begun = used();
    run();
    return ((used() - begun) / times) * 1000;
  }).sort((a, b) => a - b);
  return { median: all[RUNS >> 1] ?? 0, least: all[0] ?? 0 };
}

function report(name: string, times: number, run: () => void): void {
  const { median, least } = measure(times, run);
  const perSecond = (ns: number): string => Math.round(1e9 / ns).toLocaleString("en");
  console.log(
    `${name.padEnd(58)} ${median.toFixed(0).padStart(6)} ns median, ${least.toFixed(0)} least: ${perSecond(median)}/s to ${perSecond(least)}/s`,
  );
}

const names = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, i) => `[10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}]`);

function own(region: Region): Table {
  const ticket = region.becomeWorker();
  if (ticket === null) throw new Error("There is no id left.");
  return new Table(region.memory, ticket);
}

/** What the memory of this process's shared files and its own takes, in megabytes. */
function resident(): number {
  return existsSync("/proc/self/status") ? Number(/VmRSS:\s+(\d+)/.exec(readFileSync("/proc/self/status", "latin1"))?.[1]) / 1000 : 0;
}

const [mode, path = "", text = ""] = Bun.argv.slice(2);
if (mode === "other") {
  const ticket = parseTicket(text) as Ticket;
  const region = joinRegion(path, ticket);
  const table = new Table(region.memory, ticket);
  const key = table.keyOf("hot");
  const one = names(1);
  console.log("begun");
  for (;;) for (let i = 0; i < 10_000; i++) decide(table, key, one, 0, 1, PLAIN);
}

using place = folder();
const opened = performance.now();
const region = openRegion(`${place.path}/table`, { maxSubjects: SUBJECTS });
console.log(`opened in ${(performance.now() - opened).toFixed(1)} ms: ${region.path ?? region.why}`);
const table = own(region);
const key = table.keyOf("hot");

const long = "consumer-01J9ZQ4T7M5X2K8V3B6N";
report("hash of 10 characters", 1e6, () => {
  for (let i = 0; i < 1e6; i++) hash(key, "[10.0.0.1]");
});
report(`hash of ${long.length} characters`, 1e6, () => {
  for (let i = 0; i < 1e6; i++) hash(key, long);
});
report("hash of 10 Greek characters", 1e5, () => {
  for (let i = 0; i < 1e5; i++) hash(key, "αβγδεζηθικ");
});
deriveKey(key, "");
const hot = names(100);
for (const count of [1, 2, 3, 4])
  report(`${count} of 100 subjects in a step`, 1e6, () => {
    for (let i = 0; i < 1e6; i++) decide(table, key, hot, i % 96, count, PLAIN);
  });
report("a denial without a lock", 1e6, () => {
  for (let i = 0, n = 0; i < 1e6; i++) {
    table.begin();
    if (!table.peek(table.enter(key, hot[n] as string, PLAIN))) throw new Error("It is not there.");
    if (++n === 96) n = 0;
  }
});
report("hold and release of a concurrency limit", 1e6, () => {
  for (let i = 0; i < 1e6; i++) {
    table.begin();
    const position = enterColumns(table, key, "in flight");
    if (table.lock(NOW) !== LOCKED || inFlight(table, position) > 0) throw new Error("It is held.");
    const column = hold(table, position, 1);
    table.commit();
    release(table, column, 1);
  }
});
const codec = { initial: () => ({ n: 0 }), encode: JSON.stringify, decode: (json: string) => JSON.parse(json) as { n: number } };
const value = new SharedValue(table, new Chunks(region, table), key, "value", codec);
report("a change of a value of 10 bytes", 1e5, () => {
  for (let i = 0; i < 1e5; i++) value.change(NOW, ({ n }) => ({ n: n + 1 }));
});

const ticket = region.letWorker() as Ticket;
const other = Bun.spawn([process.execPath, import.meta.path, "other", region.path as string, ticketText(ticket)], { stdout: "pipe" });
await other.stdout.getReader().read();
const one = names(1);
report("the same subject as another process at the same time", 1e6, () => {
  for (let i = 0; i < 1e6; i++) decide(table, key, one, 0, 1, PLAIN);
});
other.kill();
await other.exited;
region.declareDead(ticket);

for (const count of [100_000, SUBJECTS]) {
  const many = names(count);
  const before = resident();
  const begun = performance.now();
  for (let i = 0; i < count; i++) decide(table, key, many, i, 1, PLAIN);
  console.log(
    `${count} subjects: first step ${(((performance.now() - begun) / count) * 1e6).toFixed(0)} ns, ${(resident() - before).toFixed(0)} MB more resident`,
  );
  // In an order that no cache foresees.
  report(`one of ${count} subjects`, 1e6, () => {
    for (let i = 0, at = 1; i < 1e6; i++) {
      at = (Math.imul(at, 1_664_525) + 1_013_904_223) >>> 0;
      decide(table, key, many, at % count, 1, PLAIN);
    }
  });
}
console.log(table.counts(), `${(region.memory.bytes.length / 2 ** 20).toFixed(0)} MiB of file`);
