import { expect, test } from "bun:test";
import fc from "fast-check";
import { inThousandths } from "../../src/values/thousandths.ts";

test("a number has at most three digits behind the point, as JavaScript would write it", () => {
  const numbers = fc.oneof(
    fc.double({ min: 0, max: 1e9, noNaN: true }),
    fc.integer({ min: 0, max: 5_000_000 }).map((n) => n / 1000),
  );
  fc.assert(fc.property(numbers, (value) => expect(inThousandths(value)).toBe(String(Math.round(value * 1000) / 1000))));
  for (const [value, text] of [
    [0, "0"],
    [0.0004, "0"],
    [0.05, "0.05"],
    [0.9996, "1"],
    [12.34567, "12.346"],
    [1e12, "1000000000000"],
  ] as const)
    expect(inThousandths(value)).toBe(text);
});
