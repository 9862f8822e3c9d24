import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Lock, lockAlone, lockShared } from "../storage/lock.ts";
import { Cells, drop } from "./cells.ts";

/** What is counted: `metrics` until the gateway's next start, `usage` until it is in the database. */
export type CellKind = "metrics" | "usage";

/** Names a file of cells. */
export interface CellFile {
  readonly file: string;
  readonly path: string;
  /** The process that counts in it. */
  readonly process: string;
  /** The start of the gateway that the process belongs to. */
  readonly run: string;
  readonly kind: CellKind;
}

/** Milliseconds that a process may take from making its lock to holding it. */
const LOCKED_WITHIN = 60_000;
const FILE = /^(([\w-]+)\.[\w-]+\.[\w-]+)\.(metrics|usage)\.\d+$/;
const LOCK = /^(([\w-]+)\.[\w-]+\.[\w-]+)\.lock$/;
const RETIRED = /^([\w-]+)\.retired\.(\d+)$/;

/**
 * Is the folder beside the database in which the processes of a gateway count: each in files of its own, and each with a lock that the system
 * takes back when it dies, however it dies.
 */
export class CellFolder {
  readonly path: string;

  constructor(databasePath: string) {
    this.path = `${databasePath}-cells`;
  }

  /** Gives what makes the files of this process. `run` names the gateway's start, and `name` the process' part in it. */
  writer(run: string, name: string): CellWriter {
    return new CellWriter(this, run, name);
  }

  /** Makes the lock that says that this process lives. Throws where there is no room for it. */
  join(run: string, name: string): { readonly process: string; readonly lock: Lock } {
    mkdirSync(this.path, { recursive: true, mode: 0o700 });
    for (;;) {
      const process = `${run}.${name}.${Bun.randomUUIDv7()}`;
      const path = this.lockOf(process);
      const lock = lockShared(path, 0);
      // Somebody may have taken it for one of a dead process, between our making it and our holding it.
      if (lock !== null && existsSync(path)) return { process, lock };
      lock?.close();
    }
  }

  /** Lists the files of a kind; none where the folder is missing. */
  files(kind: CellKind): CellFile[] {
    return this.names().flatMap((file) => {
      const [, process, run, of] = FILE.exec(file) ?? [];
      return process === undefined || run === undefined || of !== kind ? [] : [{ file, path: join(this.path, file), process, run, kind }];
    });
  }

  /** Lists the numbers of the files in which a start of the gateway keeps what its dead processes had counted. */
  retired(run: string): number[] {
    return this.names().flatMap((name) => {
      const [, of, number] = RETIRED.exec(name) ?? [];
      return of === run ? [Number(number)] : [];
    });
  }

  /** Lists the starts of the gateway that have left such a file and of which no process lives. */
  deadRuns(): string[] {
    const names = this.names();
    const runs = new Set(names.flatMap((name) => RETIRED.exec(name)?.[1] ?? []));
    for (const name of names) {
      const [, process, run] = LOCK.exec(name) ?? [];
      if (process !== undefined && run !== undefined && runs.has(run) && !this.isDead(process)) runs.delete(run);
    }
    return [...runs];
  }

  /** Tells whether a process is dead, so that nothing of it counts any more. */
  isDead(process: string): boolean {
    const path = this.lockOf(process);
    if (!existsSync(path)) return true;
    const lock = lockAlone(path, 0);
    lock?.close();
    return lock !== null;
  }

  /** Removes the locks of dead processes that have left nothing else. */
  sweep(): void {
    const names = this.names();
    for (const name of names) {
      const [, process] = LOCK.exec(name) ?? [];
      if (process === undefined || names.some((other) => other !== name && other.startsWith(`${process}.`))) continue;
      const path = join(this.path, name);
      const madeAt = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
      if (madeAt !== undefined && Date.now() - madeAt > LOCKED_WITHIN && this.isDead(process)) drop(path);
    }
  }

  private names(): string[] {
    try {
      return readdirSync(this.path);
    } catch (error) {
      if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return [];
      throw error;
    }
  }

  private lockOf(process: string): string {
    return join(this.path, `${process}.lock`);
  }
}

/** Makes the files of one process. */
export class CellWriter {
  private joined: ReturnType<CellFolder["join"]> | null = null;
  private made = 0;

  constructor(
    private readonly folder: CellFolder,
    private readonly run: string,
    private readonly name: string,
  ) {}

  /** Gives the name of this process; `null` before its first file. */
  get process(): string | null {
    return this.joined?.process ?? null;
  }

  /** Makes another file of cells; `null` where there is no room for it. `size` in bytes. */
  create(kind: CellKind, size: number): { readonly cells: Cells; readonly path: string } | null {
    try {
      this.joined ??= this.folder.join(this.run, this.name);
    } catch {
      return null;
    }
    const path = join(this.folder.path, `${this.joined.process}.${kind}.${++this.made}`);
    const cells = Cells.create(path, size);
    return cells === null ? null : { cells, path };
  }

  /** Says that this process counts no more. */
  close(): void {
    this.joined?.lock.close();
  }
}
