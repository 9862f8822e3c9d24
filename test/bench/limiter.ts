// What a limiting decision costs, in time and in memory. `bun test/bench/limiter.ts`

import { newReading } from "../../src/limits/algorithms/algorithm.ts";
import { ALGORITHMS, algorithmsWith } from "../../src/limits/algorithms/registry.ts";
import { Limiter, type LimitService } from "../../src/limits/limiter.ts";
import { MemoryStore } from "../../src/limits/memory/store.ts";
import { compilePolicies } from "../../src/limits/policy.ts";
import type { LimitConfig } from "../../src/limits/settings.ts";
import { openRegion } from "../../src/shared/region.ts";
import type { Clock } from "../../src/values/clock.ts";
import { overTable } from "../support/limits.ts";

type Name = LimitConfig["algorithm"];

const DECISIONS = 5_000_000;
const SUBJECTS = 1_000_000;
const START = 1_800_000_000_000;

const count = (value: number): string => Math.round(value).toLocaleString("en").padStart(12);
const policiesOf = (...configs: LimitConfig[]) => compilePolicies(configs, { kind: "tier", name: "bench" });
const configOf = (algorithm: Name): LimitConfig =>
  ALGORITHMS[algorithm].windowed ? { algorithm, limit: 1000, window: "1s" } : { algorithm, limit: 1000 };

/** Seconds that the best of three runs takes, after one to warm up. */
function best(run: () => void): number {
  run();
  let seconds = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 3; i++) {
    const begun = performance.now();
    run();
    seconds = Math.min(seconds, (performance.now() - begun) / 1000);
  }
  return seconds;
}

/** Two thousand requests a second on one state: half of them are denied. */
function decisionsPerSecond(name: Name): number {
  const algorithm = ALGORITHMS[name];
  const reading = newReading();
  return (
    DECISIONS /
    best(() => {
      for (const policy of policiesOf(configOf(name))) {
        const state = algorithm.open(policy, START, policy.normal);
        for (let i = 0; i < DECISIONS; i++) {
          const now = START + (i >> 1);
          algorithm.peek(state, policy, policy.normal, 1, now, reading);
          if (reading.fits) algorithm.take(state, policy, policy.normal, 1, now);
          else if (algorithm.holds) algorithm.give(state, reading.used);
        }
      }
    })
  );
}

type Where = "memory" | "table";

/** A limiter of each kind, with room for all subjects. */
const limiterIn = (where: Where, clock: Clock): LimitService =>
  where === "memory"
    ? new Limiter({ store: new MemoryStore(SUBJECTS), clock, isDegraded: () => false })
    : overTable({ clock, region: openRegion(null, { maxSubjects: SUBJECTS }) }).limiter;

function nanosecondsPerAdmit(where: Where, configs: readonly LimitConfig[], subjects: number): number {
  const clock = { time: START, now: () => clock.time, wall: () => clock.time };
  const limiter = limiterIn(where, clock);
  const policies = policiesOf(...configs);
  const names = Array.from({ length: subjects }, (_, i) => policies.map(() => `consumer-${i}`));
  const decisions = DECISIONS / 5;
  const run = () => {
    for (let i = 0; i < decisions; i++) {
      clock.time += i & 1;
      // Steps through the subjects so that neighbours in memory do not follow each other.
      const verdict = limiter.admit(policies, names[(i * 7919) % subjects] ?? [], 1);
      // Neither waits.
      if (!(verdict instanceof Promise)) limiter.release(verdict);
    }
  };
  return (best(run) / decisions) * 1e9;
}

function bytesPerSubject(algorithm: Name): number {
  const clock = { now: () => START, wall: () => START };
  const store = new MemoryStore(SUBJECTS);
  const limiter = new Limiter({ store, clock, isDegraded: () => false });
  const policies = policiesOf(configOf(algorithm));
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  for (let i = 0; i < SUBJECTS; i++) limiter.admit(policies, [`consumer-${i}`], 1);
  Bun.gc(true);
  return (process.memoryUsage.rss() - before) / store.size;
}

/** In a process of its own: neither compiled code nor free memory is left over from another. */
const apart = (what: string, name: Name) =>
  Bun.spawnSync([process.execPath, import.meta.path, what, name], { stdout: "inherit", stderr: "inherit" });

const [, , what, name] = Bun.argv;
const algorithms = algorithmsWith();
const only = algorithms.find((each) => each === name);
if (only !== undefined) console.log(`  ${only.padEnd(16)}${count(what === "bytes" ? bytesPerSubject(only) : decisionsPerSecond(only))}`);
else {
  console.log("Decisions per second (peek and take on one state)");
  for (const each of algorithms) apart("decisions", each);
  console.log("Nanoseconds per admit in memory of one process, and in the table");
  const both: LimitConfig[] = [configOf("sliding-window"), configOf("token-bucket")];
  const cases: [string, LimitConfig[]][] = [
    ...algorithms.map((each): [string, LimitConfig[]] => [each, [configOf(each)]]),
    ["2 limits", both],
  ];
  for (const [title, configs] of cases)
    for (const subjects of [1, 100_000, SUBJECTS]) {
      // A million rings are more than the table has room for.
      if (title === "sliding-log" && subjects === SUBJECTS) continue;
      const [memory, table] = [nanosecondsPerAdmit("memory", configs, subjects), nanosecondsPerAdmit("table", configs, subjects)];
      console.log(`  ${title.padEnd(16)}${count(subjects)} subjects ${count(memory)} ${count(table)}`);
    }
  console.log(`Bytes per subject (growth of resident memory over ${count(SUBJECTS).trim()} subjects)`);
  for (const each of algorithms) apart("bytes", each);
}
