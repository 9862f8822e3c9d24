import { afterAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { COMMITTED, type Kind, OWNER_SHIFT, PLAIN, RECORD, SLOT_WORDS, SLOTS, UNSAVED, VALUE, WINDOW } from "../../src/shared/layout.ts";
import { recordOf } from "../../src/shared/members.ts";
import { openRegion, type Region } from "../../src/shared/region.ts";
import { BUSY, FULL, LOCKED, Table } from "../../src/shared/table.ts";
import { folder } from "../support/process.ts";

const place = folder();
afterAll(() => place[Symbol.dispose]());

const NOW = 100_000;
const LATER = NOW + 3_600_000;

function joined(region: Region): Table {
  const ticket = region.becomeWorker();
  if (ticket === null) throw new Error("there is no id left");
  return new Table(region.memory, ticket);
}

const newTable = (maxSubjects = 100): Table => joined(openRegion(null, { maxSubjects }));

interface Change {
  readonly subject: string;
  readonly by: number;
  readonly expires?: number;
  readonly unsaved?: boolean;
  readonly kind?: Kind;
}

/** Locks the subjects and writes their next states; the step stays open. */
function prepare(table: Table, changes: readonly Change[], now = NOW): number {
  const key = table.keyOf("test");
  table.begin();
  const positions = changes.map(({ subject, kind = PLAIN }) => table.enter(key, subject, kind));
  const locked = table.lock(now);
  if (locked !== LOCKED) return locked;
  for (const [i, { by, expires = LATER, unsaved = false }] of changes.entries()) {
    const position = positions[i] as number;
    const before = table.isNew(position) ? 0 : (table.f64[table.live(position)] as number);
    const next = table.next(position);
    for (const k of [0, 1, 2]) table.f64[next + k] = (before + by) * (k + 1);
    table.change(position, expires, unsaved);
  }
  return LOCKED;
}

function step(table: Table, ...changes: readonly Change[]): void {
  expect(prepare(table, changes)).toBe(LOCKED);
  table.commit();
}

/** The count of a subject, which stands there three times over; 0: there is none. */
function countOf(table: Table, subject: string, kind: Kind = PLAIN): number {
  table.begin();
  if (!table.peek(table.enter(table.keyOf("test"), subject, kind))) return 0;
  const [one, two, three] = table.scratch;
  expect([two, three]).toEqual([(one ?? 0) * 2, (one ?? 0) * 3]);
  return one ?? 0;
}

const slotOf = (table: Table, subject: string): number => table.find(...table.hashOf(table.keyOf("test"), subject));
const wordOf = (table: Table, subject: string): number => table.i32[SLOTS + slotOf(table, subject) * SLOT_WORDS] ?? 0;

describe("a step", () => {
  test("changes all of its subjects when it is committed, and none when it is aborted", () => {
    const table = newTable();
    step(table, { subject: "a", by: 1 }, { subject: "b", by: 2 }, { subject: "c", by: 3 });
    expect(
      prepare(table, [
        { subject: "a", by: 10 },
        { subject: "c", by: 10 },
      ]),
    ).toBe(LOCKED);
    table.abort();
    expect(["a", "b", "c", "d"].map((subject) => countOf(table, subject))).toEqual([1, 2, 3, 0]);
  });

  test("leaves those subjects as they were that it did not change", () => {
    const table = newTable();
    step(table, { subject: "a", by: 1 }, { subject: "b", by: 2 });
    const key = table.keyOf("test");
    table.begin();
    const [a, b] = [table.enter(key, "a", PLAIN), table.enter(key, "b", PLAIN)];
    expect(table.lock(NOW)).toBe(LOCKED);
    table.f64.fill(99, table.next(a), table.next(a) + 3);
    table.f64.fill(0, table.next(b), table.next(b) + 3);
    table.change(b, LATER, false);
    table.commit();
    expect([countOf(table, "a"), countOf(table, "b")]).toEqual([1, 0]);
  });

  test("has a subject once, however often it is entered", () => {
    const table = newTable();
    const key = table.keyOf("test");
    table.begin();
    expect([table.enter(key, "a", PLAIN), table.enter(key, "b", PLAIN), table.enter(key, "a", PLAIN)]).toEqual([0, 1, 0]);
    expect(table.lock(NOW)).toBe(LOCKED);
    table.abort();
  });

  test("may have 48 subjects, and says so when there are more", () => {
    const table = newTable(1000);
    const changes = Array.from({ length: 48 }, (_, i) => ({ subject: `s${i}`, by: i + 1 }));
    step(table, ...changes);
    expect(changes.map(({ subject }) => countOf(table, subject))).toEqual(changes.map(({ by }) => by));
    table.begin();
    for (const { subject } of changes) table.enter(table.keyOf("test"), subject, PLAIN);
    expect(() => table.enter(table.keyOf("test"), "more", PLAIN)).toThrow(/48/);
  });

  test("that a throw has left open counts as aborted when the next one comes", () => {
    const table = newTable();
    step(table, { subject: "a", by: 1 });
    expect(
      prepare(table, [
        { subject: "a", by: 10 },
        { subject: "b", by: 10 },
      ]),
    ).toBe(LOCKED);
    step(table, { subject: "b", by: 1 }, { subject: "a", by: 1 });
    expect([countOf(table, "a"), countOf(table, "b")]).toEqual([2, 1]);
  });

  test("of random ones gives what a map gives", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            subjects: fc.uniqueArray(fc.constantFrom("a", "b", "é", "日本", "", "x".repeat(300)), { minLength: 1 }),
            by: fc.integer({ min: 1, max: 1000 }),
            commits: fc.boolean(),
          }),
          { maxLength: 60 },
        ),
        (steps) => {
          const table = newTable();
          const model = new Map<string, number>();
          for (const { subjects, by, commits } of steps) {
            expect(
              prepare(
                table,
                subjects.map((subject) => ({ subject, by })),
              ),
            ).toBe(LOCKED);
            if (!commits) {
              table.abort();
              continue;
            }
            table.commit();
            for (const subject of subjects) model.set(subject, (model.get(subject) ?? 0) + by);
          }
          for (const subject of ["a", "b", "é", "日本", "", "x".repeat(300)]) expect(countOf(table, subject)).toBe(model.get(subject) ?? 0);
        },
      ),
      { numRuns: 50 },
    );
  });

  test("is seen by another process's table on the same file at once", () => {
    const path = `${place.path}/two`;
    const [one, other] = [openRegion(path, { maxSubjects: 100 }), openRegion(path, { maxSubjects: 100 })];
    const [a, b] = [joined(one), joined(other)];
    step(a, { subject: "x", by: 1 });
    step(b, { subject: "x", by: 2 });
    expect([countOf(a, "x"), countOf(b, "x")]).toEqual([3, 3]);
    one.close();
    other.close();
  });
});

describe("a worker that died", () => {
  function pair(): { readonly region: Region; readonly dead: Table; readonly table: Table } {
    const region = openRegion(null, { maxSubjects: 100 });
    return { region, dead: joined(region), table: joined(region) };
  }
  const declare = (region: Region, { worker, generation }: Table): boolean => region.declareDead({ worker, generation, seed: 0 });

  test("in a step has done nothing, and its locks are free", () => {
    const { region, dead, table } = pair();
    step(table, { subject: "a", by: 1 }, { subject: "b", by: 1 });
    expect(
      prepare(dead, [
        { subject: "a", by: 5 },
        { subject: "b", by: 5 },
      ]),
    ).toBe(LOCKED);
    expect(declare(region, dead)).toBe(true);
    expect([countOf(table, "a"), countOf(table, "b")]).toEqual([1, 1]);
    expect(table.counts().takeovers).toBe(2);
    step(table, { subject: "a", by: 1 });
    expect(countOf(table, "a")).toBe(2);
  });

  test("after it had committed has done everything", () => {
    const { region, dead, table } = pair();
    step(table, { subject: "a", by: 1 }, { subject: "b", by: 1 });
    expect(
      prepare(dead, [
        { subject: "a", by: 5, unsaved: true },
        { subject: "b", by: 5 },
      ]),
    ).toBe(LOCKED);
    // As a death after the first of the stores that unlock: the second is not done.
    dead.i32[recordOf(dead.worker) + RECORD.status] = COMMITTED;
    expect(declare(region, dead)).toBe(true);
    expect([countOf(table, "a"), countOf(table, "b")]).toEqual([6, 6]);
  });

  test("is found dead by whoever waits for its lock, though nobody has said so", async () => {
    const path = `${place.path}/untold`;
    const region = openRegion(path, { maxSubjects: 100 });
    const table = joined(region);
    step(table, { subject: "a", by: 1 });
    const shared = (file: string): string => JSON.stringify(`${import.meta.dir}/../../src/shared/${file}.ts`);
    const script = `
      import { openRegion } from ${shared("region")};
      import { Table } from ${shared("table")};
      const region = openRegion(${JSON.stringify(path)}, { maxSubjects: 100 });
      const table = new Table(region.memory, region.becomeWorker());
      table.begin();
      table.enter(table.keyOf("test"), "a", 0);
      console.log(table.lock(${NOW}));
      process.kill(process.pid, "SIGSTOP");`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
    await child.stdout.getReader().read();
    // A process that is stopped is not dead: its lock is not taken.
    expect(prepare(table, [{ subject: "a", by: 1 }])).toBe(BUSY);
    expect(countOf(table, "a")).toBe(1);
    child.kill("SIGKILL");
    await child.exited;
    step(table, { subject: "a", by: 1 });
    expect(countOf(table, "a")).toBe(2);
    region.close();
  });
});

describe("a slot", () => {
  test("is given to new subjects when all are in use: those that expired go first, then those that expire soonest", () => {
    const table = newTable(1);
    // 64 slots, and a window of 32: many subjects make each window full.
    for (let i = 0; i < 500; i++) step(table, { subject: `late ${i}`, by: 1, expires: LATER + i * 1000 });
    const before = table.counts();
    expect(before.subjects).toBe(64);
    expect(before.evictions).toBe(500 - 64);
    // The last ones expire last: the very last of each window is still there.
    expect(countOf(table, "late 499")).toBe(1);
    expect(countOf(table, "late 0")).toBe(0);
    for (let i = 0; i < 64; i++) step(table, { subject: `short ${i}`, by: 1, expires: NOW });
    for (let i = 0; i < 64; i++) step(table, { subject: `next ${i}`, by: 1, expires: NOW });
    // Those took the places of one another, not of those that still count.
    expect(table.counts().evictions).toBeLessThan(before.evictions + 40);
  });

  test("stays with a subject that SQLite does not have yet as long as there is another", () => {
    const table = newTable(1);
    for (let i = 0; i < 8; i++) step(table, { subject: `unsaved ${i}`, by: 1, expires: NOW + 5000, unsaved: true });
    step(table, { subject: "value", by: 1, expires: Number.POSITIVE_INFINITY, kind: VALUE });
    for (let i = 0; i < 1000; i++) step(table, { subject: `other ${i}`, by: 1, expires: LATER });
    expect(Array.from({ length: 8 }, (_, i) => countOf(table, `unsaved ${i}`))).toEqual(Array(8).fill(1));
    expect(countOf(table, "value", VALUE)).toBe(1);
  });

  test("is never taken from a subject of the same step", () => {
    const table = newTable(1);
    for (let i = 0; i < 200; i++) {
      const subjects = Array.from({ length: 8 }, (_, k) => ({ subject: `${i} ${k}`, by: k + 1, expires: NOW }));
      step(table, ...subjects);
      expect(subjects.map(({ subject }) => countOf(table, subject))).toEqual(subjects.map(({ by }) => by));
    }
  });

  test("can't be had when all slots of the window belong to the step: then it is full, and nothing is locked", () => {
    const table = newTable(1);
    // More of one window than it has slots.
    const key = table.keyOf("test");
    const near: string[] = [];
    for (let i = 0; near.length <= WINDOW; i++) if ((table.hashOf(key, `s${i}`)[0] & 63) === 7) near.push(`s${i}`);
    expect(
      prepare(
        table,
        near.map((subject) => ({ subject, by: 1 })),
      ),
    ).toBe(FULL);
    for (let slot = 0; slot < 64; slot++) expect((table.i32[SLOTS + slot * SLOT_WORDS] ?? 0) >>> OWNER_SHIFT).toBe(0);
  });

  test("says that SQLite lacks its state until just that state is said to be saved", () => {
    const table = newTable();
    step(table, { subject: "a", by: 1, unsaved: true });
    expect(wordOf(table, "a") & UNSAVED).toBe(UNSAVED);
    const [slot, version] = [slotOf(table, "a"), table.version(slotOf(table, "a"))];
    step(table, { subject: "a", by: 1 });
    expect(table.markSaved(slot, version)).toBe(false);
    expect(wordOf(table, "a") & UNSAVED).toBe(UNSAVED);
    expect(table.markSaved(slot, table.version(slot))).toBe(true);
    expect(wordOf(table, "a") & UNSAVED).toBe(0);
    expect(countOf(table, "a")).toBe(2);
  });

  test("holds its subject's state through eight million changes, where its number begins anew", () => {
    const table = newTable();
    step(table, { subject: "a", by: 1 });
    const at = SLOTS + slotOf(table, "a") * SLOT_WORDS;
    table.i32[at] = ((table.i32[at] ?? 0) & 1) | (2 ** 23 - 2);
    for (let i = 0; i < 5; i++) step(table, { subject: "a", by: 1 }, { subject: "b", by: 1 });
    expect(countOf(table, "a")).toBe(6);
    expect((table.i32[at] ?? 0) >>> OWNER_SHIFT).toBe(0);
  });
});

describe("the memory of the table", () => {
  test("is taken as subjects come, and all are found again", () => {
    const path = `${place.path}/growing`;
    const [one, other] = [openRegion(path, { maxSubjects: 30_000 }), openRegion(path, { maxSubjects: 30_000 })];
    const [a, b] = [joined(one), joined(other)];
    const few = a.i32.length;
    expect(few).toBeLessThan(110_000);
    for (let i = 0; i < 30_000; i++) step(i % 2 === 0 ? a : b, { subject: `s${i}`, by: i + 1 });
    expect(a.i32.length).toBeGreaterThan(10 * few);
    let wrong = 0;
    for (let i = 0; i < 30_000; i++) if (countOf(i % 3 === 0 ? a : b, `s${i}`) !== i + 1) wrong++;
    expect(wrong).toBe(0);
    expect(a.counts()).toMatchObject({ subjects: 30_000, evictions: 0 });
    one.close();
    other.close();
    const again = openRegion(path, { maxSubjects: 30_000 });
    expect(countOf(joined(again), "s29999")).toBe(30_000);
    again.close();
  });

  test("is not taken for subjects that come when others have expired", () => {
    const table = newTable(30_000);
    const before = table.i32.length;
    for (let i = 0; i < 40_000; i++) step(table, { subject: `s${i}`, by: 1, expires: NOW });
    expect(table.i32.length).toBe(before);
    expect(table.counts().subjects).toBeLessThanOrEqual(4096);
  });

  test("does not make a process keep more garbage than it has subjects for", () => {
    const { bytes } = openRegion(null, { maxSubjects: 1_000_000 }).memory;
    expect(bytes.length).toBeLessThan(2 ** 20);
  });
});
