// What a worker has done, in a file of its own that is whole whenever the worker is killed.

/** The subjects of the model: the counters, those that keep a log besides, and the value. */
export const PLAIN_KEYS = 8;
export const LOG_KEYS = 4;
export const VALUE_KEY = PLAIN_KEYS + LOG_KEYS;
export const KEYS = VALUE_KEY + 1;

/** Doubles: two intents of mask and number, and twice a count and a sum for each key. */
const INTENTS = 8;
const HALF = 2 * KEYS;
const TOTALS = INTENTS + 4;
export const JOURNAL_BYTES = (TOTALS + 2 * HALF) * 8;

/** Says what one operation adds: 1 to the count, and `number` to the sum, of each key in the mask. */
export interface Intent {
  readonly mask: number;
  readonly number: number;
}

export class Journal {
  private readonly i32: Int32Array;
  private readonly f64: Float64Array;

  constructor(path: string) {
    const { buffer } = Bun.mmap(path, { shared: true });
    this.i32 = new Int32Array(buffer);
    this.f64 = new Float64Array(buffer);
  }

  /** The number of operations that are done. */
  get done(): number {
    return Atomics.load(this.i32, 0);
  }

  /** The place in the source at which the worker killed itself; -1: it did not. */
  get site(): number {
    return Atomics.load(this.i32, 1) - 1;
  }

  set site(site: number) {
    Atomics.store(this.i32, 1, site + 1);
  }

  /** Locks that others held for too long, and operations that were left. */
  get busy(): number {
    return Atomics.load(this.i32, 2);
  }

  countBusy(): void {
    Atomics.add(this.i32, 2, 1);
  }

  intend(mask: number, number: number): void {
    const at = INTENTS + (this.done & 1) * 2;
    this.f64[at] = mask;
    this.f64[at + 1] = number;
  }

  /** The operation that was not noted as done: it has happened wholly or not at all, or was not begun. */
  get intent(): Intent {
    const at = INTENTS + (this.done & 1) * 2;
    return { mask: this.f64[at] ?? 0, number: this.f64[at + 1] ?? 0 };
  }

  /** Notes the intended operation as done (`happened`), or as one that changed nothing. */
  finish(happened: boolean): void {
    const { i32, f64, done } = this;
    const { mask, number } = this.intent;
    const from = TOTALS + (done & 1) * HALF;
    const to = TOTALS + ((done + 1) & 1) * HALF;
    for (let key = 0; key < KEYS; key++) {
      const counts = happened && ((mask >> key) & 1) === 1;
      f64[to + 2 * key] = (f64[from + 2 * key] ?? 0) + (counts ? 1 : 0);
      f64[to + 2 * key + 1] = (f64[from + 2 * key + 1] ?? 0) + (counts ? number : 0);
    }
    // An intent that is half overwritten must not look like one that may have happened.
    f64[INTENTS + ((done + 1) & 1) * 2] = 0;
    Atomics.store(i32, 0, done + 1);
  }

  /** The count and the sum of a key. */
  total(key: number): readonly [count: number, sum: number] {
    const at = TOTALS + (this.done & 1) * HALF + 2 * key;
    return [this.f64[at] ?? 0, this.f64[at + 1] ?? 0];
  }
}
