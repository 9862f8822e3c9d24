import type { Storage } from "../storage/open.ts";
import type { Clock } from "../values/clock.ts";
import type { CountStore, SavedCount } from "./persistence.ts";

/**
 * The most rows that one pruning removes, since it must not hold up requests; and the number of calls between two counts of all rows, which
 * take longer.
 */
const BATCH = 5000;
const COUNTED_EVERY = 60;

/** Opens the store of counts of long windows in SQLite. */
export function countRepository(storage: Storage, clock: Clock): CountStore {
  const upsert = storage.client.query(
    "INSERT INTO limit_counts (policy, subject, state, expires_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (policy, subject) DO UPDATE SET state = ?3, expires_at = ?4",
  );
  const find = storage.client.query<{ state: string }, [string, string]>(
    "SELECT state FROM limit_counts WHERE policy = ?1 AND subject = ?2",
  );
  const expireSome = storage.client.query(
    "DELETE FROM limit_counts WHERE rowid IN (SELECT rowid FROM limit_counts WHERE expires_at <= ?1 LIMIT ?2)",
  );
  const count = storage.client.query<{ n: number }, []>("SELECT count(*) AS n FROM limit_counts");
  const findLargest = storage.client.query<{ policy: string }, []>(
    "SELECT policy FROM limit_counts GROUP BY policy ORDER BY count(*) DESC LIMIT 1",
  );
  const removeSome = storage.client.query(
    "DELETE FROM limit_counts WHERE rowid IN (SELECT rowid FROM limit_counts INDEXED BY limit_counts_expires WHERE policy = ?1 ORDER BY expires_at LIMIT ?2)",
  );
  let calls = 0;
  let excess = 0;
  let largest = "";
  const expire = storage.client.query("DELETE FROM limit_counts WHERE expires_at <= ?1");
  const save = storage.client.transaction((changed: readonly SavedCount[]) => {
    for (const count of changed) upsert.run(count.policy, count.subject, count.state, count.expiresAt);
  });
  return {
    load: (max) => {
      if (!storage.isOnlyRead) expire.run(clock.wall());
      return storage.client
        .query(
          "SELECT policy, subject, state, expires_at AS expiresAt FROM limit_counts WHERE expires_at > ?2 ORDER BY expires_at DESC LIMIT ?1",
        )
        .all(max, clock.wall()) as SavedCount[];
    },
    find: (policy, subject) => find.get(policy, subject)?.state ?? null,
    prune: (max) => {
      if (storage.isOnlyRead) return;
      expireSome.run(clock.wall(), BATCH);
      if (calls++ % COUNTED_EVERY === 0) {
        excess = (count.get()?.n ?? 0) - max;
        if (excess > 0) largest = findLargest.get()?.policy ?? "";
      }
      if (excess <= 0) return;
      removeSome.run(largest, Math.min(excess, BATCH));
      excess -= BATCH;
    },
    save: (changed) => save.immediate(changed),
    remove: (policy, subject) =>
      void storage.client.query("DELETE FROM limit_counts WHERE policy = ?1 AND subject = ?2").run(policy, subject),
  };
}
