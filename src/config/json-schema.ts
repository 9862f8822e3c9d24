import type { TSchema } from "@sinclair/typebox";
import { isObject } from "../values/json.ts";
import { NOT_YET } from "./not-yet.ts";
import { Config } from "./schema.ts";

type Schema = Record<string, unknown>;

/** A pattern for the part of a text that is replaced from the environment before anything is checked. */
const VARIABLE = "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}";

/** The characters of "${A}". */
const SHORTEST_VARIABLE = 4;

/** Annotations of our own. Strict validators refuse keywords that they don't know. */
const OWN_KEYWORDS: readonly string[] = ["expects", "secret", "isUrl", "secretNames", "names"];

/** The values that switch a feature off which this version does not have: the loader takes them. */
const OFF: Schema = {
  description: "Not yet supported: only what switches it off is taken.",
  anyOf: [
    { type: "null" },
    { type: "boolean", enum: [false] },
    { type: "array", maxItems: 0 },
    { type: "object", maxProperties: 0, additionalProperties: false },
  ],
};

/**
 * Gives the configuration's JSON Schema (draft 2020-12) for editors and validators: what `sluice check` takes is valid by it. The schema
 * that the loader checks by describes a configuration with all defaults filled in and all variables replaced; this one describes the file.
 */
export function jsonSchema(): object {
  const root = ofFile(JSON.parse(JSON.stringify(Config)));
  for (const pattern of NOT_YET) allowOff(root, pattern);
  return { $schema: "https://json-schema.org/draft/2020-12/schema", title: "Sluice configuration", ...root };
}

function ofFile(schema: TSchema): Schema {
  const { anyOf } = schema;
  const out: Schema = {};
  for (const [keyword, value] of Object.entries(schema)) {
    if (OWN_KEYWORDS.includes(keyword)) continue;
    if (keyword === "properties" || keyword === "patternProperties")
      out[keyword] = Object.fromEntries(Object.entries(value as Record<string, TSchema>).map(([name, child]) => [name, ofFile(child)]));
    else if (keyword === "items") out.items = ofFile(value as TSchema);
    else if (keyword === "required") {
      // A field with a default may be left out.
      const required = (value as string[]).filter((name) => schema.properties[name]?.default === undefined);
      if (required.length > 0) out.required = required;
    } else if (keyword === "minLength" && value > SHORTEST_VARIABLE) out.pattern = `^[\\s\\S]{${value},}$|${VARIABLE}`;
    else if (keyword === "pattern") out.pattern = `(?:${value})|${VARIABLE}`;
    else if (keyword !== "anyOf" && keyword !== "const") out[keyword] = value;
  }
  // Editors show it as not to be read back.
  if (schema.secret === true) out.writeOnly = true;
  if (schema.const !== undefined) return { ...out, ...oneOf([schema.const]) };
  if (anyOf === undefined) return out;
  const constants = (anyOf as TSchema[]).flatMap((each) => (each.const === undefined ? [] : [each.const]));
  const others = (anyOf as TSchema[]).filter((each) => each.const === undefined).map(ofFile);
  if (constants.length === 0) return { ...out, anyOf: others };
  const { anyOf: taken, ...one } = oneOf(constants) as { anyOf?: Schema[] };
  const variants = [...(taken ?? [one]), ...others];
  return variants.length === 1 ? { ...out, ...variants[0] } : { ...out, anyOf: variants };
}

/** Gives the schema for one of some constants; where they are texts, a variable may stand for them. */
function oneOf(constants: readonly unknown[]): Schema {
  const texts = constants.filter((each) => typeof each === "string");
  if (texts.length < constants.length) return { enum: constants };
  return {
    anyOf: [
      { type: "string", enum: texts },
      { type: "string", pattern: VARIABLE },
    ],
  };
}

/** Lets what is off stand where a feature is missing. */
function allowOff(schema: Schema, [step, ...rest]: readonly string[]): void {
  if (step === undefined) return;
  for (const variant of (schema.anyOf as Schema[] | undefined) ?? []) allowOff(variant, [step, ...rest]);
  if (step === "[]" || step === "*") {
    const inside = step === "[]" ? schema.items : Object.values((schema.patternProperties as Schema | undefined) ?? {})[0];
    if (isObject(inside)) allowOff(inside, rest);
    return;
  }
  const properties = schema.properties as Record<string, Schema> | undefined;
  if (properties === undefined) return;
  if (rest.length === 0) properties[step] ??= OFF;
  else if (properties[step] !== undefined) allowOff(properties[step], rest);
}
