import { networkOf } from "../../values/ip.ts";
import { type Allowance, Budget } from "./budget.ts";
import type { CutOffCause } from "./frame-watch.ts";

/** Streams that one address may reset before they are answered, over all its connections. */
const RESETS_OF_ADDRESS: Allowance = { burst: 10_000, perSecond: 330 };
/** The connections of an address that are cut off before it gets no HTTP/2 for a while, and the seconds for which all that is remembered. */
const BARRED_AFTER = 5;
const REMEMBERED_FOR = 60;
/** The addresses that are remembered at once: those of a flood from more are judged by connection alone. */
const MAX_ADDRESSES = 10_000;

interface Offender {
  resets: Budget;
  count: number;
  /** The second of the last cut, or else of the first reset. */
  at: number;
}

/** Counts connections of HTTP/2 that were cut off, and knows the addresses that go on with it over further ones. */
export class CutOffs {
  /** Connections that were cut off since the start. */
  readonly counts: Record<CutOffCause, number> = {
    resets: 0,
    streams: 0,
    settings: 0,
    pings: 0,
    headers: 0,
    frames: 0,
    slow: 0,
    address: 0,
  };
  private sweptAt = -1;
  private toldAt = -1;
  private readonly offenders = new Map<string, Offender>();

  /** `isShared` tells addresses that many clients come from by their nature: of these none is remembered. `now`: milliseconds. */
  constructor(
    private readonly isShared: (ip: string) => boolean,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Counts one that was cut off. True for the first of its address for a while, which is worth telling. */
  note(cause: CutOffCause, ip: string): boolean {
    this.counts[cause]++;
    const offender = this.of(ip);
    if (offender === null) return this.isFirstOfSecond();
    offender.at = this.second;
    return ++offender.count === 1;
  }

  /** Tells whether this address gets no HTTP/2 for now. */
  isBarred(ip: string): boolean {
    const offender = this.offenders.get(networkOf(ip));
    return offender !== undefined && offender.count >= BARRED_AFTER && this.second - offender.at < REMEMBERED_FOR;
  }

  /** Counts a stream that was reset before it was answered. False when its address has reset too many. */
  mayReset(ip: string): boolean {
    return this.of(ip)?.resets.take(this.second) ?? true;
  }

  /** Of addresses that are not remembered one a second is told. */
  private isFirstOfSecond(): boolean {
    const { second } = this;
    if (second === this.toldAt) return false;
    this.toldAt = second;
    return true;
  }

  private get second(): number {
    return Math.floor(this.now() / 1000);
  }

  /** Gives what is known of an address; `null` where nothing is remembered of it. */
  private of(ip: string): Offender | null {
    if (this.isShared(ip)) return null;
    const { second } = this;
    const network = networkOf(ip);
    let offender = this.offenders.get(network);
    if (offender === undefined || second - offender.at >= REMEMBERED_FOR) {
      if (offender === undefined && this.offenders.size >= MAX_ADDRESSES && !this.forget(second)) return null;
      offender = { resets: new Budget(RESETS_OF_ADDRESS), count: 0, at: second };
      this.offenders.set(network, offender);
    }
    return offender;
  }

  /** Forgets those that have been quiet. False when there is none. */
  private forget(second: number): boolean {
    // No more than once a second, or the flood would have us do nothing else.
    if (second === this.sweptAt) return false;
    this.sweptAt = second;
    for (const [network, { at }] of this.offenders) if (second - at >= REMEMBERED_FOR) this.offenders.delete(network);
    return this.offenders.size < MAX_ADDRESSES;
  }
}
