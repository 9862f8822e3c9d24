import type { Clock } from "../clock.ts";
import type { Storage } from "../storage/open.ts";
import type { CountStore, SavedCount } from "./persistence.ts";

/** Counts of long windows in SQLite. */
export function countRepository(storage: Storage, clock: Clock): CountStore {
  const upsert = storage.client.query(
    "INSERT INTO limit_counts (policy, subject, state, expires_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (policy, subject) DO UPDATE SET state = ?3, expires_at = ?4",
  );
  const find = storage.client.query<{ state: string }, [string, string]>(
    "SELECT state FROM limit_counts WHERE policy = ?1 AND subject = ?2",
  );
  const expire = storage.client.query("DELETE FROM limit_counts WHERE expires_at <= ?1");
  const save = storage.client.transaction((changed: readonly SavedCount[]) => {
    for (const count of changed) upsert.run(count.policy, count.subject, count.state, count.expiresAt);
  });
  return {
    load: (most) => {
      expire.run(clock.wall());
      return storage.client
        .query("SELECT policy, subject, state, expires_at AS expiresAt FROM limit_counts ORDER BY expires_at DESC LIMIT ?1")
        .all(most) as SavedCount[];
    },
    find: (policy, subject) => find.get(policy, subject)?.state ?? null,
    prune: (most) => {
      expire.run(clock.wall());
      const { client } = storage;
      const count = client.query<{ n: number }, []>("SELECT count(*) AS n FROM limit_counts").get()?.n ?? 0;
      if (count <= most) return;
      const { policy = "" } =
        client.query<{ policy: string }, []>("SELECT policy FROM limit_counts GROUP BY policy ORDER BY count(*) DESC LIMIT 1").get() ?? {};
      client
        .query(
          "DELETE FROM limit_counts WHERE policy = ?1 AND subject IN (SELECT subject FROM limit_counts WHERE policy = ?1 ORDER BY expires_at LIMIT ?2)",
        )
        .run(policy, count - most);
    },
    save: (changed) => save.immediate(changed),
    remove: (policy, subject) =>
      void storage.client.query("DELETE FROM limit_counts WHERE policy = ?1 AND subject = ?2").run(policy, subject),
  };
}
