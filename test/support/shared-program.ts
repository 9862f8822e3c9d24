// One worker of a shared table, as a program of its own: `bun shared-program.ts PATH TICKET WORK COUNT`. Prints one line of JSON.
import { writeSync } from "node:fs";
import { SharedStrikes } from "../../src/guard/shared-strikes.ts";
import { Pools } from "../../src/pools/pools.ts";
import { Chunks } from "../../src/shared/chunks.ts";
import { joinRegion } from "../../src/shared/region.ts";
import { Table } from "../../src/shared/table.ts";
import { openStorage } from "../../src/storage/open.ts";
import { systemClock } from "../../src/values/clock.ts";
import { parseTicket } from "./tickets.ts";

const [path = "", text = "", work = "", count = "0"] = process.argv.slice(2);
const ticket = parseTicket(text);
if (ticket === null) throw new Error("no ticket");
const region = joinRegion(path, ticket);
const table = new Table(region.memory, ticket);
const chunks = new Chunks(region, table);
/** At once, whatever happens next. */
const say = (what: object): void => void writeSync(1, `${JSON.stringify(what)}\n`);

/** The pool that the tests lease from: three keys of 1,000, 2,000 and 3,000 tokens an hour. */
function pools(): Pools {
  const all = new Pools({
    ...{ storage: openStorage(":memory:"), clock: systemClock, link: null, table: { table, chunks }, isWriter: false },
    onFault: (error) => {
      throw error;
    },
    emit: () => {},
  });
  const keys = [1000, 2000, 3000].map((limit, i) => ({ id: `k${i + 1}`, limit, window: "1h" }));
  all.configure([["p", { strategy: "round-robin", auth: "none", services: { one: { cost: 1 } }, keys }]]);
  return all;
}

say({ ready: true });
if (work === "strike") {
  const strikes = new SharedStrikes(table);
  const limit = 10;
  let last = 0;
  for (let i = 0; i < Number(count); i++) if (strikes.count(`10.0.0.${i % 7}`, limit, 3_600_000, systemClock.now())) last++;
  say({ last });
} else if (work === "lease") {
  const all = pools();
  const pool = all.get("p");
  if (pool === null) throw new Error("no pool");
  let granted = 0;
  for (let i = 0; i < Number(count); i++) {
    const lease = all.lease(pool, "one");
    if (lease instanceof Promise) throw new Error("a lease waits");
    if (lease.granted) granted++;
    // What a killed process was given is known by what it has said: one line for each, at once.
    if (lease.granted && process.env.SAYS_ALL === "1") say({ granted });
  }
  say({ granted, done: true });
} else if (work === "probe") {
  const all = pools();
  const pool = all.get("p");
  if (pool === null) throw new Error("no pool");
  for (const key of pool.policy.keys) all.quarantine(pool, key, 401);
  // Past the quarantine, so that each key is to be tried out.
  const until = systemClock.now() + 5100;
  while (systemClock.now() < until) await Bun.sleep(50);
  const taken = pool.policy.keys.map(() => all.reserve(pool, "r", { tokens: 1, usd: null }, [{ without: [], mayProbe: true }]));
  say({ probing: taken.filter((lease) => !(lease instanceof Promise) && lease.granted).length });
  await Bun.sleep(60_000);
}
process.exit(0);
