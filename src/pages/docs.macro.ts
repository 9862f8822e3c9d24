import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * Tells whether a page of the docs folder, by its path there, is for those who run or call Sluice. How it is built, and why so, is read
 * beside the source: those pages name its files, and would only lengthen what users search.
 */
export const isForUsers = (file: string): boolean => file !== "ARCHITECTURE.md" && !file.startsWith("adr/");

/**
 * Gives the users' pages by their path without `.md`. Runs when the program is bundled: they become part of the binary, so that they fit
 * its version and work offline.
 */
export const embeddedDocs = (): Record<string, string> => {
  const folder = fileURLToPath(new URL("../../docs", import.meta.url));
  const pages: Record<string, string> = {};
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
    const file = name.replaceAll("\\", "/");
    if (file.endsWith(".md") && isForUsers(file)) pages[file.replace(/\.md$/, "")] = readFileSync(`${folder}/${file}`, "utf8");
  }
  return pages;
};
