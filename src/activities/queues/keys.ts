import type { Database } from "bun:sqlite";
import type { IdempotencyKey, PutResult } from "./queue.ts";

/** The milliseconds for which a key is remembered. */
export const REMEMBERED_FOR = 86_400_000;

/** Remembers for a day which batch was sent under which Idempotency-Key. Called within transactions. */
export class IdempotencyKeys {
  constructor(private readonly client: Database) {}

  /** Takes a key for a body, unless it is taken. `isAccepted`: false while the batch is still on its way into another queue. */
  claim({ key, body }: IdempotencyKey, now: number, isAccepted: boolean): PutResult {
    const found = this.client
      .query<{ body: string; isAccepted: number; at: number }, [string]>(
        "SELECT body, is_accepted AS isAccepted, at FROM sluice_keys WHERE key = ?1",
      )
      .get(key);
    if (found !== null && found.at > now - REMEMBERED_FOR) {
      if (found.body !== body) return "mismatch";
      if (found.isAccepted === 1) return "repeated";
    }
    this.client
      .query("INSERT OR REPLACE INTO sluice_keys (key, body, is_accepted, at) VALUES (?1, ?2, ?3, ?4)")
      .run(key, body, isAccepted ? 1 : 0, now);
    return "put";
  }

  /** Notes that the batches under these keys are in the queue. */
  accepted(keys: readonly IdempotencyKey[]): void {
    const note = this.client.query("UPDATE sluice_keys SET is_accepted = 1 WHERE key = ?1");
    for (const { key } of keys) note.run(key);
  }

  /** Forgets a bounded number of keys that are old enough. Gives their number. */
  prune(now: number): number {
    return this.client
      .query("DELETE FROM sluice_keys WHERE key IN (SELECT key FROM sluice_keys WHERE at < ?1 ORDER BY at LIMIT 5000)")
      .run(now - REMEMBERED_FOR).changes;
  }
}

export const digest = (text: string): string => new Bun.CryptoHasher("sha256").update(text).digest("hex");

/** Makes a batch's id of what it was sent under: the same key and body give the same ids, in whatever instance they arrive (RFC 9562, UUIDv8). */
export function idOf({ key, body }: IdempotencyKey): string {
  const hash = digest(`${key} ${body}`);
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-a${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
}

/** Tells whether a batch's id was made of a key: it may have come before, longer ago than keys are remembered. */
export const isOfKey = (batch: string): boolean => batch[14] === "8";
