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
  return Object.fromEntries(
    Object.entries(value).map(([name, child]) => {
      const of = properties?.[name] ?? others;
      return [name, of === undefined ? child : mapSecrets(of, child, map)];
    }),
  );
}

/** For people: a URL keeps its host, anything else is hidden whole. */
export const masked: Replace = (secret, isUrl) => (isUrl ? secret.replace(/\/\/.*@/, "//***@") : "***");

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
