import { Type } from "@sinclair/typebox";
import type { Config } from "../config/schema.ts";
import type { Section } from "../config/section.ts";
import { ALGORITHMS } from "../limits/algorithms/registry.ts";
import { type LimitConfig, type QuotaConfig, quotaList } from "../limits/settings.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { Nullable, Shape } from "../schema/fields.ts";
import { peerFaults } from "../schema/rules.ts";

const AuthzConfig = Nullable(
  Shape(
    {
      allowFrom: Type.Array(Type.String({ maxLength: 64 }), {
        default: ["127.0.0.0/8", "::1"],
        maxItems: 256,
        description:
          'The addresses and blocks (CIDR) of the proxies that may ask, compared with the connection\'s own address ("unix": peers on the Unix socket); others get 404. By default this machine alone: who may ask can try out keys under any address.',
      }),
      denyAs: Type.Union([Type.Literal(403), Type.Null()], {
        default: null,
        description:
          "The status in place of 429, for nginx: auth_request knows 401 and 403 alone, and makes a 500 of everything else. null: 429.",
        expects: "403 or null",
      }),
    },
    "Who may ask, and how they are told.",
  ),
  "Turns on /authz, where another proxy (nginx auth_request, Traefik ForwardAuth, Caddy forward_auth, Envoy ext_authz) asks whether a request may pass; null: there is no such path.",
);

export const authzSection: Section<"authz", typeof AuthzConfig> = {
  name: "authz",
  schema: AuthzConfig,
  faults: (authz) => (authz === null ? [] : peerFaults(authz.allowFrom, ["authz", "allowFrom"])),
  warnings: (authz, { config }) => (authz === null ? [] : [...limitsThatWait(config), ...toolsByHeader(config)]),
};

/** Gives a warning for each limit that counts what only an answer can tell: when it is over, or what it used. */
function limitsThatWait({ tiers, routes, consumers }: Config): Fault[] {
  return [
    ...Object.entries(tiers).flatMap(([name, tier]) => ofOwner(tier, ["tiers", name])),
    ...routes.flatMap((route, i) => ofOwner(route, ["routes", i])),
    ...consumers.flatMap((consumer, i) => [
      ...ofOwner(consumer, ["consumers", i]),
      ...consumer.keys.flatMap((key, k) => (typeof key === "string" ? [] : ofOwner(key, ["consumers", i, "keys", k]))),
    ]),
  ];
}

/** Gives a warning for each route that lets callers call some tools and not others: what is asked about has no body to read that by. */
function toolsByHeader({ routes }: Config): Fault[] {
  return routes.flatMap(({ mcp }, i) => {
    if (mcp === null) return [];
    const { tools, scopes } = mcp;
    const isRestricted = tools.include.length > 0 || tools.exclude.length > 0 || Object.keys(scopes).length > 0;
    return isRestricted ? [{ path: ["routes", i, "mcp"], message: BY_HEADER }] : [];
  });
}

interface Owner {
  readonly limits?: readonly LimitConfig[] | null;
  readonly quota?: readonly QuotaConfig[] | QuotaConfig | null;
}

function ofOwner({ limits, quota }: Owner, at: Path): Fault[] {
  const ofLimits = (limits ?? []).flatMap((limit, i): Fault[] => {
    if (ALGORITHMS[limit.algorithm].holds) return [{ path: [...at, "limits", i, "algorithm"], message: NOT_HELD }];
    const message = messageFor(limit.cost);
    return message === null ? [] : [{ path: [...at, "limits", i, "cost"], message }];
  });
  const ofQuota = quotaList(quota).flatMap(({ cost }, i): Fault[] => {
    const message = messageFor(cost);
    return message === null ? [] : [{ path: [...at, "quota", ...(Array.isArray(quota) ? [i] : []), "cost"], message }];
  });
  return [...ofLimits, ...ofQuota];
}

/** Says what becomes of a limit or a quota by what it counts; `null`: it holds. */
const messageFor = (cost: LimitConfig["cost"] | QuotaConfig["cost"]): string | null =>
  cost === "usd" ? NOT_CHARGED : cost === "usage" ? NOT_SETTLED : null;

const NOT_HELD =
  "is not held for requests that a proxy asks about at /authz: Sluice does not see when they end, so that only forwarded ones are counted";
const NOT_SETTLED =
  "is not settled for requests that a proxy asks about at /authz: Sluice does not see their responses, so that only forwarded ones are counted";
const BY_HEADER =
  "is judged by the headers Mcp-Method and Mcp-Name where a proxy asks at /authz: let it ask only for a server that itself refuses headers which contradict the body (2026-07-28), since an older one takes no notice of them, and callers reach every tool";
const NOT_CHARGED =
  "does not hold requests that a proxy asks about at /authz: Sluice sees neither which model they call nor what it costs, so that they reserve and are charged nothing, and pass however much is spent; have Sluice forward them";
