import type { Log, Plugin } from "sluice";
import type { Logger } from "../telemetry/log.ts";
import type { PluginCounts } from "./counts.ts";
import type { Hook } from "./hook.ts";
import type { LoadedModule } from "./loader.ts";
import { forget, type Sources } from "./source.ts";

/** Milliseconds that a replaced plug-in waits for its last requests: a stream may go on for days. */
const ENDS_WITHIN = 30_000;
/** Milliseconds that a plug-in's stop may take. */
const STOPS_WITHIN = 5000;

/** The fields that a plug-in is told of that it can't set, at most. */
const MAX_IGNORED = 64;

export interface InstanceDeps {
  readonly module: LoadedModule;
  readonly sources: Sources;
  /** The log; `null`: nothing is logged. */
  readonly log: Logger | null;
  readonly counts: PluginCounts;
}

/** Holds a plug-in that was loaded with certain options, until its last request has ended. */
export class Instance {
  readonly plugin: Plugin;
  readonly name: string;
  /** How its steps are called in traces. */
  readonly spanName: string;
  readonly sources: Sources;
  readonly counts: PluginCounts;
  /** Requests that may still call its hooks. */
  private inFlight = 0;
  private onIdle: (() => void) | null = null;
  private readonly ignored = new Set<string>();
  private stopped: Promise<void> | null = null;

  constructor(private readonly deps: InstanceDeps) {
    this.plugin = deps.module.plugin;
    this.name = deps.module.name;
    this.spanName = `plugin ${this.name}`;
    this.sources = deps.sources;
    this.counts = deps.counts;
  }

  has(hook: Hook): boolean {
    return this.plugin[hook] !== undefined;
  }

  /** Takes note that a request has begun that may call its hooks. */
  enter(): void {
    this.inFlight++;
  }

  leave(): void {
    this.inFlight--;
    if (this.inFlight === 0) this.onIdle?.();
  }

  /** Gives a log for one request, or with `null` for none, with the plug-in's name in each line. */
  logOf(requestId: string | null): Log {
    return pluginLog(this.deps.log, this.name, requestId);
  }

  /** Tells, once for each, that the plug-in can't set a header field. */
  ignores(field: string): void {
    if (this.ignored.has(field) || this.ignored.size >= MAX_IGNORED) return;
    this.ignored.add(field);
    this.logOf(null).warn("this header field is not a plug-in's to set: it stays as it is", { field });
  }

  /** Stops the plug-in when its last request has ended, `ENDS_WITHIN` milliseconds at the latest. */
  async retire(): Promise<void> {
    if (this.inFlight > 0) {
      const idle = Promise.withResolvers<void>();
      this.onIdle = idle.resolve;
      const timer = setTimeout(idle.resolve, ENDS_WITHIN);
      // A process that stops does not wait for it: `stop` is called then.
      timer.unref();
      await idle.promise;
      clearTimeout(timer);
    }
    await this.stop();
  }

  /** Stops the plug-in now. A second call waits for the first. */
  stop(): Promise<void> {
    this.stopped ??= this.stopOnce();
    this.onIdle?.();
    return this.stopped;
  }

  private async stopOnce(): Promise<void> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error(`stop did not end within ${STOPS_WITHIN / 1000} seconds`)), STOPS_WITHIN);
    try {
      await Promise.race([this.plugin.stop?.(), late.promise]);
    } catch (error) {
      this.logOf(null).error("the plug-in could not be stopped", {
        error: error instanceof Error ? (error.stack ?? error.message) : error,
      });
    } finally {
      clearTimeout(timer);
      forget([this.deps.module.kept]);
      // What it held would stay until much else is thrown away: a reload makes little. This begins beside the requests, and nobody waits.
      Bun.gc(false);
    }
  }
}

/** The fields that every line of the log has of itself: a second one of that name would make two of it. */
const OF_LINES: readonly string[] = ["level", "time", "msg"];

/** Gives a plug-in's fields under names of their own. */
const ownFields = (fields: Readonly<Record<string, unknown>>): object =>
  OF_LINES.some((name) => fields !== null && name in fields)
    ? Object.fromEntries(Object.entries(fields).map(([name, value]) => [OF_LINES.includes(name) ? `${name}_` : name, value]))
    : fields;

/** Makes a plug-in's log. */
export function pluginLog(log: Logger | null, plugin: string, requestId: string | null): Log {
  const write =
    (level: "debug" | "info" | "warn" | "error") =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      if (log?.isLevelEnabled(level))
        log[level]({ ...ownFields(fields), plugin, ...(requestId === null ? {} : { requestId }) }, String(message));
    };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}
