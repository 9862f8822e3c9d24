import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { SavedCount } from "../../../src/limits/persistence.ts";
import { compilePolicies, compileQuotas } from "../../../src/limits/policy.ts";
import { SharedCounts } from "../../../src/limits/shared/counts.ts";
import { SharedLimiter } from "../../../src/limits/shared/limiter.ts";
import { aloneBus, type Bus, NoAnswer } from "../../../src/shared/bus.ts";
import { openRegion } from "../../../src/shared/region.ts";
import { FakeClock } from "../../support/clock.ts";
import { limitOf, overTable, WINDOWED } from "../../support/limits.ts";

const HOUR = 3_600_000;
const scope = { kind: "tier" as const, name: "t" };

/** A database that processes write to, one after another or some at once. */
function database() {
  const saved = new Map<string, SavedCount>();
  const disk = { isFull: false };
  const key = (policy: string, subject: string) => `${policy} ${subject}`;
  const counts = {
    remove: () => {},
    prune: () => {},
    find: (policy: string, subject: string) => saved.get(key(policy, subject))?.state ?? null,
    load: () => [...saved.values()],
    save: (changed: readonly SavedCount[]) => {
      if (disk.isFull) throw new Error("disk full");
      for (const count of changed) saved.set(key(count.policy, count.subject), count);
    },
  };
  return { counts, disk, saved };
}

/** A process on a table of a few subjects: by default on one of its own, with which what SQLite lacks is lost. */
function started(
  { counts }: ReturnType<typeof database>,
  clock: FakeClock,
  {
    region = openRegion(null, { maxSubjects: 30 }),
    bus = aloneBus() as Bus,
    policies = compilePolicies([limitOf("fixed-window", 5, "1h")], scope),
  } = {},
) {
  const { table, logs } = overTable({ clock, region });
  const shared = new SharedCounts({ table, logs, counts, clock, bus, maxSubjects: 30 });
  const limiter = new SharedLimiter({ table, logs, clock, isDegraded: () => false, durable: shared });
  if (bus.role !== "worker") shared.restore();
  const subjects = (subject: string) => policies.map(() => subject);
  return {
    region,
    shared,
    limiter,
    policies,
    flush: () => shared.flush(),
    use: (subject = "a") => limiter.admit(policies, subjects(subject), 1).allowed,
    remaining: (subject = "a") => limiter.inspect(policies, subjects(subject)).map(({ remaining }) => remaining),
    reset: (subject = "a") => limiter.reset(policies, subjects(subject)),
  };
}

describe.each(WINDOWED.map((algorithm) => [algorithm]))("counts of an hour under %s", (algorithm) => {
  const policies = [...compilePolicies([limitOf(algorithm, 8, "1h")], scope), ...compileQuotas([{ limit: 20, period: "day" }], scope)];

  test("are what was written last where the table is lost, and what was counted last where it is not", () => {
    const waits = fc.array(fc.nat(900_000), { maxLength: 12 });
    fc.assert(
      fc.property(waits, waits, fc.nat(2 * HOUR), fc.integer({ min: -5000, max: 5000 }), (before, after, pause, ahead) => {
        const there = database();
        const clock = new FakeClock();
        const first = started(there, clock, { policies });
        for (const wait of before) {
          clock.time += wait;
          first.use();
        }
        first.flush();
        clock.time += pause;
        const written = first.remaining();
        // The other table's clock shows something else.
        const elsewhere = new FakeClock(clock.time + ahead, clock.ahead - ahead);
        expect(started(there, elsewhere, { policies }).remaining()).toEqual(written);
        for (const wait of after) {
          clock.time += wait;
          first.use();
        }
        expect(started(there, clock, { policies, region: first.region }).remaining()).toEqual(first.remaining());
      }),
      { numRuns: 60 },
    );
  });

  test("are the same whether the table has room for all subjects or for a few, however newcomers come between", () => {
    const step = fc.record({ subject: fc.nat(5), wait: fc.nat(300_000), newcomers: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const clock = new FakeClock();
        const roomy = started(database(), clock, { policies, region: openRegion(null, { maxSubjects: 5000 }) });
        const tight = started(database(), clock, { policies });
        let next = 0;
        for (const { subject, wait, newcomers } of steps) {
          clock.time += wait;
          for (let i = 0; i < newcomers; i++) tight.use(`newcomer ${next++}`);
          expect(tight.remaining(`s${subject}`)).toEqual(roomy.remaining(`s${subject}`));
          expect(tight.use(`s${subject}`)).toBe(roomy.use(`s${subject}`));
          tight.flush();
        }
      }),
      { numRuns: 40 },
    );
  });
});

test("counts are written with the next flush when one fails", () => {
  const there = database();
  const process = started(there, new FakeClock());
  process.use();
  there.disk.isFull = true;
  expect(process.flush).toThrow("disk full");
  expect(process.shared.waiting).toBe(1);
  there.disk.isFull = false;
  process.flush();
  expect([process.shared.waiting, started(there, new FakeClock()).remaining()]).toEqual([0, [4]]);
});

test("counts that were reset do not come back, even of a subject that the table had no room for", () => {
  const there = database();
  const clock = new FakeClock();
  const process = started(there, clock);
  process.use("a");
  process.flush();
  for (let i = 0; i < 200; i++) {
    process.use(`newcomer ${i}`);
    process.flush();
  }
  process.reset("a");
  process.flush();
  expect(started(there, clock).remaining("a")).toEqual([5]);
});

test("what a worker counts is written by the keeper, and asked for again until it is", async () => {
  const there = database();
  const clock = new FakeClock();
  const region = openRegion(null, { maxSubjects: 30 });
  const keeper = aloneBus();
  let isAway = true;
  const worker: Bus = {
    ...aloneBus(),
    role: "worker",
    askKeeper: async (topic, what, within) => {
      if (isAway) throw new NoAnswer("the keeper is away");
      return await keeper.askKeeper(topic, what, within);
    },
  };
  started(there, clock, { region, bus: keeper });
  const process = started(there, clock, { region, bus: worker });
  for (let i = 0; i < 3; i++) process.use();
  await process.shared.close();
  expect([process.shared.waiting, there.saved.size]).toEqual([1, 0]);
  isAway = false;
  await process.shared.close();
  expect(process.shared.waiting).toBe(0);
  expect(started(there, clock).remaining()).toEqual([2]);
});

test("while nothing can be written no more subjects are remembered than have room", () => {
  const there = database();
  const process = started(there, new FakeClock());
  there.disk.isFull = true;
  for (let i = 0; i < 100; i++) {
    process.use(`s${i}`);
    if (i % 20 === 0) expect(process.flush).toThrow("disk full");
  }
  expect(process.shared.waiting).toBeLessThanOrEqual(30);
});

test("a process that is started again over its table reads nothing back, also when subjects had to go", () => {
  const there = database();
  const clock = new FakeClock();
  const { region, use, flush } = started(there, clock);
  for (let i = 0; i < 200; i++) {
    use(`s${i}`);
    flush();
  }
  let loads = 0;
  const load = () => {
    loads++;
    return there.counts.load();
  };
  const counts = { ...there.counts, load };
  const again = started({ ...there, counts }, clock, { region });
  expect([loads, again.remaining("s0"), again.remaining("s199")]).toEqual([0, [4], [4]]);
});
