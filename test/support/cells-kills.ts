import { expect } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { CellFolder } from "../../src/shared/cell-folder.ts";
import { CellSums } from "../../src/shared/cell-sums.ts";
import { KEYS, keyOf, RUN } from "./cells-process.ts";
import { killAtRandom } from "./killing.ts";
import { folder } from "./process.ts";

/**
 * Lets two processes count and a third put together what dead ones have counted, kills one of them at random again and again, and all at the
 * end; then holds the sums against what each has noted in its journal.
 */
export async function countCellsUnderKills(kills: number): Promise<void> {
  using root = folder();
  const database = join(root.path, "sluice.db");
  const journals = await killAtRandom({
    program: join(import.meta.dir, "cells-process.ts"),
    processes: [
      (journal) => ["count", database, "1", journal()],
      (journal) => ["count", database, "2", journal()],
      () => ["absorb", database],
    ],
    ...{ things: KEYS, folder: root.path, kills },
  });
  const cells = new CellFolder(database);
  const sums = new CellSums(cells, RUN);
  const before = sums.read();
  sums.absorb();
  const after = sums.read();
  let [total, inDoubt] = [0, 0];
  for (let n = 0; n < KEYS; n++) {
    const { begun, done } = journals.of(n);
    const [count = 0] = before.get(keyOf(n)) ?? [];
    if (count < done || count > begun || after.get(keyOf(n))?.[0] !== before.get(keyOf(n))?.[0])
      expect({ n, before: count, after: after.get(keyOf(n))?.[0] }).toEqual({ n, before: done, after: done });
    total += count;
    inDoubt += begun - done;
  }
  expect(inDoubt).toBeLessThanOrEqual(journals.count);
  expect(total).toBeGreaterThan(kills * 50);
  expect(readdirSync(cells.path).filter((name) => !name.endsWith(".lock"))).toHaveLength(1);
}
