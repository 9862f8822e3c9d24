import { afterAll, describe, expect, test } from "bun:test";
import { readdirSync, statSync } from "node:fs";
import { Chunks, chunkOf, restOf, thirdOf } from "../../src/shared/chunks.ts";
import { LOG } from "../../src/shared/layout.ts";
import { openRegion, type Region } from "../../src/shared/region.ts";
import { LOCKED, Table } from "../../src/shared/table.ts";
import { SharedValue } from "../../src/shared/value.ts";
import { folder } from "../support/process.ts";

const place = folder();
afterAll(() => place[Symbol.dispose]());

const NOW = 100_000;
const LATER = NOW + 3_600_000;
/** Of this size a slab has seven, as the first has the number 0, which says that there is none, and then eight. */
const EIGHTH = 2 ** 19 - 16;

interface Side {
  readonly region: Region;
  readonly table: Table;
  readonly chunks: Chunks;
}

function side(region: Region, maxSlabs = 2): Side {
  const ticket = region.becomeWorker();
  if (ticket === null) throw new Error("there is no id left");
  const table = new Table(region.memory, ticket);
  return { region, table, chunks: new Chunks(region, table, maxSlabs) };
}

const newSide = (maxSlabs = 2): Side => side(openRegion(null, { maxSubjects: 100 }), maxSlabs);

/** Puts a number into a new chunk of a subject. 0: there was none. */
function put(
  { table, chunks }: Side,
  subject: string,
  number: number,
  ends: "commit" | "abort" | "open" = "commit",
  expires = LATER,
  now = NOW,
  unsaved = false,
): number {
  table.begin();
  const position = table.enter(table.keyOf("test"), subject, LOG);
  expect(table.lock(now)).toBe(LOCKED);
  const chunk = chunks.claim(position, EIGHTH, now);
  if (chunk > 0) {
    const memory = chunks.memoryOf(chunk);
    const at = chunks.offsetOf(chunk) / 8;
    memory?.f64.fill(number, at, at + chunks.sizeOf(chunk) / 8);
    table.f64.fill(0, table.next(position), table.next(position) + 2);
    table.f64[table.next(position) + 2] = thirdOf(chunk, 7);
    table.change(position, expires, unsaved);
  }
  if (ends === "commit") table.commit();
  if (ends === "abort" || (ends === "commit" && chunk === 0)) table.abort();
  return chunk;
}

/** What stands in a subject's chunk, from its first number to its last. */
function read({ table, chunks }: Side, subject: string): readonly number[] {
  table.begin();
  if (!table.peek(table.enter(table.keyOf("test"), subject, LOG))) return [];
  const chunk = chunkOf(table.scratch[2] ?? 0);
  expect(restOf(table.scratch[2] ?? 0)).toBe(7);
  const at = chunks.offsetOf(chunk) / 8;
  const numbers = chunks.memoryOf(chunk)?.f64.subarray(at, at + chunks.sizeOf(chunk) / 8) ?? new Float64Array();
  expect(table.isCurrent(0)).toBe(true);
  return [...new Set(numbers)];
}

describe("chunks", () => {
  test("keep what each subject put there, without touching another's", () => {
    const one = newSide();
    for (let i = 0; i < 7; i++) expect(put(one, `s${i}`, i + 1)).toBeGreaterThan(0);
    expect(one.chunks.slabs).toBe(1);
    for (let i = 7; i < 15; i++) expect(put(one, `s${i}`, i + 1)).toBeGreaterThan(0);
    expect(one.chunks.slabs).toBe(2);
    for (let i = 0; i < 15; i++) expect(read(one, `s${i}`)).toEqual([i + 1]);
  });

  test("are told to be used up when all slabs are full; what is there stays", () => {
    const one = newSide(1);
    for (let i = 0; i < 7; i++) put(one, `s${i}`, i + 1);
    expect(put(one, "more", 99)).toBe(0);
    expect(read(one, "more")).toEqual([]);
    for (let i = 0; i < 7; i++) expect(read(one, `s${i}`)).toEqual([i + 1]);
  });

  test("are free once their subject has another, for ever so many changes", () => {
    const one = newSide(1);
    for (let i = 0; i < 500; i++) expect(put(one, `s${i % 6}`, i)).toBeGreaterThan(0);
    expect(read(one, "s0")).toEqual([498]);
  });

  test("are free again after a step that was aborted", () => {
    const one = newSide(1);
    put(one, "a", 1);
    for (let i = 0; i < 50; i++) expect(put(one, "a", 2, "abort")).toBeGreaterThan(0);
    expect(read(one, "a")).toEqual([1]);
  });

  test("are free when their subject has gone, and when its state has expired", () => {
    const one = side(openRegion(null, { maxSubjects: 1 }), 1);
    for (let i = 0; i < 300; i++) expect(put(one, `s${i}`, i, "commit", NOW + 1000, NOW + i * 2000)).toBeGreaterThan(0);
    expect(one.table.counts().evictions).toBe(0);
  });

  test("are free when their state has expired, also when nobody is left who would write it to the database", () => {
    const one = newSide(1);
    for (let i = 0; i < 30; i++) expect(put(one, `s${i}`, i, "commit", NOW + 1000, NOW + i * 2000, true)).toBeGreaterThan(0);
  });

  test("of a worker that died in a step are free, as often as workers die", () => {
    const region = openRegion(null, { maxSubjects: 100 });
    const one = side(region, 1);
    put(one, "a", 1);
    for (let i = 0; i < 30; i++) {
      const other = side(region, 1);
      expect(put(other, i % 2 === 0 ? "a" : "b", 2, "open")).toBeGreaterThan(0);
      region.declareDead({ worker: other.table.worker, generation: other.table.generation, seed: 0 });
    }
    expect(read(one, "a")).toEqual([1]);
    expect(put(one, "a", 3)).toBeGreaterThan(0);
  });

  test("lie in files beside the table that are this user's alone and have room on the disk, and that others find", () => {
    const path = `${place.path}/files`;
    const [one, other] = [side(openRegion(path, { maxSubjects: 100 })), side(openRegion(path, { maxSubjects: 100 }))];
    put(one, "a", 1);
    expect(read(other, "a")).toEqual([1]);
    put(other, "b", 2);
    expect(read(one, "b")).toEqual([2]);
    const slabs = readdirSync(place.path).filter((name) => /^files\.[0-9a-f]{8}\.\d+$/.test(name));
    expect(slabs).toHaveLength(1);
    for (const slab of slabs) {
      const stat = statSync(`${place.path}/${slab}`);
      expect([stat.mode & 0o777, stat.size, stat.blocks * 512 >= stat.size]).toEqual([0o600, 2 ** 22, true]);
    }
    one.region.close();
    other.region.close();
  });
});

describe("a shared value", () => {
  interface State {
    readonly n: number;
    readonly text: string;
  }
  const codec = { initial: (): State => ({ n: 0, text: "" }), encode: JSON.stringify, decode: (text: string) => JSON.parse(text) as State };
  const valueIn = ({ table, chunks }: Side): SharedValue<State> => new SharedValue(table, chunks, table.keyOf("values"), "pool", codec);

  test("is changed by several processes together, and each sees what the others did", () => {
    const path = `${place.path}/values`;
    const [one, other] = [side(openRegion(path, { maxSubjects: 100 })), side(openRegion(path, { maxSubjects: 100 }))];
    const [a, b] = [valueIn(one), valueIn(other)];
    expect(a.read()).toEqual({ n: 0, text: "" });
    for (let i = 0; i < 200; i++) expect((i % 3 === 0 ? a : b).change(NOW, ({ n }) => ({ n: n + 1, text: "é".repeat(n) }))).toBe(true);
    expect(a.read()).toEqual({ n: 200, text: "é".repeat(199) });
    expect(b.read()).toEqual(a.read());
    one.region.close();
    other.region.close();
  });

  test("has room though logs have used up all that they may", () => {
    const one = newSide(8);
    for (let i = 0; put(one, `s${i}`, i) > 0; i++);
    expect(valueIn(one).change(NOW, ({ n }) => ({ n: n + 1, text: "" }))).toBe(true);
    expect(valueIn(one).read().n).toBe(1);
  });

  test("is not decoded again while nobody changes it", () => {
    const one = newSide();
    const value = valueIn(one);
    value.change(NOW, () => ({ n: 1, text: "" }));
    expect(value.read()).toBe(value.read());
    const before = value.read();
    expect(value.change(NOW, (same) => same)).toBe(true);
    expect(value.read()).toBe(before);
  });

  test("stays as it was when the change throws, or is too long, and can be changed afterwards", () => {
    const one = newSide();
    const value = valueIn(one);
    value.change(NOW, () => ({ n: 1, text: "" }));
    expect(() =>
      value.change(NOW, () => {
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(() => value.change(NOW, () => ({ n: 2, text: "x".repeat(1_100_000) }))).toThrow(RangeError);
    expect(value.read().n).toBe(1);
    expect(value.change(NOW, ({ n }) => ({ n: n + 1, text: "x".repeat(60_000) }))).toBe(true);
    expect(value.read().n).toBe(2);
  });
});
