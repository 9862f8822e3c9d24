import type { Node } from "jsonc-parser";
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Pair,
  parseDocument,
  stringify,
  type YAMLMap,
  type Node as YamlNode,
} from "yaml";
import { EMPTY, position, type Tree } from "./tree.ts";

/** The most levels of a document within each other. */
const MAX_DEPTH = 100;

/** The most values that aliases may add to a document: a few lines of aliases of aliases would stand for billions. */
const MAX_ALIASED = 100_000;

/** Says that a document is well-formed and can't be taken, and where. */
class Refused extends Error {
  constructor(
    message: string,
    readonly offset: number,
  ) {
    super(message);
  }
}

/** Reads YAML 1.2 by its core schema, as the tree that the same in JSON would give. `isForeign`: see `Foreign`. */
export function yamlTreeOf(text: string, isForeign = false): Tree {
  const refused = (message: string, offset: number, root?: Node): Tree => ({
    root,
    fault: { path: [], message, ...position(text, offset) },
  });
  let document: Document.Parsed;
  try {
    document = parseDocument(text, {
      ...{ version: "1.2", schema: "core", merge: false, prettyErrors: false, logLevel: "error" },
      // Names that stand twice are told of with their path, as in JSON.
      uniqueKeys: false,
    });
  } catch (error) {
    return refused(error instanceof RangeError ? TOO_DEEP : `this is not YAML: ${String(error)}`, 0);
  }
  const [first] = document.errors;
  const [unknown] = document.warnings;
  try {
    const conversion = new Conversion(isForeign);
    const root = document.contents === null ? undefined : conversion.of(document.contents, 0);
    if (first !== undefined) return refused(syntaxText(first.code, first.message), first.pos[0], root);
    if (unknown !== undefined && !isForeign)
      return refused(`this is no tag of YAML's core schema: ${unknown.message}`, unknown.pos[0], root);
    if (root === undefined) return refused(EMPTY, 0);
    if (conversion.nothingAt !== null) return refused(NOTHING, conversion.nothingAt, root);
    return { root, fault: null };
  } catch (error) {
    // A document with faults may have broken parts.
    if (first !== undefined) return refused(syntaxText(first.code, first.message), first.pos[0]);
    if (error instanceof Refused) return refused(error.message, error.offset);
    if (error instanceof RangeError) return refused(TOO_DEEP, 0);
    throw error;
  }
}

/** Writes a value as YAML, each text in one line. */
export const yamlTextOf = (value: unknown): string => stringify(value, { lineWidth: 0 });

/** A block whose lines are comments has no value: ips would be null, which is everybody. */
const NOTHING = "nothing stands here: write null if that is meant";

const TOO_DEEP = `has more than ${MAX_DEPTH} levels within each other`;

function syntaxText(code: string, message: string): string {
  if (code === "MULTIPLE_DOCS") return "a configuration is one document: nothing may follow this ---";
  if (code === "TAB_AS_INDENT") return "this is not YAML: lines are indented by spaces, not by tabs";
  return `this is not YAML: ${message.slice(0, 1).toLowerCase()}${message.slice(1)}`;
}

/** Makes nodes as those of JSON. What an alias names is one node in several places. */
class Conversion {
  private readonly anchors = new Map<string, YamlNode>();
  private readonly made = new Map<YamlNode, Node>();
  private readonly sizes = new Map<Node, number>();
  private readonly open = new Set<YamlNode>();
  private aliased = 0;
  /** The offset of the first field without a value; `null`: each has one, or the text is another program's. */
  nothingAt: number | null = null;

  constructor(private readonly isForeign: boolean) {}

  of(node: unknown, depth: number): Node {
    if (isAlias(node)) return this.named(node.source, node.range?.[0] ?? 0);
    if (!isMap(node) && !isSeq(node) && !isScalar(node)) throw new Refused("this is not YAML: a value is expected here", 0);
    const [offset, end] = node.range ?? [0, 0];
    if (depth > MAX_DEPTH) throw new Refused(TOO_DEEP, offset);
    if (node.anchor !== undefined) this.anchors.set(node.anchor, node);
    this.open.add(node);
    const made = isScalar(node)
      ? scalar(node.value, offset, end - offset)
      : isMap(node)
        ? this.object(node, offset, end - offset, depth)
        : this.withSize({
            ...{ type: "array", offset, length: end - offset },
            children: node.items.map((item) => (item === null ? nothing(offset) : this.of(item, depth + 1))),
          });
    this.open.delete(node);
    if (node.anchor !== undefined) this.made.set(node, made);
    return made;
  }

  private object(map: YAMLMap, offset: number, length: number, depth: number): Node {
    return this.withSize({ type: "object", offset, length, children: merged(map.items.map((pair) => this.property(pair, offset, depth))) });
  }

  private property({ key, value }: Pair, outer: number, depth: number): Node {
    const name = isAlias(key) ? this.of(key, depth) : null;
    const text =
      name === null ? (isScalar(key) ? nameIn(key.value, key.source) : null) : name.type === "string" ? String(name.value) : null;
    const [offset, end] = (key as YamlNode | null)?.range ?? [outer, outer];
    if (text === null) throw new Refused("a field's name must be a text", offset);
    if (isScalar(key) && key.anchor !== undefined) {
      this.anchors.set(key.anchor, key);
      this.made.set(key, { type: "string", value: text, offset, length: end - offset });
    }
    if (text === "<<" && isScalar(key) && key.type === "PLAIN" && !this.isForeign)
      throw new Refused("<< is not in YAML 1.2: write the fields themselves, or name the whole value by an alias", offset);
    const child = value === null ? nothing(end) : this.of(value, depth + 1);
    if (isNothing(value) && !this.isForeign) this.nothingAt ??= child.offset;
    const named: Node = { type: "string", value: text, offset, length: end - offset };
    return { type: "property", offset, length: child.offset + child.length - offset, children: [named, child] };
  }

  private named(anchor: string, offset: number): Node {
    const source = this.anchors.get(anchor);
    if (source === undefined) throw new Refused(`there is no &${anchor} before this`, offset);
    const node = this.made.get(source);
    if (node === undefined || this.open.has(source)) throw new Refused(`*${anchor} stands within what it names`, offset);
    this.aliased += this.sizes.get(node) ?? 1;
    if (this.aliased > MAX_ALIASED) throw new Refused(`aliases stand for more than ${MAX_ALIASED} values`, offset);
    return node;
  }

  private withSize(node: Node): Node {
    let size = 1;
    for (const child of node.children ?? []) {
      const value = child.type === "property" ? child.children?.[1] : child;
      size += value === undefined ? 0 : (this.sizes.get(value) ?? 1);
    }
    this.sizes.set(node, size);
    return node;
  }
}

/** Puts the fields of what `<<` names among an object's own, which come first. */
function merged(properties: Node[]): Node[] {
  if (!properties.some(({ children }) => children?.[0]?.value === "<<")) return properties;
  const own = properties.filter(({ children }) => children?.[0]?.value !== "<<");
  const names = new Set(own.map(({ children }) => children?.[0]?.value));
  const given = properties
    .filter((property) => !own.includes(property))
    .flatMap(({ children }) => (children?.[1]?.type === "array" ? (children[1].children ?? []) : [children?.[1]]))
    .flatMap((node) => (node?.type === "object" ? (node.children ?? []) : []));
  for (const property of given) {
    const name = property.children?.[0]?.value;
    if (names.has(name)) continue;
    names.add(name);
    own.push(property);
  }
  return own;
}

/** Tells whether nothing is written where a value can be: neither null nor ~, nor a tag that says so. */
const isNothing = (value: unknown): boolean =>
  value === null || (isScalar(value) && value.value === null && (value.source ?? "") === "" && value.tag === undefined);

const nothing = (offset: number): Node => ({ type: "null", value: null, offset, length: 0 });

/** Gives a field's name as it is written where it looks like something else, such as 404 or true. */
const nameIn = (value: unknown, source: string | undefined): string | null =>
  typeof value === "string" ? value : source === undefined || source === "" ? null : source;

function scalar(value: unknown, offset: number, length: number): Node {
  if (value === null || value === undefined) return { type: "null", value: null, offset, length };
  switch (typeof value) {
    case "string":
    case "boolean":
      return { type: typeof value as "string" | "boolean", value, offset, length };
    case "number":
      if (!Number.isFinite(value)) throw new Refused("is no number that a configuration can hold", offset);
      return { type: "number", value, offset, length };
    default:
      throw new Refused("is no value that a configuration can hold", offset);
  }
}
