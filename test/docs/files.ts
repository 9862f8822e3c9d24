import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";

/** The folder of the repository. */
export const ROOT = resolve(import.meta.dir, "../..");

/** The files of the documentation, by their paths from the root, in order. */
export const FILES: readonly string[] = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => join("docs", file))
    .sort(),
];
