import fc from "fast-check";
import { ALGORITHMS, algorithmsWith } from "../../src/limits/algorithms/registry.ts";
import { Limiter, type LimitReading, type Verdict } from "../../src/limits/limiter.ts";
import { MemoryStore } from "../../src/limits/memory/store.ts";
import { compilePolicies, type Policy } from "../../src/limits/policy.ts";
import type { LimitConfig, QuotaConfig } from "../../src/limits/settings.ts";
import { type DurableCounts, SharedLimiter } from "../../src/limits/shared/limiter.ts";
import { Logs } from "../../src/limits/shared/logs.ts";
import { Chunks } from "../../src/shared/chunks.ts";
import { openRegion, type Region } from "../../src/shared/region.ts";
import { Table } from "../../src/shared/table.ts";
import type { Clock } from "../../src/values/clock.ts";
import { dollarsOf } from "../../src/values/money.ts";
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

/** A limiter over a table: by default in memory of its own, with room for a thousand subjects. */
export function overTable({
  clock,
  isDegraded = () => false,
  region = openRegion(null, { maxSubjects: 1000 }),
  durable = null,
}: {
  readonly clock: Clock;
  readonly isDegraded?: () => boolean;
  readonly region?: Region;
  readonly durable?: DurableCounts | null;
}) {
  const ticket = region.becomeWorker();
  if (ticket === null) throw new Error("all of the region's workers are taken");
  const table = new Table(region.memory, ticket);
  const logs = new Logs(new Chunks(region, table));
  return { region, ticket, table, logs, limiter: new SharedLimiter({ table, logs, clock, isDegraded, durable }) };
}

/** What readings say, without the policies themselves. */
export const told = (readings: readonly LimitReading[]) =>
  readings.map(({ policy, limit, used, remaining, resetIn, retryIn, denied, onlyDegraded }) => ({
    name: policy.name,
    limit,
    used,
    remaining,
    resetIn,
    retryIn,
    denied,
    onlyDegraded,
  }));

/** The nano-dollars that stand for one unit: so many that limits in money need all digits that an amount may have. */
export const GRAIN = 41_666_666_666_667;

/** The limits of one request, of any kinds. */
export const anyLimits = fc
  .array(
    fc.record({
      algorithm: fc.constantFrom(...algorithmsWith()),
      limit: fc.integer({ min: 1, max: 12 }),
      more: fc.nat(8),
      degraded: fc.nat(6),
      window: fc.constantFrom("1s", "3s", "10s"),
      aligned: fc.boolean(),
      shadow: fc.boolean(),
      cost: fc.constantFrom(undefined, "usage" as const, "usd" as const),
    }),
    { minLength: 1, maxLength: 3 },
  )
  .map((list) =>
    list.map(({ algorithm, limit, more, degraded, window, aligned, shadow, cost: wanted }, i): LimitConfig => {
      const { holds, alignable, notMoney } = ALGORITHMS[algorithm];
      const cost = holds || (wanted === "usd" && notMoney !== null) ? undefined : wanted;
      const amount = (number: number) => (cost === "usd" ? dollarsOf(number * GRAIN) : number);
      return {
        ...{ algorithm, name: `l${i}`, limit: amount(limit), degraded: amount(degraded) },
        ...(ALGORITHMS[algorithm].windowed ? { window } : {}),
        ...(more > 4 ? { burst: amount(limit + more) } : {}),
        ...(alignable && aligned ? { align: "clock" as const } : {}),
        ...(shadow && i > 0 ? { shadow } : {}),
        ...(cost === undefined ? {} : { cost }),
      };
    }),
  );

/** No quota, or one. */
export const anyQuotas = fc.array(
  fc
    .record({
      limit: fc.integer({ min: 1, max: 20 }),
      period: fc.constantFrom<QuotaConfig["period"]>("day", "week", "month"),
      isMoney: fc.boolean(),
    })
    .map(
      ({ limit, period, isMoney }): QuotaConfig => (isMoney ? { limit: dollarsOf(limit * GRAIN), period, cost: "usd" } : { limit, period }),
    ),
  { maxLength: 1 },
);

/** What callers and the system do, one after another. */
export const anySteps = fc.array(
  fc.record({
    wait: fc.oneof(fc.constant(0), fc.nat(400), fc.nat(4000), fc.constant(30_000)),
    cost: fc.integer({ min: 1, max: 6 }),
    deed: fc.constantFrom("ask", "ask", "ask", "ask", "end", "settle", "grow", "look", "degrade", "reset"),
    used: fc.nat(12),
  }),
  { minLength: 1, maxLength: 40 },
);
