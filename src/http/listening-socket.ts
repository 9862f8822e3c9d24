import { closeSync } from "node:fs";
import { copyDescriptor, isQuiet } from "./kernel.ts";

/** Holds a listening socket that processes share: the supervisor opens it, and each worker takes connections from its one queue. */
export interface ListeningSocket {
  readonly descriptor: number;
  readonly port: number;
}

/** Counts connections for all processes that share a socket. */
export interface ConnectionCounts {
  /** Notes how many connections this process has now on one of its sockets. */
  note(count: number): void;
  /** The number of connections that this process has, on all its sockets together. */
  readonly own: number;
  /** Gives the number of connections of that other process which has the fewest; `null` while there is no other. */
  readonly least: number | null;
}

/** Makes, for each socket of a process, what counts its connections: all as one number, which others compare with theirs. */
export function sharesOf(counts: Pick<ConnectionCounts, "note" | "least">): () => ConnectionCounts {
  let own = 0;
  return () => {
    let part = 0;
    return {
      note: (count) => {
        own += count - part;
        part = count;
        counts.note(own);
      },
      get own() {
        return own;
      },
      get least() {
        return counts.least;
      },
    };
  };
}

/** Milliseconds between two looks of a process that takes no connections for now. */
const LOOK_EVERY = 10;
/** The looks in a row at which a connection waited that nobody took: the one with the fewest is busy, or hangs. */
const UNATTENDED = 3;

/**
 * Takes part in sharing out the connections of one listening socket. Whoever wakes first takes all that wait, and what is kept alive stays where it is: so
 * a process that has clearly more connections than the one with the fewest leaves them to others until they have caught up. (With a queue of its own for each
 * process, SO_REUSEPORT, the kernel shares out by chance, and what waits in the queue of a process that is killed is reset.)
 */
export class SharedAccept {
  private listener: { stop(closeActive?: boolean): void } | null = null;
  private timer: Timer | null = null;
  private unattended = 0;
  private isClosed = false;

  constructor(
    private readonly socket: ListeningSocket,
    private readonly counts: ConnectionCounts,
    /** Begins to take connections from a descriptor, which is then its own. */
    private readonly begin: (descriptor: number) => { stop(closeActive?: boolean): void },
  ) {
    counts.note(0);
    this.join();
  }

  /** Learns of each connection of this socket that has come or gone. `count`: how many there are now. */
  changed(count: number): void {
    this.counts.note(count);
    if (this.isClosed) return;
    if (this.hasEnough) this.leave();
    else if (this.listener === null) this.tryToJoin();
  }

  /** Begins to take connections anew, by another `begin`; one that leaves them to others does so when it joins again. Throws where it can't. */
  renew(): void {
    const { listener } = this;
    if (listener === null) return;
    this.listener = this.begin(copyDescriptor(this.socket.descriptor));
    listener.stop(false);
  }

  /** Takes no more connections, whatever waits: the socket is closed when all processes have closed it. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.listener?.stop(false);
    this.listener = null;
    if (this.timer !== null) clearInterval(this.timer);
    closeSync(this.socket.descriptor);
  }

  private get hasEnough(): boolean {
    const { least, own } = this.counts;
    return least !== null && own > least + 1 + (least >> 3);
  }

  private join(): void {
    this.listener = this.begin(copyDescriptor(this.socket.descriptor));
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
    this.unattended = 0;
  }

  /** Joins, or leaves that to the next look where there is no descriptor left. */
  private tryToJoin(): void {
    try {
      this.join();
    } catch {
      // Its connections hold them: some will end.
    }
  }

  private leave(): void {
    if (this.listener === null) return;
    // Also within the loop that takes what waits: it ends with this one.
    this.listener.stop(false);
    this.listener = null;
    this.timer = setInterval(() => this.look(), LOOK_EVERY);
  }

  private look(): void {
    this.unattended = isQuiet(this.socket.descriptor) === false ? this.unattended + 1 : 0;
    if (!this.hasEnough || this.unattended >= UNATTENDED) this.tryToJoin();
  }
}
