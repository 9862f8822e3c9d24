import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";
import type { PageSource } from "./pages.ts";

/** Holds a page's script and style, compressed by Brotli. */
export interface Built {
  readonly script: Uint8Array<ArrayBuffer>;
  readonly style: Uint8Array<ArrayBuffer>;
}

/** How hard Brotli tries: for a binary that is built once, and for a checkout where somebody waits. */
export const SMALLEST = 11;
export const QUICK = 4;

/**
 * Builds a page from its source in `page/`. Throws where it can't be built: the error lists what the bundler says.
 *
 * @example
 * const { script } = await buildPage(page, QUICK);
 */
export async function buildPage({ name }: PageSource, quality: number): Promise<Built> {
  const folder = fileURLToPath(new URL("page/", import.meta.url));
  const build = await Bun.build({
    entrypoints: [`${folder}${name}.tsx`, `${folder}${name}.css`],
    target: "browser",
    minify: true,
    jsx: { runtime: "automatic", importSource: "preact", development: false },
    define: { "process.env.NODE_ENV": '"production"' },
    throw: false,
  });
  if (!build.success) throw new Error(`the page ${name} can't be built:\n${build.logs.join("\n")}`);
  const compressed = async (end: string): Promise<Uint8Array<ArrayBuffer>> => {
    const output = build.outputs.find(({ path }) => path.endsWith(end));
    if (output === undefined) throw new Error(`the page ${name} has no ${end}`);
    const params = { [constants.BROTLI_PARAM_QUALITY]: quality };
    return new Uint8Array(brotliCompressSync(new Uint8Array(await output.arrayBuffer()), { params }));
  };
  return { script: await compressed(".js"), style: await compressed(".css") };
}
