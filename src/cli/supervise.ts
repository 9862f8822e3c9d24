import { closeSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ListenFault } from "../gateway/listeners.ts";
import { type ListenerName, type ListeningPlace, placesOf } from "../gateway/places.ts";
import { BURY_EVERY, tellAnew } from "../gateway/shared-table.ts";
import { copyDescriptor } from "../http/kernel.ts";
import { unixPathOf } from "../http/settings.ts";
import { listenAt } from "../http/unix-socket.ts";
import { Hub, KEEPER } from "../shared/hub.ts";
import type { Region } from "../shared/region.ts";
import { Output } from "../telemetry/output.ts";
import { lineSink } from "../telemetry/stdout.ts";
import { parseDuration } from "../values/units.ts";
import { Child, type ChildExit } from "./child.ts";
import { greet } from "./greet.ts";
import type { FromPart, Part } from "./part.ts";
import { StandsIn } from "./process.ts";
import {
  adminTokenFrom,
  CannotStart,
  LAST_LINES_WITHIN,
  listenFault,
  openLog,
  type Ports,
  redactorFor,
  systemdFor,
  urlsOf,
} from "./running.ts";
import type { Start } from "./serve.ts";

/** Milliseconds that processes may take to stop beyond `drainTimeout`. */
const STOP_MARGIN = 5000;
/** The length of the file in which workers count their connections: one number for each, and behind them the keeper's, which is 0 while it serves. */
const COUNTS_BYTES = 4096;

/**
 * Starts the gateway as several processes, and returns when all of them serve. `region`: the table in which they count; `null` with Redis. Throws
 * `CannotStart` and `StandsIn`, with nothing left open.
 */
export async function supervise(start: Start, count: number, region: Region | null): Promise<void> {
  const supervisor = new Supervisor(start, count, region);
  try {
    await supervisor.start();
  } catch (error) {
    await supervisor.abandon();
    throw error;
  }
}

/** Holds a socket that is listened on, and from which this process takes no connection. */
interface Held {
  readonly name: ListenerName;
  readonly descriptor: number;
  readonly port: number;
  /** Leaves the path that it is at, where it is at one. */
  readonly leave: () => void;
}

/**
 * Runs a gateway's processes: the workers, which serve, and the keeper, which does what is done once. It serves nothing itself and opens no database, so that
 * little can go wrong with it. It replaces who dies, passes on what they tell each other, and stops them.
 */
class Supervisor {
  private readonly hub = new Hub();
  private readonly run = Bun.randomUUIDv7();
  private readonly folder: string;
  private readonly keeper: Held;
  /** The workers' sockets, the main port's first; `null` before they are listened on. */
  private sockets: readonly Held[] | null = null;
  private readonly children = new Map<string, Child>();
  private readonly output = new Output(lineSink());
  private readonly logger;
  private readonly tellSystemd;
  private readonly connections: Int32Array;
  private text: string;
  private fileFaults: Part["fileFaults"];
  private tls: Part["tls"];
  private readonly restarts: Record<string, number> = {};
  private demoPort = 0;
  private firstToken: string | null = null;
  private link: string | null = null;
  private demoUrl: string | null = null;
  private isStopping = false;
  private readonly signals = new Map<NodeJS.Signals, () => void>();
  private readonly burying: Timer | null = null;

  constructor(
    private readonly deps: Start,
    private readonly count: number,
    private readonly region: Region | null,
  ) {
    const { read } = deps;
    this.text = read.text;
    this.fileFaults = read.fileFaults;
    this.tls = deps.tls;
    this.logger = openLog(this.output, redactorFor(adminTokenFrom(process.env.SLUICE_ADMIN_TOKEN)), read.config).logger;
    this.tellSystemd = systemdFor(this.logger);
    this.folder = folderForSockets();
    try {
      // Really there, not a hole: one on a full disk would end whoever writes into it.
      writeFileSync(this.countsPath, new Uint8Array(COUNTS_BYTES).fill(0xff), { mode: 0o600 });
    } catch (error) {
      rmSync(this.folder, { recursive: true, force: true });
      throw noFolder(error);
    }
    const bytes = Bun.mmap(this.countsPath, { shared: true });
    this.connections = new Int32Array(bytes.buffer, bytes.byteOffset, count + 1);
    if (region !== null) {
      tellAnew(region, this.logger);
      this.burying = setInterval(() => region.buryDead(), BURY_EVERY);
    }
    try {
      this.keeper = this.listenAsKeeper();
      // Beside another gateway on the port nothing may come here that would have to wait, or be lost when this start fails.
      if (!deps.reusePort) this.sockets = this.listen();
    } catch (error) {
      rmSync(this.folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Starts all processes. Rejects when one of them can't start, for a reason that the person who starts it can mend. */
  async start(): Promise<void> {
    const { read, databasePath, host, warnings } = this.deps;
    const { config, file } = read;
    this.onSignals();
    // First, and alone: it brings the database up to date.
    await this.begin(KEEPER);
    if (this.isStopping) return;
    this.sockets ??= this.listen();
    const ports = portsOf(this.sockets);
    await Promise.all(Array.from({ length: this.count }, (_, i) => this.begin(String(i + 1))));
    if (this.isStopping) return;
    const { url, plain, adminUrl } = urlsOf(config, host, ports);
    const unix = unixPathOf(config.server.unix) ?? undefined;
    const shown = { url, plain, unix, config: file ?? "embedded demo", database: databasePath, routes: config.routes.length };
    this.logger.info({ ...shown, workers: this.count }, "listening");
    this.tellSystemd("READY=1");
    for (const warning of warnings) this.logger.warn(warning);
    greet(read, { demoUrl: this.demoUrl, firstToken: this.firstToken, link: this.link }, url, adminUrl);
  }

  /** Ends a start that has failed. */
  async abandon(): Promise<void> {
    this.isStopping = true;
    // Another start may follow, in this process: signals are for that one.
    for (const [signal, hearer] of this.signals) process.off(signal, hearer);
    await Promise.all([...this.children.values()].map((child) => child.kill()));
    this.close();
  }

  private get countsPath(): string {
    return join(this.folder, "connections");
  }

  private get keeperSocket(): string {
    return join(this.folder, "keeper");
  }

  private listen(): readonly Held[] {
    const { host, port, reusePort, read } = this.deps;
    const sockets: Held[] = [];
    try {
      for (const place of placesOf(read.config, host, port, reusePort)) sockets.push(held(place, reusePort));
    } catch (error) {
      for (const socket of sockets) letGo(socket);
      throw new CannotStart(listenFault(error));
    }
    return sockets;
  }

  private listenAsKeeper(): Held {
    const unix = { path: this.keeperSocket, mode: 0o600, mayReplace: true };
    try {
      return held({ name: "main", host: this.keeperSocket, port: 0, unix }, false);
    } catch (error) {
      throw new CannotStart(listenFault(error));
    }
  }

  /** The descriptors that a process inherits. */
  private descriptorsFor(name: string): readonly number[] {
    return (name === KEEPER ? [this.keeper] : (this.sockets ?? [])).map(({ descriptor }) => descriptor);
  }

  /** Begins a process, and another in its place whenever it ends. Resolves when it serves, or is left out; rejects where the first one can't start. */
  private async begin(name: string): Promise<void> {
    const child = new Child(name, this.descriptorsFor(name), {
      hub: this.hub,
      part: () => this.partOf(name),
      onMessage: (message) => this.take(message),
      onServing: (pid, isFirst) => {
        if (name === KEEPER) Atomics.store(this.connections, this.count, 0);
        if (isFirst) return;
        this.restarts[name] = (this.restarts[name] ?? 0) + 1;
        this.children.get(KEEPER)?.send({ kind: "restarts", restarts: this.restarts });
        this.logger.info({ worker: name, pid }, "another process has taken the place");
      },
      onExit: (exit) => this.ended(name, exit),
      onEnded: ({ table }) => {
        if (table !== null) this.region?.declareDead(table.ticket);
      },
      onNotBegun: (error) =>
        this.logger.error(
          { worker: name, why: String(error) },
          "the system does not let a process of the gateway begin: it is tried again",
        ),
      onLeftOut: (exit) => this.leftOut(name, exit),
      isStopping: () => this.isStopping,
    });
    this.children.set(name, child);
    await child.run();
  }

  private partOf(self: string): Part {
    const { read, host, port, databasePath, folder, mayStandIn, reusePort } = this.deps;
    return {
      ...{
        role: self === KEEPER ? "keeper" : "worker",
        self,
        run: this.run,
        text: this.text,
        file: read.file,
        fileFaults: this.fileFaults,
      },
      ...{
        host,
        port: this.sockets?.[0]?.port ?? port,
        sockets: (this.sockets ?? []).map((socket) => ({ name: socket.name, port: socket.port })),
        databasePath,
        folder,
        mayStandIn,
        reusePort,
      },
      restarts: { ...this.restarts },
      table: this.ticketFor(self),
      ...{ keeperSocket: this.keeperSocket, connections: this.countsPath, workers: this.count, demoPort: this.demoPort },
      tls: this.tls,
    };
  }

  private ticketFor(self: string): Part["table"] {
    if (this.region === null || this.region.path === null) return null;
    const ticket = this.region.letWorker();
    // 254 at a time, all gateways on this table together.
    if (ticket === null) throw new Error(`there is no place in ${this.region.path} for ${self}`);
    return { path: this.region.path, ticket };
  }

  private take(message: FromPart): void {
    switch (message.kind) {
      case "ready":
        this.demoUrl ??= message.demoUrl;
        this.firstToken ??= message.firstToken;
        this.link ??= message.link;
        if (message.demoUrl !== null) this.demoPort = Number(new URL(message.demoUrl).port);
        break;
      case "inForce":
        this.text = message.text;
        this.fileFaults = [];
        break;
      case "certificates":
        this.tls = message.inForce;
        break;
      case "standsIn":
        throw new StandsIn({ ...this.deps.read, text: message.text, fileFaults: message.fileFaults as never });
    }
  }

  /** Learns that a process has ended, whatever made it. */
  private ended(name: string, { pid, why, hadServed }: ChildExit): void {
    // Nobody leaves connections, or passes requests on, to who is not there.
    Atomics.store(this.connections, name === KEEPER ? this.count : Number(name) - 1, -1);
    if (!this.isStopping)
      this.logger.error({ worker: name, pid, why, hadServed }, "a process of the gateway has ended: another takes its place");
  }

  private leftOut(name: string, { why }: ChildExit): void {
    this.logger.error(
      { worker: name, why },
      "a process of the gateway ends again and again before it serves: it is left out until the next start",
    );
    if ([...this.children].every(([each, child]) => each === KEEPER || child.isLeftOut)) void this.stop("no worker is left", 1);
  }

  private onSignals(): void {
    const stop = (signal: string): void => {
      if (this.isStopping) {
        for (const child of this.children.values()) void child.kill();
        process.exit(1);
      }
      void this.stop(signal, 0);
    };
    this.signals.set("SIGTERM", () => stop("SIGTERM"));
    this.signals.set("SIGINT", () => stop("SIGINT"));
    this.signals.set("SIGHUP", () => this.children.get(KEEPER)?.send({ kind: "reload" }));
    for (const [signal, hearer] of this.signals) process.on(signal, hearer);
  }

  /** Stops the workers, then the keeper, which writes down what they have told it. */
  private async stop(signal: string, status: number): Promise<void> {
    if (this.isStopping) return;
    this.isStopping = true;
    this.tellSystemd("STOPPING=1");
    this.logger.info({ signal }, "stopping: no new connections, what is in flight may end");
    const { server } = this.deps.read.config;
    const within = parseDuration(server.drainTimeout) + STOP_MARGIN;
    const keeper = this.children.get(KEEPER);
    // Who follows events by a worker would hold that up.
    keeper?.send({ kind: "drain" });
    // The workers hold the sockets now; with the last of them they are closed.
    this.closeSockets();
    await Promise.all([...this.children.values()].filter((child) => child !== keeper).map((child) => child.stop(within)));
    await keeper?.stop(within);
    this.close();
    this.logger.info("stopped");
    await this.output.end(LAST_LINES_WITHIN);
    process.exit(status);
  }

  private areSocketsClosed = false;
  private closeSockets(): void {
    if (this.areSocketsClosed || this.sockets === null) return;
    this.areSocketsClosed = true;
    for (const socket of this.sockets) letGo(socket);
  }

  private close(): void {
    this.closeSockets();
    letGo(this.keeper);
    if (this.burying !== null) clearInterval(this.burying);
    this.region?.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function folderForSockets(): string {
  try {
    // Nobody else may look into it: mkdtemp(3) makes it so.
    return mkdtempSync(join(tmpdir(), "sluice-"));
  } catch (error) {
    throw noFolder(error);
  }
}

const noFolder = (error: unknown): CannotStart =>
  new CannotStart(
    `several workers need a folder for their sockets, and it can't be made in ${tmpdir()} (${error instanceof Error ? error.message : String(error)}): make room there, or name another place by TMPDIR`,
  );

/** Listens, and keeps the socket by a descriptor that nothing reads from. Throws `ListenFault`. */
function held(place: ListeningPlace, reusePort: boolean): Held {
  const { name, host, port, unix } = place;
  try {
    const begin = (where: object) => Bun.listen({ ...(where as { hostname: string; port: number }), socket: { data: () => {} } });
    const { listener, leave } =
      unix === undefined
        ? { listener: begin({ hostname: host, port, reusePort }), leave: () => {} }
        : listenAt(unix, (path) => begin({ unix: path }));
    const descriptor = copyDescriptor((listener as { fd?: number }).fd ?? -1);
    const socket = { name, descriptor, port: listener.port ?? 0, leave };
    // Who stops listening on a path removes it: it has another name by now.
    listener.stop(true);
    return socket;
  } catch (error) {
    throw new ListenFault(place, error);
  }
}

function letGo({ descriptor, leave }: Held): void {
  leave();
  closeQuietly(descriptor);
}

function portsOf(sockets: readonly Held[]): Ports {
  const portOf = (name: ListenerName): number | null => sockets.find((socket) => socket.name === name)?.port ?? null;
  const port = portOf("main") ?? 0;
  return { port, tlsPort: portOf("tls"), adminPort: portOf("admin") ?? port };
}

function closeQuietly(descriptor: number): void {
  try {
    closeSync(descriptor);
  } catch {
    // It is closed already.
  }
}
