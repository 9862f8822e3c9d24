import type { Column } from "../activity.ts";
import type { ColumnType } from "../column-type.ts";
import { SinkAway } from "../sinks/sink.ts";
import { type BigQueryClient, Refused, type TableResource } from "./client.ts";
import { type Field, fieldOf, OWN_FIELDS, typeOf } from "./columns.ts";
import { MAX_QUERY, viewQuery } from "./view.ts";

/** The times that a change of a table is tried anew when somebody else has changed it meanwhile. */
const MAX_RACES = 10;
/** The tables that are remembered. All are forgotten beyond it: asking again costs a request each. */
const MAX_TABLES = 5000;

export interface KnownColumn {
  /** As it is spelt in the table. */
  readonly name: string;
  /** `null`: BigQuery alone knows what fits. */
  readonly type: ColumnType | null;
}

export interface KnownTable {
  readonly name: string;
  /** By names in small letters. */
  readonly columns: ReadonlyMap<string, KnownColumn>;
}

export interface TablesDeps {
  readonly client: BigQueryClient;
  readonly project: string;
  readonly dataset: string;
  /** Tells people what does not keep rows from being written. */
  readonly onTrouble: (message: string) => void;
}

/** Makes tables, their columns and their views, as activities need them. Remembers what is there; other instances may add to it. */
export class Tables {
  private readonly known = new Map<string, KnownTable>();
  /** The tables whose view was seen to be as it should. */
  private readonly viewed = new Set<string>();

  constructor(private readonly deps: TablesDeps) {}

  /** Finds a table with all these columns, as far as there are such. Gives `null` when there is no table; a text when it is something else. */
  async find(name: string, columns: readonly string[]): Promise<KnownTable | null | string> {
    const key = name.toLowerCase();
    const known = this.known.get(key);
    if (known?.columns !== undefined && columns.every((column) => known.columns.has(column.toLowerCase()))) return known;
    const found = await this.deps.client.table(key);
    if (found === null) {
      this.forget(name);
      return null;
    }
    return found.type === undefined || found.type === "TABLE" ? this.remember(key, found) : `${name} is no table that rows can be kept in`;
  }

  /** Gives the table with all these columns, made where they are missing; or the reason why that can't be. */
  async ensure(
    name: string,
    columns: readonly Column[],
    partition = "_at",
    own: readonly Field[] = OWN_FIELDS,
  ): Promise<KnownTable | string> {
    const key = name.toLowerCase();
    const fields = [...columns.map(fieldOf), ...own];
    const names = fields.map((field) => field.name);
    for (let race = 0; race < MAX_RACES; race++) {
      const found = await this.find(name, names);
      if (typeof found === "string") return found;
      if (found !== null && missing(fields, found).length === 0) {
        if (own === OWN_FIELDS && !this.viewed.has(key)) await this.makeView(key);
        return found;
      }
      try {
        this.viewed.delete(key);
        if (found === null) await this.make(key, fields, partition);
        else await this.widen(key, fields);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (error.status === 400) return `the table ${name} can't be changed: ${error.message}`;
        // A table can't be made where there is no dataset: that is told.
        if (error.status === 404 && found === null) await this.deps.client.location();
        // 409, 412, 404: another one was faster.
        this.known.delete(key);
      }
    }
    throw new SinkAway(`the table ${name} is changed by others all the time: its columns can't be added`);
  }

  forget(name: string): void {
    this.known.delete(name.toLowerCase());
    this.viewed.delete(name.toLowerCase());
  }

  private async make(key: string, fields: readonly Field[], partition: string): Promise<void> {
    const made = await this.deps.client.insertTable(key, {
      schema: { fields },
      timePartitioning: { type: "DAY", field: partition },
      description: "Activities, in the order of _seq: rows are added only.",
    });
    this.remember(key, made);
  }

  private async widen(key: string, fields: readonly Field[]): Promise<void> {
    const now = await this.deps.client.table(key);
    if (now === null) throw new Refused(404, "notFound", `the table ${key} has gone`);
    const there = this.remember(key, now);
    const added = missing(fields, there);
    // All fields must be sent, those that are there as they are.
    const schema = { fields: [...(now.schema?.fields ?? []), ...added] };
    if (added.length > 0) this.remember(key, await this.deps.client.patchTable(key, { schema }, now.etag));
  }

  private remember(key: string, { schema }: TableResource): KnownTable {
    const columns = new Map<string, KnownColumn>();
    for (const field of schema?.fields ?? []) columns.set(field.name.toLowerCase(), { name: field.name, type: typeOf(field) });
    if (this.known.size >= MAX_TABLES) this.known.clear();
    const table = { name: key, columns };
    this.known.set(key, table);
    return table;
  }

  /** Makes the view of the last state, or makes it anew for the columns that there are now. Rows are kept whether or not that works. */
  private async makeView(key: string): Promise<void> {
    const view = `${key}_current`;
    const say = (why: string): void => this.deps.onTrouble(`the view ${view} of the last state can't be made: ${why}`);
    try {
      for (let race = 0; race < MAX_RACES; race++) {
        // The columns are read after the view's etag: what another instance writes meanwhile is seen, or refuses the change.
        const [there, table] = [await this.deps.client.table(view), await this.deps.client.table(key)];
        if (table === null) return;
        const query = viewQuery(`${this.deps.project}.${this.deps.dataset}.${key}`, table.schema?.fields ?? []);
        if (there !== null && there.type !== "VIEW") say("there is a table of this name");
        else if (query.length > MAX_QUERY) say(`the table has too many columns: its query would have more than ${MAX_QUERY} characters`);
        else if (there?.view?.query !== query && !(await this.putView(view, query, there))) continue;
        break;
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say(error.message);
    }
    if (this.viewed.size >= MAX_TABLES) this.viewed.clear();
    this.viewed.add(key);
  }

  /** Gives false when another one was faster. */
  private async putView(view: string, query: string, there: TableResource | null): Promise<boolean> {
    const body = { view: { query, useLegacySql: false } };
    try {
      await (there === null ? this.deps.client.insertTable(view, body) : this.deps.client.patchTable(view, body, there.etag));
      return true;
    } catch (error) {
      if (error instanceof Refused && [404, 409, 412].includes(error.status)) return false;
      throw error;
    }
  }
}

const missing = (fields: readonly Field[], { columns }: KnownTable): Field[] =>
  fields.filter(({ name }) => !columns.has(name.toLowerCase()));
