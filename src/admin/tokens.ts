import { timingSafeEqual } from "node:crypto";
import type { Clock } from "../clock.ts";
import { hashKey, randomText } from "../keys/format.ts";
import type { Storage } from "../storage/open.ts";
import { adminTokens } from "../storage/schema.ts";

/** Who may use the admin API: whoever shows the token of SLUICE_ADMIN_TOKEN, or, without one, the token made at the first start. */
export class AdminTokens {
  private constructor(private readonly hashes: readonly Buffer[]) {}

  /** `made` is the token when one was made now: to be shown once, since only its hash is kept. */
  static open(storage: Storage, clock: Clock, given: string | undefined): { tokens: AdminTokens; made: string | null } {
    if (given !== undefined && given !== "") return { tokens: new AdminTokens([digest(given)]), made: null };
    // Two processes that start together must not both make one.
    return storage.db.transaction(() => AdminTokens.stored(storage, clock), { behavior: "immediate" });
  }

  private static stored(storage: Storage, clock: Clock): { tokens: AdminTokens; made: string | null } {
    const stored = storage.db.select({ hash: adminTokens.hash }).from(adminTokens).all();
    if (stored.length > 0) return { tokens: new AdminTokens(stored.map(({ hash }) => Buffer.from(hash, "hex"))), made: null };
    const token = `slat_${randomText(40)}`;
    storage.db
      .insert(adminTokens)
      .values({ id: "first", name: "first", hash: hashKey(token), createdAt: clock.wall() })
      .run();
    return { tokens: new AdminTokens([digest(token)]), made: token };
  }

  /** Whether an Authorization field shows an admin token. */
  isShownIn(authorization: string | null): boolean {
    const token = bearerOf(authorization);
    return token !== null && this.holds(token);
  }

  /** Compares hashes of one length in constant time: neither the token's length nor its beginning can be measured. */
  holds(token: string): boolean {
    const shown = digest(token);
    let found = false;
    for (const hash of this.hashes) found = timingSafeEqual(shown, hash) || found;
    return found;
  }
}

/** The token of `Authorization: Bearer TOKEN`, or `null`. */
export const bearerOf = (authorization: string | null): string | null => /^bearer +(\S+) *$/i.exec(authorization ?? "")?.[1] ?? null;

const digest = (token: string): Buffer => Buffer.from(hashKey(token), "hex");
