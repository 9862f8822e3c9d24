import { expect, test } from "bun:test";
import { cpSync, readdirSync, statSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { CellBook } from "../../src/shared/cell-book.ts";
import { CellFolder } from "../../src/shared/cell-folder.ts";
import { CellSums } from "../../src/shared/cell-sums.ts";
import { Cells } from "../../src/shared/cells.ts";
import { countCellsUnderKills } from "../support/cells-kills.ts";
import { folder } from "../support/process.ts";

test("sums are what all processes have counted, whichever is killed whenever", async () => {
  await countCellsUnderKills(6);
}, 60_000);

test("cells hold what was added, under any keys, for whoever reads them meanwhile", () => {
  using root = folder();
  let file = 0;
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string({ unit: "binary" }), fc.integer({ min: 1, max: 20 })), { maxLength: 30 }), (entries) => {
      const path = join(root.path, String(file++));
      const cells = Cells.create(path, 8192);
      const reader = Cells.open(path);
      if (cells === null || !(reader instanceof Cells)) throw new Error("the file can't be made");
      const wanted: [string, number[]][] = [];
      for (const [i, [key, count]] of entries.entries()) {
        const added = cells.add(key, count);
        if (added === null) break;
        expect([...added]).toEqual(Array(count).fill(0));
        added[count - 1] = i + 0.5;
        wanted.push([Buffer.from(key).toString(), [...added]]);
      }
      expect([...reader.since(0)].map((entry) => [entry.key, [...entry.cells]])).toEqual(wanted);
      const middle = cells.used;
      cells.add("later", 1);
      expect([...reader.since(middle)].map(({ key }) => key).slice(0, 1)).toEqual(cells.used === middle ? [] : ["later"]);
    }),
  );
});

test("a file of cells is the owner's alone, takes no other's place, and is nothing to whoever can't read it", () => {
  using root = folder();
  const path = join(root.path, "cells");
  const cells = Cells.create(path, 4096);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(path).blocks).toBeGreaterThan(0);
  expect(Cells.create(path, 4096)).toBeNull();
  expect(cells?.add("key", 1)).not.toBeNull();
  const [short, foreign] = [join(root.path, "short"), join(root.path, "foreign")];
  writeFileSync(short, "");
  expect(Cells.open(short)).toBe("unready");
  truncateSync(short, 100);
  expect(Cells.open(short)).toBe("unready");
  writeFileSync(foreign, Buffer.alloc(4096, "anything else"));
  expect(Cells.open(foreign)).toBe("foreign");
  expect(Cells.open(join(root.path, "missing"))).toBe("unready");
});

test("a process without room for files tells its counts by itself, and one whose start is over counts no more", () => {
  using root = folder();
  const database = join(root.path, "sluice.db");
  writeFileSync(`${database}-cells`, "");
  const crowded = new CellBook(new CellFolder(database).writer("now", "1"));
  crowded.of("a", 2).set([1, 2]);
  expect([...crowded.homeless]).toEqual([["a", Float64Array.of(1, 2)]]);
  Bun.spawnSync(["rm", `${database}-cells`]);
  const cells = new CellFolder(database);
  const [before, now] = [cells.writer("before", "1"), cells.writer("now", "1")];
  new CellBook(before).of("a", 1)[0] = 7;
  const book = new CellBook(now);
  book.of("a", 1)[0] = 3;
  // One key is one cell, however often it is asked for.
  book.of("a", 1)[0] = 4;
  expect(book.homeless.size).toBe(0);
  const sums = new CellSums(cells, "now");
  expect([...sums.read()]).toEqual([["a", Float64Array.of(4)]]);
  // A start that goes on, as when one version hands over to the next, keeps its files.
  sums.absorb();
  expect(readdirSync(cells.path).filter((name) => name.includes("before"))).toHaveLength(2);
  before.close();
  sums.absorb();
  expect(readdirSync(cells.path).filter((name) => name.startsWith("before") && !name.endsWith(".lock"))).toEqual([]);
  now.close();
  sums.absorb();
  expect([...sums.read()]).toEqual([["a", Float64Array.of(4)]]);
});

test("what dead processes counted counts once, also when who puts it together is killed before the files are removed", () => {
  using root = folder();
  const cells = new CellFolder(join(root.path, "sluice.db"));
  const writer = cells.writer("run", "1");
  new CellBook(writer).of("a", 1)[0] = 3;
  writer.close();
  const before = join(root.path, "before");
  cpSync(cells.path, before, { recursive: true });
  new CellSums(cells, "run").absorb();
  // As if nothing had been removed, and another had begun to write the next.
  cpSync(before, cells.path, { recursive: true });
  writeFileSync(join(cells.path, "run.retired.2.new"), "{");
  const next = new CellSums(cells, "run");
  const count = () => next.read().get("a")?.[0];
  expect(count()).toBe(3);
  const other = cells.writer("run", "2");
  new CellBook(other).of("a", 1)[0] = 4;
  expect(count()).toBe(7);
  next.absorb();
  expect(count()).toBe(7);
  expect(cells.files("metrics")).toHaveLength(1);
  other.close();
  next.absorb();
  expect(count()).toBe(7);
  expect(cells.retired("run")).toEqual([2]);
  expect(new CellSums(cells, "run").read().get("a")?.[0]).toBe(7);
});

test("starts that nobody called leave nothing behind, however many there were", () => {
  using root = folder();
  const cells = new CellFolder(join(root.path, "sluice.db"));
  const longAgo = new Date(Date.now() - 3_600_000);
  for (let n = 0; n < 20; n++) {
    const writer = cells.writer(`run${n}`, "keeper");
    new CellBook(writer).of("a", 1)[0] = 1;
    writer.close();
    for (const name of readdirSync(cells.path)) utimesSync(join(cells.path, name), longAgo, longAgo);
  }
  new CellSums(cells, "now").absorb();
  expect(readdirSync(cells.path)).toEqual([]);
});
