import { type Static, type TObject, type TProperties, Type } from "@sinclair/typebox";
import { Since, Time } from "../http/conventions.ts";

/** Describes one type of event: what it means, what its `data` holds, and a sample of that. */
interface EventType {
  readonly summary: string;
  readonly data: TObject;
  readonly sample: Readonly<Record<string, unknown>>;
}

/** The name of the machine, which every event's data holds beside its own. */
const INSTANCE = Type.String({ description: "The host name of the machine whose gateway tells it." });

const eventType = <T extends TProperties>(summary: string, properties: T, sample: object) => ({
  summary,
  data: Type.Object({ instance: INSTANCE, ...properties }, { description: summary }),
  sample: { instance: "gateway-1", ...sample },
});

const OrNull = (description: string) => Type.Union([Type.String(), Type.Null()], { description });
const Text = (description: string) => Type.String({ description });
/** Gives the schema of a number of a limit: of one in money dollars, with what is below a cent. */
const Amount = (description: string) => Type.Number({ minimum: 0, description });
const Count = (description: string) => Type.Integer({ minimum: 0, description });

const key = {
  key: OrNull("The key's id; null where `count` is above 1."),
  count: Type.Integer({ minimum: 1, description: "Above 1: so many keys at once, by an import or with their consumer." }),
  consumer: OrNull("Whose it is; null where they are of several."),
  name: OrNull("Its name for people."),
  start: OrNull("Its first characters."),
  end: OrNull("Its last characters."),
  expiresAt: Time("From when on it is refused."),
  by: Text("The admin token's name, or `system`."),
};
const sampleKey = {
  key: "key_0199f3a81c3b7c3e9d5e1f2a3b4c5d6e",
  count: 1,
  ...{ consumer: "acme", name: "production", start: "slc_9fK2", end: "x7Qa", expiresAt: "2027-01-31T00:00:00.000Z" },
};

const quota = {
  quota: Text("The name of the quota, of the limit in money, or of the pool."),
  scope: Text("Where it is set, such as `tier free`; `a key of the pool` for budgets of these."),
  subject: Text("For whom it counts: a consumer's id, or an address in brackets; of a pool, the id of its key."),
  unit: Type.Union([Type.Literal("requests"), Type.Literal("units"), Type.Literal("usd")], {
    description: "What it counts: requests by their cost, units that responses report, or dollars.",
  }),
  limit: Amount("How much it lets pass in a period; of usd, dollars."),
  used: Amount("How much of it is used; of usd, what calls that are over have cost, without what is reserved for those under way."),
  resetAt: Since("When the next period begins; of a sliding window, when it is told again at the earliest."),
};
const sampleQuota = {
  ...{ quota: "daily", scope: "tier free", subject: "acme", unit: "requests", limit: 1000 },
  resetAt: "2026-12-01T00:00:00.000Z",
};

const breaker = {
  upstream: Text("The upstream's name."),
  target: Text("The target's URL."),
  cause: Text("What has changed it: failures, a probe, a health check, or `admin`."),
};
const sampleBreaker = { upstream: "users", target: "http://10.0.0.7:8001" };

/** All types of events. The configuration, the API document and the reference read them here. */
const TYPES = {
  "key.expiring": eventType(
    "A key expires within seven days, and again: within one day. Told once each.",
    {
      ...{ key: Text("The key's id."), consumer: key.consumer, name: key.name, start: key.start, end: key.end },
      expiresAt: Since("From when on it is refused."),
      within: Type.Union([Type.Literal("7d"), Type.Literal("1d")], { description: "Which of the two this is." }),
    },
    {
      ...{ key: sampleKey.key, consumer: "acme", name: "production", start: "slc_9fK2", end: "x7Qa" },
      ...{ expiresAt: "2027-01-31T00:00:00.000Z", within: "7d" },
    },
  ),
  "key.created": eventType("A key was created or imported.", key, { ...sampleKey, by: "admin" }),
  "key.revoked": eventType("A key was revoked, or deleted with its consumer.", key, { ...sampleKey, by: "admin" }),
  "key.rotated": eventType("A key has another secret.", key, { ...sampleKey, by: "admin" }),
  "quota.80": eventType(
    "80 % of a quota are used, of a limit in money by fixed-window or sliding-window, or of a budget in money of a pool's key, with windows of an hour or more. At most once for each subject and period.",
    quota,
    { ...sampleQuota, used: 800 },
  ),
  "quota.100": eventType("A quota is used up, or such a limit or budget in money. At most once for each subject and period.", quota, {
    ...sampleQuota,
    used: 1000,
  }),
  "pool.empty": eventType(
    "A request got no key of a pool, since none has enough left. At most once in five minutes for each pool.",
    {
      pool: Text("The pool's name."),
      user: Text("The service or the route that asked for a key."),
      retryIn: Count("Seconds until a key has enough left."),
    },
    { pool: "models", user: "service_1", retryIn: 12 },
  ),
  "breaker.opened": eventType("A circuit breaker has cut a target off.", breaker, { ...sampleBreaker, cause: "failures" }),
  "breaker.closed": eventType("A target gets requests again.", breaker, { ...sampleBreaker, cause: "probe" }),
  "target.down": eventType(
    "Health checks have found a target down.",
    { upstream: breaker.upstream, target: breaker.target, why: Text("What the checks have found.") },
    { ...sampleBreaker, why: "answers 503" },
  ),
  "health.changed": eventType(
    "The system's status has changed.",
    {
      from: Text("NORMAL or DEGRADED."),
      to: Text("NORMAL or DEGRADED."),
      by: Text("Who has changed it: an admin token's name, `auto`, or `ttl` at the end of its time."),
      reason: OrNull("Why."),
    },
    { from: "NORMAL", to: "DEGRADED", by: "auto", reason: "p99 is above 2s" },
  ),
  "block.made": eventType(
    "An address is blocked.",
    {
      ip: Text("The address, or the block of addresses."),
      reason: Text("Why."),
      by: Text("`guard`, or the admin token's name."),
      expiresAt: Time("Until when; null: until it is lifted."),
    },
    { ip: "203.0.113.9", reason: "too many wrong keys", by: "guard", expiresAt: "2026-11-29T12:15:00.000Z" },
  ),
  "config.refused": eventType(
    "A changed configuration has faults: the one before it stays in force.",
    {
      trigger: Text("What had it read: `file`, `signal` or `admin`."),
      faults: Type.Array(Type.String(), { description: "What is wrong, 20 lines at most." }),
    },
    { trigger: "file", faults: ['config.json:3:5 tiers: must be an object, got "free"'] },
  ),
  "certificate.failing": eventType(
    "A certificate can't be read, ordered or renewed.",
    {
      name: Text("Its file, or the host that it is ordered for."),
      why: Text("What is wrong."),
      nextAt: Time("When it is tried again; null: as soon as something changes."),
    },
    { name: "example.com", why: "the authority refuses the order", nextAt: "2026-11-29T13:00:00.000Z" },
  ),
  "certificate.renewed": eventType(
    "Another certificate is served.",
    {
      names: Type.Array(Type.String(), { description: "The hosts that it is for." }),
      source: Type.Union([Type.Literal("file"), Type.Literal("acme")], { description: "Where it comes from." }),
      endsAt: Since("Until when it is valid."),
    },
    { names: ["example.com"], source: "acme", endsAt: "2027-02-27T00:00:00.000Z" },
  ),
  "sink.lagging": eventType(
    "A sink of activities is more than ten minutes behind. Again only after it had caught up, and at most once in an hour.",
    {
      sink: Text("The sink's name."),
      state: Text("What it does: `away`, `catchingUp` or `following`."),
      waiting: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], { description: "Activities that wait for it; null: not known." }),
      lag: Count("Seconds for which the oldest of them waits."),
    },
    { sink: "warehouse", state: "away", waiting: 12_000, lag: 900 },
  ),
} as const satisfies Readonly<Record<string, EventType>>;

export type EventName = keyof typeof TYPES;

/** Gives what an event of a type tells, beside the name of the machine. */
export type EventData<Name extends EventName> = Omit<Static<(typeof TYPES)[Name]["data"]>, "instance">;

export const EVENT_TYPES: Readonly<Record<EventName, EventType>> = TYPES;

/** The names of all types, in their order. A cast, since `Object.keys` forgets what the keys are. */
export const EVENT_NAMES: readonly EventName[] = Object.keys(TYPES) as EventName[];

/** Gives the schema of a delivery's body. */
export const eventSchema = (name: EventName) =>
  Type.Object(
    {
      type: Type.Literal(name, { description: "The type of the event." }),
      timestamp: Since("When it happened."),
      data: EVENT_TYPES[name].data,
    },
    { description: EVENT_TYPES[name].summary },
  );
