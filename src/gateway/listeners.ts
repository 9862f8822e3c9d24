import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Config } from "../config/schema.ts";
import { Crowd, crowdLimits } from "../http/crowd.ts";
import type { HeadFault } from "../http/head.ts";
import type { ConnectionCounts, ListeningSocket } from "../http/listening-socket.ts";
import { type ProblemCode, problem, typesFrom } from "../http/problem.ts";
import { problemReply } from "../http/reply.ts";
import { type HttpLimits, HttpServer, type Reply } from "../http/server.ts";
import { parseDuration, parseSize } from "../values/units.ts";
import type { Gateway } from "./open.ts";
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
  | { readonly main: ListeningSocket; readonly admin: ListeningSocket | null; readonly counts: ConnectionCounts }
  | { readonly relays: ListeningSocket };

/** Controls the gateway's listeners: the main port, and one for the admin API when it has its own. */
export interface Listeners {
  readonly port: number;
  readonly adminPort: number;
  /** Takes over the listeners' part of a configuration. */
  reconfigure(config: Config): void;
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
 * Opens the listeners. Closing `scope` lets requests in flight end, for `drainTimeout` at most. Throws when a port is taken or a
 * certificate can't be read.
 */
export function listen(scope: Scope, { config, host, port, reusePort, sockets, gateway, onFault }: ServerOptions): Listeners {
  const { dispatcher, crowd } = gateway;
  const { tls: files } = config.server;
  const tls =
    files === null || files.cert === null || files.key === null
      ? null
      : { cert: readFileSync(files.cert, "utf8"), key: readFileSync(files.key, "utf8") };
  if (tls !== null) gateway.certificateExpires(Date.parse(new X509Certificate(tls.cert).validTo));
  const shared = {
    tls,
    limits: limitsOf(config),
    crowd,
    reusePort: reusePort === true,
    refuse: (fault: HeadFault, ip: string): Reply => {
      const id = Bun.randomUUIDv7();
      gateway.malformed({ requestId: id, status: fault.status, detail: fault.detail, ip });
      const types = typesFrom(gateway.config().problemBase);
      return problemReply(problem(FAULT_CODES[fault.status], fault.detail), id, types, `X-Request-ID: ${id}\r\n`);
    },
    onFault: (error: unknown) => onFault(error, ""),
  };
  const servers: HttpServer[] = [];
  scope.defer(() => {
    gateway.drain();
    const timeout = parseDuration(gateway.config().server.drainTimeout);
    return Promise.all(servers.map((server) => server.close(timeout)));
  });
  const isKeeper = sockets !== undefined && "relays" in sockets;
  const main = new HttpServer({
    ...shared,
    ...(sockets === undefined
      ? {}
      : "relays" in sockets
        ? // Who comes from a worker has been let in there.
          { relays: sockets.relays, crowd: EVERYBODY, tls: null }
        : { shared: { socket: sockets.main, counts: sockets.counts } }),
    hostname: host,
    port,
    // A worker says to which listener it came.
    handle: (incoming) =>
      dispatcher.dispatch(incoming, ({ router, adminRouter }) => (incoming.relay?.isAdmin === true ? (adminRouter ?? router) : router)),
  });
  servers.push(main);
  const own = config.admin.listen;
  const admin =
    own === null || isKeeper
      ? null
      : new HttpServer({
          ...shared,
          ...(sockets === undefined || "relays" in sockets || sockets.admin === null
            ? {}
            : { shared: { socket: sockets.admin, counts: ALONE } }),
          isAdmin: true,
          hostname: own.host,
          port: own.port,
          handle: (incoming) => dispatcher.dispatch(incoming, ({ router, adminRouter }) => adminRouter ?? router),
        });
  if (admin !== null) servers.push(admin);

  return {
    reconfigure: (next) => {
      Object.assign(shared.limits, limitsOf(next));
      Object.assign(crowd.limits, crowdLimits(next.server, gateway.workers));
    },
    port: main.port,
    adminPort: admin?.port ?? main.port,
  };
}

/** Lets all connections in. */
const EVERYBODY = new Crowd({ maxConnections: Number.POSITIVE_INFINITY, maxConnectionsPerAddress: Number.POSITIVE_INFINITY });

/** Shares out nothing: connections to the admin API are few. */
const ALONE: ConnectionCounts = { note: () => {}, least: null };

const limitsOf = ({ server }: Config): HttpLimits => ({
  maxHeaderSize: parseSize(server.maxHeaderSize),
  maxBodySize: parseSize(server.maxBodySize),
  bodyRate: parseSize(server.bodyRate),
});
