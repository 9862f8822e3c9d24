import type { Node } from "jsonc-parser";

/** Says what text is to stand in the place of a value in a configuration's text. */
export interface Edit {
  readonly node: Node;
  readonly text: string;
}

/** Replaces values in a text; from the last one on, so that the places before stay right. In YAML a text in double quotes may stand wherever one may. */
export function edited(text: string, edits: readonly Edit[]): string {
  let result = text;
  // What YAML names by an alias stands in several places of the tree, and in one of the text.
  const once = new Map(edits.map((edit) => [edit.node.offset, edit]));
  for (const { node, text: value } of [...once.values()].toSorted((a, b) => b.node.offset - a.node.offset)) {
    const end = node.offset + node.length;
    // A block of YAML ends behind its last line.
    const line = result.slice(node.offset, end).endsWith("\n") ? "\n" : "";
    result = `${result.slice(0, node.offset)}${JSON.stringify(value)}${line}${result.slice(end)}`;
  }
  return result;
}
