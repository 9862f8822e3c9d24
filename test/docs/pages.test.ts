import { expect } from "bun:test";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { having } from "../support/programs.ts";
import { runPage } from "./page.ts";

const { test } = having("curl", "openssl", "python3");

const ROOT = resolve(import.meta.dir, "../..");
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md") && !file.startsWith("reference/"))
    .map((file) => join("docs", file))
    .sort(),
];

// Every block of every page is run, or says where else it is.
for (const page of pages)
  test(`${page} does what it says`, async () => {
    expect(await runPage(join(ROOT, page))).toBeGreaterThanOrEqual(0);
  });
