import { expect, test } from "bun:test";
import fc from "fast-check";
import { Limiter, type LimitService, type Verdict } from "../../../src/limits/limiter.ts";
import { MemoryStore } from "../../../src/limits/memory/store.ts";
import { compilePolicies, compileQuotas } from "../../../src/limits/policy.ts";
import { openRegion } from "../../../src/shared/region.ts";
import type { Clock } from "../../../src/values/clock.ts";
import { FakeClock } from "../../support/clock.ts";
import { anyLimits, anyQuotas, anySteps, GRAIN, limitOf, overTable, told } from "../../support/limits.ts";

const scope = { kind: "tier" as const, name: "t" };

test("a table says of every trace what memory says, for every algorithm and any limits together, whichever of its workers is asked", () => {
  fc.assert(
    fc.property(anyLimits, anyQuotas, anySteps, fc.integer({ min: 1, max: 3 }), (configs, quotas, steps, workers) => {
      const clock = new FakeClock(5_000_000, Date.UTC(2026, 0, 30, 23, 59, 0) - 5_000_000);
      const state = { isDegraded: false };
      const parts = { clock, isDegraded: () => state.isDegraded };
      const memory = new Limiter({ store: new MemoryStore(), ...parts });
      const region = openRegion(null, { maxSubjects: 100 });
      const all = Array.from({ length: workers }, () => overTable({ ...parts, region }).limiter);
      const policies = [...compilePolicies(configs, scope), ...compileQuotas(quotas, scope)];
      const subjects = policies.map(() => "s");
      const open: [Verdict, Verdict, LimitService][] = [];
      for (const [i, { wait, cost, deed, used }] of steps.entries()) {
        clock.time += wait;
        const table = all[i % workers] as LimitService;
        const [mine, its, owner] = open[0] ?? [];
        if (deed === "degrade") state.isDegraded = !state.isDegraded;
        else if (deed === "reset") for (const each of [memory, table]) each.reset(policies, subjects);
        else if (deed === "look") {
          for (const asked of [undefined, cost])
            expect(told(table.inspect(policies, subjects, asked, cost * GRAIN) as never)).toEqual(
              told(memory.inspect(policies, subjects, asked, cost * GRAIN)),
            );
        } else if (deed === "grow" && mine !== undefined && its !== undefined && owner !== undefined) {
          expect(owner.grow(its, cost * GRAIN)).toBe(memory.grow(mine, cost * GRAIN));
        } else if ((deed === "end" || deed === "settle") && mine !== undefined && its !== undefined && owner !== undefined) {
          if (deed === "settle") {
            const money = used === 0 ? null : (used - 1) * GRAIN;
            memory.settle(mine, used, money);
            owner.settle(its, used, money);
          }
          memory.release(mine);
          owner.release(its);
          open.shift();
        } else if (deed === "ask") {
          const one = memory.admit(policies, subjects, cost, cost * GRAIN);
          const other = table.admit(policies, subjects, cost, cost * GRAIN) as Verdict;
          expect([other.allowed, told(other.readings)]).toEqual([one.allowed, told(one.readings)]);
          if (one.allowed) open.push([one, other, table]);
        }
      }
    }),
    { numRuns: 500 },
  );
});

test("a sliding log in a table is exact however much it holds, and gives its room back", () => {
  const clock = new FakeClock(5_000_000);
  const { limiter } = overTable({ clock });
  const memory = new Limiter({ store: new MemoryStore(), clock, isDegraded: () => false });
  const policies = compilePolicies([limitOf("sliding-log", 20_000, "10s")], scope);
  for (let i = 0; i < 60_000; i++) {
    clock.time += i % 40_000 < 25_000 ? i & 1 : 3;
    const [one, other] = [memory.admit(policies, ["a"], 1), limiter.admit(policies, ["a"], 1)];
    if (one.allowed !== other.allowed || i % 500 === 0) expect([i, ...told(other.readings)]).toEqual([i, ...told(one.readings)]);
  }
});

test("what a worker holds that has died is free at once", () => {
  const clock = new FakeClock(5_000_000);
  const region = openRegion(null, { maxSubjects: 10 });
  const [one, other] = [overTable({ clock, region }), overTable({ clock, region })];
  const policies = compilePolicies([{ algorithm: "concurrency", limit: 3 }], scope);
  const [first] = [one, one, other].map(({ limiter }) => limiter.admit(policies, ["a"], 1));
  expect(other.limiter.admit(policies, ["a"], 1).allowed).toBe(false);
  region.declareDead(one.ticket);
  expect(other.limiter.inspect(policies, ["a"])[0]).toMatchObject({ used: 1 });
  expect([other, other, other].map(({ limiter }) => limiter.admit(policies, ["a"], 1).allowed)).toEqual([true, true, false]);
  // It was stopped, not dead, and goes on: what it gives back is its own.
  if (first !== undefined) one.limiter.release(first);
  expect(other.limiter.inspect(policies, ["a"])[0]).toMatchObject({ used: 3 });
});

test("workers whose clocks differ by some milliseconds grant together what one would", () => {
  for (const algorithm of ["gcra", "token-bucket", "sliding-window", "fixed-window", "sliding-log"] as const) {
    const clock = new FakeClock(5_000_000);
    const ahead: Clock = { now: () => clock.now() + 5, wall: () => clock.wall() };
    const region = openRegion(null, { maxSubjects: 10 });
    const workers = [overTable({ clock, region }), overTable({ clock: ahead, region })];
    const policies = compilePolicies([limitOf(algorithm, 100, "1s")], scope);
    let granted = 0;
    for (let i = 0; i < 10_000; i++) {
      clock.time += 1;
      if ((workers[i & 1] as (typeof workers)[number]).limiter.admit(policies, ["a"], 1).allowed) granted++;
    }
    // Ten windows, and one at once.
    expect([algorithm, granted > 900 && granted <= 1100]).toEqual([algorithm, true]);
  }
});
