import type { Config } from "../config/schema.ts";
import { ListenerTls } from "../edge/listener-tls.ts";
import { tlsPortOf } from "../edge/settings.ts";
import { Crowd, crowdLimits } from "../http/crowd.ts";
import type { CutOffCause } from "../http/h2/frame-watch.ts";
import type { HeadFault } from "../http/head.ts";
import { type ConnectionCounts, type ListeningSocket, sharesOf } from "../http/listening-socket.ts";
import { type ProblemCode, problem, typesFrom } from "../http/problem.ts";
import { ProxyPeers } from "../http/proxy-peers.ts";
import { problemReply } from "../http/reply.ts";
import { type HttpLimits, HttpServer, type HttpServerOptions } from "../http/server.ts";
import { CidrSet } from "../values/ip.ts";
import { parseDuration, parseSize } from "../values/units.ts";
import type { Gateway } from "./open.ts";
import { type ListenerName, type ListeningPlace, placesOf, speaksTls } from "./places.ts";
import { plainRouterOf } from "./plain-port.ts";
import type { Scope } from "./scope.ts";

export interface ServerOptions {
  readonly config: Config;
  readonly host: string;
  readonly port: number;
  /** Lets other processes listen on the same port. */
  readonly reusePort?: boolean;
  /** The sockets of a gateway of several processes, in the place of ones of its own; left out: it is alone. */
  readonly sockets?: Sockets;
  readonly gateway: Gateway;
  readonly onFault: (error: unknown, requestId: string) => void;
}

/** Says where a process of several takes its requests from: a worker from the sockets that all share, the keeper from the workers. */
export type Sockets =
  | { readonly shared: ReadonlyMap<ListenerName, ListeningSocket>; readonly counts: Pick<ConnectionCounts, "note" | "least"> }
  | { readonly relays: ListeningSocket };

/** Controls the gateway's listeners: the main port, one for https beside it, a Unix socket, and one for the admin API when it has its own. */
export interface Listeners {
  readonly port: number;
  readonly adminPort: number;
  /** The port for https beside the main one; `null`: there is none. */
  readonly tlsPort: number | null;
  /** Takes over the listeners' part of a configuration. */
  reconfigure(config: Config): void;
}

/** Says that a listener could not be opened, and where it was to be. */
export class ListenFault extends Error {
  /** The system's name of what was wrong, such as EADDRINUSE; `undefined`: it has said none. */
  readonly code: unknown;

  constructor(
    readonly place: ListeningPlace,
    reason: unknown,
  ) {
    super(reason instanceof Error ? reason.message : String(reason));
    this.code = reason instanceof Error && "code" in reason ? reason.code : undefined;
  }
}

const FAULT_CODES: Readonly<Record<HeadFault["status"], ProblemCode>> = {
  400: "badRequest",
  408: "requestTimeout",
  417: "expectationFailed",
  431: "headersTooLarge",
  501: "notImplemented",
  505: "versionNotSupported",
};

/**
 * Opens the listeners. Closing `scope` lets requests in flight end, for `drainTimeout` at most. Throws when a certificate can't be read, and
 * `ListenFault`.
 */
export function listen(scope: Scope, options: ServerOptions): Listeners {
  const { config, host, port, reusePort = false, sockets, gateway } = options;
  const { crowd, plainPort } = gateway;
  const limits = limitsOf(config);
  const proxies = new ProxyPeers(new CidrSet(config.server.proxyProtocol), gateway.onProxyLine);
  const servers = new Map<ListenerName, HttpServer>();
  scope.defer(() => {
    gateway.drain();
    const timeout = parseDuration(gateway.config().server.drainTimeout);
    return Promise.all([...servers.values()].map((server) => server.close(timeout)));
  });
  const http2 = config.server.tls?.http2 !== false;
  const common = {
    ...{ limits, crowd, reusePort, http2, refuse: refuserOf(gateway) },
    onFault: (error: unknown) => options.onFault(error, ""),
    onCutOff: (cause: CutOffCause, ip: string) => gateway.cutOff(cause, ip),
  };
  const open = (place: ListeningPlace, more: Pick<HttpServerOptions, "tls" | "handle"> & Partial<HttpServerOptions>): void => {
    try {
      servers.set(place.name, new HttpServer({ ...common, hostname: place.host, port: place.port, ...more }));
    } catch (error) {
      throw new ListenFault(place, error);
    }
  };
  const tls = config.server.tls === null ? null : { callers: new ListenerTls(), admin: new ListenerTls() };
  const followTls = (): void => {
    followWith(tls, gateway);
    for (const server of servers.values()) server.renewTls();
  };
  followTls();
  gateway.certificates.held.follow(followTls);
  if (sockets !== undefined && "relays" in sockets) {
    // Who comes from a worker has been let in there.
    open(
      { name: "main", host, port },
      { relays: sockets.relays, crowd: EVERYBODY, tls: null, http2: false, handle: relayedHandler(gateway) },
    );
  } else {
    const counts = sockets === undefined ? null : sharesOf(sockets.counts);
    for (const place of placesOf(config, host, port, reusePort)) {
      const { name, unix } = place;
      const socket = sockets?.shared.get(name);
      open(place, {
        tls: tls !== null && speaksTls(name, config) ? tls[name === "admin" ? "admin" : "callers"] : null,
        handle: handlerOf(name, config, gateway),
        ...(unix === undefined ? {} : { unix }),
        // The admin API's own listener asks for no certificate: who comes there shows an admin token.
        ...(name === "admin" ? { isAdmin: true } : { proxies, clients: gateway.clientRules }),
        ...(socket === undefined || counts === null ? {} : { shared: { socket, counts: name === "admin" ? ALONE : counts() } }),
      });
    }
  }
  const portOf = (name: ListenerName): number | null => servers.get(name)?.port ?? null;
  const main = portOf("main") ?? port;
  const tlsPort = portOf("tls");
  if (tlsPort !== null) plainPort.listensOn(main, tlsPort);
  // Before it listened an authority would have found nobody.
  gateway.acme?.look();
  return {
    reconfigure: (next) => {
      Object.assign(limits, limitsOf(next));
      Object.assign(crowd.limits, crowdLimits(next.server, gateway.workers));
      proxies.configure(new CidrSet(next.server.proxyProtocol));
      followTls();
    },
    port: main,
    adminPort: portOf("admin") ?? main,
    tlsPort,
  };
}

/** Has TLS be spoken by what is in force, and the plain port know for which hosts. */
function followWith(tls: { readonly callers: ListenerTls; readonly admin: ListenerTls } | null, gateway: Gateway): void {
  const { certificates, config, plainPort } = gateway;
  const settings = config().server.tls;
  if (tls === null || settings === null) return;
  const { current } = certificates.held;
  gateway.useAuthorities(current.clients);
  tls.callers.follow(current, settings, certificates.canChoose);
  // Who runs the gateway shows a token, and must come in when the authorities of clients are at fault.
  tls.admin.follow({ ...current, clients: null }, settings, certificates.canChoose);
  plainPort.serve([...current.certificates.flatMap(({ names }) => names), ...(settings.acme?.hosts ?? [])]);
}

/** Gives what answers a head that could not be read. */
const refuserOf =
  (gateway: Gateway): HttpServerOptions["refuse"] =>
  (fault, ip) => {
    const id = Bun.randomUUIDv7();
    gateway.malformed({ requestId: id, status: fault.status, detail: fault.detail, ip });
    const types = typesFrom(gateway.config().problemBase);
    return problemReply(problem(FAULT_CODES[fault.status], fault.detail), id, types, `X-Request-ID: ${id}\r\n`);
  };

/** Gives what handles a listener's requests. */
function handlerOf(name: ListenerName, { server }: Config, { dispatcher }: Gateway): HttpServerOptions["handle"] {
  if (name === "admin") return (incoming) => dispatcher.dispatch(incoming, ({ router, adminRouter }) => adminRouter ?? router);
  if (name === "main" && server.tls !== null && tlsPortOf(server.tls) !== null)
    return (incoming) => dispatcher.dispatch(incoming, (snapshot) => plainRouterOf(snapshot, incoming));
  return (incoming) => dispatcher.dispatch(incoming, ({ router }) => router);
}

/** Gives what handles the requests that workers pass on: they say to which listener each came. */
const relayedHandler =
  ({ dispatcher }: Gateway): HttpServerOptions["handle"] =>
  (incoming) =>
    dispatcher.dispatch(incoming, ({ router, adminRouter }) => (incoming.relay?.isAdmin === true ? (adminRouter ?? router) : router));

/** Lets all connections in. */
const EVERYBODY = new Crowd({ maxConnections: Number.POSITIVE_INFINITY, maxConnectionsPerAddress: Number.POSITIVE_INFINITY });

/** Shares out nothing: connections to the admin API are few. */
const ALONE: ConnectionCounts = { note: () => {}, own: 0, least: null };

const limitsOf = ({ server }: Config): HttpLimits => ({
  maxHeaderSize: parseSize(server.maxHeaderSize),
  maxBodySize: parseSize(server.maxBodySize),
  bodyRate: parseSize(server.bodyRate),
});
