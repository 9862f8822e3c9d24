/** Bounds of the tests' time. A test is stopped when it hangs, not when the machine is slow or others use it as well. */

/** What the work below takes on an idle core of a small server, in milliseconds. */
const REFERENCE = 60;
const MOST = 10;

/** Gives how many milliseconds a fixed piece of work takes now: hashing and arithmetic, some tens of milliseconds. */
export function measure(): number {
  const began = performance.now();
  const block = new Uint8Array(1 << 20);
  for (let i = 0; i < 8; i++) Bun.SHA256.hash(block);
  let sum = 0;
  for (let i = 0; i < 1e7; i++) sum = (sum * 31 + i) | 0;
  // The sum is used, so that the work is not left out.
  return performance.now() - began + (sum === 0.5 ? 1 : 0);
}

/** Gives how many times slower a measured machine is than the one for which bounds are written: 1 to 10. */
export const slowness = (milliseconds: number): number => Math.min(MOST, Math.max(1, milliseconds / REFERENCE));

/** Measured for all files by test/ci.ts, else by whoever runs a file alone. */
const SLOWNESS = Number(process.env.SLUICE_TEST_SLOWNESS) || slowness(measure());

/** Gives a bound for this machine, in milliseconds, from one for an idle small server. */
export const patience = (milliseconds: number): number => Math.round(milliseconds * SLOWNESS);

/** How long a test may take that says nothing itself, in milliseconds, on an idle small server. */
export const BOUND = 60_000;
