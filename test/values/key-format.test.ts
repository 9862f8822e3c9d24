import { expect, test } from "bun:test";
import fc from "fast-check";
import { hashKey, isPlausible, makeKey, randomText } from "../../src/values/key-format.ts";

test("a made key has the shape that secret scanners look for, and one changed character is noticed", () => {
  fc.assert(
    fc.property(fc.integer({ min: 4, max: 41 }), fc.constantFrom(..."0Aa9Zz"), (at, character) => {
      const key = makeKey();
      expect(key).toMatch(/^slc_[0-9A-Za-z]{38}$/);
      expect(isPlausible(key)).toBe(true);
      if (key[at] !== character) expect(isPlausible(key.slice(0, at) + character + key.slice(at + 1))).toBe(false);
    }),
  );
});

test("a key of another system is looked up when it can be one", () => {
  expect(["demo_free_key_123", "sk-0123456789abcdef", "slc_not-of-our-shape"].map(isPlausible)).toEqual([true, true, true]);
  expect(["short", "with a space 0123456789", "x".repeat(513), "unprintable-\x07-0123456789", "é".repeat(20), ""].map(isPlausible)).toEqual(
    [false, false, false, false, false, false],
  );
});

test("random text uses each character about as often as any other", () => {
  const text = randomText(62_000);
  const counts = new Map<string, number>();
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1);
  expect(counts.size).toBe(62);
  // Expected 1,000 each; 200 is more than six standard deviations.
  for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(200);
});

test("a key is stored as its SHA-256 in hexadecimal", () => {
  expect(hashKey("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});
