import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { etagOf, limitOf } from "../http/conventions.ts";
import { UNIT_SHOWN, windowText } from "../limits/admin.ts";
import { shownAmount, shownUnit } from "../limits/money.ts";
import { scopeText } from "../limits/policy.ts";
import type { Clock } from "../values/clock.ts";
import type { ShadowLimit, ShadowLimits } from "./limits.ts";
import { type Looked, MAX_CONSUMERS, type ShadowTable, type Spans } from "./table.ts";

/** The most consumers of each limit in an answer where nobody says, and the most limits of consumers and keys in one. */
const CONSUMERS = 20;
const MAX_LISTED = 200;

const Counted = (span: string) =>
  Type.Object(
    {
      requests: Type.Integer({ description: "Requests that it looked at." }),
      refused: Type.Integer({ description: "Those of them that it would have refused." }),
    },
    { description: span },
  );
const Both = {
  day: Counted("The last 24 hours (UTC), of which this one is the last."),
  week: Counted("The last 168 hours (UTC), of which this one is the last."),
};
const Owner = Type.String({ description: "Whose limit it is: tier, route, consumer or key, and its name.", examples: ["tier gold"] });
const LimitName = Type.String({ description: "The limit's name.", examples: ["per-minute"] });
const Source = Type.Union([Type.Literal("config"), Type.Literal("admin")], {
  description: "admin: you can arm it here; config: take its `shadow` away in the configuration file.",
});

const InShadow = Type.Object({
  owner: Owner,
  limit: LimitName,
  source: Source,
  algorithm: Type.String({ description: "How it counts." }),
  unit: UNIT_SHOWN,
  max: Type.Number({ description: "What it allows: the number in force while the system is NORMAL." }),
  window: Type.Union([Type.String(), Type.Null()], { description: "In this time; null for concurrency.", examples: ["60s"] }),
  ...Both,
  consumers: Type.Array(
    Type.Object({
      consumer: Type.Union([Type.String(), Type.Null()], { description: "null: callers whom nothing names, or the others." }),
      others: Type.Boolean({ description: "true: all further consumers together." }),
      ...Both,
    }),
    { description: "By consumer, those first that it would have refused most." },
  ),
});

const Arming = Type.Object({ owner: Owner, limit: LimitName }, { additionalProperties: false, description: "The limit to put in force." });

const less = (a: Looked, b: Looked): Looked => ({ requests: a.requests - b.requests, refused: a.refused - b.refused });

/** Gives the first consumers, and all others together as the last one. */
function byConsumer({ whole, consumers }: ReturnType<ShadowTable["spans"]>, limit: number) {
  const shown = consumers.slice(0, limit).map(({ consumer, day, week }) => ({
    consumer: consumer === "" ? null : consumer,
    ...{ others: false, day, week },
  }));
  const rest = shown.reduce((left: Spans, { day, week }) => ({ day: less(left.day, day), week: less(left.week, week) }), whole);
  return rest.week.requests > 0 ? [...shown, { consumer: null, others: true, ...rest }] : shown;
}

export interface ShadowAdminDeps {
  readonly limits: ShadowLimits;
  readonly table: ShadowTable;
  /** Has what was counted up to now be in the table. */
  readonly flush: () => void;
  readonly clock: Clock;
}

/** Tells what limits in shadow would have refused, and puts them in force. */
export const shadowAdmin = ({ limits, table, flush, clock }: ShadowAdminDeps) => {
  const inForce = (now: number): ShadowLimit[] => {
    const ofOthers = (["consumer", "key"] as const).flatMap((kind) => table.seen(kind, now));
    return [
      ...limits.ofTiersAndRoutes(),
      ...ofOthers
        .map(({ owner, limit }) => limits.of(owner, limit))
        .filter((found) => found !== null)
        .slice(0, MAX_LISTED),
    ];
  };
  return new Elysia({ prefix: "/shadow", tags: ["shadow"], normalize: false })
    .get(
      "/",
      ({ query }) => {
        const shown = limitOf(query, MAX_CONSUMERS, CONSUMERS);
        flush();
        const now = clock.wall();
        const items = inForce(now).map(({ policy, source }) => {
          const owner = scopeText(policy);
          const spans = table.spans(owner, policy.name, now);
          return {
            ...{ owner, limit: policy.name, source, algorithm: policy.algorithm, unit: shownUnit(policy) },
            ...{ max: shownAmount(policy, policy.normal.limit), window: windowText(policy) },
            ...spans.whole,
            consumers: byConsumer(spans, shown),
          };
        });
        return { items };
      },
      {
        query: Type.Object({
          limit: Type.Optional(
            Type.String({
              description: `The most consumers of each limit: 1 to ${MAX_CONSUMERS}, ${CONSUMERS} by default.`,
              shown: { type: "integer", minimum: 1, maximum: MAX_CONSUMERS },
            }),
          ),
        }),
        response: Type.Object({ items: Type.Array(InShadow, { description: "The limits in shadow that are in force." }) }),
        detail: {
          summary: "What limits in shadow would have refused",
          description:
            "Counted by this instance, all of its processes together, to within a few seconds. Limits of tiers and routes are listed all; those of consumers and keys where they had requests in the last week.",
        },
      },
    )
    .post(
      "/arm",
      ({ body, headers, set }) => {
        const { owner, limit } = body;
        set.headers.etag = etagOf(limits.arm(owner, limit, headers["if-match"] ?? null));
        return { owner, limit, shadow: false as const };
      },
      {
        parse: "json",
        body: Arming,
        response: Type.Object({
          owner: Owner,
          limit: LimitName,
          shadow: Type.Literal(false, { description: "It denies from the next request on, and goes on from what it has counted." }),
        }),
        detail: {
          summary: "Put a limit in force that is in shadow",
          description:
            "Takes `shadow` off the limit of a record that this API made, as a PATCH of the record does: it is audited, and takes `If-Match` with the record's `ETag`.",
        },
      },
    );
};
