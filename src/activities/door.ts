import type { Answerer } from "../exchange/line.ts";
import type { RedisConfig } from "../redis/settings.ts";
import { activitiesPathOf } from "../storage/files.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { parseSize } from "../values/units.ts";
import { Activities, checkUsable, compileActivities } from "./activities.ts";
import type { ActivitiesConfig } from "./settings.ts";

export interface ActivitiesDoorDeps {
  /** The path of the gateway's own database, beside which the activities' lies unless the configuration says otherwise. */
  readonly databasePath: string;
  /** The address of the thread's entry point. */
  readonly worker: string;
  /** Redis, which then holds the queue; `null`: the queue is in the file. */
  readonly redis: RedisConfig | null;
  /** Gives the configuration in force. */
  readonly config: () => { readonly activities: ActivitiesConfig | null; readonly server: { readonly maxBodySize: string } };
  readonly clock: Clock;
  readonly emit: Emit;
}

/**
 * Opens `Activities` when the configuration first wants it. Once opened it stays open: when it is turned off again, what waits is applied
 * all the same.
 */
export class ActivitiesDoor {
  private opened: Activities | null = null;

  constructor(private readonly deps: ActivitiesDoorDeps) {}

  /** Gives what was opened; `null` when no configuration ever wanted it. */
  get current(): Activities | null {
    return this.opened;
  }

  /** Gives what was opened while the configuration wants it; otherwise `null`. */
  get wanted(): Activities | null {
    return this.deps.config().activities === null ? null : this.opened;
  }

  /** Gives what answers requests to the endpoint; `null` while there is none. */
  get answerer(): Answerer | null {
    const { wanted } = this;
    if (wanted === null) return null;
    return (exchange) => {
      exchange.trace?.enter("activities", this.deps.clock.now());
      return wanted.answer(exchange);
    };
  }

  /** Puts the rules in force that the configuration has now. Throws `StorageError` where the file can't be used. */
  configure(): void {
    const { databasePath, worker, redis, config, clock, emit } = this.deps;
    const settings = config().activities;
    if (settings === null) return;
    const policy = compileActivities(settings);
    if (this.opened !== null) {
      this.opened.configure(policy);
      return;
    }
    const path = activitiesPathOf(settings.path, databasePath);
    this.opened = new Activities({
      opening: { path, databasePath, redis, queue: settings.queue, sinks: settings.sinks },
      worker,
      policy,
      maxBodySize: () => parseSize(config().server.maxBodySize),
      clock,
      emit,
    });
  }

  /** Tells why these settings can't be used, which would be opened now; `null` when they can. */
  whyUnusable({ path, sinks }: ActivitiesConfig): string | null {
    if (this.opened !== null) return null;
    try {
      const { databasePath } = this.deps;
      checkUsable({ path: activitiesPathOf(path, databasePath), databasePath, sinks });
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Ends when what was accepted is written down. Gives true when the database is whole in its one file. */
  async close(): Promise<boolean> {
    return this.opened === null || this.opened.close();
  }
}
