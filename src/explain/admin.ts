import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { SystemHealth } from "../health/health.ts";
import { TextOrNull, timeText } from "../http/conventions.ts";
import { UNIT_SHOWN, WINDOW_SHOWN, windowText } from "../limits/admin.ts";
import { isInMoney, shownAmount, shownUnit } from "../limits/money.ts";
import { scopeText } from "../limits/policy.ts";
import type { Clock } from "../values/clock.ts";
import type { CallersDenial } from "./denials.ts";
import type { Applied, Explain, Explanation } from "./explain.ts";
import { FindQuestion, Found, find } from "./find.ts";
import { DenialShown, denialShown, MAX_REFUSALS, Refusal, refusalShown } from "./refusals.ts";
import { type AskedSituation, type SituationDeps, SituationQuery, situationOf } from "./situation.ts";
import { type Walk, WalkedRequest, WalkQuestion } from "./walk.ts";

export interface ExplainAdminDeps extends SituationDeps {
  readonly explain: Explain;
  readonly health: SystemHealth;
  readonly clock: Clock;
  readonly walk: Walk;
  /** Gives the last refusals of all callers that processes remember, so many of each process, in no order. */
  readonly latest: (most: number) => Promise<readonly CallersDenial[]>;
  /** Gives the refusal of a request by its id; `null` when none is remembered. */
  readonly refusalOf: (requestId: string) => Promise<CallersDenial | null>;
}

const NumberOrNull = (description: string) => Type.Union([Type.Number(), Type.Null()], { description });

const Limit = Type.Object({
  name: Type.String({ description: "Its name.", examples: ["per-minute"] }),
  scope: Type.String({ description: "Whose limit it is.", examples: ["tier free"] }),
  why: Type.String({ description: "Why it is this one that applies." }),
  algorithm: Type.String({ description: "How it counts." }),
  window: TextOrNull(WINDOW_SHOWN),
  unit: UNIT_SHOWN,
  limit: Type.Number({ description: "The number in force now." }),
  normal: Type.Number({ description: "The number while the system is NORMAL." }),
  degraded: Type.Number({ description: "The number while it is DEGRADED." }),
  cost: Type.Number({
    description: "What must be left for a request to pass, and what it takes; 0 of usd, since that depends on the model.",
  }),
  usage: Type.Boolean({ description: "It takes what its response says instead, afterwards." }),
  shadow: Type.Boolean({ description: "It counts and reports, and never denies." }),
  subject: TextOrNull("Whom it is counted for; null when that is not known from what was asked."),
  subjectUnknown: TextOrNull("Why not."),
  used: NumberOrNull("What is used."),
  remaining: NumberOrNull("What is left."),
  reset: TextOrNull("When more is left, RFC 3339; null when nothing is used."),
  denies: Type.Union([Type.Boolean(), Type.Null()], { description: "Whether the next request would be denied." }),
});
const Answer = Type.Object({
  consumer: TextOrNull("The caller; null: one without a key."),
  tier: TextOrNull("The tier whose limits the caller has, unless others come first."),
  key: TextOrNull("The key's id."),
  token: Type.Union(
    [
      Type.Object({
        issuer: TextOrNull("The issuer that its `iss` names; null: none is known by that name, or it can't be read."),
        passed: Type.Boolean({ description: "Whether it is good." }),
        why: TextOrNull("The check that failed, and what was found; null: none did."),
      }),
      Type.Null(),
    ],
    { description: "What became of the token; null where none was asked about." },
  ),
  route: TextOrNull("The route."),
  ip: TextOrNull("The address."),
  anonymous: Type.Boolean({ description: "The caller counts as one without a key: there is none, or the route takes none." }),
  system: Type.Union([Type.Literal("NORMAL"), Type.Literal("DEGRADED")], {
    description: "The system's status, by which limits are judged.",
  }),
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
  denials: Type.Array(DenialShown, {
    description:
      "The last refusals (401, 403, 429) of this caller by this instance, the newest first: five at most of a consumer, and five of an address. Those of keys that nobody has are remembered by address.",
  }),
});

/** Describes the answer of `GET /admin/explain`. */
export type ExplainAnswer = Static<typeof Answer>;

/** Tells whether the next request would come through; `null` when that can't be said. */
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

/** Gives a limit as the answer shows it. */
function limitShown({ policy, why, cost, subject, reading }: Applied, isDegraded: boolean, now: number): Static<typeof Limit> {
  const isKnown = typeof subject === "string";
  const limit = isDegraded ? policy.reduced.limit : policy.normal.limit;
  return {
    name: policy.name,
    scope: scopeText(policy),
    why,
    algorithm: policy.algorithm,
    window: windowText(policy),
    unit: shownUnit(policy),
    limit: shownAmount(policy, reading?.limit ?? limit),
    normal: shownAmount(policy, policy.normal.limit),
    degraded: shownAmount(policy, policy.reduced.limit),
    cost,
    usage: policy.isMetered,
    shadow: policy.shadow,
    subject: isKnown ? subject : null,
    subjectUnknown: isKnown ? null : subject.unknown,
    used: reading === null ? null : shownAmount(policy, reading.used),
    remaining: reading === null ? null : shownAmount(policy, reading.remaining),
    reset: reading === null || reading.resetIn === 0 ? null : timeText(now + reading.resetIn),
    // One that is overdrawn denies what costs nothing as well, and what costs money costs something.
    denies: reading === null ? null : !policy.shadow && (reading.denied || reading.remaining < Math.max(cost, isInMoney(policy) ? 1 : 0)),
  };
}

/** Gives the answer's JSON from what was found of a situation. */
function answerOf(situation: AskedSituation, explained: Explanation, { registry, health, clock }: ExplainAdminDeps): ExplainAnswer {
  const { judged } = situation;
  const fault = situation.route?.auth === "none" ? null : (judged?.fault ?? null);
  // Whose token is refused is nobody, and does not get to the limits.
  const found =
    fault === null
      ? explained
      : {
          ...explained,
          isAnonymous: false,
          limits: [],
          unknown: [],
          refusal: { code: fault.code, detail: fault.why === fault.says ? `${fault.says}.` : `${fault.says}: ${fault.why}.` },
        };
  const now = clock.wall();
  const limits = found.limits.map((applied) => limitShown(applied, health.isDegraded, now));
  return {
    consumer: situation.consumer?.id ?? null,
    tier: found.isAnonymous ? registry.anonymousTierName : (situation.consumer?.tier ?? null),
    key: found.isAnonymous ? null : (situation.key?.id ?? null),
    token: judged === null ? null : { issuer: judged.issuer, passed: judged.fault === null, why: judged.fault?.why ?? null },
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
    keysWithOwnLimits: [...situation.others],
    denials: found.denials.map(denialShown),
  };
}

/** Gives the endpoints that explain a caller's limits, and a request's way. */
export const explainAdmin = (deps: ExplainAdminDeps) =>
  new Elysia({ prefix: "/explain", tags: ["limits"], normalize: false })
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
    .post("/find", ({ body }) => find(body.text, deps), {
      parse: "json",
      body: FindQuestion,
      response: Found,
      detail: {
        summary: "Find out what a text stands for",
        description:
          "A consumer, a key's id, a key itself, an address, a token, a route or the id of a request that was refused: what the text can be, with why a key is refused that is good no more. Ask `GET /admin/explain` for the rest. Charges and counts nothing.",
      },
    })
    .get(
      "/refusals",
      async () => ({
        items: (await deps.latest(MAX_REFUSALS))
          .toSorted((a, b) => b.at - a.at)
          .slice(0, MAX_REFUSALS)
          .map(refusalShown),
      }),
      {
        response: Type.Object({ items: Type.Array(Refusal, { description: "The newest first." }) }),
        detail: {
          summary: "The last refusals of all callers",
          description: `Requests that this instance refused with 401, 403 or 429: the last ${MAX_REFUSALS}, but of each caller five at most.`,
        },
      },
    )
    .get(
      "/",
      async ({ query }) => {
        const situation = await situationOf(query, deps);
        return answerOf(situation, await deps.explain.explain(situation), deps);
      },
      {
        query: SituationQuery,
        response: Answer,
        detail: {
          summary: "Explain a caller's limits and last refusals",
          description:
            "Which limits apply and why, what is left of each, and why the last requests were refused. Charges nothing. Limits that are shared through Redis are read there; refusals are those of this instance.",
        },
      },
    );
