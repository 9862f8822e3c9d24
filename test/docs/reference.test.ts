import { expect, test } from "bun:test";
import { join, resolve } from "node:path";
import { reference } from "../../scripts/reference.ts";

const FOLDER = resolve(import.meta.dir, "../../docs/reference");

test("the reference is what the program says of itself: `bun run docs` writes it", async () => {
  for (const [name, text] of Object.entries(await reference()))
    expect([name, await Bun.file(join(FOLDER, name)).text()]).toEqual([name, text]);
});
