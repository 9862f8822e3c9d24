import { timeText } from "../http/conventions.ts";
import { isNamedBefore } from "./headers.ts";
import type { LimitReading } from "./limiter.ts";
import { type ShownUnit, shownAmount, shownUnit } from "./money.ts";
import { scopeText } from "./policy.ts";

/** Says what is left of a limit or quota, as JSON. */
export interface Left {
  readonly name: string;
  /** The unit of both numbers: of "usd" they are dollars. */
  readonly unit: ShownUnit;
  readonly limit: number;
  readonly remaining: number;
  /** The time when more is left; of a limit that denies: when it would let the request through. `null` when nothing is used. */
  readonly reset: string | null;
}

/** Gives what is left of one limit. `wallNow` in milliseconds since 1970. */
export function leftOf({ policy, limit, remaining, resetIn, retryIn, denied }: LimitReading, wallNow: number): Left {
  const wait = denied ? Math.max(resetIn, retryIn) : resetIn;
  return {
    name: policy.name,
    unit: shownUnit(policy),
    limit: shownAmount(policy, limit),
    remaining: shownAmount(policy, remaining),
    reset: wait === 0 ? null : timeText(wallNow + wait),
  };
}

/**
 * Gives what is left of all limits of one request, under the names of the fields of limited answers: the second of a name has its owner
 * before it. Limits in shadow are left out, since they deny nothing.
 */
export const allLeft = (readings: readonly LimitReading[], wallNow: number): Left[] =>
  readings.flatMap((reading, i) => {
    const { policy } = reading;
    if (policy.shadow) return [];
    const left = leftOf(reading, wallNow);
    return [isNamedBefore(readings, i) ? { ...left, name: `${scopeText(policy)}: ${policy.name}` } : left];
  });
