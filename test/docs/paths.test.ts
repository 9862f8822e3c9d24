import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { FILES, ROOT } from "./files.ts";

/** Files and folders of the repository that a text names, but for those with a word in capitals in place of a name. */
const namedIn = (text: string): string[] =>
  [...text.matchAll(/`((?:src|test|scripts|deploy|drizzle)\/[\w./-]*)`/g)]
    .map(([, path = ""]) => path)
    .filter((path) => !/\b[A-Z]{3,}\b/.test(path));

test("every file of the repository that the documentation names is there", async () => {
  const gone: string[] = [];
  for (const page of FILES)
    for (const path of namedIn(await Bun.file(join(ROOT, page)).text())) if (!existsSync(join(ROOT, path))) gone.push(`${page}: ${path}`);
  expect(gone).toEqual([]);
});

test("every room has its floor in the drawing of them", async () => {
  const text = await Bun.file(join(ROOT, "docs/ARCHITECTURE.md")).text();
  const [drawn = ""] = text.match(/```text\n values[\s\S]*?```/) ?? [];
  const rooms = readdirSync(join(ROOT, "src"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const words = new Set(drawn.match(/\b[a-z]+\b/g));
  expect(rooms.map(({ name }) => name).filter((name) => !words.has(name))).toEqual([]);
});
