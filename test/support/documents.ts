import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type ParseError, parse } from "jsonc-parser";

const ROOT = resolve(import.meta.dir, "../..");

/** A piece of configuration that people are shown. */
export interface Example {
  /** `README.md:87` */
  readonly place: string;
  readonly text: string;
}

/** Lists the `jsonc` blocks of README.md and docs/: each is a configuration, or some of its fields. */
export function documentedConfigs(): Example[] {
  const files = ["README.md", ...[...new Bun.Glob("docs/**/*.md").scanSync({ cwd: ROOT })].sort()];
  return files.flatMap((file) => {
    const text = readFileSync(resolve(ROOT, file), "utf8");
    return [...text.matchAll(/^```jsonc\n(.*?)^```/gms)].map((match) => {
      const block = match[1] ?? "";
      const isWhole = block.replace(/^\s*(\/\/.*\n\s*)*/, "").startsWith("{");
      return { place: `${file}:${text.slice(0, match.index).split("\n").length}`, text: isWhole ? block : `{\n${block}\n}` };
    });
  });
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
