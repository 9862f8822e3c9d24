import type { Config } from "../config/schema.ts";
import type { Known } from "../config/section.ts";
import { matchOf } from "../http/path.ts";

/** Names what Sluice answers by itself. */
export type OwnName = "health" | "ready" | "metrics" | "docs" | "admin" | "api-key" | "authz";

/** Says which of the own paths are there that exist only while they are wanted. */
export interface Wanted {
  /** True while there are pools, whose keys are handed out. */
  readonly handsOut: boolean;
  /** True while other proxies may ask about requests. */
  readonly judges: boolean;
}

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
    says: "Sluice itself answers: whether a request may pass that another proxy describes",
  },
];

/** Tells which own paths a configuration wants. `hasPools`: pools may also be made by the admin API. */
export const wantedOf = ({ authz }: Pick<Config, "authz">, hasPools: boolean): Wanted => ({
  handsOut: hasPools,
  judges: authz !== null,
});

/** The path where keys of pools are handed out, and the name of this endpoint in a key's list of routes and in the counts of requests. */
export const [HAND_OUT_PATH = ""] = OWN_PATHS.find(({ name }) => name === "api-key")?.paths ?? [];
/** The path at which other proxies ask about requests. */
export const [AUTHZ_PATH = ""] = OWN_PATHS.find(({ name }) => name === "authz")?.paths ?? [];
export const HAND_OUT_NAME: OwnName = "api-key";

/** The names that a key may be bound to besides the routes': endpoints of Sluice's own that serve callers. */
export const OWN_ROUTE_NAMES: readonly string[] = ["activities", HAND_OUT_NAME];

/**
 * Tells whether a route with this path would never be reached on the main port, however the path is written: routes are matched by its
 * decoded form.
 */
export function isReserved(written: string, { wanted, activities, hasAdminListener }: Known): boolean {
  const path = withoutEnd(matchOf(written));
  if (activities !== null && path === withoutEnd(matchOf(activities))) return true;
  return OWN_PATHS.some(({ name, paths, takesBelow, yields, isWanted }) => {
    if (yields || isWanted?.(wanted) === false || (name === "admin" && hasAdminListener)) return false;
    return paths.some((own) => path === own || (takesBelow && path.startsWith(`${own}/`)));
  });
}

/** Tells whether a route's path is the one where keys of pools are handed out. */
export const isHandOut = (path: string): boolean => withoutEnd(matchOf(path)) === HAND_OUT_PATH;

const withoutEnd = (path: string): string => path.replace(/\/$/, "");
