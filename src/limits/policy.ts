import { parseDuration } from "../values/units.ts";
import { type Algorithm, type Numbers, type State, usualTerms } from "./algorithms/algorithm.ts";
import { ALGORITHMS, type AlgorithmName } from "./algorithms/registry.ts";
import { Calendar, type PeriodKind } from "./calendar.ts";
import { amountOf, type LimitConfig, type QuotaConfig } from "./settings.ts";

/** Says whose limit it is. */
export interface Scope {
  readonly kind: "tier" | "consumer" | "key" | "route";
  readonly name: string;
}

/** Holds the numbers of a limit that are in force. */
export interface Terms {
  readonly limit: number;
  /** The tokens that a token bucket gets per millisecond. */
  readonly perMs: number;
}

/** What a limit counts: requests by their cost, what responses report, or money in whole nano-dollars. */
export type Unit = "requests" | "usage" | "usd";

/** Describes one limit, ready for use: durations parsed, defaults filled in. */
export interface Policy {
  /**
   * The name under which the store keeps its counts. The limit's numbers are no part of it, so that changing them keeps what was counted.
   */
  readonly id: string;
  readonly name: string;
  readonly scope: Scope;
  readonly algorithm: AlgorithmName;
  /** The algorithm of that name, looked up at load time. */
  readonly counting: Algorithm<State>;
  /** Milliseconds; 0 where the algorithm has no window. A quota's periods have about this length. */
  readonly window: number;
  /** A quota's periods; `null` for limits. */
  readonly calendar: Calendar | null;
  /** The terms in force while the system is NORMAL, and while it is DEGRADED. */
  readonly normal: Terms;
  readonly reduced: Terms;
  /** True when windows begin at multiples of the window since 1970. */
  readonly aligned: boolean;
  /** The whole milliseconds by which the time since 1970 is ahead of the algorithm's `now`: whoever counts an aligned limit keeps it. */
  ahead: number;
  /** The parts of the subject; when empty, consumers are counted where there is a key, and IPs where there is none. */
  readonly by: readonly string[];
  /** The unit of its numbers: of "usd" whole nano-dollars. */
  readonly unit: Unit;
  /** The cost of one request; `null` for the route's cost, or for what a call of a model may cost in money. */
  readonly cost: number | null;
  /** True when what a request took is corrected afterwards by what its response said it cost: for "usage" and "usd". */
  readonly isMetered: boolean;
  readonly shadow: boolean;
  /** True when counts survive a restart: windows of an hour and more. */
  readonly durable: boolean;
}

/** Tells people whose limit it is. */
export const scopeText = ({ scope }: Pick<Policy, "scope">): string => `${scope.kind} ${scope.name}`;

const HOUR = 3_600_000;
const UNITS: readonly (readonly [milliseconds: number, name: string])[] = [
  [86_400_000, "day"],
  [HOUR, "hour"],
  [60_000, "minute"],
  [1000, "second"],
];

/**
 * Makes policies from validated configuration. Limits without a name are named after their window; equal names get a number behind them.
 */
export function compilePolicies(configs: readonly LimitConfig[], scope: Scope): Policy[] {
  const taken = new Set<string>();
  return configs.map((config) => {
    const counting = ALGORITHMS[config.algorithm];
    const window = config.window === undefined ? 0 : parseDuration(config.window);
    const wanted = config.name ?? defaultName(config, window);
    let name = wanted;
    for (let n = 2; taken.has(name); n++) name = `${wanted}-${n}`;
    taken.add(name);
    const by = config.by === undefined ? [] : typeof config.by === "string" ? [config.by] : config.by;
    const aligned = config.align === "clock";
    const unit = unitOf(config.cost);
    return {
      id: idOf([scope.kind, scope.name, name, config.algorithm, window, aligned, by.join()], unit),
      name,
      scope,
      algorithm: config.algorithm,
      counting,
      window,
      calendar: null,
      ...(counting.terms ?? usualTerms)(numbersOf(config), window),
      aligned,
      ahead: 0,
      by,
      unit,
      // What is in flight are exchanges: a dear one is one of them all the same, unless the limit itself says otherwise.
      cost: typeof config.cost === "number" ? config.cost : counting.holds ? 1 : null,
      isMetered: unit !== "requests",
      shadow: config.shadow ?? false,
      durable: window >= HOUR,
    };
  });
}

const PERIODS: Readonly<Record<PeriodKind, { name: string; usual: number }>> = {
  day: { name: "daily", usual: 24 * HOUR },
  week: { name: "weekly", usual: 7 * 24 * HOUR },
  month: { name: "monthly", usual: 31 * 24 * HOUR },
};

/** Makes policies from validated quotas. The id has neither the zone nor the anchor in it: changing them begins a new period, if any. */
export function compileQuotas(configs: readonly QuotaConfig[], scope: Scope): Policy[] {
  const taken = new Set<string>();
  return configs.map((config) => {
    const { name: wanted, usual } = PERIODS[config.period];
    let name = config.name ?? wanted;
    for (let n = 2; taken.has(name); n++) name = `${config.name ?? wanted}-${n}`;
    taken.add(name);
    const terms = { limit: amountOf(config.limit), perMs: 0 };
    const unit = unitOf(config.cost);
    return {
      id: idOf([scope.kind, scope.name, name, "quota", 0, false, ""], unit),
      name,
      scope,
      algorithm: "quota",
      counting: ALGORITHMS.quota,
      window: usual,
      calendar: new Calendar({ period: config.period, timezone: config.timezone ?? "UTC", anchor: config.anchor ?? 1 }),
      normal: terms,
      reduced: terms,
      aligned: false,
      ahead: 0,
      by: [],
      unit,
      cost: null,
      isMetered: unit !== "requests",
      shadow: false,
      durable: true,
    };
  });
}

const unitOf = (cost: LimitConfig["cost"]): Unit => (cost === "usage" || cost === "usd" ? cost : "requests");

/** Gives the name that the store keeps counts under: what was counted in requests is never taken for money. */
const idOf = (parts: readonly unknown[], unit: Unit): string => JSON.stringify(unit === "usd" ? [...parts, unit] : parts);

function numbersOf({ limit, burst, degraded }: LimitConfig): Numbers {
  return {
    limit: amountOf(limit),
    ...(burst === undefined ? {} : { burst: amountOf(burst) }),
    ...(degraded === undefined ? {} : { degraded: amountOf(degraded) }),
  };
}

/**
 * Gives what a request takes from a limit. `cost`: what it takes where the limit has no cost of its own; `money`: the same in whole nano-dollars,
 * for a limit in money.
 */
export const chargeOf = ({ cost: own, unit }: Policy, cost: number, money: number): number => own ?? (unit === "usd" ? money : cost);

function defaultName(config: LimitConfig, window: number): string {
  if (config.window === undefined) return config.algorithm;
  const unit = UNITS.find(([milliseconds]) => milliseconds === window);
  return unit === undefined ? `per-${config.window}` : `per-${unit[1]}`;
}

/** Gives the terms in force now: `burst` (or `limit`) while NORMAL, `degraded` while DEGRADED. */
export const termsOf = (policy: Policy, isDegraded: boolean): Terms => (isDegraded ? policy.reduced : policy.normal);
