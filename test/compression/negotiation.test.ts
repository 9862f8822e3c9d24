import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { codingFor } from "../../src/compression/negotiation.ts";
import type { Coding } from "../../src/compression/settings.ts";

const ALL: readonly Coding[] = ["zstd", "br", "gzip"];

describe("the coding of a response", () => {
  test("is the one that the caller likes best, and of several the first that is offered", () => {
    const cases: [string | null, Coding | null][] = [
      [null, null],
      ["", null],
      ["gzip", "gzip"],
      ["GZIP", "gzip"],
      ["x-gzip", "gzip"],
      ["gzip, deflate, br", "br"],
      ["gzip, deflate, br, zstd", "zstd"],
      ["gzip, br;q=0.9", "gzip"],
      ["gzip;q=0.5 , br ; q=0.5", "br"],
      ["deflate, compress", null],
      ["*", "zstd"],
      ["*;q=0", null],
      ["zstd;q=0, *", "br"],
      ["gzip, *;q=0", "gzip"],
      ["identity", null],
      ["identity, gzip;q=0.5", null],
      ["identity;q=0.5, gzip", "gzip"],
      ["identity;q=0, gzip;q=0.1", "gzip"],
      ["gzip;q=0", null],
      ["gzip;q=0.001", "gzip"],
      ["gzip;q=2, br", "br"],
      ["gzip;q=abc", null],
      [";;,,", null],
    ];
    for (const [accepted, coding] of cases) expect([accepted, codingFor(accepted, ALL)]).toEqual([accepted, coding]);
    expect(codingFor("gzip, br, zstd", ["gzip"])).toBe("gzip");
    expect(codingFor("br", ["gzip"])).toBeNull();
  });

  test("is never one that the caller refuses or does not name, whatever the field holds", () => {
    const name = fc.constantFrom("gzip", "br", "zstd", "identity", "*", "deflate");
    const element = fc.tuple(name, fc.option(fc.integer({ min: 0, max: 1000 }), { nil: undefined }));
    fc.assert(
      fc.property(fc.uniqueArray(element, { selector: ([of]) => of }), (elements) => {
        const text = elements.map(([of, q]) => (q === undefined ? of : `${of};q=${(q / 1000).toFixed(3)}`)).join(", ");
        const likeOf = (of: string): number | undefined => {
          const found = elements.find(([each]) => each === of);
          return found === undefined ? undefined : (found[1] ?? 1000);
        };
        const chosen = codingFor(text, ALL);
        const likes = ALL.map((coding) => likeOf(coding) ?? likeOf("*") ?? 0);
        if (chosen === null) expect(Math.max(...likes) === 0 || (likeOf("identity") ?? 0) > Math.max(...likes)).toBe(true);
        else expect(likes[ALL.indexOf(chosen)]).toBe(Math.max(...likes));
      }),
    );
    fc.assert(fc.property(fc.string(), (text) => void codingFor(text, ALL)));
  });
});
