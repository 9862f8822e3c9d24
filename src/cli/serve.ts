import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import demoConfig from "../../config.json";
import { lastGood, storagePathIn } from "../config/last-good.ts";
import { type Loaded, loadConfig, placed } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { configWarnings } from "../config/warnings.ts";
import { demoBanner } from "../demo/banner.ts";
import type { GatewayOptions } from "../gateway/ground.ts";
import { type Listeners, listen } from "../gateway/listeners.ts";
import { type Gateway, openGateway } from "../gateway/open.ts";
import { openPlugins } from "../gateway/plugins.ts";
import { ConfigConflict } from "../gateway/reload.ts";
import { openScope, type Scope } from "../gateway/scope.ts";
import { examineCertificates } from "../http/certificates.ts";
import { SecretFault } from "../records/sealing.ts";
import { type Fault, formatFault } from "../schema/faults.ts";
import { explained, StorageError, sqliteCode } from "../storage/faults.ts";
import { Log, type Logger } from "../telemetry/log.ts";
import { Output } from "../telemetry/output.ts";
import { LEVELS, type Level } from "../telemetry/settings.ts";
import { lineSink } from "../telemetry/stdout.ts";
import { systemClock } from "../values/clock.ts";
import { Redactor } from "../values/redact.ts";
import { type Command, type Input, UsageError } from "./arguments.ts";
import { notifySystemd } from "./notify.ts";

/** Milliseconds that a stop waits for whatever reads the log. */
const LAST_LINES_WITHIN = 1000;

/** Says that the start failed for a reason that the person who starts it can mend. */
class CannotStart extends Error {}

export const serve: Command = {
  name: "serve",
  usage: "[serve] [--config FILE] [--host ADDRESS] [--port N] [--data DIR] [--reuse-port] [--last-good]",
  summary: "Runs the gateway. Without a config.json in the working directory it runs the embedded demo.",
  flags: [
    { name: "config", value: "FILE", help: "the configuration file (SLUICE_CONFIG, else config.json)" },
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
      if (!(error instanceof CannotStart) && !(error instanceof StorageError)) throw error;
      process.stderr.write(`sluice: ${error.message}\n`);
      return 1;
    }
  },
};

type OnFault = (error: unknown, requestId: string) => void;

/**
 * Starts the gateway and returns when it listens. `instead`: the last good configuration, when that of the file turned out to conflict with
 * what the database holds.
 */
async function start(input: Input, instead?: Read): Promise<void> {
  const { flags } = input;
  const { env } = process;
  const adminToken = adminTokenFrom(env.SLUICE_ADMIN_TOKEN);
  const folder = option(input, "data", "SLUICE_DATA");
  const mayStandIn = flags["last-good"] === true;
  const read = instead ?? readConfig(option(input, "config", "SLUICE_CONFIG"), mayStandIn ? folder : null);
  const { config, given, file, text, fileFaults } = read;
  const port = portOf(input) ?? config.server.port;
  const host = option(input, "host", "SLUICE_HOST") ?? config.server.host;
  const databasePath = folder === undefined ? config.storage.path : join(folder, "sluice.db");

  const certificates = examineCertificates(config, systemClock.wall());
  if (certificates.faults.length > 0) throw new CannotStart(faultList(file ?? "config.json", placed(text, certificates.faults)));

  const output = new Output(lineSink());
  const redactor = redactorFor(adminToken);
  const log = openLog(output, redactor, config);
  const { logger } = log;
  const onFault: OnFault = (error, requestId) =>
    logger.error({ requestId, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }, "a fault of the gateway");

  let listeners: Listeners | null = null;
  const scope = openScope((error) => onFault(error, ""));
  const gateway = await opened(scope, {
    config,
    file,
    text,
    fileFaults,
    env,
    databasePath,
    adminToken,
    secret: env.SLUICE_SECRET,
    oldSecret: env.SLUICE_SECRET_OLD,
    clock: systemClock,
    log,
    redactor,
    onFault,
    onConfig: (next) => {
      log.configure(next.logging);
      listeners?.reconfigure(next);
    },
    host,
  });
  if (gateway instanceof ConfigConflict) {
    const faults = placed(text, gateway.faults);
    if (fileFaults.length > 0) throw new CannotStart(noneUsable(faultList(file ?? "config.json", fileFaults), faults));
    if (!mayStandIn) throw new CannotStart(faultList(file ?? "config.json", faults));
    return start(input, standIn(file, text, faults, folder));
  }
  // The first requests should not be limited by this instance alone, only because they come early.
  await Promise.race([gateway.ready, Bun.sleep(1000)]);
  try {
    listeners = listen(scope, { config: gateway.config(), host, port, reusePort: flags["reuse-port"] === true, gateway, onFault });
  } catch (error) {
    await scope.close();
    throw new CannotStart(listenFault(error, host, port));
  }
  const tellSystemd = systemdFor(logger);
  onSignals({ gateway, scope, output, logger, tellSystemd });

  const url = urlOf(config, host, listeners.port);
  logger.info({ url, config: file ?? "embedded demo", database: databasePath, routes: config.routes.length }, "listening");
  tellSystemd("READY=1");
  const warnings = [...configWarnings(config, given, host, systemClock.wall()), ...certificates.warnings];
  for (const warning of placed(text, warnings)) logger.warn(`configuration: ${formatFault(file ?? "demo", warning)}`);
  greet(read, gateway, url, url.replace(`:${listeners.port}`, `:${listeners.adminPort}`));
}

/** Gives what the flag says, else the variable; `undefined` when neither says anything. */
function option({ flags }: Input, flag: string, variable: string): string | undefined {
  const given = flags[flag];
  return typeof given === "string" ? given : process.env[variable] || undefined;
}

const portOf = ({ flags }: Input): number | undefined =>
  portFrom(typeof flags.port === "string" ? flags.port : undefined, "--port") ??
  portFrom(process.env.SLUICE_PORT || undefined, "SLUICE_PORT");

function adminTokenFrom(text: string | undefined): string | undefined {
  if (!text) return undefined;
  if (/^[!-~]{16,512}$/.test(text)) return text;
  throw new CannotStart("SLUICE_ADMIN_TOKEN must have 16 to 512 printable ASCII characters without spaces");
}

/** Makes what keeps secrets out of the log; it knows those of the environment. */
function redactorFor(adminToken: string | undefined): Redactor {
  const { SLUICE_SECRET, SLUICE_SECRET_OLD } = process.env;
  const redactor = new Redactor();
  redactor.learn(
    "environment",
    [adminToken, SLUICE_SECRET, SLUICE_SECRET_OLD].flatMap((secret) => (secret ? [secret] : [])),
  );
  return redactor;
}

function openLog(output: Output, redactor: Redactor, config: Config): Log {
  const { env, stdout } = process;
  const isTerminal = stdout.isTTY === true;
  const terminal = { isTerminal, hasColour: isTerminal && !env.NO_COLOR };
  const level = levelFrom(env.SLUICE_LOG_LEVEL);
  return new Log({ output, clock: systemClock, random: Math.random, redactor, level, terminal }, config.logging);
}

/**
 * Opens the gateway, or gives the conflict between its configuration and what the database holds, or what its plug-ins are. Throws what a
 * person can mend as such. Nothing is left open where it does not come to be. From here on a fault that nobody caught is logged and ends
 * nothing: it may be a plug-in's.
 */
async function opened(scope: Scope, options: GatewayOptions): Promise<Gateway | ConfigConflict> {
  const onStray = (error: unknown): void => options.onFault(error, "");
  process.on("unhandledRejection", onStray);
  process.on("uncaughtException", onStray);
  try {
    return openGateway(scope, { ...options, plugins: await openPlugins(scope, options) });
  } catch (error) {
    await scope.close();
    process.off("unhandledRejection", onStray);
    process.off("uncaughtException", onStray);
    if (error instanceof ConfigConflict) return error;
    if (error instanceof SecretFault) throw new CannotStart(error.message);
    // Damaged pages are often found only by who reads them.
    if (sqliteCode(error) !== null) throw explained(error, options.databasePath);
    throw error;
  }
}

/** Gives what tells systemd a state of this process; it does nothing where systemd did not start it. */
const systemdFor =
  (logger: Logger) =>
  (state: string): void => {
    const fault = notifySystemd(state, process.env.NOTIFY_SOCKET);
    if (fault !== null) logger.error({ state, why: fault }, "systemd could not be told");
  };

interface Running {
  readonly gateway: Gateway;
  readonly scope: Scope;
  readonly output: Output;
  readonly logger: Logger;
  readonly tellSystemd: (state: string) => void;
}

/** Stops the process at SIGTERM and SIGINT, at once when it is the second, and loads the configuration again at SIGHUP. */
function onSignals({ gateway, scope, output, logger, tellSystemd }: Running): void {
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

function urlOf(config: Config, host: string, port: number): string {
  const scheme = config.server.tls === null ? "http" : "https";
  return `${scheme}://${host === "0.0.0.0" || host === "::" ? "localhost" : host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Tells who started it what a log is no place for. People read stderr; stdout is for the log alone. */
function greet({ config, file, fileFaults }: Read, gateway: Gateway, url: string, adminUrl: string): void {
  if (fileFaults.length > 0)
    process.stderr.write(
      `sluice: ${faultList(file ?? "config.json", fileFaults)}\nsluice: serving the configuration that was in force last (--last-good)\n`,
    );
  if (config.demo && gateway.demoUrl !== null) {
    if (file === null) process.stderr.write("sluice: there is no config.json here: running the embedded demo\n");
    process.stderr.write(demoBanner(config, url, gateway.demoUrl));
  }
  if (gateway.firstToken !== null)
    process.stderr.write(
      `\n  Admin token (made now, shown only this once):\n\n    ${gateway.firstToken}\n\n    curl -H 'Authorization: Bearer ${gateway.firstToken}' ${adminUrl}/admin/consumers\n\n`,
    );
}

interface Read {
  readonly config: Config;
  /** The file's values, without defaults. */
  readonly given: unknown;
  /** The file's path; `null`: the embedded demo. */
  readonly file: string | null;
  readonly text: string;
  /** The faults of the file when `config` is the last good one in its place. */
  readonly fileFaults: readonly Fault[];
}

/** Reads the configuration to start with. `folder`: where the last good one may stand in for a broken file; `null`: it may not. */
function readConfig(named: string | undefined, folder: string | undefined | null): Read {
  const file = named ?? (existsSync("config.json") ? "config.json" : null);
  let text = "";
  let faults: readonly Fault[];
  try {
    text = file === null ? JSON.stringify(demoConfig) : readFileSync(file, "utf8");
    const loaded: Loaded = loadConfig(text, process.env);
    if ("config" in loaded) return { ...loaded, file, text, fileFaults: [] };
    ({ faults } = loaded);
  } catch (error) {
    faults = [{ path: [], message: `can't be read: ${error instanceof Error ? error.message : String(error)}` }];
  }
  if (folder === null) throw new CannotStart(faultList(file ?? "config.json", faults));
  return standIn(file, text, faults, folder);
}

/** Gives the last good configuration in the place of a file with faults. `text`: the file's, as far as it could be read. */
function standIn(file: string | null, text: string, faults: readonly Fault[], folder: string | undefined): Read {
  const broken = faultList(file ?? "config.json", faults);
  const databasePath = folder === undefined ? (storagePathIn(text) ?? "data/sluice.db") : join(folder, "sluice.db");
  const kept = lastGood(databasePath);
  const loaded = kept === null ? null : loadConfig(kept.text, process.env);
  if (kept === null || loaded === null)
    throw new CannotStart(`${broken}\n  ${databasePath} holds no configuration that was in force before`);
  if ("faults" in loaded) throw new CannotStart(noneUsable(broken, loaded.faults));
  return { ...loaded, file, text: kept.text, fileFaults: faults };
}

/** Says that neither the file's configuration can be used, which is `broken`, nor the one that was in force last. */
const noneUsable = (broken: string, faults: readonly Fault[]): string =>
  `${broken}\n  nor can the one that was in force last be used:\n${faultList("kept", faults)}`;

const faultList = (file: string, faults: readonly Fault[]): string =>
  `the configuration is not valid:\n${faults.map((fault) => `  ${formatFault(file, fault)}`).join("\n")}`;

function portFrom(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65535) return Number(text);
  if (name.startsWith("--")) throw new UsageError(`${name} must be a port from 0 to 65535, got ${JSON.stringify(text)}`);
  throw new CannotStart(`${name} must be a port from 0 to 65535, got ${JSON.stringify(text)}`);
}

function levelFrom(text: string | undefined): Level | undefined {
  if (!text) return undefined;
  const level = LEVELS.find((each) => each === text);
  if (level !== undefined) return level;
  throw new CannotStart(`SLUICE_LOG_LEVEL must be one of ${LEVELS.join(", ")}, got ${JSON.stringify(text)}`);
}

function listenFault(error: unknown, host: string, port: number): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "EADDRINUSE") return `port ${port} on ${host} is taken: stop what listens there, or choose another with --port`;
  if (code === "EACCES") return `port ${port} on ${host} is not allowed: choose one above 1023, or give the program CAP_NET_BIND_SERVICE`;
  return `can't listen on ${host}:${port}: ${error instanceof Error ? error.message : String(error)}`;
}
