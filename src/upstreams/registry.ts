import type { OwnTls, UpstreamClient } from "../http/client.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { HealthChecker, type OnChecked } from "./health-check.ts";
import type { UpstreamConfig } from "./settings.ts";
import { BackendFiles } from "./tls-files.ts";
import { type OnBreaker, Upstream } from "./upstream.ts";

export interface UpstreamsDeps {
  readonly clock: Clock;
  readonly client: UpstreamClient;
  /** Tells of breakers that change, and of targets that are found up or down. */
  readonly emit: Emit;
  readonly random: () => number;
  /** Learns of the results of health checks; `null`: another process makes them. */
  readonly onChecked: OnChecked | null;
}

interface Entry {
  readonly config: UpstreamConfig;
  /** What stands in its files; `null`: it names none. */
  readonly tls: OwnTls | null;
  readonly upstream: Upstream;
  checker: HealthChecker | null;
}

/** Keeps the upstreams in force. A new configuration gets those that did not change as they are, and the state of targets that stayed. */
export class Upstreams {
  /** What stands in the files that they name. */
  readonly files = new BackendFiles();
  private inForce = new Map<string, Entry>();

  private readonly onBreaker: OnBreaker;

  constructor(private readonly deps: UpstreamsDeps) {
    this.onBreaker = (upstream, target, from, to, cause) => deps.emit({ type: "breaker", upstream, target, from, to, cause });
  }

  /** Begins a new set. Nothing changes before `commit`. */
  draft(): Draft {
    const next = new Map<string, Entry>();
    return {
      obtain: (name, config) => {
        const known = next.get(name);
        if (known !== undefined) return known.upstream;
        const before = this.inForce.get(name);
        const tls = this.files.of(config.tls);
        const isSame = before !== undefined && before.tls === tls && Bun.deepEquals(before.config, config);
        const entry = isSame
          ? before
          : { config, tls, upstream: new Upstream(name, config, this.deps.clock, this.onBreaker, before?.upstream, tls), checker: null };
        next.set(name, entry);
        return entry.upstream;
      },
      commit: () => {
        for (const [name, entry] of this.inForce) if (next.get(name) !== entry) entry.checker?.close();
        this.inForce = next;
        this.files.keep([...next.values()].map(({ config }) => config.tls));
        for (const entry of next.values()) this.watch(entry);
      },
    };
  }

  /** Gives the upstream of this name; `undefined`: there is none. */
  named(name: string): Upstream | undefined {
    return this.inForce.get(name)?.upstream;
  }

  all(): Upstream[] {
    return [...this.inForce.values()].map(({ upstream }) => upstream);
  }

  close(): void {
    for (const { checker } of this.inForce.values()) checker?.close();
  }

  private watch(entry: Entry): void {
    const { upstream } = entry;
    const { client, emit, random, clock, onChecked } = this.deps;
    if (onChecked === null || entry.checker !== null || upstream.healthCheck === null) return;
    entry.checker = new HealthChecker(upstream, upstream.healthCheck, client, emit, random, clock, onChecked);
    entry.checker.start();
  }
}

export interface Draft {
  /** Gives the upstream of this name with this configuration. */
  obtain(name: string, config: UpstreamConfig): Upstream;
  /** Puts the set in force: upstreams that were not obtained are gone. */
  commit(): void;
}
