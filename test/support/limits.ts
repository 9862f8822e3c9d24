import fc from "fast-check";
import { ALGORITHMS, algorithmsWith } from "../../src/limits/algorithms/registry.ts";
import { Limiter, type Verdict } from "../../src/limits/limiter.ts";
import { MemoryStore } from "../../src/limits/memory/store.ts";
import { compilePolicies, type Policy } from "../../src/limits/policy.ts";
import type { LimitConfig } from "../../src/limits/settings.ts";
import { FakeClock } from "./clock.ts";

/** A limiter over a memory store, with everything that tests move at hand. */
export function limiting(...configs: LimitConfig[]) {
  const clock = new FakeClock();
  const store = new MemoryStore();
  const state = { isDegraded: false };
  const limiter = new Limiter({ store, clock, isDegraded: () => state.isDegraded });
  let policies: Policy[] = compilePolicies(configs, { kind: "tier", name: "test" });
  const subjects = (subject: string) => policies.map(() => subject);
  return {
    clock,
    store,
    state,
    limiter,
    policies: () => policies,
    reconfigure: (...changed: LimitConfig[]) => {
      policies = compilePolicies(changed, { kind: "tier", name: "test" });
    },
    admit: (cost = 1, subject = "a"): Verdict => limiter.admit(policies, subjects(subject), cost),
    inspect: (subject = "a") => limiter.inspect(policies, subjects(subject)),
  };
}

export const WINDOWED = algorithmsWith(({ windowed }) => windowed);

export const limitOf = (
  algorithm: LimitConfig["algorithm"],
  limit: number,
  window = "1000ms",
  more: Partial<LimitConfig> = {},
): LimitConfig => ({ algorithm, limit, window, ...more });

/** A limit with this window if its algorithm has one. */
export const anyLimitOf = (
  algorithm: LimitConfig["algorithm"],
  limit: number,
  window = "1000ms",
  more: Partial<LimitConfig> = {},
): LimitConfig => ({
  algorithm,
  limit,
  ...(ALGORITHMS[algorithm].windowed ? { window } : {}),
  ...more,
});

/** A caller's behaviour: how long it waits before each request, and what the request costs. Windows are 1 s. */
export const traces = fc.array(
  fc.record({ wait: fc.oneof(fc.constant(0), fc.nat(50), fc.nat(700), fc.nat(3000)), cost: fc.integer({ min: 1, max: 4 }) }),
  { minLength: 1, maxLength: 120 },
);
