import { refused } from "../http/refused.ts";
import type { Documents } from "../records/documents.ts";
import type { RedisLink } from "../redis/link.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { Deliverer, type Listed, type Result } from "./deliverer.ts";
import { type Deliveries, type Delivery, makeId, type Outcome } from "./deliveries.ts";
import { EVENT_TYPES, type EventName } from "./event-types.ts";
import { WebhookEvents } from "./events.ts";
import type { Sender } from "./sender.ts";
import type { WebhookConfig } from "./settings.ts";
import { makeSecret, secretsOf } from "./signature.ts";

/** Milliseconds for which a claim lasts at least. */
const CLAIMED_FOR = 600_000;

export interface WebhooksDeps {
  readonly documents: Documents<WebhookConfig>;
  readonly deliveries: Deliveries;
  readonly sender: Sender;
  readonly clock: Clock;
  readonly random: () => number;
  /** The connection to Redis; `null`: this instance is alone. */
  readonly link: RedisLink | null;
  /** The host name of this machine. */
  readonly instance: string;
  /** False: another process sends what waits. */
  readonly sends: boolean;
  /** Changes records that instances share. */
  readonly write: (work: () => void) => Promise<void>;
  readonly emit: Emit;
  readonly onFault: (error: unknown) => void;
}

/** Tells receivers what happens. */
export class Webhooks {
  readonly events: WebhookEvents;
  /** What tries have come to since the start. */
  readonly counts: Record<Result, number> = { delivered: 0, retried: 0, failed: 0, dropped: 0 };
  private readonly deliverer: Deliverer;
  private listed: readonly Listed[] = [];
  /** Those of the file whose receivers want no more events, until the file changes them or it is read again. */
  private readonly gone = new Map<string, WebhookConfig>();
  /** Those of the API that answered so: whoever enables one again takes it out. */
  private readonly disabled = new Set<string>();
  private readonly full = new Set<string>();

  constructor(private readonly deps: WebhooksDeps) {
    const { deliveries, sender, clock, random, onFault, instance } = deps;
    const count = (result: Result): void => void this.counts[result]++;
    const emit: Emit = (occurrence) => {
      if (occurrence.type === "webhookFull") {
        if (this.full.has(occurrence.webhook)) return;
        this.full.add(occurrence.webhook);
      }
      deps.emit(occurrence);
    };
    const webhooks = (): readonly Listed[] => this.listed;
    this.events = new WebhookEvents({ deliveries, clock, instance, webhooks, count, emit });
    this.deliverer = new Deliverer({
      ...{ deliveries, sender, clock, random, webhooks, count, emit, onFault },
      claims: (delivery) => this.claims(delivery),
      onGone: (webhook) => this.rest(webhook),
    });
    this.events.onWritten = () => this.look();
    this.configure(false);
  }

  /** The webhooks in force. */
  get all(): readonly Listed[] {
    return this.listed;
  }

  /** Gives milliseconds since 1970. */
  wall(): number {
    return this.deps.clock.wall();
  }

  /** Takes over that webhooks were changed. `isReload`: the file was read again, so that those of it that were gone are tried anew. */
  configure(isReload: boolean): void {
    const items = this.deps.documents.all();
    const there = new Map(items.map(({ name, document }) => [name, document]));
    for (const [name, document] of this.gone) if (isReload || there.get(name) !== document) this.back(name);
    for (const name of this.disabled) if (there.get(name)?.enabled !== false) this.back(name);
    // One that is made later under the same name is another, which gets nothing of what waited.
    for (const { name } of this.listed)
      if (this.deps.sends && !there.has(name)) {
        this.deps.deliveries.forget(name);
        this.deliverer.forget(name);
      }
    this.listed = items.map(({ name, source, document: { url, secret, events, enabled } }) => ({
      ...{ name, url, secret, events },
      enabled: enabled && !this.gone.has(name),
      isFromApi: source === "admin",
    }));
    this.events.refresh();
    this.look();
  }

  /** Tells whether a webhook's receiver wants no more events. */
  isGone(name: string): boolean {
    return this.gone.has(name) || this.disabled.has(name);
  }

  /** Sends what is due; for a timer. */
  look(): void {
    if (this.deps.sends) this.deliverer.look();
  }

  /** Removes what is old; for a timer. */
  prune(): void {
    const { deliveries, clock, emit } = this.deps;
    deliveries.prune(new Set(this.listed.map(({ name }) => name)), clock.wall());
    for (const webhook of this.full)
      if (!deliveries.isFull(webhook)) {
        this.full.delete(webhook);
        emit({ type: "webhookFull", webhook, isFull: false });
      }
  }

  /** Removes some of what webhooks that are gone have left; for a timer. */
  sweep(): void {
    this.deps.deliveries.sweep();
  }

  close(): void {
    this.deliverer.close();
    this.deps.sender.close();
  }

  /** Sends a sample of an event to a webhook, also to one that is not enabled, and gives what has come of it and after how many milliseconds. */
  async test(name: string, type: EventName): Promise<Outcome & { readonly milliseconds: number }> {
    const { documents, sender, clock } = this.deps;
    const { document, source } = documents.require(name);
    const id = makeId();
    const body = JSON.stringify({ type, timestamp: new Date(clock.wall()).toISOString(), data: EVENT_TYPES[type].sample });
    const began = performance.now();
    const outcome = await sender.send({ url: document.url, secret: document.secret, isFromApi: source === "admin" }, { id, body });
    return { ...outcome, milliseconds: Math.round(performance.now() - began) };
  }

  /** Gives a webhook another secret, and that secret. The one before goes on signing as well where `keepsOld`. */
  rotate(name: string, keepsOld: boolean): string {
    const { documents } = this.deps;
    const made = makeSecret();
    const [old] = secretsOf(documents.require(name).document.secret);
    documents.patch(name, { secret: keepsOld && old !== undefined ? `${made} ${old}` : made }, null);
    return made;
  }

  /**
   * Lets a delivery be tried anew. One that waits already is tried at once, with eight tries before it; one that is under way is not sent
   * beside that. Throws 404 where there is none, 409 where nobody takes it.
   */
  redeliver(id: string): Delivery {
    const { deliveries, clock } = this.deps;
    const found = deliveries.find(id);
    if (found === null) throw refused("notFound", `There is no delivery ${JSON.stringify(id)} on this instance.`);
    const webhook = this.listed.find(({ name }) => name === found.webhook);
    if (webhook?.enabled !== true)
      throw refused("conflict", `The webhook ${JSON.stringify(found.webhook)} is not enabled: enable it first.`);
    deliveries.again(found, clock.wall());
    this.look();
    return deliveries.find(id) ?? found;
  }

  /** Tells whether this instance tells an event that others see as well: whoever claims it first. Without Redis each tells its own. */
  private async claims({ id, claim, claimUntil }: Delivery): Promise<boolean> {
    const { link, clock } = this.deps;
    if (link === null || claim === null) return true;
    const key = `${link.prefix}:webhooks:${Bun.hash(claim).toString(36)}:${claim.slice(0, 200)}`;
    const lasts = Math.max(CLAIMED_FOR, (claimUntil ?? 0) - clock.wall());
    try {
      return await link.run(async (client) => {
        if ((await client.set(key, id, "PX", Math.ceil(lasts), "NX")) === "OK") return true;
        // This one was claimed before a crash.
        return (await client.get(key)) === id;
      });
    } catch {
      return true;
    }
  }

  /** Sends nothing more to a receiver that wants nothing. */
  private rest({ name, isFromApi }: Listed): void {
    const { documents, emit, write, onFault } = this.deps;
    const document = documents.get(name)?.document;
    if (document?.enabled !== true || this.gone.has(name) || this.disabled.has(name)) return;
    if (isFromApi) {
      this.disabled.add(name);
      write(() => void documents.patch(name, { enabled: false }, null)).catch((error: unknown) => {
        this.disabled.delete(name);
        onFault(error);
      });
    } else {
      this.gone.set(name, document);
      this.configure(false);
    }
    emit({ type: "webhookGone", webhook: name, isGone: true });
  }

  private back(name: string): void {
    this.gone.delete(name);
    this.disabled.delete(name);
    this.deps.emit({ type: "webhookGone", webhook: name, isGone: false });
  }
}
