import type { LimitService, Metered, Verdict } from "./limiter.ts";
import { isInMoney } from "./money.ts";
import type { Policy } from "./policy.ts";

const NONE: readonly Metered[] = [];

/** Gives what a verdict has charged and what is not settled yet, wherever that is counted; what is held alone may be among it. */
export const chargesOf = (verdict: Verdict): readonly Metered[] => (verdict.allowed ? (verdict.remote ?? verdict.metered) : NONE);

/** Gives what a verdict has charged to limits in money and what is not settled yet. */
export const chargesInMoney = (verdict: Verdict): readonly Metered[] => chargesOf(verdict).filter(({ policy }) => isInMoney(policy));

/** Asks for `money` more, in whole nano-dollars, under each limit that these charges are of. */
export function askForMore<V>(
  limiter: { admit(policies: readonly Policy[], subjects: readonly string[], cost: number, money: number): V },
  charges: readonly Metered[],
  money: number,
): V {
  const policies = charges.map(({ policy }) => policy);
  const subjects = charges.map(({ subject }) => subject);
  return limiter.admit(policies, subjects, 0, money);
}

/**
 * Adds to a verdict's `charges` what was taken besides. Gives whether it was. What was taken for a verdict that was settled meanwhile is
 * given back.
 */
export function noteGrowth(
  limiter: Pick<LimitService, "settle">,
  verdict: Verdict,
  charges: readonly Metered[],
  more: Verdict,
  money: number,
): boolean {
  if (!more.allowed) return false;
  const open = chargesOf(verdict);
  if (!charges.every((charge) => open.includes(charge))) {
    limiter.settle(more, null, 0);
    return false;
  }
  for (const [i, charge] of charges.entries()) {
    // There are no readings where Redis is away and all may pass; and a limit in shadow that would have denied took nothing.
    if (more.readings[i]?.denied === false) charge.charge += money;
  }
  return true;
}
