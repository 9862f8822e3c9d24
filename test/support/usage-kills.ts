import { expect } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { killAtRandom } from "./killing.ts";
import { folder } from "./process.ts";
import { CALLERS, COST, openUsage } from "./usage-process.ts";

/**
 * Lets two processes count usage and a third put it into the database, kills one of them at random again and again, and all at the end; then
 * holds the database against what each has noted in its journal.
 */
export async function countUsageUnderKills(kills: number): Promise<void> {
  using root = folder();
  const database = join(root.path, "sluice.db");
  openUsage(database, null).close();
  const journals = await killAtRandom({
    program: join(import.meta.dir, "usage-process.ts"),
    processes: [
      (journal) => ["count", database, "1", journal()],
      (journal) => ["count", database, "2", journal()],
      () => ["take", database],
    ],
    ...{ things: CALLERS, folder: root.path, kills },
  });
  const { usage, close } = openUsage(database, null);
  usage.flush();
  const rows = usage.sums({ of: {}, from: 0, to: Number.MAX_SAFE_INTEGER, by: ["consumer"], per: null, limit: 2 * CALLERS, offset: 0 });
  const counted = new Map(rows.map(({ consumer, requests, tokens, cost }) => [consumer, { requests, tokens, cost }]));
  let [total, inDoubt] = [0, 0];
  for (let n = 0; n < CALLERS; n++) {
    const { begun, done } = journals.of(n);
    const { requests, tokens, cost } = counted.get(`caller-${n}`) ?? { requests: 0, tokens: 0, cost: 0 };
    // Each killed process had begun one more at most than it had done.
    for (const count of [requests, tokens / 3, cost / COST])
      if (count < done || count > begun)
        expect({ n, requests, tokens, cost }).toEqual({ n, requests: done, tokens: 3 * done, cost: COST * done });
    total += requests;
    inDoubt += begun - done;
  }
  expect(inDoubt).toBeLessThanOrEqual(journals.count);
  expect(total).toBeGreaterThan(kills * 50);
  // What is written is dropped.
  expect(readdirSync(`${database}-cells`).filter((name) => name.includes(".usage."))).toEqual([]);
  close();
}
