import type { Activities } from "../activities/activities.ts";
import { timeText } from "../http/conventions.ts";
import type { Storage } from "../storage/open.ts";
import type { Clock } from "../values/clock.ts";
import { eventOf, type WebhookEvent, type WebhookEvents } from "./events.ts";

const DAY = 86_400_000;
/** The most keys that one look tells of: the next one tells of the others. */
const KEYS_AT_ONCE = 1000;
/** Milliseconds between two looks at the keys that expire. */
const LOOK_AT_KEYS_EVERY = 60_000;
/** Milliseconds that a sink may be behind, and for which it is not told again. */
const LAGS_AFTER = 10 * 60_000;
const LAGS_AGAIN_AFTER = 3_600_000;

/** A key that expires. */
export interface ExpiringKey {
  readonly id: string;
  readonly consumer: string;
  readonly name: string | null;
  readonly start: string;
  readonly end: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

export interface KeyWatchDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly events: WebhookEvents;
  /** Gives the keys that the file declares and that expire after the one time and until the other. */
  readonly declared: (after: number, until: number) => readonly ExpiringKey[];
}

const WINDOWS = [
  ["1d", 0, DAY],
  ["7d", DAY, 7 * DAY],
] as const;

const markOf = ({ id, expiresAt }: Pick<ExpiringKey, "id" | "expiresAt">, within: string): string =>
  `key.expiring:${id}:${expiresAt}:${within}`;

/** Tells of keys that expire within a week, and again of those that do within a day. */
export class KeyWatch {
  private nextAt = 0;

  constructor(private readonly deps: KeyWatchDeps) {}

  /** Looks, if the last time is long enough ago; for a timer. */
  look(): void {
    const { clock, events, declared } = this.deps;
    const now = clock.wall();
    if (now < this.nextAt || !events.wants("key.expiring")) return;
    this.nextAt = now + LOOK_AT_KEYS_EVERY;
    for (const [within, from, to] of WINDOWS)
      for (const key of [...this.stored(now + from, now + to, within), ...declared(now + from, now + to)]) {
        const { id, expiresAt, ...rest } = key;
        const once = { name: markOf(key, within), until: expiresAt + DAY };
        events.put(eventOf("key.expiring", { key: id, ...rest, expiresAt: timeText(expiresAt) ?? "", within }, { once }));
      }
  }

  /** Gives keys of which it was not told yet. */
  private stored(after: number, until: number, within: string): ExpiringKey[] {
    // The marks are asked here, so that a million keys of which is told already are not read again and again. They have the form of `markOf`.
    const untold = this.deps.storage.client.query<ExpiringKey, [number, number, string, number]>(
      `SELECT id, consumer, name, start, "end", expires_at AS expiresAt FROM keys INDEXED BY keys_expires
       WHERE expires_at IS NOT NULL AND revoked_at IS NULL AND expires_at > ?1 AND expires_at <= ?2
       AND NOT EXISTS (SELECT 1 FROM webhook_marks WHERE webhook_marks.name = 'key.expiring:' || keys.id || ':' || keys.expires_at || ':' || ?3)
       ORDER BY expires_at LIMIT ?4`,
    );
    return untold.all(after, until, within, KEYS_AT_ONCE);
  }
}

export interface SinkWatchDeps {
  readonly clock: Clock;
  readonly events: WebhookEvents;
  /** Gives what takes activities; `null` while there is nothing. */
  readonly activities: () => Pick<Activities, "stats"> | null;
  readonly tell: (event: WebhookEvent) => void;
}

/** Tells of sinks of activities that are far behind. */
export class SinkWatch {
  private readonly lagging = new Set<string>();
  private isAsking = false;

  constructor(private readonly deps: SinkWatchDeps) {}

  /** Looks once; for a timer. */
  async look(): Promise<void> {
    const { clock, events, activities, tell } = this.deps;
    if (this.isAsking || !events.wants("sink.lagging")) return;
    this.isAsking = true;
    try {
      const sinks = (await activities()?.stats())?.sinks ?? [];
      for (const { name, state, waiting, lag } of sinks) {
        if (lag === null || lag < LAGS_AFTER) {
          this.lagging.delete(name);
          continue;
        }
        if (this.lagging.has(name)) continue;
        this.lagging.add(name);
        const once = { name: `sink.lagging:${name}`, until: clock.wall() + LAGS_AGAIN_AFTER };
        tell(eventOf("sink.lagging", { sink: name, state, waiting, lag: Math.round(lag / 1000) }, { once }));
      }
    } catch {
      // Its thread does not answer, which is told elsewhere.
    } finally {
      this.isAsking = false;
    }
  }
}
