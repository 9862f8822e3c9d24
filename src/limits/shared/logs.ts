import { type Chunks, chunkOf, restOf, thirdOf } from "../../shared/chunks.ts";
import type { State } from "../algorithms/algorithm.ts";
import { moveLog, roomierLog, type SlidingLog } from "../algorithms/sliding-log.ts";

/** The numbers in front of a ring: twice its head, its length and what it costs together, one of them what counts. */
const LOT = 3;
const FRONT = 2 * LOT;

/**
 * Keeps the rings of sliding logs in chunks. Beside the newest request a slot names its chunk, and which of the two lots in front of the ring
 * counts: so what is written for the next state, ring and lot, lies outside of what counts until the slot is committed.
 */
export class Logs {
  constructor(private readonly chunks: Chunks) {}

  /** Finds the ring of a state that was loaded. False: what was read without a lock can't be right, as it changes just now, or the ring can't be had. */
  find(state: State): boolean {
    const log = state as SlidingLog;
    if (log.chunk === 0) return true;
    const chunk = chunkOf(log.chunk);
    const memory = this.chunks.memoryOf(chunk);
    if (memory === null) return false;
    const { f64 } = memory;
    const front = this.frontOf(chunk);
    const lot = front + restOf(log.chunk) * LOT;
    const capacity = this.capacityOf(chunk);
    const head = f64[lot] as number;
    const length = f64[lot + 1] as number;
    if (!(head >= 0 && head < capacity && length >= 0 && length <= capacity)) return false;
    log.numbers = f64;
    log.at = front + FRONT;
    log.capacity = capacity;
    log.head = head;
    log.length = length;
    log.room = capacity - length;
    log.used += f64[lot + 2] as number;
    return true;
  }

  /** Makes room for a request at `now` of a subject of the locked step, where it is to have a pair of its own. */
  makeRoom(state: State, position: number, now: number): void {
    const log = state as SlidingLog;
    if (log.room > 0 || log.lastCost === 0 || log.last === now) return;
    // Without room the two newest are one, at the later time: that denies more, never less.
    if (!this.move(log, position, now)) log.last = now;
  }

  /** Writes the lot that is to count, and names it in the state. */
  save(state: State, position: number, now: number): void {
    const log = state as SlidingLog;
    // A state from storage has its ring elsewhere.
    if (log.length > 0 && log.chunk === 0 && !this.move(log, position, now)) {
      log.lastCost = log.used;
      log.length = 0;
    }
    if (log.length === 0) {
      log.chunk = 0;
      return;
    }
    const chunk = chunkOf(log.chunk);
    const next = 1 - restOf(log.chunk);
    const lot = this.frontOf(chunk) + next * LOT;
    log.numbers[lot] = log.head;
    log.numbers[lot + 1] = log.length;
    log.numbers[lot + 2] = log.used - log.lastCost;
    log.chunk = thirdOf(chunk, next);
  }

  /** Puts a log's ring into a chunk with more room. False: there is none. */
  private move(log: SlidingLog, position: number, now: number): boolean {
    const { chunks } = this;
    const chunk = chunks.claim(position, (FRONT + 2 * roomierLog(log)) * Float64Array.BYTES_PER_ELEMENT, now);
    const memory = chunk === 0 ? null : chunks.memoryOf(chunk);
    if (memory === null) return false;
    moveLog(log, memory.f64, this.frontOf(chunk) + FRONT, this.capacityOf(chunk));
    log.chunk = thirdOf(chunk, 0);
    return true;
  }

  private frontOf(chunk: number): number {
    return this.chunks.offsetOf(chunk) / Float64Array.BYTES_PER_ELEMENT;
  }

  private capacityOf(chunk: number): number {
    return (this.chunks.sizeOf(chunk) / Float64Array.BYTES_PER_ELEMENT - FRONT) >> 1;
  }
}
