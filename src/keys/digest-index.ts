/** The words of 32 bits that a slot has: the first 64 bits of a hash, and the row. A row of 0: the slot is free. */
const WORDS = 3;
const ROW = 2;
const FEWEST_SLOTS = 1024;
/** The share of slots that are taken before there are twice as many: probes stay short, and a key takes 32 bytes at the most. */
const FULLEST = 0.75;

/**
 * Says in which row of a table each hash (SHA-256 in hexadecimal, small letters) stands, by its first 64 bits: 16 to 32 bytes a hash.
 * Hashes that begin alike are one to it, and whoever imports hashes may choose them so: whoever asks compares the whole hash with the
 * row's. Rows are numbers from 1 to 4,294,967,295.
 *
 * @example
 * [new DigestIndex()].map((index) => (index.set("9f86d081884c7d65…", 7), index.get("9f86d081884c7d65…")))[0]; // 7
 */
export class DigestIndex {
  private slots = new Uint32Array(FEWEST_SLOTS * WORDS);
  private mask = FEWEST_SLOTS - 1;
  private count = 0;
  /** The beginnings under which several rows were entered. */
  private readonly shared = new Set<string>();
  /** Hashes that somebody has chosen must not all fall on one place. */
  private readonly seed = Math.floor(Math.random() * 2 ** 32);

  /** The number of hashes that begin differently. */
  get size(): number {
    return this.count;
  }

  /** Gives the row of the hash that begins like this one; 0: none does. */
  get(hash: string): number {
    return this.slots[this.placeOf(wordAt(hash, 0), wordAt(hash, 8)) + ROW] as number;
  }

  /** Enters a hash, in the place of one that begins alike. */
  set(hash: string, row: number): void {
    this.put(wordAt(hash, 0), wordAt(hash, 8), row);
  }

  /** Tells whether several rows were entered under the beginning of this hash, so that another one may be left when it goes. */
  isShared(hash: string): boolean {
    return this.shared.size > 0 && this.shared.has(nameOf(wordAt(hash, 0), wordAt(hash, 8)));
  }

  /** Enters many: of each 12 bytes, which are the first 8 of its hash and its row, the highest byte first. */
  setAll(packed: DataView): void {
    for (let at = 0; at < packed.byteLength; at += WORDS * 4)
      this.put(packed.getUint32(at), packed.getUint32(at + 4), packed.getUint32(at + 8));
  }

  /** Takes out the hash that begins like this one. */
  delete(hash: string): void {
    const { slots } = this;
    let hole = this.placeOf(wordAt(hash, 0), wordAt(hash, 8));
    if (slots[hole + ROW] === 0) return;
    this.count--;
    // Those behind it that would not be found any more across a free slot are moved up.
    for (let at = this.next(hole); slots[at + ROW] !== 0; at = this.next(at)) {
      if (this.distance(this.homeOf(slots[at] as number, slots[at + 1] as number), at) < this.distance(hole, at)) continue;
      slots.copyWithin(hole, at, at + WORDS);
      hole = at;
    }
    slots.fill(0, hole, hole + WORDS);
  }

  /** Makes room for so many hashes, so that it does not have to be made while they come. */
  reserve(count: number): void {
    let room = this.mask + 1;
    while (count > room * FULLEST) room *= 2;
    if (room > this.mask + 1) this.resize(room);
  }

  private put(high: number, low: number, row: number): void {
    const at = this.placeOf(high, low);
    const before = this.slots[at + ROW] as number;
    if (before !== 0 && before !== row) this.shared.add(nameOf(high, low));
    this.slots[at] = high;
    this.slots[at + 1] = low;
    this.slots[at + ROW] = row;
    if (before === 0 && ++this.count > (this.mask + 1) * FULLEST) this.resize((this.mask + 1) * 2);
  }

  private resize(room: number): void {
    const before = this.slots;
    this.slots = new Uint32Array(room * WORDS);
    this.mask = room - 1;
    for (let from = 0; from < before.length; from += WORDS) {
      if (before[from + ROW] === 0) continue;
      const at = this.placeOf(before[from] as number, before[from + 1] as number);
      for (let word = 0; word < WORDS; word++) this.slots[at + word] = before[from + word] as number;
    }
  }

  /** Gives where the first word of a hash is, or of the free slot where it would be. */
  private placeOf(high: number, low: number): number {
    const { slots } = this;
    let at = this.homeOf(high, low);
    while (slots[at + ROW] !== 0 && (slots[at] !== high || slots[at + 1] !== low)) at = this.next(at);
    return at;
  }

  private homeOf(high: number, low: number): number {
    // Multipliers and shifts of MurmurHash3's last step (https://github.com/aappleby/smhasher, fmix32).
    let mixed = Math.imul(high ^ this.seed, 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13) ^ low, 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) & this.mask) * WORDS;
  }

  private next(at: number): number {
    return at + WORDS === this.slots.length ? 0 : at + WORDS;
  }

  /** Gives how far it is from one place to another that comes behind it, round the end if need be. */
  private distance(from: number, to: number): number {
    return to >= from ? to - from : to - from + this.slots.length;
  }
}

const nameOf = (high: number, low: number): string => `${high} ${low}`;

/** Reads 8 hexadecimal digits. */
function wordAt(hash: string, from: number): number {
  let word = 0;
  for (let i = from; i < from + 8; i++) {
    const code = hash.charCodeAt(i);
    // Letters are 0x61 and up.
    word = (word << 4) | ((code & 15) + (code >> 6) * 9);
  }
  return word >>> 0;
}
