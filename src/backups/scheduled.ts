import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { lockAlone } from "../storage/lock.ts";
import { sync } from "../storage/sync.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { copyInto } from "./admin.ts";

/** Says when backups are made. */
export interface BackupPolicy {
  /** The time between two backups, in milliseconds. */
  readonly every: number;
  /** The number of backups that are kept. */
  readonly keep: number;
  /** The folder; a relative one lies in the database's. */
  readonly path: string;
}

export interface ScheduledBackupsDeps {
  readonly databasePath: string;
  readonly clock: Clock;
  /** Gives the policy in force; `null`: no backups are made. */
  readonly policy: () => BackupPolicy | null;
  /** Tells of each backup, and of why the last one could not be made. */
  readonly emit: Emit;
  /** The command that starts this program; left out: the one that did. */
  readonly program?: readonly string[];
}

/** Names as they are made: in the order of time, and good for every file system. */
const NAME = /^sluice-(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d)Z\.db$/;
/** Milliseconds until one that failed is tried again, at the latest. */
const RETRY_AFTER = 300_000;
/**
 * Milliseconds that a clock may have been set back since a backup was made. One that is dated later comes from a clock that was wrong: it
 * says nothing, and is left alone.
 */
const SET_BACK = 60_000;
const PART = ".part";

/**
 * Makes copies of the database from time to time, and keeps the newest of them. A file under its own name is a whole one: it is written
 * under another.
 */
export class ScheduledBackups {
  readonly counts = { ok: 0, failed: 0 };
  private isBusy = false;
  private retryAt = 0;
  private trouble: string | null = null;
  private readonly stopping = new AbortController();

  constructor(private readonly deps: ScheduledBackupsDeps) {}

  /** Tells whether the last backup could not be made; `null` while none are made. */
  get hasFailed(): boolean | null {
    return this.deps.policy() === null ? null : this.trouble !== null;
  }

  /** Gives the milliseconds since the newest backup was made, by this process or another; `null` without one. */
  get age(): number | null {
    const policy = this.deps.policy();
    if (policy === null) return null;
    const newest = this.made(this.folderOf(policy)).at(-1);
    return newest === undefined ? null : Math.max(0, this.deps.clock.wall() - timeOf(newest));
  }

  /** Makes a backup when it is time; for a timer. Never rejects. */
  async look(): Promise<void> {
    const { clock } = this.deps;
    const policy = this.deps.policy();
    if (policy === null) {
      this.say(null);
      return;
    }
    if (this.isBusy || this.stopping.signal.aborted || clock.wall() < this.retryAt || !this.isDue(policy)) return;
    this.isBusy = true;
    try {
      await this.make(policy);
    } catch (error) {
      if (this.stopping.signal.aborted) return;
      this.counts.failed++;
      this.retryAt = clock.wall() + Math.min(RETRY_AFTER, policy.every);
      this.say(`${this.folderOf(policy)}: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      this.isBusy = false;
    }
  }

  /** Gives up a backup that is being made. */
  close(): void {
    this.stopping.abort();
  }

  private async make(policy: BackupPolicy): Promise<void> {
    const { databasePath, clock } = this.deps;
    const folder = this.folderOf(policy);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // Two gateways on one data folder make one.
    using turn = lockAlone(join(folder, ".lock"), 0);
    if (turn === null || !this.isDue(policy)) return;
    // What a process has left that was killed meanwhile.
    for (const name of readdirSync(folder)) if (name.endsWith(PART)) rmSync(join(folder, name), { force: true });
    const file = join(folder, nameOf(clock.wall()));
    try {
      await copyInto(databasePath, file + PART, { signal: this.stopping.signal, program: this.deps.program });
      chmodSync(file + PART, 0o600);
      const bytes = statSync(file + PART).size;
      renameSync(file + PART, file);
      sync(folder);
      this.counts.ok++;
      this.say(null);
      this.deps.emit({ type: "backup", file, bytes });
    } finally {
      rmSync(file + PART, { force: true });
    }
    for (const name of this.made(folder).slice(0, -policy.keep)) rmSync(join(folder, name), { force: true });
  }

  private isDue(policy: BackupPolicy): boolean {
    const newest = this.made(this.folderOf(policy)).at(-1);
    return newest === undefined || this.deps.clock.wall() - timeOf(newest) >= policy.every;
  }

  private folderOf({ path }: BackupPolicy): string {
    return resolve(dirname(this.deps.databasePath), path);
  }

  /** Gives the names of the backups that were made up to now, the oldest first. */
  private made(folder: string): string[] {
    const until = this.deps.clock.wall() + SET_BACK;
    try {
      return readdirSync(folder)
        .filter((name) => NAME.test(name) && timeOf(name) <= until)
        .sort();
    } catch {
      return [];
    }
  }

  private say(trouble: string | null): void {
    if (trouble === this.trouble) return;
    this.trouble = trouble;
    this.deps.emit({ type: "backupTrouble", why: trouble });
  }
}

const nameOf = (at: number): string => `sluice-${new Date(at).toISOString().slice(0, 19).replaceAll(":", "-")}Z.db`;

const timeOf = (name: string): number => Date.parse(name.replace(NAME, "$1T$2:$3:$4Z"));
