import { Audit } from "../audit/audit.ts";
import { ScheduledBackups } from "../backups/scheduled.ts";
import { LiveConfig, together } from "../config/live.ts";
import type { Environment } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { TlsInForce } from "../edge/certificates.ts";
import { PlainPort } from "../edge/plain-port.ts";
import { EventForwarder, readWorkers } from "../events/forwarding.ts";
import { EventHub } from "../events/hub.ts";
import { Warnings } from "../health/warnings.ts";
import { Crowd, crowdLimits } from "../http/crowd.ts";
import { counters } from "../observers/counters.ts";
import { eventFeed } from "../observers/event-feed.ts";
import { logLines } from "../observers/log-lines.ts";
import { ofThisProcess } from "../observers/own.ts";
import { warningRules, warnOfFile } from "../observers/warnings.ts";
import { Plugins } from "../plugins/plugins.ts";
import { PriceBook } from "../prices/book.ts";
import { ChangeFeed } from "../records/changes.ts";
import { RedisLink } from "../redis/link.ts";
import type { Fault } from "../schema/faults.ts";
import { aloneBus, type Bus } from "../shared/bus.ts";
import { CellBook } from "../shared/cell-book.ts";
import { CellFolder, type CellWriter } from "../shared/cell-folder.ts";
import { CellSums } from "../shared/cell-sums.ts";
import { ASKED_WITHIN } from "../shared/of-all.ts";
import { openStorage, type Storage } from "../storage/open.ts";
import { Writability } from "../storage/writability.ts";
import type { Log, Logger } from "../telemetry/log.ts";
import type { Told } from "../telemetry/merging.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { type Emit, Occurrences } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { Redactor } from "../values/redact.ts";
import { parseDuration } from "../values/units.ts";
import { InForce } from "./in-force.ts";
import type { Scope } from "./scope.ts";
import { openSharedTable, type SharedTable, type TablePlace } from "./shared-table.ts";

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
  /** Joins this process with the others of one gateway; left out: it is alone. */
  readonly bus?: Bus;
  /** A table that is open already, for several gateways of one process; left out: it opens one by itself, or joins that of `tablePlace`. */
  readonly table?: SharedTable;
  /** Learns, in a worker, that it can't put in force what all others have: another is to take its place. */
  readonly onApart?: (why: string) => void;
  /** Where a process of several finds the table in which all of them count; left out: it opens one by itself. */
  readonly tablePlace?: TablePlace;
  /** The number of workers, of which this process may be one; left out: 1. */
  readonly workers?: number;
  /** Learns, in the keeper, of each configuration that comes into force. */
  readonly onInForce?: (text: string) => void;
  /** What https was served with last, which serves on while a file is broken; left out: nothing was. */
  readonly tls?: TlsInForce;
  /** Learns, in the keeper, what https is served with from here on. */
  readonly onCertificates?: (inForce: TlsInForce) => void;
  /** The path of the keeper's socket, for a worker. */
  readonly keeperSocket?: string;
  /** Tells a worker whether the keeper serves now; left out: it is taken to. */
  readonly isKeeperThere?: () => boolean;
  /** The port of 127.0.0.1 for the demo's backend; left out: a free one. */
  readonly demoPort?: number;
  /** Names this start of the gateway, the same in all of its processes: letters, digits, `-`. Metrics begin at 0 under another. Left out: this process is alone. */
  readonly run?: string;
  /** Tells the keeper how often each process of the gateway was started anew, by its name. */
  readonly restarts?: () => Promise<Readonly<Record<string, number>>>;
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
  /** What models cost. */
  readonly prices: PriceBook;
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
  /** What the plain port beside the one for https does. */
  readonly plainPort: PlainPort;
  /** The connection to Redis; `null`: this instance is alone. */
  readonly link: RedisLink | null;
  /** A name that tells this process from others. */
  readonly instance: string;
  /** Joins the processes of this gateway. */
  readonly bus: Bus;
  /** The table in which its processes count together; `null` with Redis, which then counts. */
  readonly table: SharedTable | null;
  /** Makes the files that this process counts in, so that what it counted outlives it; `null`: it counts in private memory. */
  readonly cells: CellWriter | null;
  /** Tells of a fault that belongs to no request. */
  readonly tell: (error: unknown) => void;
  /** Does some work; its fault is told and changes nothing else. */
  readonly guarded: (work: () => void) => void;
  /** Does some work again and again, every so many milliseconds, until the gateway is closed; guarded each time. */
  readonly every: (milliseconds: number, work: () => void) => void;
  /** The same for what one process of the gateway must do: a worker leaves it to the keeper. */
  readonly once: (milliseconds: number, work: () => void) => void;
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
  const bus = options.bus ?? aloneBus();
  const cells = openCells(scope, options, bus);
  const metrics = openMetrics(options, bus, cells);
  const events = new EventHub({ now: () => clock.wall(), random: Math.random });
  scope.defer(() => events.close());
  if (bus.role === "keeper") readWorkers(events, bus);
  else if (bus.role === "worker") new EventForwarder(events, bus);
  if (log !== null) occurrences.subscribe(ofThisProcess(logLines({ log, clock, file, onFailure: () => config().redis?.onFailure })));
  occurrences.subscribe(warningRules({ warnings, file, log }));
  occurrences.subscribe(ofThisProcess(counters(metrics)));
  occurrences.subscribe(ofThisProcess(eventFeed(events)));

  const { storage, writability, tell, guarded } = openDatabase(scope, options, emit);
  const feed = new ChangeFeed(storage);
  const audit = new Audit({ storage, clock, emit });
  const backups = openBackups(scope, { options, config, emit });
  occurrences.subscribe({
    backup: ({ file, bytes }) => guarded(() => audit.note({ action: "backup.create", subject: "database", after: { file, bytes } })),
  });
  const crowd = new Crowd(crowdLimits(config().server, options.workers), (ip) => inForce.isOfMany(ip));
  scope.defer(() => crowd.close());
  const link = config().redis === null ? null : openLink(scope, config, clock, emit);
  // The keeper tells of the file: a worker would not learn that it was mended.
  const faults = bus.role === "worker" ? [] : (options.fileFaults ?? []);
  const plugins = options.plugins ?? new Plugins({ file, log, env: options.env ?? {} });
  const prices = new PriceBook(file);
  const live = new LiveConfig({
    others: together([plugins, prices]),
    file,
    env: options.env ?? {},
    clock,
    faults,
    text: options.text,
    host: options.host ?? config().server.host,
    emit,
  });
  warnOfFile(warnings, file, faults);
  const table = link === null ? (options.table ?? openTable(scope, options, warnings, log)) : null;
  const every: Ground["every"] = (milliseconds, work) => scope.every(milliseconds, () => guarded(work));
  return {
    ...{
      options,
      scope,
      clock,
      log,
      ...{ bus, table, cells },
      redactor: options.redactor ?? new Redactor(),
      inForce,
      live,
      emit,
      occurrences,
      warnings,
      metrics,
    },
    plainPort: new PlainPort(),
    ...{ plugins, prices, events, storage, writability, feed, audit, backups, crowd, link, instance: Bun.randomUUIDv7(), tell, guarded },
    every,
    once: bus.role === "worker" ? () => {} : every,
  };
}

function openTable(
  scope: Scope,
  { tablePlace, databasePath, clock, config }: GatewayOptions,
  warnings: Warnings,
  log: Logger | null,
): SharedTable {
  const { maxSubjects } = config.limits;
  return openSharedTable(scope, { place: tablePlace ?? null, databasePath, maxSubjects, clock, warnings, log });
}

/** Opens what this process counts in. One that is alone has nobody to leave it to. */
function openCells(scope: Scope, { databasePath, run }: GatewayOptions, bus: Bus): CellWriter | null {
  if (bus.role === "alone" || run === undefined || databasePath === ":memory:") return null;
  const cells = new CellFolder(databasePath).writer(run, bus.self);
  scope.defer(() => cells.close());
  return cells;
}

/** Opens what counts for Prometheus: the keeper speaks for all processes of this start of the gateway. */
function openMetrics({ databasePath, run }: GatewayOptions, bus: Bus, cells: CellWriter | null): Metrics {
  return new Metrics({
    book: new CellBook(cells),
    self: bus.self,
    sums: bus.role !== "keeper" || cells === null || run === undefined ? null : new CellSums(new CellFolder(databasePath), run),
    ask: () => bus.askAll<Told>("metrics", null, ASKED_WITHIN),
  });
}

/** Opens the database, and what finds out whether it can be written. */
function openDatabase(scope: Scope, { databasePath, clock, onFault, bus }: GatewayOptions, emit: Emit) {
  const storage = openStorage(databasePath, { isServed: true, isOnlyRead: bus?.role === "worker" });
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
