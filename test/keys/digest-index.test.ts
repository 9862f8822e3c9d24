import { expect, test } from "bun:test";
import fc from "fast-check";
import { DigestIndex } from "../../src/keys/digest-index.ts";
import { hashKey } from "../../src/values/key-format.ts";

/** A hash whose first 64 bits are chosen, as by whoever imports hashes. */
const chosen = (first: string, rest: number): string => first + hashKey(String(rest)).slice(16);

/** Few beginnings, so that hashes meet again; zeros and ones among them, which could pass for a free slot. */
const hashes = fc
  .tuple(
    fc.constantFrom(
      "0".repeat(16),
      "f".repeat(16),
      `${"0".repeat(15)}1`,
      "a".repeat(16),
      ...Array.from({ length: 40 }, (_, i) => hashKey(`${i}`).slice(0, 16)),
    ),
    fc.nat(3),
  )
  .map(([first, rest]) => chosen(first, rest));
const steps = fc.array(
  fc.oneof(
    fc.record({ does: fc.constant("set" as const), hash: hashes, row: fc.integer({ min: 1, max: 0xffffffff }) }),
    fc.record({ does: fc.constant("delete" as const), hash: hashes, row: fc.constant(0) }),
  ),
  { maxLength: 300 },
);

test("the index gives the row that was entered last for a hash of this beginning, whatever was entered and taken out in between", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const index = new DigestIndex();
      const model = new Map<string, number>();
      const shared = new Set<string>();
      for (const { does, hash, row } of all) {
        const first = hash.slice(0, 16);
        if (does === "set") {
          if ((model.get(first) ?? row) !== row) shared.add(first);
          index.set(hash, row);
          model.set(first, row);
        } else {
          index.delete(hash);
          model.delete(first);
        }
        expect([index.get(hash), index.isShared(hash)]).toEqual([model.get(first) ?? 0, shared.has(first)]);
      }
      expect(index.size).toBe(model.size);
      for (const [first, row] of model) expect(index.get(first.padEnd(64, "0"))).toBe(row);
    }),
  );
});

test("the index finds every hash after it has grown, and after half of them were taken out", () => {
  const index = new DigestIndex();
  const many = 20_000;
  for (let i = 0; i < many; i++) index.set(hashKey(`${i}`), i + 1);
  for (let i = 0; i < many; i++) if (index.get(hashKey(`${i}`)) !== i + 1) throw new Error(`hash ${i} is lost`);
  for (let i = 0; i < many; i += 2) index.delete(hashKey(`${i}`));
  expect(index.size).toBe(many / 2);
  for (let i = 0; i < many; i++) if (index.get(hashKey(`${i}`)) !== (i % 2 === 0 ? 0 : i + 1)) throw new Error(`hash ${i} is wrong`);
});

test("hashes that come packed are those that come one by one", () => {
  const index = new DigestIndex();
  const packed = new DataView(new ArrayBuffer(3000 * 12));
  for (let i = 0; i < 3000; i++) {
    const hash = hashKey(`${i}`);
    packed.setBigUint64(i * 12, BigInt(`0x${hash.slice(0, 16)}`));
    packed.setUint32(i * 12 + 8, i + 1);
  }
  index.reserve(3000);
  index.setAll(packed);
  expect(index.size).toBe(3000);
  for (let i = 0; i < 3000; i++) if (index.get(hashKey(`${i}`)) !== i + 1) throw new Error(`hash ${i} is lost`);
  expect(index.get(hashKey("3000"))).toBe(0);
});
