import type { Clock } from "../clock.ts";
import type { Storage } from "../storage/open.ts";
import type { CountStore, SavedCount } from "./persistence.ts";

/** Counts of long windows in SQLite. */
export function countRepository(storage: Storage, clock: Clock): CountStore {
  const upsert = storage.client.query(
    "INSERT INTO limit_counts (policy, subject, state, expires_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (policy, subject) DO UPDATE SET state = ?3, expires_at = ?4",
  );
  const expire = storage.client.query("DELETE FROM limit_counts WHERE expires_at <= ?1");
  const save = storage.client.transaction((changed: readonly SavedCount[]) => {
    for (const count of changed) upsert.run(count.policy, count.subject, count.state, count.expiresAt);
  });
  return {
    load: () => {
      expire.run(clock.wall());
      return storage.client.query("SELECT policy, subject, state, expires_at AS expiresAt FROM limit_counts").all() as SavedCount[];
    },
    save: (changed) => save.immediate(changed),
    remove: (policy, subject) =>
      void storage.client.query("DELETE FROM limit_counts WHERE policy = ?1 AND subject = ?2").run(policy, subject),
  };
}
