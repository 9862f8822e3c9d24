import { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { findNodeAtLocation, getNodeValue } from "jsonc-parser";
import { issuersSection } from "../issuers/settings.ts";
import { poolsSection } from "../pools/settings.ts";
import { secretsIn } from "../schema/secrets.ts";
import type { Storage } from "../storage/open.ts";
import { isObject } from "../values/json.ts";
import { hashKey } from "../values/key-format.ts";
import { treeOf } from "./tree.ts";

/**
 * Keeps the text of a configuration that came into force. The database holds no secret: keys that stand in the text are replaced by their
 * hashes, and a text with a secret of a pool or an issuer in it (not as "${NAME}") is not kept.
 */
export function keepLastGood(storage: Storage, text: string, now: number): void {
  if (holdsSecret(text)) return;
  const kept = withoutKeys(text);
  const before = storage.client.query<{ text: string }, []>("SELECT text FROM configurations WHERE id = 1").get();
  if (before?.text === kept) return;
  storage.client.query("INSERT OR REPLACE INTO configurations (id, text, at) VALUES (1, ?1, ?2)").run(kept, now);
}

/** Gives the text that was kept, and when; `null` when there is none, or no database. */
export function lastGood(databasePath: string): { text: string; at: number } | null {
  if (!existsSync(databasePath)) return null;
  try {
    // Not read-only: after a crash SQLite has to bring in the write-ahead log first.
    using database = new Database(databasePath, { readwrite: true, create: false });
    return database.query<{ text: string; at: number }, []>("SELECT text, at FROM configurations WHERE id = 1").get();
  } catch {
    // No such table: an older version's database.
    return null;
  }
}

/** Gives the place where a broken file says that the database is; `null` where that can't be read. */
export function storagePathIn(text: string): string | null {
  const { root } = treeOf(text, null);
  const node = root === undefined ? undefined : findNodeAtLocation(root, ["storage", "path"]);
  return node?.type === "string" && !String(node.value).includes("${") ? String(node.value) : null;
}

/** Tells whether a secret of a pool or an issuer stands in the text itself, not as "${NAME}". */
function holdsSecret(text: string): boolean {
  const { root } = treeOf(text, null);
  const value: unknown = root === undefined ? undefined : getNodeValue(root);
  return [poolsSection, issuersSection]
    .flatMap(({ name, schema }) => secretsIn(schema, isObject(value) ? value[name] : undefined))
    .some((secret) => !/^\$\{[^}]*\}$/.test(secret));
}

function withoutKeys(text: string): string {
  const { root } = treeOf(text, null);
  const consumers = root === undefined ? undefined : findNodeAtLocation(root, ["consumers"]);
  const secrets = (consumers?.children ?? [])
    .flatMap((consumer) => findNodeAtLocation(consumer, ["keys"])?.children ?? [])
    .map((node) => (node.type === "object" ? (findNodeAtLocation(node, ["key"]) ?? node) : node))
    .filter((node) => node.type === "string" && !String(node.value).includes("${") && !String(node.value).startsWith("sha256:"));
  // What an alias of YAML names stands in several places of the tree, and in one of the text.
  const places = [...new Map(secrets.map((node) => [node.offset, node])).values()].sort((a, b) => b.offset - a.offset);
  let kept = text;
  // From the last one on, so that the places before it stay right.
  for (const { offset, length, value } of places) {
    const hash = JSON.stringify(`sha256:${hashKey(String(value))}`);
    const end = text.slice(offset, offset + length).endsWith("\n") ? "\n" : "";
    kept = `${kept.slice(0, offset)}${hash}${end}${kept.slice(offset + length)}`;
  }
  return kept;
}
