// One process of those that count on one folder of cells, to be killed. `bun cells-process.ts count DATABASE NAME JOURNAL` counts, and notes in
// the journal what it has begun and done; `bun cells-process.ts absorb DATABASE` puts together what dead processes have counted.
import { CellBook } from "../../src/shared/cell-book.ts";
import { CellFolder } from "../../src/shared/cell-folder.ts";
import { CellSums } from "../../src/shared/cell-sums.ts";

/** So many keys, and long ones, that one file has no room for them. */
export const KEYS = 3000;
export const RUN = "run";
export const keyOf = (n: number): string => JSON.stringify(["counts", { name: `${n}-${"x".repeat(100)}` }]);

if (import.meta.main) {
  const [role, databasePath = "", name = "", journalPath = ""] = Bun.argv.slice(2);
  const folder = new CellFolder(databasePath);
  if (role === "count") {
    const book = new CellBook(folder.writer(RUN, name));
    const journal = new Float64Array(Bun.mmap(journalPath).buffer);
    console.log("counts");
    for (;;) {
      for (let times = 0; times < 500; times++) {
        const n = Math.floor(Math.random() * KEYS);
        (journal[2 * n] as number)++;
        (book.of(keyOf(n), 1)[0] as number)++;
        (journal[2 * n + 1] as number)++;
      }
      await Bun.sleep(5);
    }
  }
  const sums = new CellSums(folder, RUN);
  console.log("absorbs");
  for (;;) {
    sums.absorb();
    await Bun.sleep(Math.random() * 2);
  }
}
