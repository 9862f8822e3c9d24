import { isObject } from "../../values/json.ts";
import { withoutKeys } from "../../values/redact.ts";
import { NOTE_HEADER } from "../../versions/note.ts";
import type { Tool } from "./tools.ts";

/** The most characters of a result: what is longer fills a model's memory with what it did not ask for. */
export const MAX_TEXT = 60_000;
/** How often a list is asked for again with a smaller `limit`, because its page was too long. */
const MAX_TRIES = 4;
/** The most fields of an answer that are named when it is too long. */
const MAX_NAMED = 40;

/** Holds the result of a call (MCP, "Tool Result"). */
export interface CallResult {
  readonly content: readonly { readonly type: "text"; readonly text: string }[];
  readonly isError?: true;
}

type Arguments = Readonly<Record<string, unknown>>;

/** What a call needs of the gateway. */
export interface Calling {
  /** Sends a request to the admin API, as whoever calls. */
  readonly send: (request: Request) => Promise<Response>;
  /** The Authorization field of whoever calls. */
  readonly authorization: string;
  /** Keeps a secret of the record with this id that was shown only in this answer, and gives the address at which a person sees it. */
  readonly keep: (tool: Tool, secret: string, id: string) => string;
}

const done = (text: string): CallResult => ({ content: [{ type: "text", text: withoutKeys(text) }] });
const failed = (text: string): CallResult => ({ ...done(text), isError: true });

/** Calls a tool, and gives its result: what is wrong with the arguments, or why the API refuses, is a result with `isError`. */
export async function call(tool: Tool, given: Arguments, calling: Calling): Promise<CallResult> {
  const faults = faultsOf(tool, given);
  if (faults.length > 0) return failed(faults.join("\n"));
  let wanted = given;
  for (let tries = 1; ; tries++) {
    const request = requestOf(tool, wanted, calling.authorization);
    if (request === null) return failed(`${tool.inPath.join(", ")}: there is nothing of this name.`);
    const response = await calling.send(request);
    const text = await response.text();
    if (!response.ok) return failed(text.length > MAX_TEXT ? text.slice(0, MAX_TEXT) : text);
    const answer = text === "" ? null : parsed(text);
    if (answer === undefined) return text.length > MAX_TEXT ? failed(tooLong(text.length)) : done(text);
    if (answer === null) return done("Done.");
    if (tool.shownOnce !== null && isObject(answer))
      return done(JSON.stringify(withoutSecret(tool, tool.shownOnce, answer, given, calling)));
    if (typeof given.part === "string") return partOf(answer, given.part);
    if (text.length <= MAX_TEXT) return done(text);
    const limit = smallerLimit(tool, answer, text.length);
    if (limit === null || tries === MAX_TRIES) return failed(outline(answer, text.length, tool.takesPart, ""));
    wanted = { ...given, limit };
  }
}

/** Tells what is wrong with the names and kinds of arguments; their values are judged by the API. */
function faultsOf({ shown, inPath, inQuery, takesBody }: Tool, given: Arguments): string[] {
  const { properties, required = [] } = shown.inputSchema;
  const names = Object.keys(properties);
  return [
    ...Object.keys(given)
      .filter((name) => !Object.hasOwn(properties, name))
      .map((name) => `${name}: there is no such argument; there ${names.length === 0 ? "is none" : `are ${names.join(", ")}`}.`),
    ...required.filter((name) => given[name] === undefined).map((name) => `${name}: is required.`),
    ...[...inPath, ...inQuery, "note", "part"]
      .filter((name) => given[name] !== undefined && !isPlain(given[name]))
      .map((name) => `${name}: must be text, a number, true or false.`),
    ...inPath.filter((name) => given[name] === "" || [given[name]].flat().length === 0).map((name) => `${name}: must not be empty.`),
    ...[...inPath, "note"].filter((name) => !isWellFormed(given[name])).map((name) => `${name}: holds half of a character.`),
    ...(typeof given.part === "string" && !/^(\/|$)/.test(given.part) ? ['part: must begin with "/", such as /items/0.'] : []),
    ...(takesBody && given.body !== undefined && !isObject(given.body) ? ["body: must be an object."] : []),
  ];
}

const isPlain = (value: unknown): boolean =>
  ["string", "number", "boolean"].includes(typeof value) || (Array.isArray(value) && value.every((each) => typeof each === "string"));

/** Tells whether a value can be written into a URL: half of a pair of UTF-16 can't. */
const isWellFormed = (value: unknown): boolean => typeof value !== "string" || value.isWellFormed();

/** Makes the request that a call stands for; `null`: a name such as ".." would lead elsewhere. */
function requestOf({ method, path, inPath, inQuery, takesBody, takesNote }: Tool, given: Arguments, authorization: string): Request | null {
  const target = inPath.reduce((filled, name) => filled.replace(`{${name}}`, () => encodeURIComponent(String(given[name]))), path);
  const query = new URLSearchParams();
  for (const name of inQuery) if (given[name] !== undefined) for (const value of [given[name]].flat()) query.append(name, String(value));
  const url = new URL(`http://localhost${target}${query.size === 0 ? "" : `?${query}`}`);
  if (url.pathname !== target) return null;
  const headers = new Headers({ authorization });
  if (takesNote && typeof given.note === "string") headers.set(NOTE_HEADER, encodeURIComponent(given.note));
  if (!takesBody || given.body === undefined) return new Request(url.href, { method, headers });
  headers.set("content-type", "application/json");
  return new Request(url.href, { method, headers, body: JSON.stringify(given.body) });
}

/** Gives the JSON value of a text; `undefined`: it is none. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Gives an answer with the place where a person sees its secret, which stands in `field`, instead of the secret. */
function withoutSecret(tool: Tool, field: string, answer: Arguments, given: Arguments, { keep }: Calling): Arguments {
  const { [field]: secret, ...rest } = answer;
  // A webhook is known by its name, and a link is the consumer's of whom it was asked.
  const id = String(rest.id ?? rest.name ?? given.id ?? "");
  return typeof secret === "string" ? { id, ...rest, seeAt: keep(tool, secret, id) } : rest;
}

/** Gives a `limit` with which a list should be short enough; `null` where it can't be made shorter. */
function smallerLimit({ inQuery }: Tool, answer: unknown, length: number): number | null {
  if (!inQuery.includes("limit") || !inQuery.includes("cursor") || !isObject(answer) || !Array.isArray(answer.items)) return null;
  const { length: count } = answer.items;
  return count < 2 ? null : Math.max(1, Math.min(count - 1, Math.floor((count * MAX_TEXT * 0.9) / length)));
}

/** Gives the part of an answer that a JSON Pointer (RFC 6901) names. */
function partOf(answer: unknown, pointer: string): CallResult {
  let here = answer;
  for (const step of pointer.split("/").slice(1)) {
    const name = step.replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof here !== "object" || here === null || !Object.hasOwn(here, name)) return failed(`part: there is nothing at ${pointer}.`);
    // A list has its entries under their numbers as well.
    here = (here as Arguments)[name];
  }
  const text = JSON.stringify(here) ?? "null";
  return text.length > MAX_TEXT ? failed(outline(here, text.length, true, pointer)) : done(text);
}

const tooLong = (length: number): string =>
  `The answer has ${length} characters, and ${MAX_TEXT} are passed on at most: ask for less of it.`;

/** Says that an answer is too long, and of what it is made. */
function outline(answer: unknown, length: number, takesPart: boolean, at: string): string {
  const entries = typeof answer === "object" && answer !== null && takesPart ? Object.entries(answer) : [];
  if (entries.length === 0) return tooLong(length);
  const named = entries.slice(0, MAX_NAMED).map(([name, value]) => {
    const step = name.replaceAll("~", "~0").replaceAll("/", "~1");
    return `${at}/${step}: ${JSON.stringify(value)?.length ?? 0} characters`;
  });
  const more = entries.length > MAX_NAMED ? [`and ${entries.length - MAX_NAMED} more`] : [];
  return [`${tooLong(length)} Name one of these as part:`, ...named, ...more].join("\n");
}
