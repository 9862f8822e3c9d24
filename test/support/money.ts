import { expect } from "bun:test";
import fc from "fast-check";
import type { LimitService, Verdict } from "../../src/limits/limiter.ts";
import { compilePolicies, compileQuotas, type Policy } from "../../src/limits/policy.ts";
import { dollarsOf, MAX_NANO } from "../../src/values/money.ts";

const scope = { kind: "consumer", name: "acme" } as const;

/** A limit of each kind that counts money, of so many nano-dollars each; they begin anew after a minute, an hour or a day. */
export const inMoney = (nano: number): Policy[] => [
  ...compilePolicies(
    [
      { algorithm: "fixed-window", limit: dollarsOf(nano), window: "1h", cost: "usd" },
      { algorithm: "sliding-window", limit: dollarsOf(nano), window: "1h", cost: "usd" },
      { algorithm: "token-bucket", limit: dollarsOf(nano), window: "366d", cost: "usd" },
    ],
    scope,
  ),
  ...compileQuotas([{ limit: dollarsOf(nano), period: "month", cost: "usd" }], scope),
];

/** What calls of models do, one after another, at any of several limiters: amounts are parts of the limit. */
const anyDeeds = fc.array(
  fc.record({
    deed: fc.constantFrom("reserve", "reserve", "grow", "settle", "leave"),
    at: fc.nat(2),
    which: fc.nat(20),
    part: fc.double({ min: 0, max: 0.6, noNaN: true }),
  }),
  { minLength: 1, maxLength: 60 },
);

/**
 * Tries whether limits in money hold whatever is reserved, grown and settled when: no call is let through beyond the limit, and all that is ever used
 * above it was settled above what was reserved. `limiters`: makes those that count together, and says what they share.
 */
export async function holdMoney(
  kind: number,
  runs: number,
  limiters: () => Promise<{ readonly all: readonly LimitService[]; readonly end: () => unknown }>,
): Promise<void> {
  const anyLimit = fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1_000_000, max: 50_000_000_000 }), fc.constant(MAX_NANO));
  await fc.assert(
    fc.asyncProperty(anyLimit, anyDeeds, async (limit, deeds) => {
      const { all, end } = await limiters();
      const policy = inMoney(limit)[kind] as Policy;
      const subject = [`s${Bun.randomUUIDv7()}`];
      const open: { readonly by: LimitService; readonly verdict: Verdict; reserved: number }[] = [];
      let spent = 0;
      let above = 0;
      try {
        for (const { deed, at, which, part } of deeds) {
          const amount = Math.floor(part * limit);
          const used = spent + open.reduce((sum, { reserved }) => sum + reserved, 0);
          const call = open[which % Math.max(1, open.length)];
          if (deed === "reserve") {
            const by = all[at % all.length] as LimitService;
            const verdict = await by.admit([policy], subject, 1, amount);
            expect(verdict.allowed).toBe(used + amount <= limit);
            if (verdict.allowed) open.push({ by, verdict, reserved: amount });
          } else if (call !== undefined && deed === "grow") {
            const isGrown = await call.by.grow(call.verdict, amount);
            expect(isGrown).toBe(used + amount <= limit);
            if (isGrown) call.reserved += amount;
          } else if (call !== undefined) {
            open.splice(open.indexOf(call), 1);
            // Nobody says what it cost: what was taken stays.
            const money = deed === "leave" ? null : amount;
            call.by.settle(call.verdict, 7, money);
            spent += money ?? call.reserved;
            above += Math.max(0, (money ?? 0) - call.reserved);
          }
          const after = spent + open.reduce((sum, { reserved }) => sum + reserved, 0);
          expect(after).toBeLessThanOrEqual(limit + above);
          for (const by of all)
            expect(await by.inspect([policy], subject)).toMatchObject([{ used: after, remaining: Math.max(0, limit - after) }]);
        }
      } finally {
        await end();
      }
    }),
    { numRuns: runs },
  );
}

/**
 * Tries that what is settled after the window in which it was reserved makes no room in the next one. `wait` moves the clock by so many
 * milliseconds; limits count windows of an hour, and months.
 */
export async function settleLate(kind: number, limiter: LimitService, wait: (milliseconds: number) => void): Promise<void> {
  const policies = [inMoney(1000)[kind] as Policy];
  const subjects = [`s${Bun.randomUUIDv7()}`];
  const calls: Verdict[] = [];
  for (const reserve of [300, 300]) calls.push(await limiter.admit(policies, subjects, 1, reserve));
  // A month is over, and two hours: nothing of it counts any more.
  wait(32 * 86_400_000);
  const next = await limiter.admit(policies, subjects, 1, 900);
  expect(next.allowed).toBe(true);
  for (const call of calls) limiter.settle(call, null, 1);
  expect(await limiter.inspect(policies, subjects)).toMatchObject([{ used: 900, remaining: 100 }]);
  expect((await limiter.admit(policies, subjects, 1, 101)).allowed).toBe(false);
  limiter.settle(next, null, 1);
  expect(await limiter.inspect(policies, subjects)).toMatchObject([{ used: 1 }]);
}
