import type { Database } from "bun:sqlite";
import type { Storage } from "../storage/open.ts";

/** Collects what became invalid after a backup was made. To restore the backup unchanged would make it valid again. */
export interface Revocations {
  /** Keys that were revoked, or deleted with their consumer. */
  readonly keys: Set<string>;
  /** Keys whose secret was exchanged, with the columns that say so. */
  readonly rotated: Map<string, KeySecret>;
  /** Keys that were changed since, and whether they are good. */
  readonly keyStates: Map<string, State>;
  /** Consumers that were changed since, and whether they are good. */
  readonly consumerStates: Map<string, State>;
  /** Admin tokens that were revoked. */
  readonly tokens: Set<string>;
  /** The first admin token, where another was put in its place. */
  firstToken: { readonly hash: string; readonly createdAt: number } | null;
}

/** Holds the columns of a key that a rotation changes. */
export interface KeySecret {
  readonly hash: string;
  readonly previous_hash: string | null;
  readonly previous_expires_at: number | null;
  readonly start: string;
  readonly end: string;
  readonly version: number;
}

/** Tells whether a key or a consumer is enabled, as of a version of it. */
interface State {
  readonly isEnabled: boolean;
  readonly version: number;
}

/** Holds a record by its kind, as another copy of the records has it; `null`: it was deleted there. */
type Row = Readonly<Record<string, string | number | null>>;

export const noRevocations = (): Revocations => ({
  keys: new Set(),
  rotated: new Map(),
  keyStates: new Map(),
  consumerStates: new Map(),
  tokens: new Set(),
  firstToken: null,
});

/**
 * Finds what `now`, the database that the backup takes the place of, says of revocations since. Throws what SQLite throws when that file
 * can't be read.
 */
export function revokedSince(backup: Storage, now: Database, found: Revocations): void {
  const keys = now.query<Row & { id: string }, []>(
    "SELECT id, hash, previous_hash, previous_expires_at, start, end, version, revoked_at, enabled, updated_at FROM keys",
  );
  for (const row of keys.iterate()) compareKey(backup, row.id, row, found);
  const consumers = now.query<Row & { id: string }, []>("SELECT id, version, enabled, updated_at FROM consumers");
  for (const row of consumers.iterate()) compareConsumer(backup, row.id, row, found);
  // What was deleted has no row any more, but the audit tells of it: as far as it is the backup's own, continued.
  for (const { action, subject, before } of auditSince(backup.client, now)) {
    if (action === "token.revoke") found.tokens.add(subject.slice("token ".length));
    if (action === "consumer.delete") for (const id of keysIn(before)) found.keys.add(id);
  }
  const first = now.query<{ hash: string; createdAt: number }, []>(
    "SELECT hash, created_at AS createdAt FROM admin_tokens WHERE id = 'first'",
  );
  const [ours, theirs] = [first.get(), backup.client.query<{ hash: string; createdAt: number }, []>(FIRST_TOKEN).get()];
  if (ours !== null && theirs !== null && ours.hash !== theirs.hash && ours.createdAt > theirs.createdAt) found.firstToken = ours;
}

const FIRST_TOKEN = "SELECT hash, created_at AS createdAt FROM admin_tokens WHERE id = 'first'";

/** Notes what a record that instances share through Redis says of a revocation. */
export function noteShared(backup: Storage, kind: string, id: string, row: Row | null, found: Revocations): void {
  if (kind === "token" && row === null) found.tokens.add(id);
  if (kind === "consumer" && row !== null) compareConsumer(backup, id, row, found);
  if (kind !== "key") return;
  if (row === null) found.keys.add(id);
  else compareKey(backup, id, row, found);
}

function compareKey(backup: Storage, id: string, row: Row, found: Revocations): void {
  const before = backup.client
    .query<Changed & { hash: string; revoked_at: number | null }, [string]>(
      "SELECT hash, version, revoked_at, updated_at FROM keys WHERE id = ?1",
    )
    .get(id);
  if (before === null || before.revoked_at !== null) return;
  if (row.revoked_at !== null) found.keys.add(id);
  else if (row.hash !== before.hash && Number(row.version) > before.version) found.rotated.set(id, row as unknown as KeySecret);
  noteState(found.keyStates, id, before, row);
}

function compareConsumer(backup: Storage, id: string, row: Row, found: Revocations): void {
  const before = backup.client.query<Changed, [string]>("SELECT version, updated_at FROM consumers WHERE id = ?1").get(id);
  if (before !== null) noteState(found.consumerStates, id, before, row);
}

/** Tells how often and when a record was changed. */
interface Changed {
  readonly version: number;
  readonly updated_at: number;
}

/**
 * Notes whether a record is enabled where it was changed after the backup: by its version, or by its time where it goes on from an older
 * backup. The later of two words counts.
 */
function noteState(states: Map<string, State>, id: string, before: Changed, row: Row): void {
  const version = Number(row.version);
  if (version <= before.version && Number(row.updated_at) <= before.updated_at) return;
  const known = states.get(id);
  if (known === undefined || version >= known.version) states.set(id, { isEnabled: row.enabled !== 0, version });
}

/** Gives the rows of the audit that came after the backup's last one; none where its chain is another. */
function auditSince(backup: Database, now: Database): { action: string; subject: string; before: string | null }[] {
  const end = backup
    .query<{ lastSeq: number; lastHash: string }, []>("SELECT last_seq AS lastSeq, last_hash AS lastHash FROM audit_chain WHERE id = 1")
    .get();
  if (end !== null) {
    const same = now.query<{ hash: string }, [number]>("SELECT hash FROM audit WHERE seq = ?1").get(end.lastSeq);
    const anchor = now
      .query<{ anchor: string; firstSeq: number }, []>("SELECT anchor, first_seq AS firstSeq FROM audit_chain WHERE id = 1")
      .get();
    // Older rows may have been dropped since.
    const isDropped = anchor !== null && anchor.firstSeq > end.lastSeq;
    if (!isDropped && same?.hash !== end.lastHash) return [];
  }
  return now
    .query<{ action: string; subject: string; before: string | null }, [number]>(
      "SELECT action, subject, before FROM audit WHERE seq > ?1 AND action IN ('token.revoke', 'consumer.delete') ORDER BY seq",
    )
    .all(end?.lastSeq ?? 0);
}

function keysIn(before: string | null): string[] {
  const { keys } = JSON.parse(before ?? "{}") as { keys?: unknown };
  return Array.isArray(keys) ? keys.filter((id) => typeof id === "string") : [];
}

/** Names a key, token or consumer that became invalid after the backup. */
export interface Named {
  readonly id: string;
  readonly name: string | null;
  /** The consumer of a key. */
  readonly consumer?: string;
}

export interface Settled {
  readonly keys: readonly Named[];
  readonly rotated: readonly Named[];
  /** Keys that are not among those revoked. */
  readonly disabledKeys: readonly Named[];
  readonly disabledConsumers: readonly Named[];
  readonly tokens: readonly Named[];
  readonly isFirstTokenKept: boolean;
}

/**
 * Makes invalid in the backup what has become so since, and names it; with `isAsItWas` it is only named. `at` in milliseconds since 1970.
 */
export function settle(backup: Storage, found: Revocations, isAsItWas: boolean, at: number): Settled {
  const { client } = backup;
  const named = (ids: Iterable<string>, live: string): Named[] =>
    [...ids]
      .map((id) => client.query<Named, [string]>(`SELECT id, name, consumer FROM keys WHERE id = ?1 ${live}`).get(id))
      .filter((row) => row !== null);
  const keys = named(found.keys, "AND revoked_at IS NULL");
  const rotated = named(
    [...found.rotated.keys()].filter((id) => !found.keys.has(id)),
    "",
  );
  const disabledKeys = named(
    disabled(found.keyStates).filter((id) => !found.keys.has(id)),
    "AND enabled = 1",
  );
  const disabledConsumers = disabled(found.consumerStates)
    .map((id) => client.query<Named, [string]>("SELECT id, name FROM consumers WHERE id = ?1 AND enabled = 1").get(id))
    .filter((row) => row !== null);
  const tokens = [...found.tokens]
    .map((id) => client.query<Named, [string]>("SELECT id, name FROM admin_tokens WHERE id = ?1").get(id))
    .filter((row) => row !== null);
  const settled = { keys, rotated, disabledKeys, disabledConsumers, tokens, isFirstTokenKept: found.firstToken !== null && !isAsItWas };
  if (isAsItWas) return settled;
  const revoke = client.query("UPDATE keys SET revoked_at = ?2, updated_at = ?2, version = version + 1 WHERE id = ?1");
  const rotate = client.query(
    "UPDATE keys SET hash = ?2, previous_hash = ?3, previous_expires_at = ?4, start = ?5, end = ?6, updated_at = ?7, version = max(version, ?8) + 1 WHERE id = ?1",
  );
  for (const { id } of keys) revoke.run(id, at);
  for (const { id } of rotated) {
    const now = found.rotated.get(id);
    if (now === undefined) continue;
    rotate.run(id, now.hash, now.previous_hash, now.previous_expires_at, now.start, now.end, at, now.version);
  }
  for (const [table, records] of [
    ["keys", disabledKeys],
    ["consumers", disabledConsumers],
  ] as const) {
    const disable = client.query(`UPDATE ${table} SET enabled = 0, updated_at = ?2, version = version + 1 WHERE id = ?1`);
    for (const { id } of records) disable.run(id, at);
  }
  for (const { id } of tokens) client.query("DELETE FROM admin_tokens WHERE id = ?1").run(id);
  // Who signed out since would be signed in again.
  client.run("DELETE FROM sessions");
  if (found.firstToken !== null)
    client
      .query("UPDATE admin_tokens SET hash = ?1, created_at = ?2 WHERE id = 'first'")
      .run(found.firstToken.hash, found.firstToken.createdAt);
  return settled;
}

const disabled = (states: ReadonlyMap<string, State>): string[] => [...states].filter(([, { isEnabled }]) => !isEnabled).map(([id]) => id);
