// Compiles the gateway into one file. `bun run build` for this platform, `bun run build:all` for every one that is released.
import { rmSync } from "node:fs";
import { brotliCompressSync } from "node:zlib";
import { SWAGGER_FILES } from "../src/admin/swagger-files.ts";
import { buildPage, SMALLEST } from "../src/console/build.ts";
import { PAGES } from "../src/console/pages.ts";
import { docFiles } from "../src/pages/doc-files.ts";
import { kafkaPlugin } from "./kafka-plugin.ts";
import { withoutUnwanted } from "./unwanted.ts";

/** The platforms that are released. */
export const RELEASED = ["linux-x64", "linux-arm64", "linux-x64-musl", "linux-arm64-musl", "darwin-arm64", "darwin-x64", "windows-x64"];

/** Threads of their own have entry points of their own. */
const WORKERS = ["src/activities-worker.ts"];

/** Compiles the gateway into `outfile`, for this platform or for `target`. Ends the process when it can't. */
export async function compile(outfile: string, target: string | null): Promise<void> {
  await compileProgram(["src/main.ts", ...WORKERS], outfile, target);
  // The binary has its source map inside.
  for (const map of new Bun.Glob("*.map").scanSync("dist")) rmSync(`dist/${map}`);
  console.log(`${outfile}  ${Math.round(Bun.file(outfile).size / 1e6)} MB`);
}

/** Compiles a program as the gateway is compiled; the first of the files is where it begins. Ends the process when it can't. */
export async function compileProgram(files: string[], outfile: string, target: string | null): Promise<void> {
  await buildPages();
  const build = await Bun.build({
    entrypoints: files,
    compile: {
      outfile,
      ...(target === null ? {} : { target: `bun-${target}` as Bun.Build.CompileTarget }),
      // What lies in the working directory must not change how the binary behaves.
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
    // Names are kept: Elysia reads its handlers' source text.
    minify: { syntax: true, whitespace: true },
    sourcemap: "linked",
    bytecode: true,
    format: "esm",
    plugins: [await kafkaPlugin(), withoutUnwanted],
    define: { SLUICE_HAS_PAGES: "true" },
    throw: false,
  });
  if (build.success) return;
  for (const log of build.logs) console.error(String(log));
  process.exit(1);
}

/** Builds the pages that the binary holds, and compresses Swagger UI and the documentation, where the modules `embedded.ts`, `swagger-embedded.ts` and `docs-embedded.ts` look for them. */
async function buildPages(): Promise<void> {
  for (const page of PAGES) {
    const { script, style } = await buildPage(page, SMALLEST);
    await Bun.write(`dist/pages/${page.name}.js.br`, script);
    await Bun.write(`dist/pages/${page.name}.css.br`, style);
  }
  for (const name of SWAGGER_FILES) {
    const file = Bun.file(Bun.resolveSync(`swagger-ui-dist/${name}`, import.meta.dir));
    await Bun.write(`dist/pages/${name}.br`, brotliCompressSync(await file.bytes()));
  }
  await Bun.write("dist/pages/docs.json.br", brotliCompressSync(JSON.stringify(docFiles())));
}

/** Where the binary for a platform goes. */
export const binaryFor = (target: string): string => `dist/sluice-${target}${target.startsWith("windows") ? ".exe" : ""}`;

if (import.meta.main) {
  const [outfile] = Bun.argv.slice(2).filter((argument) => !argument.startsWith("--"));
  if (Bun.argv.includes("--all")) for (const target of RELEASED) await compile(binaryFor(target), target);
  else await compile(outfile ?? "dist/sluice", null);
}
