/** What a key of a pool may be used for. Times in milliseconds. */
export interface Budget {
  /** `requests`: each grant takes one; `tokens`: each takes its cost. */
  readonly of: "requests" | "tokens";
  readonly limit: number;
  readonly window: number;
}

export interface PoolKey {
  readonly id: string;
  /** What is handed out; `null`: the id itself. */
  readonly secret: string | null;
  readonly budgets: readonly Budget[];
}

export type Strategy = "in-order" | "most-remaining" | "round-robin";

export interface PoolPolicy {
  readonly name: string;
  readonly strategy: Strategy;
  readonly keys: readonly PoolKey[];
  /** What a grant for a service costs. */
  readonly services: ReadonlyMap<string, number>;
}

/** What one budget has given in its window: plain numbers, so that they can be kept. */
export interface Spent {
  /** When the window opened; it opens with the first grant. */
  start: number;
  used: number;
}

/** What all keys of a pool have given, by key and budget; and whose turn it is. */
export interface PoolState {
  readonly spent: Map<string, Spent[]>;
  turn: number;
}

export type Lease =
  | {
      readonly granted: true;
      readonly key: PoolKey /** Tokens that are left to the key in its tightest window. */;
      readonly remaining: number;
    }
  /** Milliseconds until the first window reopens that would let the cost through; infinite when none ever will. */
  | { readonly granted: false; readonly retryIn: number };

export const newPoolState = (): PoolState => ({ spent: new Map(), turn: 0 });

/** The state of a key, made when there is none. */
export function spentOf(state: PoolState, key: PoolKey): Spent[] {
  let spent = state.spent.get(key.id);
  if (spent === undefined || spent.length !== key.budgets.length) {
    spent = key.budgets.map(() => ({ start: 0, used: 0 }));
    state.spent.set(key.id, spent);
  }
  return spent;
}

const usedNow = (spent: Spent, window: number, now: number): number => (now < spent.start + window && spent.start <= now ? spent.used : 0);

const costOf = (budget: Budget, cost: number): number => (budget.of === "requests" ? 1 : cost);

/** Whole tokens left to a key: of its tightest token budget, or of its requests when it has none. */
export function remainingOf(state: PoolState, key: PoolKey, now: number): number {
  const spent = spentOf(state, key);
  let least = Number.POSITIVE_INFINITY;
  const hasTokens = key.budgets.some((budget) => budget.of === "tokens");
  for (const [i, budget] of key.budgets.entries()) {
    if (hasTokens && budget.of !== "tokens") continue;
    least = Math.min(least, Math.max(0, budget.limit - usedNow(spent[i] as Spent, budget.window, now)));
  }
  return least;
}

/** Whether every budget of a key still holds the whole cost. */
function holds(state: PoolState, key: PoolKey, cost: number, now: number): boolean {
  const spent = spentOf(state, key);
  return key.budgets.every((budget, i) => usedNow(spent[i] as Spent, budget.window, now) + costOf(budget, cost) <= budget.limit);
}

/** Milliseconds until a key would let the cost through, if nothing else is taken from it. */
function opensIn(state: PoolState, key: PoolKey, cost: number, now: number): number {
  const spent = spentOf(state, key);
  let longest = 0;
  for (const [i, budget] of key.budgets.entries()) {
    const asked = costOf(budget, cost);
    if (asked > budget.limit) return Number.POSITIVE_INFINITY;
    const { start } = spent[i] as Spent;
    if (usedNow(spent[i] as Spent, budget.window, now) + asked > budget.limit) longest = Math.max(longest, start + budget.window - now);
  }
  return longest;
}

/** Takes `cost` from a key whose budgets all hold it, or from none. Pure over (policy, state, cost, now): a window opens with the first grant in it. */
export function lease(policy: PoolPolicy, state: PoolState, cost: number, now: number): Lease {
  const key = choose(policy, state, cost, now);
  if (key === null) return { granted: false, retryIn: Math.min(...policy.keys.map((each) => opensIn(state, each, cost, now))) };
  const spent = spentOf(state, key);
  for (const [i, budget] of key.budgets.entries()) {
    const its = spent[i] as Spent;
    if (usedNow(its, budget.window, now) === 0) {
      its.start = now;
      its.used = 0;
    }
    its.used += costOf(budget, cost);
  }
  return { granted: true, key, remaining: remainingOf(state, key, now) };
}

function choose({ strategy, keys }: PoolPolicy, state: PoolState, cost: number, now: number): PoolKey | null {
  switch (strategy) {
    case "in-order":
      return keys.find((key) => holds(state, key, cost, now)) ?? null;
    case "most-remaining": {
      let best: PoolKey | null = null;
      let most = -1;
      for (const key of keys) {
        const remaining = remainingOf(state, key, now);
        if (remaining > most && holds(state, key, cost, now)) [best, most] = [key, remaining];
      }
      return best;
    }
    case "round-robin": {
      for (let i = 0; i < keys.length; i++) {
        const at = (state.turn + i) % keys.length;
        const key = keys[at] as PoolKey;
        if (!holds(state, key, cost, now)) continue;
        state.turn = (at + 1) % keys.length;
        return key;
      }
      return null;
    }
  }
}
