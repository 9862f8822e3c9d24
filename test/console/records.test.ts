import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { faultAt, spotOf, spotsOf } from "../../src/console/page/records/json-lines.ts";
import { filled, patchBetween, wordsOf } from "../../src/console/page/records/patch.ts";
import { mergePatch } from "../../src/http/conventions.ts";

/** An object without nulls, as the admin API sees fields that are not set. */
const record = fc.letrec((tie) => ({
  value: fc.oneof({ depthSize: "small" }, fc.integer(), fc.string(), fc.boolean(), fc.array(fc.integer(), { maxLength: 3 }), tie("object")),
  object: fc.dictionary(fc.constantFrom("a", "b", "c", "d"), tie("value"), { maxKeys: 4 }),
})).object as fc.Arbitrary<Record<string, unknown>>;

test("a patch between two records makes the one of the other, and is empty between a record and itself", () => {
  fc.assert(
    fc.property(record, record, (before, after) => {
      expect(mergePatch(before, patchBetween(before, after))).toEqual(after);
      expect(patchBetween(after, structuredClone(after))).toEqual({});
    }),
  );
});

test("words may have commas, spaces or line breaks between them", () => {
  expect(wordsOf(" a, b\n c,,d ")).toEqual(["a", "b", "c", "d"]);
  expect(filled({ a: "", b: null, c: [], d: 0, e: false, f: "x", g: undefined })).toEqual({ d: 0, e: false, f: "x" });
});

describe("a text", () => {
  test("says where each value of it stands, or what of a path is there", () => {
    const spots = spotsOf('{\n  "limits": [\n    { "limit": 7 },\n    {\n      "a\\"b": [1,\n2]\n    }\n  ]\n}');
    for (const [path, line] of [
      ["limits", 2],
      ["limits[0].limit", 3],
      ["limits[1]", 4],
      ['limits[1].a"b[1]', 6],
      ["limits[0].window", 3],
      ["limits[7].window", 2],
      ["nothing.like.it", 1],
      ["", 1],
    ] as const)
      expect([path, spotOf(spots, path).line]).toEqual([path, line]);
  });

  test("that is JSON has no fault, and one that is not has it where it stops being so", () => {
    fc.assert(fc.property(fc.json(), (text) => expect(faultAt(text)).toBeNull()));
    fc.assert(
      fc.property(fc.json(), fc.nat(), fc.constantFrom(",", "}", "x", '"', ":"), (text, at, what) => {
        const broken = text.slice(0, at % (text.length + 1)) + what + text.slice(at % (text.length + 1));
        const isJson = (() => {
          try {
            JSON.parse(broken);
            return true;
          } catch {
            return false;
          }
        })();
        expect([broken, faultAt(broken) === null]).toEqual([broken, isJson]);
      }),
    );
    expect(faultAt('{\n  "tier": free\n}')).toBe(12);
    expect(faultAt('{ "a": 1 ')).toBe(9);
    expect(faultAt("")).toBe(0);
  });
});
