import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, join } from "node:path";
import type { Draft } from "./draft.ts";
import { type Line, Unreadable } from "./source.ts";

/** Is one directive of nginx, with those in its braces. */
export interface Directive extends Line {
  readonly name: string;
  readonly words: readonly string[];
  /** `null`: it has no braces. */
  readonly block: readonly Directive[] | null;
}

const MAX_DEPTH = 32;
const MAX_FILES = 1000;
/** The most bytes of a file that is included. */
const MAX_BYTES = 16_000_000;

/** Reads nginx' configuration with all that it includes. `folder`: where relative names begin. Throws `Unreadable`. */
export function directivesOf(file: string, text: string, draft: Draft): readonly Directive[] {
  const folder = dirname(file);
  const open: string[] = [];
  let files = 0;
  const included = (directives: readonly Directive[]): Directive[] =>
    directives.flatMap((directive) => {
      if (directive.name !== "include") return [{ ...directive, block: directive.block === null ? null : included(directive.block) }];
      const pattern = directive.words[0] ?? "";
      const found = filesOf(pattern, folder);
      if (found.length === 0 && !/[*?[]/.test(pattern)) draft.note(directive, `${pattern} can't be read, and what it includes is left out`);
      return found.flatMap((name) => {
        if (open.includes(name) || open.length >= MAX_DEPTH || ++files > MAX_FILES) {
          draft.note(directive, `${name} is not included: it includes itself, or there are too many`);
          return [];
        }
        open.push(name);
        try {
          const inner = textOf(name);
          if (inner === null) draft.note(directive, `${name} can't be read, and what it includes is left out`);
          return inner === null ? [] : included(new Parser(name, inner).all());
        } finally {
          open.pop();
        }
      });
    });
  return included(new Parser(file, text).all());
}

/** Gives the files that an include means: a copy of /etc/nginx elsewhere names files by their old places. */
function filesOf(pattern: string, folder: string): readonly string[] {
  const places = isAbsolute(pattern)
    ? [pattern, ...(pattern.startsWith("/etc/nginx/") ? [join(folder, pattern.slice(11))] : [])]
    : [join(folder, pattern)];
  for (const place of places) {
    if (!/[*?[]/.test(place)) {
      if (existsSync(place)) return [place];
      continue;
    }
    const fixed = dirname(place.slice(0, place.search(/[*?[]/) + 1));
    try {
      const found = [...new Bun.Glob(place.slice(fixed.length + 1)).scanSync({ cwd: fixed, onlyFiles: false })].sort();
      if (found.length > 0)
        return found.map((name) => join(fixed, name)).filter((name) => !basename(name).startsWith(".") && statSync(name).isFile());
    } catch {
      // There is no such folder.
    }
  }
  return [];
}

function textOf(file: string): string | null {
  try {
    return statSync(file).size > MAX_BYTES ? null : readFileSync(file, "utf8");
  } catch {
    return null;
  }
}

const ESCAPED: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", '"': '"', "'": "'", "\\": "\\" };

/** Parses one file as nginx does: words, quoted or not, up to a semicolon or a brace. */
class Parser {
  private at = 0;
  private line = 1;

  constructor(
    private readonly file: string,
    private readonly text: string,
  ) {}

  all(): Directive[] {
    const found = this.block(0);
    if (this.at < this.text.length) throw this.fault('unexpected "}"');
    return found;
  }

  private block(depth: number): Directive[] {
    if (depth > MAX_DEPTH) throw this.fault("has too many levels within each other");
    const found: Directive[] = [];
    for (;;) {
      this.skip();
      if (this.at >= this.text.length || this.text[this.at] === "}") return found;
      found.push(this.directive(depth));
    }
  }

  private directive(depth: number): Directive {
    const { line, file } = this;
    const words: string[] = [];
    for (;;) {
      this.skip();
      const character = this.text[this.at];
      if (character === undefined) throw new Unreadable(file, line, `the directive ${words[0] ?? ""} has no end`);
      if (character === "}") throw this.fault('unexpected "}"');
      if (character === ";" || character === "{") {
        const [name, ...rest] = words;
        if (name === undefined) throw this.fault(`unexpected ${JSON.stringify(character)}`);
        this.at++;
        if (character === ";") return { file, line, name, words: rest, block: null };
        if (name.endsWith("_by_lua_block")) return this.raw({ file, line, name, words: rest, block: [] });
        const block = this.block(depth + 1);
        if (this.text[this.at] !== "}") throw new Unreadable(file, line, `the block ${name} has no end`);
        this.at++;
        return { file, line, name, words: rest, block };
      }
      words.push(character === '"' || character === "'" ? this.quoted(character) : this.word());
    }
  }

  /** Passes over a block in another language. */
  private raw(directive: Directive): Directive {
    for (let open = 1; open > 0; this.step()) {
      if (this.at >= this.text.length) throw new Unreadable(directive.file, directive.line, `the block ${directive.name} has no end`);
      if (this.text[this.at] === "{") open++;
      if (this.text[this.at] === "}") open--;
    }
    return directive;
  }

  private quoted(quote: string): string {
    const { line } = this;
    let word = "";
    for (this.at++; this.text[this.at] !== quote; this.step()) {
      if (this.at >= this.text.length) throw new Unreadable(this.file, line, "this text has no closing quote");
      const next = this.text[this.at] === "\\" ? this.text[this.at + 1] : undefined;
      const meant = next === undefined ? undefined : ESCAPED[next];
      if (meant !== undefined) this.at++;
      word += meant ?? this.text[this.at];
    }
    this.at++;
    return word;
  }

  private word(): string {
    let word = "";
    for (; this.at < this.text.length && !/[\s;{}]/.test(this.text[this.at] ?? ""); this.at++) {
      if (this.text.startsWith("${", this.at)) {
        const end = this.text.indexOf("}", this.at);
        if (end > 0 && !this.text.slice(this.at, end).includes("\n")) {
          word += this.text.slice(this.at, end);
          this.at = end;
        }
      } else if (this.text[this.at] === "\\" && this.at + 1 < this.text.length && !/\s/.test(this.text[this.at + 1] ?? "")) {
        word += this.text[this.at];
        this.at++;
      }
      word += this.text[this.at];
    }
    return word;
  }

  private skip(): void {
    for (; this.at < this.text.length; this.step()) {
      if (this.text[this.at] === "#") while (this.at < this.text.length && this.text[this.at] !== "\n") this.at++;
      if (!/\s|\uFEFF/.test(this.text[this.at] ?? " ")) return;
    }
  }

  private step(): void {
    if (this.text[this.at] === "\n") this.line++;
    this.at++;
  }

  private fault(message: string): Unreadable {
    return new Unreadable(this.file, this.line, message);
  }
}
