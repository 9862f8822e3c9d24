/** Where time comes from. Handed in, so that tests decide what time it is. */
export interface Clock {
  /** Milliseconds since 1970 that never run backwards within a process, whatever happens to the system's time. For limits and timeouts. */
  now(): number;
  /** The system's time in milliseconds since 1970. For calendars, expiry dates and stamps that people read. */
  wall(): number;
}

export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  wall: () => Date.now(),
};
