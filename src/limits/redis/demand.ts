import type { LimitReading } from "../limiter.ts";
import { type Policy, termsOf } from "../policy.ts";

/**
 * Describes what one request asks for: its limits, and for each the subject that it counts for and the key that Redis keeps the count
 * under.
 */
export interface Demand {
  readonly policies: readonly Policy[];
  readonly subjects: readonly string[];
  readonly keys: readonly string[];
  readonly cost: number;
  /** What is taken of limits in money, in whole nano-dollars. */
  readonly money: number;
  readonly isDegraded: boolean;
}

/**
 * Reads one limit's numbers from a reply, where they begin `at`. `charge`: the amount that was asked for under this limit; 0 where it was
 * only looked at.
 */
export function readingOf(
  policy: Policy,
  subject: string,
  charge: number,
  isDegraded: boolean,
  reply: readonly number[],
  at: number,
): LimitReading {
  const used = reply[at] as number;
  const terms = termsOf(policy, isDegraded);
  const denied = reply[at + 4] === 0;
  return {
    policy,
    subject,
    limit: terms.limit,
    used,
    remaining: reply[at + 1] as number,
    resetIn: reply[at + 2] as number,
    retryIn: reply[at + 3] as number,
    denied,
    onlyDegraded: denied && terms !== policy.normal && used + charge <= policy.normal.limit,
  };
}
