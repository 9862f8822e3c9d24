import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ANONYMOUS, type Caller } from "../../src/exchange/caller.ts";
import { CellFolder } from "../../src/shared/cell-folder.ts";
import { Usage } from "../../src/usage/usage.ts";
import { folder } from "../support/process.ts";
import { countUsageUnderKills } from "../support/usage-kills.ts";
import { openUsage } from "../support/usage-process.ts";

const caller = (id: string): Caller => ({ ...ANONYMOUS, via: "token", id, issuer: "main", consumer: { ...ANONYMOUS.consumer, id } });
const ALL = { of: {}, from: 0, to: Number.MAX_SAFE_INTEGER, by: ["consumer"], per: null, limit: 1000, offset: 0 } as const;

test("usage is in the database once, whichever process is killed whenever", async () => {
  await countUsageUnderKills(6);
}, 60_000);

test("who takes usage over after a kill between the marks and the commit counts nothing twice and loses nothing", () => {
  using root = folder();
  const database = join(root.path, "sluice.db");
  const worker = openUsage(database, "1");
  const keeper = openUsage(database, null);
  for (let n = 0; n < 5; n++) worker.usage.note("all", caller("acme"), 503, true, 2, 1_250_000, "", "");
  keeper.usage.flush();
  worker.usage.note("all", caller("acme"), 200, false, 1, 0, "", "");
  // All is written but what makes it so: as a kill before the commit leaves the file's marks.
  keeper.storage.client.run("CREATE TEMP TRIGGER stop BEFORE UPDATE ON usage_files BEGIN SELECT raise(ABORT, 'killed'); END");
  expect(() => keeper.usage.flush()).toThrow("killed");
  keeper.close();
  worker.usage.note("all", caller("acme"), 200, false, 1, 0, "", "");
  const next = openUsage(database, null);
  expect(next.usage.sums(ALL)).toEqual([{ consumer: "acme", requests: 7, errors: 5, limited: 5, tokens: 12, cost: 6_250_000 }]);
  expect(next.usage.heaviest(5)).toMatchObject([{ consumer: "acme", total: 2 }]);
  // Another one at the same time, as when one version hands over to the next, takes nothing again.
  const other = openUsage(database, null);
  worker.usage.note("all", caller("acme"), 200, false, 1, 0, "", "");
  expect([other.usage.sums(ALL)[0]?.requests, next.usage.sums(ALL)[0]?.requests]).toEqual([8, 8]);
  for (const each of [other, next, worker]) each.close();
});

test("a caller who is counted for the first time while another process reads is in the database once", () => {
  using root = folder();
  const database = join(root.path, "sluice.db");
  const worker = openUsage(database, "1");
  const { storage, close } = openUsage(database, null);
  let isRead = false;
  const client = new Proxy(storage.client, {
    get: (its, name) => {
      const value: unknown = Reflect.get(its, name);
      if (typeof value !== "function") return value;
      return (...given: unknown[]) => {
        // Between the look at how much there is and the reading of it.
        if (name === "query" && String(given[0]).startsWith("SELECT sequence") && !isRead) {
          isRead = true;
          worker.usage.note("all", caller("late"), 200, false, 1, 0, "", "");
        }
        return Reflect.apply(value, its, given);
      };
    },
  });
  const clock = { now: () => performance.now(), wall: () => Date.now() };
  const taker = new Usage({ storage: { ...storage, client }, clock, hasRecord: () => true });
  worker.usage.note("all", caller("early"), 200, false, 1, 0, "", "");
  for (let n = 0; n < 3; n++) taker.flush();
  expect(isRead).toBe(true);
  worker.usage.note("all", caller("late"), 200, false, 1, 0, "", "");
  expect(taker.sums(ALL).map(({ consumer, requests }) => [consumer, requests])).toEqual([
    ["early", 1],
    ["late", 2],
  ]);
  close();
  worker.close();
});

test("of two that take usage at once, as when one version hands over to the next, neither takes again what the other has removed", () => {
  using root = folder();
  const database = join(root.path, "sluice.db");
  const [worker, keeper, other] = [openUsage(database, "1"), openUsage(database, null), openUsage(database, null)];
  for (let n = 0; n < 2; n++) {
    worker.usage.note("all", caller("acme"), 200, false, 0, 0, "", "");
    keeper.usage.flush();
  }
  worker.usage.note("all", caller("acme"), 200, false, 0, 0, "", "");
  worker.usage.close();
  const { client } = keeper.storage;
  const begin = client.transaction.bind(client);
  // The other one comes first, after the files were looked at.
  client.transaction = ((work: Parameters<typeof begin>[0]) => {
    other.usage.flush();
    return begin(work);
  }) as typeof client.transaction;
  keeper.usage.flush();
  client.transaction = begin;
  expect(other.usage.sums(ALL)).toMatchObject([{ requests: 3 }]);
  expect(client.query("SELECT * FROM usage_files").all()).toEqual([]);
  for (const each of [worker, keeper, other]) each.close();
});

test("a process counts on while there is no room for files, and what it has counted gets into the database when there is some", () => {
  using root = folder();
  const database = join(root.path, "sluice.db");
  const keeper = openUsage(database, null);
  const worker = openUsage(database, "1");
  // Where the folder should be is a file.
  writeFileSync(`${database}-cells`, "");
  for (let n = 0; n < 3000; n++) worker.usage.note("all", caller(`c${n % 1500}`), 200, false, 0, 0, "", "");
  worker.usage.flush();
  expect(keeper.usage.sums({ ...ALL, by: [] })[0]?.requests).toBe(0);
  Bun.spawnSync(["rm", `${database}-cells`]);
  worker.usage.flush();
  for (let n = 0; n < 1500; n++) worker.usage.note("all", caller(`c${n}`), 200, false, 0, 0, "", "");
  expect(keeper.usage.sums({ ...ALL, by: [] })[0]?.requests).toBe(4500);
  expect(keeper.usage.sums({ ...ALL, limit: 2000 }).every(({ requests }) => requests === 3)).toBe(true);
  worker.usage.close();
  worker.usage.flush();
  keeper.usage.flush();
  expect(new CellFolder(database).files("usage")).toEqual([]);
  worker.close();
  keeper.close();
});
