import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import type { Deliveries, Delivery, Outcome } from "./deliveries.ts";
import { delayAfter } from "./schedule.ts";
import type { Receiver, Sender } from "./sender.ts";

/** The tries of events that failed before that are under way at once for one webhook, beside the one of an event that is new. */
const RETRIES_AT_ONCE = 4;
/** Milliseconds for which a webhook is left alone when what has come of a try could not be written down, as on a full disk. */
const RESTS_FOR = 30_000;
/** What a receiver answers that wants no more events: 410 Gone. */
const GONE = 410;

/** What tries have come to, as the metric counts them. */
export const RESULTS = ["delivered", "retried", "failed", "dropped"] as const;
export type Result = (typeof RESULTS)[number];

/** A webhook that is to be told. */
export interface Listed extends Receiver {
  readonly name: string;
  readonly events: readonly string[];
  readonly enabled: boolean;
}

export interface DelivererDeps {
  readonly deliveries: Deliveries;
  readonly sender: Pick<Sender, "send">;
  readonly clock: Clock;
  /** Gives numbers from 0 up to 1. */
  readonly random: () => number;
  /** Gives the webhooks in force. */
  readonly webhooks: () => readonly Listed[];
  /** Tells whether this instance is the one that tells an event which others may have seen as well. */
  readonly claims: (delivery: Delivery) => Promise<boolean>;
  /** Learns that a receiver wants no more events. */
  readonly onGone: (webhook: Listed) => void;
  readonly count: (result: Result) => void;
  readonly emit: Emit;
  readonly onFault: (error: unknown) => void;
}

/** What has come of a try. */
interface Tried {
  readonly delivery: Delivery;
  readonly at: number;
  readonly outcome: Outcome;
  /** The time of the next one; `null`: there is none. */
  readonly nextAt: number | null;
}

/** What is under way for one webhook. */
interface Lane {
  isFirstUnderWay: boolean;
  readonly retries: Set<string>;
  /** What could not be written down yet, by the ids of deliveries: what is under way at once, at most. */
  readonly unwritten: Map<string, Tried>;
  /** The time, by the monotonic clock, before which nothing is sent. */
  restsUntil: number;
}

/**
 * Sends what waits: of each webhook the new events one after the other, in their order, and beside them those that failed before, when they
 * are due. So a failed event holds up no later one, and one receiver no other.
 */
export class Deliverer {
  private readonly lanes = new Map<string, Lane>();
  /** The webhooks whose last try has failed: what follows is not told again. */
  private readonly away = new Set<string>();
  private isClosed = false;

  constructor(private readonly deps: DelivererDeps) {}

  /** Begins whatever can be begun; for a timer, and when there is something new. */
  look(): void {
    if (this.isClosed) return;
    for (const webhook of this.deps.webhooks()) {
      if (!webhook.enabled || this.deps.deliveries.waiting(webhook.name) === 0) continue;
      const lane = this.laneOf(webhook.name);
      if (this.isResting(lane) || !this.catchUp(webhook, lane)) continue;
      // What was written down may be that its receiver wants no more.
      if (this.current(webhook) === null) continue;
      if (!lane.isFirstUnderWay) void this.sendNew(webhook, lane);
      this.sendAgain(webhook, lane);
    }
  }

  /** Forgets a webhook that is gone. */
  forget(name: string): void {
    this.away.delete(name);
    this.lanes.delete(name);
  }

  close(): void {
    this.isClosed = true;
  }

  private laneOf(name: string): Lane {
    let lane = this.lanes.get(name);
    if (lane === undefined) {
      lane = { isFirstUnderWay: false, retries: new Set(), unwritten: new Map(), restsUntil: 0 };
      this.lanes.set(name, lane);
    }
    return lane;
  }

  /** Gives the webhook as it is now; `null`: it is gone, or gets nothing. */
  private current({ name }: Listed): Listed | null {
    const webhook = this.deps.webhooks().find((each) => each.name === name);
    return webhook?.enabled === true && !this.isClosed ? webhook : null;
  }

  /** Tells whether a lane is that of the webhook as it is now: one that was deleted and made anew under its name has another. */
  private isCurrent(name: string, lane: Lane): boolean {
    return this.lanes.get(name) === lane;
  }

  private isResting({ restsUntil }: Lane): boolean {
    return this.deps.clock.now() < restsUntil;
  }

  /** Leaves a webhook alone for a while: what can't be written down would be sent again and again. */
  private rest(lane: Lane, error: unknown): void {
    lane.restsUntil = this.deps.clock.now() + RESTS_FOR;
    this.deps.onFault(error);
  }

  /** Writes down what could not be written before; false: it still can't. */
  private catchUp(webhook: Listed, lane: Lane): boolean {
    try {
      for (const tried of lane.unwritten.values()) this.finish(webhook, lane, tried);
      return true;
    } catch (error) {
      this.rest(lane, error);
      return false;
    }
  }

  private async sendNew(begun: Listed, lane: Lane): Promise<void> {
    lane.isFirstUnderWay = true;
    try {
      for (let webhook = this.current(begun); webhook !== null; webhook = this.current(begun)) {
        if (!this.isCurrent(webhook.name, lane) || this.isResting(lane)) return;
        // One that is redelivered while it is tried again is new by its row, and under way all the same.
        const next = this.deps.deliveries.first(webhook.name, lane.retries);
        if (next === null) return;
        await this.attempt(webhook, lane, next);
      }
    } catch (error) {
      this.rest(lane, error);
    } finally {
      lane.isFirstUnderWay = false;
    }
  }

  private sendAgain(webhook: Listed, lane: Lane): void {
    const { retries } = lane;
    const room = RETRIES_AT_ONCE - retries.size;
    if (room <= 0) return;
    const due = this.deps.deliveries.due(webhook.name, this.deps.clock.wall(), RETRIES_AT_ONCE + retries.size);
    for (const delivery of due.filter(({ id }) => !retries.has(id)).slice(0, room)) {
      retries.add(delivery.id);
      this.attempt(webhook, lane, delivery)
        .catch((error: unknown) => this.rest(lane, error))
        .finally(() => {
          retries.delete(delivery.id);
          this.look();
        });
    }
  }

  private async attempt(webhook: Listed, lane: Lane, delivery: Delivery): Promise<void> {
    const { deliveries, sender, clock, random } = this.deps;
    if (delivery.tries === 0 && delivery.claim !== null && !(await this.deps.claims(delivery))) {
      deliveries.drop(delivery);
      return;
    }
    const outcome = await sender.send(webhook, delivery);
    // What was cut off by the stop is tried again after the next start. What belonged to a webhook that is gone says nothing of its namesake.
    if (this.isClosed || !this.isCurrent(webhook.name, lane)) return;
    const at = clock.wall();
    const delay = outcome.error === null || outcome.status === GONE ? null : delayAfter(delivery.tries + 1, random());
    this.finish(webhook, lane, { delivery, at, outcome, nextAt: delay === null ? null : at + delay });
  }

  /** Writes down what has come of a try, and tells of it. Throws where it can't be written; then it is kept for the next time. */
  private finish(webhook: Listed, lane: Lane, tried: Tried): void {
    const { delivery, at, outcome, nextAt } = tried;
    lane.unwritten.set(delivery.id, tried);
    this.deps.deliveries.tried(delivery, at, outcome, nextAt);
    lane.unwritten.delete(delivery.id);
    this.deps.count(outcome.error === null ? "delivered" : nextAt === null ? "failed" : "retried");
    this.tell(webhook, delivery, outcome, nextAt === null);
    if (outcome.status === GONE) this.deps.onGone(webhook);
  }

  private tell({ name: webhook }: Listed, { id, type: event, tries }: Delivery, { error: why }: Outcome, isLast: boolean): void {
    const { emit } = this.deps;
    if (why === null) {
      if (this.away.delete(webhook)) emit({ type: "webhookAway", webhook, why });
      return;
    }
    if (!this.away.has(webhook)) emit({ type: "webhookAway", webhook, why });
    this.away.add(webhook);
    if (isLast) emit({ type: "webhookFailed", webhook, id, event, tries: tries + 1, why });
  }
}
