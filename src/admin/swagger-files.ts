import { brotliDecompressSync } from "node:zlib";

/** True in the binary, where scripts/build.ts defines it. In a checkout there is no such name. */
declare const SLUICE_HAS_PAGES: boolean;
const isEmbedded = typeof SLUICE_HAS_PAGES !== "undefined";

/** The files of Swagger UI that are served. */
export const SWAGGER_FILES = ["swagger-ui.css", "swagger-ui-bundle.js"] as const;
export type SwaggerFile = (typeof SWAGGER_FILES)[number];

/** Gives the text of a file of Swagger UI: from the binary, where it is compressed, or from the package. Rejects where it can't be read. */
export async function swaggerFile(name: SwaggerFile): Promise<string> {
  if (!isEmbedded) return Bun.file(Bun.resolveSync(`swagger-ui-dist/${name}`, import.meta.dir)).text();
  const { SWAGGER } = await import("./swagger-embedded.ts");
  return brotliDecompressSync(await Bun.file(SWAGGER[name]).bytes()).toString();
}
