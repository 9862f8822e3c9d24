// Compiles the gateway into one file. `bun run build` for this platform, `bun run build:all` for every one that is released.
import { $ } from "bun";

const RELEASED = ["linux-x64", "linux-arm64", "linux-x64-musl", "linux-arm64-musl", "darwin-arm64", "darwin-x64", "windows-x64"];

async function compile(outfile: string, target: string | null): Promise<void> {
  // Names are kept: Elysia reads its handlers' source text.
  await $`bun build --compile --minify-syntax --minify-whitespace --sourcemap --bytecode --format=esm
    --no-compile-autoload-dotenv --no-compile-autoload-bunfig
    ${target === null ? [] : [`--target=bun-${target}`]} src/main.ts --outfile ${outfile}`.quiet();
  await $`rm -f ${outfile}.map dist/main.js.map dist/sluice.map`.quiet().nothrow();
  console.log(`${outfile}  ${Math.round(Bun.file(outfile).size / 1e6)} MB`);
}

const [outfile] = Bun.argv.slice(2).filter((argument) => !argument.startsWith("--"));
if (Bun.argv.includes("--all")) {
  for (const target of RELEASED) await compile(`dist/sluice-${target}${target.startsWith("windows") ? ".exe" : ""}`, target);
} else await compile(outfile ?? "dist/sluice", null);
