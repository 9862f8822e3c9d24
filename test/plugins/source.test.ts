import { expect, test } from "bun:test";
import { statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isUnchanged, sourcesOf } from "../../src/plugins/source.ts";
import { folder } from "../support/process.ts";

test("a file that is written twice within one tick of the file system's clock has changed", () => {
  using home = folder();
  const file = join(home.path, "p.ts");
  // Whole milliseconds, so that the time can be set again to the digit.
  const now = new Date();
  const write = (text: string) => {
    writeFileSync(file, text);
    utimesSync(file, now, now);
  };
  write("export default 1;");
  const { size, mtimeMs } = statSync(file);
  const sources = sourcesOf(file);
  expect(isUnchanged(sources)).toBe(true);
  write("export default 2;");
  expect(statSync(file)).toMatchObject({ size, mtimeMs });
  expect(isUnchanged(sources)).toBe(false);
});
