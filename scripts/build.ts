// Compiles the gateway into one file. `bun run build` for this platform, `bun run build:all` for every one that is released.
import { rmSync } from "node:fs";

/** The platforms that are released. */
export const RELEASED = ["linux-x64", "linux-arm64", "linux-x64-musl", "linux-arm64-musl", "darwin-arm64", "darwin-x64", "windows-x64"];

/** Threads of their own have entry points of their own. */
const WORKERS = ["src/activities-worker.ts"];

const FLAGS = [
  "--compile",
  // Names are kept: Elysia reads its handlers' source text.
  "--minify-syntax",
  "--minify-whitespace",
  "--sourcemap",
  "--bytecode",
  "--format=esm",
  // What lies in the working directory must not change how the binary behaves.
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
];

/** Compiles the gateway into `outfile`, for this platform or for `target`. Ends the process when it can't. */
export function compile(outfile: string, target: string | null): void {
  const build = Bun.spawnSync(
    [
      process.execPath,
      "build",
      ...FLAGS,
      ...(target === null ? [] : [`--target=bun-${target}`]),
      "src/main.ts",
      ...WORKERS,
      "--outfile",
      outfile,
    ],
    { stdout: "pipe", stderr: "pipe" },
  );
  if (!build.success) {
    console.error(`${build.stdout}${build.stderr}`);
    process.exit(1);
  }
  // The binary has its source map inside.
  for (const map of new Bun.Glob("*.map").scanSync("dist")) rmSync(`dist/${map}`);
  console.log(`${outfile}  ${Math.round(Bun.file(outfile).size / 1e6)} MB`);
}

/** Where the binary for a platform goes. */
export const binaryFor = (target: string): string => `dist/sluice-${target}${target.startsWith("windows") ? ".exe" : ""}`;

if (import.meta.main) {
  const [outfile] = Bun.argv.slice(2).filter((argument) => !argument.startsWith("--"));
  if (Bun.argv.includes("--all")) for (const target of RELEASED) compile(binaryFor(target), target);
  else compile(outfile ?? "dist/sluice", null);
}
