import { FFIType, ptr } from "bun:ffi";
import { openLibc } from "../values/libc.ts";

/** The clock CLOCK_BOOTTIME of Linux: it goes on while the machine sleeps. */
const CLOCK_BOOTTIME = 7;

/** How often two clocks are read beside each other: the first times take longest, and a process may lose its core between them. */
const READINGS = 20;

/**
 * Gives the milliseconds by which the system's monotonic clock, which all processes read alike, is ahead of `performance.now()`, to some
 * microseconds; `null` where it can't be read (clock_gettime(2)).
 */
export function monotonicAhead(): number | null {
  if (process.platform !== "linux") return null;
  const calls = openLibc({ clock_gettime: { args: [FFIType.i32, FFIType.ptr], returns: FFIType.i32 } });
  const time = new BigInt64Array(2);
  let ahead: number | null = null;
  let shortest = Number.POSITIVE_INFINITY;
  for (let k = 0; k < READINGS; k++) {
    const before = performance.now();
    if (calls === null || calls.clock_gettime(CLOCK_BOOTTIME, ptr(time)) !== 0) return null;
    const after = performance.now();
    if (after - before >= shortest) continue;
    shortest = after - before;
    ahead = Number(time[0]) * 1000 + Number(time[1]) / 1e6 - (before + after) / 2;
  }
  return ahead;
}
