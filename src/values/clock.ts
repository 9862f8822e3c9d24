/** Tells what time it is. It is handed in, so that tests decide the time. */
export interface Clock {
  /**
   * Gives milliseconds since 1970 that never run backwards within a process, whatever happens to the system's time. For limits and
   * timeouts.
   */
  now(): number;
  /** Gives the system's time in milliseconds since 1970. For calendars, expiry dates and stamps that people read. */
  wall(): number;
}

export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  wall: () => Date.now(),
};
