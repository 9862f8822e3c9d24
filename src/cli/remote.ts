import { print } from "../telemetry/stdout.ts";
import { onTerminal, printable } from "../values/redact.ts";
import { type Flag, type Input, UsageError } from "./arguments.ts";

/** Flags of every command that talks to a running gateway. */
export const REMOTE_FLAGS: readonly Flag[] = [
  { name: "url", value: "URL", help: "where it runs (SLUICE_URL, else http://127.0.0.1:SLUICE_PORT, else port 8080)" },
  { name: "token", value: "TOKEN", help: "an admin token (SLUICE_ADMIN_TOKEN)" },
  { name: "json", help: "print JSON instead of a table" },
];

/** Milliseconds that a gateway has to answer what it can answer at once. */
export const PATIENCE = 5000;
export const NO_SLUICE = "what answers there is no Sluice, or another version of it";

/** Says that the gateway refused, or could not be asked; the message is for whoever typed the command. */
export class RemoteFault extends Error {
  /** `isRefusal`: the gateway was there, and said no. */
  constructor(
    message: string,
    readonly isRefusal = false,
  ) {
    super(message);
  }
}

/** Gives the address where the gateway runs: the one that was given, else SLUICE_URL, else this machine. `http://` may be left out. */
export function gatewayUrl(given: string | undefined): string {
  const url = given ?? (process.env.SLUICE_URL || `127.0.0.1:${process.env.SLUICE_PORT || "8080"}`);
  const whole = url.includes("://") ? url : `http://${url}`;
  if (!URL.canParse(whole) || !/^https?:/.test(whole)) throw new UsageError(`${url} is no URL of a gateway: write http://HOST:PORT`);
  return whole;
}

/** Asks the admin API. Throws `RemoteFault`, also after `timeout` milliseconds. */
export async function askRaw(input: Input, method: string, path: string, body?: unknown, timeout?: number): Promise<Response> {
  const url = gatewayUrl(text(input, "url"));
  const token = text(input, "token") ?? process.env.SLUICE_ADMIN_TOKEN;
  if (token === undefined || token === "") throw new UsageError("an admin token is needed: --token TOKEN, or SLUICE_ADMIN_TOKEN");
  let answer: Response;
  try {
    answer = await fetch(new URL(path, url), {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(timeout === undefined ? {} : { signal: AbortSignal.timeout(timeout) }),
    });
  } catch (error) {
    throw new RemoteFault(`nothing answers at ${url}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (answer.ok) return answer;
  const refusal = (await answer.json().catch(() => ({}))) as { detail?: string; errors?: { path: string; message: string }[] };
  const more = (Array.isArray(refusal?.errors) ? refusal.errors : []).slice(1).map(({ path: at, message }) => `\n  ${at}: ${message}`);
  const detail = refusal?.detail ?? `it answers ${answer.status} without a reason: ${NO_SLUICE}`;
  throw new RemoteFault(`${detail.replaceAll("?force=true", "--force")}${more.join("")}`, true);
}

export async function ask<T>(input: Input, method: string, path: string, body?: unknown, timeout?: number): Promise<T> {
  const answer = await askRaw(input, method, path, body, timeout);
  if (answer.status === 204) return {} as T;
  try {
    return (await answer.json()) as T;
  } catch {
    throw new RemoteFault(NO_SLUICE);
  }
}

/** Gives all items of a list, page by page. */
export async function askAll(input: Input, path: string): Promise<Record<string, unknown>[]> {
  const items: Record<string, unknown>[] = [];
  for (let cursor = ""; ; ) {
    const joint = path.includes("?") ? "&" : "?";
    const page: { items: Record<string, unknown>[]; nextCursor: string | null } = await ask(
      input,
      "GET",
      `${path}${joint}limit=500${cursor}`,
    );
    items.push(...page.items);
    if (page.nextCursor === null) return items;
    cursor = `&cursor=${encodeURIComponent(page.nextCursor)}`;
  }
}

/** Gives the flags of these names that were given, as a query. */
export function queryOf(input: Input, names: readonly string[]): URLSearchParams {
  const query = new URLSearchParams();
  for (const name of names) {
    const value = text(input, name);
    if (value !== undefined) query.set(name, value);
  }
  return query;
}

/** Gives a flag's text, when it was given. */
export const text = ({ flags }: Input, name: string): string | undefined => (typeof flags[name] === "string" ? flags[name] : undefined);

/** Gives the entries of a flag's text, which commas divide; `undefined` where there is none. */
export const listOf = (value: string | undefined): string[] | undefined => value?.split(",").filter((each) => each !== "");

/** Runs the action that the first positional argument names. Gives the exit status. */
export async function act(
  input: Input,
  usage: string,
  actions: Readonly<Record<string, (id: string | undefined) => Promise<unknown>>>,
): Promise<number | null> {
  const [name = "", id] = input.positionals;
  const action = actions[name];
  if (action === undefined)
    throw new UsageError(`${name === "" ? "an action is needed" : `unknown action ${JSON.stringify(name)}`}: ${usage}`);
  return remotely(() => action(id));
}

/** Gives the input of a command that lists where no action is named. */
export const listedByItself = (input: Input): Input => (input.positionals.length === 0 ? { ...input, positionals: ["list"] } : input);

/** Runs what talks to a gateway. Gives the exit status: 1, with the reason on stderr, when the gateway refused or could not be asked. */
export async function remotely(work: () => Promise<unknown>): Promise<number> {
  try {
    const status = await work();
    return typeof status === "number" ? status : 0;
  } catch (error) {
    if (!(error instanceof RemoteFault)) throw error;
    process.stderr.write(`sluice: ${error.message}\n`);
    return 1;
  }
}

/** Gives what an action needs behind its name. Throws `UsageError` when it is missing. */
export function required(value: string | undefined, what: string): string {
  if (value === undefined || value === "") throw new UsageError(`${what} is needed`);
  return value;
}

/** Prints one record: as JSON, or a line for each field. */
export function show(input: Input, record: object): void {
  if (input.flags.json === true) {
    print(`${printable(JSON.stringify(record))}\n`);
    return;
  }
  const entries = Object.entries(record).filter(([, value]) => value !== null && !(Array.isArray(value) && value.length === 0));
  const width = Math.max(0, ...entries.map(([name]) => name.length)) + 2;
  print(entries.map(([name, value]) => `${name.padEnd(width)}${cell(value)}\n`).join(""));
}

/** Prints records: as JSON, or as a table of these fields. */
export function table(input: Input, records: readonly Record<string, unknown>[], fields: readonly string[]): void {
  if (input.flags.json === true) {
    print(`${printable(JSON.stringify(records))}\n`);
    return;
  }
  const rows = [fields.map(headingOf), ...records.map((record) => fields.map((field) => cell(record[field])))];
  const widths = fields.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  print(
    rows
      .map(
        (row) =>
          `${row
            .map((value, i) => value.padEnd(widths[i] ?? 0))
            .join("  ")
            .trimEnd()}\n`,
      )
      .join(""),
  );
}

/** Gives the heading of a field: `EXPIRES AT` for `expiresAt`. */
const headingOf = (field: string): string => field.replace(/[A-Z]/g, (letter) => ` ${letter}`).toUpperCase();

/**
 * Prints a record with a secret that is shown only now: the secret on a line of its own, so that it can be copied; with --quiet the secret
 * alone.
 */
export function showSecret(input: Input, record: Readonly<Record<string, unknown>>, field: string): void {
  const { [field]: secret, ...rest } = record;
  if (input.flags.json === true || typeof secret !== "string") show(input, record);
  else if (input.flags.quiet === true) print(`${secret}\n`);
  else {
    print(`${secret}\n\nThis ${field} is shown only this once: keep it now.\n\n`);
    show(input, rest);
  }
}

/** Writes a value. Callers choose some of them, as the names of keys that they make: none acts on the terminal. */
const cell = (value: unknown): string => onTerminal(textOf(value));

const textOf = (value: unknown): string =>
  value === null || value === undefined
    ? ""
    : typeof value === "string"
      ? value
      : Array.isArray(value) && value.every((each) => typeof each === "string")
        ? value.join(",")
        : JSON.stringify(value);
