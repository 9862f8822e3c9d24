import type { TSchema } from "@sinclair/typebox";
import { and, eq } from "drizzle-orm";
import type { Audit, AuditedChange } from "../audit/audit.ts";
import { checkMatch, mergePatch } from "../http/conventions.ts";
import { changedMeanwhile, invalid, managedByConfig, notFound, refused } from "../http/refused.ts";
import type { Fault } from "../schema/faults.ts";
import { fillIn } from "../schema/fill-in.ts";
import { masked, masksIn, unmasked } from "../schema/secrets.ts";
import type { Storage } from "../storage/open.ts";
import { documents } from "../storage/schema.ts";
import type { Clock } from "../values/clock.ts";
import { type DocumentKind, withArticle } from "./kinds.ts";
import { IDENTIFIERS, type NameRule, nameFaults } from "./names.ts";
import { SecretFault, type Secrets } from "./sealing.ts";
import type { WriteDown } from "./staged.ts";

/** Holds a named part of the configuration, from the file or from the admin API. */
export interface Item<T> {
  readonly name: string;
  readonly source: "config" | "admin";
  readonly document: T;
  readonly version: number;
  /** Milliseconds since 1970; `null` for what the file declares. */
  readonly createdAt: number | null;
  readonly updatedAt: number | null;
}

export interface DocumentsDeps {
  readonly kind: DocumentKind;
  readonly storage: Storage;
  readonly clock: Clock;
  readonly audit: Audit;
  /** The documents' schema: documents that an earlier version wrote get the fields that came since, and secrets are not shown. */
  readonly schema: TSchema;
  /** The names that they may have; left out: those of most records. */
  readonly names?: NameRule;
  /** Gives the value with its defaults, and everything that is wrong with it; `name` is the item's own. */
  readonly check: (value: unknown, name: string | null) => { value: unknown; faults: readonly Fault[] };
  /** Gives the names of those who would miss this item, for the refusal to delete it. */
  readonly usedBy: (name: string) => readonly string[];
  /** Seals what the schema calls secret before it is stored; left out: it is stored as it is. */
  readonly secrets?: Secrets;
  readonly onChange: () => void;
  /** Writes down what is changed, within the transaction that changes it. */
  readonly writeDown: WriteDown;
  /** Gives the names that are in use without an item of their own. */
  readonly reserved: () => readonly string[];
}

/**
 * Holds tiers, routes, upstreams, pools or issuers: those that the file declares and those that the admin API made, side by side. The database holds only
 * the latter; all of them are in memory.
 */
export class Documents<T extends object> {
  readonly kind: DocumentKind;
  /** Tells of changes that `refresh` has taken over. */
  readonly settle: () => void;
  private items = new Map<string, Item<T>>();

  constructor(private readonly deps: DocumentsDeps) {
    this.kind = deps.kind;
    this.settle = deps.onChange;
  }

  /** Reads the documents that the admin API made from the database. */
  load(): void {
    const rows = this.deps.storage.db.select().from(documents).where(eq(documents.kind, this.deps.kind)).all();
    this.items = new Map(rows.map((row) => [row.name, this.fromRow(row)]));
  }

  /** Tells whether the admin API made a document of this name. */
  isFromApi(name: string): boolean {
    return this.items.get(name)?.source === "admin";
  }

  /** Puts the file's declarations in the place of those before. A document that did not change stays the same object. */
  declare(declared: Iterable<readonly [name: string, document: T]>): void {
    const before = this.items;
    this.items = new Map([...before].filter(([, item]) => item.source === "admin"));
    for (const [name, document] of declared) {
      const known = before.get(name);
      const isSame = known?.source === "config" && Bun.deepEquals(known.document, document);
      this.items.set(name, isSame ? known : { name, source: "config", document, version: 1, createdAt: null, updatedAt: null });
    }
  }

  get(name: string): Item<T> | undefined {
    return this.items.get(name);
  }

  /** Gives the item of this name. Throws 404 when there is none. */
  require(name: string): Item<T> {
    const item = this.items.get(name);
    if (item === undefined) throw notFound(this.deps.kind, name);
    return item;
  }

  all(): Item<T>[] {
    return [...this.items.values()];
  }

  names(): Set<string> {
    return new Set(this.items.keys());
  }

  /** Gives up to `limit` + 1 items behind `after`, by name; only those that are wanted. */
  page(after: string, limit: number, isWanted: (item: Item<T>) => boolean = () => true): Item<T>[] {
    return this.all()
      .filter((item) => item.name > after && isWanted(item))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .slice(0, limit + 1);
  }

  create(name: string, value: unknown): Item<T> {
    if (this.items.has(name) || this.deps.reserved().includes(name))
      throw refused(
        "conflict",
        `There is ${withArticle(this.deps.kind)} ${JSON.stringify(name)} already: change it, or choose another name.`,
      );
    const document = this.checked(value, null);
    const stored = this.stored(document);
    const now = this.deps.clock.wall();
    const item: Item<T> = { name, source: "admin", document, version: 1, createdAt: now, updatedAt: now };
    this.change(name, { action: `${this.deps.kind}.create`, subject: `${this.deps.kind} ${name}`, after: this.shown(document) }, () =>
      this.deps.storage.db
        .insert(documents)
        .values({ kind: this.deps.kind, name, document: stored, version: 1, createdAt: now, updatedAt: now })
        .run(),
    );
    this.put(item);
    return item;
  }

  patch(name: string, patch: unknown, ifMatch: string | null): Item<T> {
    const before = this.changeable(name);
    checkMatch(ifMatch, before.version);
    const document = this.checked(unmasked(this.deps.schema, mergePatch(before.document, patch), before.document), name);
    const item: Item<T> = { ...before, document, version: before.version + 1, updatedAt: this.deps.clock.wall() };
    const change = {
      action: `${this.deps.kind}.update`,
      subject: `${this.deps.kind} ${name}`,
      before: this.shown(before.document),
      after: this.shown(document),
    };
    const stored = this.stored(document);
    this.change(name, change, () => {
      const changed = this.deps.storage.db
        .update(documents)
        .set({ document: stored, version: item.version, updatedAt: item.updatedAt ?? 0 })
        .where(and(this.row(name), eq(documents.version, before.version)))
        .returning({ name: documents.name })
        .all();
      if (changed.length === 0) throw changedMeanwhile();
    });
    this.put(item);
    return item;
  }

  remove(name: string, force: boolean, ifMatch: string | null): void {
    const before = this.changeable(name);
    checkMatch(ifMatch, before.version);
    const users = force ? [] : this.deps.usedBy(name);
    if (users.length > 0) {
      const some = users.slice(0, 5).join(", ");
      throw refused(
        "conflict",
        `${some}${users.length > 5 ? ` and ${users.length - 5} more` : ""} use it: change them first, or repeat with ?force=true.`,
      );
    }
    this.change(
      name,
      { action: `${this.deps.kind}.delete`, subject: `${this.deps.kind} ${name}`, before: this.shown(before.document) },
      () => this.deps.storage.db.delete(documents).where(this.row(name)).run(),
    );
    this.items.delete(name);
    this.deps.onChange();
  }

  /** Reads one item again, which another process has made, changed or deleted. Call `settle` after a batch of these. */
  refresh(name: string): void {
    if (this.items.get(name)?.source === "config") return;
    const row = this.deps.storage.db.select().from(documents).where(this.row(name)).get();
    if (row === undefined) this.items.delete(name);
    else this.items.set(name, this.fromRow(row));
  }

  /** Gives a document with its secrets, from the text that is stored for it. Throws `SecretFault`. */
  opened(text: string): T {
    const { schema, secrets } = this.deps;
    const document: unknown = JSON.parse(text);
    return fillIn(schema, secrets?.openIn(schema, document) ?? document).value as T;
  }

  /** Gives the text to be stored for a document that has all its fields. */
  closed(document: T): string {
    return JSON.stringify(this.stored(document));
  }

  /** Gives a value with its defaults, and what is wrong with it whatever else there is. */
  filled(value: unknown): { value: unknown; faults: readonly Fault[] } {
    const { schema, secrets } = this.deps;
    const { value: filled, faults } = fillIn(schema, value);
    const wrong = faults.length > 0 ? faults : masksIn(schema, filled);
    return { value: filled, faults: wrong.length > 0 ? wrong : (secrets?.faultsIn(schema, filled) ?? []) };
  }

  /** Gives the document's schema. */
  get schema(): TSchema {
    return this.deps.schema;
  }

  /** Says which names the documents may have. */
  get nameRule(): NameRule {
    return this.deps.names ?? IDENTIFIERS;
  }

  /** Gives a value with its defaults, and all that keeps it from being a document of this name here. */
  tried(value: unknown, name: string): { value: unknown; faults: readonly Fault[] } {
    const { check, schema, secrets } = this.deps;
    const { value: filled, faults } = check(value, name);
    const all = [...nameFaults(this.nameRule, name, []), ...faults];
    return { value: filled, faults: all.length > 0 ? all : (secrets?.faultsIn(schema, filled) ?? []) };
  }

  /** Gives the names of those who would miss an item. */
  usersOf(name: string): readonly string[] {
    return this.deps.usedBy(name);
  }

  /** Stores a document's text, or deletes it, within the caller's transaction. What is in memory stays: `refresh` takes it over. */
  write(name: string, text: string | null): void {
    const { client } = this.deps.storage;
    const now = this.deps.clock.wall();
    if (text === null) client.query("DELETE FROM documents WHERE kind = ?1 AND name = ?2").run(this.kind, name);
    else
      client
        .query(
          "INSERT INTO documents (kind, name, document, version, created_at, updated_at) VALUES (?1, ?2, ?3, 1, ?4, ?4) ON CONFLICT (kind, name) DO UPDATE SET document = excluded.document, version = version + 1, updated_at = excluded.updated_at",
        )
        .run(this.kind, name, text, now);
  }

  /**
   * Puts a document's text in the place of what is in memory, without storing it; `null`: takes it away. Gives why that can't be, or `null`. For a
   * while that nobody sees: `remembered` gives what puts all back.
   */
  pretend(name: string, text: string | null): string | null {
    const known = this.items.get(name);
    if (known?.source === "config") return text === null ? null : `is declared in config.json as well: take it out there first`;
    if (this.deps.reserved().includes(name) && text !== null) return "is a name that the gateway has for itself";
    if (text === null) {
      this.items.delete(name);
      return null;
    }
    try {
      const times = { createdAt: known?.createdAt ?? 0, updatedAt: known?.updatedAt ?? 0 };
      this.items.set(name, { name, source: "admin", document: this.opened(text), version: known?.version ?? 1, ...times });
      return null;
    } catch (error) {
      if (error instanceof SecretFault) return error.message;
      throw error;
    }
  }

  /** Gives what puts back all that is in memory now. */
  remembered(): () => void {
    const items = new Map(this.items);
    return () => {
      this.items = items;
    };
  }

  /** Runs a change of one document with its audit row, and writes down what it was and is. */
  private change(name: string, change: AuditedChange, work: () => unknown): void {
    this.deps.audit.change(change, () => {
      const before = this.textOf(name);
      work();
      const after = this.textOf(name);
      if (before !== after) this.deps.writeDown([{ kind: this.kind, name, before, after }]);
    });
  }

  private textOf(name: string): string | null {
    return (
      this.deps.storage.client
        .query<{ document: string }, [string, string]>("SELECT document FROM documents WHERE kind = ?1 AND name = ?2")
        .get(this.kind, name)?.document ?? null
    );
  }

  private fromRow(row: typeof documents.$inferSelect): Item<T> {
    const { schema, secrets } = this.deps;
    const document = secrets?.openIn(schema, row.document) ?? row.document;
    return { ...row, source: "admin", document: fillIn(schema, document).value as T };
  }

  /** Gives a document as others may see it. */
  shown(document: T): T {
    return masked(this.deps.schema, document) as T;
  }

  private stored(document: T): Record<string, unknown> {
    const { schema, secrets } = this.deps;
    return (secrets?.sealIn(schema, document) ?? document) as Record<string, unknown>;
  }

  private checked(value: unknown, name: string | null): T {
    const { check, schema, secrets } = this.deps;
    const { value: filled, faults } = check(value, name);
    const wrong = faults.length > 0 ? faults : (secrets?.faultsIn(schema, filled) ?? []);
    if (wrong.length > 0) throw invalid(wrong);
    return filled as T;
  }

  private changeable(name: string): Item<T> {
    const item = this.require(name);
    if (item.source === "config") throw managedByConfig(this.deps.kind, name);
    return item;
  }

  private put(item: Item<T>): void {
    this.items.set(item.name, item);
    this.deps.onChange();
  }

  private row(name: string) {
    return and(eq(documents.kind, this.deps.kind), eq(documents.name, name));
  }
}
