import { hostname } from "node:os";
import type { ActivitiesDoor } from "../activities/door.ts";
import { PooledClient } from "../http/client.ts";
import type { Replication } from "../records/replication.ts";
import { type Bus, NoAnswer } from "../shared/bus.ts";
import { Deliveries } from "../webhooks/deliveries.ts";
import type { EventData } from "../webhooks/event-types.ts";
import type { WebhookEvent } from "../webhooks/events.ts";
import { OF_POOL, QuotaWatch } from "../webhooks/quotas.ts";
import { Sender } from "../webhooks/sender.ts";
import { secretsOf } from "../webhooks/signature.ts";
import { eventOfChange, ofEachProcess, ofKeeper } from "../webhooks/sources.ts";
import { KeyWatch, SinkWatch } from "../webhooks/watches.ts";
import { Webhooks } from "../webhooks/webhooks.ts";
import type { Ground } from "./ground.ts";
import type { Records } from "./records.ts";

/** What workers have the keeper tell. */
const TELL = "webhooks.tell";
/** Milliseconds within which the keeper takes it: meanwhile there may be none. */
const TOLD_WITHIN = 60_000;
/** How often the keeper is told of one event at most, and the milliseconds before it is told again: a dead keeper is replaced at once. */
const MAX_TELLINGS = 5;
const TELL_AGAIN_AFTER = 500;
const LOOK_EVERY = 250;
const LOOK_AT_KEYS_EVERY = 1000;
const LOOK_AT_SINKS_EVERY = 15_000;
const PRUNE_EVERY = 30_000;
const SWEEP_EVERY = 1000;

/** Holds what tells webhooks. */
export interface Hooks {
  readonly webhooks: Webhooks;
  readonly deliveries: Deliveries;
  /** Sees how far quotas are used. */
  readonly quotas: QuotaWatch;
}

export interface WebhookServices {
  readonly records: Records;
  readonly replication: Replication | null;
  readonly activities: ActivitiesDoor;
}

/** Opens what tells webhooks. In a worker it tells nothing itself: what is seen there the keeper writes down. */
export function openWebhooks(ground: Ground, services: WebhookServices): Hooks {
  const { clock, bus, occurrences, redactor, tell: fault } = ground;
  const { records } = services;
  const { webhooks, deliveries } = openDelivering(ground, services);
  const { events } = webhooks;
  const isWorker = bus.role === "worker";
  const follow = followQuotas(ground);
  const take = (event: WebhookEvent): void => {
    events.put(event);
    follow(event);
  };
  const put = (event: WebhookEvent): Promise<void> | void => {
    const isFollowed = isOfQuota(event) && !ground.events.isIdle;
    if (!isFollowed && !events.wants(event.type)) return;
    if (isWorker) return tellKeeper(bus, event);
    take(event);
  };
  const tell = (event: WebhookEvent): void => {
    try {
      put(event)?.catch(fault);
    } catch (error) {
      fault(error);
    }
  };
  let hasHooks = false;
  const quotas = new QuotaWatch({ clock, tell: async (event) => put(event), isWanted: () => hasHooks || !ground.events.isIdle });
  occurrences.subscribe({ poolSpent: (spent) => quotas.sawPool(spent) });
  const refresh = (isReload: boolean): void => {
    redactor.learn(
      "webhooks",
      records.webhooks.all().flatMap(({ document }) => secretsOf(document.secret)),
    );
    webhooks.configure(isReload);
    const had = hasHooks;
    hasHooks = events.wants("quota.80", "quota.100");
    // What only those who follow the events were told is news for a webhook.
    if (hasHooks && !had) quotas.forget();
  };
  refresh(false);
  occurrences.subscribe({
    records: ({ of }) => {
      if (of === "webhooks" || of === "all") refresh(of === "all");
    },
  });
  const sources = { clock, file: ground.options.file, tell };
  occurrences.subscribe(ofEachProcess(sources));
  if (!isWorker) followAsKeeper(ground, services, { webhooks, take }, sources);
  return { webhooks, deliveries, quotas };
}

const isOfQuota = ({ type }: WebhookEvent): boolean => type === "quota.80" || type === "quota.100";

/** Makes what shows those who follow the events how far quotas are used: each once, however many processes have seen it. */
function followQuotas({ clock, events }: Pick<Ground, "clock" | "events">): (event: WebhookEvent) => void {
  /** The names of what was shown, and until when that is remembered. */
  const shown = new Map<string, number>();
  return (event) => {
    const { type, data, once } = event;
    if (!isOfQuota(event) || once === undefined || events.isIdle) return;
    const now = clock.wall();
    if (now < (shown.get(once.name) ?? 0)) return;
    if (shown.size >= MAX_SHOWN) shown.clear();
    shown.set(once.name, once.until);
    const { subject, scope } = data as EventData<"quota.80">;
    events.publish("quota", { consumer: scope === OF_POOL ? null : subject }, () => ({ level: type === "quota.80" ? 80 : 100, ...data }));
  };
}

/** The most of what was shown that is remembered. */
const MAX_SHOWN = 50_000;

/**
 * Has the keeper write an event down. Where it dies before it answers, nobody knows whether it has: what is told once is told to the next
 * keeper as well, who knows it by its name.
 */
async function tellKeeper(bus: Bus, event: WebhookEvent): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await bus.askKeeper<boolean>(TELL, event, TOLD_WITHIN);
      return;
    } catch (error) {
      if (!(error instanceof NoAnswer) || event.once === undefined || attempt === MAX_TELLINGS) throw error;
      await Bun.sleep(TELL_AGAIN_AFTER);
    }
  }
}

/** Opens what sends events and writes down what has come of it. */
function openDelivering(ground: Ground, { records, replication }: WebhookServices): Omit<Hooks, "quotas"> {
  const { audit, clock, storage, inForce, link, emit, scope, tell, bus } = ground;
  const deliveries = new Deliveries(storage);
  const client = new PooledClient(clock);
  scope.defer(() => client.close());
  const sender = new Sender({ client, wall: () => clock.wall(), allow: () => inForce.config.admin.upstreamAllow });
  const webhooks = new Webhooks({
    ...{ documents: records.webhooks, deliveries, sender, clock, link, emit, random: Math.random, onFault: tell },
    instance: hostname(),
    sends: bus.role !== "worker",
    // The request that an event comes from is not to answer for what its receiver says.
    write: async (work) => {
      const change = (): void => audit.asSystem(work);
      if (replication === null) change();
      else await replication.write(async () => change());
    },
  });
  scope.defer(() => webhooks.close());
  return { webhooks, deliveries };
}

/** Follows what only the keeper sees, or a gateway of one process. */
function followAsKeeper(
  ground: Ground,
  { records, activities }: WebhookServices,
  { webhooks, take }: Pick<Hooks, "webhooks"> & { readonly take: (event: WebhookEvent) => void },
  sources: Parameters<typeof ofKeeper>[0],
): void {
  const { audit, bus, clock, every, occurrences, storage } = ground;
  const { events } = webhooks;
  audit.alongside = (change, actor) => {
    const event = eventOfChange(change, actor);
    if (event !== null) events.put(event);
  };
  bus.answer(TELL, (event: WebhookEvent) => {
    take(event);
    return true;
  });
  occurrences.subscribe(ofKeeper(sources));
  every(LOOK_EVERY, () => webhooks.look());
  every(PRUNE_EVERY, () => webhooks.prune());
  every(SWEEP_EVERY, () => webhooks.sweep());
  const keys = new KeyWatch({ storage, clock, events, declared: (after, until) => records.keys.declaredExpiring(after, until) });
  every(LOOK_AT_KEYS_EVERY, () => keys.look());
  const sinks = new SinkWatch({ clock, events, activities: () => activities.current, tell: sources.tell });
  every(LOOK_AT_SINKS_EVERY, () => void sinks.look());
}
