import type { TSchema } from "@sinclair/typebox";
import { type ValueError, ValueErrorType } from "@sinclair/typebox/errors";
import { Value } from "@sinclair/typebox/value";
import { isObject } from "../values/json.ts";
import { withDefaults } from "./defaults.ts";
import { isSecretAt } from "./secrets.ts";
import { hintFor } from "./words.ts";

export type Step = string | number;
export type Path = readonly Step[];

/** Describes one thing that is wrong with a configuration or a body. */
export interface Fault {
  readonly path: Path;
  readonly message: string;
  /** True when the field itself must not be there; the fault then points at the field's name, not at its value. */
  readonly isOfName?: true;
  /** The line in the file, from 1; missing where there is no file. */
  readonly line?: number;
  readonly column?: number;
}

/**
 * Writes a path as the messages of faults do.
 *
 * @example
 * formatPath(["routes", 0, "limits"]); // "routes[0].limits"
 */
export function formatPath(path: Path): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else if (/^[A-Za-z_$][\w$-]*$/.test(step)) text += text === "" ? step : `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}

/** Writes a fault as `FILE:LINE:COLUMN path: what is wrong`. */
export function formatFault(file: string, fault: Fault): string {
  const place = fault.path.length === 0 ? "" : `${formatPath(fault.path)}: `;
  return `${file}:${fault.line ?? 1}:${fault.column ?? 1} ${place}${fault.message}`;
}

/** Gives the known name that is nearest to a misspelt one, or `null` when none is near. */
export function nearest(name: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance =
      candidate.toLowerCase().startsWith(name.toLowerCase()) && name.length >= 3
        ? 1
        : editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Gives `, did you mean "users"?`, or an empty text when no known name is near. */
export function orNearest(name: string, known: Iterable<string>): string {
  const near = nearest(name, [...known]);
  return near === null ? "" : `, did you mean ${JSON.stringify(near)}?`;
}

/** Gives the Levenshtein distance of two texts, with a swap of neighbours as one step. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  const at = (i: number, j: number) => rows[i]?.[j] ?? 0;
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      let least = Math.min(at(i - 1, j) + 1, (row[j - 1] as number) + 1, at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, at(i - 2, j - 2) + 1);
      row[j] = least;
    }
  }
  return at(a.length, b.length);
}

/** The number of faults that are told at most: more help nobody, and a long list of junk has one for each entry. */
const MAX_FAULTS = 1000;

/** Gives everything that keeps a value from being what its schema describes. */
export function schemaFaults(schema: TSchema, value: unknown, at: Path = []): Fault[] {
  const faults: Fault[] = [];
  const told = new Set<string>();
  for (const error of Value.Errors(schema, value)) {
    const steps = stepsOf(error.path, value);
    const path = [...at, ...steps];
    const key = JSON.stringify(path);
    // TypeBox tells of a missing field twice: that it is missing, and that nothing is not a string.
    if (told.has(key)) continue;
    told.add(key);
    faults.push(...explain(error, path, isSecretAt(schema, steps)));
    if (faults.length >= MAX_FAULTS) break;
  }
  return faults;
}

/** Splits a JSON pointer into its steps; those into an array are numbers. */
function stepsOf(pointer: string, root: unknown): Step[] {
  let here = root;
  return pointer
    .split("/")
    .slice(1)
    .map((part) => {
      const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
      const step = Array.isArray(here) ? Number(name) : name;
      here = (here as Record<Step, unknown> | undefined)?.[step];
      return step;
    });
}

function explain(error: ValueError, path: Path, isSecret: boolean): Fault[] {
  const { schema, value } = error;
  const say = (message: string): Fault[] => [{ path, message }];
  switch (error.type) {
    case ValueErrorType.ObjectAdditionalProperties:
      return [{ path, message: unexpected(schema, String(path.at(-1))), isOfName: true }];
    case ValueErrorType.ObjectRequiredProperty:
      return say("is required");
    case ValueErrorType.Union:
      return explainUnion(schema, value, path, isSecret);
    case ValueErrorType.StringPattern:
      return say(`must be ${schema.expects ?? `text that matches ${schema.pattern}`}${got(value, isSecret)}`);
    case ValueErrorType.StringMinLength:
      return say(schema.minLength === 1 ? "must not be empty" : `must have at least ${schema.minLength} characters`);
    case ValueErrorType.StringMaxLength:
      return say(`must have at most ${schema.maxLength} characters`);
    case ValueErrorType.IntegerMinimum:
    case ValueErrorType.NumberMinimum:
      return say(`must be at least ${schema.minimum}${got(value, isSecret)}`);
    case ValueErrorType.IntegerMaximum:
    case ValueErrorType.NumberMaximum:
      return say(`must be at most ${schema.maximum}${got(value, isSecret)}`);
    case ValueErrorType.ArrayMinItems:
      return say(`must have at least ${schema.minItems} ${schema.minItems === 1 ? "entry" : "entries"}`);
    case ValueErrorType.ArrayMaxItems:
      return say(`must have at most ${schema.maxItems} entries`);
    default:
      return say(`must be ${wanted(schema)}${got(value, isSecret)}`);
  }
}

function unexpected(schema: TSchema, name: string): string {
  if (schema.patternProperties !== undefined)
    return `is not a name: use ${schema.names ?? "1 to 128 letters, digits and . _ @ : -, beginning with a letter or digit"}`;
  // Words of other programs: `instead` says what to write.
  const { instead } = schema as { instead?: Record<string, string> };
  if (instead !== undefined && Object.hasOwn(instead, name)) return `unknown field ${JSON.stringify(name)}: ${instead[name]}`;
  const hint = hintFor(schema, name);
  return `unknown field ${JSON.stringify(name)}${hint === null ? "" : `, ${hint}`}`;
}

function explainUnion(schema: TSchema, value: unknown, path: Path, isSecret: boolean): Fault[] {
  const variants = schema.anyOf as TSchema[];
  if (variants.every((variant) => variant.const !== undefined)) {
    return [
      { path, message: `must be one of ${variants.map((variant) => JSON.stringify(variant.const)).join(", ")}${got(value, isSecret)}` },
    ];
  }
  const kind = Array.isArray(value) ? "array" : value === null ? "null" : typeof value;
  const tag = tagOf(variants);
  if (tag !== null && isObject(value) && !tag.values.includes(value[tag.name])) {
    const given = value[tag.name];
    const wanted = `must be one of ${tag.values.map((each) => JSON.stringify(each)).join(", ")}`;
    return [{ path: [...path, tag.name], message: given === undefined ? `is required: ${wanted}` : `${wanted}${got(given, isSecret)}` }];
  }
  const meant =
    tag !== null && isObject(value)
      ? variants.find((variant) => variant.properties?.[tag.name]?.const === value[tag.name])
      : variants.find(({ type }) => type === kind || (type === "integer" && kind === "number"));
  // The variant that was meant tells more than the union can. Its defaults are not filled in yet: that is done only for values that are valid then.
  if (meant !== undefined && (kind === "object" || kind === "array" || schema.expects === undefined))
    return schemaFaults(meant, withDefaults(meant, structuredClone(value)), path);
  return [{ path, message: `must be ${schema.expects ?? variants.map(wanted).join(" or ")}${got(value, isSecret)}` }];
}

/** Finds the field whose value says which of several objects is meant; `null`: there is none. */
function tagOf(variants: readonly TSchema[]): { readonly name: string; readonly values: readonly unknown[] } | null {
  if (variants.length < 2 || !variants.every(({ type }) => type === "object")) return null;
  const [first] = variants as [TSchema];
  const name = Object.keys(first.properties).find((each) => variants.every(({ properties }) => properties[each]?.const !== undefined));
  return name === undefined ? null : { name, values: variants.map(({ properties }) => properties[name].const) };
}

function wanted(schema: TSchema): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.expects !== undefined) return schema.expects;
  switch (schema.type) {
    case "object":
      return "an object";
    case "array":
      return "a list";
    case "integer":
      return "a whole number";
    case "number":
      return "a number";
    case "string":
      return "text";
    case "boolean":
      return "true or false";
    case "null":
      return "null";
    default:
      return "something else";
  }
}

/** Describes the wrong value, shortened, and shows nothing of a secret. */
function got(value: unknown, isSecret: boolean): string {
  if (isSecret || value === undefined) return "";
  if (Array.isArray(value)) return ", got a list";
  if (typeof value === "object" && value !== null) return ", got an object";
  const text = JSON.stringify(value);
  return `, got ${text.length > 40 ? `${text.slice(0, 37)}…` : text}`;
}

/** Writes faults as lines for people. */
export const faultLines = (file: string | null, faults: readonly Fault[]): string[] =>
  faults.map((fault) => formatFault(file ?? "config.json", fault));

/** Writes faults for a JSON answer. */
export const wireFaults = (faults: readonly Fault[]) =>
  faults.map(({ path, message, line, column }) => ({ path: formatPath(path), message, line: line ?? 1, column: column ?? 1 }));
