import { describe, expect, test } from "bun:test";
import { jsonSchema } from "../../../src/config/json-schema.ts";
import { ALGORITHMS, type AlgorithmName, algorithmsWith } from "../../../src/limits/algorithms/registry.ts";
import { SCRIPT } from "../../../src/limits/redis/script.ts";

describe.each(Object.keys(ALGORITHMS) as AlgorithmName[])("%s", (name) => {
  const { lua, holds, leaseable, alignable, windowed, summary } = ALGORITHMS[name];

  test("stands beside its Lua, which does in Redis what its traits promise", () => {
    expect(SCRIPT).toContain(`['${name}'] = function()\n${lua}end,`);
    const has = [...lua.matchAll(/^ {2}(\w+) = function/gm)].map(([, part]) => part);
    expect(has).toEqual(expect.arrayContaining(["load", "peek", "take", "refund", "save"]));
    expect([has.includes("hold"), has.includes("validFor")]).toEqual([holds, leaseable]);
  });

  test("has traits that go together", () => {
    // What is held is known to the instance that holds it; windows alone can begin at a time.
    expect(holds && leaseable).toBe(false);
    expect(alignable && !windowed).toBe(false);
    expect(summary).not.toEndWith(".");
  });
});

test("what is printed of leased limits names those that are not", () => {
  const exact = algorithmsWith(({ leaseable }) => !leaseable).toSorted();
  expect(JSON.stringify(jsonSchema())).toContain(`Limits of ${exact.join(" and ")} are always exact.`);
});
