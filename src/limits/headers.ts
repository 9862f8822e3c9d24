import { inOnePiece } from "../http/latin1.ts";
import type { ViolatedPolicy } from "../http/problem.ts";
import type { LimitReading, Verdict } from "./limiter.ts";
import { isInMoney, shownAmount, shownUnit } from "./money.ts";
import { type Policy, scopeText } from "./policy.ts";

/** Holds the parts of the fields that do not change from answer to answer, made once for the limit's number in force. */
interface Words {
  readonly limit: number;
  /** The name as a structured-field string (RFC 9651 §3.3.3). */
  readonly name: string;
  readonly policy: string;
  /** The same with the limit's owner before the name, for an answer in which another limit has this name: `"route shop: per-minute"`. */
  readonly owned: { readonly name: string; readonly policy: string };
}

const words = new WeakMap<Policy, Words>();

function wordsOf(policy: Policy, limit: number): Words {
  const known = words.get(policy);
  if (known !== undefined && known.limit === limit) return known;
  const { windowed } = policy.counting;
  const unit = isInMoney(policy) ? NANO_DOLLARS : policy.counting.unit;
  const span = (windowed ? `;w=${seconds(policy.window)}` : "") + (unit === null ? "" : `;qu="${unit}"`);
  const called = (text: string) => {
    const name = `"${text.replace(/[\\"]/g, "\\$&")}"`;
    return { name, policy: `${name};q=${limit}${span}` };
  };
  const made = { limit, ...called(policy.name), owned: called(`${scopeText(policy)}: ${policy.name}`) };
  words.set(policy, made);
  return made;
}

/** The unit of limits in money in RateLimit-Policy (`qu`): its numbers are whole. */
const NANO_DOLLARS = "nano-usd";

const seconds = (milliseconds: number): number => Math.ceil(milliseconds / 1000);

/** Milliseconds that may lie between a limit's look at the clock and the header's: an end at a full second must not become the next one. */
const BETWEEN = 10;

const resetAt = (wall: number): number => seconds(wall - BETWEEN);

/** Holds what does not change in the lines of answers with the same limits, in the same order and with the same numbers in force. */
interface Lines {
  readonly policies: readonly Policy[];
  readonly limits: readonly number[];
  /** The names, as they stand in the field RateLimit. */
  readonly names: readonly string[];
  /** The line of RateLimit-Policy, and the beginning of that of RateLimit. */
  readonly text: string;
}

/** The lines of the answers last made, by the first of their limits: a caller's are nearly always the same. */
const lines = new WeakMap<Policy, Lines>();

/** Gives the lines of these limits, none of which is in shadow. */
function linesOf(readings: readonly LimitReading[]): Lines {
  const { policy: first } = readings[0] as LimitReading;
  const known = lines.get(first);
  if (known !== undefined && areOf(known, readings)) return known;
  const described = readings.map((reading, i) => {
    const own = wordsOf(reading.policy, reading.limit);
    return isNamedBefore(readings, i) ? own.owned : own;
  });
  const made: Lines = {
    policies: readings.map(({ policy }) => policy),
    limits: readings.map(({ limit }) => limit),
    names: described.map(({ name }) => name),
    text: inOnePiece(`RateLimit-Policy: ${described.map(({ policy }) => policy).join(", ")}\r\nRateLimit: `),
  };
  lines.set(first, made);
  return made;
}

function areOf({ policies, limits }: Lines, readings: readonly LimitReading[]): boolean {
  if (policies.length !== readings.length) return false;
  for (let i = 0; i < policies.length; i++) {
    const { policy, limit } = readings[i] as LimitReading;
    if (policies[i] !== policy || limits[i] !== limit) return false;
  }
  return true;
}

/**
 * Gives the header lines of a limited response, each ended by CRLF: X-RateLimit-* for the limit closest to its end, RateLimit-Policy and
 * RateLimit for all (draft-ietf-httpapi-ratelimit-headers). A limit in shadow is named only when it would have denied. `wallNow` in
 * milliseconds since 1970.
 */
export function limitHeaders(readings: readonly LimitReading[], wallNow: number): string {
  const inEarnest = readings.some(isInShadow) ? readings.filter((reading) => !isInShadow(reading)) : readings;
  let text = inEarnest === readings ? "" : shadowLine(readings);
  if (inEarnest.length === 0) return text;
  const { names, text: described } = linesOf(inEarnest);
  let closest = inEarnest[0] as LimitReading;
  let limits = "";
  for (let i = 0; i < inEarnest.length; i++) {
    const reading = inEarnest[i] as LimitReading;
    limits += `${i === 0 ? "" : ", "}${names[i]};r=${reading.remaining}`;
    if (reading.policy.counting.windowed) limits += `;t=${seconds(reading.resetIn)}`;
    if (i > 0 && isCloser(reading, closest)) closest = reading;
  }
  text += `X-RateLimit-Limit: ${closest.limit}\r\nX-RateLimit-Remaining: ${closest.remaining}\r\nX-RateLimit-Reset: ${resetAt(wallNow + closest.resetIn)}\r\n`;
  return `${text}${described}${limits}\r\n`;
}

const isInShadow = ({ policy }: LimitReading): boolean => policy.shadow;

/** Gives the line that names the limits in shadow that would have denied; empty where there are none. */
function shadowLine(readings: readonly LimitReading[]): string {
  const denied = readings.flatMap((reading, i) => {
    if (!reading.policy.shadow || !reading.denied) return [];
    const own = wordsOf(reading.policy, reading.limit);
    return [`${(isNamedBefore(readings, i) ? own.owned : own).name};denied`];
  });
  return denied.length === 0 ? "" : `X-RateLimit-Shadow: ${denied.join(", ")}\r\n`;
}

/** Tells whether an earlier limit in the same answer has this name: the caller's own stand first, the route's behind them. */
export function isNamedBefore(readings: readonly LimitReading[], index: number): boolean {
  const { name } = (readings[index] as LimitReading).policy;
  for (let i = 0; i < index; i++) if ((readings[i] as LimitReading).policy.name === name) return true;
  return false;
}

/**
 * Tells whether `a` comes before `b`: a limit that denies before one that does not, one with a window before one without, then the one with
 * the smaller share left.
 */
function isCloser(a: LimitReading, b: LimitReading): boolean {
  if (a.denied !== b.denied) return a.denied;
  const { windowed } = a.policy.counting;
  if (windowed !== b.policy.counting.windowed) return windowed;
  return a.remaining * b.limit < b.remaining * a.limit;
}

/** Gives the limits that denied a request in earnest. */
export function denying({ readings }: Pick<Verdict, "readings">): readonly LimitReading[] {
  // Nearly always the only one has.
  if (readings.length === 1 && isDenying(readings[0] as LimitReading)) return readings;
  return readings.filter(isDenying);
}

const isDenying = ({ denied, policy }: LimitReading): boolean => denied && !policy.shadow;

/** Gives the whole seconds after which to try again: at least 1, never before every limit in `denied` lets the request through. */
export function retryAfterSeconds(denied: readonly LimitReading[]): number {
  let most = 1;
  for (const { retryIn, resetIn } of denied) most = Math.max(most, seconds(Math.max(retryIn, resetIn)));
  return most;
}

/** Tells whether a quota denies, or money is spent: a limit's window opens soon, a quota's period may end next month. */
export const isQuota = (denied: readonly LimitReading[]): boolean =>
  denied.some(({ policy }) => policy.calendar !== null || isInMoney(policy));

/** Tells whether only DEGRADED is to blame: while NORMAL the request would have passed. */
export const isOnlyDegraded = (denied: readonly LimitReading[]): boolean => denied.every((reading) => reading.onlyDegraded);

/** Describes every limit that denied, for the problem's body. `money`: what the request may cost, in whole nano-dollars. */
export const violatedPolicies = (denied: readonly LimitReading[], wallNow: number, money = 0): ViolatedPolicy[] =>
  denied.map(({ policy, limit, used, resetIn, retryIn }) => ({
    name: policy.name,
    scope: scopeText(policy),
    limit: shownAmount(policy, limit),
    used: shownAmount(policy, used),
    ...(isInMoney(policy) ? { asked: shownAmount(policy, money) } : {}),
    unit: shownUnit(policy),
    reset: new Date(wallNow + Math.max(resetIn, retryIn)).toISOString(),
  }));
