import type { TSchema } from "@sinclair/typebox";
import type { Node } from "jsonc-parser";
import { childOf } from "../schema/secrets.ts";
import { Config } from "./schema.ts";

/** Names a value of a configuration's text that is a secret, or may be one. */
export interface SecretPlace {
  readonly node: Node;
  /** Whether only user and password of it are secret. */
  readonly isUrl: boolean;
}

/**
 * Gives all values that are secrets, in a text of a good syntax, whatever else is wrong with it: what stands under a name that no
 * configuration has, or where something else is expected, may be a secret whose name was misspelt, and of names that stand twice each counts.
 */
export const secretPlaces = (root: Node): SecretPlace[] => within([Config], root);

function within(given: readonly TSchema[], node: Node): SecretPlace[] {
  const schemas = given.flatMap(variantsOf);
  const secret = schemas.find((schema) => schema.secret === true);
  const { type, children = [] } = node;
  if (type === "object" || type === "array") {
    // Within what stands in a secret's own place all is secret.
    const isInPlace = secret !== undefined && !schemas.some((schema) => schema.type === type);
    const at = (step: string | number): TSchema[] => (isInPlace ? [secret] : schemas.flatMap((schema) => inside(schema, step)));
    if (type === "array") return children.flatMap((child, i) => within(at(i), child));
    return children.flatMap(({ children: [name, value] = [] }) =>
      name === undefined || value === undefined ? [] : within(at(String(name.value)), value),
    );
  }
  if (secret !== undefined) return type === "null" ? [] : [{ node, isUrl: secret.isUrl === true }];
  return type !== "string" || schemas.some(isForText) ? [] : [{ node, isUrl: false }];
}

const variantsOf = (schema: TSchema): TSchema[] => (schema.anyOf === undefined ? [schema] : schema.anyOf.flatMap(variantsOf));

/** Gives what a schema says of the value at a step within its own; nothing where there may be none. */
function inside(schema: TSchema, step: string | number): TSchema[] {
  const child = childOf(schema, step);
  if (child !== undefined) return [child];
  return isForAnything(schema) || (schema.type === "object" && typeof step === "string" && schema.additionalProperties !== false)
    ? [{ ...ANYTHING }]
    : [];
}

/** A cast, since a schema of TypeBox has a symbol that nothing here asks for. */
const ANYTHING = {} as TSchema;

const isForAnything = ({ type, const: only }: TSchema): boolean => type === undefined && only === undefined;

const isForText = (schema: TSchema): boolean => isForAnything(schema) || schema.type === "string";

/** Tells whether a secret stands there itself: not as `${NAME}`, behind the name of a scheme or not, and not as a key's hash. */
export const isInTheClear = (secret: string): boolean =>
  secret !== "" && !secret.startsWith("sha256:") && !/^(\w+ )?$/.test(secret.replace(/\$\{[^}]*\}/g, ""));

/** Gives a URL with a mask in the place of user and password; the same one where it holds none, or both come from the environment. */
export function maskedUrl(url: string, mask: string): string {
  if (!url.includes("@") || /\/\/\$\{[^}]*\}(?::\$\{[^}]*\})?@/.test(url)) return url;
  const shown = url.replace(/\/\/[^/]*@/, `//${mask}@`);
  // It is not clear where in it the password is.
  return shown === url ? mask : shown;
}
