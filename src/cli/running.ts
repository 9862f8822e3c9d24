import type { Config } from "../config/schema.ts";
import { ListenFault } from "../gateway/listeners.ts";
import type { ListenerName } from "../gateway/places.ts";
import { Log, type Logger } from "../telemetry/log.ts";
import type { Output } from "../telemetry/output.ts";
import { LEVELS, type Level } from "../telemetry/settings.ts";
import { systemClock } from "../values/clock.ts";
import { Redactor } from "../values/redact.ts";
import { notifySystemd } from "./notify.ts";

/** Milliseconds that a stop waits for whatever reads the log. */
export const LAST_LINES_WITHIN = 1000;

/** Says that the start failed for a reason that the person who starts it can mend. */
export class CannotStart extends Error {}

/** Reads SLUICE_ADMIN_TOKEN. */
export function adminTokenFrom(text: string | undefined): string | undefined {
  if (!text) return undefined;
  if (/^[!-~]{16,512}$/.test(text)) return text;
  throw new CannotStart("SLUICE_ADMIN_TOKEN must have 16 to 512 printable ASCII characters without spaces");
}

/** Makes what keeps secrets out of the log; it knows those of the environment. */
export function redactorFor(adminToken: string | undefined): Redactor {
  const { SLUICE_SECRET, SLUICE_SECRET_OLD } = process.env;
  const redactor = new Redactor();
  redactor.learn(
    "environment",
    [adminToken, SLUICE_SECRET, SLUICE_SECRET_OLD].flatMap((secret) => (secret ? [secret] : [])),
  );
  return redactor;
}

/** Opens the log on stdout. `worker`: the name of the process among several, which stands in its lines; `null`: it is alone, or the keeper. */
export function openLog(output: Output, redactor: Redactor, config: Config, worker: string | null = null): Log {
  const { env, stdout } = process;
  const isTerminal = stdout.isTTY === true;
  const terminal = { isTerminal, hasColour: isTerminal && !env.NO_COLOR };
  const level = levelFrom(env.SLUICE_LOG_LEVEL);
  return new Log({ output, clock: systemClock, random: Math.random, redactor, level, terminal, worker }, config.logging);
}

function levelFrom(text: string | undefined): Level | undefined {
  if (!text) return undefined;
  const level = LEVELS.find((each) => each === text);
  if (level !== undefined) return level;
  throw new CannotStart(`SLUICE_LOG_LEVEL must be one of ${LEVELS.join(", ")}, got ${JSON.stringify(text)}`);
}

/** Gives what tells systemd a state of this process; it does nothing where systemd did not start it. */
export const systemdFor =
  (logger: Logger) =>
  (state: string): void => {
    const fault = notifySystemd(state, process.env.NOTIFY_SOCKET);
    if (fault !== null) logger.error({ state, why: fault }, "systemd could not be told");
  };

/** Says on which ports a gateway listens. */
export interface Ports {
  readonly port: number;
  /** That of https beside the main one; `null`: there is none. */
  readonly tlsPort: number | null;
  /** That of the admin API: the main one's, where it has none of its own. */
  readonly adminPort: number;
}

/** Gives the URLs that people call the gateway and its admin API by; and the one of http beside https, where there is one. */
export function urlsOf(
  config: Config,
  host: string,
  { port, tlsPort, adminPort }: Ports,
): { url: string; adminUrl: string; plain?: string } {
  const isTls = config.server.tls !== null;
  const at = (scheme: string, own: string, its: number): string => {
    const name = own === "0.0.0.0" || own === "::" ? "localhost" : own.includes(":") ? `[${own}]` : own;
    return `${scheme}://${name}:${its}`;
  };
  const url = at(isTls ? "https" : "http", host, tlsPort ?? port);
  const { listen } = config.admin;
  return {
    url,
    adminUrl: listen === null ? url : at(isTls ? "https" : "http", listen.host, adminPort),
    ...(tlsPort === null ? {} : { plain: at("http", host, port) }),
  };
}

/** Says why a place can't be listened at, and what to do. */
export function listenFault(error: unknown): string {
  if (!(error instanceof ListenFault)) return `can't listen: ${error instanceof Error ? error.message : String(error)}`;
  const { code, message } = error;
  const { host, port, unix, name } = error.place;
  if (unix !== undefined) return `can't listen at ${unix.path}: ${WHY_NO_SOCKET[String(code)] ?? message}`;
  const other = name === "main" ? "choose another with --port" : `choose another by ${SETTINGS[name]}`;
  if (code === "EADDRINUSE") return `port ${port} on ${host} is taken: stop what listens there, or ${other}`;
  if (code === "EACCES") return `port ${port} on ${host} is not allowed: choose one above 1023, or give the program CAP_NET_BIND_SERVICE`;
  return `can't listen on ${host}:${port}: ${message}`;
}

const SETTINGS: Readonly<Record<Exclude<ListenerName, "main">, string>> = {
  tls: "server.tls.port",
  unix: "server.unix",
  admin: "admin.listen.port",
};

const WHY_NO_SOCKET: Readonly<Record<string, string>> = {
  EEXIST: "another program has just begun to listen there",
  ENOENT: "there is no such folder: make it, or choose another path by server.unix",
  EACCES: "this user may not write there: choose another path by server.unix, or give the folder to the user",
};
