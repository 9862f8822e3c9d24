/** Does a step again and again, each after the one before: at once, after the time that a step gives, or when it is woken. */
export class Loop {
  private timer: Timer | null = null;
  private running: Promise<void> | null = null;
  private isWoken = false;
  private isStopped = false;

  /**
   * Takes the step, which gives the milliseconds until there is more to do (0: at once; infinite: when it is woken), and what gives them when
   * the step throws.
   */
  constructor(
    private readonly step: () => Promise<number>,
    private readonly onError: (error: unknown) => number,
  ) {}

  /** Says that there may be something to do. */
  wake(): void {
    if (this.isStopped) return;
    if (this.running !== null) {
      this.isWoken = true;
      return;
    }
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.running = this.run();
  }

  /** Ends when the step that is under way has ended; there is no further one. */
  async stop(): Promise<void> {
    this.isStopped = true;
    if (this.timer !== null) clearTimeout(this.timer);
    await this.running;
  }

  private async run(): Promise<void> {
    let wait = 0;
    while (wait === 0 && !this.isStopped) {
      // Others have their turn between two steps.
      await new Promise((resolve) => setImmediate(resolve));
      this.isWoken = false;
      wait = await this.step().catch((error: unknown) => this.onError(error));
      if (this.isWoken) wait = 0;
    }
    this.running = null;
    if (this.isStopped || !Number.isFinite(wait)) return;
    this.timer = setTimeout(() => this.wake(), Math.min(wait, 60_000));
  }
}
