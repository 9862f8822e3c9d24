import { type Node, type ParseError, parseTree } from "jsonc-parser";
import type { Fault } from "../schema/faults.ts";
import { syntaxFault } from "../schema/syntax.ts";

/** Holds a configuration's text as a syntax tree, as far as it could be read, and the first thing that is wrong with its syntax. */
export interface Tree {
  /** `undefined`: nothing could be read. YAML gives the same kinds of nodes as JSON; one that is named by an alias stands in several places. */
  readonly root: Node | undefined;
  readonly fault: Fault | null;
}

/** Tells whether a file's name says that it holds YAML. */
export const isYamlName = (file: string): boolean => /\.ya?ml$/i.test(file);

/** Says that a text is another program's: names that YAML 1.1 merges (`<<`) and tags that only that program knows are taken. */
export interface Foreign {
  readonly isForeign: true;
}

/**
 * Reads a configuration's text: YAML where its file's name says so, else JSON with comments and trailing commas. Without a file its first
 * character tells: JSON begins with a brace. What is named as YAML may be JSON as well.
 */
export function treeOf(text: string, file: string | null, foreign?: Foreign): Tree {
  if (file !== null && !isYamlName(file)) return jsonTree(text, file);
  if (!/^\uFEFF?\s*(?:[{[]|\/[/*])/.test(text)) return yamlTree(text, foreign);
  const json = jsonTree(text, file);
  if (json.fault === null) return json;
  const yaml = yamlTree(text, foreign);
  return yaml.fault === null || file !== null ? yaml : json;
}

/** Gives line and column of a place in a text, both from 1. */
export function position(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const column = offset - before.lastIndexOf("\n");
  // No editor shows a byte order mark.
  return { line: before.split("\n").length, column: before.startsWith("\uFEFF") && column === offset + 1 ? offset : column };
}

export const EMPTY = "the file is empty";

/** Writes a value as YAML. */
export const yamlText = (value: unknown): string => yamlReader().yamlTextOf(value);

const yamlTree = (text: string, foreign?: Foreign): Tree => yamlReader().yamlTreeOf(text, foreign !== undefined);

/** Loads what reads YAML with the first text that needs it: a start with JSON does without. */
// `import()` would make everybody wait who reads a configuration.
const yamlReader = () => require("./yaml-tree.ts") as typeof import("./yaml-tree.ts");

function jsonTree(marked: string, file: string | null): Tree {
  // With a space in a byte order mark's place all else stays where it is.
  const text = marked.replace(/^\uFEFF/, " ");
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true });
  const [first] = errors;
  if (first === undefined && root !== undefined) return { root, fault: null };
  const message = first === undefined || text.trim() === "" ? EMPTY : (otherFormat(text, file) ?? syntaxFault(first));
  return { root, fault: { path: [], message, ...position(marked, first?.offset ?? 0) } };
}

/** Tells what the file is instead of JSON; `null` when its first lines don't tell. */
function otherFormat(text: string, file: string | null): string | null {
  const lines = text.split("\n").filter((line) => !/^\s*(#|\/\/|$)/.test(line));
  const [first = "", second = ""] = lines;
  if (/^(---|%YAML)/.test(first) || /^"?[A-Za-z_][\w-]*"?:(\s|$)/.test(first) || (/^- /.test(first) && !first.includes("{")))
    return `this is YAML, and the file is read as JSON: let its name end in .yaml${file === null ? "" : `, as in ${yamlNameFor(file)}`}`;
  if (/^\[+[A-Za-z_][\w.-]*\]+\s*$/.test(first) || (/^[A-Za-z_][\w.-]*\s*=\s*\S/.test(first) && !second.includes("{")))
    return "this is TOML; Sluice reads JSON with comments, and YAML: convert it, for example with `yq -p=toml -o=json`";
  return null;
}

const yamlNameFor = (file: string): string => `${file.replace(/^.*[\\/]/, "").replace(/\.[^.]*$/, "")}.yaml`;
