import type { Storage } from "../storage/open.ts";
import { KIND_NAMES, type Kind } from "./kinds.ts";

/** Describes one record that was changed. */
export interface Change {
  readonly kind: Kind;
  readonly id: string;
  /** A key's hash before the change; `null` for a new one and for other records. */
  readonly was: string | null;
}

/** Takes over changes of one kind that another process, or another instance, has made. */
export interface Follower {
  /** Reads one record again. `was`: a key's hash before the change. */
  refresh?(id: string, was: string | null): void;
  /** Acts on changes once all records of a batch were read again. A function that several kinds name is called once. */
  readonly settle?: () => void;
}

/** Holds a follower for each kind. */
export type Followers = Readonly<Record<Kind, Follower>>;

/**
 * Takes over a batch of changes, oldest first. `onFault` is told of a record that can't be read again; the other changes hold all the same.
 */
export function follow(changes: readonly Change[], followers: Followers, onFault: (error: unknown) => void): void {
  for (const { kind, id, was } of changes) {
    try {
      followers[kind].refresh?.(id, was);
    } catch (error) {
      onFault(error);
    }
  }
  const kinds = new Set(changes.map(({ kind }) => kind));
  for (const settle of new Set(KIND_NAMES.filter((kind) => kinds.has(kind)).map((kind) => followers[kind].settle))) settle?.();
}

/** Milliseconds that changes are kept: a process that did not look for so long has other troubles. */
const KEPT_FOR = 600_000;
const FORGOTTEN_AT_ONCE = 20_000;

/**
 * Follows what other processes on the same database change, so that two gateways on one data folder (while one takes over from the other)
 * agree on who may call. A look costs microseconds while nothing has changed: SQLite's `data_version` tells
 * (https://sqlite.org/pragma.html#pragma_data_version).
 */
export class ChangeFeed {
  private seen: number;
  private version: number;
  /** Until when nothing is taken over, in milliseconds of `performance.now()`. */
  private heldUntil = 0;

  /** Begins to follow. Make it before the records are read: a change in between is then seen twice, never missed. */
  constructor(private readonly storage: Storage) {
    this.version = this.dataVersion();
    this.seen = this.storage.client.query<{ seq: number | null }, []>("SELECT max(seq) AS seq FROM changes").get()?.seq ?? 0;
  }

  /** Gives the new changes to `apply`, oldest first, and tells whether there were some. Call it after the records were loaded: a change that is applied twice does no harm. */
  poll(apply: (changes: readonly Change[]) => void): boolean {
    if (this.heldUntil > performance.now()) return false;
    const version = this.dataVersion();
    if (version === this.version) return false;
    this.version = version;
    const rows = this.storage.client
      .query<Change & { seq: number }, [number]>("SELECT seq, kind, id, was FROM changes WHERE seq > ?1 ORDER BY seq")
      .all(this.seen);
    if (rows.length === 0) return false;
    this.seen = rows.at(-1)?.seq ?? this.seen;
    apply(rows);
    return true;
  }

  /** Takes nothing over for so many milliseconds, or until 0 is given: what comes belongs together with a configuration that is on its way. */
  hold(milliseconds: number): void {
    this.heldUntil = performance.now() + milliseconds;
  }

  /**
   * Forgets changes that everybody has seen; with `areShared` only those that other instances know of. Forgets a bounded number at a time:
   * an import leaves a million of them. `now` in milliseconds since 1970.
   */
  prune(now: number, areShared: boolean): void {
    this.storage.client
      .query("DELETE FROM changes WHERE seq IN (SELECT seq FROM changes WHERE at < ?1 AND (shared = 1 OR ?3 = 0) ORDER BY seq LIMIT ?2)")
      .run(now - KEPT_FOR, FORGOTTEN_AT_ONCE, areShared ? 1 : 0);
  }

  private dataVersion(): number {
    return this.storage.client.query<{ data_version: number }, []>("PRAGMA data_version").get()?.data_version ?? 0;
  }
}
