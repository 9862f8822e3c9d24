/** Says how much may be kept besides the number of things, in a measure of its own such as bytes. */
export interface Weight<V> {
  readonly max: number;
  readonly of: (value: V) => number;
}

/**
 * Keeps things by their keys, bounded: in two halves, the younger of which becomes the older one when it is full. What was in that is gone
 * then, unless somebody has asked for it meanwhile. So it costs a look-up or two, and no list of who came when.
 *
 * @example
 * [new Halves(1000)].map((known) => (known.set("a", 1), known.get("a")))[0]; // 1
 */
export class Halves<K, V extends object | string | number | boolean | null> {
  private young = new Map<K, V>();
  private old = new Map<K, V>();
  /** What the younger half weighs. */
  private held = 0;

  /** Takes the most things that are kept, 2 at least. */
  constructor(
    private readonly max: number,
    private readonly weight: Weight<V> | null = null,
  ) {}

  /** The number of things that are kept. */
  get size(): number {
    return this.young.size + this.old.size;
  }

  /** Gives what is kept under a key, and makes it one of the younger; `undefined`: nothing is. */
  get(key: K): V | undefined {
    const value = this.young.get(key);
    if (value !== undefined) return value;
    const older = this.old.get(key);
    if (older !== undefined) this.set(key, older);
    return older;
  }

  /** Keeps a value in the place of the one before. One that is heavier than half of what may be kept must not be given. */
  set(key: K, value: V): void {
    this.delete(key);
    const own = this.weight?.of(value) ?? 0;
    if (this.young.size + 1 > this.max / 2 || (this.weight !== null && this.held + own > this.weight.max / 2)) {
      this.old = this.young;
      this.young = new Map();
      this.held = 0;
    }
    this.young.set(key, value);
    this.held += own;
  }

  delete(key: K): void {
    const { weight } = this;
    const value = weight === null ? undefined : this.young.get(key);
    if (weight !== null && value !== undefined) this.held -= weight.of(value);
    this.young.delete(key);
    this.old.delete(key);
  }

  /** Forgets all for which `isOver` holds. */
  forget(isOver: (value: V) => boolean): void {
    for (const half of [this.young, this.old]) for (const [key, value] of half) if (isOver(value)) this.delete(key);
  }

  clear(): void {
    this.young.clear();
    this.old.clear();
    this.held = 0;
  }
}
