import { expect } from "bun:test";
import fc from "fast-check";
import { ALGORITHMS, algorithmsWith } from "../../src/limits/algorithms/registry.ts";
import { Limiter, type Verdict } from "../../src/limits/limiter.ts";
import { MemoryStore } from "../../src/limits/memory/store.ts";
import { compilePolicies, compileQuotas, type Policy } from "../../src/limits/policy.ts";
import { RedisLimiter } from "../../src/limits/redis/limiter.ts";
import { RedisLink } from "../../src/redis/link.ts";
import { RedisConfig } from "../../src/redis/settings.ts";
import { fillIn } from "../../src/schema/fill-in.ts";
import { FakeClock } from "../support/clock.ts";
import { anyLimits, anyQuotas, anySteps, GRAIN, overTable, told } from "../support/limits.ts";
import { having } from "../support/programs.ts";
import { type RedisServer, redisServer } from "../support/redis.ts";

const { afterAll, beforeAll, test } = having("redis-server");

let server: RedisServer;
let link: RedisLink;
const clock = new FakeClock(Date.UTC(2026, 0, 30, 23, 59, 0));
const state = { isDegraded: false };

beforeAll(async () => {
  server = await redisServer();
  const config = fillIn(RedisConfig, { url: server.url, timeout: "2s" }).value as RedisConfig;
  link = new RedisLink({ config, clock, onChange: () => {} });
  await link.tried;
});
afterAll(async () => {
  link.close();
  await server[Symbol.asyncDispose]();
});

/** One of several instances that share limits, by the test's clock. */
function instance(name: string, mode: "exact" | "leased"): RedisLimiter {
  const parts = { clock, isDegraded: () => state.isDegraded };
  return new RedisLimiter({
    ...parts,
    link,
    local: new Limiter({ store: new MemoryStore(), ...parts }),
    mode,
    onFailure: () => "deny",
    instance: name,
    onFault: (error) => {
      throw error;
    },
    now: () => Math.floor(clock.now()),
  });
}

/** The same limits twice: in memory, and in Redis by the test's clock. */
function both(policies: Policy[]) {
  const parts = { clock, isDegraded: () => state.isDegraded };
  const memory = new Limiter({ store: new MemoryStore(), ...parts });
  const redis = instance("test", "exact");
  const subjects = policies.map(() => `s${Bun.randomUUIDv7()}`);
  return { memory, redis, subjects, policies };
}

test("memory, the shared table and Redis agree on every trace, for every algorithm and any limits together", async () => {
  await fc.assert(
    fc.asyncProperty(anyLimits, anyQuotas, anySteps, async (configs, periods, steps) => {
      const scope = { kind: "tier" as const, name: "t" };
      const { memory, redis, subjects, policies } = both([...compilePolicies(configs, scope), ...compileQuotas(periods, scope)]);
      const { limiter: table } = overTable({ clock, isDegraded: () => state.isDegraded });
      state.isDegraded = false;
      const open: [Verdict, Verdict, Verdict][] = [];
      try {
        for (const { wait, cost, deed, used } of steps) {
          // What is in flight is said again every second, by a timer.
          for (let left = wait; left > 0; left -= 1000) {
            clock.time += Math.min(1000, left);
            redis.renew();
            if (left > 1000) await redis.inspect(policies, subjects);
          }
          const [mine, its, tables] = open[0] ?? [];
          if (deed === "degrade") state.isDegraded = !state.isDegraded;
          else if (deed === "reset") {
            memory.reset(policies, subjects);
            table.reset(policies, subjects);
            await redis.reset(policies, subjects);
          } else if (deed === "look") {
            for (const asked of [undefined, cost]) {
              const expected = told(memory.inspect(policies, subjects, asked, cost * GRAIN));
              expect(told(table.inspect(policies, subjects, asked, cost * GRAIN))).toEqual(expected);
              expect(told(await redis.inspect(policies, subjects, asked, cost * GRAIN))).toEqual(expected);
            }
          } else if (deed === "grow" && mine !== undefined && its !== undefined && tables !== undefined) {
            const isGrown = memory.grow(mine, cost * GRAIN);
            expect([table.grow(tables, cost * GRAIN), await redis.grow(its, cost * GRAIN)]).toEqual([isGrown, isGrown]);
          } else if ((deed === "end" || deed === "settle") && mine !== undefined && its !== undefined && tables !== undefined) {
            if (deed === "settle") {
              const money = used === 0 ? null : (used - 1) * GRAIN;
              table.settle(tables, used, money);
              memory.settle(mine, used, money);
              redis.settle(its, used, money);
            }
            memory.release(mine);
            table.release(tables);
            redis.release(its);
            open.shift();
            // What was told is there before the next question.
            await redis.inspect(policies, subjects);
          } else if (deed === "ask") {
            const one = memory.admit(policies, subjects, cost, cost * GRAIN);
            const other = await redis.admit(policies, subjects, cost, cost * GRAIN);
            const third = table.admit(policies, subjects, cost, cost * GRAIN);
            expect([third.allowed, told(third.readings)]).toEqual([one.allowed, told(one.readings)]);
            expect([other.allowed, told(other.readings)]).toEqual([one.allowed, told(one.readings)]);
            if (one.allowed) open.push([one, other, third]);
          }
        }
      } finally {
        redis.close();
      }
    }),
    { numRuns: 150 },
  );
});

test("leased, several instances never grant more than the limit, and little less to who comes often; what a look denies is denied", async () => {
  const at = fc.record({ wait: fc.oneof(fc.constant(0), fc.nat(20), fc.nat(900)), which: fc.nat(2), cost: fc.integer({ min: 1, max: 3 }) });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...algorithmsWith(({ leaseable }) => leaseable)),
      fc.integer({ min: 20, max: 400 }),
      fc.array(at, { minLength: 50, maxLength: 300 }),
      async (algorithm, max, steps) => {
        const WINDOW = 2000;
        clock.time = Math.ceil(clock.time / WINDOW) * WINDOW;
        const begun = clock.time;
        const policies = compilePolicies(
          [{ algorithm, limit: max, window: "2s", ...(ALGORITHMS[algorithm].alignable ? { align: "clock" as const } : {}) }],
          { kind: "tier", name: "leased" },
        );
        const subject = [`s${Bun.randomUUIDv7()}`];
        const instances = [1, 2, 3].map((n) => instance(`i${n}`, "leased"));
        const perWindow = new Map<number, number>();
        let granted = 0;
        try {
          for (const [i, { wait, which, cost }] of steps.entries()) {
            // The grid begins with the first request.
            if (i > 0) clock.time += wait;
            const asked = instances[which] as RedisLimiter;
            const isForeseen = (await asked.inspect(policies, subject, cost)).some(({ denied }) => denied);
            const verdict = await asked.admit(policies, subject, cost);
            // What it has taken beforehand is its own to grant.
            if (isForeseen) expect(verdict.allowed).toBe(false);
            if (!verdict.allowed) continue;
            granted += cost;
            const window = Math.floor((clock.time - begun) / WINDOW);
            perWindow.set(window, (perWindow.get(window) ?? 0) + cost);
          }
          const windows = (clock.time - begun) / WINDOW;
          if (ALGORITHMS[algorithm].capacity !== null) expect(granted).toBeLessThanOrEqual(max + max * windows);
          // The first request is at the beginning of the grid.
          else for (const used of perWindow.values()) expect(used).toBeLessThanOrEqual(max);
        } finally {
          for (const each of instances) each.close();
        }
      },
    ),
    { numRuns: 25 },
  );
  // Who comes often, on all of them: nearly all of the limit.
  const policies = compilePolicies([{ algorithm: "fixed-window", limit: 1000, window: "1h" }], { kind: "tier", name: "often" });
  const instances = [1, 2, 3].map((n) => instance(`j${n}`, "leased"));
  let granted = 0;
  let askedRedis = 0;
  for (let i = 0; i < 3000; i++) {
    if (i % 10 === 0) clock.time += 3;
    const verdict = (instances[i % 3] as RedisLimiter).admit(policies, ["often"], 1);
    if (verdict instanceof Promise) askedRedis++;
    if ((await verdict).allowed) granted++;
    else break;
  }
  for (const each of instances) each.close();
  expect(granted).toBeWithin(850, 1001);
  expect(askedRedis).toBeLessThan(150);
});

test("what was decided alone while Redis is there is given back, and goes on from what Redis said", async () => {
  const parts = { clock, isDegraded: () => false };
  const store = new MemoryStore();
  const given: Promise<void>[] = [];
  const limiter = new RedisLimiter({
    ...parts,
    link,
    local: new Limiter({ store, ...parts }),
    mode: "exact",
    onFailure: () => "local",
    instance: Bun.randomUUIDv7(),
    onFault: (error) => {
      throw error;
    },
    onOwing: () => void given.push(limiter.giveBack(store.all(), (entry) => store.forget(entry))),
    now: () => Math.floor(clock.now()),
  });
  const policies = compilePolicies([{ algorithm: "fixed-window", limit: 10, window: "1h" }], { kind: "tier", name: "t" });
  const subjects = [Bun.randomUUIDv7()];
  const used = async () => (await limiter.inspect(policies, subjects))[0]?.used;
  for (let i = 0; i < 4; i++) await limiter.admit(policies, subjects, 1);
  // Nobody asks Redis in time: the process itself stood still.
  const late = limiter.admit(policies, subjects, 1);
  clock.time += 60_000;
  expect((await late).readings[0]).toMatchObject({ used: 5, remaining: 5 });
  expect(await used()).toBe(4);
  limiter.renew();
  // The link says at the same moment that Redis is back.
  given.push(limiter.giveBack(store.all(), (entry) => store.forget(entry)));
  limiter.renew();
  await Promise.all(given);
  expect([await used(), store.size]).toEqual([5, 0]);
  // What was asked for meanwhile finds nothing left to give.
  limiter.renew();
  await Promise.all(given);
  expect([given.length, await used()]).toEqual([3, 5]);
  limiter.renew();
  expect(given.length).toBe(3);
  limiter.close();
});

test("a limit with a cost of its own that is only looked at reads the same in memory and in Redis", async () => {
  const { memory, redis, subjects, policies } = both(
    compilePolicies([{ algorithm: "concurrency", limit: 1, degraded: 0 }], { kind: "tier", name: "own" }),
  );
  state.isDegraded = false;
  memory.admit(policies, subjects, 1);
  await redis.admit(policies, subjects, 1);
  state.isDegraded = true;
  expect(told(await redis.inspect(policies, subjects))).toEqual(told(memory.inspect(policies, subjects)));
  state.isDegraded = false;
  redis.close();
});
