import { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { findNodeAtLocation } from "jsonc-parser";
import type { Storage } from "../storage/open.ts";
import { hashKey } from "../values/key-format.ts";
import { edited } from "./edits.ts";
import { isInTheClear, maskedUrl, secretPlaces } from "./secret-places.ts";
import { treeOf } from "./tree.ts";

/** Seals a text, so that only who has SLUICE_SECRET can read it. */
export interface Seal {
  readonly canSeal: boolean;
  seal(text: string): string;
  /** Throws where it can't be opened. */
  openIfSealed(text: string): string;
}

/**
 * Keeps the text of a configuration that came into force. The database holds no secret: keys that stand in the text are replaced by their
 * hashes, and a text with another secret in it (not as "${NAME}") is sealed, or not kept where it can't be.
 */
export function keepLastGood(storage: Storage, text: string, now: number, seal: Seal): void {
  const kept = withoutKeys(text);
  const isSecret = holdsSecret(kept);
  const before = storage.client.query<{ text: string }, []>("SELECT text FROM configurations WHERE id = 1").get();
  if (isSecret && !seal.canSeal) {
    // An earlier version knew of fewer secrets.
    if (before !== null && holdsSecret(before.text)) storage.client.query("DELETE FROM configurations WHERE id = 1").run();
    return;
  }
  if (!isSecret && before?.text === kept) return;
  storage.client
    .query("INSERT OR REPLACE INTO configurations (id, text, at) VALUES (1, ?1, ?2)")
    .run(isSecret ? seal.seal(kept) : kept, now);
}

/** Gives the text that was kept, and when; `null` when there is none, or no database. */
export function lastGood(databasePath: string, seal: Seal): { text: string; at: number } | null {
  if (!existsSync(databasePath)) return null;
  try {
    // Not read-only: after a crash SQLite has to bring in the write-ahead log first.
    using database = new Database(databasePath, { readwrite: true, create: false });
    const kept = database.query<{ text: string; at: number }, []>("SELECT text, at FROM configurations WHERE id = 1").get();
    return kept === null ? null : { ...kept, text: seal.openIfSealed(kept.text) };
  } catch {
    // No such table: an older version's database. Or it was sealed under another SLUICE_SECRET.
    return null;
  }
}

/** Gives the place where a broken file says that the database is; `null` where that can't be read. */
export function storagePathIn(text: string): string | null {
  const { root } = treeOf(text, null);
  const node = root === undefined ? undefined : findNodeAtLocation(root, ["storage", "path"]);
  return node?.type === "string" && !String(node.value).includes("${") ? String(node.value) : null;
}

/** Tells whether a secret stands in the text itself, not as "${NAME}". */
function holdsSecret(text: string): boolean {
  // Of what is sealed there is no tree with a section in it.
  const { root } = treeOf(text, null);
  return (root?.type === "object" ? secretPlaces(root) : []).some(({ node, isUrl }) => {
    const secret = String(node.value);
    // A user's name by itself is none.
    return isUrl ? maskedUrl(secret, "") !== secret && !/\/\/[^/@]*:\$\{[^}]*\}@/.test(secret) : isInTheClear(secret);
  });
}

function withoutKeys(text: string): string {
  const { root } = treeOf(text, null);
  const consumers = root === undefined ? undefined : findNodeAtLocation(root, ["consumers"]);
  const secrets = (consumers?.children ?? [])
    .flatMap((consumer) => findNodeAtLocation(consumer, ["keys"])?.children ?? [])
    .map((node) => (node.type === "object" ? (findNodeAtLocation(node, ["key"]) ?? node) : node))
    .filter((node) => node.type === "string" && !String(node.value).includes("${") && !String(node.value).startsWith("sha256:"));
  return edited(
    text,
    secrets.map((node) => ({ node, text: `sha256:${hashKey(String(node.value))}` })),
  );
}
