import type { Config } from "../config/schema.ts";
import type { Consumers } from "../consumers/consumers.ts";
import { declaredKey } from "../consumers/settings.ts";
import { notFound, Refused, refused } from "../http/refused.ts";
import { declaredIdOf, type Keys } from "../keys/keys.ts";
import { compilePolicies, type Policy, type Scope, scopeText } from "../limits/policy.ts";
import type { LimitConfig } from "../limits/settings.ts";
import type { Documents } from "../records/documents.ts";
import type { RouteConfig } from "../routes/settings.ts";
import { formatPath, type Path } from "../schema/faults.ts";
import type { TierConfig } from "../tiers/settings.ts";

export interface ShadowLimitsDeps {
  readonly tiers: Documents<TierConfig>;
  readonly routes: Documents<RouteConfig>;
  readonly consumers: Consumers;
  readonly keys: Keys;
  readonly config: () => Config;
  /** Tells people where something stands in the configuration file, as in "config.json:12:7". */
  readonly placeOf: (path: Path) => string;
}

/** Describes a limit in shadow that is in force. */
export interface ShadowLimit {
  readonly policy: Policy;
  readonly source: "config" | "admin";
}

/** Holds the limits of one owner as its record has them. */
interface Owner {
  readonly scope: Scope;
  readonly source: "config" | "admin";
  readonly limits: readonly LimitConfig[];
}

/** The word of each owner's kind, as people write it before its name. */
const KINDS: readonly Scope["kind"][] = ["tier", "route", "consumer", "key"];
/** The name of the route that takes activities: it is declared as `activities`. */
const ACTIVITIES = "activities";

/** Finds limits in shadow, and puts them in force. */
export class ShadowLimits {
  constructor(private readonly deps: ShadowLimitsDeps) {}

  /** Lists those of all tiers and routes. Consumers and keys with limits of their own may be a million: `of` finds theirs. */
  ofTiersAndRoutes(): ShadowLimit[] {
    const { tiers, routes } = this.deps;
    return [
      ...[...tiers.names()].map((name) => this.owner({ kind: "tier", name })),
      ...this.routeNames(routes).map((name) => this.owner({ kind: "route", name })),
    ].flatMap((owner) => (owner === null ? [] : inShadow(owner)));
  }

  /** Finds a limit in shadow by its owner and its name; `null` where there is none (any more). */
  of(owner: string, limit: string): ShadowLimit | null {
    const scope = scopeOf(owner);
    const found = scope === null ? null : this.owner(scope);
    return found === null ? null : (inShadow(found).find(({ policy }) => policy.name === limit) ?? null);
  }

  /**
   * Takes a limit out of shadow: it denies from now on. Gives the version of the record that has it. Throws 404 where there is none of this name, 409 where
   * it is not in shadow or the configuration file declares it, and whatever a change of the record throws.
   */
  arm(owner: string, limit: string, ifMatch: string | null): number {
    const scope = scopeOf(owner);
    const found = scope === null ? null : this.owner(scope);
    if (scope === null || found === null) throw notFound("owner of limits", owner);
    const at = compilePolicies(found.limits, scope).findIndex(({ name }) => name === limit);
    const config = found.limits[at];
    if (config === undefined) throw notFound(`limit of the ${scopeText({ scope })}`, limit);
    if (config.shadow !== true)
      throw refused("conflict", `The limit ${JSON.stringify(limit)} of the ${owner} is not in shadow: it denies already.`);
    if (found.source === "config") throw this.managed(scope, at);
    const { shadow: _, ...armed } = config;
    return this.patch(scope, found.limits.with(at, armed), ifMatch);
  }

  private patch({ kind, name }: Scope, limits: readonly LimitConfig[], ifMatch: string | null): number {
    const { tiers, routes, consumers, keys } = this.deps;
    const patch = { limits: [...limits] };
    switch (kind) {
      case "tier":
        return tiers.patch(name, patch, ifMatch).version;
      case "route":
        return routes.patch(name, patch, ifMatch).version;
      case "consumer":
        return consumers.patch(name, patch, ifMatch).version;
      case "key":
        return keys.patch(name, patch, ifMatch).version;
    }
  }

  private owner(scope: Scope): Owner | null {
    const { kind, name } = scope;
    const { tiers, routes, consumers, keys, config } = this.deps;
    const document = kind === "tier" ? tiers.get(name) : kind === "route" ? routes.get(name) : undefined;
    if (document !== undefined) return { scope, source: document.source, limits: document.document.limits };
    const { activities } = config();
    if (kind === "route") return name === ACTIVITIES && activities !== null ? { scope, source: "config", limits: activities.limits } : null;
    if (kind === "tier") return null;
    const { source, limits } = (kind === "consumer" ? orNull(() => consumers.get(name)) : orNull(() => keys.get(name).record)) ?? {
      source: "config",
      limits: null,
    };
    // As its record was checked.
    return limits === null ? null : { scope, source, limits: limits as readonly LimitConfig[] };
  }

  private routeNames(routes: Documents<RouteConfig>): string[] {
    return this.deps.config().activities === null ? [...routes.names()] : [...routes.names(), ACTIVITIES];
  }

  /** Makes the refusal to change what the file declares, with the place to change. */
  private managed(scope: Scope, at: number): Refused {
    const path = [...this.pathOf(scope), "limits", at, "shadow"];
    return refused(
      "conflict",
      `The ${scope.kind} ${JSON.stringify(scope.name)} is managed by config.json: take ${formatPath(path)} away there (${this.deps.placeOf(path)}).`,
    );
  }

  private pathOf({ kind, name }: Scope): Path {
    const { routes, consumers } = this.deps.config();
    switch (kind) {
      case "tier":
        return ["tiers", name];
      case "route": {
        const at = routes.findIndex((route) => (route.name ?? route.path) === name);
        return at < 0 ? [ACTIVITIES] : ["routes", at];
      }
      case "consumer":
        return ["consumers", consumers.findIndex(({ id }) => id === name)];
      case "key": {
        const { consumer } = this.deps.keys.get(name).record;
        const at = consumers.findIndex(({ id }) => id === consumer);
        return ["consumers", at, "keys", consumers[at]?.keys.findIndex((key) => declaredIdOf(declaredKey(key)) === name) ?? 0];
      }
    }
  }
}

const inShadow = ({ scope, source, limits }: Owner): ShadowLimit[] =>
  compilePolicies(limits, scope)
    .filter(({ shadow }) => shadow)
    .map((policy) => ({ policy, source }));

function scopeOf(owner: string): Scope | null {
  const kind = KINDS.find((each) => owner.startsWith(`${each} `));
  return kind === undefined ? null : { kind, name: owner.slice(kind.length + 1) };
}

/** Gives what a look-up gives; `null` where it finds nothing. */
function orNull<T>(look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}
