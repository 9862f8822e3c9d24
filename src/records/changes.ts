import type { Storage } from "../storage/open.ts";
import type { Kind } from "./kinds.ts";

/** One record that was changed. */
export interface Change {
  readonly kind: Kind;
  readonly id: string;
  /** A key's hash before the change; `null` for a new one and for other records. */
  readonly was: string | null;
}

/** How long changes are kept, in milliseconds: a process that did not look for so long has other troubles. */
const KEPT_FOR = 600_000;
const FORGOTTEN_AT_ONCE = 20_000;

/**
 * Follows what other processes on the same database change, so that two gateways on one data folder (while one takes over from the other) agree on who may call.
 * A look costs microseconds while nothing has changed: SQLite's `data_version` tells (https://sqlite.org/pragma.html#pragma_data_version).
 */
export class ChangeFeed {
  private seen: number;
  private version: number;

  constructor(
    private readonly storage: Storage,
    /** Takes over a batch of changes, oldest first. */
    private readonly apply: (changes: readonly Change[]) => void,
  ) {
    this.version = this.dataVersion();
    this.seen = this.storage.client.query<{ seq: number | null }, []>("SELECT max(seq) AS seq FROM changes").get()?.seq ?? 0;
  }

  /** Takes over what is new. Call it after the records were loaded: a change that is applied twice does no harm. */
  poll(): void {
    const version = this.dataVersion();
    if (version === this.version) return;
    this.version = version;
    const rows = this.storage.client
      .query<Change & { seq: number }, [number]>("SELECT seq, kind, id, was FROM changes WHERE seq > ?1 ORDER BY seq")
      .all(this.seen);
    if (rows.length === 0) return;
    this.seen = rows.at(-1)?.seq ?? this.seen;
    this.apply(rows);
  }

  /** Forgets changes that everybody has seen, with `areShared` those alone that other instances know of, a bounded number at a time: an import leaves a million of them. `now` in milliseconds since 1970. */
  prune(now: number, areShared: boolean): void {
    this.storage.client
      .query("DELETE FROM changes WHERE seq IN (SELECT seq FROM changes WHERE at < ?1 AND (shared = 1 OR ?3 = 0) ORDER BY seq LIMIT ?2)")
      .run(now - KEPT_FOR, FORGOTTEN_AT_ONCE, areShared ? 1 : 0);
  }

  private dataVersion(): number {
    return this.storage.client.query<{ data_version: number }, []>("PRAGMA data_version").get()?.data_version ?? 0;
  }
}
