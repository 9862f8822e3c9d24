import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { normalized, partOf } from "../../src/cache/policy.ts";
import { parseDictionary } from "../../src/cache/targeted.ts";
import { Fields } from "../../src/http/fields.ts";
import { onlyParameters } from "../../src/http/path.ts";

const read = (text: string) => {
  const members = parseDictionary(text);
  return members === null ? null : Object.fromEntries(members);
};

describe("a dictionary of structured fields (RFC 9651)", () => {
  test.each([
    ["a", { a: "?1" }],
    ["  a=1 ,\tb=?0  ", { a: "1", b: "?0" }],
    ['a="x\\"y, b=2";p;q=1;  r="z", *c.d-e_f=tok:en/1', { a: '"x\\"y, b=2"', "*c.d-e_f": "tok:en/1" }],
    ['a=(1 "b";x  c)  , b=()', { a: "()", b: "()" }],
    ["a=-1.5, b=:YWJj:, c=@1659578233", { a: "-1.5", b: ":YWJj:", c: "@1659578233" }],
    ["a=1, b, a=2", { a: "2", b: "?1" }],
    ...[
      "",
      " ",
      ",",
      "a,",
      "a,,b",
      "A",
      "a b",
      "a=",
      "a= 1",
      "a =1",
      "a;",
      "a;B",
      "a;b=",
      "a=(1",
      "a=(1)b",
      "a=(1,2)",
      'a="',
      'a="\\x"',
      "a=1.",
      "a=1.2345",
    ].map((text) => [text, null] as const),
    ...["a=1234567890123456", "a=?2", "a=:*:", "a=é", 'a="é"', "a\t", "1=a"].map((text) => [text, null] as const),
  ])("%p", (text, members) => {
    expect(read(text)).toEqual(members as never);
  });

  test("is read as it was written", () => {
    const name = fc.stringMatching(/^[a-z*][a-z0-9_\-.*]{0,8}$/);
    const value = fc.oneof(
      fc.integer({ min: -1e14, max: 1e14 }).map(String),
      fc.stringMatching(/^[ !#-[\]-~]{0,12}$/).map((text) => `"${text}"`),
      fc.stringMatching(/^[A-Za-z*][!#$%&'*+\-.^_`|~:/0-9A-Za-z]{0,8}$/),
      fc.constantFrom("?0", "?1"),
    );
    fc.assert(
      fc.property(fc.dictionary(name, value, { minKeys: 1, maxKeys: 8 }), fc.constantFrom(",", ", ", " ,\t"), (members, comma) => {
        const text = Object.entries(members)
          .map(([key, each]) => `${key}=${each};p=1`)
          .join(comma);
        expect(read(text)).toEqual(members);
        expect(read(`${text}${comma}`)).toBeNull();
      }),
    );
  });
});

const request = (fields: Record<string, string>): Fields => {
  const made = new Fields();
  for (const [name, value] of Object.entries(fields)) made.add(name, name, value);
  return made;
};

describe("a part of a body", () => {
  const none = { etag: null, lastModified: null, date: null };

  test("is never outside of it, nor empty, and is what was asked for", () => {
    const number = fc.integer({ min: 0, max: 300 });
    fc.assert(
      fc.property(number, fc.option(number), fc.option(number), (length, first, last) => {
        const part = partOf(request({ range: `bytes=${first ?? ""}-${last ?? ""}` }), length, none);
        if (part === null) {
          expect(length === 0 || (first === null ? last === null : last !== null && last < first)).toBe(true);
          return;
        }
        if (part === "unsatisfiable") {
          expect(first === null ? last === 0 : first >= length).toBe(true);
          return;
        }
        expect(0 <= part.start && part.start < part.end && part.end <= length).toBe(true);
        const asked =
          first === null ? [Math.max(0, length - Number(last)), length] : [first, last === null ? length : Math.min(length, last + 1)];
        expect([part.start, part.end]).toEqual(asked);
      }),
    );
  });
});

describe("what callers accept", () => {
  test("is one text for one meaning", () => {
    const range = fc.tuple(
      fc.constantFrom("de", "EN", "fr-CH", "*", "gzip"),
      fc.constantFrom("", ";q=1", "; q=1.000", ";q=0.5", ";Q=0.50", ";q=0"),
    );
    fc.assert(
      fc.property(fc.uniqueArray(range, { selector: ([name]) => name, maxLength: 5 }), fc.nat(), (ranges, seed) => {
        const texts = ranges.map(([name, weight]) => `${name}${weight}`);
        const turned = [...texts.slice(seed % (texts.length + 1)), ...texts.slice(0, seed % (texts.length + 1))];
        const text = normalized("accept-language", texts.join(", "));
        expect(normalized("accept-language", ` ${turned.join(" ,").toUpperCase()}`)).toBe(text);
        expect(normalized("accept-language", text)).toBe(text);
      }),
    );
  });
});

describe("the parameters of a query that are kept", () => {
  test("are all of their names, as they were sent, and of no others", () => {
    const pair = fc.tuple(fc.constantFrom("a", "b c", "z"), fc.constantFrom("", "1", "x&y", "é", "a=b"));
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 8 }), (pairs) => {
        const encoded = pairs.map(([name, value]) => [name, `${encodeURIComponent(name)}=${encodeURIComponent(value)}`] as const);
        const kept = onlyParameters(encoded.length === 0 ? "" : `?${encoded.map(([, text]) => text).join("&")}`, ["b c", "a"]);
        const expected = ["b c", "a"].flatMap((wanted) => encoded.filter(([name]) => name === wanted).map(([, text]) => text));
        expect(kept).toBe(expected.length === 0 ? "" : `?${expected.join("&")}`);
        expect(onlyParameters(kept, ["b c", "a"])).toBe(kept);
      }),
    );
  });
});
