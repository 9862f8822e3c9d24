import type { TSchema } from "@sinclair/typebox";
import { isObject } from "../values/json.ts";
import { withDefaults } from "./defaults.ts";

/** Gives a value without what its schema's defaults say anyway, as a person would write it: with its defaults filled in it is the same again. */
export function minimal(schema: TSchema, value: unknown): unknown {
  const small = without(schema, value);
  return Bun.deepEquals(withDefaults(schema, structuredClone(small)), value) ? small : value;
}

function without(schema: TSchema, value: unknown): unknown {
  if (Array.isArray(schema.anyOf)) {
    const kind = Array.isArray(value) ? "array" : "object";
    const variants = (schema.anyOf as TSchema[]).filter(({ type }) => type === kind);
    return variants.length === 1 && variants[0] !== undefined ? without(variants[0], value) : value;
  }
  if (Array.isArray(value)) return schema.items === undefined ? value : value.map((each) => without(schema.items as TSchema, each));
  if (!isObject(value)) return value;
  const [pattern] = Object.values((schema.patternProperties ?? {}) as Record<string, TSchema>);
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, each]): [string, unknown][] => {
      const field = (schema.properties?.[name] as TSchema | undefined) ?? pattern;
      if (field === undefined) return [[name, each]];
      const isDefault = field.default !== undefined && Bun.deepEquals(withDefaults(field, undefined), each);
      return isDefault ? [] : [[name, without(field, each)]];
    }),
  );
}
