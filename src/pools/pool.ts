/** Says how much a key of a pool may be used. Times in milliseconds. */
export interface Budget {
  /** `requests`: each grant takes one; `tokens` and `usd`: each takes its cost. */
  readonly of: "requests" | "tokens" | "usd";
  /** Requests, tokens or whole nano-dollars. */
  readonly limit: number;
  readonly window: number;
}

export interface PoolKey {
  readonly id: string;
  /** The secret that is handed out; `null` for the id itself. */
  readonly secret: string | null;
  /** Tells one secret from another, and does not give it away. */
  readonly mark: string;
  readonly budgets: readonly Budget[];
}

/** Says what a request takes of a key, or has used of it. */
export interface Cost {
  readonly tokens: number;
  /**
   * Whole nano-dollars. `null`: it can't be said in money, and budgets in money are left out; infinite: its model has no price, and no
   * budget in money holds it.
   */
  readonly usd: number | null;
}

export type Strategy = "in-order" | "most-remaining" | "round-robin";

export interface PoolPolicy {
  readonly name: string;
  readonly strategy: Strategy;
  readonly keys: readonly PoolKey[];
  /** The cost of a grant, by service. */
  readonly services: ReadonlyMap<string, number>;
}

/**
 * Holds what was taken from one budget in its window: plain, so that it can be kept. A budget is known by what it counts and for how long:
 * its limit may change.
 */
export interface Spent {
  readonly of: Budget["of"];
  readonly window: number;
  /** The time at which the window opened, with the first grant in it. */
  start: number;
  used: number;
  /** Of nano-dollars alone: what requests have used of them that are over. `used` also holds what is reserved for those under way. */
  settled?: number;
}

/** Holds what the upstream's refusals say of a key: plain, so that it can be kept. Times in milliseconds. */
export interface Standing {
  /** The mark of the secret that the refusals are about. */
  readonly of: string;
  /** The time before which the key is not used, after a 429 of the upstream. */
  restUntil: number;
  /** The number of 429s in a row that named no time. */
  rests: number;
  /** In quarantine (401, 402, 403): the time from which on one request tries the key again. `null`: not in quarantine. */
  probeAt: number | null;
  /** The number of refusals in a row that put it in quarantine. */
  refusals: number;
  /** The number of refusals (401, 402, 403) in a row that nothing has confirmed to be about the key. */
  doubts: number;
  /** The upstream's last refusal. */
  lastError: { readonly status: number; readonly at: number } | null;
}

/** Says since when a key is tried out, and which process does so. */
export interface Probe {
  readonly since: number;
  readonly by: string;
}

/** Holds what was taken from all keys of a pool, by key and budget; which of them the upstream refuses; and whose turn it is. */
export interface PoolState {
  readonly spent: Map<string, Spent[]>;
  readonly standing: Map<string, Standing>;
  /** Keys in quarantine that a request is trying out. */
  readonly probing: Map<string, Probe>;
  turn: number;
}

/** Says how much was taken from one window of a budget. */
export interface Taken {
  readonly of: Budget["of"];
  readonly window: number;
  readonly start: number;
  readonly amount: number;
}

/** Says what was taken from a key, so that it can be corrected later. */
export interface Grant {
  readonly key: PoolKey;
  /** The windows that it was taken out of, in the order in which that was: a grant that grows may take from a later window too. */
  from: readonly Taken[];
}

export type Lease =
  | {
      readonly granted: true;
      readonly grant: Grant;
      /** What is left to the key in its tightest window; see `remainingOf`. */
      readonly remaining: number;
    }
  /** A denial, with the milliseconds until the first window reopens that would let the cost through; infinite when none ever will. */
  | { readonly granted: false; readonly retryIn: number };

/** Says which keys may be used. */
export interface Choice {
  /** Ids of keys that must not be used. */
  readonly without: readonly string[];
  /** True when a key in quarantine may be tried out, if its time has come. */
  readonly mayProbe: boolean;
}

/** Milliseconds after which a probe without a result no longer keeps other probes away. */
const LONGEST_PROBE = 60_000;

const ANY: Choice = { without: [], mayProbe: false };

export const newPoolState = (): PoolState => ({ spent: new Map(), standing: new Map(), probing: new Map(), turn: 0 });

/** Gives what was taken from a key's budgets, and makes the record when there is none. */
export function spentOf(state: PoolState, key: PoolKey): Spent[] {
  const before = state.spent.get(key.id);
  if (before !== undefined && isOf(before, key.budgets)) return before;
  const left = [...(before ?? [])];
  const spent = key.budgets.map(({ of, window }): Spent => {
    const at = left.findIndex((each) => each.of === of && each.window === window);
    return at < 0 ? { of, window, start: 0, used: 0 } : (left.splice(at, 1)[0] as Spent);
  });
  state.spent.set(key.id, spent);
  return spent;
}

/** Tells whether counts are those of these budgets, in their order. */
function isOf(spent: readonly Spent[], budgets: readonly Budget[]): boolean {
  if (spent.length !== budgets.length) return false;
  for (let i = 0; i < spent.length; i++) {
    const [one, other] = [spent[i] as Spent, budgets[i] as Budget];
    if (one.of !== other.of || one.window !== other.window) return false;
  }
  return true;
}

const usedNow = (spent: Spent, window: number, now: number): number => (now < spent.start + window && spent.start <= now ? spent.used : 0);

/** Gives what a cost takes from a budget; `null`: the budget is left out. */
const asked = ({ of }: Budget, { tokens, usd }: Cost): number | null => (of === "requests" ? 1 : of === "tokens" ? tokens : usd);

/** Tells what is said to be left of a key: tokens where it has a budget of them, otherwise money, otherwise requests. */
export function unitOf({ budgets }: PoolKey): Budget["of"] {
  let unit: Budget["of"] = "requests";
  for (const { of } of budgets) {
    if (of === "tokens") return of;
    if (of === "usd") unit = of;
  }
  return unit;
}

/** Gives what is left to a key of its tightest budget of its unit; see `unitOf`. */
export function remainingOf(state: PoolState, key: PoolKey, now: number): number {
  const spent = spentOf(state, key);
  const unit = unitOf(key);
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < spent.length; i++) {
    const { of, limit, window } = key.budgets[i] as Budget;
    if (of === unit) least = Math.min(least, Math.max(0, limit - usedNow(spent[i] as Spent, window, now)));
  }
  return least;
}

/** Tells whether the upstream takes a key, as far as is known. */
function isUsable(state: PoolState, key: PoolKey, now: number, { without, mayProbe }: Choice): boolean {
  const { id } = key;
  if (without.includes(id)) return false;
  const standing = standingOf(state, key);
  if (standing === undefined) return true;
  if (now < standing.restUntil) return false;
  if (standing.probeAt === null) return true;
  const since = state.probing.get(id)?.since;
  // A probe that nobody hears of again must not keep the key out for ever.
  return mayProbe && now >= standing.probeAt && (since === undefined || now >= since + LONGEST_PROBE);
}

/** Tells whether a key may be used and every budget of it still holds the whole cost. */
function holds(state: PoolState, key: PoolKey, cost: Cost, now: number, choice: Choice): boolean {
  if (!isUsable(state, key, now, choice)) return false;
  const spent = spentOf(state, key);
  for (let i = 0; i < spent.length; i++) {
    const budget = key.budgets[i] as Budget;
    const amount = asked(budget, cost);
    if (amount !== null && usedNow(spent[i] as Spent, budget.window, now) + amount > budget.limit) return false;
  }
  return true;
}

/** Gives the milliseconds until a key would let the cost through, if nothing else is taken from it; infinite when it never will. */
function opensIn(state: PoolState, key: PoolKey, cost: Cost, now: number): number {
  const spent = spentOf(state, key);
  const standing = standingOf(state, key);
  let longest = standing === undefined ? 0 : Math.max(0, standing.restUntil - now, (standing.probeAt ?? now) - now);
  for (const [i, budget] of key.budgets.entries()) {
    const amount = asked(budget, cost);
    if (amount === null) continue;
    if (amount > budget.limit) return Number.POSITIVE_INFINITY;
    const { start } = spent[i] as Spent;
    if (usedNow(spent[i] as Spent, budget.window, now) + amount > budget.limit) longest = Math.max(longest, start + budget.window - now);
  }
  return longest;
}

/** Gives the milliseconds until the first key would let the cost through; infinite when none ever will. */
export const opensNext = ({ keys }: PoolPolicy, state: PoolState, cost: Cost, now: number): number =>
  Math.min(...keys.map((key) => opensIn(state, key, cost, now)));

/**
 * Takes `cost` from a key whose budgets all hold it, or from none. Pure over (policy, state, cost, now): a window opens with the first
 * grant in it. `by`: the process that tries a key out, if one must be.
 */
export function lease(policy: PoolPolicy, state: PoolState, cost: Cost, now: number, choice: Choice = ANY, by = ""): Lease {
  const key = choose(policy, state, cost, now, choice);
  if (key === null) return { granted: false, retryIn: opensNext(policy, state, cost, now) };
  const spent = spentOf(state, key);
  const from: Taken[] = [];
  for (let i = 0; i < spent.length; i++) {
    const amount = asked(key.budgets[i] as Budget, cost);
    if (amount !== null) from.push(taken(spent[i] as Spent, amount, now));
  }
  if (standingOf(state, key)?.probeAt != null) state.probing.set(key.id, { since: now, by });
  return { granted: true, grant: { key, from }, remaining: remainingOf(state, key, now) };
}

/** Takes an amount from a budget's window, which opens where none is open. */
function taken(spent: Spent, amount: number, now: number): Taken {
  if (usedNow(spent, spent.window, now) === 0) {
    spent.start = now;
    spent.used = 0;
    if (spent.of === "usd") spent.settled = 0;
  }
  spent.used += amount;
  return { of: spent.of, window: spent.window, start: spent.start, amount };
}

/**
 * Takes more nano-dollars from every budget in money of a grant's key, or from none. Gives what the grant is then taken from; `null`: not all
 * of them hold it. Of a budget whose window has closed since then the next window pays for the rest.
 */
export function growth(state: PoolState, { key, from }: Grant, usd: number, now: number): readonly Taken[] | null {
  const isOurs = ({ of, window }: Spent) => of === "usd" && from.some((each) => each.of === of && each.window === window);
  // Not by `spentOf`: the grant may be of a configuration before, whose budgets are not those that are counted now.
  const ours = (state.spent.get(key.id) ?? []).filter(isOurs);
  for (const each of ours)
    for (const { of, window, limit } of key.budgets)
      if (of === each.of && window === each.window && usedNow(each, window, now) + usd > limit) return null;
  return [...from, ...ours.map((each) => taken(each, usd, now))];
}

/**
 * Replaces what was reserved by what was used: `used.usd` null: what was reserved of money stays. `requests`: the number of requests that
 * were made in all. A window that has closed since then is left alone, since the upstream counted the request when it came.
 */
export function settle(state: PoolState, { key, from }: Grant, used: Cost, requests: number): void {
  const spent = state.spent.get(key.id) ?? [];
  for (let i = 0; i < from.length; i++) {
    const { of, window, amount } = from[i] as Taken;
    const total = of === "requests" ? requests : used[of];
    if (total === null) {
      settled(spent, from[i] as Taken, amount);
      continue;
    }
    // What was taken first is used first; what is used beyond all of it is the last window's.
    let left = total;
    let isLast = true;
    for (let j = 0; j < from.length; j++) {
      const each = from[j] as Taken;
      if (j === i || each.of !== of || each.window !== window) continue;
      if (j < i) left -= each.amount;
      else isLast = false;
    }
    settled(spent, from[i] as Taken, Math.max(0, isLast ? left : Math.min(amount, left)));
  }
  state.probing.delete(key.id);
}

/** Replaces what was taken of a window by its share of what was used, unless the window has closed. */
function settled(spent: readonly Spent[], { of, window, start, amount }: Taken, share: number): void {
  for (const each of spent) {
    if (each.of !== of || each.window !== window || each.start !== start) continue;
    each.used = Math.max(0, each.used + share - amount);
    if (of === "usd") each.settled = (each.settled ?? 0) + share;
    return;
  }
}

/** Milliseconds that the window of a budget lasts at least whose end comes near is told: of shorter ones there would be no end of that. */
const TOLD_FROM = 3_600_000;

/** Says how much of a budget in money is spent. Whole nano-dollars, and milliseconds. */
export interface NearlySpent {
  readonly limit: number;
  readonly used: number;
  /** How long its window goes on. */
  readonly endsIn: number;
  readonly window: number;
}

/** Gives the budgets in money of which four fifths are spent, without what is reserved for requests that are under way. */
export function nearlySpent({ spent }: PoolState, { id, budgets }: PoolKey, now: number): readonly NearlySpent[] {
  const found: NearlySpent[] = [];
  for (const { of, limit, window } of budgets) {
    if (of !== "usd" || window < TOLD_FROM) continue;
    const each = spent.get(id)?.find((one) => one.of === of && one.window === window);
    if (each === undefined || usedNow(each, window, now) === 0) continue;
    const used = each.settled ?? 0;
    if (used * 5 >= limit * 4) found.push({ limit, used, window, endsIn: each.start + window - now });
  }
  return found;
}

/**
 * Milliseconds of a first rest that the upstream puts no time to, and of a first quarantine: doubled with each refusal in a row, up to the
 * longest.
 */
const FIRST_REST = 1000;
const LONGEST_REST = 60_000;
/** Milliseconds that a key rests at least: an upstream that says "at once" would be asked with each key for each request. */
const SHORTEST_REST = 100;
const FIRST_QUARANTINE = 5000;
const LONGEST_QUARANTINE = 300_000;

/** Gives what is known of a key's secret, and nothing of a secret that the key had before. */
export function standingOf(state: PoolState, { id, mark }: PoolKey): Standing | undefined {
  const standing = state.standing.get(id);
  return standing?.of === mark ? standing : undefined;
}

const standingFor = (state: PoolState, key: PoolKey): Standing => {
  let standing = standingOf(state, key);
  if (standing === undefined) {
    standing = { of: key.mark, restUntil: 0, rests: 0, probeAt: null, refusals: 0, doubts: 0, lastError: null };
    state.standing.set(key.id, standing);
  }
  return standing;
};

/**
 * Lets a key rest that the upstream refused with 429, for so many milliseconds (`null`: the upstream did not say). Gives the time until
 * which it rests.
 */
export function rest(state: PoolState, key: PoolKey, asked: number | null, now: number): number {
  const standing = standingFor(state, key);
  const wait = Math.max(SHORTEST_REST, asked ?? Math.min(LONGEST_REST, FIRST_REST * 2 ** standing.rests));
  if (asked === null) standing.rests++;
  standing.restUntil = Math.max(standing.restUntil, now + wait);
  standing.lastError = { status: 429, at: now };
  // The upstream knows the key.
  standing.probeAt = null;
  state.probing.delete(key.id);
  return standing.restUntil;
}

/**
 * Puts a key in quarantine that the upstream refused with 401, 402 or 403: it is not used before the time that this gives, and then by one
 * request at a time until one succeeds.
 */
export function quarantine(state: PoolState, key: PoolKey, status: number, now: number): number {
  const standing = standingFor(state, key);
  // Requests that were under way together say the same once.
  if (standing.probeAt === null || now >= standing.probeAt) {
    standing.probeAt = now + Math.min(LONGEST_QUARANTINE, FIRST_QUARANTINE * 2 ** standing.refusals);
    standing.refusals++;
  }
  standing.lastError = { status, at: now };
  state.probing.delete(key.id);
  return standing.probeAt;
}

/** The number of refusals in a row, each of another request, that make a key suspect. */
const MAX_DOUBTS = 3;

/** Counts a refusal with 401, 402 or 403 where no other key told whether it is about the key. Gives whether the key is suspect by now. */
export function doubt(state: PoolState, key: PoolKey, status: number, now: number): boolean {
  const standing = standingFor(state, key);
  standing.doubts++;
  standing.lastError = { status, at: now };
  state.probing.delete(key.id);
  // One that is in quarantine was suspect before.
  return standing.doubts >= MAX_DOUBTS || standing.probeAt !== null;
}

/**
 * Notes that the upstream took a key, or did not refuse it as such. Gives whether the key had been in quarantine. A rest that the upstream
 * asked for goes on.
 */
export function accept(state: PoolState, key: PoolKey): boolean {
  const standing = standingOf(state, key);
  if (standing === undefined) return false;
  const wasOut = standing.probeAt !== null;
  standing.probeAt = null;
  standing.refusals = 0;
  standing.doubts = 0;
  standing.rests = 0;
  state.probing.delete(key.id);
  return wasOut;
}

function choose({ strategy, keys }: PoolPolicy, state: PoolState, cost: Cost, now: number, choice: Choice): PoolKey | null {
  switch (strategy) {
    case "in-order":
      return keys.find((key) => holds(state, key, cost, now, choice)) ?? null;
    case "most-remaining": {
      let best: PoolKey | null = null;
      let max = -1;
      for (const key of keys) {
        const remaining = remainingOf(state, key, now);
        if (remaining > max && holds(state, key, cost, now, choice)) [best, max] = [key, remaining];
      }
      return best;
    }
    case "round-robin": {
      for (let i = 0; i < keys.length; i++) {
        const at = (state.turn + i) % keys.length;
        const key = keys[at] as PoolKey;
        if (!holds(state, key, cost, now, choice)) continue;
        state.turn = (at + 1) % keys.length;
        return key;
      }
      return null;
    }
  }
}

/** Turns a pool's state into text for other instances, and back, and merges two states. */
export const poolShape = {
  toText: ({ spent, standing, probing, turn }: PoolState): string =>
    JSON.stringify([[...spent], [...standing], [...probing].map(([key, { since, by }]) => [key, since, by]), turn]),
  fromText: (text: string): PoolState => {
    const [spent, standing, probing, turn] = JSON.parse(text) as [
      [string, Spent[]][],
      [string, Standing][],
      // An instance of a version before says nothing of who it is.
      [key: string, since: number, by?: string][],
      number,
    ];
    return {
      spent: new Map(spent),
      standing: new Map(standing),
      probing: new Map(probing.map(([key, since, by = ""]) => [key, { since, by }])),
      turn,
    };
  },
  /** Adds what was given here while Redis was away to what others have given; of what is known of keys the later counts. */
  merge: (remote: PoolState, local: PoolState, base: PoolState, now: number): PoolState => {
    for (const [id, spents] of local.spent) {
      const theirs = remote.spent.get(id) ?? [];
      for (const ours of spents) {
        const before = base.spent
          .get(id)
          ?.find(({ of, window, start }) => of === ours.of && window === ours.window && start === ours.start);
        const added = ours.used - (before?.used ?? 0);
        const other = theirs.find(({ of, window }) => of === ours.of && window === ours.window);
        if (other === undefined) theirs.push(ours);
        else if (now < other.start + other.window && other.used > 0) {
          other.used = Math.max(0, other.used + added);
          if (ours.settled !== undefined) other.settled = (other.settled ?? 0) + ours.settled - (before?.settled ?? 0);
        } else Object.assign(other, ours);
      }
      remote.spent.set(id, theirs);
    }
    for (const [id, ours] of local.standing) {
      const other = remote.standing.get(id);
      if (other === undefined || (ours.lastError?.at ?? 0) > (other.lastError?.at ?? 0)) remote.standing.set(id, ours);
    }
    return remote;
  },
};
