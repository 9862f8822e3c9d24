import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import type { Listed, Result } from "./deliverer.ts";
import type { Deliveries } from "./deliveries.ts";
import type { EventData, EventName } from "./event-types.ts";
import { ALL } from "./settings.ts";

/** Describes something that webhooks are told. */
export interface WebhookEvent {
  readonly type: EventName;
  readonly data: object;
  /** The name of what is told once, and the time until which that is remembered; left out: it is told whenever it happens. */
  readonly once?: { readonly name: string; readonly until: number };
  /** The same, for what other instances see as well and this one may tell again. */
  readonly shared?: { readonly name: string; readonly until: number };
}

/** Makes an event, whose data are checked by their type. */
export const eventOf = <Name extends EventName>(
  type: Name,
  data: EventData<Name>,
  rest: Pick<WebhookEvent, "once" | "shared"> = {},
): WebhookEvent => ({ type, data, ...rest });

export interface WebhookEventsDeps {
  readonly deliveries: Deliveries;
  readonly clock: Clock;
  /** The host name of this machine. */
  readonly instance: string;
  readonly webhooks: () => readonly Listed[];
  readonly count: (result: Result) => void;
  readonly emit: Emit;
}

/** Writes down what happens for each webhook that wants to know it. */
export class WebhookEvents {
  private wanted: ReadonlySet<string> = new Set();
  /** Called when something was written down. */
  onWritten: () => void = () => {};

  constructor(private readonly deps: WebhookEventsDeps) {
    this.refresh();
  }

  /** Takes over that webhooks were changed. */
  refresh(): void {
    this.wanted = new Set(this.deps.webhooks().flatMap(({ enabled, events }) => (enabled ? events : [])));
  }

  /** Tells whether anybody wants events of one of these types. */
  wants(...types: readonly EventName[]): boolean {
    return this.wanted.has(ALL) || types.some((type) => this.wanted.has(type));
  }

  /** Writes an event down. It counts as told once this has returned, or the transaction around it is committed. */
  put({ type, data, once, shared = once }: WebhookEvent): void {
    if (!this.wants(type)) return;
    const { deliveries, clock, instance, webhooks, count, emit } = this.deps;
    const createdAt = clock.wall();
    const body = JSON.stringify({ type, timestamp: new Date(createdAt).toISOString(), data: { instance, ...data } });
    deliveries.atOnce(() => {
      if (once !== undefined && !deliveries.mark(once.name, once.until, createdAt)) return;
      for (const { name, enabled, events } of webhooks()) {
        if (!enabled || !(events.includes(type) || events.includes(ALL))) continue;
        const claim = shared === undefined ? null : `${shared.name}:${name}`;
        const dropped = deliveries.put({ webhook: name, type, body, createdAt, claim, claimUntil: shared?.until ?? null });
        for (let i = 0; i < dropped; i++) count("dropped");
        if (dropped > 0) emit({ type: "webhookFull", webhook: name, isFull: true });
      }
    });
    // When the transaction around it is over.
    setImmediate(this.onWritten);
  }
}
