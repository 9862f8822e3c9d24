import { expect, test } from "bun:test";
import fc from "fast-check";
import { orderOf } from "../../src/models/attempt-order.ts";

const attempts = fc.array(fc.record({ weight: fc.integer({ min: 1, max: 1000 }), isFallback: fc.boolean() }), {
  minLength: 1,
  maxLength: 8,
});
const luck = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 8, maxLength: 8 });

test("every attempt is made once, and the fallbacks come last, as they are listed", () => {
  fc.assert(
    fc.property(attempts, luck, (list, numbers) => {
      const left = [...numbers];
      const order = orderOf(list, () => left.pop() ?? 0);
      expect(order).toHaveLength(list.length);
      expect(new Set(order).size).toBe(list.length);
      expect(order.slice(order.findIndex(({ isFallback }) => isFallback)).every(({ isFallback }) => isFallback)).toBe(
        list.some(({ isFallback }) => isFallback),
      );
      expect(order.filter(({ isFallback }) => isFallback)).toEqual(list.filter(({ isFallback }) => isFallback));
    }),
  );
});

test("an attempt is made first as often as its weight says", () => {
  const list = [
    { weight: 9, isFallback: false },
    { weight: 1, isFallback: false },
    { weight: 1, isFallback: true },
  ];
  // Evenly spread numbers in place of luck.
  const firsts = Array.from({ length: 1000 }, (_, i) => orderOf(list, () => i / 1000)[0]);
  expect(firsts.filter((first) => first === list[0])).toHaveLength(900);
  expect(firsts.filter((first) => first === list[1])).toHaveLength(100);
});
