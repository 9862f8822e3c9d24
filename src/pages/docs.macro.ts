import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";

/**
 * Tells whether a page of the docs folder, by its path there, is for those who run or call Sluice. How it is built, and why so, is read
 * beside the source: those pages name its files, and would only lengthen what users search.
 */
export const isForUsers = (file: string): boolean => file !== "ARCHITECTURE.md" && !file.startsWith("adr/");

/** How hard Brotli tries: a start from the source compresses them each time. */
const QUALITY = 5;

/**
 * Gives the users' pages by their path without `.md`, as JSON that is compressed by Brotli and written in base64. Runs when the program is
 * bundled: they become part of the binary, so that they fit its version and work offline. Compressed, since the binary holds what is written
 * in it once as text and once as bytecode.
 */
export const embeddedDocs = (): string => {
  const folder = fileURLToPath(new URL("../../docs", import.meta.url));
  const pages: Record<string, string> = {};
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
    const file = name.replaceAll("\\", "/");
    if (file.endsWith(".md") && isForUsers(file)) pages[file.replace(/\.md$/, "")] = readFileSync(`${folder}/${file}`, "utf8");
  }
  const text = Buffer.from(JSON.stringify(pages));
  return brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: QUALITY } }).toString("base64");
};
