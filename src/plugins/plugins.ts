import { dirname, resolve } from "node:path";
import type { Tools } from "sluice";
import type { Fault, Path } from "../schema/faults.ts";
import type { Logger } from "../telemetry/log.ts";
import { parseDuration, parseSize } from "../values/units.ts";
import { HookCounts, type PluginCounts } from "./counts.ts";
import { HOOKS } from "./hook.ts";
import { Instance, pluginLog } from "./instance.ts";
import { type LoadedModule, type LoadFault, loadModule, setUp } from "./loader.ts";
import type { PluginConfig } from "./settings.ts";
import { isUnchanged, type Sources, sourcesOf, stampOf } from "./source.ts";
import type { Use } from "./use.ts";

/** Holds the parts of a configuration that name plug-ins. */
export interface PluginsConfig {
  readonly plugins: readonly PluginConfig[];
  readonly routes: readonly { readonly plugins: readonly PluginConfig[] }[];
}

export interface PluginsDeps {
  /** The configuration's file; `null`: there is none, and paths lead from the working directory. */
  readonly file: string | null;
  /** The log; `null`: nothing is logged. */
  readonly log: Logger | null;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Holds the plug-ins of another configuration, loaded beside those in force. One of the two must be called. */
export interface PreparedPlugins {
  /** What keeps them from being used, at their places in the configuration. */
  readonly faults: readonly Fault[];
  /** Puts them in force, if there are no faults. Those that are not wanted any more stop when their last request has ended. */
  enter(): void;
  /** Stops those that were loaded for it. */
  drop(): void;
}

/** Describes a plug-in that a configuration wants, once for all places where it stands with the same options. */
interface Wanted {
  readonly file: string;
  readonly options: object;
  readonly places: Path[];
}

/**
 * Loads plug-ins and keeps those in force. A plug-in is loaded once for a file and its options, however many routes use it; with other
 * options it is another one, with its own copy of all that it imports by relative paths.
 *
 * @example
 * const prepared = await plugins.prepare(config);
 * if (prepared.faults.length === 0) prepared.enter();
 */
export class Plugins {
  private inForce = new Map<string, Instance>();
  private readonly retiring = new Set<Instance>();
  private readonly counts = new Map<string, PluginCounts>();
  /** The files that were looked at last, as they were then: of those in force, and of what could not be loaded. */
  private watched: Sources = new Map();
  private readonly folder: string;

  constructor(private readonly deps: PluginsDeps) {
    this.folder = deps.file === null ? process.cwd() : dirname(resolve(deps.file));
  }

  /** Loads the plug-ins that a configuration wants and that are not in force as they are now. One call at a time. */
  async prepare(config: PluginsConfig): Promise<PreparedPlugins> {
    const faults: Fault[] = [];
    const next = new Map<string, Instance>();
    const made: Instance[] = [];
    const watched = new Map<string, string>();
    for (const [key, wanted] of this.wantedBy(config)) {
      const known = this.inForce.get(key);
      if (known !== undefined && isUnchanged(known.sources)) {
        for (const [file, stamp] of known.sources) watched.set(file, stamp);
        next.set(key, known);
        continue;
      }
      const sources = sourcesOf(wanted.file);
      for (const [file, stamp] of sources) watched.set(file, stamp);
      const instance = await this.load(wanted, sources);
      if (instance instanceof Instance) {
        next.set(key, instance);
        made.push(instance);
      } else faults.push(...instance);
    }
    this.watched = watched;
    return {
      faults,
      enter: () => this.enter(next),
      drop: () => {
        for (const instance of made) void instance.stop();
        this.forgetCounts();
      },
    };
  }

  /** Tells whether a file that was looked at is another by now. */
  isChanged(): boolean {
    return !isUnchanged(this.watched);
  }

  /** Takes the files as they are now for those that were looked at. */
  look(): void {
    this.watched = new Map([...this.watched.keys()].map((file) => [file, stampOf(file)]));
  }

  /** Gives the plug-ins in force that a route uses: those of all routes first, then its own. */
  usesOf(lists: readonly (readonly PluginConfig[])[]): Use[] {
    return lists.flat().map((config, at) => {
      const instance = this.inForce.get(this.keyOf(config));
      // A configuration comes into force together with its plug-ins.
      if (instance === undefined) throw new Error(`the plug-in ${config.file} is not loaded`);
      return {
        ...{ instance, at },
        timeout: parseDuration(config.timeout),
        skips: config.onError === "skip",
        maxBody: parseSize(config.maxBody),
      };
    });
  }

  /** The counts of all plug-ins in force, by their names. */
  get allCounts(): ReadonlyMap<string, PluginCounts> {
    return this.counts;
  }

  /** Stops all plug-ins. */
  async close(): Promise<void> {
    await Promise.all([...this.inForce.values(), ...this.retiring].map((instance) => instance.stop()));
    this.inForce.clear();
  }

  private async load({ file, options, places }: Wanted, sources: Sources): Promise<Instance | Fault[]> {
    const { folder } = this;
    const { log, env } = this.deps;
    const module = await loadModule(file, sources, folder);
    if ("fault" in module) return faultsAt(places, ["file"], module.fault);
    const tools: Tools = { log: pluginLog(log, module.name, null), env, fetch };
    const fault = await setUp(module, options, tools, { file, sources, folder });
    const instance = new Instance({ module, sources, log, counts: this.countsOf(module.name) });
    if (fault === null) return instance;
    // Whatever it has opened by then.
    void instance.stop();
    return faultsAt(places, [], fault);
  }

  private enter(next: Map<string, Instance>): void {
    const gone = [...this.inForce.values()].filter((instance) => ![...next.values()].includes(instance));
    this.inForce = next;
    for (const instance of gone) {
      this.retiring.add(instance);
      void instance.retire().finally(() => this.retiring.delete(instance));
    }
    this.forgetCounts();
  }

  /** Gives the counts that go on under a name. */
  private countsOf(name: string): PluginCounts {
    const counts = this.counts.get(name) ?? new Map(HOOKS.map((hook) => [hook, new HookCounts()]));
    this.counts.set(name, counts);
    return counts;
  }

  private forgetCounts(): void {
    const names = new Set([...this.inForce.values()].map(({ name }) => name));
    for (const name of this.counts.keys()) if (!names.has(name)) this.counts.delete(name);
  }

  private wantedBy(config: PluginsConfig): Map<string, Wanted> {
    const wanted = new Map<string, Wanted>();
    for (const [plugin, place] of placesIn(config)) {
      const key = this.keyOf(plugin);
      const known = wanted.get(key);
      if (known === undefined) wanted.set(key, { file: this.fileOf(plugin), options: plugin.options, places: [place] });
      else known.places.push(place);
    }
    return wanted;
  }

  private keyOf(plugin: PluginConfig): string {
    return `${this.fileOf(plugin)}\n${JSON.stringify(plugin.options)}`;
  }

  private fileOf({ file }: PluginConfig): string {
    return resolve(this.folder, file);
  }
}

/** Gives the plug-ins that a configuration names, with their places in it. */
const placesIn = ({ plugins, routes }: PluginsConfig): (readonly [PluginConfig, Path])[] => [
  ...plugins.map((plugin, i) => [plugin, ["plugins", i]] as const),
  ...routes.flatMap((route, i) => route.plugins.map((plugin, j) => [plugin, ["routes", i, "plugins", j]] as const)),
];

const faultsAt = (places: readonly Path[], within: Path, message: string): Fault[] =>
  places.map((place) => ({ path: [...place, ...within], message }));

/** Gives the faults of a configuration's plug-ins as far as they show when their files are loaded; none of them is set up. */
export async function pluginFileFaults(config: PluginsConfig, file: string): Promise<Fault[]> {
  const folder = dirname(resolve(file));
  const found = new Map<string, LoadedModule | LoadFault>();
  const faults: Fault[] = [];
  for (const [plugin, place] of placesIn(config)) {
    const path = resolve(folder, plugin.file);
    const module = found.get(path) ?? (await loadModule(path, sourcesOf(path), folder));
    found.set(path, module);
    if ("fault" in module) faults.push(...faultsAt([place], ["file"], module.fault));
  }
  return faults;
}
