import type { Config } from "../config/schema.ts";
import type { Known } from "../config/section.ts";
import { matchOf } from "../http/path.ts";

/** Names what Sluice answers by itself. */
export type OwnName =
  | "acme-challenge"
  | "resource-metadata"
  | "health"
  | "ready"
  | "metrics"
  | "docs"
  | "console"
  | "admin"
  | "api-key"
  | "authz"
  | "key-verification"
  | "me"
  | "me-rotate"
  | "me-keys"
  | "my-api"
  | "my";

/** Says which of the own paths are there that exist only while they are wanted. */
export interface Wanted {
  /** True while there are pools, whose keys are handed out. */
  readonly handsOut: boolean;
  /** True while other proxies may ask about requests. */
  readonly judges: boolean;
  /** True while services of somebody's own may ask about keys. */
  readonly verifies: boolean;
  /** True while callers may ask about themselves. */
  readonly servesThemselves: boolean;
  /** True while an authority may look whether a host leads here. */
  readonly provesHosts: boolean;
}

/** Holds the sections that turn own paths on. */
type TurningOn = Pick<Config, "authz" | "keyVerification" | "selfService">;

/** Holds what tells whether certificates are ordered. */
interface WithTls {
  readonly server: { readonly tls: { readonly acme: object | null } | null };
}

/** The path below which an authority looks for its tokens (RFC 8555 §8.3). */
export const ACME_CHALLENGES = "/.well-known/acme-challenge";

/** The path below which the metadata of protected resources is published (RFC 9728 §3). */
export const RESOURCE_METADATA = "/.well-known/oauth-protected-resource";

interface OwnPath {
  readonly name: OwnName;
  readonly paths: readonly string[];
  /** True when everything below the paths is Sluice's as well. */
  readonly takesBelow: boolean;
  /** The listeners: every one; those that serve the admin API; the main port alone. */
  readonly on: "every" | "admin" | "main";
  /** True when a route that is meant by its path comes first. */
  readonly yields: boolean;
  /** Tells whether it is there; left out: always. */
  readonly isWanted?: (wanted: Wanted) => boolean;
  /** The section whose turning on makes it be there, for the fault of a file that takes a route's path away; left out: there is none. */
  readonly section?: keyof TurningOn;
  /** The sentence by which `explain` describes it. */
  readonly says: string;
}

/**
 * The paths that Sluice answers by itself, but for the activities' endpoint, whose path the configuration names. The only list: routing,
 * the rules for routes and `explain` read it.
 */
export const OWN_PATHS: readonly OwnPath[] = [
  {
    name: "health",
    paths: ["/health", "/_health"],
    takesBelow: false,
    on: "every",
    yields: false,
    says: "Sluice itself answers: whether it is alive",
  },
  {
    name: "acme-challenge",
    paths: [ACME_CHALLENGES],
    takesBelow: true,
    on: "main",
    yields: false,
    isWanted: ({ provesHosts }) => provesHosts,
    says: "Sluice itself answers: it proves to an authority that a host leads here",
  },
  {
    name: "resource-metadata",
    // Of what lies below it, the paths of the resources that routes name.
    paths: [RESOURCE_METADATA],
    takesBelow: true,
    on: "main",
    yields: true,
    says: "Sluice itself answers: it tells clients where they get a token for a server",
  },
  { name: "ready", paths: ["/ready"], takesBelow: false, on: "every", yields: false, says: "Sluice itself answers: whether it is ready" },
  {
    name: "metrics",
    paths: ["/metrics", "/_metrics"],
    takesBelow: false,
    on: "admin",
    yields: false,
    says: "Sluice itself answers: metrics, for programs on this machine and who shows an admin token",
  },
  {
    name: "docs",
    paths: ["/", "/llms.txt"],
    takesBelow: false,
    on: "admin",
    yields: true,
    says: "Sluice itself answers with a page of its own",
  },
  { name: "docs", paths: ["/docs"], takesBelow: true, on: "admin", yields: true, says: "Sluice itself answers with a page of its own" },
  {
    name: "console",
    paths: ["/console"],
    takesBelow: true,
    on: "admin",
    yields: true,
    says: "Sluice itself answers with its console",
  },
  {
    name: "admin",
    paths: ["/admin", "/swagger"],
    takesBelow: true,
    on: "admin",
    yields: false,
    says: "the admin API answers, to who shows an admin token",
  },
  {
    name: "api-key",
    paths: ["/api/v1/api-key"],
    takesBelow: false,
    on: "main",
    yields: false,
    isWanted: ({ handsOut }) => handsOut,
    says: "Sluice itself answers: it hands out keys of pools",
  },
  {
    name: "authz",
    paths: ["/authz"],
    // Envoy asks below it.
    takesBelow: true,
    on: "main",
    yields: false,
    isWanted: ({ judges }) => judges,
    section: "authz",
    says: "Sluice itself answers: whether a request may pass that another proxy describes",
  },
  {
    name: "key-verification",
    paths: ["/v1/keys/verify"],
    takesBelow: false,
    on: "main",
    yields: false,
    isWanted: ({ verifies }) => verifies,
    section: "keyVerification",
    says: "Sluice itself answers: it tells whether a key is good",
  },
  {
    name: "me",
    paths: ["/api/v1/me"],
    takesBelow: false,
    on: "main",
    yields: false,
    isWanted: ({ servesThemselves }) => servesThemselves,
    section: "selfService",
    says: "Sluice itself answers: it tells callers where they stand",
  },
  {
    name: "me-rotate",
    paths: ["/api/v1/me/rotate"],
    takesBelow: false,
    on: "main",
    yields: false,
    isWanted: ({ servesThemselves }) => servesThemselves,
    section: "selfService",
    says: "Sluice itself answers: it gives the caller's key a new secret",
  },
  {
    name: "me-keys",
    paths: ["/api/v1/me/keys"],
    takesBelow: true,
    on: "main",
    yields: false,
    isWanted: ({ servesThemselves }) => servesThemselves,
    section: "selfService",
    says: "Sluice itself answers: it shows callers their keys, and makes, rotates and revokes them",
  },
  {
    name: "my-api",
    paths: ["/my/session", "/my/api"],
    takesBelow: true,
    on: "main",
    yields: true,
    isWanted: ({ servesThemselves }) => servesThemselves,
    says: "Sluice itself answers its page for consumers",
  },
  {
    name: "my",
    paths: ["/my"],
    takesBelow: true,
    on: "main",
    yields: true,
    isWanted: ({ servesThemselves }) => servesThemselves,
    says: "Sluice itself answers with its page for consumers",
  },
];

/** Tells which own paths a configuration wants. `hasPools`: pools may also be made by the admin API. */
export const wantedOf = ({ authz, keyVerification, selfService, server }: TurningOn & WithTls, hasPools: boolean): Wanted => ({
  handsOut: hasPools,
  judges: authz !== null,
  verifies: keyVerification !== null,
  servesThemselves: selfService !== null,
  provesHosts: server.tls !== null && server.tls.acme !== null,
});

/** The path where keys of pools are handed out, and the name of this endpoint in a key's list of routes and in the counts of requests. */
export const [HAND_OUT_PATH = ""] = OWN_PATHS.find(({ name }) => name === "api-key")?.paths ?? [];
/** The path at which other proxies ask about requests. */
export const [AUTHZ_PATH = ""] = OWN_PATHS.find(({ name }) => name === "authz")?.paths ?? [];
/** The path at which callers see and change their keys. */
export const [ME_KEYS_PATH = ""] = OWN_PATHS.find(({ name }) => name === "me-keys")?.paths ?? [];
export const HAND_OUT_NAME: OwnName = "api-key";
/** The name of the endpoint that verifies keys, likewise. */
export const VERIFICATION_NAME: OwnName = "key-verification";

/** The names that a key may be bound to besides the routes': endpoints of Sluice's own that serve callers. */
export const OWN_ROUTE_NAMES: readonly string[] = ["activities", HAND_OUT_NAME, VERIFICATION_NAME];

/**
 * Tells whether a route with this path would never be reached on the main port, however the path is written: routes are matched by its
 * decoded form.
 */
export function isReserved(written: string, { wanted, activities, hasAdminListener }: Known): boolean {
  const path = withoutEnd(matchOf(written));
  if (activities !== null && path === withoutEnd(matchOf(activities))) return true;
  return OWN_PATHS.some(({ name, yields, isWanted, ...each }) => {
    if (yields || isWanted?.(wanted) === false || (name === "admin" && hasAdminListener)) return false;
    return isAt(path, each);
  });
}

/** Tells whether a path is one of these, or below one that takes everything there. */
const isAt = (path: string, { paths, takesBelow }: Pick<OwnPath, "paths" | "takesBelow">): boolean =>
  paths.some((own) => path === own || (takesBelow && path.startsWith(`${own}/`)));

/** Gives the section that takes a route's path for an endpoint of Sluice's own; `null`: none does. */
export function takenBySection(written: string, wanted: Wanted): keyof TurningOn | null {
  const path = withoutEnd(matchOf(written));
  const own = OWN_PATHS.find(
    ({ paths, section, isWanted }) => section !== undefined && isWanted?.(wanted) === true && paths.includes(path),
  );
  return own?.section ?? null;
}

/** Tells whether a route's path is the one where keys of pools are handed out. */
export const isHandOut = (path: string): boolean => withoutEnd(matchOf(path)) === HAND_OUT_PATH;

const withoutEnd = (path: string): string => path.replace(/\/$/, "");
