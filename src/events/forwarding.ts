import type { Bus } from "../shared/bus.ts";
import type { EventFilter, EventHub, EventType } from "./hub.ts";

/** Says what somebody wants to see who reads the keeper's events. */
interface Wish {
  readonly id: number;
  readonly filter: EventFilter;
}

/** An event of a worker for one reader of the keeper. */
interface Forwarded {
  readonly id: number;
  readonly type: EventType;
  /** The JSON of the event without its last brace. */
  readonly fields: string;
  readonly skipped: number;
}

const WISHES = "events.wishes";
const EVENTS = "events";
/** Milliseconds for which a worker collects events before it tells them. */
const COLLECTED_FOR = 50;
/** The most events that wait in a worker: what comes beyond them is left out. */
const MAX_WAITING = 2000;
/** Milliseconds that the keeper may take to take them. */
const TAKEN_WITHIN = 5000;

/** Tells the workers, in the keeper, who reads events, and shows its readers what happens in the workers. */
export function readWorkers(hub: EventHub, bus: Bus): void {
  const wishes = (): readonly Wish[] => hub.wishes();
  hub.onReaders = () => bus.tell(WISHES, wishes());
  bus.answer(WISHES, wishes);
  bus.answer<readonly Forwarded[]>(EVENTS, (events) => {
    for (const { id, type, fields, skipped } of events) hub.forwarded(id, type, fields, skipped);
    return null;
  });
  // Readers of the keeper before this one are gone with it.
  bus.tell(WISHES, []);
}

/** Tells the keeper, in a worker, what its readers want to see. Without a reader nothing is done, and no event is made. */
export class EventForwarder {
  private readonly leave = new Map<number, () => void>();
  private waiting: Forwarded[] = [];
  private timer: Timer | null = null;

  constructor(
    private readonly hub: EventHub,
    private readonly bus: Bus,
  ) {
    bus.hear<readonly Wish[]>(WISHES, (wishes) => this.follow(wishes));
    // Somebody may have read before this process began; without a keeper nobody does.
    bus.askKeeper<readonly Wish[]>(WISHES, null, TAKEN_WITHIN).then(
      (wishes) => this.follow(wishes),
      () => {},
    );
  }

  private follow(wishes: readonly Wish[]): void {
    const wanted = new Set(wishes.map(({ id }) => id));
    for (const [id, leave] of this.leave) {
      if (wanted.has(id)) continue;
      leave();
      this.leave.delete(id);
    }
    for (const { id, filter } of wishes) {
      if (this.leave.has(id)) continue;
      const pass = (type: EventType, fields: string, skipped: number) => this.collect({ id, type, fields, skipped });
      this.leave.set(
        id,
        this.hub.add({ filter, send: () => true, pass, end: () => {} }, () => true),
      );
    }
  }

  private collect(event: Forwarded): void {
    if (this.waiting.length >= MAX_WAITING) return;
    this.waiting.push(event);
    this.timer ??= setTimeout(() => void this.tell(), COLLECTED_FOR);
  }

  /** Tells what was collected; what comes meanwhile waits, so that a keeper that is busy is not told ever more. */
  private async tell(): Promise<void> {
    const events = this.waiting;
    this.waiting = [];
    try {
      await this.bus.askKeeper(EVENTS, events, TAKEN_WITHIN);
    } catch {
      // The readers of a keeper that is gone are gone as well.
    }
    this.timer = this.waiting.length === 0 ? null : setTimeout(() => void this.tell(), COLLECTED_FOR);
  }
}
