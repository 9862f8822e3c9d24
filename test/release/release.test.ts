import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Entry, tar, zip } from "../../scripts/archive.ts";
import { billOfMaterials } from "../../scripts/sbom.ts";
import { folder } from "../support/process.ts";

const TIME = Date.parse("2026-11-21T12:34:56Z") / 1000;
const ENTRIES: Entry[] = [
  { path: "it/", bytes: null, mode: 0o755 },
  { path: "it/empty", bytes: new Uint8Array(), mode: 0o644 },
  { path: "it/program", bytes: Buffer.from("#!/bin/sh\necho hello\n"), mode: 0o755 },
  { path: "it/block", bytes: Buffer.alloc(512, "x"), mode: 0o600 },
];
const run = (args: string[], cwd: string) => `${Bun.spawnSync(args, { cwd, stdout: "pipe", stderr: "inherit" }).stdout}`;

describe("an archive of a release", () => {
  test("is read by tar, with modes and times, and is the same to the byte when it is made again", () => {
    using home = folder();
    writeFileSync(join(home.path, "it.tar"), tar(ENTRIES, TIME));
    run(["tar", "-xf", "it.tar"], home.path);
    expect(run(["it/program"], home.path)).toBe("hello\n");
    expect(run(["stat", "-c", "%a %s %Y", "it/empty", "it/program", "it/block"], home.path)).toBe(
      `644 0 ${TIME}\n755 21 ${TIME}\n600 512 ${TIME}\n`,
    );
    expect(Buffer.compare(tar(ENTRIES, TIME), tar(ENTRIES, TIME))).toBe(0);
  });

  test("for Windows is read by what reads zip", () => {
    using home = folder();
    writeFileSync(join(home.path, "it.zip"), zip(ENTRIES, TIME));
    const script =
      "import sys,zipfile; z=zipfile.ZipFile('it.zip'); assert z.testzip() is None; print([(i.filename,i.file_size,i.date_time) for i in z.infolist()])";
    const python = Bun.which("python3");
    // Without Python: at least the end of the directory is where it belongs.
    if (python === null) expect(Buffer.from(zip(ENTRIES, TIME)).readUInt16LE(zip(ENTRIES, TIME).length - 12)).toBe(ENTRIES.length);
    else
      expect(run([python, "-c", script], home.path).trim()).toBe(
        "[('it/', 0, (2026, 11, 21, 12, 34, 56)), ('it/empty', 0, (2026, 11, 21, 12, 34, 56)), ('it/program', 21, (2026, 11, 21, 12, 34, 56)), ('it/block', 512, (2026, 11, 21, 12, 34, 56))]",
      );
  });
});

test("the bill of materials names what is in the binary, with hash and licence, and no tool of the build", () => {
  const bill = billOfMaterials(resolve(import.meta.dir, "../.."), TIME) as {
    bomFormat: string;
    components: { name: string; group?: string; purl: string; hashes?: { alg: string; content: string }[]; licenses?: unknown[] }[];
    dependencies: { ref: string; dependsOn: string[] }[];
  };
  expect(bill.bomFormat).toBe("CycloneDX");
  const names = bill.components.map(({ group, name }) => (group === undefined ? name : `${group}/${name}`));
  for (const name of ["bun", "elysia", "ioredis", "drizzle-orm", "@sinclair/typebox", "denque"]) expect(names).toContain(name);
  for (const tool of ["typescript", "@biomejs/biome", "fast-check", "ajv", "playwright-core"]) expect(names).not.toContain(tool);
  for (const { name, purl, hashes, licenses } of bill.components) {
    expect([name, licenses?.length]).toEqual([name, 1]);
    if (name !== "bun") expect([purl, hashes?.[0]?.content.length]).toEqual([expect.stringMatching(/^pkg:npm\/.+@\d/), 128]);
  }
  const refs = new Set(bill.dependencies.map(({ ref }) => ref));
  for (const { dependsOn } of bill.dependencies) for (const ref of dependsOn) expect([ref, refs.has(ref)]).toEqual([ref, true]);
});
