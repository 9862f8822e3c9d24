import {
  ALIVE,
  COMMITTED,
  DEAD,
  FREE,
  HEADER,
  LET,
  MAX_STEP,
  MAX_WORKERS,
  OWNER_SHIFT,
  RECORD,
  RECORD_WORDS,
  RECORDS,
  SEQ,
  SLOT_WORDS,
  SLOTS,
  STRIPE_WORDS,
  STRIPES,
  UNSAVED,
} from "./layout.ts";
import { isProcessDead, processState } from "./processes.ts";

/** Names a worker of the table: its id, how often that id was let, and the seed of the table, so that nobody joins another one. */
export interface Ticket {
  readonly worker: number;
  readonly generation: number;
  readonly seed: number;
}

/** Gives the first word of a worker's record. */
export const recordOf = (worker: number): number => RECORDS + worker * RECORD_WORDS;

/** Gives what a record's state word says of its worker: how often the id was let, and whether it lives. */
const stateOf = (word: number): number => word & 3;
const generationOf = (word: number): number => word >>> 2;
const stateWord = (generation: number, state: number): number => (generation << 2) | state;

/** Gives the state word of a worker that lives. */
export const aliveWord = (generation: number): number => stateWord(generation, ALIVE);

/**
 * Lets the lowest id that nobody has. Only under the region's lock. `null`: all are taken. What the one before held is freed first. Until
 * the process that is to have the id takes it, the id is good for as long as this process lives.
 */
export function letId(i32: Int32Array): Ticket | null {
  for (let worker = 1; worker <= MAX_WORKERS; worker++) {
    const record = recordOf(worker);
    const word = Atomics.load(i32, record + RECORD.state);
    if (stateOf(word) !== FREE && stateOf(word) !== DEAD) continue;
    recover(i32, worker, word);
    for (const at of [RECORD.status, RECORD.count, RECORD.victim, RECORD.insertLock, RECORD.pid, RECORD.started, RECORD.letBy])
      Atomics.store(i32, record + at, 0);
    Atomics.store(i32, record + RECORD.letByStarted, processState(process.pid)?.started ?? 0);
    Atomics.store(i32, record + RECORD.letBy, process.pid);
    if (worker > Atomics.load(i32, HEADER.highest)) Atomics.store(i32, HEADER.highest, worker);
    // 0 would be a column's that was never used.
    const generation = (generationOf(word) + 1) & 0xffff || 1;
    Atomics.store(i32, record + RECORD.state, stateWord(generation, LET));
    return { worker, generation, seed: i32[HEADER.seed] ?? 0 };
  }
  return null;
}

/** Takes the id that was let to this process. False: it was taken back, or is another table's. */
export function takeId(i32: Int32Array, { worker, generation, seed }: Ticket): boolean {
  if (worker < 1 || worker > MAX_WORKERS || i32[HEADER.seed] !== seed) return false;
  const record = recordOf(worker);
  const word = stateWord(generation, LET);
  if (Atomics.compareExchange(i32, record + RECORD.state, word, aliveWord(generation)) !== word) return false;
  // The start before the id: whoever reads an id then reads its start.
  Atomics.store(i32, record + RECORD.started, processState(process.pid)?.started ?? 0);
  Atomics.store(i32, record + RECORD.pid, process.pid);
  return true;
}

/** Declares a worker dead whose end is certain, and frees all that it held. Returns false when it was declared dead before. */
export function declareDead(i32: Int32Array, worker: number, generation: number): boolean {
  const at = recordOf(worker) + RECORD.state;
  const dead = stateWord(generation, DEAD);
  const was = [ALIVE, LET].some((state) => {
    const word = stateWord(generation, state);
    return Atomics.compareExchange(i32, at, word, dead) === word;
  });
  // Also where somebody who waited has found it dead: that one freed what it waited for alone.
  recover(i32, worker, dead);
  return was;
}

/** Declares those dead whose processes are, and returns how many. `all`: it is known that none lives. */
export function buryDead(i32: Int32Array, all: boolean): number {
  let found = 0;
  const highest = Math.min(MAX_WORKERS, Atomics.load(i32, HEADER.highest));
  for (let worker = 1; worker <= highest; worker++) {
    const word = Atomics.load(i32, recordOf(worker) + RECORD.state);
    if (stateOf(word) === DEAD) recover(i32, worker, word);
    else if ((all || isProcessOfRecordDead(i32, worker, word)) && declareDead(i32, worker, generationOf(word))) found++;
  }
  return found;
}

function isProcessOfRecordDead(i32: Int32Array, worker: number, word: number): boolean {
  const record = recordOf(worker);
  const [pid, started] = stateOf(word) === LET ? [RECORD.letBy, RECORD.letByStarted] : [RECORD.pid, RECORD.started];
  return isProcessDead(Atomics.load(i32, record + pid), Atomics.load(i32, record + started));
}

/** Tells whether a worker that counts as alive is dead by what the kernel says, and then writes that down. Takes 0.1 ms. */
export function isFoundDead(i32: Int32Array, worker: number): boolean {
  const at = recordOf(worker) + RECORD.state;
  const word = Atomics.load(i32, at);
  if (stateOf(word) !== ALIVE || !isProcessOfRecordDead(i32, worker, word)) return false;
  return Atomics.compareExchange(i32, at, word, stateWord(generationOf(word), DEAD)) === word;
}

/** Tells whether a worker is known to be dead. */
export const isDead = (i32: Int32Array, worker: number): boolean => stateOf(Atomics.load(i32, recordOf(worker) + RECORD.state)) === DEAD;

/** Lists the workers that live, or are about to, with the ids of their processes; 0 where it has not come yet. */
export function listWorkers(i32: Int32Array): readonly { readonly worker: number; readonly generation: number; readonly pid: number }[] {
  const list = [];
  for (let worker = 1; worker <= MAX_WORKERS; worker++) {
    const record = recordOf(worker);
    const word = Atomics.load(i32, record + RECORD.state);
    if (stateOf(word) === ALIVE || stateOf(word) === LET)
      list.push({ worker, generation: generationOf(word), pid: Atomics.load(i32, record + RECORD.pid) });
  }
  return list;
}

/**
 * Frees a lock of a dead worker: forward if the step was committed, else back. `word` is what was read there before the worker was seen to
 * be dead. The lock is never freed with the number that it was taken with, so that a late `resolve` of the same word fails. False: somebody
 * else did it.
 */
export function resolve(i32: Int32Array, at: number, word: number): boolean {
  const isCommitted = Atomics.load(i32, recordOf(word >>> OWNER_SHIFT) + RECORD.status) === COMMITTED;
  const next = (word & UNSAVED) | ((word + (isCommitted ? 1 : 2)) & SEQ);
  if (Atomics.compareExchange(i32, at, word, next) !== word) return false;
  Atomics.add(i32, HEADER.takeovers, 1);
  return true;
}

/**
 * Frees all locks of a worker, if its record still says `dead`. Several processes may do so at once: the record's lists stay as they are
 * until the id is let again.
 */
function recover(i32: Int32Array, worker: number, dead: number): void {
  const record = recordOf(worker);
  const freeAt = (at: number): void => {
    // Of a level that it has just begun: freed by whoever lets the id again, or needs the slot.
    if (at >= i32.length) return;
    const word = Atomics.load(i32, at);
    if (word >>> OWNER_SHIFT === worker && Atomics.load(i32, record + RECORD.state) === dead) resolve(i32, at, word);
  };
  const count = Math.min(MAX_STEP, i32[record + RECORD.count] ?? 0);
  for (let k = 0; k < count; k++) freeAt(SLOTS + (i32[record + RECORD.slots + k] ?? 0) * SLOT_WORDS);
  const victim = (i32[record + RECORD.victim] ?? 0) - 1;
  if (victim >= 0) freeAt(SLOTS + victim * SLOT_WORDS);
  const stripe = (i32[record + RECORD.insertLock] ?? 0) - 1;
  if (stripe >= 0) freeAt(STRIPES + stripe * STRIPE_WORDS);
  freeAt(HEADER.slabLock);
}
