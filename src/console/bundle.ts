import { brotliDecompressSync } from "node:zlib";
import type { Built } from "./build.ts";
import type { PageSource } from "./pages.ts";

/** True in the binary, where scripts/build.ts defines it: the pages are in it. In a checkout there is no such name. */
declare const SLUICE_HAS_PAGES: boolean;
const isEmbedded = typeof SLUICE_HAS_PAGES !== "undefined";

/** Holds a file of a page, in each coding that a browser may take. */
export interface PageFile {
  readonly type: string;
  readonly etag: string;
  readonly br: Uint8Array<ArrayBuffer>;
  readonly gzip: Uint8Array<ArrayBuffer>;
  readonly plain: Uint8Array<ArrayBuffer>;
}

/** Holds what a page loads. */
export interface PageFiles {
  readonly script: PageFile;
  readonly style: PageFile;
}

/**
 * Gives a page's files: from the binary, or built now in a checkout. Rejects where they can't be built.
 */
export async function bundleOf(page: PageSource): Promise<PageFiles> {
  const { script, style } = isEmbedded ? await fromBinary(page) : await fromSource(page);
  return { script: fileOf("text/javascript; charset=utf-8", script), style: fileOf("text/css; charset=utf-8", style) };
}

async function fromBinary({ name }: PageSource): Promise<Built> {
  const { EMBEDDED } = await import("./embedded.ts");
  const { script, style } = EMBEDDED[name];
  return { script: await Bun.file(script).bytes(), style: await Bun.file(style).bytes() };
}

async function fromSource(page: PageSource): Promise<Built> {
  const { buildPage, QUICK } = await import("./build.ts");
  return buildPage(page, QUICK);
}

function fileOf(type: string, br: Uint8Array<ArrayBuffer>): PageFile {
  const plain = new Uint8Array(brotliDecompressSync(br));
  return { type, etag: `W/"${Bun.hash(plain).toString(36)}"`, br, gzip: Bun.gzipSync(plain), plain };
}
