import { expect, test } from "bun:test";
import { chmodSync, chownSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { replaceFile } from "../../src/versions/file.ts";
import { folder } from "../support/process.ts";

test("a file that is replaced keeps its rights whatever the umask, and nothing is left beside it but the text before", () => {
  using home = folder();
  const file = join(home.path, "config.json");
  writeFileSync(file, "before");
  chmodSync(file, 0o664);
  // What a crash would have left.
  writeFileSync(join(home.path, `.config.json.${process.pid}.part`), "half");
  writeFileSync(join(home.path, `.config.json.before.${process.pid}.part`), "half");
  const { uid, gid } = statSync(file);
  const umask = process.umask(0o077);
  try {
    const putBack = replaceFile(file, "after");
    expect([readFileSync(file, "utf8"), readFileSync(`${file}.before`, "utf8")]).toEqual(["after", "before"]);
    for (const each of [file, `${file}.before`]) expect(statSync(each)).toMatchObject({ uid, gid, mode: 0o100664 });
    putBack();
    expect([readFileSync(file, "utf8"), statSync(file).mode]).toEqual(["before", 0o100664]);
  } finally {
    process.umask(umask);
  }
  expect(readdirSync(home.path).filter((name) => name.endsWith(".part") && !name.includes(String(process.pid)))).toEqual([]);
});

test.skipIf(process.getuid?.() !== 0)("a file that is replaced keeps its owner where that can be", () => {
  using home = folder();
  const file = join(home.path, "config.json");
  writeFileSync(file, "before");
  chownSync(file, 1234, 2345);
  replaceFile(file, "after");
  expect(statSync(file)).toMatchObject({ uid: 1234, gid: 2345 });
});
