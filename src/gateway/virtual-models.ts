import type { Config } from "../config/schema.ts";
import type { Route } from "../exchange/route.ts";
import { OutcomeSet } from "../models/outcome.ts";
import type { AttemptConfig } from "../models/settings.ts";
import type { VirtualModel } from "../models/virtual-model.ts";
import { CredentialConfig } from "../pools/settings.ts";
import type { RouteConfig } from "../routes/settings.ts";
import { fillIn } from "../schema/fill-in.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import { matchesName } from "../values/name-patterns.ts";
import { parseDuration } from "../values/units.ts";
import { compileRoute, type RouteMaterial } from "./routes.ts";

/**
 * Compiles the virtual models that callers of a route may name. Each attempt has the route as it would be with the attempt's upstream and
 * credential, so that paths, headers and what is never forwarded are as on any route.
 */
export function compileVirtualModels(
  document: RouteConfig,
  models: Config["models"],
  material: RouteMaterial,
  upstreamOf: (name: string) => Upstream | null,
): Route["virtualModels"] {
  const named = Object.entries(models).filter(([name]) => document.models.some((pattern) => matchesName(pattern, name)));
  return new Map(
    named.map(([name, config]): [string, VirtualModel] => [
      name,
      {
        name,
        on: new OutcomeSet(config.on),
        firstToken: parseDuration(config.firstToken),
        giveUpAfter: parseDuration(config.giveUpAfter),
        attempts: config.try.map((attempt, i) => {
          const { upstream: upstreamName, model, pool = null, weight, fallback } = attempt;
          const upstream = upstreamOf(upstreamName);
          const route = compileRoute(
            { ...document, upstream: upstreamName, credential: credentialOf(attempt, document), cache: null, retry: null },
            { ...material, upstream },
          );
          return { place: i + 1, upstream, upstreamName, model, pool, route, weight, isFallback: fallback };
        }),
      },
    ]),
  );
}

/** Gives an attempt's credential: what is not its own to say is as the route's credential has it. */
function credentialOf({ pool, header, value }: AttemptConfig, { credential }: RouteConfig): CredentialConfig | null {
  if (pool === undefined) return null;
  const own = { pool, ...(header === undefined ? {} : { header }), ...(value === undefined ? {} : { value }) };
  const { cost, usage, drop } = credential ?? {};
  const ofRoute = credential === null ? {} : { cost, usage, drop };
  return fillIn(CredentialConfig, { ...ofRoute, ...own }).value as CredentialConfig;
}
