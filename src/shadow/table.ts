import type { Storage } from "../storage/open.ts";
import type { ShadowCount } from "./counts.ts";

const HOUR = 3_600_000;
const DAY_HOURS = 24;
const WEEK_HOURS = 7 * DAY_HOURS;

/** The most consumers of a limit that have rows of their own in an hour: those that are refused most, then those that call most. */
export const MAX_CONSUMERS = 200;
/** The most limits in an hour, and the most rows of consumers of all limits together: 35 MB in a week at most. */
const MAX_LIMITS = 1000;
const MAX_ROWS = 2000;

/** Says what a limit in shadow has looked at, and what it would have refused. */
export interface Looked {
  readonly requests: number;
  readonly refused: number;
}

/** Holds what was counted in the last day and the last week: 24 and 168 hours, of which the last one goes on. */
export interface Spans {
  readonly day: Looked;
  readonly week: Looked;
}

interface Row {
  readonly whole: number;
  readonly consumer: string;
  readonly dayRequests: number;
  readonly dayRefused: number;
  readonly weekRequests: number;
  readonly weekRefused: number;
}

/** Keeps by the hour what limits in shadow have looked at. */
export class ShadowTable {
  constructor(private readonly storage: Storage) {}

  /** Adds counts to the hour of a time (milliseconds since 1970), all of them or none. Throws `SQLiteError` when the database can't be written. */
  add(at: number, counts: readonly ShadowCount[]): void {
    const { client } = this.storage;
    const hour = at - (at % HOUR);
    const add = client.query(
      "INSERT INTO shadow_hours (hour, owner, limit_name, whole, consumer, requests, refused) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET requests = requests + ?6, refused = refused + ?7",
    );
    const isThere = client.query<{ n: number }, (number | string)[]>(
      "SELECT count(*) AS n FROM shadow_hours WHERE hour = ?1 AND owner = ?2 AND limit_name = ?3 AND whole = ?4 AND consumer = ?5",
    );
    const rows = client.query<{ whole: number; consumers: number }, [number]>(
      "SELECT coalesce(sum(whole), 0) AS whole, coalesce(sum(1 - whole), 0) AS consumers FROM shadow_hours WHERE hour = ?1",
    );
    const trim = client.query(
      "DELETE FROM shadow_hours WHERE hour = ?1 AND owner = ?2 AND limit_name = ?3 AND whole = 0 AND consumer IN (SELECT consumer FROM shadow_hours WHERE hour = ?1 AND owner = ?2 AND limit_name = ?3 AND whole = 0 ORDER BY refused DESC, requests DESC, consumer LIMIT -1 OFFSET ?4)",
    );
    client
      .transaction(() => {
        let { whole: limits, consumers: there } = rows.get(hour) ?? { whole: 0, consumers: 0 };
        for (const { owner, limit, requests, refused, consumers } of counts) {
          const isNew = isThere.get(hour, owner, limit, 1, "")?.n === 0;
          if (isNew && limits >= MAX_LIMITS) continue;
          if (isNew) limits++;
          add.run(hour, owner, limit, 1, "", requests, refused);
          const busiest = [...consumers].sort(([, a, aRefused], [, b, bRefused]) => bRefused - aRefused || b - a).slice(0, MAX_CONSUMERS);
          for (const [consumer, its, itsRefused] of busiest) {
            const isAnother = isThere.get(hour, owner, limit, 0, consumer)?.n === 0;
            if (isAnother && there >= MAX_ROWS) continue;
            if (isAnother) there++;
            add.run(hour, owner, limit, 0, consumer, its, itsRefused);
          }
          there -= trim.run(hour, owner, limit, MAX_CONSUMERS).changes;
        }
      })
      .immediate();
  }

  /** Lists the limits that were counted in the week before `now` and whose owner is of this kind. */
  seen(kind: string, now: number): { readonly owner: string; readonly limit: string }[] {
    return this.storage.client
      .query<{ owner: string; limit: string }, (number | string)[]>(
        "SELECT DISTINCT owner, limit_name AS 'limit' FROM shadow_hours WHERE hour >= ?1 AND whole = 1 AND substr(owner, 1, ?3) = ?2",
      )
      .all(firstHour(now, WEEK_HOURS), `${kind} `, kind.length + 1);
  }

  /** Gives what a limit has looked at in the day and the week before `now`: of all callers, and by consumer, those first that it would have refused most. */
  spans(
    owner: string,
    limit: string,
    now: number,
  ): { readonly whole: Spans; readonly consumers: readonly (Spans & { consumer: string })[] } {
    const week = firstHour(now, WEEK_HOURS);
    const rows = this.storage.client
      .query<Row, (number | string)[]>(
        `WITH RECURSIVE hours(at) AS (SELECT ?1 UNION ALL SELECT at + ${HOUR} FROM hours WHERE at < ?3) SELECT whole, consumer, sum(iif(hour >= ?2, requests, 0)) AS dayRequests, sum(iif(hour >= ?2, refused, 0)) AS dayRefused, sum(requests) AS weekRequests, sum(refused) AS weekRefused FROM hours CROSS JOIN shadow_hours ON hour = at AND owner = ?4 AND limit_name = ?5 GROUP BY whole, consumer ORDER BY weekRefused DESC, weekRequests DESC, consumer`,
      )
      .all(week, firstHour(now, DAY_HOURS), now - (now % HOUR), owner, limit);
    const all = rows.map(({ whole, consumer, dayRequests, dayRefused, weekRequests, weekRefused }) => ({
      whole,
      consumer,
      day: { requests: dayRequests, refused: dayRefused },
      week: { requests: weekRequests, refused: weekRefused },
    }));
    const { day, week: weeks } = all.find(({ whole }) => whole === 1) ?? { day: NOTHING, week: NOTHING };
    return { whole: { day, week: weeks }, consumers: all.filter(({ whole }) => whole === 0).map(({ whole: _, ...spans }) => spans) };
  }

  /** Drops the hours that are older than a week. `now` in milliseconds since 1970. */
  prune(now: number): void {
    this.storage.client.query("DELETE FROM shadow_hours WHERE hour < ?1").run(firstHour(now, WEEK_HOURS));
  }
}

const NOTHING: Looked = { requests: 0, refused: 0 };

const firstHour = (now: number, hours: number): number => now - (now % HOUR) - (hours - 1) * HOUR;
