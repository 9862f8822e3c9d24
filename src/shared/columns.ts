import { COLUMNS, EXPIRES, FINGERPRINT, HEADER, NEVER, RECORD, SLOT_WORDS, SLOTS, STATE } from "./layout.ts";
import { aliveWord, recordOf } from "./members.ts";
import type { Table } from "./table.ts";

/**
 * Counts what is in flight. The 48 bytes of a slot's state are twelve columns `generation (16 bits) | count (16 bits)`, one for each worker
 * id; workers above 12 have theirs in further slots, the pages. A worker writes its own column alone, and what a dead one's says counts for
 * nothing: so there is nothing to free when a worker is killed.
 */

const PER_SLOT = 12;
/** The most that one worker may hold of one subject. */
const MAX_COUNT = 0xffff;

const pageOf = (worker: number): number => Math.floor((worker - 1) / PER_SLOT);

/**
 * Adds a concurrency limit's subject to a step, and gives its position; workers above 12 need two positions for it. Instead of `live`,
 * `next` and `change`, use `inFlight` and `hold`.
 */
export function enterColumns(table: Table, key: Parameters<Table["enter"]>[0], subject: string): number {
  const position = table.enter(key, subject, COLUMNS);
  const page = pageOf(table.worker);
  if (page > 0) table.enterHashed(pagedA(table.hashAOf(position), page), table.hashBOf(position), COLUMNS, page);
  return position;
}

/**
 * Gives what all workers that live hold of a subject. Exact while the step is locked; else as it was a moment ago, and 0 for a subject that
 * has no slot.
 */
export function inFlight(table: Table, position: number): number {
  const slot = table.slotOf(position);
  let sum = slot < 0 ? 0 : heldIn(table.i32, SLOTS + slot * SLOT_WORDS, 0);
  const last = pageOf(Math.max(1, Atomics.load(table.i32, HEADER.highest)));
  for (let page = 1; page <= last; page++) {
    const a = pagedA(table.hashAOf(position), page);
    const b = table.hashBOf(position);
    const further = table.find(a, b);
    if (further < 0) continue;
    // Read here: `find` may have found more of the memory to be in use.
    const { i32 } = table;
    const at = SLOTS + further * SLOT_WORDS;
    const held = heldIn(i32, at, page);
    // Nobody holds anything in a page that was given to another subject meanwhile.
    if (Atomics.load(i32, at + FINGERPRINT) === a && i32[at + FINGERPRINT + 1] === b) sum += held;
  }
  return sum;
}

/**
 * Holds so many, a whole number, in this worker's column: to be called before `commit`, and not if the step is aborted. Gives the column,
 * for `release`; -1 when one worker may not hold so many (65,535) of one subject: then nothing is held.
 */
export function hold(table: Table, position: number, cost: number): number {
  const { i32, worker, generation } = table;
  const page = pageOf(worker);
  const slot = table.slotOf(
    page === 0 ? position : table.enterHashed(pagedA(table.hashAOf(position), page), table.hashBOf(position), COLUMNS, page),
  );
  const column = SLOTS + slot * SLOT_WORDS + STATE + ((worker - 1) % PER_SLOT);
  const word = i32[column] as number;
  const count = word >>> 16 === generation ? word & MAX_COUNT : 0;
  if (count + cost > MAX_COUNT) return -1;
  Atomics.store(i32, column, (generation << 16) | (count + cost));
  return column;
}

/** Gives back what was held in a column. Takes no lock. */
export function release(table: Table, column: number, cost: number): void {
  Atomics.sub(table.i32, column, cost);
}

/** Tells whether a worker that lives holds something in a slot of columns, given the slot's first word. */
export const isHeld = (i32: Int32Array, at: number): boolean => heldIn(i32, at, (i32[at + EXPIRES] as number) & NEVER) > 0;

function heldIn(i32: Int32Array, at: number, page: number): number {
  let sum = 0;
  for (let k = 0; k < PER_SLOT; k++) {
    const word = i32[at + STATE + k] as number;
    const count = word & MAX_COUNT;
    if (count > 0 && i32[recordOf(page * PER_SLOT + k + 1) + RECORD.state] === aliveWord(word >>> 16)) sum += count;
  }
  return sum;
}

/** Gives the first word of the fingerprint of a subject's further slot. */
const pagedA = (a: number, page: number): number => Math.imul(a ^ page, 0x9e_37_79_b1) || 1;
