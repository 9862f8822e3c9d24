import type { Database } from "bun:sqlite";
import type { Kind } from "./kinds.ts";

/** Gives a record's name in Redis. */
export const fieldOf = (kind: string, id: string): string => `${kind}\n${id}`;

/** Gives a record's kind and id. */
export function partsOf(field: string): [Kind, string] {
  const at = field.indexOf("\n");
  // Only fields that `fieldOf` has made are in Redis.
  return [field.slice(0, at) as Kind, field.slice(at + 1)];
}

/** Names a record by its kind and id. */
interface Named {
  readonly kind: Kind;
  readonly id: string;
}

/**
 * Keeps in the database the version that this instance has of each record, deleted ones among them, its own changes that the others don't
 * know of, and how far it has followed theirs.
 */
export class Replicas {
  constructor(private readonly database: Database) {}

  /** Gives the version of a record; 0 for one that was never shared. */
  revOf(field: string): number {
    return (
      this.database.query<{ rev: number }, [string, string]>("SELECT rev FROM replicas WHERE kind = ?1 AND id = ?2").get(...partsOf(field))
        ?.rev ?? 0
    );
  }

  /** Gives the versions of all records that were ever shared, by their fields. */
  versions(): Map<string, number> {
    const versions = new Map<string, number>();
    for (const { kind, id, rev } of this.database.query<Named & { rev: number }, []>("SELECT kind, id, rev FROM replicas").all())
      versions.set(fieldOf(kind, id), rev);
    return versions;
  }

  /** Gives the last version that is known of any record. */
  last(): number {
    return this.database.query<{ rev: number | null }, []>("SELECT max(rev) AS rev FROM replicas").get()?.rev ?? 0;
  }

  /** Notes the version of a record that is here. */
  remember(field: string, rev: number, isDeleted: boolean): void {
    const [kind, id] = partsOf(field);
    this.database
      .query("INSERT OR REPLACE INTO replicas (kind, id, rev, deleted) VALUES (?1, ?2, ?3, ?4)")
      .run(kind, id, rev, isDeleted ? 1 : 0);
  }

  /** Gives the records that were changed here and not passed on, up to a place in the list of changes. */
  unshared(): { until: number; changed: Named[] } {
    const until = this.lastChange();
    if (until === 0) return { until, changed: [] };
    return {
      until,
      changed: this.database.query<Named, [number]>("SELECT DISTINCT kind, id FROM changes WHERE shared = 0 AND seq <= ?1").all(until),
    };
  }

  /** Tells whether a record was changed here and not passed on, as far as is known. */
  isUnshared(field: string): boolean {
    return this.database.query("SELECT 1 FROM changes WHERE kind = ?1 AND id = ?2 AND shared = 0 LIMIT 1").get(...partsOf(field)) !== null;
  }

  /** Gives the place of the last change that is not passed on; 0 when there is none. */
  lastChange(): number {
    return this.database.query<{ seq: number | null }, []>("SELECT max(seq) AS seq FROM changes WHERE shared = 0").get()?.seq ?? 0;
  }

  /** Notes that the others know of a record's changes up to a place in the list. */
  markShared(field: string, until = Number.MAX_SAFE_INTEGER): void {
    const [kind, id] = partsOf(field);
    this.database.query("UPDATE changes SET shared = 1 WHERE kind = ?1 AND id = ?2 AND shared = 0 AND seq <= ?3").run(kind, id, until);
  }

  /** Notes that the others know of all changes up to a place in the list. */
  markAllShared(until = Number.MAX_SAFE_INTEGER): void {
    this.database.query("UPDATE changes SET shared = 1 WHERE seq <= ?1 AND shared = 0").run(until);
  }

  /**
   * Gives the epoch and the stream's last entry that were taken over. Nothing is known before a comparison has come to its end, also when
   * one was begun.
   */
  place(): { epoch: string; position: string } {
    return (
      this.database.query<{ epoch: string; position: string }, []>("SELECT epoch, position FROM replication WHERE id = 1").get() ?? {
        epoch: "",
        position: "0-0",
      }
    );
  }

  /** Notes how far this instance has followed the others. */
  keepPlace(epoch: string, position: string): void {
    this.database.query("INSERT OR REPLACE INTO replication (id, epoch, position) VALUES (1, ?1, ?2)").run(epoch, position);
  }
}
