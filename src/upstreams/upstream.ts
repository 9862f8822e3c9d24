import type { UpstreamConfig } from "../config/schema.ts";
import { parseDuration } from "../config/units.ts";
import { type Origin, originOf } from "./client.ts";

/** One backend address, taken apart once. */
export interface Target {
  readonly url: string;
  readonly origin: Origin;
  /** What the Host field says. */
  readonly host: string;
  /** The path before every forwarded path, without a slash at its end. */
  readonly basePath: string;
  readonly weight: number;
}

/** The targets that serve a route, and which of them is next. */
export interface Upstream {
  readonly name: string;
  readonly targets: readonly Target[];
  /** Milliseconds. */
  readonly connectTimeout: number;
  /** The target for the next request. */
  next(): Target;
}

export function compileTarget(url: string, weight = 1): Target {
  const parsed = new URL(url);
  const tls = parsed.protocol === "https:";
  return {
    url,
    origin: originOf(parsed.hostname.replace(/^\[|\]$/g, ""), Number(parsed.port) || (tls ? 443 : 80), tls),
    host: parsed.host,
    basePath: parsed.pathname.replace(/\/$/, ""),
    weight,
  };
}

/** An upstream from its configuration, which was validated before. */
export function compileUpstream(name: string, config: UpstreamConfig): Upstream {
  const targets = config.targets.map((target) => compileTarget(target.url, target.weight));
  return { name, targets, connectTimeout: parseDuration(config.connectTimeout), next: roundRobin(targets) };
}

/**
 * Smooth weighted round-robin: in each round every target gets its weight, spread over the round instead of in runs.
 * The algorithm is nginx's: each target gains its weight, the richest one is taken and pays the sum.
 */
export function roundRobin<T extends { readonly weight: number }>(targets: readonly T[]): () => T {
  const [only] = targets;
  if (only === undefined) throw new Error("an upstream needs a target");
  if (targets.length === 1) return () => only;
  const credit = targets.map(() => 0);
  const sum = targets.reduce((total, target) => total + target.weight, 0);
  return () => {
    let best = 0;
    for (let i = 0; i < targets.length; i++) {
      credit[i] = (credit[i] as number) + (targets[i] as T).weight;
      if ((credit[i] as number) > (credit[best] as number)) best = i;
    }
    credit[best] = (credit[best] as number) - sum;
    return targets[best] as T;
  };
}
