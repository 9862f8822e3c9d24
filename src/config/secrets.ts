import type { TSchema } from "@sinclair/typebox";
import { isObject } from "../json.ts";

/** The value with each text in it replaced that its schema calls a secret. */
export function mapSecrets(schema: TSchema, value: unknown, map: (secret: string) => string): unknown {
  if (schema.secret === true && typeof value === "string") return map(value);
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
export const masked = (secret: string): string => (/^\w+:\/\//.test(secret) ? secret.replace(/\/\/[^@/]*@/, "//***@") : "***");

/** All secrets in a value: of a URL with a password in it, that. */
export function secretsIn(schema: TSchema, value: unknown): string[] {
  const found: string[] = [];
  mapSecrets(schema, value, (secret) => {
    if (/^\w+:\/\//.test(secret)) found.push(/:\/\/[^:@/]*:([^@/]+)@/.exec(secret)?.[1] ?? "");
    else found.push(secret);
    return secret;
  });
  return found.filter((secret) => secret !== "");
}
