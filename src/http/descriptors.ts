import { readFileSync } from "node:fs";

/**
 * Descriptors kept back for uses other than connections of clients and backends: databases, log, Redis, name look-ups, and a connection
 * that is refused, which needs one until then.
 */
const MAX_RESERVE = 64;
/** The number that a system without a limit (Windows, `unlimited`) is taken to allow. */
const PLENTY = 1_048_576;

/**
 * Counts the sockets that this process holds against the number of descriptors it may hold (RLIMIT_NOFILE, read once). Server and upstream
 * client share one count: Bun tells a connect that failed for want of a descriptor as ECONNREFUSED, as for a closed port, so only the count
 * can tell our shortage from the backend's fault.
 */
export class Descriptors {
  /** Sockets open now, those being connected included. */
  sockets = 0;
  private max: number | null = null;
  private readonly holders = new Set<() => boolean>();

  /** Begins to count. `read` gives the limit; it is called once, when the limit is first asked for. */
  constructor(private readonly read: () => number) {}

  /** The number of descriptors that the process may have open. */
  get limit(): number {
    this.max ??= this.read();
    return this.max;
  }

  /** The number of them that are kept back: at most an eighth. */
  get reserve(): number {
    return Math.min(MAX_RESERVE, this.limit >>> 3);
  }

  /** True when no socket should be opened any more: look at it before a connect, and once more when one fails. */
  get isShort(): boolean {
    return this.sockets + this.reserve >= this.limit;
  }

  /** Counts a socket that was opened, or is about to be; `closed` follows for each. */
  opened(): void {
    this.sockets++;
  }

  closed(): void {
    this.sockets--;
  }

  /**
   * Adds somebody who can close an idle socket when there are too few: `close` gives false when it has none. Gives a function that takes it
   * off again.
   */
  holdsIdle(close: () => boolean): () => void {
    this.holders.add(close);
    return () => void this.holders.delete(close);
  }

  /** Closes idle sockets until there is room for one more. False when all are in use: a connect would then fail. */
  makeRoom(): boolean {
    while (this.isShort) {
      let isClosed = false;
      for (const close of this.holders) if (this.isShort && close()) isClosed = true;
      if (!isClosed) return false;
    }
    return true;
  }
}

/** Reads the soft limit of open files. Bun has raised it to the hard one when it started. */
export function descriptorLimit(): number {
  try {
    const [, soft] = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    if (soft !== undefined) return soft === "unlimited" ? PLENTY : Number(soft);
  } catch {
    // No /proc: not Linux.
  }
  try {
    const soft = Number(Bun.spawnSync(["sh", "-c", "ulimit -n"]).stdout.toString());
    return soft > 0 ? soft : PLENTY;
  } catch {
    return PLENTY;
  }
}

/** This process's descriptors. */
export const descriptors = new Descriptors(descriptorLimit);
