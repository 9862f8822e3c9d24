/** Bounds the time that a hook takes: while the plug-in waits for a body, the clock stands still. */
export class Deadline {
  private timer: Timer | null = null;
  private since = 0;

  /** Begins. `left`: milliseconds until `onOver` is called. */
  constructor(
    private left: number,
    private readonly onOver: () => void,
  ) {
    this.go();
  }

  pause(): void {
    if (this.timer === null) return;
    clearTimeout(this.timer);
    this.timer = null;
    this.left -= performance.now() - this.since;
  }

  go(): void {
    if (this.timer !== null) return;
    this.since = performance.now();
    this.timer = setTimeout(this.onOver, Math.max(0, this.left));
  }

  /** Ends it; it is not called any more. */
  close(): void {
    if (this.timer !== null) clearTimeout(this.timer);
  }
}
