import type { LimitConfig } from "../config/schema.ts";
import { parseDuration } from "../config/units.ts";

export type AlgorithmName = LimitConfig["algorithm"];

/** Whose limit it is. */
export interface Scope {
  readonly kind: "tier" | "consumer" | "key" | "route";
  readonly name: string;
}

/** The numbers of a limit that are in force. */
export interface Terms {
  readonly limit: number;
  /** How many a token bucket gets per millisecond. */
  readonly perMs: number;
}

/** One limit, ready for use: durations parsed, defaults filled in. */
export interface Policy {
  /** What is counted under. The limit's numbers are no part of it, so that changing them keeps what was counted. */
  readonly id: string;
  readonly name: string;
  readonly scope: Scope;
  readonly algorithm: AlgorithmName;
  /** Milliseconds; 0 for concurrency. */
  readonly window: number;
  /** In force while the system is NORMAL, and while it is DEGRADED. */
  readonly normal: Terms;
  readonly reduced: Terms;
  /** Windows begin at multiples of the window since 1970. */
  readonly aligned: boolean;
  /** Empty: by consumer with a key, by IP without. */
  readonly by: readonly string[];
  /** What one request costs, or `null` for the route's cost. */
  readonly cost: number | null;
  readonly shadow: boolean;
  /** Counts survive a restart: windows of an hour and more. */
  readonly durable: boolean;
}

const HOUR = 3_600_000;
const UNITS: readonly (readonly [milliseconds: number, name: string])[] = [
  [86_400_000, "day"],
  [HOUR, "hour"],
  [60_000, "minute"],
  [1000, "second"],
];

/** Policies from validated configuration. Limits without a name are named after their window; equal names get a number behind them. */
export function compilePolicies(configs: readonly LimitConfig[], scope: Scope): Policy[] {
  const taken = new Set<string>();
  return configs.map((config) => {
    const window = config.window === undefined ? 0 : parseDuration(config.window);
    const wanted = config.name ?? defaultName(config, window);
    let name = wanted;
    for (let n = 2; taken.has(name); n++) name = `${wanted}-${n}`;
    taken.add(name);
    const by = config.by === undefined ? [] : typeof config.by === "string" ? [config.by] : config.by;
    const degraded = config.degraded ?? config.limit;
    const aligned = config.align === "clock";
    return {
      id: JSON.stringify([scope.kind, scope.name, name, config.algorithm, window, aligned, by.join()]),
      name,
      scope,
      algorithm: config.algorithm,
      window,
      normal: { limit: config.burst ?? config.limit, perMs: config.limit / window },
      reduced: { limit: degraded, perMs: degraded / window },
      aligned,
      by,
      cost: config.cost ?? null,
      shadow: config.shadow ?? false,
      durable: window >= HOUR,
    };
  });
}

function defaultName(config: LimitConfig, window: number): string {
  if (config.algorithm === "concurrency") return "concurrency";
  const unit = UNITS.find(([milliseconds]) => milliseconds === window);
  return unit === undefined ? `per-${config.window}` : `per-${unit[1]}`;
}

/** What is in force now: `burst` (or `limit`) while NORMAL, `degraded` while DEGRADED. */
export const termsOf = (policy: Policy, isDegraded: boolean): Terms => (isDegraded ? policy.reduced : policy.normal);
