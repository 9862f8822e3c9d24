/** Names what a balancer must know of a target. */
export interface Balanced {
  readonly url: string;
  readonly weight: number;
  /** The number of exchanges with it that are under way. */
  readonly inFlight: number;
}

/** Gives one of the targets that `isAvailable`, or `null` when there is none. `hash`: of what tells the caller from others. */
export type Balancer<T extends Balanced> = (hash: number, isAvailable: (target: T) => boolean, weightOf: (target: T) => number) => T | null;

export type Balance = "round-robin" | "least-requests" | "consistent-hash";

export function balancerOf<T extends Balanced>(balance: Balance, targets: readonly T[]): Balancer<T> {
  const [only] = targets;
  if (only !== undefined && targets.length === 1) return (_hash, isAvailable) => (isAvailable(only) ? only : null);
  switch (balance) {
    case "round-robin":
      return roundRobin(targets);
    case "least-requests":
      return leastRequests(targets);
    case "consistent-hash":
      return consistentHash(targets);
  }
}

/**
 * Makes a smooth weighted round-robin: in each round every available target gets its weight, spread over the round instead of in runs. The
 * algorithm is nginx's: each target gains its weight, the richest one is taken and pays the sum.
 */
export function roundRobin<T extends Balanced>(targets: readonly T[]): Balancer<T> {
  const credit = targets.map(() => 0);
  return (_hash, isAvailable, weightOf) => {
    let best = -1;
    let sum = 0;
    for (let i = 0; i < targets.length; i++) {
      const target = targets[i] as T;
      if (!isAvailable(target)) continue;
      const weight = weightOf(target);
      sum += weight;
      credit[i] = (credit[i] as number) + weight;
      if (best < 0 || (credit[i] as number) > (credit[best] as number)) best = i;
    }
    if (best < 0) return null;
    credit[best] = (credit[best] as number) - sum;
    return targets[best] as T;
  };
}

/** Makes a balancer that gives the target with the fewest exchanges under way for its weight; among equals each in turn. */
export function leastRequests<T extends Balanced>(targets: readonly T[]): Balancer<T> {
  let turn = 0;
  return (_hash, isAvailable, weightOf) => {
    let best: T | null = null;
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < targets.length; i++) {
      const at = (turn + i) % targets.length;
      const target = targets[at] as T;
      if (!isAvailable(target)) continue;
      const load = (target.inFlight + 1) / weightOf(target);
      if (load < least) {
        least = load;
        best = target;
      }
    }
    turn = (turn + 1) % targets.length;
    return best;
  };
}

/**
 * Makes a balancer by weighted rendezvous hashing: each target draws a number from the caller's hash, and the highest one for its weight
 * wins. When a target goes, only its callers are spread over the rest, and they come back with it (D. Thaler, C. Ravishankar, "Using
 * Name-Based Mappings to Increase Hit Rates", 1998; weights as in IETF draft-ietf-bess-weighted-hrw).
 */
export function consistentHash<T extends Balanced>(targets: readonly T[]): Balancer<T> {
  const seeds = targets.map((target) => hashOf(target.url));
  return (hash, isAvailable, weightOf) => {
    let best: T | null = null;
    let max = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < targets.length; i++) {
      const target = targets[i] as T;
      if (!isAvailable(target)) continue;
      const score = -weightOf(target) / Math.log((mix(hash ^ (seeds[i] as number)) + 0.5) / 4294967296);
      if (score > max) {
        max = score;
        best = target;
      }
    }
    return best;
  };
}

/** Gives 32 bits that stand for a text. */
export const hashOf = (text: string): number => Bun.hash.xxHash32(text);

/** Spreads 32 bits over all of them (the finalizer of MurmurHash3). */
function mix(bits: number): number {
  let h = bits >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
