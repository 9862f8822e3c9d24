import { cacheWarning } from "../cache/warning.ts";
import { PUBLIC_KEYS } from "../demo/public-keys.ts";
import { type Fault, nearest, type Path } from "../schema/faults.ts";
import { isObject } from "../values/json.ts";
import { declaredHash } from "../values/key-format.ts";
import { parseTime } from "../values/units.ts";
import { type Config, declaredKey, type RouteConfig } from "./schema.ts";

/** What is valid and hardly meant: told by `sluice check` and at the start, a fault with `--strict`. */

/** SHA-256 of the demo's keys: a file may hold them so. */
const PUBLIC_HASHES: ReadonlySet<string> = new Set([...PUBLIC_KEYS].map(declaredHash));

/** Whether only programs on this machine reach what listens on this address. */
export const isLoopbackHost = (host: string): boolean => host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);

/**
 * Gives what is hardly meant in a valid configuration. `given`: what the file says, without defaults; `host`: where the main port listens, if not where the configuration says; `now`: milliseconds since 1970.
 */
export function configWarnings(config: Config, given: unknown, host: string, now: number): Fault[] {
  return [
    ...exposure(config, host),
    ...anonymous(config, given),
    ...unusedUpstreams(config),
    ...config.routes.flatMap((route, i) => closed(config, route, ["routes", i])),
    ...(config.activities === null ? [] : closed(config, { ...config.activities, name: "activities", path: "" }, ["activities"])),
    ...config.routes.flatMap((route, i) => {
      const message = cacheWarning(route);
      return message === null ? [] : [{ path: ["routes", i, "cache"], message }];
    }),
    ...declaredKeys(config, now),
  ];
}

/** What strangers can reach. */
function exposure({ server, admin, demo, pools, consumers }: Config, host: string): Fault[] {
  const warnings: Fault[] = [];
  const adminHost = admin.listen?.host ?? host;
  if (!isLoopbackHost(adminHost) && server.tls === null)
    warnings.push({
      path: admin.listen === null ? ["admin"] : ["admin", "listen"],
      message: `the admin API can be reached on ${adminHost} without TLS, so that its token can be read on the way: give it a listener of its own ("admin": { "listen": { "host": "127.0.0.1", "port": 8081 } }), or set server.tls`,
    });
  if (isLoopbackHost(host)) return warnings;
  if (demo)
    warnings.push({
      path: ["demo"],
      message: `the demo can be reached on ${host}: its keys are public, and anybody can make its backend fail`,
    });
  for (const [name, pool] of Object.entries(pools))
    if (pool.auth === "none")
      warnings.push({ path: ["pools", name, "auth"], message: "none hands the pool's credentials out to anybody who asks" });
  for (const [i, entry] of server.trustedProxies.entries())
    if (/\/0$/.test(entry))
      warnings.push({
        path: ["server", "trustedProxies", i],
        message: "believes everybody's X-Forwarded-For: any caller can pass for any address",
      });
  if (!demo)
    for (const [i, consumer] of consumers.entries())
      for (const [j, key] of consumer.keys.entries())
        if (PUBLIC_HASHES.has(declaredHash(declaredKey(key).key)))
          warnings.push({
            path: ["consumers", i, "keys", j],
            message: "is a key of the demo, which anybody knows who reads the documentation",
          });
  return warnings;
}

/** A tier that is nearly called as the one of callers without a key: they get Sluice's own limits instead. */
function anonymous({ anonymousTier, consumers, routes }: Config, given: unknown): Fault[] {
  const tiers = isObject(given) && isObject(given.tiers) ? given.tiers : {};
  if (Object.hasOwn(tiers, anonymousTier)) return [];
  return Object.keys(tiers)
    .filter((name) => nearest(name, [anonymousTier]) !== null)
    .filter((name) => !consumers.some(({ tier }) => tier === name) && !routes.some((route) => route.tiers.includes(name)))
    .map((name) => ({
      path: ["tiers", name],
      isOfName: true,
      message: `nobody is of this tier: callers without a key are of ${JSON.stringify(anonymousTier)}, which the file does not name, so that Sluice's own limits hold for them`,
    }));
}

function unusedUpstreams({ upstreams, routes }: Config): Fault[] {
  const used = new Set(routes.map(({ upstream }) => upstream));
  return Object.keys(upstreams)
    .filter((name) => !used.has(name))
    .map((name) => ({ path: ["upstreams", name], isOfName: true, message: "no route of this file uses it" }));
}

/** A route that none of the declared consumers may use. Those whose keys the admin API makes may have any scope. */
function closed({ consumers }: Config, route: Pick<RouteConfig, "auth" | "tiers" | "scopes" | "name" | "path">, at: Path): Fault[] {
  if (route.auth === "none" || consumers.length === 0) return [];
  const ofTier = consumers.filter(({ tier, enabled }) => enabled && (route.tiers.length === 0 || route.tiers.includes(tier)));
  if (ofTier.length === 0)
    return route.tiers.length === 0
      ? []
      : [{ path: [...at, "tiers"], message: `no declared consumer is of ${list(route.tiers)}: all of them get 403 here` }];
  if (route.scopes.length === 0) return [];
  const name = route.name ?? route.path;
  const isOpen = ofTier.some(
    ({ keys }) =>
      keys.length === 0 ||
      keys
        .map(declaredKey)
        .some(
          ({ scopes = [], routes = [] }) =>
            route.scopes.every((scope) => scopes.includes(scope)) && (routes.length === 0 || routes.includes(name)),
        ),
  );
  if (isOpen) return [];
  return [
    {
      path: [...at, "scopes"],
      message: `no declared key has ${list(route.scopes)}, so that all get 403 here: write a key as { "key": "…", "scopes": ${JSON.stringify(route.scopes)} }`,
    },
  ];
}

function declaredKeys({ consumers }: Config, now: number): Fault[] {
  return consumers.flatMap((consumer, i) =>
    consumer.keys.flatMap((key, j) => {
      const { expiresAt } = declaredKey(key);
      const at = expiresAt === undefined ? null : parseTime(expiresAt);
      return at === null || at > now ? [] : [{ path: ["consumers", i, "keys", j, "expiresAt"], message: "is over: this key is refused" }];
    }),
  );
}

const list = (names: readonly string[]): string => names.map((name) => JSON.stringify(name)).join(", ");
