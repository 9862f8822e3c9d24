import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Runs when the program is bundled: the documentation becomes part of the binary, so that it fits the version and works offline. */
export const embeddedDocs = (): Record<string, string> => {
  const folder = fileURLToPath(new URL("../../docs", import.meta.url));
  const pages: Record<string, string> = {};
  for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort())
    if (file.endsWith(".md")) pages[file.replaceAll("\\", "/").replace(/\.md$/, "")] = readFileSync(`${folder}/${file}`, "utf8");
  return pages;
};
