import { type Problem, problem, type ViolatedPolicy } from "../http/problem.ts";
import { dollarsOf, NANO } from "../values/money.ts";
import type { LimitReading } from "./limiter.ts";
import { type Policy, scopeText, type Unit } from "./policy.ts";

/** The unit of a limit's numbers as answers name it: of "usd" they are dollars. */
export type ShownUnit = "requests" | "units" | "usd";

const SHOWN: Readonly<Record<Unit, ShownUnit>> = { requests: "requests", usage: "units", usd: "usd" };

/** Gives the unit of a limit's numbers as answers name it. */
export const shownUnit = ({ unit }: Policy): ShownUnit => SHOWN[unit];

/** Gives an amount of a limit as answers show it: money in dollars. */
export const shownAmount = ({ unit }: Policy, amount: number): number => (unit === "usd" ? amount / NANO : amount);

/** Writes an amount of a limit for people. */
export const amountText = ({ unit }: Policy, amount: number): string => (unit === "usd" ? `$${dollarsOf(amount)}` : String(amount));

/** Tells whether some of these limits count money. Most callers have none. */
export function hasMoney(policies: readonly Policy[]): boolean {
  for (let i = 0; i < policies.length; i++) if (isInMoney(policies[i] as Policy)) return true;
  return false;
}

/** Tells whether a limit counts money. */
export const isInMoney = ({ unit }: Policy): boolean => unit === "usd";

/** Gives the first limit in money among those that denied. */
export const moneyOf = (denied: readonly LimitReading[]): LimitReading | undefined => denied.find(({ policy }) => isInMoney(policy));

/** Tells whether a limit could never hold `money`, in nano-dollars, whatever the system's status is and however little is used. */
export const isTooDear = ({ policy: { unit, normal, reduced } }: LimitReading, money: number): boolean =>
  unit === "usd" && money > Math.max(normal.limit, reduced.limit);

/** Makes the 413 of a request that may cost more, in nano-dollars, than a limit in money ever holds: no waiting changes that. */
export const tooDear = ({ policy, limit }: LimitReading, money: number, violated: readonly ViolatedPolicy[]): Problem =>
  problem(
    "costTooHigh",
    `This request may cost ${amountText(policy, money)}, more than ${named(policy)} ever holds (${amountText(policy, limit)}): ask for a shorter answer, for instance with a lower max_tokens, or for a cheaper model.`,
    { violatedPolicies: violated },
  );

/** Says why a limit in money denies what may cost `money`, in nano-dollars. `retryAfter` in seconds. */
export function spentText({ policy, limit, used, remaining }: LimitReading, money: number, retryAfter: number): string {
  const begins = policy.calendar === null ? "more is there" : "a new period begins";
  const of = `${amountText(policy, limit)} of ${named(policy)}`;
  const spent =
    remaining === 0
      ? `The ${of} are spent`
      : `Of the ${of} ${amountText(policy, used)} are used, and this request may cost ${amountText(policy, money)}`;
  return `${spent}: ${begins} in ${retryAfter} seconds.`;
}

const named = (policy: Policy): string => `${policy.name} (${scopeText(policy)})`;
