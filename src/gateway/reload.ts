import { fixedFaults } from "../config/fixed.ts";
import { keepLastGood } from "../config/last-good.ts";
import type { Along } from "../config/live.ts";
import { Config } from "../config/schema.ts";
import type { PreparedPlugins } from "../plugins/plugins.ts";
import { Secrets } from "../records/sealing.ts";
import type { StagedDocument } from "../records/staged.ts";
import type { Fault } from "../schema/faults.ts";
import { secretsIn } from "../schema/secrets.ts";
import { activitiesPathOf, shareFiles } from "../storage/files.ts";
import { examineBackendFiles } from "../upstreams/tls-files.ts";
import { parseSize } from "../values/units.ts";
import { warnOfExposure } from "./exposure.ts";
import type { Ground } from "./ground.ts";
import type { Services } from "./services.ts";
import { stagedFaults } from "./staged.ts";
import { checkedByAll, dropWithAll, enterWithAll } from "./together.ts";

/** Says that a valid configuration can't come into force: it names what the admin API made before, or a plug-in that does not load. */
export class ConfigConflict extends Error {
  constructor(readonly faults: readonly Fault[]) {
    super("the configuration conflicts with what the admin API made, or with what its plug-ins are");
  }
}

/** Puts the configuration's declarations beside what the admin API made. Throws `ConfigConflict` where both have made something. */
export function declare(ground: Ground, { records }: Pick<Services, "records">): void {
  const { config } = ground.inForce;
  const faults = [...ground.prices.faultsOf(config), ...conflicts(config, ground, { records })];
  if (faults.length > 0) throw new ConfigConflict(faults);
  ground.prices.enter(config);
  records.declare(config);
  ground.emit({ type: "records", of: "all" });
  learnSecrets(ground);
}

/** Gives the faults of a configuration that conflicts with what the admin API made, or with the place of the gateway's own database. */
const conflicts = (next: Config, { options }: Ground, { records }: Pick<Services, "records">): Fault[] => [
  ...records.clashes(next),
  ...storageClash(next, options.databasePath),
];

/** Gives a fault when the activities' file would be the gateway's own, wherever --data or a link has put that. */
function storageClash({ activities }: Config, databasePath: string): Fault[] {
  if (activities === null || !shareFiles(activitiesPathOf(activities.path, databasePath), databasePath)) return [];
  return [
    { path: placeOf(activities), message: `leads to the gateway's own database (${databasePath}): name another file by activities.path` },
  ];
}

const placeOf = ({ path }: NonNullable<Config["activities"]>): string[] => ["activities", ...(path === null ? [] : ["path"])];

/** Describes a configuration that was read again. */
export interface Reread {
  readonly next: Config;
  readonly text: string;
  /** Tells whether the gateway is stopping: then nothing comes into force any more. */
  readonly isStopping: () => boolean;
  /** What comes into force with it; left out: nothing does. */
  readonly along?: Along | undefined;
}

/**
 * Puts another configuration in force in one step: its plug-ins are loaded beside those in force, which may take a while; then all is checked,
 * by each process of the gateway, and all is swapped, at once. Gives the faults with which it can't be.
 */
export async function reload({ next, text, isStopping, along }: Reread, ground: Ground, services: Services): Promise<readonly Fault[]> {
  const documents = along?.documents ?? [];
  // Before anything of it is loaded: whoever sent it may not be allowed to have that run.
  const refused = along?.check(next) ?? [];
  if (refused.length > 0) return refused;
  const plugins = await ground.plugins.prepare(next);
  const certificates = await services.certificates.prepare(next.server.tls);
  const step = { number: Bun.randomUUIDv7(), text, documents };
  const own = isStopping()
    ? STOPPING
    : [
        ...plugins.faults,
        ...certificates.faults,
        ...faultsOf(next, documents, ground, services),
        ...stagedFaults(documents, next, services.records),
      ];
  const checked = own.length > 0 ? own : await checkedByAll(ground, step);
  // Once more: records were changed by others while all checked it.
  const faults =
    checked.length > 0 ? checked : [...clashesOf(next, documents, ground, services), ...stagedFaults(documents, next, services.records)];
  const drop = (): void => {
    plugins.drop();
    dropWithAll(ground, step);
  };
  if (faults.length > 0 || isStopping() || along?.commit === null) {
    drop();
    return faults.length > 0 || !isStopping() ? faults : STOPPING;
  }
  try {
    along?.commit?.();
  } catch (error) {
    drop();
    throw error;
  }
  swap(next, plugins, documents, ground, services);
  certificates.enter();
  enterWithAll(ground, step);
  keepGood(text, ground);
  return [];
}

const STOPPING: readonly Fault[] = [{ path: [], message: "the gateway is stopping" }];

/** Gives the faults with which a configuration conflicts with what the admin API made, these documents among it. */
const clashesOf = (next: Config, documents: readonly StagedDocument[], ground: Ground, services: Services): readonly Fault[] =>
  services.records.asIf(documents, null, () => conflicts(next, ground, services));

/** Gives the faults with which a configuration can't come into force now, together with these documents. */
export function faultsOf(next: Config, documents: readonly StagedDocument[], ground: Ground, services: Services): readonly Fault[] {
  const faults = [...fixedFaults(ground.inForce.config, next), ...clashesOf(next, documents, ground, services)];
  faults.push(...examineBackendFiles(next, ground.clock.wall()).faults, ...ground.prices.faultsOf(next));
  const { activities } = next;
  const unusable = faults.length > 0 || activities === null ? null : services.activities.whyUnusable(activities);
  if (activities !== null && unusable !== null) faults.push({ path: placeOf(activities), message: unusable });
  return faults;
}

/** Swaps everything, with documents that are stored by now. Nothing here may fail: whatever could was checked before. */
export function swap(
  next: Config,
  plugins: PreparedPlugins,
  documents: readonly StagedDocument[],
  ground: Ground,
  services: Services,
): void {
  const { inForce, warnings, events, options, emit, prices } = ground;
  const { records, limits, guard, auto, activities, tracing, cacheStore, upstreams } = services;
  const before = inForce.config;
  inForce.enter(next);
  // Before routes are compiled, which name them.
  plugins.enter();
  prices.enter(next);
  upstreams.files.reread();
  records.declare(next);
  records.takeOver(documents);
  limits.resize(next.limits.maxSubjects);
  if (!Bun.deepEquals(before.server.trustedProxies, next.server.trustedProxies)) warnings.clear("untrustedProxy");
  // Who follows the events is asked again whether they still may.
  if (!Bun.deepEquals(before.admin.allowFrom, next.admin.allowFrom)) events.recheck();
  warnings.clear("addressUnknown");
  warnOfExposure(ground);
  guard.configure(next.guard);
  if (!Bun.deepEquals(before.health, next.health)) auto.configure();
  // A worker passes batches on to the keeper.
  if (ground.bus.role !== "worker") activities.configure();
  tracing.configure(next.telemetry.otlp);
  learnSecrets(ground);
  cacheStore.resize(parseSize(next.cache.maxSize));
  options.onConfig?.(next);
  // Whoever serves records reads them again: also the snapshot in force is built anew.
  emit({ type: "records", of: "all" });
}

/** Learns the values of the configuration's fields for secrets, so that they are never logged. */
const learnSecrets = ({ redactor, inForce }: Ground): void => redactor.learn("config", secretsIn(Config, inForce.config));

/** Keeps the text of the configuration in force, for a start with a broken file. */
export const keepGood = (text: string, { storage, clock, guarded, options }: Ground): void =>
  guarded(() => keepLastGood(storage, text, clock.wall(), new Secrets(options.secret, options.oldSecret)));
