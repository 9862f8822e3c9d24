import { findNodeAtLocation, getNodeValue, type Node } from "jsonc-parser";
import { Config } from "../config/schema.ts";
import { treeOf as syntaxOf } from "../config/tree.ts";
import type { Path, Step } from "../schema/faults.ts";
import { mapSecrets } from "../schema/secrets.ts";
import { isObject } from "../values/json.ts";
import { withoutKeys } from "../values/redact.ts";

const MASK = "***";

/** What stands in a place of the file's text. */
interface Edit {
  readonly node: Node;
  readonly text: string;
}

/** Reads a text as JSON or YAML, as far as it can be read. */
const treeOf = (text: string): Node | undefined => syntaxOf(text, null).root;

/**
 * Gives a configuration file's text as others may see it: secrets that stand in it in the clear are masked. What is `${NAME}` stays, and so do
 * hashes of keys.
 *
 * @example
 * maskedText('{ "issuers": { "main": { "secret": "hunter2", … } } }'); // '{ "issuers": { "main": { "secret": "***", … } } }'
 */
export function maskedText(text: string): string {
  const root = treeOf(text);
  if (root === undefined) return withoutKeys(text);
  const edits: Edit[] = [];
  mapSecrets(Config, getNodeValue(root), (secret, isUrl, path) => {
    const shown = isUrl
      ? secret.replace(/\/\/(?!\$\{[^}]*\}(?::\$\{[^}]*\})?@)[^/]*@/, `//${MASK}@`)
      : isInTheClear(secret)
        ? MASK
        : secret;
    const node = shown === secret ? undefined : findNodeAtLocation(root, [...path]);
    if (node !== undefined) edits.push({ node, text: shown });
    return secret;
  });
  return withoutKeys(edited(text, edits));
}

/** Tells whether a secret stands there itself: not as `${NAME}`, behind the name of a scheme or not, and not as a key's hash. */
const isInTheClear = (secret: string): boolean =>
  secret !== "" && !secret.startsWith("sha256:") && !/^(\w+ )?$/.test(secret.replace(/\$\{[^}]*\}/g, ""));

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

/** Gives the paths at which a mask stands in a secret's place. */
export function masksInText(text: string): Path[] {
  const root = treeOf(text);
  const paths: Path[] = [];
  if (root !== undefined)
    mapSecrets(Config, getNodeValue(root), (secret, isUrl, path) => {
      if (secret === MASK || (isUrl && secret.includes(`//${MASK}@`))) paths.push(path);
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

/** Replaces values in a text; from the last one on, so that the places before stay right. In YAML a text in double quotes may stand wherever one may. */
function edited(text: string, edits: readonly Edit[]): string {
  let result = text;
  // What YAML names by an alias is found once for each place that it stands for.
  const once = new Map(edits.map((edit) => [edit.node.offset, edit]));
  for (const { node, text: value } of [...once.values()].toSorted((a, b) => b.node.offset - a.node.offset)) {
    const end = node.offset + node.length;
    // A block of YAML ends behind its last line.
    const line = result.slice(node.offset, end).endsWith("\n") ? "\n" : "";
    result = `${result.slice(0, node.offset)}${JSON.stringify(value)}${line}${result.slice(end)}`;
  }
  return result;
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
