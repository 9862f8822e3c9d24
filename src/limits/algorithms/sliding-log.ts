import type { Algorithm } from "./algorithm.ts";
import lua from "./sliding-log.lua" with { type: "text" };

/**
 * Keeps the newest request apart from the others, which lie in a ring. A ring is only ever appended to, never rewritten: what a process that
 * is killed had begun to write there is not part of what counts, also where others share the memory.
 */
export interface SlidingLog {
  /** The time and the cost of the newest request; the cost is 0 when nothing counts. */
  last: number;
  lastCost: number;
  /** The ring: from `at` on so many pairs of time and cost, the oldest at `head`. */
  numbers: Float64Array;
  at: number;
  capacity: number;
  head: number;
  length: number;
  /** The number of pairs for which the ring had room when it was last written to or loaded. */
  room: number;
  /** The number of the chunk of the shared table in which the ring lies; 0 in memory, and where there is none yet. */
  chunk: number;
  /** What all of it costs together. */
  used: number;
}

/** The form in which it is stored: the times and the costs of the requests, the oldest at `head`; both lists are rings of one length. */
interface StoredLog {
  readonly times: number[];
  readonly costs: number[];
  readonly head: number;
  readonly length: number;
  readonly used: number;
}

/** The number of pairs that the ring of a new subject has in memory. */
const FIRST = 4;
const NO_RING = new Float64Array(0);

/**
 * Limits exactly: never more than `limit` in any span of one window (closed at its beginning, open at its end). Remembers each request that
 * counts.
 */
export const slidingLog: Algorithm<SlidingLog, StoredLog> = {
  summary: "exact",
  time: "monotonic",
  windowed: true,
  unit: null,
  holds: false,
  leaseable: false,
  capacity: null,
  alignable: false,
  ringed: true,
  max: { limit: 100_000, because: "which remembers each request; use sliding-window for more" },
  notMoney: "which would remember each request; use sliding-window",
  besides: [":used"],
  lua,

  open: empty,

  peek(state, policy, { limit }, cost, now, into) {
    // Forgetting what no longer counts changes no answer.
    forget(state, now - policy.window, now);
    into.used = state.used;
    into.remaining = Math.max(0, limit - state.used);
    into.fits = state.used + cost <= limit;
    into.resetIn = state.lastCost === 0 ? 0 : oldest(state) + policy.window - now;
    into.retryIn = into.fits ? 0 : untilFits(state, policy.window, limit - cost, now);
  },

  take(state, _policy, _terms, cost, now) {
    if (cost > 0) append(state, cost, now);
  },

  refund(state, _policy, _terms, cost) {
    let left = Math.min(cost, state.used);
    state.used -= left;
    while (left >= state.lastCost && state.length > 0) {
      left -= state.lastCost;
      state.length--;
      state.last = numberAt(state, state.length, TIME);
      state.lastCost = numberAt(state, state.length, COST);
    }
    state.lastCost -= left;
  },

  idleAt: (state, policy) => (state.lastCost === 0 ? 0 : state.last + policy.window),

  load(numbers, at, state) {
    state.last = numbers[at] as number;
    state.lastCost = numbers[at + 1] as number;
    state.chunk = numbers[at + 2] as number;
    state.numbers = NO_RING;
    state.capacity = 0;
    state.head = 0;
    state.length = 0;
    state.room = 0;
    state.used = state.lastCost;
  },

  latest: (state) => state.last,

  save(state, numbers, at) {
    numbers[at] = state.last;
    numbers[at + 1] = state.lastCost;
    numbers[at + 2] = state.chunk;
  },

  stored(state) {
    const {
      last,
      lastCost,
      numbers: _,
      at: _at,
      capacity: _capacity,
      head: _head,
      length,
      room: _room,
      chunk: _chunk,
      used,
      ...more
    } = state;
    const times = Array.from({ length }, (_none, i) => numberAt(state, i, TIME));
    const costs = Array.from({ length }, (_none, i) => numberAt(state, i, COST));
    if (lastCost !== 0) {
      times.push(last);
      costs.push(lastCost);
    }
    return { ...more, times, costs, head: 0, length: times.length, used };
  },

  revived({ times, costs, head, length, used: _, ...more }) {
    const state: SlidingLog = { ...more, ...empty() };
    for (let i = 0; i < length; i++) {
      const at = (head + i) % times.length;
      const cost = costs[at] ?? 0;
      if (cost > 0) append(state, cost, times[at] ?? 0);
    }
    return state;
  },

  shift({ times }, by) {
    for (let i = 0; i < times.length; i++) times[i] = (times[i] as number) + by;
  },
};

/**
 * Puts a log's ring elsewhere: into the `capacity` pairs of `numbers` from `at` on. What it leaves is not written to.
 */
export function moveLog(state: SlidingLog, numbers: Float64Array, at: number, capacity: number): void {
  for (let i = 0; i < state.length; i++) {
    numbers[at + 2 * i + TIME] = numberAt(state, i, TIME);
    numbers[at + 2 * i + COST] = numberAt(state, i, COST);
  }
  state.numbers = numbers;
  state.at = at;
  state.capacity = capacity;
  state.head = 0;
  state.room = capacity - state.length;
}

/** Gives the number of pairs for which a full ring should make room. */
export const roomierLog = ({ length }: SlidingLog): number => Math.max(FIRST, 2 * (length + 1));

function empty(): SlidingLog {
  return { last: 0, lastCost: 0, numbers: NO_RING, at: 0, capacity: 0, head: 0, length: 0, room: 0, chunk: 0, used: 0 };
}

/** The two numbers of a pair. */
const TIME = 0;
const COST = 1;

function numberAt({ numbers, at, head, capacity }: SlidingLog, i: number, which: typeof TIME | typeof COST): number {
  const place = head + i;
  return numbers[at + 2 * (place < capacity ? place : place - capacity) + which] as number;
}

const oldest = (state: SlidingLog): number => (state.length === 0 ? state.last : numberAt(state, 0, TIME));

function append(state: SlidingLog, cost: number, now: number): void {
  if (state.lastCost === 0 || state.last === now) state.lastCost += cost;
  else {
    if (state.room === 0) {
      const capacity = roomierLog(state);
      moveLog(state, new Float64Array(2 * capacity), 0, capacity);
    }
    const { numbers, at, capacity } = state;
    const place = state.head + state.length;
    const next = at + 2 * (place < capacity ? place : place - capacity);
    numbers[next + TIME] = state.last;
    numbers[next + COST] = state.lastCost;
    state.length++;
    state.room = capacity - state.length;
    state.lastCost = cost;
  }
  state.last = now;
  state.used += cost;
}

/**
 * Drops the requests that came at `until` or before. Where the oldest is in the future, from a clock that was set back, all of them count
 * as taken now, so that they go within a window.
 */
function forget(state: SlidingLog, until: number, now: number): void {
  if (state.lastCost === 0) return;
  if (oldest(state) > now) {
    state.length = 0;
    state.last = now;
    state.lastCost = state.used;
    return;
  }
  while (state.length > 0) {
    if (numberAt(state, 0, TIME) > until) return;
    state.used -= numberAt(state, 0, COST);
    state.head = state.head + 1 === state.capacity ? 0 : state.head + 1;
    state.length--;
  }
  if (state.last > until) return;
  state.lastCost = 0;
  state.used = 0;
}

function untilFits(state: SlidingLog, window: number, room: number, now: number): number {
  if (room < 0) return window;
  let { used } = state;
  for (let i = 0; i < state.length; i++) {
    used -= numberAt(state, i, COST);
    if (used <= room) return numberAt(state, i, TIME) + window - now;
  }
  return state.lastCost === 0 ? window : state.last + window - now;
}
