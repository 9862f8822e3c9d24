import type { Authorize } from "../authorize/gate.ts";
import type { Caching } from "../cache/answerer.ts";
import { compressing } from "../compression/answerer.ts";
import { preflightAnswerer } from "../exchange/cors.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { grpcGate } from "../exchange/grpc-gate.ts";
import type { Answerer, Gate, Line } from "../exchange/line.ts";
import type { Route } from "../exchange/route.ts";
import { sizeGate } from "../exchange/size-gate.ts";
import { statusOfHttp } from "../grpc/status.ts";
import { guardGate } from "../guard/gate.ts";
import type { Guard } from "../guard/guard.ts";
import { ipsGate } from "../guard/ips-gate.ts";
import type { AutoHealth } from "../health/auto.ts";
import { unavailable } from "../http/problem.ts";
import type { Identity } from "../identity/gate.ts";
import type { LimitsGate } from "../limits/gate.ts";
import { showingTools } from "../mcp/answerer.ts";
import { mcpGate } from "../mcp/gate.ts";
import { challenging } from "../mcp/resource.ts";
import type { ModelGates } from "../models/gate.ts";
import { modelListGate } from "../models/list.ts";
import type { VirtualModels } from "../models/virtual-models.ts";
import type { Recorder } from "../observers/recorder.ts";
import type { PluginSteps } from "../plugins/steps.ts";
import type { RouteConfig } from "../routes/settings.ts";
import type { Forwarder } from "../upstreams/forwarder.ts";
import type { Usage } from "../usage/usage.ts";

/** Holds the services that lines are made of. */
export interface LineServices {
  readonly guard: Guard;
  readonly identity: Identity;
  /** Gives the steps of the plug-ins that are asked on a route: those of all routes, and its own. */
  readonly pluginsOf: (route: Pick<RouteConfig, "plugins">) => PluginSteps;
  readonly models: ModelGates;
  readonly virtualModels: VirtualModels;
  readonly limits: LimitsGate;
  readonly authorize: Authorize;
  readonly caching: Caching;
  readonly forwarder: Forwarder;
  readonly usage: Usage;
  readonly recorder: Recorder;
  /** Gives what changes the system's status by rules; `null`: the status does not change by itself. */
  readonly auto: () => AutoHealth | null;
}

/** Puts together the way of a route's requests: the product on one page. `own`: answers in a backend's place. */
export function lineOf(route: Route, use: LineServices, own: Answerer | null = null): Line {
  const plugins = use.pluginsOf(route.document);
  const { mcp } = route;
  // A route that names issuers takes their tokens alone.
  const identity = use.identity.gateFor(route, route.issuers.length === 0 ? plugins.identify : null);
  const model = use.models.gateFor(route);
  const forwarding = forwardingOf(route, use);
  return {
    gates: [
      ...plugins.first,
      ...(route.ips === null ? [] : [ipsGate(route.ips, use.guard)]),
      route.upstream?.speaksHttp2 === true ? grpcGate(route, route.upstream.isGrpc) : sizeGate(route),
      guardGate(use.guard),
      ...plugins.request,
      mcp === null ? identity : challenging(identity, mcp.resource),
      ...plugins.admit,
      ...(mcp === null ? [] : [mcpGate(mcp)]),
      ...(route.models === null ? [] : [modelListGate(route)]),
      ...(model === null ? [] : [model]),
      ...admissionOf(route, use),
    ],
    answer: own ?? compressing(route.compress, plugins.around(mcp === null ? forwarding : showingTools(mcp, forwarding))),
    ended: plugins.ending(endedOf(route, use)),
  };
}

/**
 * Gives the gates that decide whether a known caller's request is admitted. A service that is asked gets no request that limits would
 * refuse, and what it refuses is not charged.
 */
function admissionOf(route: Route, { limits, authorize }: LineServices): readonly Gate[] {
  if (route.authorize === null) return [limits.gateFor(route)];
  const { look, take } = limits.gatesAround(route);
  return [look, authorize.gateFor(route.name, route.authorize), take];
}

/** Puts together the way of a browser's preflight: without a key, and free of charge. */
export const preflightOf = (route: Route, use: LineServices): Line | null =>
  route.cors === null ? null : { gates: [], answer: preflightAnswerer(route.cors), ended: endedOf(route, use) };

/** Puts together the way of a request that Sluice answers outside of users' routes, such as a probe's: counted apart from their traffic. */
export const ownLineOf = (gates: Line["gates"], answer: Answerer): Line => ({
  gates,
  answer,
  ended: (exchange, elapsed) => exchange.route.metrics.observe(exchange.incoming.head.method, exchange.status, elapsed, null),
});

function forwardingOf(route: Route, { caching, forwarder, virtualModels }: LineServices): Answerer {
  const { upstream, respond } = route;
  if (respond !== null) return respond.answer;
  if (upstream !== null && route.virtualModels.size > 0)
    return caching.around(route, (exchange, conditions) => {
      const model = exchange.model === null ? undefined : route.virtualModels.get(exchange.model);
      return model === undefined ? forwarder.send(exchange, route, upstream, conditions) : virtualModels.send(exchange, model);
    });
  if (upstream !== null) return caching.around(route, (exchange, conditions) => forwarder.send(exchange, route, upstream, conditions));
  return (exchange) => {
    exchange.notes.isForwarded = true;
    return { kind: "problem", problem: unavailable("noHealthyTarget", 5000) };
  };
}

const endedOf =
  (route: Route, { usage, recorder, auto }: LineServices) =>
  (exchange: Exchange<Arrival>, elapsed: number): void => {
    if (exchange.grpc !== null && exchange.notes.grpcStatus === null) exchange.endedWith(statusOfHttp(exchange.status));
    const { status, caller, notes, tool } = exchange;
    usage.note(route.name, caller, status, notes.isLimited, exchange.units ?? 0, exchange.money, exchange.calledModel, tool ?? "");
    // The caller who gave up says nothing of the backend.
    if (notes.isForwarded && status !== 499) auto()?.observe(status >= 500, elapsed);
    recorder.note(exchange, elapsed);
  };
