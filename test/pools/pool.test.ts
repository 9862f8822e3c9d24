import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  lease as leaseOf,
  newPoolState,
  type PoolKey,
  type PoolPolicy,
  type PoolState,
  remainingOf,
  type Strategy,
  settle,
  spentOf,
} from "../../src/pools/pool.ts";
import { Pools } from "../../src/pools/pools.ts";
import { openStorage } from "../../src/storage/open.ts";
import { FakeClock } from "../support/clock.ts";

const tokens = (limit: number, window = 60_000) => ({ of: "tokens" as const, limit, window });
const lease = (policy: PoolPolicy, state: PoolState, cost: number, now: number) => leaseOf(policy, state, { tokens: cost, usd: null }, now);
const poolOf = (strategy: Strategy, ...limits: number[]): PoolPolicy => ({
  name: "default",
  strategy,
  keys: limits.map((limit, i) => ({ id: `api_key_${i + 1}`, secret: null, mark: "m", budgets: [tokens(limit)] })),
  services: new Map([
    ["service_1", 300],
    ["service_2", 100],
    ["service_3", 500],
  ]),
});

describe("a pool that hands out its keys in order", () => {
  test("grants what a recorded run of the system before it granted, and denies when both are spent", () => {
    const policy = poolOf("in-order", 1000, 3000);
    const state = newPoolState();
    const recorded: [seconds: number, service: number, key: number, remaining: number][] = [
      [0, 3, 1, 500],
      [0, 2, 1, 400],
      [0, 1, 1, 100],
      [10, 2, 1, 0],
      [20, 1, 2, 2700],
      [20, 2, 2, 2600],
      [30, 2, 2, 2500],
      [40, 3, 2, 2000],
      [40, 1, 2, 1700],
      [40, 2, 2, 1600],
      [50, 2, 2, 1500],
      [60.03, 1, 1, 700],
      [60.06, 2, 1, 600],
      [70, 2, 1, 500],
      [80.04, 3, 1, 0],
      [80.04, 1, 2, 2700],
      [80.08, 2, 2, 2600],
    ];
    for (const [seconds, service, key, remaining] of recorded) {
      const cost = policy.services.get(`service_${service}`) ?? 0;
      const given = lease(policy, state, cost, seconds * 1000);
      expect([seconds, given.granted && given.grant.key, given.granted && given.remaining]).toEqual([
        seconds,
        policy.keys[key - 1] as (typeof policy.keys)[0],
        remaining,
      ]);
    }
    for (let i = 0; i < 5; i++) lease(policy, state, 500, 81_000);
    expect(lease(policy, state, 300, 82_000)).toEqual({ granted: false, retryIn: 38_030 });
    expect(lease(policy, state, 5000, 82_000)).toEqual({ granted: false, retryIn: Number.POSITIVE_INFINITY });
  });
});

test("most-remaining takes the fullest key, round-robin each in turn", () => {
  const most = newPoolState();
  const fullest = poolOf("most-remaining", 1000, 3000);
  const picked = Array.from({ length: 6 }, () => lease(fullest, most, 500, 0)).map((each) =>
    each.granted ? each.grant.key.id.at(-1) : "-",
  );
  expect(picked.join("")).toBe("222212");
  const turns = newPoolState();
  const each = poolOf("round-robin", 1000, 1000, 100);
  const taken = Array.from({ length: 6 }, () => lease(each, turns, 500, 0)).map((lease) =>
    lease.granted ? lease.grant.key.id.at(-1) : "-",
  );
  expect(taken.join("")).toBe("1212--");
});

test("a key with several budgets holds all of them: requests and tokens, by the minute and by the day", () => {
  const policy: PoolPolicy = {
    ...poolOf("in-order"),
    keys: [
      { id: "k", secret: "s", mark: "m", budgets: [{ of: "requests", limit: 2, window: 60_000 }, tokens(1000), tokens(1500, 86_400_000)] },
    ],
  };
  const state = newPoolState();
  const granted = (cost: number, now: number) => lease(policy, state, cost, now).granted;
  expect([granted(10, 0), granted(10, 0), granted(10, 0)]).toEqual([true, true, false]);
  expect([granted(980, 60_000), granted(980, 60_000), granted(400, 120_000), granted(100, 120_000), granted(1, 180_000)]).toEqual([
    true,
    false,
    true,
    true,
    false,
  ]);
  expect(remainingOf(state, policy.keys[0] as (typeof policy.keys)[0], 180_000)).toBe(0);
});

test("never overspends a window, whatever is asked when, and denies only what no key holds", () => {
  const step = fc.record({ wait: fc.oneof(fc.constant(0), fc.nat(1000), fc.nat(40_000)), cost: fc.integer({ min: 1, max: 600 }) });
  fc.assert(
    fc.property(
      fc.constantFrom<Strategy[]>("in-order", "most-remaining", "round-robin"),
      fc.array(step, { maxLength: 300 }),
      (strategy, steps) => {
        const limits = [1000, 700, 300];
        const policy = poolOf(strategy, ...limits);
        const state = newPoolState();
        const grants: { key: string; at: number; cost: number; start: number }[] = [];
        let now = 1_800_000_000_000;
        for (const { wait, cost } of steps) {
          now += wait;
          const before = policy.keys.map((key) => remainingOf(state, key, now));
          const given = lease(policy, state, cost, now);
          if (!given.granted) {
            expect(before.every((remaining) => remaining < cost)).toBe(true);
            expect(policy.keys.map((key) => remainingOf(state, key, now))).toEqual(before);
            if (Number.isFinite(given.retryIn))
              expect(lease(policy, { ...newPoolState(), spent: structuredClone(state.spent) }, cost, now + given.retryIn).granted).toBe(
                true,
              );
            continue;
          }
          const start = state.spent.get(given.grant.key.id)?.[0]?.start ?? 0;
          grants.push({ key: given.grant.key.id, at: now, cost, start });
          const inWindow = grants
            .filter((grant) => grant.key === given.grant.key.id && grant.start === start)
            .reduce((sum, grant) => sum + grant.cost, 0);
          expect(inWindow).toBeLessThanOrEqual(limits[Number(given.grant.key.id.at(-1)) - 1] ?? 0);
          expect(given.remaining).toBe((limits[Number(given.grant.key.id.at(-1)) - 1] ?? 0) - inWindow);
        }
      },
    ),
  );
});

test("what was spent belongs to what is counted and for how long, wherever the budget stands and whatever its limit", () => {
  const keyWith = (...budgets: PoolKey["budgets"]): PoolPolicy => ({
    ...poolOf("in-order"),
    keys: [{ id: "k", secret: "s", mark: "m", budgets }],
  });
  const requests = { of: "requests" as const, limit: 10, window: 60_000 };
  const state = newPoolState();
  const first = lease(keyWith(tokens(1000)), state, 900, 0);
  expect(lease(keyWith(tokens(1000), requests), state, 200, 1).granted).toBe(false);
  expect(lease(keyWith(requests, tokens(2000)), state, 800, 2).granted).toBe(true);
  const [key] = keyWith(requests, tokens(2000)).keys as [PoolKey];
  expect(remainingOf(state, key, 3)).toBe(300);
  // A request from before is settled where it was taken.
  if (first.granted) settle(state, first.grant, { tokens: 100, usd: null }, 1);
  expect([remainingOf(state, key, 4), spentOf(state, key)[0]?.used]).toEqual([1100, 1]);
});

test("counts that were kept before budgets had names are those of the budgets in their order", () => {
  const storage = openStorage(":memory:");
  const clock = new FakeClock();
  const old = [
    { start: clock.time, used: 30 },
    { start: clock.time, used: 2 },
  ];
  storage.client.query("INSERT INTO pool_spent (pool, key, spent) VALUES ('p', 'k', ?1)").run(JSON.stringify(old));
  const pools = new Pools({ storage, clock, link: null, table: null, isWriter: true, onFault: () => {}, emit: () => {} });
  const budgets = [{ of: "requests" as const, limit: 5, window: "1h" }];
  pools.configure([["p", { strategy: "in-order", auth: "none", services: {}, keys: [{ id: "k", limit: 100, window: "1h", budgets }] }]]);
  expect(pools.keysOf("p")).toMatchObject([{ remaining: 70, budgets: [{ used: 30 }, { of: "requests", used: 2 }] }]);
  storage.close();
});
