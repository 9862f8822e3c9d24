import { isLook } from "../http/methods.ts";
import type { AdminResource } from "./resource.ts";

/**
 * The roles of admin tokens, each with the rights of those before it: looks; runs the gateway (health, blocks, breakers, cache, limits,
 * logging, reload); everything.
 */
export const ROLES = ["viewer", "operator", "admin"] as const;

export type Role = (typeof ROLES)[number];

/** Tells whether a role has at least the rights of another. */
export const isAtLeast = (role: Role, least: Role): boolean => ROLES.indexOf(role) >= ROLES.indexOf(least);

/**
 * Gives the least role that may send a request to the resource at its path. What is mounted nowhere takes an admin: others are not told
 * what there is. An endpoint's own role goes by the path as it is written, without a slash at its end.
 */
export function leastRole(resource: AdminResource | undefined, method: string, path: string): Role {
  if (isLook(method)) return "viewer";
  if (resource === undefined) return "admin";
  return resource.endpointRoles[endpointOf(resource, method, path)] ?? resource.role;
}

/** Tells whether anybody may send a request to the resource at its path, without a token. */
export const isOpenToAll = (resource: AdminResource | undefined, method: string, path: string): boolean =>
  resource?.openEndpoints.includes(endpointOf(resource, method, path)) === true;

const endpointOf = (resource: AdminResource, method: string, path: string): string =>
  `${method} ${path.slice(`/admin/${resource.path}`.length)}`;

/** Finds the resource of a request's path, by what follows /admin/. Throws for two resources of one path: which one's rights would hold? */
export function resourceFinder(resources: readonly AdminResource[]): (path: string) => AdminResource | undefined {
  const byPath = new Map(resources.map((resource) => [resource.path, resource]));
  if (byPath.size < resources.length) throw new Error("two resources of the admin API have the same path");
  return (path) => {
    const [, first, second = ""] = path.split("/", 3);
    return first === "admin" ? byPath.get(second) : undefined;
  };
}
