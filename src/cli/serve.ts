import { join } from "node:path";
import { placed } from "../config/load.ts";
import { configWarnings } from "../config/warnings.ts";
import type { TlsInForce } from "../edge/certificates.ts";
import { examineFiles } from "../edge/files.ts";
import { type Listeners, listen } from "../gateway/listeners.ts";
import { unixPathOf } from "../http/settings.ts";
import { clearStale } from "../http/unix-socket.ts";
import { PriceBook } from "../prices/book.ts";
import { formatFault } from "../schema/faults.ts";
import { StorageError } from "../storage/faults.ts";
import { examineBackendFiles } from "../upstreams/tls-files.ts";
import { systemClock } from "../values/clock.ts";
import { type Command, type Input, UsageError } from "./arguments.ts";
import { Ended } from "./child.ts";
import { passedOver } from "./config-file.ts";
import { greet } from "./greet.ts";
import { openProcess, type Process, StandsIn } from "./process.ts";
import { faultList, type Read, readConfig } from "./reading.ts";
import { CannotStart, LAST_LINES_WITHIN, listenFault, systemdFor, urlsOf } from "./running.ts";
import { supervise } from "./supervise.ts";
import { regionFor, workersOf } from "./workers.ts";

export const serve: Command = {
  name: "serve",
  usage: "[serve] [--config FILE] [--host ADDRESS] [--port N] [--data DIR] [--reuse-port] [--last-good]",
  summary:
    "Runs the gateway. The configuration is JSON with comments, or YAML where the file's name ends in .yaml or .yml. Without a config.json, config.yaml or config.yml in the working directory it runs the embedded demo.",
  flags: [
    { name: "config", value: "FILE", help: "the configuration file (SLUICE_CONFIG, else config.json, config.yaml or config.yml)" },
    { name: "host", value: "ADDRESS", help: "the address to listen on (SLUICE_HOST, else server.host)" },
    { name: "port", value: "N", help: "the port to listen on (SLUICE_PORT, else server.port)" },
    { name: "data", value: "DIR", help: "the folder for the database (SLUICE_DATA, else that of storage.path)" },
    {
      name: "reuse-port",
      help: "let another process with this flag listen on the same port, so that it can take over without a lost request",
    },
    { name: "last-good", help: "when the configuration is not valid, serve the one that was in force last" },
  ],
  positionals: 0,
  run: async (input) => {
    try {
      await start(input);
      return null;
    } catch (error) {
      // The process has said why by itself.
      if (error instanceof Ended) return error.status || 1;
      if (!(error instanceof CannotStart) && !(error instanceof StorageError)) throw error;
      process.stderr.write(`sluice: ${error.message}\n`);
      return 1;
    }
  },
};

/** Says what is to be served, and where: what the command line, the environment and the configuration say together. */
export interface Start {
  readonly read: Read;
  readonly host: string;
  readonly port: number;
  readonly databasePath: string;
  /** The folder of --data; left out: that of the configuration. */
  readonly folder: string | undefined;
  readonly mayStandIn: boolean;
  /** True where another process may listen on the same port. */
  readonly reusePort: boolean;
  /** What https is served with. */
  readonly tls: TlsInForce;
  /** What is valid and hardly meant, as lines of the log. */
  readonly warnings: readonly string[];
}

/**
 * Starts the gateway and returns when it listens: in this process, or in several under it. `instead`: the configuration that was in force last, where that
 * of the file turned out to conflict with what the database holds.
 */
async function start(input: Input, instead?: Read): Promise<void> {
  const begun = startOf(input, instead);
  const { config } = begun.read;
  const path = unixPathOf(config.server.unix);
  const taken = path === null ? null : await clearStale(path, begun.reusePort);
  if (taken !== null) throw new CannotStart(taken);
  const count = workersOf(config.server.workers, begun.databasePath);
  try {
    if (count === 1) await serveAlone(begun);
    else if (config.redis !== null) await supervise(begun, count, null);
    else {
      const region = regionFor(begun.databasePath, config.limits.maxSubjects);
      // Alone it says why, to everybody who looks.
      if (region === null) await serveAlone(begun);
      else await supervise(begun, count, region);
    }
  } catch (error) {
    if (!(error instanceof StandsIn)) throw error;
    await start(input, error.read);
  }
}

function startOf(input: Input, instead?: Read): Start {
  const { flags } = input;
  const folder = option(input, "data", "SLUICE_DATA");
  const mayStandIn = flags["last-good"] === true;
  const named = option(input, "config", "SLUICE_CONFIG");
  const read = instead ?? readConfig(named, mayStandIn ? folder : null);
  const { config, given, file, text } = read;
  const port = portOf(input) ?? config.server.port;
  const host = option(input, "host", "SLUICE_HOST") ?? config.server.host;
  const databasePath = folder === undefined ? config.storage.path : join(folder, "sluice.db");
  const certificates = examineFiles(config.server.tls, systemClock.wall());
  const backends = examineBackendFiles(config, systemClock.wall());
  const faults = [...certificates.faults, ...backends.faults];
  if (faults.length > 0) throw new CannotStart(faultList(file ?? "config.json", placed(text, faults)));
  const warnings = placed(text, [
    ...configWarnings(config, given, host, systemClock.wall()),
    ...certificates.warnings,
    ...backends.warnings,
    ...new PriceBook(file).examine(config).warnings,
  ]);
  return {
    ...{ read, host, port, databasePath, folder, mayStandIn, reusePort: flags["reuse-port"] === true },
    tls: certificates.inForce,
    warnings: [
      ...warnings.map((warning) => formatFault(file ?? "demo", warning)),
      ...(named === undefined && file !== null ? passedOver(file) : []),
    ].map((warning) => `configuration: ${warning}`),
  };
}

async function serveAlone({ read, host, port, databasePath, folder, mayStandIn, reusePort, tls, warnings }: Start): Promise<void> {
  const running = await openProcess(read, { host, databasePath, folder, mayStandIn, tls });
  const { gateway, scope, logger, onFault } = running;
  const { config, file } = read;
  // The first requests should not be limited by this instance alone, only because they come early.
  await Promise.race([gateway.ready, Bun.sleep(1000)]);
  let listeners: Listeners;
  try {
    listeners = listen(scope, { config: gateway.config(), host, port, reusePort, gateway, onFault });
    running.follow(listeners);
  } catch (error) {
    await scope.close();
    throw new CannotStart(listenFault(error));
  }
  const tellSystemd = systemdFor(logger);
  onSignals(running, tellSystemd);

  const { url, plain, adminUrl } = urlsOf(config, host, listeners);
  const unix = unixPathOf(config.server.unix) ?? undefined;
  logger.info({ url, plain, unix, config: file ?? "embedded demo", database: databasePath, routes: config.routes.length }, "listening");
  tellSystemd("READY=1");
  for (const warning of warnings) logger.warn(warning);
  greet(read, { ...gateway, link: gateway.firstRunLink() }, url, adminUrl);
}

/** Gives what the flag says, else the variable; `undefined` when neither says anything. */
function option({ flags }: Input, flag: string, variable: string): string | undefined {
  const given = flags[flag];
  return typeof given === "string" ? given : process.env[variable] || undefined;
}

const portOf = ({ flags }: Input): number | undefined =>
  portFrom(typeof flags.port === "string" ? flags.port : undefined, "--port") ??
  portFrom(process.env.SLUICE_PORT || undefined, "SLUICE_PORT");

/** Stops the process at SIGTERM and SIGINT, at once when it is the second, and loads the configuration again at SIGHUP. */
function onSignals({ gateway, scope, output, logger }: Process, tellSystemd: (state: string) => void): void {
  let isStopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (isStopping) process.exit(1);
    isStopping = true;
    tellSystemd("STOPPING=1");
    logger.info({ signal }, "stopping: no new connections, what is in flight may end");
    await scope.close();
    logger.info("stopped");
    await output.end(LAST_LINES_WITHIN);
    process.exit(0);
  };
  process.on("SIGHUP", () => void gateway.live.reload("signal"));
  process.on("SIGTERM", () => void stop("SIGTERM"));
  process.on("SIGINT", () => void stop("SIGINT"));
}

function portFrom(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65535) return Number(text);
  if (name.startsWith("--")) throw new UsageError(`${name} must be a port from 0 to 65535, got ${JSON.stringify(text)}`);
  throw new CannotStart(`${name} must be a port from 0 to 65535, got ${JSON.stringify(text)}`);
}
