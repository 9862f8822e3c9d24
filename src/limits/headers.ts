import type { LimitReading, Verdict } from "./limiter.ts";
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
  const { windowed, unit } = policy.counting;
  const span = (windowed ? `;w=${seconds(policy.window)}` : "") + (unit === null ? "" : `;qu="${unit}"`);
  const called = (text: string) => {
    const name = `"${text.replace(/[\\"]/g, "\\$&")}"`;
    return { name, policy: `${name};q=${limit}${span}` };
  };
  const made = { limit, ...called(policy.name), owned: called(`${scopeText(policy)}: ${policy.name}`) };
  words.set(policy, made);
  return made;
}

const seconds = (milliseconds: number): number => Math.ceil(milliseconds / 1000);

/**
 * Gives the header lines of a limited response, each ended by CRLF: X-RateLimit-* for the limit closest to its end, RateLimit-Policy and
 * RateLimit for all (draft-ietf-httpapi-ratelimit-headers). A limit in shadow is named only when it would have denied. `wallNow` in
 * milliseconds since 1970.
 */
export function limitHeaders(readings: readonly LimitReading[], wallNow: number): string {
  let policies = "";
  let limits = "";
  let shadow = "";
  let closest: LimitReading | null = null;
  for (let i = 0; i < readings.length; i++) {
    const reading = readings[i] as LimitReading;
    const { policy } = reading;
    const known = wordsOf(policy, reading.limit);
    const { name, policy: described } = isNamedBefore(readings, i) ? known.owned : known;
    if (policy.shadow) {
      if (reading.denied) shadow += `${shadow === "" ? "" : ", "}${name};denied`;
      continue;
    }
    const comma = policies === "" ? "" : ", ";
    policies += comma + described;
    limits += `${comma}${name};r=${reading.remaining}`;
    if (policy.counting.windowed) limits += `;t=${seconds(reading.resetIn)}`;
    if (closest === null || isCloser(reading, closest)) closest = reading;
  }
  let text = shadow === "" ? "" : `X-RateLimit-Shadow: ${shadow}\r\n`;
  if (closest !== null) {
    text += `X-RateLimit-Limit: ${closest.limit}\r\nX-RateLimit-Remaining: ${closest.remaining}\r\nX-RateLimit-Reset: ${seconds(wallNow + closest.resetIn)}\r\n`;
    text += `RateLimit-Policy: ${policies}\r\nRateLimit: ${limits}\r\n`;
  }
  return text;
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

const denying = (verdict: Verdict): LimitReading[] => verdict.readings.filter((reading) => reading.denied && !reading.policy.shadow);

/** Gives the whole seconds after which to try again: at least 1, never before every limit that denied lets the request through. */
export const retryAfterSeconds = (verdict: Verdict): number =>
  Math.max(1, ...denying(verdict).map((reading) => seconds(Math.max(reading.retryIn, reading.resetIn))));

/** Tells whether a quota denies: a limit's window opens soon, a quota's period may end next month. */
export const isQuota = (verdict: Verdict): boolean => denying(verdict).some((reading) => reading.policy.calendar !== null);

/** Tells whether only DEGRADED is to blame: while NORMAL the request would have passed. */
export const isOnlyDegraded = (verdict: Verdict): boolean => denying(verdict).every((reading) => reading.onlyDegraded);

/** Lists every limit that denied, for the problem's body. */
export const violatedPolicies = (verdict: Verdict, wallNow: number) =>
  denying(verdict).map(({ policy, limit, used, resetIn, retryIn }) => ({
    name: policy.name,
    scope: scopeText(policy),
    limit,
    used,
    reset: new Date(wallNow + Math.max(resetIn, retryIn)).toISOString(),
  }));
