import { expect } from "bun:test";
import { join } from "node:path";
import { having } from "../support/programs.ts";
import { FILES, ROOT } from "./files.ts";
import { runPage } from "./page.ts";

const { test } = having("curl", "openssl", "python3");

const pages = FILES.filter((file) => !file.startsWith("docs/reference/"));

// Every block of every page is run, or says where else it is.
for (const page of pages)
  test(`${page} does what it says`, async () => {
    expect(await runPage(join(ROOT, page))).toBeGreaterThanOrEqual(0);
  });
