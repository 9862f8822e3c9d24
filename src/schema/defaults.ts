import type { TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { isObject } from "../values/json.ts";

/**
 * Fills the defaults of its schema into a value. TypeBox's own `Value.Default` puts an object's fields into a default list, so that
 * `"limits": { … }` without its brackets would pass for no limits at all. A value given for a field whose default is an object is laid over
 * that default.
 */
export function withDefaults(schema: TSchema, given: unknown): unknown {
  const { default: otherwise } = schema;
  let value = given;
  if (value === undefined) value = structuredClone(otherwise);
  else if (isObject(value) && isObject(otherwise)) value = { ...structuredClone(otherwise), ...value };
  if (Array.isArray(schema.anyOf)) {
    for (const variant of schema.anyOf as TSchema[]) {
      const filled = withDefaults(variant, structuredClone(value));
      if (Value.Check(variant, filled)) return filled;
    }
    return value;
  }
  if (schema.type === "array" && Array.isArray(value)) return value.map((item) => withDefaults(schema.items as TSchema, item));
  if (schema.type !== "object" || !isObject(value)) return value;
  for (const [name, property] of Object.entries((schema.properties ?? {}) as Record<string, TSchema>)) {
    const filled = withDefaults(property, Object.hasOwn(value, name) ? value[name] : undefined);
    if (filled !== undefined) value[name] = filled;
  }
  for (const property of Object.values((schema.patternProperties ?? {}) as Record<string, TSchema>))
    for (const name of Object.keys(value)) value[name] = withDefaults(property, value[name]);
  return value;
}
