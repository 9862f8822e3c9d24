import type { TProperties, TSchema } from "@sinclair/typebox";
import { findNodeAtLocation, getNodeValue, type Node } from "jsonc-parser";
import { type Edit, edited } from "../config/edits.ts";
import { Config } from "../config/schema.ts";
import { isInTheClear, maskedUrl, secretPlaces } from "../config/secret-places.ts";
import { treeOf as syntaxOf } from "../config/tree.ts";
import type { Path, Step } from "../schema/faults.ts";
import { mapSecrets } from "../schema/secrets.ts";
import { isObject } from "../values/json.ts";
import { withoutKeys } from "../values/redact.ts";

const MASK = "***";

/** Reads a text as JSON or YAML; nothing where its syntax is not good all through: then nobody knows where in it a value ends. */
function treeOf(text: string): Node | undefined {
  const { root, fault } = syntaxOf(text, null);
  return fault === null ? root : undefined;
}

/**
 * Gives a configuration file's text as others may see it: secrets that stand in it in the clear are masked, and so is what may be one. What is
 * `${NAME}` stays, and so do hashes of keys. Of a text that can't be read only the known names at the beginnings of lines are shown.
 *
 * @example
 * maskedText('{ "issuers": { "main": { "secret": "hunter2" } } }'); // '{ "issuers": { "main": { "secret": "***" } } }'
 */
export function maskedText(text: string): string {
  const root = treeOf(text);
  if (root === undefined) return text.trim() === "" ? text : outlineOf(text);
  const edits = secretPlaces(root).flatMap(({ node, isUrl }): Edit[] => {
    const secret = String(node.value);
    const shown = isUrl ? maskedUrl(secret, MASK) : isInTheClear(secret) ? MASK : secret;
    return shown === secret ? [] : [{ node, text: shown }];
  });
  return withoutKeys(edited(text, edits));
}

/** Gives the lines of a text with nothing of them but brackets and a known name at the beginning. */
function outlineOf(text: string): string {
  const known = namesIn(Config);
  return text
    .split("\n")
    .map((line) => {
      const rest = line.trimEnd();
      const [, start = "", field = "", name = "", value = ""] = /^([\s{[-]*)((?:"(?=\w+")|)(\w+)"?:)?(.*)$/s.exec(rest) ?? [];
      const isShown = field !== "" && known.has(name);
      const [lead, hidden] = isShown ? [`${start}${field}`, value] : [start, `${field}${value}`];
      if (/^[\s{}[\],]*$/.test(hidden)) return `${lead}${hidden}`;
      return `${lead}${isShown ? " " : ""}${JSON.stringify(MASK)}`;
    })
    .join("\n");
}

/** Gives the names of all fields that a schema knows. */
function namesIn({ items, properties = {}, patternProperties = {}, anyOf = [] }: TSchema): Set<string> {
  const children: TSchema[] = [...Object.values(properties as TProperties), ...Object.values(patternProperties as TProperties), ...anyOf];
  if (items !== undefined) children.push(items);
  return new Set([...Object.keys(properties), ...children.flatMap((child) => [...namesIn(child)])]);
}

/**
 * Puts the secrets of the text before back where one that was read, changed and sent back still holds masks. Entries of lists are matched by
 * what they are called. A mask for which nothing is found stays.
 */
export function unmaskedText(text: string, before: string): string {
  const [root, old] = [treeOf(text), treeOf(before)];
  if (root === undefined || old === undefined || !text.includes(MASK)) return text;
  const [value, known]: unknown[] = [getNodeValue(root), getNodeValue(old)];
  const edits: Edit[] = [];
  mapSecrets(Config, value, (secret, _, path) => {
    const was = secret.includes(MASK) ? knownAt(value, known, path) : undefined;
    const node = was === undefined ? undefined : findNodeAtLocation(root, [...path]);
    if (was !== undefined && node !== undefined) edits.push({ node, text: was });
    return secret;
  });
  return edited(text, edits);
}

/** Gives the paths at which a mask stands: in a secret's place, or in that of what might have been one. */
export function masksInText(text: string): Path[] {
  const root = treeOf(text);
  const paths: Path[] = [];
  const look = (value: unknown, path: Path): void => {
    if (value === MASK) paths.push(path);
    else if (Array.isArray(value)) for (const [i, each] of value.entries()) look(each, [...path, i]);
    else if (isObject(value)) for (const [name, each] of Object.entries(value)) look(each, [...path, name]);
  };
  if (root === undefined) return paths;
  const value: unknown = getNodeValue(root);
  look(value, []);
  mapSecrets(Config, value, (secret, isUrl, path) => {
    if (isUrl && secret.includes(`//${MASK}@`)) paths.push(path);
    return secret;
  });
  return paths;
}

/** Gives the names of the environment's variables that a configuration's text takes values from. */
export function variablesIn(text: string): Set<string> {
  const names = new Set<string>();
  const look = (value: unknown): void => {
    if (typeof value === "string")
      for (const [, escaped, name] of value.matchAll(/\$(\$\{)|\$\{([^}]*)\}/g)) {
        if (escaped === undefined && name !== undefined) names.add(name);
      }
    else if (Array.isArray(value) || isObject(value)) for (const each of Object.values(value)) look(each);
  };
  const root = treeOf(text);
  if (root !== undefined) look(getNodeValue(root));
  return names;
}

/** The fields by which entries of lists are told apart, the first of them that an entry has. */
const IDENTIFYING = ["id", "name", "path", "url", "type"] as const;

/** Gives the text in `known` at the place that corresponds to `path` in `value`; nothing where that is not certain. */
function knownAt(value: unknown, known: unknown, path: Path): string | undefined {
  let [here, there] = [value, known];
  for (const step of path) {
    const entry = (here as Record<Step, unknown>)[step];
    if (typeof step === "string") there = isObject(there) && Object.hasOwn(there, step) ? there[step] : undefined;
    else there = Array.isArray(there) ? counterpartOf(entry, there) : undefined;
    here = entry;
  }
  return typeof there === "string" ? there : undefined;
}

function counterpartOf(entry: unknown, list: readonly unknown[]): unknown {
  if (!isObject(entry)) return undefined;
  const field = IDENTIFYING.find((each) => typeof entry[each] === "string");
  const found = field === undefined ? [] : list.filter((other) => isObject(other) && other[field] === entry[field]);
  return found.length === 1 ? found[0] : undefined;
}
