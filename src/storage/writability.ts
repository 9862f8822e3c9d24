import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../values/clock.ts";
import { isDamage, isUnwritable, sqliteCode } from "./faults.ts";
import type { Storage } from "./open.ts";

/** Says why nothing can be stored. */
export interface Unwritable {
  /** True when the file is damaged, which does not mend by itself; otherwise the disk is full, failing or not ours to write. */
  readonly isDamaged: boolean;
  /** The text for the operator: the file and SQLite's message. */
  readonly detail: string;
}

export interface WritabilityDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  /** Tells that the database can't be written any more, or for another reason, or can be again (`null`). */
  readonly onChange: (state: Unwritable | null) => void;
}

/**
 * Milliseconds without a failed write after which one is tried. Counts are written once a second: while those fail, nothing has to be
 * tried.
 */
const TRY_AFTER = 2500;
/** The number of looks between two at the room that is left. */
const ROOM_EVERY = 5;
/** The bytes of free room below which a write is tried, so that a full disk is known before somebody changes something. */
const LITTLE_ROOM = 1024 * 1024;
/**
 * The text that is written to find out whether a write succeeds: some pages, since a single one may still find a place in the write-ahead
 * log.
 */
const TRIAL = "0".repeat(32_768);

/** Finds out whether the database can be written, from the results of the last writes. */
export class Writability {
  private current: Unwritable | null = null;
  private failedAt = 0;
  private looks = 0;

  constructor(private readonly deps: WritabilityDeps) {
    // Opened on a full disk: the first write would fail, and it is better known before.
    if (deps.storage.isAlone) this.try();
  }

  /** The reason why nothing can be stored; `null` when all is well. */
  get state(): Unwritable | null {
    return this.current;
  }

  /**
   * Takes note of an error, and tells whether it means that the database can't be written: `onChange` then tells it once, and nobody else
   * need tell it.
   */
  failed(error: unknown): boolean {
    const isDamaged = isDamage(error);
    if (!isDamaged && !isUnwritable(error)) return false;
    this.failedAt = this.deps.clock.now();
    const message = error instanceof Error ? error.message : String(error);
    this.enter({ isDamaged, detail: `${this.deps.storage.path}: ${message} (${sqliteCode(error)})` });
    return true;
  }

  /** Finds out that the database can be written again, and that the disk got full while nothing was written; for a timer, once a second. */
  look(): void {
    const { storage, clock } = this.deps;
    if (this.current !== null || storage.isAlone) {
      if (clock.now() - this.failedAt >= TRY_AFTER) this.try();
      return;
    }
    if (storage.isOnlyRead || storage.path === ":memory:" || ++this.looks % ROOM_EVERY !== 0) return;
    const { bavail, bsize } = statfsSync(dirname(storage.path));
    if (bavail * bsize < LITTLE_ROOM) this.try();
  }

  private try(): void {
    const { storage, clock } = this.deps;
    try {
      storage.share();
      // Where another process writes, the next read tells.
      if (!storage.isOnlyRead) {
        // A row that nothing else reads: the configuration is row 1.
        storage.client.query("INSERT OR REPLACE INTO configurations (id, text, at) VALUES (0, ?1, ?2)").run(TRIAL, clock.wall());
        storage.client.query("DELETE FROM configurations WHERE id = 0").run();
      }
      // What is damaged stays so, wherever there is still a page to write.
      if (this.current?.isDamaged !== true) this.enter(null);
    } catch (error) {
      if (!this.failed(error)) throw error;
    }
  }

  private enter(state: Unwritable | null): void {
    const before = this.current;
    if (before?.isDamaged === true && state !== null) return;
    this.current = state;
    if (before?.isDamaged !== state?.isDamaged) this.deps.onChange(state);
  }
}
