import { placed } from "../config/load.ts";
import type { GatewayOptions } from "../gateway/ground.ts";
import type { Listeners } from "../gateway/listeners.ts";
import { type Gateway, openGateway } from "../gateway/open.ts";
import { openPlugins } from "../gateway/plugins.ts";
import { ConfigConflict } from "../gateway/reload.ts";
import { openScope, type Scope } from "../gateway/scope.ts";
import { SecretFault } from "../records/sealing.ts";
import { explained, sqliteCode } from "../storage/faults.ts";
import type { Logger } from "../telemetry/log.ts";
import { Output } from "../telemetry/output.ts";
import { lineSink } from "../telemetry/stdout.ts";
import { systemClock } from "../values/clock.ts";
import { faultList, noneUsable, type Read, standIn } from "./reading.ts";
import { adminTokenFrom, CannotStart, openLog, redactorFor } from "./running.ts";

/** Holds a gateway that is open in this process, and listens to nothing yet. */
export interface Process {
  readonly gateway: Gateway;
  readonly scope: Scope;
  readonly output: Output;
  readonly logger: Logger;
  readonly onFault: (error: unknown, requestId: string) => void;
  /** Has listeners follow the configuration. */
  readonly follow: (listeners: Listeners) => void;
}

/** Says where a process of the gateway is, and what it is to be. */
export interface Place extends Partial<GatewayOptions> {
  readonly host: string;
  readonly databasePath: string;
  /** The folder of --data; left out: that of the configuration. */
  readonly folder: string | undefined;
  /** True where the configuration that was in force last may stand in for one that conflicts with what the database holds. */
  readonly mayStandIn: boolean;
}

/** Says that a start is to begin again with the configuration that was in force last. */
export class StandsIn extends Error {
  constructor(readonly read: Read) {
    super("the configuration that was in force last stands in");
  }
}

/** Says that the configuration conflicts with what the database holds. */
export class Conflicting extends CannotStart {}

/** Opens the gateway in this process. Throws `CannotStart`, `StorageError` and `StandsIn`, with nothing left open. */
export async function openProcess(read: Read, { folder, mayStandIn, ...place }: Place): Promise<Process> {
  const { config, file, text, fileFaults } = read;
  const { env } = process;
  const adminToken = adminTokenFrom(env.SLUICE_ADMIN_TOKEN);
  const output = new Output(lineSink());
  const redactor = redactorFor(adminToken);
  const log = openLog(output, redactor, config, place.bus?.role === "worker" ? place.bus.self : null);
  const { logger } = log;
  const onFault = (error: unknown, requestId: string): void =>
    logger.error({ requestId, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }, "a fault of the gateway");

  const following: { listeners: Listeners | null } = { listeners: null };
  const scope = openScope((error) => onFault(error, ""));
  const gateway = await opened(scope, {
    ...{ config, file, text, fileFaults, env, adminToken, secret: env.SLUICE_SECRET, oldSecret: env.SLUICE_SECRET_OLD },
    ...{ clock: systemClock, log, redactor, onFault },
    onConfig: (next) => {
      log.configure(next.logging);
      following.listeners?.reconfigure(next);
    },
    ...place,
  });
  if (gateway instanceof ConfigConflict) {
    const faults = placed(text, gateway.faults);
    if (fileFaults.length > 0) throw new CannotStart(noneUsable(faultList(file ?? "config.json", fileFaults), faults));
    if (!mayStandIn) throw new Conflicting(faultList(file ?? "config.json", faults));
    throw new StandsIn(standIn(file, text, faults, folder));
  }
  return {
    ...{ gateway, scope, output, logger, onFault },
    follow: (listeners) => {
      following.listeners = listeners;
    },
  };
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
