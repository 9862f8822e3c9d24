import { readFileSync, readlinkSync } from "node:fs";

/** Says when a process started, in ticks of the kernel since boot, as 32 bits, and whether it is dead but not yet reaped. */
export interface ProcessState {
  readonly started: number;
  readonly isZombie: boolean;
}

/** Asks the kernel for a process; `null`: there is none, or no /proc. */
export function processState(pid: number): ProcessState | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return null;
  }
  // The name stands in parentheses, and may itself have spaces and parentheses (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { started: Number(fields[19]) | 0, isZombie: fields[0] === "Z" || fields[0] === "X" };
}

/**
 * Tells whether a process is surely dead: it is not there, it is a zombie, or another one has its id. `started`: 0 where it isn't known.
 * Where there is no /proc, a process that may be signalled counts as alive.
 */
export function isProcessDead(pid: number, started: number): boolean {
  if (pid <= 0) return false;
  const state = processState(pid);
  if (state !== null) return state.isZombie || (started !== 0 && state.started !== started);
  // Also where there is /proc: it can't be read for as long as all file descriptors are in use.
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as { code?: string }).code === "ESRCH";
  }
}

/** Gives the four words of the system's boot id; zeros where the system has none. */
export function bootId(): Int32Array {
  const words = new Int32Array(4);
  try {
    const text = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim().replaceAll("-", "");
    for (let i = 0; i < 4; i++) words[i] = Number.parseInt(text.slice(i * 8, i * 8 + 8), 16) | 0;
  } catch {
    // Not Linux.
  }
  return words;
}

/** Gives the inode of this process's PID namespace, which tells containers apart; 0 where the system has none. */
export function pidNamespace(): number {
  try {
    return Number(/\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? 0);
  } catch {
    return 0;
  }
}
