// One process of those that count usage on one database, to be killed. `bun usage-process.ts count DATABASE NAME JOURNAL` counts, and notes
// in the journal what it has begun and done; `bun usage-process.ts take DATABASE` puts into the database what all have counted.
import { ANONYMOUS, type Caller } from "../../src/exchange/caller.ts";
import { CellFolder } from "../../src/shared/cell-folder.ts";
import { openStorage } from "../../src/storage/open.ts";
import { Usage } from "../../src/usage/usage.ts";

/** More callers than one block has room for, so that blocks are begun again and again. */
export const CALLERS = 3000;
/** Some call a model, and some none. */
const MODELS = ["", "small", "large"];
/** Nano-dollars that each call costs: more than 32 bits hold. */
export const COST = 5_000_000_001;
/** An hour passes in a second and a half. */
const FASTER = 2400;

/** Opens what counts usage in a process of this name, or what puts it into the database; `close` lets go of both. */
export function openUsage(databasePath: string, name: string | null) {
  const storage = openStorage(databasePath);
  const clock = { now: () => performance.now(), wall: () => Math.floor(Date.now() * FASTER) };
  const writer = name === null ? null : new CellFolder(databasePath).writer("run", name);
  const usage = new Usage({ storage, clock, hasRecord: () => true, writer, isLeft: name !== null });
  const close = (): void => {
    writer?.close();
    storage.close();
  };
  return { usage, storage, close };
}

if (import.meta.main) {
  const [role, databasePath = "", name = "", journalPath = ""] = Bun.argv.slice(2);
  const { usage } = openUsage(databasePath, role === "count" ? name : null);
  if (role === "count") {
    const journal = new Float64Array(Bun.mmap(journalPath).buffer);
    const callers = Array.from({ length: CALLERS }, (_, n): Caller => {
      const consumer = { ...ANONYMOUS.consumer, id: `caller-${n}` };
      // Of those with keys, and of those that tokens name.
      return n % 2 === 0 ? { ...ANONYMOUS, via: "key", id: `key-${n}`, consumer } : { ...ANONYMOUS, via: "token", id: `${n}`, consumer };
    });
    console.log("counts");
    for (;;) {
      for (let times = 0; times < 500; times++) {
        // Some call much, most of them seldom.
        const n = times % 4 === 0 ? Math.floor(Math.random() * CALLERS) : Math.floor(Math.random() * 5);
        (journal[2 * n] as number)++;
        usage.note("all", callers[n] as Caller, 200, false, 3, COST, MODELS[times % MODELS.length] ?? "", "");
        (journal[2 * n + 1] as number)++;
      }
      usage.flush();
      await Bun.sleep(5);
    }
  }
  console.log("takes");
  for (;;) {
    usage.flush();
    await Bun.sleep(Math.random() * 5);
  }
}
