import type { TSchema } from "@sinclair/typebox";
import { isObject } from "../json.ts";

/** What takes a secret's place. `isUrl`: it is a URL in which only user and password are secret. */
type Replace = (secret: string, isUrl: boolean) => string;

/** The value with each text in it replaced that its schema calls a secret. */
export function mapSecrets(schema: TSchema, value: unknown, map: Replace): unknown {
  if (schema.secret === true && typeof value === "string") return map(value, schema.isUrl === true);
  const { anyOf, items, properties, patternProperties } = schema as {
    anyOf?: TSchema[];
    items?: TSchema;
    properties?: Record<string, TSchema>;
    patternProperties?: Record<string, TSchema>;
  };
  if (anyOf !== undefined) return anyOf.reduce((mapped, each) => mapSecrets(each, mapped, map), value);
  if (Array.isArray(value)) return items === undefined ? value : value.map((each) => mapSecrets(items, each, map));
  if (!isObject(value)) return value;
  const [others] = Object.values(patternProperties ?? {});
  const secretNames = typeof schema.secretNames === "string" ? new RegExp(schema.secretNames, "i") : null;
  return Object.fromEntries(
    Object.entries(value).map(([name, child]) => {
      if (secretNames?.test(name) === true && typeof child === "string") return [name, map(child, false)];
      const of = properties?.[name] ?? others;
      return [name, of === undefined ? child : mapSecrets(of, child, map)];
    }),
  );
}

/** What is shown in a secret's place. */
export const MASK = "***";

/** For people: a URL keeps its host, anything else is hidden whole. */
export const masked: Replace = (secret, isUrl) => (isUrl ? secret.replace(/\/\/.*@/, `//${MASK}@`) : MASK);

/** A value that was read, changed and sent back: what was masked in it is what is known in its place. */
export function unmasked(value: unknown, known: unknown): unknown {
  if (value === MASK) return typeof known === "string" ? known : value;
  if (!isObject(value) || !isObject(known)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, unmasked(child, known[name])]));
}

/** Whether a mask stands in a secret's place. */
export function holdsMask(schema: TSchema, value: unknown): boolean {
  let found = false;
  mapSecrets(schema, value, (secret) => {
    found ||= secret === MASK;
    return secret;
  });
  return found;
}

/** All secrets in a value: of a URL its password, as it stands there and as it is. */
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
