import { describe, expect, test } from "bun:test";
import { loadConfig } from "../../src/config/load.ts";
import { Limiter } from "../../src/limits/limiter.ts";
import { MemoryStore } from "../../src/limits/memory/store.ts";
import { compilePolicies } from "../../src/limits/policy.ts";
import { formatPath } from "../../src/schema/faults.ts";
import { FakeClock } from "../support/clock.ts";
import { limitOf, overTable } from "../support/limits.ts";
import { holdMoney, inMoney, settleLate } from "../support/money.ts";

const clock = new FakeClock(Date.UTC(2026, 0, 30, 12));
const isDegraded = () => false;

describe("a limit in money", () => {
  const kinds = inMoney(1).map(({ algorithm }, kind) => [algorithm, kind] as const);

  test.each(kinds)("of %s holds in memory, whatever is reserved, grown and settled when", async (_, kind) => {
    await holdMoney(kind, 300, async () => ({ all: [new Limiter({ store: new MemoryStore(), clock, isDegraded })], end: () => {} }));
  });

  test.each(kinds)("of %s holds in a table that several processes share, whatever is reserved, grown and settled when", async (_, kind) => {
    await holdMoney(kind, 100, async () => {
      const { region, limiter } = overTable({ clock });
      const others = [overTable({ clock, region }), overTable({ clock, region })];
      return { all: [limiter, ...others.map((other) => other.limiter)], end: () => {} };
    });
  });

  // A bucket has no windows.
  test.each(kinds.filter(([name]) => name !== "token-bucket"))(
    "of %s is not given what is settled after the window in which it was reserved",
    async (_, kind) => {
      const wait = (milliseconds: number) => {
        clock.time += milliseconds;
      };
      await settleLate(kind, new Limiter({ store: new MemoryStore(), clock, isDegraded }), wait);
      await settleLate(kind, overTable({ clock }).limiter, wait);
    },
  );
});

describe("a limit in money is refused", () => {
  const usd = { algorithm: "fixed-window", limit: "1", window: "1h", cost: "usd" };
  test.each([
    [{ ...usd, limit: 25 }, 'limit: must be an amount in dollars, in quotes: "25.00"'],
    [{ ...usd, limit: "25", cost: "usage" }, 'limit: must be a number without quotes; an amount in dollars needs "cost": "usd" beside it'],
    [{ ...usd, limit: "$25" }, 'limit: must be an amount in dollars such as "25.00", of at most 999999.999999999, got "$25"'],
    [{ ...usd, limit: "1000000" }, "limit: must be an amount in dollars"],
    [{ ...usd, limit: "1.0000000001" }, "limit: must be an amount in dollars"],
    [{ ...usd, limit: "0.00" }, "limit: must be more than 0 dollars"],
    [{ ...usd, burst: "0.5" }, "burst: must be at least the limit, 1"],
    [{ ...usd, degraded: 0 }, 'degraded: must be an amount in dollars, in quotes: "0.00"'],
    [{ ...usd, limit: 1, cost: "eur" }, 'cost: must be a number from 1 to 1000000000, "usage" or "usd"'],
    [{ ...usd, algorithm: "gcra" }, "cost: can't be money for gcra, which spaces requests evenly; use token-bucket"],
    [{ ...usd, algorithm: "sliding-log" }, "cost: can't be money for sliding-log, which would remember each request; use sliding-window"],
    [{ algorithm: "concurrency", limit: "1", cost: "usd" }, "cost: can't be money for concurrency, which counts requests in flight"],
  ])("that is %j: %s", (limit, message) => {
    const loaded = loadConfig(JSON.stringify({ tiers: { team: { limits: [limit] } } }), {});
    expect("faults" in loaded ? loaded.faults.map((fault) => `${formatPath(fault.path)}: ${fault.message}`) : []).toEqual([
      expect.stringContaining(`tiers.team.limits[0].${message}`),
    ]);
  });

  test("where nothing costs money", () => {
    const faultsOf = (config: object) => {
      const loaded = loadConfig(JSON.stringify(config), {});
      return "faults" in loaded ? loaded.faults.map((fault) => `${formatPath(fault.path)}: ${fault.message}`) : [];
    };
    const route = { path: "/a", upstream: "http://127.0.0.1:1", limits: [usd] };
    expect(faultsOf({ routes: [route], activities: { limits: [usd] } })).toEqual([
      "routes[0].limits[0].cost: never holds here: only calls of models cost money; say by models, credential or usage that this route has some",
      "activities.limits[0].cost: never holds here: activities cost no money",
    ]);
    for (const model of [{ usage: "auto" }, { models: ["*"] }]) expect(faultsOf({ routes: [{ ...route, ...model }] })).toEqual([]);
  });

  test.each([
    [{ limit: 25, period: "day", cost: "usd" }, 'limit: must be an amount in dollars, in quotes: "25.00"'],
    [{ limit: "25", period: "day" }, 'limit: must be a number without quotes; an amount in dollars needs "cost": "usd" beside it'],
    [{ limit: "0", period: "day", cost: "usd" }, "limit: must be more than 0 dollars"],
  ])("as the quota %j: %s", (quota, message) => {
    const loaded = loadConfig(JSON.stringify({ tiers: { team: { limits: [], quota } } }), {});
    expect("faults" in loaded ? loaded.faults.map((fault) => `${formatPath(fault.path)}: ${fault.message}`) : []).toEqual([
      `tiers.team.quota.${message}`,
    ]);
  });
});

test("what was counted in requests is never taken for money, nor money for requests", () => {
  const scope = { kind: "tier", name: "team" } as const;
  const limiter = new Limiter({ store: new MemoryStore(), clock, isDegraded });
  const counted = compilePolicies([limitOf("fixed-window", 1000, "1h")], scope);
  const money = compilePolicies([{ ...limitOf("fixed-window", 1, "1h"), limit: "0.000001", cost: "usd" }], scope);
  expect(limiter.admit(counted, ["acme"], 900).allowed).toBe(true);
  expect(limiter.admit(money, ["acme"], 1, 1000).allowed).toBe(true);
  expect([...limiter.inspect(counted, ["acme"]), ...limiter.inspect(money, ["acme"])]).toMatchObject([{ used: 900 }, { used: 1000 }]);
});

test("what grows is taken from all limits in money or from none, and not from others", () => {
  const scope = { kind: "tier", name: "team" } as const;
  const limiter = new Limiter({ store: new MemoryStore(), clock, isDegraded });
  const usd = (name: string, limit: string, more: object = {}) =>
    ({ ...limitOf("fixed-window", 1, "1h", { name, ...more }), limit, cost: "usd" }) as const;
  const policies = compilePolicies(
    [limitOf("fixed-window", 9, "1h"), usd("large", "0.0000001"), usd("small", "0.00000005"), usd("trial", "0.00000003", { shadow: true })],
    scope,
  );
  const subjects = policies.map(() => "acme");
  const used = () => limiter.inspect(policies, subjects).map((reading) => reading.used);
  const verdict = limiter.admit(policies, subjects, 2, 20);
  // The one in shadow has no room for it, and says nothing.
  expect([limiter.grow(verdict, 20), used()]).toEqual([true, [2, 40, 40, 20]]);
  expect([limiter.grow(verdict, 11), used()]).toEqual([false, [2, 40, 40, 20]]);
  limiter.settle(verdict, 7, 45);
  expect(used()).toEqual([2, 45, 45, 45]);
});
