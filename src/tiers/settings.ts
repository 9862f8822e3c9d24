import { type Static, Type } from "@sinclair/typebox";
import type { Known, Section } from "../config/section.ts";
import { Limits, limitFaults, Quotas, quotaFaults } from "../limits/settings.ts";
import { type Fault, nearest, orNearest, type Path } from "../schema/faults.ts";
import { filledIn, IDENTIFIER, Nullable, Scope, Shape } from "../schema/fields.ts";
import { isObject } from "../values/json.ts";

const SelfService = Shape(
  {
    rotate: Type.Boolean({
      default: true,
      description:
        "Whether callers may give their own keys a new secret, as by POST /api/v1/me/rotate. They get nothing by it that they did not have.",
    }),
    keys: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 100,
      description:
        "How many good keys a consumer may have, yours among them, and still make another one (POST /api/v1/me/keys). A key is made from one of yours and can never do more than that one. 0: they make none.",
    }),
    scopes: Type.Array(Scope, {
      default: [],
      maxItems: 64,
      description: "The scopes that keys made so may have, as far as the key has them from which they are made. None named: none.",
      examples: [["users:read"]],
    }),
    routes: Type.Array(Type.String({ maxLength: 1024 }), {
      default: [],
      maxItems: 256,
      description:
        "Names of the routes that keys made so may use, as far as the key may from which they are made. None named: all that it may.",
    }),
  },
  "What callers of this tier may do to their own keys.",
);
export type SelfServiceRules = Static<typeof SelfService>;

/** What callers may do to their own keys whose tier does not say. */
export const USUAL_RULES: SelfServiceRules = { rotate: true, keys: 0, scopes: [], routes: [] };

export const TierConfig = Shape(
  {
    limits: Limits("The limits of callers of this tier.", { default: [] }),
    quota: Quotas("What a consumer of this tier may use in a period of the calendar; one, or a list of them."),
    selfService: Nullable(SelfService, "What callers of this tier may do to their own keys, while selfService is on; null: the defaults."),
  },
  "A named set of limits.",
);
export type TierConfig = Static<typeof TierConfig>;

/** Gives the faults of a tier that the schema can't express. Paths begin with `at`. */
export const tierFaults = (tier: TierConfig, at: Path = []): Fault[] => [
  ...limitFaults(tier.limits, [...at, "limits"]),
  ...quotaFaults(tier.quota, [...at, "quota"]),
];

/** Gives a fault when no tier has this name. */
export const tierNameFaults = (name: string, known: Pick<Known, "tiers">, path: Path): Fault[] =>
  known.tiers.has(name) ? [] : [{ path, message: `there is no tier ${JSON.stringify(name)}${orNearest(name, known.tiers)}` }];

const anonymousTier = Type.String({ default: "anonymous", description: "The tier of callers without a key, counted by IP." });

export const anonymousTierSection: Section<"anonymousTier", typeof anonymousTier> = {
  name: "anonymousTier",
  schema: anonymousTier,
  faults: (name, known) => tierNameFaults(name, known, ["anonymousTier"]),
};

const tiers = Type.Record(Type.String({ pattern: IDENTIFIER }), filledIn(TierConfig), {
  additionalProperties: false,
  description: "Named sets of limits.",
  default: {
    anonymous: { limits: [{ algorithm: "sliding-window", limit: 100, window: "1m" }] },
    free: { limits: [{ algorithm: "sliding-window", limit: 10, burst: 20, degraded: 2, window: "1m" }] },
    pro: { limits: [{ algorithm: "sliding-window", limit: 100, burst: 150, degraded: 100, window: "1m" }] },
    enterprise: { limits: [{ algorithm: "sliding-window", limit: 1000, window: "1m" }] },
  },
});

export const tiersSection: Section<"tiers", typeof tiers> = {
  name: "tiers",
  schema: tiers,
  faults: (settings) => Object.entries(settings).flatMap(([name, tier]) => tierFaults(tier, ["tiers", name])),
  // A tier that is nearly called as the one of callers without a key: they get Sluice's own limits instead.
  warnings: (_, { config: { anonymousTier, consumers, routes }, given }) => {
    const named = isObject(given) && isObject(given.tiers) ? given.tiers : {};
    if (Object.hasOwn(named, anonymousTier)) return [];
    return Object.keys(named)
      .filter((name) => nearest(name, [anonymousTier]) !== null)
      .filter((name) => !consumers.some(({ tier }) => tier === name) && !routes.some((route) => route.tiers.includes(name)))
      .map((name) => ({
        path: ["tiers", name],
        isOfName: true,
        message: `nobody is of this tier: callers without a key are of ${JSON.stringify(anonymousTier)}, which the file does not name, so that Sluice's own limits hold for them`,
      }));
  },
};
