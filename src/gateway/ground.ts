import { Audit } from "../audit/audit.ts";
import { ScheduledBackups } from "../backups/scheduled.ts";
import { LiveConfig } from "../config/live.ts";
import type { Environment } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { EventHub } from "../events/hub.ts";
import { Warnings } from "../health/warnings.ts";
import { Crowd, crowdLimits } from "../http/crowd.ts";
import { counters } from "../observers/counters.ts";
import { eventFeed } from "../observers/event-feed.ts";
import { logLines } from "../observers/log-lines.ts";
import { warningRules, warnOfFile } from "../observers/warnings.ts";
import { Plugins } from "../plugins/plugins.ts";
import { ChangeFeed } from "../records/changes.ts";
import { RedisLink } from "../redis/link.ts";
import type { Fault } from "../schema/faults.ts";
import { openStorage, type Storage } from "../storage/open.ts";
import { Writability } from "../storage/writability.ts";
import type { Log, Logger } from "../telemetry/log.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { type Emit, Occurrences } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { Redactor } from "../values/redact.ts";
import { parseDuration } from "../values/units.ts";
import { InForce } from "./in-force.ts";
import type { Scope } from "./scope.ts";

export interface GatewayOptions {
  readonly config: Config;
  /** The file that `config` was read from; `null` for the embedded demo. */
  readonly file: string | null;
  /** The configuration's plug-ins, which are in force; left out: it names none. */
  readonly plugins?: Plugins;
  /** The file's text, to be kept as the last good one. */
  readonly text?: string;
  /** The faults of the file, when `config` is the last good one in its place. */
  readonly fileFaults?: readonly Fault[];
  /** The values for `${NAME}` when the file is read again. */
  readonly env?: Environment;
  /** Tells that another configuration comes into force: things outside of the gateway, such as the log's level, follow it. */
  readonly onConfig?: (config: Config) => void;
  /** The address where the main port listens; by default the configuration's. */
  readonly host?: string;
  readonly databasePath: string;
  readonly adminToken: string | undefined;
  /** SLUICE_SECRET, under which stored credentials are encrypted, and the one before it. */
  readonly secret?: string | undefined;
  readonly oldSecret?: string | undefined;
  readonly clock: Clock;
  /** The log; `null`: nothing is logged. */
  readonly log: Log | null;
  /** Learns secrets that must never be logged. */
  readonly redactor?: Redactor;
  readonly onFault: (error: unknown, requestId: string) => void;
}

/** Holds what everything else stands on: time, storage, Redis, and who is told of what. */
export interface Ground {
  readonly options: GatewayOptions;
  readonly scope: Scope;
  readonly clock: Clock;
  readonly log: Logger | null;
  readonly redactor: Redactor;
  readonly inForce: InForce;
  readonly plugins: Plugins;
  readonly live: LiveConfig;
  readonly emit: Emit;
  readonly occurrences: Occurrences;
  readonly warnings: Warnings;
  readonly metrics: Metrics;
  readonly events: EventHub;
  readonly storage: Storage;
  readonly writability: Writability;
  readonly feed: ChangeFeed;
  readonly audit: Audit;
  readonly backups: ScheduledBackups;
  /** The clients' connections, on all listeners together. */
  readonly crowd: Crowd;
  /** The connection to Redis; `null`: this instance is alone. */
  readonly link: RedisLink | null;
  /** A name that tells this process from others. */
  readonly instance: string;
  /** Tells of a fault that belongs to no request. */
  readonly tell: (error: unknown) => void;
  /** Does some work; its fault is told and changes nothing else. */
  readonly guarded: (work: () => void) => void;
  /** Does some work again and again, every so many milliseconds, until the gateway is closed; guarded each time. */
  readonly every: (milliseconds: number, work: () => void) => void;
}

/** Opens the ground in `scope`. Throws `StorageError`. */
export function openGround(scope: Scope, options: GatewayOptions): Ground {
  const { clock, file } = options;
  const log = options.log?.logger ?? null;
  const occurrences = new Occurrences();
  const { emit } = occurrences;
  const inForce = new InForce(options.config);
  const config = () => inForce.config;
  const warnings = new Warnings(
    () => clock.wall(),
    (warning, isRaised) => emit({ type: "warning", warning, isRaised }),
  );
  const metrics = new Metrics();
  const events = new EventHub({ now: () => clock.wall(), random: Math.random });
  scope.defer(() => events.close());
  if (log !== null) occurrences.subscribe(logLines({ log, clock, file, onFailure: () => config().redis?.onFailure }));
  occurrences.subscribe(warningRules({ warnings, file, log }));
  occurrences.subscribe(counters(metrics));
  occurrences.subscribe(eventFeed(events));

  const { storage, writability, tell, guarded } = openDatabase(scope, options, emit);
  const feed = new ChangeFeed(storage);
  const audit = new Audit({ storage, clock, emit });
  const backups = openBackups(scope, { options, config, emit });
  occurrences.subscribe({
    backup: ({ file, bytes }) => guarded(() => audit.note({ action: "backup.create", subject: "database", after: { file, bytes } })),
  });
  const crowd = new Crowd(crowdLimits(config().server), (ip) => inForce.trustedProxies.has(ip));
  scope.defer(() => crowd.close());
  const link = config().redis === null ? null : openLink(scope, config, clock, emit);
  const faults = options.fileFaults ?? [];
  const plugins = options.plugins ?? new Plugins({ file, log, env: options.env ?? {} });
  const live = new LiveConfig({
    others: plugins,
    file,
    env: options.env ?? {},
    clock,
    faults,
    host: options.host ?? config().server.host,
    emit,
  });
  warnOfFile(warnings, file, faults);
  return {
    ...{ options, scope, clock, log, redactor: options.redactor ?? new Redactor(), inForce, live, emit, occurrences, warnings, metrics },
    ...{ plugins, events, storage, writability, feed, audit, backups, crowd, link, instance: Bun.randomUUIDv7(), tell, guarded },
    every: (milliseconds, work) => scope.every(milliseconds, () => guarded(work)),
  };
}

/** Opens the database, and what finds out whether it can be written. */
function openDatabase(scope: Scope, { databasePath, clock, onFault }: GatewayOptions, emit: Emit) {
  const storage = openStorage(databasePath, { isServed: true });
  scope.defer(() => storage.close());
  const writability = new Writability({ storage, clock, onChange: (state) => emit({ type: "storage", state }) });
  const tell = (error: unknown): void => {
    // While nothing can be written that is said once, not with each thing that should have been.
    if (!writability.failed(error)) onFault(error, "");
  };
  const guarded = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      tell(error);
    }
  };
  return { storage, writability, tell, guarded };
}

function openBackups(
  scope: Scope,
  { options, config, emit }: { options: GatewayOptions; config: () => Config; emit: Emit },
): ScheduledBackups {
  const { databasePath, clock } = options;
  const backups = new ScheduledBackups({
    databasePath,
    clock,
    policy: () => {
      const { backup } = config();
      return backup === null || databasePath === ":memory:" ? null : { ...backup, every: parseDuration(backup.every) };
    },
    emit,
  });
  scope.defer(() => backups.close());
  return backups;
}

function openLink(scope: Scope, config: () => Config, clock: Clock, emit: Emit): RedisLink {
  const link = new RedisLink({
    // Another connection takes a restart: the configuration can't lose it meanwhile.
    config: config().redis as NonNullable<Config["redis"]>,
    clock,
    onChange: (isUp, why) => emit({ type: "redis", isUp, why, isFirst: false }),
  });
  scope.defer(() => link.close());
  void link.tried.then(() => {
    if (!link.isUp) emit({ type: "redis", isUp: false, why: link.trouble, isFirst: true });
  });
  return link;
}
