const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Milliseconds between one try and the next: eight tries over a day, close together first, as Standard Webhooks proposes. */
export const DELAYS: readonly number[] = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 4 * HOUR, 7 * HOUR, 10 * HOUR];

/** The part of a delay by which it is shorter or longer, so that what failed together does not come back together. */
const JITTER = 0.1;

/**
 * Gives the milliseconds until the next try after so many of them; `null`: that was the last. `random`: from 0 up to 1.
 *
 * @example
 * delayAfter(1, 0.5); // 5000
 */
export function delayAfter(tries: number, random: number): number | null {
  const delay = DELAYS[tries - 1];
  return delay === undefined ? null : Math.round(delay * (1 - JITTER + 2 * JITTER * random));
}
