import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Lease } from "../../src/pools/pool.ts";
import { Pools } from "../../src/pools/pools.ts";
import { Chunks } from "../../src/shared/chunks.ts";
import { VALUE } from "../../src/shared/layout.ts";
import { openRegion, type Region } from "../../src/shared/region.ts";
import { LOCKED, Table } from "../../src/shared/table.ts";
import { openStorage, type Storage } from "../../src/storage/open.ts";
import { type Clock, systemClock } from "../../src/values/clock.ts";
import { FakeClock } from "../support/clock.ts";
import { folder } from "../support/process.ts";
import { ticketText } from "../support/tickets.ts";

const PROGRAM = join(import.meta.dir, "../support/shared-program.ts");

/** One worker in a process of its own. */
function spawn(region: Region, path: string, work: string, count: number, saysAll = false) {
  const ticket = region.letWorker();
  if (ticket === null) throw new Error("no id");
  const child = Bun.spawn([process.execPath, PROGRAM, path, ticketText(ticket), work, String(count)], {
    stdout: "pipe",
    stderr: "inherit",
    env: { ...process.env, SAYS_ALL: saysAll ? "1" : "0" },
  });
  return { ticket, child };
}

/** Reads all lines; `onGranted` learns of each as it comes. */
async function linesOf(stream: ReadableStream<Uint8Array>, onGranted: (granted: number) => void = () => {}) {
  const lines: { granted?: number }[] = [];
  let rest = "";
  for await (const bytes of stream) {
    const [...whole] = (rest + new TextDecoder().decode(bytes)).split("\n");
    rest = whole.pop() ?? "";
    for (const line of whole) {
      const said = JSON.parse(line) as { granted?: number };
      lines.push(said);
      if (said.granted !== undefined) onGranted(said.granted);
    }
  }
  return lines;
}

/** The pools of `shared-program.ts`, in this process. */
function poolsHere(region: Region, storage: Storage, isWriter = true, clock: Clock = systemClock) {
  const ticket = region.becomeWorker();
  if (ticket === null) throw new Error("no id");
  const table = new Table(region.memory, ticket);
  const onFault = (error: unknown) => {
    throw error;
  };
  const pools = new Pools({
    ...{ storage, clock, link: null, table: { table, chunks: new Chunks(region, table) }, isWriter, onFault, emit: () => {} },
  });
  const keys = [1000, 2000, 3000].map((limit, i) => ({ id: `k${i + 1}`, limit, window: "1h" }));
  pools.configure([["p", { strategy: "round-robin", auth: "none", services: { one: { cost: 1 } }, keys }]]);
  return pools;
}

const leftIn = (pools: Pools): number[] => pools.keysOf("p").map(({ remaining }) => remaining);

describe("a pool of several processes", () => {
  test("gives exactly its budget, whichever of them is asked", async () => {
    using home = folder();
    const path = join(home.path, "table");
    const region = openRegion(path, { maxSubjects: 1000 });
    const children = [0, 1, 2].map(() => spawn(region, path, "lease", 2500));
    const granted = await Promise.all(children.map(async ({ child }) => (await linesOf(child.stdout)).at(-1)?.granted ?? 0));
    expect(granted.reduce((sum, each) => sum + each, 0)).toBe(6000);
    using storage = storageOf(":memory:");
    expect(leftIn(poolsHere(region, storage.storage))).toEqual([0, 0, 0]);
    region.close();
  }, 30_000);

  test("gives no more and loses nothing when processes are killed", async () => {
    using home = folder();
    const path = join(home.path, "table");
    const region = openRegion(path, { maxSubjects: 1000 });
    let said = 0;
    let kills = 0;
    for (let round = 0; round < 3; round++) {
      const { child, ticket } = spawn(region, path, "lease", 100_000, true);
      const lines = linesOf(child.stdout, (granted) => {
        if (granted === 300 + 100 * round) child.kill("SIGKILL");
      });
      await child.exited;
      if (child.signalCode === "SIGKILL") kills++;
      region.declareDead(ticket);
      said += (await lines).at(-1)?.granted ?? 0;
    }
    expect(kills).toBe(3);
    using storage = storageOf(":memory:");
    const pools = poolsHere(region, storage.storage);
    const used = 6000 - leftIn(pools).reduce((sum, each) => sum + each, 0);
    // One more than was said may have been given by each that was killed.
    expect(said).toBeGreaterThanOrEqual(1200);
    expect(used).toBeGreaterThanOrEqual(said);
    expect(used).toBeLessThanOrEqual(said + kills);
    region.close();
  }, 30_000);

  test("has a window open that another process has just opened, though its clock is a little ahead", () => {
    const region = openRegion(null, { maxSubjects: 1000 });
    using storage = storageOf(":memory:");
    const clock = new FakeClock();
    const ahead = poolsHere(region, storage.storage, false, new FakeClock(clock.time + 5));
    const behind = poolsHere(region, storage.storage, false, clock);
    for (const pools of [ahead, behind, ahead, behind]) {
      const pool = pools.get("p");
      if (pool === null) throw new Error("no pool");
      for (let i = 0; i < 3; i++) pools.lease(pool, "one");
    }
    clock.advance(10);
    expect(leftIn(behind)).toEqual([996, 1996, 2996]);
  });

  test("notes what requests have used at the end of the turn, with the next lease, or when nobody holds its state any more", async () => {
    const region = openRegion(null, { maxSubjects: 1000 });
    using storage = storageOf(":memory:");
    const [here, there] = [poolsHere(region, storage.storage), poolsHere(region, storage.storage, false)];
    const pool = here.get("p");
    if (pool === null) throw new Error("no pool");
    const take = (tokens: number) => here.reserve(pool, "r", { tokens, usd: null }, [{ without: [], mayProbe: false }]) as Lease;
    const settle = (lease: Lease, tokens: number): void => {
      if (!lease.granted) throw new Error("no key");
      here.settle(pool, lease.grant, { tokens, usd: null }, 1);
    };
    const [one, two] = [take(100), take(200)];
    expect(leftIn(there)).toEqual([900, 1800, 3000]);
    settle(one, 10);
    settle(two, 20);
    expect([leftIn(there), leftIn(here)]).toEqual([
      [900, 1800, 3000],
      [990, 1980, 3000],
    ]);
    const three = take(300);
    settle(three, 30);
    const four = take(1);
    expect(leftIn(there)).toEqual([989, 1980, 2970]);
    settle(four, 0);
    await new Promise((resolve) => setImmediate(resolve));
    expect(leftIn(there)).toEqual([990, 1980, 2970]);
    // Another process has the state locked, and does not go on for a while.
    const last = take(100);
    const ticket = region.becomeWorker();
    if (ticket === null) throw new Error("no id");
    const holder = new Table(region.memory, ticket);
    holder.begin();
    holder.enter(holder.keyOf("pool"), "p", VALUE);
    expect(holder.lock(systemClock.now())).toBe(LOCKED);
    settle(last, 70);
    await Bun.sleep(100);
    expect(leftIn(here)).toEqual([990, 1880, 2970]);
    holder.abort();
    while (leftIn(there)[1] !== 1910) await Bun.sleep(5);
    // A worker that stops does not wait for the turn's end.
    const worker = there.get("p");
    if (worker === null) throw new Error("no pool");
    const before = leftIn(here);
    const stopping = there.reserve(worker, "r", { tokens: 50, usd: null }, [{ without: [], mayProbe: false }]) as Lease;
    if (!stopping.granted) throw new Error("no key");
    expect(leftIn(here)).not.toEqual(before);
    there.settle(worker, stopping.grant, { tokens: 0, usd: null }, 1);
    expect(leftIn(here)).not.toEqual(before);
    there.flush();
    expect(leftIn(here)).toEqual(before);
    region.close();
  }, 30_000);

  test("frees the probes of a process that was killed", async () => {
    using home = folder();
    const path = join(home.path, "table");
    const region = openRegion(path, { maxSubjects: 1000 });
    const { child, ticket } = spawn(region, path, "probe", 0);
    const reader = child.stdout.getReader();
    let text = "";
    while (!text.includes("probing")) text += new TextDecoder().decode((await reader.read()).value);
    expect(text).toContain('{"probing":3}');
    using storage = storageOf(":memory:");
    const pools = poolsHere(region, storage.storage);
    const pool = pools.get("p");
    if (pool === null) throw new Error("no pool");
    const probe = () => pools.reserve(pool, "r", { tokens: 1, usd: null }, [{ without: [], mayProbe: true }]);
    expect(probe()).toMatchObject({ granted: false });
    child.kill("SIGKILL");
    await child.exited;
    region.declareDead(ticket);
    expect(probe()).toMatchObject({ granted: true });
    region.close();
  }, 30_000);

  test("goes on from the table rather than from the database, and from that where there is no table", () => {
    using home = folder();
    const database = join(home.path, "sluice.db");
    const path = join(home.path, "table");
    const region = openRegion(path, { maxSubjects: 1000 });
    using first = storageOf(database);
    const pools = poolsHere(region, first.storage);
    const pool = pools.get("p");
    if (pool === null) throw new Error("no pool");
    for (let i = 0; i < 30; i++) pools.lease(pool, "one");
    expect(pools.waiting).toBe(1);
    pools.flush();
    expect(pools.waiting).toBe(0);
    for (let i = 0; i < 3; i++) pools.lease(pool, "one");
    // Not written: the database is behind.
    using second = storageOf(database);
    expect(leftIn(poolsHere(region, second.storage))).toEqual([989, 1989, 2989]);
    const other = openRegion(null, { maxSubjects: 1000 });
    expect(leftIn(poolsHere(other, second.storage))).toEqual([990, 1990, 2990]);
    // A worker writes nothing.
    const worker = poolsHere(region, second.storage, false);
    expect(worker.waiting).toBe(0);
    worker.flush();
    expect(second.storage.client.query("SELECT count(*) AS n FROM pool_spent").get()).toEqual({ n: 3 });
    region.close();
  });
});

function storageOf(path: string) {
  const storage = openStorage(path);
  return { storage, [Symbol.dispose]: () => storage.close() };
}
