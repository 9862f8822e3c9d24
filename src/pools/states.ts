import { Contended } from "../redis/shared-state.ts";
import type { Chunks } from "../shared/chunks.ts";
import { ALIVE, RECORD } from "../shared/layout.ts";
import { recordOf } from "../shared/members.ts";
import type { Table } from "../shared/table.ts";
import { SharedValue, type ValueCodec } from "../shared/value.ts";
import type { Storage } from "../storage/open.ts";
import type { Clock } from "../values/clock.ts";
import { type Budget, newPoolState, type PoolState, type Probe, type Spent, type Standing } from "./pool.ts";

/** Keeps the states of pools, which outlive the pools' configuration, and a restart. */
export interface PoolStates {
  /** Names this process in what it holds. */
  readonly self: string;
  /**
   * Changes a pool's state by `work`, which may be called on a copy; what it gives for which `isChange` does not hold has changed nothing. Throws `Contended`
   * when the state can't be had now, and what `work` throws.
   */
  change<T>(pool: string, work: (state: PoolState, now: number) => T, isChange: (result: T) => boolean): T;
  /** Gives a pool's state as it is now. It must not be changed. */
  known(pool: string): PoolState;
  /** Lists the pools whose states the database lacks. */
  unsaved(): string[];
  /** Notes that the database has a state that `known` gave. */
  saved(pool: string, state: PoolState): void;
}

/** Repairs what was stored by a version before; see `Pools`. */
export type Repair = (pool: string, state: PoolState) => void;

export interface StatesDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly repair: Repair;
  /** True where the times of states are the system's, as Redis tells it: those in the database are so. */
  readonly isByWall: boolean;
}

interface Row {
  readonly pool: string;
  readonly key: string;
  readonly spent: string;
  readonly standing: string | null;
}

const COLUMNS = "SELECT pool, key, spent, standing FROM pool_spent";

function enter(state: PoolState, { key, spent, standing }: Row, ahead: number): void {
  state.spent.set(
    key,
    (JSON.parse(spent) as Spent[]).map((each) => ({ ...each, start: each.start - ahead })),
  );
  if (standing === null) return;
  const said = JSON.parse(standing) as Standing | null;
  if (said !== null) state.standing.set(key, shifted(said, -ahead));
}

/** Gives what is known of a key with its times `by` milliseconds later. */
export const shifted = (standing: Standing, by: number): Standing => ({
  ...standing,
  restUntil: standing.restUntil === 0 ? 0 : standing.restUntil + by,
  probeAt: standing.probeAt === null ? null : standing.probeAt + by,
  lastError: standing.lastError === null ? null : { ...standing.lastError, at: standing.lastError.at + by },
});

/** Milliseconds by which the clocks of two processes on one machine may differ. */
const SKEW = 1000;

/** Gives the time, or that at which another process has opened a window, where its clock is a little ahead: the window is open then. */
function notBefore({ spent }: PoolState, now: number): number {
  let latest = now;
  for (const all of spent.values()) for (const { start } of all) if (start > latest && start < now + SKEW) latest = start;
  return latest;
}

/** Keeps states in the memory of this process. */
export class MemoryStates implements PoolStates {
  readonly self = "";
  private readonly states = new Map<string, PoolState>();
  private readonly dirty = new Set<string>();

  constructor(private readonly deps: StatesDeps) {
    const ahead = deps.isByWall ? 0 : deps.clock.wall() - deps.clock.now();
    for (const row of deps.storage.client.query<Row, []>(COLUMNS).all()) enter(this.known(row.pool), row, ahead);
  }

  change<T>(pool: string, work: (state: PoolState, now: number) => T): T {
    this.dirty.add(pool);
    return work(this.known(pool), this.deps.clock.now());
  }

  known(pool: string): PoolState {
    let state = this.states.get(pool);
    if (state === undefined) {
      state = newPoolState();
      this.states.set(pool, state);
    }
    return state;
  }

  /** Notes that a state has changed somewhere else. */
  touch(pool: string): void {
    this.dirty.add(pool);
  }

  unsaved(): string[] {
    return [...this.dirty];
  }

  saved(pool: string): void {
    this.dirty.delete(pool);
  }
}

/** Stands for a state that the table does not have. */
const NONE: PoolState = newPoolState();

/** What budgets count, by the numbers that stand for it in the table. Money stands there twice: as a version before wrote it, and with what is settled of it. */
const UNITS: readonly Budget["of"][] = ["requests", "tokens", "usd", "usd"];
const WITH_SETTLED = 3;
/** How many numbers there are for each budget in `Written`. */
const EACH = 3;

/** Holds what was written of a key last: most changes are of one key, and the others are written as before. */
interface Written {
  /** Start, use and what is settled of each budget, one after the other. */
  readonly numbers: number[];
  text: string;
}

const written = new WeakMap<readonly Spent[], Written>();

/**
 * Writes a key as a part of a flat list: its id, how many budgets it has, and of each what it counts, its window, start and use, and of money
 * what is settled.
 */
function textOf(key: string, all: readonly Spent[]): string {
  let last = written.get(all);
  let isSame = last !== undefined;
  if (last === undefined) {
    last = { numbers: [], text: "" };
    written.set(all, last);
  }
  const { numbers } = last;
  for (let i = 0; i < all.length; i++) {
    const { start, used, settled = 0 } = all[i] as Spent;
    const at = EACH * i;
    if (isSame && numbers[at] === start && numbers[at + 1] === used && numbers[at + 2] === settled) continue;
    isSame = false;
    numbers[at] = start;
    numbers[at + 1] = used;
    numbers[at + 2] = settled;
  }
  if (isSame) return last.text;
  let text = `"${key}",${all.length}`;
  for (const { of, window, start, used, settled } of all)
    text +=
      settled === undefined ? `,${UNITS.indexOf(of)},${window},${start},${used}` : `,${WITH_SETTLED},${window},${start},${used},${settled}`;
  last.text = text;
  return text;
}

/**
 * Writes what each lease changes as flat lists, see `textOf`. That is written with each lease, so piece by piece: ids have nothing in them
 * that JSON would escape.
 */
const CODEC: ValueCodec<PoolState> = {
  initial: () => NONE,
  encode: ({ spent, standing, probing, turn }) => {
    let flat = "";
    for (const [key, all] of spent) flat += flat === "" ? textOf(key, all) : `,${textOf(key, all)}`;
    const isQuiet = standing.size === 0 && probing.size === 0;
    return `[[${flat}],${turn},${isQuiet ? "[],[]" : `${JSON.stringify([...standing])},${JSON.stringify([...probing])}`}]`;
  },
  decode: (text) => {
    const [flat, turn, standing, probing] = JSON.parse(text) as [(string | number)[], number, [string, Standing][], [string, Probe][]];
    const state: PoolState = { spent: new Map(), standing: new Map(standing), probing: new Map(probing), turn };
    for (let i = 0; i < flat.length; ) {
      const key = flat[i++] as string;
      const all: Spent[] = [];
      for (let left = flat[i++] as number; left > 0; left--) {
        const [of = 0, window = 0, start = 0, used = 0, settled = 0] = flat.slice(i, i + 5) as number[];
        i += of === WITH_SETTLED ? 5 : 4;
        all.push({ of: UNITS[of] ?? "requests", window, start, used, ...(of === WITH_SETTLED ? { settled } : {}) });
      }
      state.spent.set(key, all);
    }
    return state;
  },
};

/**
 * Keeps states in the table that the processes of a gateway share: each change is made by one of them at a time. A state that the table has goes before what
 * the database has, which is a second behind.
 */
export class SharedStates implements PoolStates {
  readonly self: string;
  private readonly values = new Map<string, SharedValue<PoolState>>();
  /** Pools whose states were written into the table. */
  private readonly begun = new Set<string>();
  private readonly lastSaved = new Map<string, PoolState>();

  constructor(
    private readonly deps: StatesDeps,
    private readonly table: Table,
    private readonly chunks: Chunks,
  ) {
    this.self = `${table.worker}:${table.generation}`;
  }

  change<T>(pool: string, work: (state: PoolState, now: number) => T, isChange: (result: T) => boolean): T {
    const { clock } = this.deps;
    const value = this.valueOf(pool);
    // Nobody should wait for the database with the state locked.
    const stored = !this.begun.has(pool) && value.read() === NONE ? this.stored(pool) : null;
    let made: { readonly result: T } | null = null;
    let isDone = false;
    try {
      isDone = value.change(clock.now(), (before) => {
        const state = before === NONE ? (stored ?? this.stored(pool)) : before;
        this.freeProbes(state);
        // Only now: what another process has changed while this one waited must not lie in the future.
        const now = notBefore(state, Math.floor(clock.now()));
        const result = work(state, now);
        made = { result };
        // Another object around what was changed in place: a copy would cost more than the change.
        return isChange(result) ? { ...state } : before;
      });
    } finally {
      if (!isDone) value.forget();
    }
    const done = made as { readonly result: T } | null;
    if (!isDone || done === null) throw new Contended("the pool's state is held by another process");
    if (isChange(done.result)) this.begun.add(pool);
    return done.result;
  }

  known(pool: string): PoolState {
    const state = this.valueOf(pool).read();
    return state === NONE ? this.stored(pool) : state;
  }

  unsaved(): string[] {
    return [...this.values.keys()].filter((pool) => {
      const state = this.valueOf(pool).read();
      return state !== NONE && state !== this.lastSaved.get(pool);
    });
  }

  saved(pool: string, state: PoolState): void {
    this.lastSaved.set(pool, state);
  }

  private valueOf(pool: string): SharedValue<PoolState> {
    let value = this.values.get(pool);
    if (value === undefined) {
      value = new SharedValue(this.table, this.chunks, this.table.keyOf("pool"), pool, CODEC);
      this.values.set(pool, value);
    }
    return value;
  }

  /** Lets keys be tried again whose probe was a process' that is dead. */
  private freeProbes({ probing }: PoolState): void {
    if (probing.size === 0) return;
    for (const [key, { by }] of probing) if (!this.lives(by)) probing.delete(key);
  }

  private lives(by: string): boolean {
    if (by === this.self) return true;
    const [worker = 0, generation = -1] = by.split(":").map(Number);
    const word = Atomics.load(this.table.i32, recordOf(worker) + RECORD.state);
    return word >>> 2 === generation && (word & 3) === ALIVE;
  }

  private stored(pool: string): PoolState {
    const { storage, clock, repair } = this.deps;
    const ahead = clock.wall() - clock.now();
    const state = newPoolState();
    for (const row of storage.client.query<Row, [string]>(`${COLUMNS} WHERE pool = ?1`).all(pool)) enter(state, row, ahead);
    repair(pool, state);
    return state;
  }
}
