import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { deriveKey, type HashKey, hash, hashed } from "../../src/shared/hash.ts";

const KEY: HashKey = { a: 0x03_02_01_00, b: 0x07_06_05_04 };

function hashOf(key: HashKey, text: string): string {
  hash(key, text);
  return `${hashed.a} ${hashed.b}`;
}

/** HalfSipHash-1-3 with 64 bits, written again from its reference for bytes (https://github.com/veorq/SipHash/blob/master/halfsiphash.c). */
function reference({ a: k0, b: k1 }: HashKey, bytes: readonly number[]): string {
  const rotate = (x: number, by: number): number => ((x << by) | (x >>> (32 - by))) >>> 0;
  let v = [k0 >>> 0, (k1 ^ 0xee) >>> 0, (0x6c796765 ^ k0) >>> 0, (0x74656462 ^ k1) >>> 0];
  const round = (): void => {
    let [v0 = 0, v1 = 0, v2 = 0, v3 = 0] = v;
    v0 = (v0 + v1) >>> 0;
    v1 = rotate(v1, 5);
    v1 = (v1 ^ v0) >>> 0;
    v0 = rotate(v0, 16);
    v2 = (v2 + v3) >>> 0;
    v3 = rotate(v3, 8);
    v3 = (v3 ^ v2) >>> 0;
    v0 = (v0 + v3) >>> 0;
    v3 = rotate(v3, 7);
    v3 = (v3 ^ v0) >>> 0;
    v2 = (v2 + v1) >>> 0;
    v1 = rotate(v1, 13);
    v1 = (v1 ^ v2) >>> 0;
    v2 = rotate(v2, 16);
    v = [v0, v1, v2, v3];
  };
  const absorb = (word: number): void => {
    v[3] = ((v[3] ?? 0) ^ word) >>> 0;
    round();
    v[0] = ((v[0] ?? 0) ^ word) >>> 0;
  };
  const whole = bytes.length - (bytes.length % 4);
  for (let i = 0; i < whole; i += 4)
    absorb(((bytes[i] ?? 0) | ((bytes[i + 1] ?? 0) << 8) | ((bytes[i + 2] ?? 0) << 16) | ((bytes[i + 3] ?? 0) << 24)) >>> 0);
  let last = bytes.length << 24;
  for (let i = whole; i < bytes.length; i++) last |= (bytes[i] ?? 0) << (8 * (i - whole));
  absorb(last >>> 0);
  v[2] = ((v[2] ?? 0) ^ 0xee) >>> 0;
  for (let i = 0; i < 3; i++) round();
  const first = (v[1] ?? 0) ^ (v[3] ?? 0);
  v[1] = ((v[1] ?? 0) ^ 0xdd) >>> 0;
  for (let i = 0; i < 3; i++) round();
  return `${first | 0} ${((v[1] ?? 0) ^ (v[3] ?? 0)) | 0}`;
}

describe("the hash of subjects", () => {
  test("is HalfSipHash-1-3 of a text's bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 40 }), fc.integer(), fc.integer(), (bytes, a, b) => {
        expect(hashOf({ a, b }, String.fromCharCode(...bytes))).toBe(reference({ a, b }, bytes));
      }),
    );
  });

  test("tells texts apart in any script, also those whose characters share their low bytes", () => {
    const texts = [
      "",
      "a",
      "A",
      "a\0",
      "\0a",
      "\u0161",
      "š",
      "αβγ",
      "βαγ",
      "日本",
      "本日",
      "\u0141",
      "\u0241",
      "\u0341",
      "A\u0100",
      "\u0100A",
      "😀",
      "😁",
    ];
    const unique = new Set(texts);
    expect(new Set([...unique].map((text) => hashOf(KEY, text))).size).toBe(unique.size);
    const low = Array.from({ length: 256 }, (_, i) => String.fromCharCode((i << 8) | 0x41));
    expect(new Set(low.map((text) => hashOf(KEY, text))).size).toBe(256);
  });

  test("spreads like numbers drawn at random, also of texts that count up", () => {
    const firsts = new Set<number>();
    let low = 0;
    for (let i = 0; i < 100_000; i++) {
      hash(KEY, `[10.0.${i >> 8}.${i & 255}]`);
      firsts.add(hashed.a);
      if ((hashed.a & 1023) < 512) low++;
    }
    // Of 100,000 draws of 2^32 about 1.2 meet.
    expect(firsts.size).toBeGreaterThan(99_980);
    expect(Math.abs(low - 50_000)).toBeLessThan(1000);
  });

  test("is another one under each key, and under each name that a key is derived for", () => {
    expect(hashOf(KEY, "a")).not.toBe(hashOf({ ...KEY, b: 1 }, "a"));
    expect(hashOf(deriveKey(KEY, "one"), "a")).not.toBe(hashOf(deriveKey(KEY, "two"), "a"));
    expect(deriveKey(KEY, "one")).toEqual(deriveKey(KEY, "one"));
  });
});
