import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  existsSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { bytesFor, HEADER, PLAIN, slotsFor } from "../../src/shared/layout.ts";
import { joinRegion, openRegion, type Region } from "../../src/shared/region.ts";
import { LOCKED, Table } from "../../src/shared/table.ts";
import { disk } from "../support/disk.ts";
import { folder } from "../support/process.ts";
import { having } from "../support/programs.ts";
import { parseTicket, ticketText } from "../support/tickets.ts";

const place = folder();
afterAll(() => place[Symbol.dispose]());
let files = 0;
const newPath = (): string => join(place.path, `table-${files++}`);
const SIZE = { maxSubjects: 100 };

function tableOf(region: Region): Table {
  const ticket = region.becomeWorker();
  if (ticket === null) throw new Error("there is no id left");
  return new Table(region.memory, ticket);
}

function count(table: Table, subject: string, by = 1): number {
  table.begin();
  const position = table.enter(table.keyOf("test"), subject, PLAIN);
  if (table.lock(1000) !== LOCKED) throw new Error("not locked");
  const before = table.isNew(position) ? 0 : (table.f64[table.live(position)] ?? 0);
  const next = table.next(position);
  table.f64.fill(0, next, next + 3);
  table.f64[next] = before + by;
  table.change(position, 1e9, false);
  table.commit();
  return before + by;
}

/** Overwrites a word of a file. */
function poke(path: string, word: number, value: number): void {
  const file = openSync(path, "r+");
  writeSync(file, new Int32Array([value]), 0, 4, word * 4);
  closeSync(file);
}

/** Makes a table that has counted something, and is not in use any more. */
function used(): string {
  const path = newPath();
  const region = openRegion(path, SIZE);
  expect(count(tableOf(region), "a", 5)).toBe(5);
  region.close();
  return path;
}

describe("the file of the table", () => {
  test("is this user's alone, and has its size", () => {
    const path = newPath();
    const region = openRegion(path, SIZE);
    expect([region.path, region.why, region.anew, region.isJoined]).toEqual([path, null, null, false]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(path).size).toBe(bytesFor(slotsFor(100)));
    region.close();
  });

  test("has room on the disk for all of it before it is used", () => {
    const path = newPath();
    openRegion(path, SIZE).close();
    expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(bytesFor(slotsFor(100)));
  });

  test("keeps what was counted when it is opened again", () => {
    const path = used();
    const region = openRegion(path, SIZE);
    expect([region.isJoined, region.anew]).toEqual([true, null]);
    expect(count(tableOf(region), "a")).toBe(6);
    region.close();
  });

  test("has one half of its slots free for a million subjects, in 128 MiB", () => {
    expect(slotsFor(1_000_000)).toBe(2 ** 21);
    expect(bytesFor(2 ** 21) / 2 ** 20).toBeLessThan(129);
  });

  const broken: readonly (readonly [what: string, why: RegExp, spoil: (path: string) => void])[] = [
    ["of something else", /not a table/, (path) => writeFileSync(path, Buffer.alloc(statSync(path).size, 7))],
    ["of another layout", /layout 99/, (path) => poke(path, HEADER.layout, 99)],
    ["whose header is torn", /damaged/, (path) => poke(path, HEADER.seed, 1)],
    ["that was truncated", /size/, (path) => truncateSync(path, 70_000)],
    ["that is empty", /size/, (path) => truncateSync(path, 0)],
    ["that was extended", /size/, (path) => truncateSync(path, statSync(path).size + 4096)],
    ["that others may read", /other users/, (path) => chmodSync(path, 0o644)],
    [
      "that is a symbolic link",
      /symbolic link/,
      (path) => {
        renameSync(path, `${path}.elsewhere`);
        symlinkSync(`${path}.elsewhere`, path);
      },
    ],
  ];
  for (const [what, why, spoil] of broken)
    test(`is made anew in the place of one ${what}, which stays as it is`, () => {
      const path = used();
      spoil(path);
      // Another name keeps the old one's bytes in sight.
      const old = `${path}.elsewhere`;
      if (!existsSync(old)) linkSync(path, old);
      const before = readFileSync(old);
      const region = openRegion(path, SIZE);
      expect(region.path).toBe(path);
      expect(region.isJoined).toBe(false);
      expect(region.anew).toMatch(why);
      expect(count(tableOf(region), "a")).toBe(1);
      region.close();
      expect(readFileSync(old).equals(before)).toBe(true);
      expect(statSync(path).isFile()).toBe(true);
      expect(statSync(path).mode & 0o777).toBe(0o600);
    });

  /** Changes words that the checksum covers, and the checksum with them. */
  function change(path: string, words: Readonly<Record<number, number>>): void {
    const i32 = new Int32Array(Bun.mmap(path, { shared: true }).buffer);
    for (const [word, value] of Object.entries(words)) i32[Number(word)] = value;
    let sum = 0x81_1c_9d_c5 | 0;
    for (let k = 0; k < HEADER.checksum; k++) sum = Math.imul((sum ^ (i32[k] ?? 0)) + (sum >>> 15), 0x01_00_01_93);
    i32[HEADER.checksum] = sum;
  }

  const foreign: readonly (readonly [what: string, why: RegExp, words: Readonly<Record<number, number>>])[] = [
    ["another boot", /before the system was started/, { [HEADER.boot]: 12345 }],
    ["no seed", /seed/, { [HEADER.seed]: 0, [HEADER.seed + 1]: 0 }],
    ["another number of slots than its size", /slots/, { [HEADER.slots]: 64 }],
  ];
  for (const [what, why, words] of foreign)
    test(`is made anew in the place of one with ${what}`, () => {
      const path = used();
      change(path, words);
      const region = openRegion(path, SIZE);
      expect(region.anew).toMatch(why);
      expect(count(tableOf(region), "a")).toBe(1);
      region.close();
    });

  test("goes on in a container that was started again, whose processes are others", () => {
    const path = used();
    change(path, { [HEADER.namespace]: 1 });
    const region = openRegion(path, SIZE);
    expect([region.anew, region.isJoined]).toEqual([null, true]);
    expect(count(tableOf(region), "a")).toBeGreaterThan(1);
    region.close();
    // From here on it is its own.
    const again = openRegion(path, SIZE);
    expect(again.isJoined).toBe(true);
    again.close();
  });

  test("is not taken from another container that uses it: memory is then private", () => {
    const path = newPath();
    const theirs = openRegion(path, SIZE);
    change(path, { [HEADER.namespace]: 1 });
    const region = openRegion(path, SIZE);
    expect(region.path).toBeNull();
    expect(region.why).toMatch(/another container uses/);
    expect(count(tableOf(region), "a")).toBe(1);
    theirs.close();
  });

  test("is made anew for another number of subjects, and whoever has the old one keeps it", () => {
    const path = newPath();
    const before = openRegion(path, SIZE);
    const table = tableOf(before);
    expect(count(table, "a")).toBe(1);
    const after = openRegion(path, { maxSubjects: 1000 });
    expect(after.anew).toMatch(/size/);
    expect(count(tableOf(after), "a")).toBe(1);
    expect(count(table, "a")).toBe(2);
    before.close();
    after.close();
  });

  test("is shared by two owners at a hand-over, whose workers have ids of their own", () => {
    const path = newPath();
    const old = openRegion(path, SIZE);
    const next = openRegion(path, SIZE);
    expect(next.isJoined).toBe(true);
    const [one, other] = [tableOf(old), tableOf(next)];
    expect(one.worker).not.toBe(other.worker);
    expect(count(one, "a")).toBe(1);
    expect(count(other, "a")).toBe(2);
    old.close();
    expect(count(other, "a")).toBe(3);
    next.close();
  });

  test("takes nothing of what an owner that was killed has left half made", () => {
    const path = used();
    writeFileSync(`${path}.123.new`, "half");
    writeFileSync(`${path}.0badcafe.0`, "a slab of another table");
    poke(path, HEADER.layout, 99);
    openRegion(path, SIZE).close();
    const own = path.slice(path.lastIndexOf("/") + 1);
    expect(
      readdirSync(place.path)
        .filter((name) => name.startsWith(`${own}.`))
        .sort(),
    ).toEqual([`${own}.lock`, `${own}.used`]);
  });

  test("is private memory where there is no such folder, and says why", () => {
    const region = openRegion(join(place.path, "nowhere", "table"), SIZE);
    expect(region.path).toBeNull();
    expect(region.why).toContain("nowhere");
    expect(count(tableOf(region), "a")).toBe(1);
  });

  test("is private memory without a reason where none is asked for", () => {
    const region = openRegion(null, SIZE);
    expect([region.path, region.why]).toEqual([null, null]);
    expect(count(tableOf(region), "a")).toBe(1);
  });

  having("mount").test("is private memory on a full disk, and says so, and nothing is left there", () => {
    using full = disk(2);
    writeFileSync(join(full.path, "table"), "not a table");
    full.fill();
    const region = openRegion(join(full.path, "table"), { maxSubjects: 100_000 });
    expect(region.path).toBeNull();
    expect(region.why).toMatch(/no room/);
    expect(count(tableOf(region), "a")).toBe(1);
    expect(readFileSync(join(full.path, "table"), "utf8")).toBe("not a table");
    expect(readdirSync(full.path).filter((name) => name.endsWith(".new"))).toEqual([]);
  });
});

describe("a worker of the table", () => {
  test("joins by its ticket, once", () => {
    const path = newPath();
    const owner = openRegion(path, SIZE);
    const ticket = owner.letWorker();
    if (ticket === null) throw new Error("there is no id left");
    expect(parseTicket(ticketText(ticket))).toEqual(ticket);
    const region = joinRegion(path, ticket);
    expect(count(new Table(region.memory, ticket), "a")).toBe(1);
    expect(() => joinRegion(path, ticket)).toThrow(/no place for worker/);
    expect(owner.workers()).toEqual([{ worker: ticket.worker, generation: ticket.generation, pid: process.pid }]);
    region.close();
    owner.close();
  });

  test("that was declared dead before it came does not join", () => {
    const path = newPath();
    const owner = openRegion(path, SIZE);
    const ticket = owner.letWorker();
    if (ticket === null) throw new Error("there is no id left");
    expect(owner.declareDead(ticket)).toBe(true);
    expect(owner.declareDead(ticket)).toBe(false);
    expect(() => joinRegion(path, ticket)).toThrow(/no place for worker/);
    owner.close();
  });

  test("does not join a table that took the place of its own", () => {
    const path = newPath();
    const owner = openRegion(path, SIZE);
    const ticket = owner.letWorker();
    if (ticket === null) throw new Error("there is no id left");
    const other = openRegion(path, { maxSubjects: 1000 });
    other.letWorker();
    expect(() => joinRegion(path, ticket)).toThrow(/no place for worker/);
    owner.close();
    other.close();
  });

  test("has an id from 1 to 254; there is no 255th", () => {
    const region = openRegion(null, SIZE);
    const ids = Array.from({ length: 254 }, () => region.letWorker()?.worker);
    expect(ids).toEqual(Array.from({ length: 254 }, (_, i) => i + 1));
    expect(region.letWorker()).toBeNull();
    region.declareDead({ worker: 77, generation: 1, seed: 0 });
    expect(region.letWorker()).toMatchObject({ worker: 77, generation: 2 });
  });

  test("that was killed while nobody looked is found dead by the next owner", async () => {
    const path = newPath();
    const script = `
      import { openRegion } from ${JSON.stringify(join(import.meta.dir, "../../src/shared/region.ts"))};
      const region = openRegion(${JSON.stringify(path)}, { maxSubjects: 100 });
      region.becomeWorker();
      console.log("here");
      setInterval(() => region, 1000);`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
    await child.stdout.getReader().read();
    // The file is in use: only the kernel can say that this one is dead.
    const held = openRegion(path, SIZE);
    expect(held.workers()).toMatchObject([{ worker: 1, pid: child.pid }]);
    child.kill("SIGKILL");
    await child.exited;
    const next = openRegion(path, SIZE);
    expect([next.isJoined, next.workers()]).toEqual([true, []]);
    held.close();
    next.close();
  });
});
