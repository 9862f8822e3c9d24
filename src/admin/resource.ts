import type { AnyElysia } from "elysia";
import { KINDS, type Kind } from "../records/kinds.ts";
import type { Role } from "./rights.ts";

/** Describes a part of the admin API as it is mounted: its endpoints, and who may use them. */
export interface AdminResource {
  /** Its endpoints, all of them with the prefix `/path`. */
  readonly endpoints: readonly AnyElysia[];
  /** The segment that follows /admin/ in the paths of its endpoints. */
  readonly path: string;
  /** The least role that may change something here. Every role may look. */
  readonly role: Role;
  /** The least roles of endpoints for which it is another one, by method and path below this resource, as in "POST /reload". */
  readonly endpointRoles: Readonly<Record<string, Role>>;
  /** The endpoints that anybody may use, likewise. */
  readonly openEndpoints: readonly string[];
  /** True when instances share what is here, so that they change it one at a time. */
  readonly isShared: boolean;
  /** The paths below /admin of what is here and changes nothing that instances share; left out: there are none. */
  readonly local?: RegExp;
}

/**
 * Mounts what each instance has for itself: `role` is the least one that may change something, `endpointRoles` those of endpoints for which
 * it is another one, `openEndpoints` those that anybody may use.
 */
export const own = (
  endpoints: AnyElysia | readonly AnyElysia[],
  role: Role,
  endpointRoles: AdminResource["endpointRoles"] = {},
  openEndpoints: AdminResource["openEndpoints"] = [],
): AdminResource => ({
  endpoints: [endpoints].flat(),
  path: pathOf([endpoints].flat()),
  role,
  ...{ endpointRoles, openEndpoints },
  isShared: false,
});

/** Mounts records of a kind, with the rights that the kind's row names. */
export const recordsOf = (kind: Kind, ...endpoints: readonly AnyElysia[]): AdminResource => ({
  endpoints,
  path: pathOf(endpoints),
  role: KINDS[kind].role,
  ...{ endpointRoles: {}, openEndpoints: [] },
  isShared: true,
});

/** Gives the one prefix of all these endpoints. Rights go by it, so that none may lie elsewhere: throws where one does. */
function pathOf(endpoints: readonly AnyElysia[]): string {
  const [prefix, ...others] = new Set(endpoints.map(({ config }) => config.prefix));
  if (prefix === undefined || others.length > 0 || !/^\/[a-z]+$/.test(prefix))
    throw new Error("a resource of the admin API has one prefix of one segment");
  return prefix.slice(1);
}
