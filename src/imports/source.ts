import type { Node } from "jsonc-parser";
import { treeOf } from "../config/tree.ts";

/** Says that a file can't be read as what it is meant to be: nothing comes of it. */
export class Unreadable extends Error {
  constructor(
    readonly file: string,
    readonly line: number,
    message: string,
  ) {
    super(message);
  }
}

/** Names a line of a file, from 1. */
export interface Line {
  readonly file: string;
  readonly line: number;
}

/** Reads a document in JSON or YAML. Throws `Unreadable`. */
export function documentOf(file: string, text: string): Place {
  let tree: ReturnType<typeof treeOf>;
  try {
    tree = treeOf(text, null, { isForeign: true });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Unreadable(file, 1, "has too many levels within each other");
  }
  const { root, fault } = tree;
  if (fault !== null) throw new Unreadable(file, fault.line ?? 1, fault.message);
  return new Place(file, startsOf(text), root, root?.offset ?? 0);
}

/** The offsets at which a text's lines begin. */
function startsOf(text: string): readonly number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

/** Is a place in a document: a value, or where one could be. Asking for what is not there gives a place without a value. */
export class Place implements Line {
  constructor(
    readonly file: string,
    private readonly starts: readonly number[],
    private readonly node: Node | undefined,
    private readonly offset: number,
  ) {}

  get line(): number {
    let [low, high] = [0, this.starts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.starts[middle] ?? 0) <= this.offset) low = middle;
      else high = middle;
    }
    return low + 1;
  }

  get isThere(): boolean {
    return this.node !== undefined && this.node.type !== "null";
  }

  get isObject(): boolean {
    return this.node?.type === "object";
  }

  /** Gives the value of a field within, of fields within each other. */
  at(...names: readonly string[]): Place {
    let here: Place = this;
    for (const name of names) {
      const property =
        here.node?.type === "object" ? here.node.children?.findLast(({ children }) => children?.[0]?.value === name) : undefined;
      here = here.child(property?.children?.[1], property?.offset ?? here.offset);
    }
    return here;
  }

  /** The entries of a list; none where there is no list. */
  get items(): readonly Place[] {
    return this.node?.type === "array" ? (this.node.children ?? []).map((each) => this.child(each, each.offset)) : [];
  }

  /** The fields of an object with their values; none where there is no object. */
  get fields(): readonly (readonly [name: string, value: Place])[] {
    if (this.node?.type !== "object") return [];
    return (this.node.children ?? []).map(
      ({ children, offset }) => [String(children?.[0]?.value), this.child(children?.[1], offset)] as const,
    );
  }

  /** The text; that of a number as well. `null`: there is none. */
  get text(): string | null {
    return this.node?.type === "string" || this.node?.type === "number" ? String(this.node.value) : null;
  }

  get number(): number | null {
    if (this.node?.type === "number") return Number(this.node.value);
    return this.node?.type === "string" && /^\d+(\.\d+)?$/.test(String(this.node.value)) ? Number(this.node.value) : null;
  }

  get flag(): boolean | null {
    return this.node?.type === "boolean" ? this.node.value === true : null;
  }

  /** The texts of a list, or the one text that stands in a list's place. */
  get texts(): readonly string[] {
    return this.text !== null ? [this.text] : this.items.flatMap(({ text }) => text ?? []);
  }

  private child(node: Node | undefined, offset: number): Place {
    return new Place(this.file, this.starts, node, offset);
  }
}
