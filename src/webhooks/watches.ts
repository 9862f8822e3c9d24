import type { Activities } from "../activities/activities.ts";
import { timeText } from "../http/conventions.ts";
import type { Storage } from "../storage/open.ts";
import type { Clock } from "../values/clock.ts";
import { eventOf, type WebhookEvent, type WebhookEvents } from "./events.ts";

const DAY = 86_400_000;
/** The most keys that one look sees, and tells of: the next one goes on there, since requests wait meanwhile. */
const SEEN_AT_ONCE = 5000;
const TOLD_AT_ONCE = 200;
/** Milliseconds between the beginnings of two rounds through the keys that expire, at least. */
const ROUND_EVERY = 60_000;
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
type Within = (typeof WINDOWS)[number][0];

const markOf = ({ id, expiresAt }: Pick<ExpiringKey, "id" | "expiresAt">, within: string): string =>
  `key.expiring:${id}:${expiresAt}:${within}`;

/** The keys at one time from a row on, and those that expire later: SQLite finds either in the index, but not both at once. */
const SAME_TIME = "expires_at = ?1 AND rowid > ?2";
const LATER = "expires_at > ?1 AND expires_at <= ?2";

/** A place among the keys by the time at which they expire. */
interface Place {
  readonly at: number;
  /** The last that was seen of those that expire at that time; `null`: all were. */
  readonly row: number | null;
}

/** What is left of a round: windows of which each is from its place on and up to a time. */
interface Left {
  readonly within: Within;
  readonly from: Place;
  readonly until: number;
}

/** Tells of keys that expire within a week, and again of those that do within a day. */
export class KeyWatch {
  private nextAt = 0;
  private left: readonly Left[] = [];

  constructor(private readonly deps: KeyWatchDeps) {}

  /** Looks at some keys: those that come next in a round, or the first ones, if the last round began long enough ago. For a timer. */
  look(): void {
    const { clock, events, storage } = this.deps;
    const now = clock.wall();
    if (!events.wants("key.expiring")) return;
    if (this.left.length === 0) {
      if (now < this.nextAt) return;
      this.nextAt = now + ROUND_EVERY;
      this.left = WINDOWS.map(([within, from, to]) => ({
        within,
        from: { at: now + from, row: null },
        until: now + to,
      }));
      for (const { within, from, until } of this.left) this.tell(this.deps.declared(from.at, until), within);
    }
    const [next] = this.left;
    // One transaction for all: each would wait for the disk.
    if (next !== undefined) storage.client.transaction(() => this.goOn(next)).immediate();
  }

  /** Tells of the keys that come next in a window. */
  private goOn({ within, from, until }: Left): void {
    const { client } = this.deps.storage;
    const portion = `SELECT expires_at AS at, rowid AS row FROM keys INDEXED BY keys_expires
      WHERE expires_at IS NOT NULL AND revoked_at IS NULL AND ${from.row === null ? LATER : SAME_TIME} ORDER BY expires_at, rowid`;
    const to = from.row ?? until;
    const end = client.query<Place, [number, number, number]>(`${portion} LIMIT 1 OFFSET ?3`).get(from.at, to, SEEN_AT_ONCE - 1);
    // The marks are asked here, so that keys of which is told already are not read again and again. They have the form of `markOf`.
    const untold = client
      .query<ExpiringKey & { readonly row: number }, [number, number, number, string, number]>(
        `SELECT id, consumer, name, start, "end", expires_at AS expiresAt, row FROM (${portion} LIMIT ?3) CROSS JOIN keys ON keys.rowid = row
         WHERE NOT EXISTS (SELECT 1 FROM webhook_marks WHERE webhook_marks.name = 'key.expiring:' || keys.id || ':' || at || ':' || ?4)
         ORDER BY at, row LIMIT ?5`,
      )
      .all(from.at, to, SEEN_AT_ONCE, within, TOLD_AT_ONCE);
    this.tell(
      untold.map(({ row, ...key }) => key),
      within,
    );
    const last = untold.length < TOLD_AT_ONCE ? undefined : untold.at(-1);
    const allOfTime = from.row === null ? null : { at: from.at, row: null };
    const next = last === undefined ? (end ?? allOfTime) : { at: last.expiresAt, row: last.row };
    const [, ...others] = this.left;
    this.left = next === null ? others : [{ within, from: next, until }, ...others];
  }

  private tell(keys: readonly ExpiringKey[], within: Within): void {
    for (const key of keys) {
      const { id, expiresAt, ...rest } = key;
      const once = { name: markOf(key, within), until: expiresAt + DAY };
      this.deps.events.put(eventOf("key.expiring", { key: id, ...rest, expiresAt: timeText(expiresAt) ?? "", within }, { once }));
    }
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
