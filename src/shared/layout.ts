/**
 * The layout of the shared table, in 32-bit words: a header, the workers' records, the insert locks, and slots of 64 bytes.
 *
 * A slot is one word, the subject's fingerprint (2 words), its kind and expiry (1 word), and its state twice: two halves of three doubles.
 * The word is `owner (8 bits) | unsaved (1) | seq (23)`. Its owner is the worker that has the slot locked, 0: nobody. The lowest bit of
 * `seq` says which half counts, so that one store of the word makes the other half count and unlocks the slot.
 */

/** The magic number of the file, and the number of this layout. A file of another layout is never read. */
export const MAGIC = 0x53_4c_54_42;
export const LAYOUT = 1;

/** Words of the header. */
export const HEADER = {
  magic: 0,
  layout: 1,
  slots: 2,
  /** The two words of the seed of the hash; never both 0. */
  seed: 3,
  /** The four words of the system's boot id: times in the table are only good until the next boot. */
  boot: 5,
  /** The two words of the inode of the PID namespace: process ids in the records mean nothing in another one. */
  namespace: 9,
  /** A checksum of the words above. */
  checksum: 11,
  /** Counters: slots in use, subjects that were evicted before they expired, locks that were taken over from the dead. */
  subjects: 16,
  evictions: 32,
  takeovers: 48,
  /** The highest worker id that was ever let. */
  highest: 64,
  /** Milliseconds between 1970 and the beginning of the system's monotonic clock, as the first process saw it: a double, in the two words from here on. */
  origin: 68,
  /** The number of levels in use. */
  levels: 96,
  /** The lock of whoever adds a slab of chunks, and the number of slabs. */
  slabLock: 80,
  slabs: 81,
  /** The size class of each slab. */
  classes: 256,
} as const;

/**
 * What a slot has no room for lies in chunks: files ("slabs") of 4 MiB beside the first one, each of chunks of one size, a power of two from
 * 512 bytes. A chunk begins with 16 bytes: who is about to put something into it, and whose it is (slot and fingerprint). It is in use while
 * the half that counts of that slot, if it still is that subject's, names it: so there is nothing to free, whoever is killed. The third
 * double of such a state is `number of the chunk * 2^34 + rest`; the rest is free for the state's own use.
 */
export const SLAB_BYTES = 1 << 22;
export const MIN_CHUNK = 512;
export const CHUNKS_PER_SLAB = SLAB_BYTES / MIN_CHUNK;
export const CHUNK_HEADER = 16;
/** The most slabs: a chunk's number has 19 bits. */
export const MAX_SLABS = 64;
/** What the number of a chunk is multiplied with in a state. */
export const REST = 2 ** 34;
/** Seconds since 1970 from which on times are counted in the table, so that they fit into 30 bits until 2051. */
const EPOCH = 1_500_000_000;

/** Gives the seconds by which the table counts; `at` in milliseconds of the clock. A clock that began elsewhere (a test's) counts from its own 0. */
export const secondsOf = (at: number): number => {
  const seconds = at / 1000;
  return seconds >= EPOCH ? seconds - EPOCH : seconds;
};

/** The highest id of a worker: an id has 8 bits, 0 is nobody, and 255 stays free. */
export const MAX_WORKERS = 254;
/** The most slots that a step may have. */
export const MAX_STEP = 48;

/** The first word of the records, and the words of each. */
export const RECORDS = 1024;
export const RECORD_WORDS = 64;
/** Words of a worker's record. */
export const RECORD = {
  /** How often the id was let (16 bits), and in the lowest two bits one of the states below. */
  state: 0,
  /** The process, and when it started, by the kernel: a process id may be given out again. */
  pid: 1,
  started: 2,
  /** The same of the process that let the id. */
  letBy: 3,
  letByStarted: 4,
  /** COMMITTED while the slots of a step are unlocked one by one: whoever finds one of a dead worker then rolls it forward. */
  status: 5,
  /** The slot that is being taken for a new subject, and the insert lock for that, each plus 1. */
  victim: 6,
  insertLock: 7,
  /** The number of slots of the step, and the slots. */
  count: 8,
  slots: 9,
} as const;

/** The states of a record: nobody had the id yet; it was let to a process that has not come yet; its process lives; its process is dead. */
export const FREE = 0;
export const LET = 1;
export const ALIVE = 2;
export const DEAD = 3;

export const COMMITTED = 1;

/** The first word of the insert locks, their number, and the words of each: a cache line. */
export const STRIPES = RECORDS + 256 * RECORD_WORDS;
export const STRIPE_COUNT = 1024;
export const STRIPE_WORDS = 16;

/** The first word of the slots, and the words of each. */
export const SLOTS = STRIPES + STRIPE_COUNT * STRIPE_WORDS;
export const SLOT_WORDS = 16;
/** Words of a slot. Its halves begin at the doubles 2 and 5. */
export const WORD = 0;
export const FINGERPRINT = 1;
export const EXPIRES = 3;
export const STATE = 4;
/** The number of slots in which a subject may stand, from the one that its hash names. */
export const WINDOW = 32;

export const OWNER_SHIFT = 24;
export const UNSAVED = 1 << 23;
export const SEQ = UNSAVED - 1;
/** What of the word stays when its owner is taken off. */
export const UNOWNED = (1 << OWNER_SHIFT) - 1;

/** The kinds of slots: a state of three doubles, columns of a concurrency limit, a log in a chunk, and a value in a chunk. */
export const PLAIN = 0;
export const COLUMNS = 1;
export const LOG = 2;
export const VALUE = 3;
export type Kind = typeof PLAIN | typeof COLUMNS | typeof LOG | typeof VALUE;
/** The kind is in the highest two bits of its word; the expiry, in seconds of `secondsOf`, in the others. */
export const KIND_SHIFT = 30;
export const NEVER = (1 << KIND_SHIFT) - 1;

/** The second word of the fingerprint of a slot whose subject was never finished; the first is 0. Both 0: never used. */
export const TOMBSTONE = -1;

/**
 * Slots are used in levels, each as large as all below it together, so that few subjects take little memory: level 0 has the first 4,096, level 1
 * as many more, level 2 twice as many, and so on. A level is begun when 0.6 of those before are in use and none of a subject's windows has
 * a slot that has expired. A subject may be in any level.
 */
const FIRST_LEVEL = 4096;

/** Gives the slots of level 0 of a table of so many slots. */
export const firstLevelOf = (slots: number): number => Math.min(slots, FIRST_LEVEL);

/** Gives the number of slots in so many levels. */
export const slotsIn = (levels: number, slots: number): number => firstLevelOf(slots) * 2 ** (levels - 1);

/** Gives the slots for so many subjects: a power of two, at most 0.6 of which are in use. */
export const slotsFor = (maxSubjects: number): number => 2 ** Math.max(6, Math.ceil(Math.log2(Math.max(1, maxSubjects) / 0.6)));

/** Gives the bytes of a file of so many slots. */
export const bytesFor = (slots: number): number => (SLOTS + slots * SLOT_WORDS) * 4;
