/** Seconds after which a body's rate is first looked at, and seconds over which it is averaged. */
const RATE_GRACE = 10;
const RATE_WINDOW = 30;

/** Judges whether a body comes too slowly: by the bytes of the last seconds in which nothing but it was waited for. */
export class BodyRate {
  private waited = 0;
  /** The bytes that had come by the end of each of the last seconds. */
  private arrivals: Float64Array | null = null;

  /** `least`: bytes a second; 0: any. */
  constructor(public least: number) {}

  /** Counts one more second in which nothing but the body was waited for. `received`: its bytes so far. True when it has brought too little of late. */
  isTooSlow(received: number): boolean {
    const judged = ++this.waited - RATE_GRACE;
    if (judged < 0 || this.least === 0) return false;
    this.arrivals ??= new Float64Array(RATE_WINDOW).fill(received);
    const before = this.arrivals[judged % RATE_WINDOW] as number;
    this.arrivals[judged % RATE_WINDOW] = received;
    return judged >= RATE_WINDOW && received - before < this.least * RATE_WINDOW;
  }
}
