import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Tells whether a page of the docs folder, by its path there, is for those who run or call Sluice. How it is built, and why so, is read
 * beside the source: those pages name its files, and would only lengthen what users search.
 */
export const isForUsers = (file: string): boolean => file !== "ARCHITECTURE.md" && !file.startsWith("adr/");

/** Reads the users' pages of a checkout, by their path in the docs folder without `.md`. */
export function docFiles(): Record<string, string> {
  const folder = join(import.meta.dir, "../../docs");
  const pages: Record<string, string> = {};
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
    const file = name.replaceAll("\\", "/");
    if (file.endsWith(".md") && isForUsers(file)) pages[file.replace(/\.md$/, "")] = readFileSync(join(folder, file), "utf8");
  }
  return pages;
}
