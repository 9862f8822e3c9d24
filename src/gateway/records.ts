import type { Audit } from "../audit/audit.ts";
import { takeNotYet } from "../config/not-yet.ts";
import type { Config } from "../config/schema.ts";
import type { Known } from "../config/section.ts";
import { Consumers } from "../consumers/consumers.ts";
import { DEMO_UPSTREAMS } from "../demo/settings.ts";
import { HAND_OUT_PATH, isHandOut } from "../exchange/own-paths.ts";
import { Keys } from "../keys/keys.ts";
import { KeyRegistry } from "../keys/registry.ts";
import { quotaList } from "../limits/settings.ts";
import { poolSealing, type Secrets } from "../pools/secrets.ts";
import { PoolConfig, poolFaults } from "../pools/settings.ts";
import type { Change } from "../records/changes.ts";
import { Documents } from "../records/documents.ts";
import { overlap } from "../routes/overlap.ts";
import { RouteConfig, routeFaults } from "../routes/settings.ts";
import type { Fault } from "../schema/faults.ts";
import { fillIn } from "../schema/fill-in.ts";
import { masksIn } from "../schema/secrets.ts";
import type { Storage } from "../storage/open.ts";
import { TierConfig, tierFaults } from "../tiers/settings.ts";
import { upstreamFault } from "../upstreams/allow.ts";
import { UpstreamConfig, upstreamFaults } from "../upstreams/settings.ts";
import type { Clock } from "../values/clock.ts";

export interface RecordsDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly audit: Audit;
  /** The configuration in force. */
  readonly config: () => Config;
  /** Routes or upstreams were changed. */
  readonly onRoutes: () => void;
  /** Pools were changed. */
  readonly onPools: () => void;
  /** Seals what must not be stored as it is. */
  readonly secrets: Secrets;
  readonly onFault: (error: unknown) => void;
}

export type Records = ReturnType<typeof createRecords>;

/** All that has a name: tiers, upstreams, routes, consumers and their keys, declared by the file and made by the admin API, side by side. */
export function createRecords({ storage, clock, audit, config, onRoutes, onPools, secrets, onFault }: RecordsDeps) {
  const known = (): Known => ({
    tiers: tiers.names(),
    upstreams: new Set([...upstreams.names(), ...(config().demo ? DEMO_UPSTREAMS : [])]),
    pools: pools.names(),
    activities: config().activities?.endpoint ?? null,
    hasAdminListener: config().admin.listen !== null,
  });
  const refusedUrl = (url: string, path: Fault["path"]): Fault[] => {
    const message = upstreamFault(url, config().admin.upstreamAllow);
    return message === null ? [] : [{ path, message }];
  };
  const checked = (schema: Parameters<typeof fillIn>[0], kind: string, value: unknown, rules: (filled: unknown) => Fault[]) => {
    const copy = structuredClone(value);
    const notYet = takeNotYet(copy, [kind, kind === "routes" ? 0 : "name"]);
    const { value: filled, faults } = fillIn(schema, copy);
    const wrong = faults.length > 0 ? faults : masksIn(schema, filled);
    return { value: filled, faults: [...notYet, ...wrong, ...(wrong.length === 0 ? rules(filled) : [])] };
  };

  const tiers: Documents<TierConfig> = new Documents<TierConfig>({
    kind: "tier",
    storage,
    clock,
    audit,
    schema: TierConfig,
    check: (value) => checked(TierConfig, "tiers", value, (tier) => tierFaults(tier as TierConfig)),
    usedBy: (name) => [
      ...(config().anonymousTier === name ? ["anonymousTier"] : []),
      ...consumers.ofTier(name).map((id) => `consumer ${id}`),
      ...routes
        .all()
        .filter((route) => route.document.tiers.includes(name))
        .map((route) => `route ${route.name}`),
    ],
    onChange: () => registry.invalidate(),
    reserved: () => [],
  });
  const upstreams: Documents<UpstreamConfig> = new Documents<UpstreamConfig>({
    kind: "upstream",
    storage,
    clock,
    audit,
    schema: UpstreamConfig,
    check: (value) =>
      checked(UpstreamConfig, "upstreams", value, (filled) => {
        const upstream = filled as UpstreamConfig;
        const faults = upstreamFaults(upstream);
        return faults.length > 0 ? faults : upstream.targets.flatMap(({ url }, i) => refusedUrl(url, ["targets", i, "url"]));
      }),
    usedBy: (name) =>
      routes
        .all()
        .filter((route) => route.document.upstream === name)
        .map((route) => `route ${route.name}`),
    onChange: onRoutes,
    reserved: () => (config().demo ? DEMO_UPSTREAMS : []),
  });
  const routes: Documents<RouteConfig> = new Documents<RouteConfig>({
    kind: "route",
    storage,
    clock,
    audit,
    schema: RouteConfig,
    check: (value, name) =>
      checked(RouteConfig, "routes", value, (filled) => {
        const route = filled as RouteConfig;
        const clash = routes.all().find((other) => other.name !== name && overlap(route, other.document));
        const taken = clash === undefined ? [] : [{ path: ["path"], message: takenBy(clash.name) }];
        const faults = [...routeFaults(route, known()), ...taken];
        return faults.length > 0 || !route.upstream.includes("://") ? faults : refusedUrl(route.upstream, ["upstream"]);
      }),
    usedBy: () => [],
    onChange: onRoutes,
    reserved: () => [],
  });
  const pools: Documents<PoolConfig> = new Documents<PoolConfig>({
    kind: "pool",
    storage,
    clock,
    audit,
    schema: PoolConfig,
    check: (value) =>
      checked(PoolConfig, "pools", value, (filled) => {
        const pool = filled as PoolConfig;
        const faults = poolFaults(pool);
        // The first pool takes the path from whatever had it.
        const taken = pools.names().size > 0 ? undefined : routes.all().find(({ document }) => isHandOut(document.path));
        if (taken !== undefined)
          faults.push({
            path: [],
            message: `the route ${JSON.stringify(taken.name)} takes ${HAND_OUT_PATH}, where keys of pools are handed out: move it first`,
          });
        const at = pool.keys.findIndex((key) => key.secret !== undefined);
        if (faults.length === 0 && at >= 0 && !secrets.canSeal)
          return [
            {
              path: ["keys", at, "secret"],
              message: "can't be stored: start the gateway with SLUICE_SECRET, under which secrets are encrypted",
            },
          ];
        return faults;
      }),
    usedBy: (name) =>
      routes
        .all()
        .filter((route) => route.document.credential?.pool === name)
        .map((route) => `route ${route.name}`),
    sealing: poolSealing(secrets),
    onChange: onPools,
    reserved: () => [],
  });
  const registry = new KeyRegistry(
    // A tier that was deleted under its consumers must not leave them without limits: they are treated like callers without a key.
    (tier) => {
      const document = (tiers.get(tier) ?? tiers.get(config().anonymousTier))?.document;
      return { limits: document?.limits ?? [], quota: quotaList(document?.quota) };
    },
    () => config().anonymousTier,
  );
  const consumers = new Consumers({ storage, clock, audit, registry, known });
  const keys = new Keys({ storage, clock, audit, registry });

  tiers.load();
  upstreams.load();
  routes.load();
  pools.load();
  consumers.load();
  keys.load();

  return {
    tiers,
    upstreams,
    routes,
    pools,
    registry,
    consumers,
    keys,

    /** What of a configuration can't stand beside what the admin API made: faults of the file, which came later. */
    clashes: (next: Config): Fault[] => [
      ...Object.keys(next.tiers)
        .filter((name) => tiers.isFromApi(name))
        .map((name) => clash(["tiers", name], "tier")),
      ...Object.keys(next.upstreams)
        .filter((name) => upstreams.isFromApi(name))
        .map((name) => clash(["upstreams", name], "upstream")),
      ...Object.keys(next.pools)
        .filter((name) => pools.isFromApi(name))
        .map((name) => clash(["pools", name], "pool")),
      ...next.routes.flatMap((route, i): Fault[] => {
        if (routes.isFromApi(nameOf(route))) return [clash(["routes", i], "route")];
        const other = routes.all().find(({ source, document }) => source === "admin" && overlap(route, document));
        return other === undefined ? [] : [{ path: ["routes", i, "path"], message: takenBy(other.name) }];
      }),
      ...next.consumers.flatMap(({ id }, i) => (consumers.isFromApi(id) ? [clash(["consumers", i], "consumer")] : [])),
      ...keys.clashes(next.consumers),
    ],

    /** Puts what a configuration declares in the place of what the one before declared. `config()` must give it already. */
    declare: (next: Config): void => {
      tiers.declare(Object.entries(next.tiers));
      upstreams.declare(Object.entries(next.upstreams));
      pools.declare(Object.entries(next.pools));
      routes.declare(next.routes.map((route) => [nameOf(route), route] as const));
      consumers.declare(next.consumers);
      keys.declare(next.consumers);
      registry.invalidate();
    },

    /** Takes over what another process on the same database has changed. */
    applyRemoteChanges: (changes: readonly Change[]): void => {
      for (const { kind, id, was } of changes) {
        try {
          if (kind === "consumer") consumers.refresh(id);
          else if (kind === "key") keys.refresh(id, was);
          else if (kind === "block" || kind === "token") continue;
          else ({ tier: tiers, route: routes, upstream: upstreams, pool: pools })[kind].refresh(id);
        } catch (error) {
          // A pool that was sealed under another SLUICE_SECRET: what else was changed holds all the same.
          onFault(error);
        }
      }
      const kinds = new Set(changes.map((change) => change.kind));
      if (kinds.has("tier")) registry.invalidate();
      if (kinds.has("pool")) onPools();
      if (kinds.has("route") || kinds.has("upstream")) onRoutes();
    },
  };
}

const nameOf = (route: RouteConfig): string => route.name ?? route.path;

const takenBy = (name: string): string => `the route ${JSON.stringify(name)} takes this path already, with a host and a method in common`;

const clash = (path: Fault["path"], what: string): Fault => ({
  path,
  message: `the admin API made a ${what} of this name already: delete that one, or rename this one`,
});
