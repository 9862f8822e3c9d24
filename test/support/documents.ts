import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type ParseError, parse } from "jsonc-parser";
import { blocksOf } from "../docs/blocks.ts";

const ROOT = resolve(import.meta.dir, "../..");

/** A piece of configuration that people are shown. */
export interface Example {
  /** `README.md:87` */
  readonly place: string;
  readonly text: string;
}

/** Lists the configurations in README.md and docs/: whole ones, and fragments of some fields. */
export function documentedConfigs(): Example[] {
  const files = ["README.md", ...[...new Bun.Glob("docs/**/*.md").scanSync({ cwd: ROOT })].sort()];
  return files.flatMap((file) =>
    blocksOf(readFileSync(resolve(ROOT, file), "utf8"))
      .filter(({ language, words: [first = ""] }) => /^jsonc?$/.test(language) && (first === "fragment" || first.endsWith("config.json")))
      .map(({ text, line, words: [first] }) => ({
        place: `${file}:${line}`,
        text: first === "fragment" ? `{\n${text.trim().replace(/,$/, "")}\n}` : text,
      })),
  );
}

/** Lists the configuration files of the repository. */
export const repositoryConfigs = (): Example[] =>
  ["config.json", ...[...new Bun.Glob("deploy/**/config*.json").scanSync({ cwd: ROOT })].sort()].map((file) => ({
    place: file,
    text: readFileSync(resolve(ROOT, file), "utf8"),
  }));

/** Reads JSON with comments and trailing commas. */
export function parsed(text: string): unknown {
  const errors: ParseError[] = [];
  const value: unknown = parse(text, errors, { allowTrailingComma: true });
  if (errors.length > 0) throw new Error(`not JSON: ${JSON.stringify(errors)}\n${text}`);
  return value;
}
