import type { Algorithm, State } from "./algorithm.ts";
import { concurrency } from "./concurrency.ts";
import { fixedWindow } from "./fixed-window.ts";
import { gcra } from "./gcra.ts";
import { quota } from "./quota.ts";
import { slidingLog } from "./sliding-log.ts";
import { slidingWindow } from "./sliding-window.ts";
import { tokenBucket } from "./token-bucket.ts";

/** The algorithms that a limit can have, by the name that the configuration gives them: the only list of them. */
const OF_LIMITS = {
  "fixed-window": fixedWindow,
  "sliding-window": slidingWindow,
  "sliding-log": slidingLog,
  "token-bucket": tokenBucket,
  gcra,
  concurrency,
};

export type LimitAlgorithm = keyof typeof OF_LIMITS;
export type AlgorithmName = LimitAlgorithm | "quota";

/**
 * All algorithms; quotas have one of their own. The store keeps a policy's states beside its algorithm: a state is only read by the
 * algorithm that opened it.
 */
export const ALGORITHMS: Readonly<Record<AlgorithmName, Algorithm<State>>> = { ...OF_LIMITS, quota };

/** Gives the names of the limits' algorithms with this trait, in the order in which they are shown; all of them where no trait is given. */
export const algorithmsWith = (trait: (algorithm: Algorithm<State>) => boolean = () => true): LimitAlgorithm[] =>
  // The keys of the object above are its names.
  (Object.keys(OF_LIMITS) as LimitAlgorithm[]).filter((name) => trait(ALGORITHMS[name]));
