import { ago, amount, clock } from "../../format.ts";
import type { AppliedLimit, Explained } from "../../shapes.ts";

/** Says in words what becomes of the next request. */
export interface Verdict {
  readonly tone: "good" | "bad" | "warn";
  readonly title: string;
  /** What there is to say beyond the title, a sentence each. */
  readonly sentences: readonly string[];
}

/** Gives the verdict on an explanation. `now` in milliseconds since 1970. */
export function verdictOf(explained: Explained, now = Date.now()): Verdict {
  const { token, refusal, allowed, limits, unknown } = explained;
  const more = [...dollarsSaid(explained), ...degradedSaid(explained), ...awaySaid(explained)];
  if (token !== null && !token.passed)
    return { tone: "bad", title: "This token is refused", sentences: [`${capital(token.why ?? "It is not good")}.`] };
  if (refusal !== null) return { tone: "bad", title: `The next request is refused: ${refusal.code}`, sentences: [refusal.detail, ...more] };
  const denying = limits.filter(({ denies }) => denies === true);
  if (allowed === false)
    return {
      tone: "bad",
      title: `The next request is refused: ${denying.some(isSpent) ? "quotaExceeded" : "rateLimited"}`,
      sentences: [...denying.map((limit) => usedUp(limit, now)), ...more],
    };
  if (allowed === true) return { tone: "good", title: "The next request passes", sentences: [...tightest(limits, now), ...more] };
  return {
    tone: "warn",
    title: denying.length > 0 ? "A limit is used up, and more must be known" : "It depends",
    sentences: [...denying.map((limit) => usedUp(limit, now)), ...unknown.map((each) => `Not known: ${each}.`), ...more],
  };
}

/** Tells whether a limit is refused as something that is spent: a quota, or dollars. */
const isSpent = ({ algorithm, unit }: AppliedLimit): boolean => algorithm === "quota" || unit === "usd";

const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);

const named = ({ name, scope }: AppliedLimit): string => `${name} (${scope})`;

/** Writes what is left of a limit, with its verb: `3 of 20 are`, `$0.50 is`. */
const leftOf = ({ remaining, unit }: AppliedLimit, of = ""): string =>
  `${amount(remaining ?? 0, unit)}${of} ${unit === "usd" ? "is" : "are"}`;

function usedUp(limit: AppliedLimit, now: number): string {
  const { used, reset, cost, remaining, unit } = limit;
  const write = (value: number): string => amount(value, unit);
  const again =
    reset === null ? "" : Date.parse(reset) <= now ? " It works again by now." : ` It works again ${ago(reset, now)}, at ${clock(reset)}.`;
  const needs = cost > 1 && (remaining ?? 0) > 0 ? `: a request costs ${write(cost)}, and ${leftOf(limit)} left` : "";
  return `The limit ${named(limit)} is used up${needs === "" ? `: ${write(used ?? limit.limit)} of ${write(limit.limit)}` : needs}.${again}`;
}

/** Says what is left of the limit that has the least left. */
function tightest(limits: readonly AppliedLimit[], now: number): string[] {
  const counted = limits.filter(({ remaining, shadow, limit }) => remaining !== null && !shadow && limit > 0);
  if (counted.length === 0) return ["No limit applies."];
  const share = ({ remaining, limit }: AppliedLimit): number => (remaining ?? 0) / limit;
  const least = counted.reduce((a, b) => (share(b) < share(a) ? b : a));
  const more = least.reset === null ? "" : `, more ${ago(least.reset, now)}`;
  return [`The tightest limit is ${named(least)}: ${leftOf(least, ` of ${amount(least.limit, least.unit)}`)} left${more}.`];
}

const dollarsSaid = ({ limits }: Explained): string[] =>
  limits.some(({ unit, denies }) => unit === "usd" && denies === false)
    ? ["Dollars are reserved before a request is sent: one that may cost more than is left is refused."]
    : [];

const degradedSaid = ({ system, limits }: Explained): string[] =>
  system === "DEGRADED" && limits.some(({ degraded, normal }) => degraded !== normal)
    ? ["The system is DEGRADED: limits are smaller than usual."]
    : [];

const AWAY = {
  local: "Redis is away: what is used is what this instance alone has counted.",
  allow: "Redis is away, and limits let everything through meanwhile.",
  deny: "Redis is away, and limits refuse everything meanwhile.",
} as const;

const awaySaid = ({ redisAway }: Explained): string[] => (redisAway === null ? [] : [AWAY[redisAway]]);
