import { expect, test } from "bun:test";
import { Warnings } from "../../src/health/warnings.ts";

test("a warning keeps the time of its first raising, and is told of once when it comes and once when it goes", () => {
  let now = 1000;
  const told: string[] = [];
  const warnings = new Warnings(
    () => now,
    ({ code }, isRaised) => told.push(`${code} ${isRaised}`),
  );
  warnings.raise("storageReadOnly", "Changes can't be stored.", "data/sluice.db");
  now = 2000;
  warnings.raise("storageReadOnly", "Changes still can't be stored.");
  expect(warnings.all()).toEqual([{ code: "storageReadOnly", message: "Changes still can't be stored.", detail: null, since: 1000 }]);
  warnings.clear("storageReadOnly");
  warnings.clear("storageReadOnly");
  // The log has lines of its own for this one.
  warnings.raise("redisAway", "Redis is away.", null, true);
  warnings.clear("redisAway");
  expect(warnings.all()).toEqual([]);
  expect(told).toEqual(["storageReadOnly true", "storageReadOnly false"]);
});
