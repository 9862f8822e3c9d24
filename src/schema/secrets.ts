import type { TSchema } from "@sinclair/typebox";
import { isObject } from "../values/json.ts";
import type { Path, Step } from "./faults.ts";

/** Gives the text that takes a secret's place. `isUrl`: only user and password of this URL are secret. */
type Replace = (secret: string, isUrl: boolean, path: Path) => string;

/**
 * Gives the schema of the value at a step within another. A record, or what may be anything, may declare by `secretNames` which names hold
 * credentials.
 */
export function childOf(schema: TSchema, step: Step): TSchema | undefined {
  const { items, properties, patternProperties, secretNames } = schema;
  const isAnything = secretNames !== undefined && (items ?? properties ?? patternProperties) === undefined;
  // What stands in it may be anything as well, and its names say the same.
  const inside = isAnything ? schema : undefined;
  if (typeof step === "number") return items ?? inside;
  const child: TSchema | undefined = properties?.[step] ?? Object.values(patternProperties ?? {})[0] ?? inside;
  const isSecret = secretNames !== undefined && new RegExp(secretNames, "i").test(step);
  return isSecret && child !== undefined ? { ...child, secret: true } : child;
}

/** Tells whether the value at this path is a secret. */
export function isSecretAt(schema: TSchema, path: Path): boolean {
  if (schema.anyOf !== undefined) return schema.anyOf.some((each: TSchema) => isSecretAt(each, path));
  const [step, ...rest] = path;
  if (step === undefined) return schema.secret === true;
  const child = childOf(schema, step);
  return child !== undefined && isSecretAt(child, rest);
}

/** Tells whether a secret may stand anywhere in a value. */
export function mayHoldSecrets(schema: TSchema): boolean {
  if (schema.secret === true || schema.secretNames !== undefined) return true;
  const { items, properties = {}, patternProperties = {}, anyOf = [] } = schema;
  const within: TSchema[] = [
    ...anyOf,
    ...Object.values(properties),
    ...Object.values(patternProperties),
    ...(items === undefined ? [] : [items]),
  ];
  return within.some(mayHoldSecrets);
}

/** Gives a copy of a value in which every text that its schema calls a secret is replaced. */
export function mapSecrets(schema: TSchema, value: unknown, replace: Replace, path: Path = []): unknown {
  if (schema.secret === true && typeof value === "string") return replace(value, schema.isUrl === true, path);
  if (schema.anyOf !== undefined)
    return schema.anyOf.reduce((mapped: unknown, each: TSchema) => mapSecrets(each, mapped, replace, path), value);
  const within = (child: unknown, step: Step): unknown => {
    const of = childOf(schema, step);
    return of === undefined ? child : mapSecrets(of, child, replace, [...path, step]);
  };
  if (Array.isArray(value)) return value.map(within);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, within(child, name)]));
}

/** The text that people see in place of a secret. */
const MASK = "***";

/** Masks a value's secrets for people: a URL keeps its host, any other secret is hidden completely. */
export const masked = (schema: TSchema, value: unknown): unknown =>
  mapSecrets(schema, value, (secret, isUrl) => (isUrl ? secret.replace(/\/\/.*@/, `//${MASK}@`) : MASK));

/** Puts known secrets back where a value that was read, changed and sent back still holds masks. */
export const unmasked = (schema: TSchema, value: unknown, known: unknown): unknown =>
  mapSecrets(schema, value, (secret, _, path) => (secret === MASK ? (knownAt(value, known, path) ?? secret) : secret));

/** Gives the text in `known` at the place that corresponds to `path` in `value`. Entries of a list are matched by their ids. */
function knownAt(value: unknown, known: unknown, path: Path): string | undefined {
  let [here, there] = [value, known];
  for (const step of path) {
    const entry = (here as Record<Step, unknown>)[step];
    if (typeof step === "string") there = isObject(there) ? there[step] : undefined;
    else there = Array.isArray(there) && isObject(entry) ? there.find((other) => isObject(other) && other.id === entry.id) : undefined;
    here = entry;
  }
  return typeof there === "string" ? there : undefined;
}

/** Gives a fault for each mask that stands in the place of a secret. */
export function masksIn(schema: TSchema, value: unknown): { path: Path; message: string }[] {
  const faults: { path: Path; message: string }[] = [];
  mapSecrets(schema, value, (secret, _, path) => {
    if (secret === MASK) faults.push({ path, message: "is what is shown in a secret's place: send the secret itself" });
    return secret;
  });
  return faults;
}

/** Gives all secrets in a value; of a URL, its password both as it is written there and decoded. */
export function secretsIn(schema: TSchema, value: unknown): string[] {
  const found: string[] = [];
  mapSecrets(schema, value, (secret, isUrl) => {
    if (!isUrl) found.push(secret);
    else {
      const password = /\/\/[^:]*:(.*)@/.exec(secret)?.[1] ?? "";
      found.push(password, URL.canParse(secret) ? decoded(new URL(secret).password) : "");
    }
    return secret;
  });
  return found.filter((secret) => secret !== "");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
