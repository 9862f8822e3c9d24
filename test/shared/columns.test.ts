import { describe, expect, test } from "bun:test";
import { enterColumns, hold, inFlight, release } from "../../src/shared/columns.ts";
import { PLAIN } from "../../src/shared/layout.ts";
import { openRegion, type Region } from "../../src/shared/region.ts";
import { LOCKED, Table } from "../../src/shared/table.ts";

function joined(region: Region): Table {
  const ticket = region.becomeWorker();
  if (ticket === null) throw new Error("there is no id left");
  return new Table(region.memory, ticket);
}

function take(table: Table, subject: string, cost = 1): number {
  table.begin();
  const position = enterColumns(table, table.keyOf("test"), subject);
  expect(table.lock(1000)).toBe(LOCKED);
  const column = hold(table, position, cost);
  table.commit();
  return column;
}

function heldOf(table: Table, subject: string): number {
  table.begin();
  return inFlight(table, enterColumns(table, table.keyOf("test"), subject));
}

const dead = (region: Region, { worker, generation }: Table): boolean => region.declareDead({ worker, generation, seed: 0 });

describe("a concurrency limit", () => {
  test("counts what all workers hold, and what they give back", () => {
    const region = openRegion(null, { maxSubjects: 100 });
    const [one, other] = [joined(region), joined(region)];
    const columns = [take(one, "a"), take(one, "a", 2), take(other, "a")];
    expect([heldOf(one, "a"), heldOf(other, "a"), heldOf(one, "b")]).toEqual([4, 4, 0]);
    release(one, columns[1] ?? 0, 2);
    expect(heldOf(other, "a")).toBe(2);
    release(other, columns[2] ?? 0, 1);
    release(one, columns[0] ?? 0, 1);
    expect(heldOf(one, "a")).toBe(0);
  });

  test("counts nothing of a worker that died, nor when its id lives again", () => {
    const region = openRegion(null, { maxSubjects: 100 });
    const [one, other] = [joined(region), joined(region)];
    take(one, "a", 3);
    take(other, "a", 2);
    dead(region, one);
    expect(heldOf(other, "a")).toBe(2);
    const again = joined(region);
    expect(again.worker).toBe(one.worker);
    expect(heldOf(again, "a")).toBe(2);
    take(again, "a");
    expect(heldOf(other, "a")).toBe(3);
  });

  test("counts thirty workers, who have more than one slot between them", () => {
    const region = openRegion(null, { maxSubjects: 100 });
    const tables = Array.from({ length: 30 }, () => joined(region));
    const columns = tables.map((table) => take(table, "a"));
    for (const table of tables) expect(heldOf(table, "a")).toBe(30);
    for (const [i, table] of tables.entries()) {
      if (i % 3 === 0) dead(region, table);
      else release(table, columns[i] ?? 0, 1);
      expect(heldOf(tables[29] as Table, "a")).toBe(29 - i);
    }
  });

  test("is not forgotten while something is held, however many others come", () => {
    const region = openRegion(null, { maxSubjects: 1 });
    const tables = Array.from({ length: 14 }, () => joined(region));
    const [first, last] = [tables[0] as Table, tables[13] as Table];
    const columns = [take(first, "a"), take(last, "a")];
    for (let i = 0; i < 2000; i++) {
      first.begin();
      first.enter(first.keyOf("flood"), `${i}`, PLAIN);
      expect(first.lock(1000)).toBe(LOCKED);
      first.abort();
    }
    expect(heldOf(first, "a")).toBe(2);
    release(last, columns[1] ?? 0, 1);
    release(first, columns[0] ?? 0, 1);
    expect(heldOf(first, "a")).toBe(0);
  });

  test("lets one worker hold no more than 65,535 of one subject", () => {
    const region = openRegion(null, { maxSubjects: 100 });
    const table = joined(region);
    expect(take(table, "a", 65_535)).toBeGreaterThan(0);
    expect(take(table, "a", 1)).toBe(-1);
    expect(heldOf(table, "a")).toBe(65_535);
  });
});
