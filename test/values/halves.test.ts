import { expect, test } from "bun:test";
import fc from "fast-check";
import { Halves } from "../../src/values/halves.ts";

const step = fc.record({ key: fc.nat(20), does: fc.constantFrom("set", "get", "delete", "forget"), value: fc.integer({ min: 0, max: 9 }) });

test("what is given is what was put there last, and there is never more than there may be", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), fc.integer({ min: 2, max: 30 }), fc.boolean(), (steps, max, isWeighed) => {
      const kept = new Halves<number, number>(max, isWeighed ? { max: 40, of: (value) => value } : null);
      const model = new Map<number, number>();
      for (const { key, does, value } of steps) {
        if (does === "set") {
          kept.set(key, value);
          model.set(key, value);
          expect(kept.get(key)).toBe(value);
        } else if (does === "delete") {
          kept.delete(key);
          model.delete(key);
          expect(kept.get(key)).toBeUndefined();
        } else if (does === "forget") {
          kept.forget((each) => each === value);
          for (const [name, each] of model) if (each === value) model.delete(name);
        } else {
          const found = kept.get(key);
          if (found !== undefined) expect(found).toBe(model.get(key) as number);
        }
        expect(kept.size).toBeLessThanOrEqual(max);
      }
      const there = Array.from({ length: 21 }, (_, key) => key).filter((key) => kept.get(key) !== undefined);
      if (isWeighed) expect(there.reduce((sum, key) => sum + (model.get(key) as number), 0)).toBeLessThanOrEqual(40);
    }),
  );
});

test("half of the newest is always there, and what is asked for stays", () => {
  const kept = new Halves<number, null>(100);
  kept.set(-1, null);
  for (let i = 0; i < 1000; i++) {
    kept.set(i, null);
    expect(kept.get(-1)).toBeNull();
  }
  for (let i = 952; i < 1000; i++) expect(kept.get(i)).toBeNull();
  expect(kept.get(800)).toBeUndefined();
  kept.clear();
  expect([kept.size, kept.get(999)]).toEqual([0, undefined]);
});
