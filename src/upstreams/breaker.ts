/** Says when a breaker opens and closes. Times in milliseconds. */
export interface BreakerPolicy {
  /** The number of consecutive failures that open it. */
  readonly failureThreshold: number;
  /** The time for which it stays open before it lets a probe through; `null`: 1 s, doubled with each failed probe, up to 60 s. */
  readonly recoveryTimeout: number | null;
  /** The number of successful probes in a row that close it. */
  readonly successThreshold: number;
  /** The share of failures within `window` that opens it as well, above 0 up to 1; `null`: only consecutive failures count. */
  readonly failureRatio: number | null;
  readonly window: number;
  /** The number of requests within `window` below which the ratio says nothing. */
  readonly minimumRequests: number;
}

export type BreakerState = "closed" | "open" | "half-open";

/**
 * Names what made a breaker change: failures in a row, their share, its time, a health check that passed, that no other target was left, a
 * probe's result, a person, another instance; or another process of this gateway, which tells of the change itself.
 */
export type BreakerCause = "failures" | "ratio" | "recovery" | "health" | "last-resort" | "probe" | "admin" | "shared" | "process";

/** Holds what is known of one target: plain data, so that it can be listed, kept over a reload and shared. */
export interface Breaker {
  state: BreakerState;
  /** The number of failures in a row. */
  failures: number;
  /** The number of successful probes in a row. */
  successes: number;
  /** The number of probes that failed since it was closed last: they decide how long it stays open. */
  failedProbes: number;
  /** The time at which it came into its state. */
  since: number;
  /** True while a probe is under way. */
  isProbing: boolean;
  /** True when a health check found the target well since the breaker opened: one good probe closes it. */
  isVouchedFor: boolean;
  /** True when a person opened it: it stays open until a person closes it. */
  isHeld: boolean;
  /** Counts changes of state: the result of a request that began in an earlier state is ignored. */
  epoch: number;
  /** Requests and failures in slices of the window, the newest last. */
  readonly slices: { start: number; requests: number; failures: number }[];
}

/** The number of slices that a window is counted in: the ratio's span may be off by one of them. */
const SLICES = 10;

/** Milliseconds that a breaker without a fixed time stays open at first, and at most. */
const FIRST_RECOVERY = 1000;
const LONGEST_RECOVERY = 60_000;
/** The number of doublings after which the longest time is reached in any case: a bound for the exponent. */
const MAX_DOUBLINGS = 16;

export const newBreaker = (now: number): Breaker => ({
  state: "closed",
  failures: 0,
  successes: 0,
  failedProbes: 0,
  since: now,
  isProbing: false,
  isVouchedFor: false,
  isHeld: false,
  epoch: 1,
  slices: [],
});

/** Gives the milliseconds for which the breaker stays open this time. */
export const recoveryTime = ({ failedProbes }: Breaker, { recoveryTimeout }: BreakerPolicy): number =>
  recoveryTimeout ?? Math.min(LONGEST_RECOVERY, FIRST_RECOVERY * 2 ** Math.min(failedProbes, MAX_DOUBLINGS));

/** Tells whether a request would be let through now. Changes nothing. */
export function letsThrough(breaker: Breaker, policy: BreakerPolicy, now: number): boolean {
  switch (breaker.state) {
    case "closed":
      return true;
    case "open":
      return !breaker.isHeld && now - breaker.since >= recoveryTime(breaker, policy);
    case "half-open":
      return !breaker.isProbing;
  }
}

/** Gives the milliseconds until a request may be let through again; 0 when that is uncertain or now. */
export const reopensIn = (breaker: Breaker, policy: BreakerPolicy, now: number): number =>
  breaker.state === "open" && !breaker.isHeld ? Math.max(0, breaker.since + recoveryTime(breaker, policy) - now) : 0;

/**
 * Takes a place for one request: the probe's when the breaker is not closed. `cause`: the reason for which an open one lets it through.
 * Gives the ticket that `succeed`, `fail` or `withdraw` wants, exactly one of which must follow.
 */
export function enter(breaker: Breaker, now: number, tell: Tell, cause: "recovery" | "last-resort" = "recovery"): number {
  if (breaker.state === "open") change(breaker, "half-open", now, cause, tell);
  if (breaker.state === "half-open") breaker.isProbing = true;
  return breaker.epoch;
}

/** Notes that the request was answered. The time is asked for only where it matters: nearly every request comes by here. */
export function succeed(breaker: Breaker, policy: BreakerPolicy, ticket: number, clock: { now(): number }, tell: Tell): void {
  if (ticket !== breaker.epoch) return;
  if (breaker.state === "half-open") {
    breaker.isProbing = false;
    breaker.failures = 0;
    if (++breaker.successes >= policy.successThreshold || breaker.isVouchedFor) change(breaker, "closed", clock.now(), "probe", tell);
    return;
  }
  breaker.failures = 0;
  if (policy.failureRatio !== null) count(breaker, policy, clock.now(), 0);
}

/** Notes that the target failed the request. */
export function fail(breaker: Breaker, policy: BreakerPolicy, ticket: number, now: number, tell: Tell): void {
  if (ticket !== breaker.epoch) return;
  breaker.failures++;
  if (breaker.state === "half-open") {
    breaker.failedProbes++;
    change(breaker, "open", now, "probe", tell);
    return;
  }
  const isTooMany = policy.failureRatio !== null && count(breaker, policy, now, 1);
  if (breaker.failures >= policy.failureThreshold) change(breaker, "open", now, "failures", tell);
  else if (isTooMany) change(breaker, "open", now, "ratio", tell);
}

/** Gives back the place of a request that says nothing about the target: its caller gave up, or the gateway itself could not send it. */
export function withdraw(breaker: Breaker, ticket: number): void {
  if (ticket === breaker.epoch && breaker.state === "half-open") breaker.isProbing = false;
}

/**
 * Notes that a health check, which began at `began`, found the target well: an open breaker lets a probe through at once, and one good one
 * closes it. What a check saw before the breaker opened is ignored.
 */
export function vouchFor(breaker: Breaker, began: number, now: number, tell: Tell, cause: "health" | "process" = "health"): void {
  if (breaker.state === "closed" || breaker.isHeld || began < breaker.since) return;
  if (breaker.state === "open") change(breaker, "half-open", now, cause, tell);
  breaker.isVouchedFor = true;
}

/** Opens or closes the breaker by a person's decision. An open one stays so until it is closed again. */
export function setByHand(breaker: Breaker, state: "open" | "closed", now: number, tell: Tell): void {
  // One that failures have opened is told as well when it becomes a person's.
  if (breaker.state !== state || (state === "open" && !breaker.isHeld)) change(breaker, state, now, "admin", tell);
  breaker.isHeld = state === "open";
  if (state === "closed") breaker.failures = 0;
}

/** Describes what another instance, or another process of this gateway, says of its breaker for the same target. */
export interface Followed {
  readonly state: "open" | "closed";
  /** True when a person opened it there. */
  readonly isHeld: boolean;
  /** True when a person made this change, whatever it is. */
  readonly isByHand: boolean;
  readonly failedProbes: number;
  /** The time of the change, by this instance's clock. */
  readonly since: number;
}

/** Follows another's breaker. Gives false when it must not: a breaker that a person has opened is for a person to close. */
export function followAnother(breaker: Breaker, said: Followed, tell: Tell, cause: "shared" | "process" = "shared"): boolean {
  if (breaker.isHeld && !said.isByHand) return said.state === "open";
  if (breaker.state !== said.state) change(breaker, said.state, said.since, cause, tell);
  else if (said.state === "open") breaker.since = Math.max(breaker.since, said.since);
  breaker.isHeld = said.isHeld;
  // A probe that failed anywhere makes all of them wait for the longer time.
  if (said.state === "open") breaker.failedProbes = Math.max(breaker.failedProbes, said.failedProbes);
  return true;
}

/** Learns of each change of state, after it. */
export type Tell = (from: BreakerState, to: BreakerState, cause: BreakerCause) => void;

function change(breaker: Breaker, to: BreakerState, now: number, cause: BreakerCause, tell: Tell): void {
  const from = breaker.state;
  breaker.state = to;
  breaker.since = now;
  breaker.isProbing = false;
  breaker.isVouchedFor = false;
  breaker.isHeld = false;
  breaker.successes = 0;
  breaker.epoch++;
  if (to === "closed") {
    breaker.failures = 0;
    breaker.failedProbes = 0;
  }
  breaker.slices.length = 0;
  tell(from, to, cause);
}

/** Enters one result into the window. Gives true when the share of failures is reached. */
function count(breaker: Breaker, policy: BreakerPolicy, now: number, failures: 0 | 1): boolean {
  const { slices } = breaker;
  const width = policy.window / SLICES;
  const start = now - (now % width);
  let last = slices.at(-1);
  if (last === undefined || last.start !== start) {
    last = { start, requests: 0, failures: 0 };
    slices.push(last);
    while (slices[0] !== undefined && slices[0].start <= start - policy.window) slices.shift();
  }
  last.requests++;
  last.failures += failures;
  if (failures === 0) return false;
  let requests = 0;
  let failed = 0;
  for (const slice of slices) {
    requests += slice.requests;
    failed += slice.failures;
  }
  return requests >= policy.minimumRequests && failed / requests >= (policy.failureRatio ?? 1);
}
