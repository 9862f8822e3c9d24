import { isObject, parseExactly } from "../values/json.ts";
import { type ColumnType, fit, parseType, type SqlValue, TYPES, Unfit } from "./column-type.ts";

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
}

/** Describes one change to one table, checked. */
export interface Activity {
  readonly operation: "insert" | "delete";
  readonly table: string;
  readonly columns: readonly Column[];
  /** The values, in the order of `columns`. */
  readonly values: readonly SqlValue[];
  /** The activity as it was sent, for the log. */
  readonly payload: unknown;
}

/** Describes one fault of a batch, as a problem's `errors` tell it. */
export interface ActivityFault {
  readonly path: string;
  readonly message: string;
}

export type Batch = { readonly activities: readonly Activity[] } | { readonly faults: readonly ActivityFault[]; readonly isJson: boolean };

const MAX_ACTIVITIES = 10_000;
const MAX_COLUMNS = 500;
/** The most tables that a batch may name. Making tables takes long: a batch that names thousands would hold up all others. */
const MAX_TABLES = 100;
/** The most faults that are told of a batch. One with thousands of faults has one cause: nobody reads the rest. */
const MAX_FAULTS = 1000;
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
const NAME_RULE = "must be 1 to 63 letters, digits and _, beginning with a letter or _";
/** Names that SQLite, its tools and Sluice keep for themselves in the same database. */
const TAKEN = /^(sqlite_|sluice_|__drizzle_|activity_log$)/i;

/** Reads the body of `POST /api/activities`. Gives its activities when all of it is good, otherwise every fault. */
export function parseBatch(text: string): Batch {
  let body: unknown;
  try {
    body = parseExactly(text);
  } catch {
    return { faults: [{ path: "", message: 'the body is not JSON: send { "activities": [ … ] }' }], isJson: false };
  }
  const faults: ActivityFault[] = [];
  const say = (path: string, message: string): void => {
    if (faults.length < MAX_FAULTS) faults.push({ path, message });
  };
  if (!isObject(body)) return { faults: [{ path: "", message: 'must be an object: { "activities": [ … ] }' }], isJson: true };
  unknownFields(body, ["activities"], "", say);
  const { activities } = body;
  if (!Array.isArray(activities)) say("activities", activities === undefined ? "is required" : "must be a list");
  else if (activities.length === 0) say("activities", "must hold at least one activity");
  else if (activities.length > MAX_ACTIVITIES) say("activities", `must hold at most ${MAX_ACTIVITIES} activities; send several batches`);
  else {
    const read = activities.map((activity, i) => readActivity(activity, `activities[${i}]`, say));
    if (new Set(read.map((activity) => activity?.table.toLowerCase())).size > MAX_TABLES)
      say("activities", `must be for at most ${MAX_TABLES} tables; send several batches`);
    if (faults.length === 0) return { activities: read as Activity[] };
  }
  return { faults, isJson: true };
}

/** Gives the activities of a body that was accepted before. Only a newer version's rules can refuse it: then there are none. */
export function activitiesIn(body: string): readonly Activity[] {
  const batch = parseBatch(body);
  return "faults" in batch ? [] : batch.activities;
}

/** Reads one activity as JSON, such as another instance has put into a queue. Gives the activity, or what is wrong with it. */
export function parseActivity(text: string): Activity | { readonly faults: readonly ActivityFault[] } {
  const faults: ActivityFault[] = [];
  let value: unknown;
  try {
    value = parseExactly(text);
  } catch {
    return { faults: [{ path: "", message: "is not JSON" }] };
  }
  const activity = readActivity(value, "activity", (path, message) => faults.push({ path, message }));
  return activity === null || faults.length > 0 ? { faults } : activity;
}

type Say = (path: string, message: string) => void;

function readActivity(value: unknown, at: string, say: Say): Activity | null {
  if (!isObject(value)) {
    say(at, "must be an object");
    return null;
  }
  const { operation, table } = value;
  if (typeof table !== "string") say(`${at}.table`, table === undefined ? "is required" : "must be text");
  else if (!NAME.test(table)) say(`${at}.table`, NAME_RULE);
  else if (TAKEN.test(table)) say(`${at}.table`, "is a name that Sluice or SQLite keeps for itself");
  if (operation === "insert") {
    unknownFields(value, ["operation", "table", ...LISTS], at, say);
    const row = readRow(value, at, say);
    return row === null ? null : { operation, table: table as string, ...row, payload: value };
  }
  if (operation === "delete") {
    unknownFields(value, ["operation", "table", "oldValue", "old_value"], at, say);
    const field = spelt(value, "oldValue");
    if (value.oldValue !== undefined && value.old_value !== undefined)
      say(`${at}.old_value`, "is oldValue in another spelling: send one of them");
    const old = value[field];
    if (!isObject(old)) {
      say(`${at}.${field}`, old === undefined ? "is required for a delete: the lists of columns, types and values" : "must be an object");
      return null;
    }
    unknownFields(old, LISTS, `${at}.${field}`, say);
    const row = readRow(old, `${at}.${field}`, say);
    return row === null ? null : { operation, table: table as string, ...row, payload: value };
  }
  say(`${at}.operation`, operation === undefined ? "is required" : 'must be "insert" or "delete"');
  return null;
}

/** The other spelling of each name. */
const SNAKE: Readonly<Record<string, string>> = {
  colNames: "col_names",
  colTypes: "col_types",
  colValues: "col_values",
  oldValue: "old_value",
};
const LISTS = ["colNames", "col_names", "colTypes", "col_types", "colValues", "col_values"];

function listOf(value: Record<string, unknown>, camel: string, snake: string, at: string, say: Say): readonly unknown[] | null {
  if (value[camel] !== undefined && value[snake] !== undefined) say(`${at}.${snake}`, `is ${camel} in another spelling: send one of them`);
  const field = spelt(value, camel);
  const list = value[field];
  if (Array.isArray(list)) return list;
  say(`${at}.${field}`, list === undefined ? "is required" : "must be a list");
  return null;
}

function readRow(value: Record<string, unknown>, at: string, say: Say): { columns: Column[]; values: SqlValue[] } | null {
  const names = listOf(value, "colNames", "col_names", at, say);
  const types = listOf(value, "colTypes", "col_types", at, say);
  const values = listOf(value, "colValues", "col_values", at, say);
  if (names === null || types === null || values === null) return null;
  const [namesAt, typesAt, valuesAt] = ["colNames", "colTypes", "colValues"].map((name) => `${at}.${spelt(value, name)}`) as [
    string,
    string,
    string,
  ];
  if (names.length === 0) say(namesAt, "must name at least one column");
  if (names.length > MAX_COLUMNS) say(namesAt, `must name at most ${MAX_COLUMNS} columns`);
  if (types.length !== names.length) say(typesAt, `must be as long as the list of names: ${names.length}, got ${types.length}`);
  if (values.length !== names.length) say(valuesAt, `must be as long as the list of names: ${names.length}, got ${values.length}`);
  if (names.length > MAX_COLUMNS || types.length !== names.length || values.length !== names.length) return null;
  const seen = new Set<string>();
  const columns: Column[] = [];
  const fitted: SqlValue[] = [];
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    const text = types[i];
    if (typeof name !== "string" || !NAME.test(name)) say(`${namesAt}[${i}]`, NAME_RULE);
    // SQLite's names have no case.
    else if (seen.has(name.toLowerCase())) say(`${namesAt}[${i}]`, "stands here twice");
    else seen.add(name.toLowerCase());
    const type = typeof text === "string" ? parseType(text) : null;
    if (type === null) {
      say(`${typesAt}[${i}]`, `must be ${TYPES}`);
      continue;
    }
    const fits = fit(values[i], type);
    if (fits instanceof Unfit) say(`${valuesAt}[${i}]`, fits.why);
    else {
      columns.push({ name: name as string, type });
      fitted.push(fits);
    }
  }
  return { columns, values: fitted };
}

/** Gives a field's name as the sender spells it: as it stands there, or as its other fields are spelt. */
function spelt(value: Record<string, unknown>, camel: string): string {
  const snake = SNAKE[camel] as string;
  if (value[camel] !== undefined) return camel;
  return value[snake] !== undefined || isSnake(value) ? snake : camel;
}

/** Tells whether the sender writes col_names rather than colNames. */
const isSnake = (value: Record<string, unknown>): boolean =>
  Object.entries(SNAKE).some(([, snake]) => value[snake] !== undefined) && !Object.keys(SNAKE).some((camel) => value[camel] !== undefined);

function unknownFields(value: Record<string, unknown>, known: readonly string[], at: string, say: Say): void {
  for (const name of Object.keys(value))
    if (!known.includes(name))
      say(
        at === "" ? name : `${at}.${name}`,
        `is not known here: there are ${known
          .filter((each) => !each.includes("_"))
          .map((each) => (isSnake(value) ? (SNAKE[each] ?? each) : each))
          .join(", ")}`,
      );
}
