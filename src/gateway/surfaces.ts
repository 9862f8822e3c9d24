import { adminAnswerer } from "../admin/answerer.ts";
import { fromGate, NOT_ADMITTED } from "../admin/from-gate.ts";
import { tokenOf } from "../admin/holders.ts";
import { isAtLeast } from "../admin/rights.ts";
import { bearerOf, isMadeToken } from "../admin/tokens.ts";
import { scriptedPage } from "../console/answerer.ts";
import { CONSOLE, MY } from "../console/pages.ts";
import type { Caller } from "../exchange/caller.ts";
import { Dispatcher } from "../exchange/dispatcher.ts";
import type { Answerer, Gate, Line } from "../exchange/line.ts";
import { AUTHZ_PATH, type OwnName } from "../exchange/own-paths.ts";
import type { Snapshot } from "../exchange/snapshot.ts";
import { guardGate } from "../guard/gate.ts";
import { aliveAnswerer, readyAnswerer } from "../health/probes.ts";
import { type Problem, problem } from "../http/problem.ts";
import { ApiKeyFinder } from "../identity/api-key.ts";
import { CertificateFinder } from "../identity/certificate.ts";
import { FOR_KNOWN_CALLERS, Identity } from "../identity/gate.ts";
import { TokenFinder } from "../identity/token.ts";
import { Judge } from "../judge/answerer.ts";
import { LimitsGate } from "../limits/gate.ts";
import { metadataAnswerer } from "../mcp/metadata.ts";
import { ModelGates } from "../models/gate.ts";
import { pageAnswerer } from "../pages/answerer.ts";
import { NamedCallers } from "../plugins/callers.ts";
import { Calls } from "../plugins/calls.ts";
import { stepsOf } from "../plugins/steps.ts";
import { HandOut } from "../pools/hand-out.ts";
import { wireFaults } from "../schema/faults.ts";
import { browserOf } from "../sessions/browser.ts";
import { consoleGate, consoleRefusal } from "../sessions/gate.ts";
import { metricsAnswerer } from "../telemetry/endpoint.ts";
import { RouteMetrics } from "../telemetry/route-metrics.ts";
import { type VerifierGateDeps, verifierGate } from "../verification/gate.ts";
import { Verifier } from "../verification/verifier.ts";
import { acmeAnswerer } from "./acme.ts";
import { type AdminApi, openAdmin } from "./admin.ts";
import { Components } from "./components.ts";
import { failureOf } from "./failure.ts";
import type { Ground } from "./ground.ts";
import { type LineServices, ownLineOf } from "./lines.ts";
import { missOf, OwnRoutes } from "./own-routes.ts";
import { plainLineOf, redirectLine } from "./plain-port.ts";
import { RELAYED, relayOf } from "./relay.ts";
import { openLinks, selfServiceAnswerers } from "./self-service.ts";
import type { Services } from "./services.ts";
import { Snapshots } from "./snapshots.ts";
import { summaryOf } from "./summary.ts";

/** Holds what listens: every path's line, and the admin API. */
export interface Surfaces {
  readonly snapshots: Snapshots;
  readonly dispatcher: Dispatcher;
  readonly admin: AdminApi;
  /** Makes the gateway not ready from here on. */
  readonly drain: () => void;
}

/** Puts together what answers requests. */
export function openSurfaces(ground: Ground, services: Services): Surfaces {
  const { clock, options, occurrences, metrics } = ground;
  const { recorder } = services;
  const drainage = { isDraining: false };
  const components = new Components(ground, services);
  const use = lineServices(ground, services);
  const miss = missOf(metrics.of("none"), (exchange, elapsed) => recorder.note(exchange, elapsed));
  const snapshots = new Snapshots({ ground, services, use, miss });
  const dispatcher = new Dispatcher({ clock, snapshot: () => snapshots.current, failureOf, onFault: options.onFault });
  const links = openLinks(ground, services, snapshots);
  const admin = openAdmin(ground, services, components, snapshots, links);
  const answerers = {
    ...ownAnswerers(ground, services, components, admin, () => drainage.isDraining),
    ...callersAnswerers(ground, services, snapshots),
    ...selfServiceAnswerers(ground, services, links, snapshots),
    isDraining: () => drainage.isDraining,
  };
  const judge = new Judge(
    {
      ...{ clock, emit: ground.emit, isDraining: () => drainage.isDraining, failureOf, onFault: options.onFault },
      note: (exchange, elapsed) => recorder.note(exchange, elapsed),
    },
    AUTHZ_PATH,
  );
  snapshots.serve(ownRoutes(ground, services, use, answerers, judge));
  // Also when pools come and go: keys are handed out while there are some.
  occurrences.subscribe({
    records: () => {
      snapshots.rebuild();
      services.picture.settle();
    },
  });
  const drain = (): void => {
    drainage.isDraining = true;
  };
  return { snapshots, dispatcher, admin, drain };
}

/** Tells whether the console has its path where the admin API is served, and no route of the users' stands in its way. */
export const isConsoleIn = ({ router, adminRouter }: Snapshot): boolean =>
  (adminRouter ?? router).findOwn("GET", "/console")?.own === "console";

/** Gathers the services that lines are made of. */
function lineServices(ground: Ground, services: Services): LineServices {
  const { clock, emit, plugins, inForce } = ground;
  const { guard, records, limits, authorize, caching, forwarder, usage, recorder, auto, issuers, clientCertificates, shadow } = services;
  const keys = records.registry;
  const apiKeys = new ApiKeyFinder(keys, guard, (bearer) => issuers.takes(bearer), catchingUp(ground, services));
  const calls = new Calls({ clock, emit });
  const callers = new NamedCallers({ registry: keys, hasTier: (name) => records.tiers.get(name) !== undefined });
  const metadataOf = (caller: Caller) => records.metadata.of(caller);
  return {
    pluginsOf: (route) => stepsOf(plugins.usesOf([inForce.config.plugins, route.plugins]), { calls, callers, metadataOf }),
    ...{ guard, authorize, caching, forwarder, usage, recorder, virtualModels: services.virtualModels },
    // Adding a way to tell who calls is adding its finder here.
    identity: new Identity({
      finders: [apiKeys, new TokenFinder(issuers, guard), new CertificateFinder(clientCertificates, guard)],
      guard,
      clock,
    }),
    models: new ModelGates({
      prices: ground.prices,
      policiesFor: (caller) => keys.policiesFor(caller),
      poolCountsMoney: (name) => services.pools.countsMoney(name),
      clock,
      onUnpriced: (route, model, isNews, isFree) => emit({ type: "unpriced", route, model, isNews, isFree }),
    }),
    limits: new LimitsGate({
      ...{ limiter: limits.limiter, keys, clock, away: limits.away },
      onDenied: (exchange, readings) => recorder.denied(exchange, readings),
      onShadow: ({ holder }, readings) => shadow.counts.note(holder.via === "none" ? "" : holder.consumer.id, readings),
      quotas: services.hooks.quotas,
    }),
    auto: () => auto.current,
  };
}

/** Gives what takes over what the keeper has changed; `null` where there is none. */
function catchingUp({ bus, feed, tell }: Ground, { applyRemoteChanges }: Services): (() => boolean) | null {
  if (bus.role !== "worker") return null;
  return () => {
    try {
      return feed.poll(applyRemoteChanges);
    } catch (error) {
      tell(error);
      return false;
    }
  };
}

type OwnAnswerers = Readonly<Record<Exclude<OwnName, "api-key" | "authz">, Answerer>>;
type CallersAnswerers = Pick<OwnAnswerers, "key-verification">;
type SelfServiceAnswerers = ReturnType<typeof selfServiceAnswerers>;

/** Makes the answerers of Sluice's own paths, but for keys of pools. */
function ownAnswerers(
  { warnings, live, metrics, inForce, options: { onFault } }: Ground,
  { tokens, guard, holders, ...services }: Services,
  components: Components,
  admin: AdminApi,
  isDraining: () => boolean,
): Omit<OwnAnswerers, keyof (CallersAnswerers & SelfServiceAnswerers)> {
  const tokenRefusal = (authorization: string | null, ip: string): Problem | null => {
    if (!inForce.admitsAdmin(ip)) return NOT_ADMITTED;
    const found = tokenOf({ tokens, guard }, authorization, ip);
    if ("code" in found) return found;
    tokens.touch(found);
    return null;
  };
  return {
    "acme-challenge": acmeAnswerer(services.acme),
    "resource-metadata": metadataAnswerer,
    health: aliveAnswerer(),
    ready: readyAnswerer({
      components: () => components.ofGateway(),
      required: () => components.required(),
      configuration: () => ({ loadedAt: live.status.loadedAt, faults: wireFaults(live.status.faults) }),
      ...{ warnings, isDraining, tokenRefusal },
    }),
    metrics: metricsAnswerer({
      text: (accept) => metrics.text(accept),
      summary: () => summaryOf(metrics, services),
      ...{ tokenRefusal, onFault },
    }),
    docs: pageAnswerer({
      config: () => inForce.config,
      leadsToConsole: ({ incoming, ip, snapshot }) =>
        isConsoleIn(snapshot) && inForce.admitsAdmin(ip) && consoleRefusal(inForce.config.admin, incoming) === null,
    }),
    console: scriptedPage(CONSOLE),
    my: scriptedPage(MY),
    admin: adminAnswerer({
      ...{ handle: admin, onFault },
      browserOf: ({ incoming, snapshot }) => browserOf(incoming, snapshot.trustedProxies, inForce.config.admin),
      isKnown: (authorization, cookie, browser) => holders.isKnown(authorization, cookie, browser),
    }),
  };
}

/** Makes the answerer of the path at which services of somebody's own ask about keys. */
function callersAnswerers(ground: Ground, services: Services, snapshots: Snapshots): CallersAnswerers {
  const { clock } = ground;
  const { records, limits, usage, recorder, shadow } = services;
  const { registry, metadata } = records;
  const { limiter } = limits;
  const verifier = new Verifier({
    ...{ keys: registry, metadata, limiter, usage, clock, catchUp: catchingUp(ground, services), quotas: services.hooks.quotas },
    routeOf: (name) => snapshots.named(name),
    routeNames: () => snapshots.all.map(({ name }) => name),
    onRefused: ({ id: requestId }, key, { route, ip }, refusal, readings) =>
      recorder.judged({ requestId, route: route?.name ?? null, caller: key, ip }, refusal, readings),
    onShadow: (key, readings) => shadow.counts.note(key.consumer.id, readings),
  });
  return {
    "key-verification": (exchange) => verifier.answer(exchange),
  };
}

/** Tells whether an admin token is shown, and why its holder may not verify keys: `undefined` without a token, `null` for one who may. */
const verifierRefusal = (ground: Ground, services: Services): VerifierGateDeps["adminRefusal"] => {
  const { inForce } = ground;
  const { tokens } = services;
  const catchUp = catchingUp(ground, services);
  return ({ incoming, ip, asker }) => {
    const text = bearerOf(incoming.head.fields.get("authorization"));
    if (text === null) return undefined;
    // From where no token is taken none is looked up: what could be one of another form counts as a wrong key.
    if (!inForce.admitsAdmin(ip)) return isMadeToken(text) ? NOT_ADMITTED : undefined;
    // One that was made a moment ago is no guess.
    const token = tokens.find(text) ?? (isMadeToken(text) && catchUp?.() === true ? tokens.find(text) : null);
    if (token === null) return undefined;
    if (asker === null) tokens.touch(token);
    return isAtLeast(token.role, "operator") ? null : problem("forbidden", `This takes a token with more rights than ${token.role}.`);
  };
};

/** Lets a worker that stops say so by itself: the keeper does not stop with it. */
const drainingFirst = (name: OwnName, { ready, isDraining }: OwnAnswerers & { isDraining: () => boolean }, relayed: Answerer): Answerer =>
  name === "ready" ? (exchange) => (isDraining() ? ready(exchange) : relayed(exchange)) : relayed;

/** Compiles the routes of Sluice's own paths. */
function ownRoutes(
  ground: Ground,
  services: Services,
  { identity }: LineServices,
  answerers: OwnAnswerers & { isDraining: () => boolean },
  judge: Judge,
): OwnRoutes {
  const { metrics, inForce } = ground;
  const { pools, guard, recorder } = services;
  const handOut = new HandOut({ pools });
  const admitted = fromGate((ip) => inForce.admitsAdmin(ip));
  const noted: Line["ended"] = (exchange, elapsed) => recorder.note(exchange, elapsed);
  const relayed = relayOf(ground, services);
  const lineOf = (name: OwnName, first: Gate): Line => {
    // The keeper counts and writes down what it answers.
    if (relayed !== null && RELAYED.has(name)) return { gates: [], answer: drainingFirst(name, answerers, relayed), ended: () => {} };
    switch (name) {
      case "api-key":
        return {
          gates: [first, guardGate(guard), identity.gateFor(handOut.entrance)],
          answer: (exchange) => handOut.answer(exchange),
          ended: noted,
        };
      case "key-verification":
        return {
          gates: [first, verifierGate({ identity, guard, adminRefusal: verifierRefusal(ground, services) })],
          answer: answerers[name],
          ended: noted,
        };
      case "me":
      case "me-rotate":
      case "me-keys":
        return { gates: [first, guardGate(guard), identity.gateFor(FOR_KNOWN_CALLERS)], answer: answerers[name], ended: noted };
      case "authz":
        return {
          gates: [first],
          answer: (exchange) => judge.answer(exchange),
          ended: (exchange, elapsed) => judge.ended(exchange, elapsed),
        };
      case "my-api":
        return { gates: [first, guardGate(guard)], answer: answerers[name], ended: noted };
      case "console":
        return ownLineOf([first, admitted, consoleGate(() => inForce.config.admin)], answerers.console);
      case "admin":
        return {
          gates: [first, admitted],
          answer: answerers.admin,
          ended: (exchange, elapsed) => recorder.administered(exchange, elapsed),
        };
      default:
        return ownLineOf([first], answerers[name]);
    }
  };
  // Requests to the admin API have lines in the log, and no metrics.
  const uncounted = new RouteMetrics("admin");
  const metricsOf = (name: OwnName): RouteMetrics => {
    switch (name) {
      case "admin":
        return uncounted;
      case "api-key":
      case "key-verification":
      case "me":
        return metrics.of(name);
      case "me-rotate":
      case "me-keys":
        return metrics.of("me");
      case "my-api":
        return metrics.ofOwn("my");
      default:
        return metrics.ofOwn(name);
    }
  };
  const { plainPort } = ground;
  return new OwnRoutes({
    ...{ metricsOf, lineOf },
    redirect: { line: redirectLine(plainPort, noted), metrics: metrics.ofOwn("redirect") },
    plainLineOf: (name, line) => plainLineOf(name, line, plainPort),
  });
}
