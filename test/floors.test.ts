// How the house stands. There are no exceptions.
import { describe, expect, test } from "bun:test";
import { join, relative } from "node:path";
import biome from "../biome.json";
import { namedTooEarly, withSources } from "./support/declarations.ts";

const ROOT = join(import.meta.dir, "..");
const SOURCE = join(ROOT, "src");

/** The folders and single files of src, lowest first. A file imports values from its own floor and from those before it, types from all. */
const FLOORS = [
  [
    "version.ts",
    "assets.d.ts",
    "values",
    "schema",
    "edge",
    "http",
    "grpc",
    "storage",
    "shared",
    "redis",
    "telemetry",
    "exchange",
    "audit",
    "records",
  ],
  [
    "limits",
    "tiers",
    "consumers",
    "keys",
    "issuers",
    "identity",
    "plugins",
    "guard",
    "health",
    "usage",
    "tokens",
    "prices",
    "pools",
    "upstreams",
    "models",
    "mcp",
    "events",
    "cache",
    "compression",
    "authorize",
    "routes",
    "sessions",
  ],
  [
    "activities",
    "activities-worker.ts",
    "entry-points.ts",
    "webhooks",
    "explain",
    "judge",
    "verification",
    "selfservice",
    "backups",
    "demo",
    "pages",
    "console",
    "stats",
    "history",
    "shadow",
    "observers",
  ],
  ["config", "imports", "versions", "admin", "gateway", "cli", "main.ts"],
].flat();

const floorOf = (file: string): string => file.split("/", 1)[0] ?? file;

/** The floors above its own from which each file imports a value, as text. */
async function upwardImports(): Promise<Record<string, string>> {
  const transpiler = new Bun.Transpiler({ loader: "ts" });
  const found: Record<string, string> = {};
  for (const file of [...new Bun.Glob("**/*.ts").scanSync(SOURCE)].sort()) {
    // What is imported as a type alone is not among these.
    const imports = transpiler.scanImports(await Bun.file(join(SOURCE, file)).text());
    const floors = imports
      .filter(({ path }) => path.startsWith("."))
      .map(({ path }) => relative(SOURCE, join(SOURCE, file, "..", path)))
      // The embedded demo's configuration and other texts lie beside src.
      .filter((path) => !path.startsWith(".."))
      .map(floorOf)
      .filter((floor) => FLOORS.indexOf(floor) > FLOORS.indexOf(floorOf(file)));
    if (floors.length > 0) found[file] = [...new Set(floors)].sort().join(" ");
  }
  return found;
}

describe("the source", () => {
  test("has a floor for each folder, and each once", () => {
    const there = [...new Bun.Glob("*").scanSync({ cwd: SOURCE, onlyFiles: false })];
    expect(there.filter((name) => !FLOORS.includes(name))).toEqual([]);
    expect(new Set(FLOORS).size).toBe(FLOORS.length);
  });

  test("imports values from below alone", async () => {
    expect(await upwardImports()).toEqual({});
  });

  test("has no function over 80 lines that does not give its reason", () => {
    // The linter looks: a reason stands in a biome-ignore beside the function.
    expect(biome.overrides).toEqual([
      {
        includes: ["src/**"],
        linter: { rules: { complexity: { noExcessiveLinesPerFunction: { level: "error", options: { maxLines: 80 } } } } },
      },
    ]);
    const { stdout } = Bun.spawnSync(
      [join(ROOT, "node_modules/.bin/biome"), "lint", "--only=complexity/noExcessiveLinesPerFunction", "--reporter=json", "src"],
      { cwd: ROOT, stderr: "ignore", env: { PATH: process.env.PATH } },
    );
    const report = JSON.parse(stdout.toString()) as { readonly diagnostics: readonly { readonly location: { readonly path: string } }[] };
    expect(report.diagnostics.map(({ location }) => location.path)).toEqual([]);
  });

  test("names no local of a function above its declaration, not even in a closure", async () => {
    const found: Record<string, string> = {};
    await withSources(ROOT, async ({ program }) => {
      for (const file of [...new Bun.Glob("**/*.ts").scanSync(SOURCE)].sort()) {
        const source = await program.getSourceFile(join(SOURCE, file));
        const names = source === undefined ? [] : namedTooEarly(source);
        if (names.length > 0) found[file] = [...new Set(names)].sort().join(" ");
      }
    });
    expect(found).toEqual({});
  }, 60_000);
});
