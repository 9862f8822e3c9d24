import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Route } from "../exchange/route.ts";
import type { SystemHealth } from "../health/health.ts";
import { Since, timeText } from "../http/conventions.ts";
import { invalid, notFound } from "../http/refused.ts";
import type { Keys } from "../keys/keys.ts";
import type { KeyRegistry } from "../keys/registry.ts";
import { WINDOW_SHOWN, windowText } from "../limits/admin.ts";
import { scopeText } from "../limits/policy.ts";
import type { Clock } from "../values/clock.ts";
import { normaliseIp } from "../values/ip.ts";
import type { Applied, Explain, Explanation, Situation } from "./explain.ts";
import { type Walk, WalkedRequest, WalkQuestion } from "./walk.ts";

export interface ExplainAdminDeps {
  readonly explain: Explain;
  readonly registry: KeyRegistry;
  readonly keys: Keys;
  /** The route of this name, or that takes this path; `null` when there is none. */
  readonly routeOf: (nameOrPath: string) => Route | null;
  readonly health: SystemHealth;
  readonly clock: Clock;
  readonly walk: Walk;
}

const Text = (description: string) => Type.Union([Type.String(), Type.Null()], { description });
const Whole = (description: string) => Type.Union([Type.Integer(), Type.Null()], { description });

const Limit = Type.Object({
  name: Type.String({ description: "Its name.", examples: ["per-minute"] }),
  scope: Type.String({ description: "Whose limit it is.", examples: ["tier free"] }),
  why: Type.String({ description: "Why it is this one that applies." }),
  algorithm: Type.String({ description: "How it counts." }),
  window: Text(WINDOW_SHOWN),
  limit: Type.Integer({ description: "The number in force now." }),
  normal: Type.Integer({ description: "The number while the system is NORMAL." }),
  degraded: Type.Integer({ description: "The number while it is DEGRADED." }),
  cost: Type.Integer({ description: "What must be left for a request to pass, and what it takes." }),
  usage: Type.Boolean({ description: "It takes what its response says instead, afterwards." }),
  shadow: Type.Boolean({ description: "It counts and reports, and never denies." }),
  subject: Text("Whom it is counted for; null when that is not known from what was asked."),
  subjectUnknown: Text("Why not."),
  used: Whole("What is used."),
  remaining: Whole("What is left."),
  reset: Text("When more is left, RFC 3339; null when nothing is used."),
  denies: Type.Union([Type.Boolean(), Type.Null()], { description: "Whether the next request would be denied." }),
});
const Answer = Type.Object({
  consumer: Text("The caller; null: one without a key."),
  tier: Text("The tier whose limits the caller has, unless others come first."),
  key: Text("The key's id."),
  route: Text("The route."),
  ip: Text("The address."),
  anonymous: Type.Boolean({ description: "The caller counts as one without a key: there is none, or the route takes none." }),
  system: Type.Union([Type.Literal("NORMAL"), Type.Literal("DEGRADED")]),
  allowed: Type.Union([Type.Boolean(), Type.Null()], {
    description: "Whether the next request would come through; null when too little is known, which `unknown` names.",
  }),
  unknown: Type.Array(Type.String(), { description: "What would have to be known." }),
  redisAway: Type.Union([Type.Literal("local"), Type.Literal("allow"), Type.Literal("deny"), Type.Null()], {
    description:
      "What limits do while Redis is away (redis.onFailure): what is used is then what this instance has counted. null: it is there, or there is none.",
  }),
  refusal: Type.Union(
    [
      Type.Object({
        code: Type.String({ description: "As in the answer." }),
        detail: Type.String({ description: "What the caller would be told." }),
      }),
      Type.Null(),
    ],
    {
      description: "Why a request would be refused other than by a limit.",
    },
  ),
  limits: Type.Array(Limit, { description: "The limits that apply." }),
  passedOver: Type.Array(
    Type.Object({
      scope: Type.String({ description: "Whose limits they are." }),
      names: Type.Array(Type.String(), { description: "Their names." }),
      why: Type.String({ description: "What stands in their place." }),
    }),
    {
      description: "Limits that do not apply because others stand in their place.",
    },
  ),
  keysWithOwnLimits: Type.Array(Type.String(), { description: "Keys of the consumer to which other limits apply: ask with &key=." }),
  denials: Type.Array(
    Type.Object({
      at: Since("When it was."),
      requestId: Type.String({ description: "As in the log and in X-Request-ID." }),
      route: Text("The route."),
      status: Type.Integer({ description: "401, 403 or 429." }),
      code: Type.String({ description: "Why.", examples: ["rateLimited"] }),
      detail: Type.String({ description: "What the caller was told." }),
      limits: Type.Array(
        Type.Object({
          name: Type.String({ description: "Its name." }),
          scope: Type.String({ description: "Whose limit it is." }),
          limit: Type.Integer({ description: "The number that was in force." }),
          used: Type.Integer({ description: "What was used." }),
          reset: Since("When more was left."),
        }),
        {
          description: "The limits that denied.",
        },
      ),
    }),
    {
      description:
        "The last refusals (401, 403, 429) of this caller by this instance, the newest first: five at most of a consumer, and five of an address. Those of keys that nobody has are remembered by address.",
    },
  ),
});

/** What `GET /admin/explain` answers. */
export type ExplainAnswer = Static<typeof Answer>;

const Query = Type.Object({
  consumer: Type.Optional(Type.String({ description: "The consumer's id.", examples: ["acme"] })),
  key: Type.Optional(Type.String({ description: "A key's id, where keys have limits of their own." })),
  route: Type.Optional(Type.String({ description: "The route's name, or a path that it takes." })),
  ip: Type.Optional(
    Type.String({
      description: "The caller's address, for callers without a key and for limits by address.",
      examples: ["203.0.113.9"],
      shown: { anyOf: [{ format: "ipv4" }, { format: "ipv6" }] },
    }),
  ),
  header: Type.Optional(
    Type.Union([Type.String(), Type.Array(Type.String())], {
      description: "A field of the request, for limits by header; may be given several times.",
      examples: ["X-Tenant: acme"],
      shown: {
        type: undefined,
        anyOf: [
          { type: "string", pattern: "^[A-Za-z0-9-]+:" },
          { type: "array", items: { type: "string", pattern: "^[A-Za-z0-9-]+:" } },
        ],
      },
    }),
  ),
});

/** Fields of a request, by names in small letters. Throws 422. */
function fieldsOf(given: string | string[] | undefined): Map<string, string> {
  const lines = given === undefined ? [] : typeof given === "string" ? [given] : given;
  const fields = new Map<string, string>();
  for (const line of lines) {
    const at = line.indexOf(":");
    if (at < 1) throw invalid([{ path: ["header"], message: 'must be a field, such as "X-Tenant: acme"' }]);
    const name = line.slice(0, at).trim().toLowerCase();
    const before = fields.get(name);
    const value = line.slice(at + 1).trim();
    fields.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return fields;
}

/** Whether the next request would come through; `null` when that can't be said. */
function isAllowed(
  { refusal, backendRefusal, unknown, away }: Explanation,
  limits: readonly { denies: boolean | null; shadow: boolean }[],
  mayBeOthers: boolean,
): boolean | null {
  if (refusal !== null || backendRefusal !== null) return false;
  const counted = away === "allow" ? [] : limits.filter(({ shadow }) => !shadow);
  if (!mayBeOthers && counted.some(({ denies }) => denies === true)) return false;
  return mayBeOthers || unknown.length > 0 || counted.some(({ denies }) => denies === null) ? null : true;
}

export const explainAdmin = (deps: ExplainAdminDeps) => {
  const { explain, registry, keys, health, clock } = deps;

  /** Finds what is asked about. Throws 404 and 422. */
  const situationOf = (query: Static<typeof Query>): Situation & { readonly others: string[] } => {
    if (query.consumer === undefined && query.key === undefined && query.route === undefined && query.ip === undefined)
      throw invalid([{ path: [], message: "must name a consumer, a key, a route or an ip, or several of them" }]);
    const ip = query.ip === undefined ? null : normaliseIp(query.ip);
    if (query.ip !== undefined && ip === null) throw invalid([{ path: ["ip"], message: "must be an IPv4 or IPv6 address" }]);
    const route = query.route === undefined ? null : deps.routeOf(query.route);
    if (query.route !== undefined && route === null) throw notFound("route", query.route);
    const owner = query.key === undefined ? query.consumer : keys.get(query.key).record.consumer;
    if (query.consumer !== undefined && query.consumer !== owner)
      throw invalid([{ path: ["key"], message: `is a key of ${JSON.stringify(owner)}` }]);
    const fields = fieldsOf(query.header);
    const header = (name: string): string | null => fields.get(name.toLowerCase()) ?? null;
    if (owner === undefined) return { consumer: null, key: null, keys: [], route, ip, header, others: [] };
    const consumer = registry.consumer(owner);
    if (consumer === undefined) throw notFound("consumer", owner);
    const entries = keys.entriesOf(owner);
    const isSpecial = (entry: (typeof entries)[number]): boolean => (entry.limits ?? []).length > 0 || (entry.quota ?? []).length > 0;
    const key =
      query.key === undefined ? (entries.length === 1 ? (entries[0] ?? null) : null) : (entries.find(({ id }) => id === query.key) ?? null);
    // A revoked key has no limits any more.
    if (query.key !== undefined && key === null) throw notFound("key in use", query.key);
    return { consumer, key, keys: entries, route, ip, header, others: key === null ? entries.filter(isSpecial).map(({ id }) => id) : [] };
  };

  const toJson = ({ policy, why, cost, subject, reading }: Applied) => {
    const isKnown = typeof subject === "string";
    const limit = health.isDegraded ? policy.reduced.limit : policy.normal.limit;
    return {
      name: policy.name,
      scope: scopeText(policy),
      why,
      algorithm: policy.algorithm,
      window: windowText(policy),
      limit: reading?.limit ?? limit,
      normal: policy.normal.limit,
      degraded: policy.reduced.limit,
      cost,
      usage: policy.isMetered,
      shadow: policy.shadow,
      subject: isKnown ? subject : null,
      subjectUnknown: isKnown ? null : subject.unknown,
      used: reading?.used ?? null,
      remaining: reading?.remaining ?? null,
      reset: reading === null || reading.resetIn === 0 ? null : timeText(clock.wall() + reading.resetIn),
      // One that is overdrawn denies what costs nothing as well.
      denies: reading === null ? null : !policy.shadow && (reading.denied || reading.remaining < cost),
    };
  };

  return new Elysia({ prefix: "/explain", tags: ["limits"], normalize: false })
    .post("/request", ({ body }) => deps.walk.walk(body), {
      parse: "json",
      body: WalkQuestion,
      response: WalkedRequest,
      detail: {
        summary: "Explain a request's way, step by step",
        description:
          "What would become of a request, without sending it: nothing is charged, counted or changed. `sluice routes test` prints it.",
      },
    })
    .get(
      "/",
      async ({ query }) => {
        const situation = situationOf(query);
        const found = await explain.explain(situation);
        const limits = found.limits.map(toJson);
        return {
          consumer: situation.consumer?.id ?? null,
          tier: found.isAnonymous ? registry.anonymousTierName : (situation.consumer?.tier ?? null),
          key: found.isAnonymous ? null : (situation.key?.id ?? null),
          route: situation.route?.name ?? null,
          ip: situation.ip,
          anonymous: found.isAnonymous,
          system: health.current().status,
          allowed: isAllowed(found, limits, situation.others.length > 0),
          unknown: [
            ...found.unknown,
            ...situation.others.map((id) => `which key is used: ${id} has limits of its own`),
            ...limits.flatMap(({ name, subjectUnknown }) => (subjectUnknown === null ? [] : [`${name}: ${subjectUnknown}`])),
          ],
          redisAway: found.away,
          refusal: found.refusal ?? (limits.some(({ denies }) => denies === true) ? null : found.backendRefusal),
          limits,
          passedOver: [...found.passedOver].map((each) => ({ ...each, names: [...each.names] })),
          keysWithOwnLimits: situation.others,
          denials: found.denials.map(({ at, requestId, route, refusal }) => ({
            at: timeText(at) ?? "",
            requestId,
            route,
            status: refusal.status,
            code: refusal.code,
            detail: String(refusal.members.detail),
            limits: (refusal.members.violatedPolicies ?? []) as {
              name: string;
              scope: string;
              limit: number;
              used: number;
              reset: string;
            }[],
          })),
        };
      },
      {
        query: Query,
        response: Answer,
        detail: {
          summary: "Explain a caller's limits and last refusals",
          description:
            "Which limits apply and why, what is left of each, and why the last requests were refused. Charges nothing. Limits that are shared through Redis are read there; refusals are those of this instance.",
        },
      },
    );
};
