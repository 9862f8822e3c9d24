/** Tells what time it is. It is handed in, so that tests decide the time. */
export interface Clock {
  /**
   * Gives milliseconds since 1970 that never run backwards, whatever happens to the system's time, and that all processes of a gateway count alike. For limits and
   * timeouts.
   */
  now(): number;
  /** Gives the system's time in milliseconds since 1970. For calendars, expiry dates and stamps that people read. */
  wall(): number;
}

/** Milliseconds between 1970 and the process' start, by the clock that never runs backwards. */
let started = performance.timeOrigin;

/**
 * Has this process' clock show what that of others on this machine shows. `origin`: milliseconds between 1970 and the beginning of the system's
 * monotonic clock; `ahead`: the milliseconds by which that clock is ahead of `performance.now()`.
 */
export function alignClock(origin: number, ahead: number): void {
  started = origin + ahead;
}

export const systemClock: Clock = {
  now: () => started + performance.now(),
  wall: () => Date.now(),
};
