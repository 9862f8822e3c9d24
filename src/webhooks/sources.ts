import type { Actor, AuditedChange } from "../audit/audit.ts";
import { timeText } from "../http/conventions.ts";
import { faultLines } from "../schema/faults.ts";
import type { Subscriber } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { isObject } from "../values/json.ts";
import type { EventData } from "./event-types.ts";
import { eventOf, type WebhookEvent } from "./events.ts";

/** The most lines of faults that an event holds. */
const MAX_FAULTS = 20;
/** Milliseconds for which an empty pool is not told again. */
const EMPTY_AGAIN_AFTER = 5 * 60_000;
/** Milliseconds within which instances tell each other what all of them see. */
const SHARED_FOR = 3_600_000;

/** Gives the event that a row of the audit means; `null`: none. It is written down in one transaction with the row. */
export function eventOfChange({ action, subject, before, after }: AuditedChange, { name: by }: Actor): WebhookEvent | null {
  const key = (count: number, row: unknown): EventData<"key.created"> => ({
    key: count === 1 ? subject.replace(/^key /, "") : null,
    count,
    ...{ consumer: textIn(row, "consumer"), name: textIn(row, "name"), start: textIn(row, "start"), end: textIn(row, "end") },
    ...{ expiresAt: textIn(row, "expiresAt"), by },
  });
  switch (action) {
    case "key.create":
      return eventOf("key.created", key(1, after));
    case "key.import":
      return eventOf("key.created", { ...key(keysIn(after), {}), key: null });
    case "key.rotate":
      return eventOf("key.rotated", key(1, after));
    case "key.revoke":
      return eventOf("key.revoked", key(1, after));
    case "consumer.delete": {
      const count = keysIn(before);
      return count === 0 ? null : eventOf("key.revoked", { ...key(count, {}), key: null, consumer: subject.replace(/^consumer /, "") });
    }
    case "block.create":
      return eventOf("block.made", {
        ip: textIn(after, "cidr") ?? "",
        reason: textIn(after, "reason") ?? "",
        by: textIn(after, "by") ?? by,
        expiresAt: isObject(after) && typeof after.expiresAt === "number" ? timeText(after.expiresAt) : null,
      });
    default:
      return null;
  }
}

const textIn = (row: unknown, field: string): string | null => (isObject(row) && typeof row[field] === "string" ? row[field] : null);

const keysIn = (row: unknown): number => (isObject(row) && Array.isArray(row.keys) ? row.keys.length : 0);

export interface SourcesDeps {
  readonly clock: Clock;
  /** The configuration's file; `null`: the embedded demo. */
  readonly file: string | null;
  /** Takes what has happened here. */
  readonly tell: (event: WebhookEvent) => void;
}

/** Says what happens by this process' own doing, in a worker as well: another that follows it tells nothing. */
export const ofEachProcess = ({ clock, tell }: SourcesDeps): Subscriber => {
  /** The time until which an empty pool is not told again, by its name. Pools stand in the configuration: there are few. */
  const quiet = new Map<string, number>();
  return {
    breaker: ({ upstream, target: { url: target }, from, to, cause }) => {
      if (from === to || cause === "process" || cause === "shared") return;
      // One whose probe has failed was open before.
      if (to === "open" && (from === "closed" || cause === "admin")) tell(eventOf("breaker.opened", { upstream, target, cause }));
      if (to === "closed") tell(eventOf("breaker.closed", { upstream, target, cause }));
    },
    lease: ({ pool, user, lease }) => {
      if (lease.granted || !Number.isFinite(lease.retryIn)) return;
      const now = clock.wall();
      if (now < (quiet.get(pool) ?? 0)) return;
      const until = now + EMPTY_AGAIN_AFTER;
      quiet.set(pool, until);
      // Other processes and instances see it as well.
      tell(
        eventOf("pool.empty", { pool, user, retryIn: Math.ceil(lease.retryIn / 1000) }, { once: { name: `pool.empty:${pool}`, until } }),
      );
    },
  };
};

/** Says what the keeper finds out, or a gateway of one process. */
export const ofKeeper = ({ clock, file, tell }: SourcesDeps): Subscriber => {
  /** Why each certificate is not well, by its name: each try that fails says it again. */
  const failing = new Map<string, string>();
  return {
    health: ({ before, after: { status, by, reason }, origin }) => {
      if (origin !== "here" || before.status === status) return;
      const data = { from: before.status, to: status, by, reason: reason ?? null };
      // All instances see that its time is over.
      const isShared = by === "ttl" && before.until !== null;
      tell(
        eventOf("health.changed", data, isShared ? { shared: { name: `health:${before.until}`, until: clock.wall() + SHARED_FOR } } : {}),
      );
    },
    target: ({ upstream, target: { url: target }, isHealthy, why, origin }) => {
      if (!isHealthy && origin === "here") tell(eventOf("target.down", { upstream, target, why }));
    },
    reload: ({ trigger, faults }) => {
      if (faults.length > 0) tell(eventOf("config.refused", { trigger, faults: faultLines(file, faults).slice(0, MAX_FAULTS) }));
    },
    certificateFailing: ({ name, why, nextAt }) => {
      if (why === null) failing.delete(name);
      else if (failing.get(name) !== why) {
        failing.set(name, why);
        tell(eventOf("certificate.failing", { name, why, nextAt: timeText(nextAt) }));
      }
    },
    certificateReplaced: ({ names, endsAt }) =>
      tell(eventOf("certificate.renewed", { names: [...names], source: "file", endsAt: new Date(endsAt).toISOString() })),
    certificateOrdered: ({ host, endsAt }) =>
      tell(eventOf("certificate.renewed", { names: [host], source: "acme", endsAt: new Date(endsAt).toISOString() })),
  };
};
