import { type Static, Type } from "@sinclair/typebox";
import type { Known } from "../config/section.ts";
import { type ConsumerConfig, declaredKey } from "../consumers/settings.ts";
import { type Fault, orNearest, type Path } from "../schema/faults.ts";
import { Scope } from "../schema/fields.ts";
import { tierNameFaults } from "../tiers/settings.ts";

/** Fields that say who may use what is served at a path. */
export const ACCESS = {
  auth: Type.Union([Type.Literal("required"), Type.Literal("optional"), Type.Literal("none")], {
    default: "required",
    description: "Whether callers need a key, a token or a client certificate. Required by default: a route must not be open by oversight.",
  }),
  issuers: Type.Array(Type.String({ maxLength: 64 }), {
    default: [],
    maxItems: 64,
    description: "If not empty, only callers with tokens of these issuers, and none with keys or client certificates.",
  }),
  tiers: Type.Array(Type.String(), { default: [], maxItems: 256, description: "If not empty, only callers of these tiers." }),
  scopes: Type.Array(Scope, {
    default: [],
    maxItems: 64,
    description: "Scopes that the key must carry, all of them.",
  }),
};

interface AccessCircumstances {
  readonly consumers: readonly ConsumerConfig[];
  readonly issuers: object;
  readonly server: { readonly tls: { readonly clientCertificates: object | null } | null };
}

type Access = { readonly [Field in keyof typeof ACCESS]: Static<(typeof ACCESS)[Field]> };

/** Gives the faults of access rules that the schema can't express. Paths begin with `at`. */
export function accessFaults({ auth, issuers, tiers, scopes }: Access, known: Known, at: Path): Fault[] {
  const faults = tiers.flatMap((tier, i) => tierNameFaults(tier, known, [...at, "tiers", i]));
  for (const [i, name] of issuers.entries())
    if (!known.issuers.has(name))
      faults.push({
        path: [...at, "issuers", i],
        message: `there is no issuer ${JSON.stringify(name)}${orNearest(name, known.issuers)}`,
      });
  if (auth === "none" && (tiers.length > 0 || scopes.length > 0 || issuers.length > 0))
    faults.push({
      path: [...at, "auth"],
      message: `${issuers.length > 0 ? "issuers need a token" : "tiers and scopes need a key"}: use "required" or "optional"`,
    });
  return faults;
}

/**
 * Warns of rules that none of the declared consumers meets. Keys that the admin API makes may have any scope, and tokens bring scopes and
 * tiers of their own, certificates tiers. `name`: the name that keys are bound to.
 */
export function accessWarnings({ consumers, issuers, server }: AccessCircumstances, access: Access, name: string, at: Path): Fault[] {
  if (access.auth === "none" || consumers.length === 0 || Object.keys(issuers).length > 0) return [];
  if (server.tls !== null && server.tls.clientCertificates !== null && access.scopes.length === 0) return [];
  const ofTier = consumers.filter(({ tier, enabled }) => enabled && (access.tiers.length === 0 || access.tiers.includes(tier)));
  if (ofTier.length === 0)
    return access.tiers.length === 0
      ? []
      : [{ path: [...at, "tiers"], message: `no declared consumer is of ${list(access.tiers)}: all of them get 403 here` }];
  if (access.scopes.length === 0) return [];
  const isOpen = ofTier.some(
    ({ keys }) =>
      keys.length === 0 ||
      keys
        .map(declaredKey)
        .some(
          ({ scopes = [], routes = [] }) =>
            access.scopes.every((scope) => scopes.includes(scope)) && (routes.length === 0 || routes.includes(name)),
        ),
  );
  if (isOpen) return [];
  return [
    {
      path: [...at, "scopes"],
      message: `no declared key has ${list(access.scopes)}, so that all get 403 here: write a key as { "key": "…", "scopes": ${JSON.stringify(access.scopes)} }`,
    },
  ];
}

const list = (names: readonly string[]): string => names.map((name) => JSON.stringify(name)).join(", ");
