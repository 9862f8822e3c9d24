import { rmSync } from "node:fs";
import { dirname } from "node:path";
import { loadConfig } from "../config/load.ts";
import { listen, type Sockets } from "../gateway/listeners.ts";
import type { ConnectionCounts } from "../http/listening-socket.ts";
import type { Fault } from "../schema/faults.ts";
import { ProcessBus } from "../shared/process-bus.ts";
import { StorageError } from "../storage/faults.ts";
import type { Command } from "./arguments.ts";
import { APART, FIRST_DESCRIPTOR, type FromPart, type Part, type ToPart } from "./part.ts";
import { Conflicting, openProcess, type Process, StandsIn } from "./process.ts";
import { CannotStart, LAST_LINES_WITHIN } from "./running.ts";

/** Runs one process of several: the supervisor starts it, and tells it what it is to be. */
export const worker: Command = {
  name: "worker",
  usage: "worker NAME",
  summary: "Runs one process of a gateway that has several. `sluice serve` starts it.",
  flags: [],
  positionals: 1,
  isHidden: true,
  run: async () => {
    if (process.send === undefined) {
      process.stderr.write(
        'sluice: a worker is started by `sluice serve`: set "workers" in the configuration\'s "server" to have several\n',
      );
      return 2;
    }
    const early: ToPart[] = [];
    const inbox = { take: (message: ToPart): void => void early.push(message) };
    process.on("message", (message) => inbox.take(message as ToPart));
    const part = await new Promise<Part>((resolve) => {
      inbox.take = (message) => {
        if (message.kind === "begin") {
          inbox.take = (next) => void early.push(next);
          resolve(message.part);
        }
      };
    });
    try {
      await serveAs(part, (take) => {
        inbox.take = take;
        for (const message of early) take(message);
      });
      return null;
    } catch (error) {
      if (error instanceof StandsIn) {
        say({ kind: "standsIn", text: error.read.text, fileFaults: error.read.fileFaults });
        return 0;
      }
      if (!(error instanceof CannotStart) && !(error instanceof StorageError)) throw error;
      process.stderr.write(`sluice: ${error.message}\n`);
      // What the keeper has in force conflicts with nothing: it was being changed.
      return error instanceof Conflicting && part.role === "worker" ? APART : 1;
    }
  },
};

/** Why a process stops that can't put in force what all others have. */
const GONE_APART = "apart";
/** Why a process stops that its supervisor tells to. */
const ORDERED = "the supervisor";
/** Milliseconds that a keeper which gets SIGTERM by itself waits for the supervisor's word. */
const KEEPER_WAITS = 3000;

const say = (message: FromPart): void => {
  // A supervisor that is gone hears nothing: this process ends as well.
  if (process.connected) process.send?.(message);
};

/** Opens and serves this process' part. `hear`: sets who takes the supervisor's messages. */
async function serveAs(part: Part, hear: (take: (message: ToPart) => void) => void): Promise<void> {
  const { role, self, run, host, port, databasePath, folder, mayStandIn, keeperSocket, demoPort } = part;
  /** What the supervisor's messages lead to; while the process starts, to little. */
  const orders: Orders = {
    stop: (why) => process.exit(why === GONE_APART ? APART : 0),
    drain: () => {},
    reload: () => {},
    report: () => {},
    restarts: part.restarts,
  };
  const bus = new ProcessBus(role, self, { send: say, onFault: (error) => orders.report(error) });
  onOrders(role, (why) => orders.stop(why));
  hear((message) => obey(message, orders, bus));
  const loaded = loadConfig(part.text, process.env);
  if ("faults" in loaded) throw new CannotStart("the configuration in force can't be read again: the environment has changed");
  const read = { ...loaded, file: part.file, text: part.text, fileFaults: part.fileFaults as readonly Fault[] };
  const running = await openProcess(read, {
    ...{
      host,
      databasePath,
      folder,
      // The keeper has found out whether it must.
      mayStandIn: mayStandIn && role === "keeper",
      bus,
      run,
      keeperSocket,
      isKeeperThere: keeperIn(part),
      demoPort,
      workers: part.workers,
      ...(part.table === null ? {} : { tablePlace: part.table }),
    },
    onApart: (why) => {
      running.logger.error({ why }, "this worker can't put in force what all others have: another takes its place");
      orders.stop(GONE_APART);
    },
    onInForce: (text) => say({ kind: "inForce", text }),
    tls: part.tls,
    onCertificates: (inForce) => say({ kind: "certificates", inForce }),
    restarts: async () => orders.restarts,
  });
  const { gateway, scope, onFault } = running;
  orders.report = (error) => onFault(error, "");
  await Promise.race([gateway.ready, Bun.sleep(5000)]);
  const listeners = listen(scope, {
    config: gateway.config(),
    host,
    port,
    reusePort: part.reusePort,
    sockets: socketsOf(part),
    gateway,
    onFault,
  });
  running.follow(listeners);
  orders.stop = stopOf(running, dirname(keeperSocket));
  orders.drain = () => gateway.drain();
  orders.reload = () => void gateway.live.reload("signal");
  const link = role === "keeper" ? gateway.firstRunLink() : null;
  say({ kind: "ready", demoUrl: gateway.demoUrl, firstToken: gateway.firstToken, link });
  // What was told between the first look and this reached those who were there then.
  gateway.lookAgain().catch(orders.report);
}

interface Orders {
  stop: (why: string) => void;
  drain: () => void;
  reload: () => void;
  report: (error: unknown) => void;
  restarts: Part["restarts"];
}

/** Does what a message of the supervisor says. */
function obey(message: ToPart, orders: Orders, bus: ProcessBus): void {
  switch (message.kind) {
    case "stop":
      orders.stop(ORDERED);
      break;
    case "drain":
      orders.drain();
      break;
    case "reload":
      orders.reload();
      break;
    case "restarts":
      orders.restarts = message.restarts;
      break;
    case "begin":
      break;
    default:
      bus.take(message);
  }
}

/** Calls `stop` when the supervisor says so, or is gone: nobody would replace, stop or count what goes on without it. */
function onOrders(role: Part["role"], stop: (why: string) => void): void {
  // Who stops all processes at once means the supervisor: the keeper is the last to go, when it says so.
  process.on("SIGTERM", () => setTimeout(() => stop("SIGTERM"), role === "keeper" ? KEEPER_WAITS : 0));
  process.on("disconnect", () => stop("the supervisor is gone"));
  // A terminal sends it to all processes: the supervisor decides.
  process.on("SIGINT", () => {});
  process.on("SIGHUP", () => {});
}

function stopOf({ scope, logger, output }: Process, folder: string): (why: string) => void {
  let isStopping = false;
  return (why) => {
    if (isStopping) return;
    isStopping = true;
    if (why !== ORDERED) logger.warn({ why }, "stopping: what is in flight may end");
    void (async () => {
      await scope.close();
      // The supervisor can't clean up any more; the keeper is the last one that needs it.
      if (!process.connected) rmSync(folder, { recursive: true, force: true });
      await output.end(LAST_LINES_WITHIN);
      process.exit(0);
    })();
  };
}

function socketsOf({ role, self, port, sockets, connections, workers }: Part): Sockets {
  if (role === "keeper") return { relays: { descriptor: FIRST_DESCRIPTOR, port } };
  const shared = new Map(sockets.map(({ name, port: own }, i) => [name, { descriptor: FIRST_DESCRIPTOR + i, port: own }]));
  return { shared, counts: countsIn(connections, Number(self) - 1, workers) };
}

/** Gives what tells whether the keeper serves. */
function keeperIn({ connections, workers }: Part): () => boolean {
  const bytes = Bun.mmap(connections, { shared: true });
  const counts = new Int32Array(bytes.buffer, bytes.byteOffset, workers + 1);
  return () => Atomics.load(counts, workers) >= 0;
}

/** Shares the numbers of connections with the other workers. A number below 0: there is no such worker now. */
function countsIn(path: string, own: number, workers: number): Pick<ConnectionCounts, "note" | "least"> {
  const bytes = Bun.mmap(path, { shared: true });
  const counts = new Int32Array(bytes.buffer, bytes.byteOffset, workers);
  return {
    note: (count) => void Atomics.store(counts, own, count),
    get least() {
      let least = -1;
      for (let i = 0; i < workers; i++) {
        const count = i === own ? -1 : Atomics.load(counts, i);
        if (count >= 0 && (least < 0 || count < least)) least = count;
      }
      return least < 0 ? null : least;
    },
  };
}
