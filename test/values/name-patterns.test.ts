import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { matchesName, NamePatterns } from "../../src/values/name-patterns.ts";

/** Texts of few characters, so that patterns often match. */
const patterns = fc.string({ unit: fc.constantFrom("a", "b", "*"), maxLength: 6 });
const names = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 6 });
const lists = fc.array(patterns, { minLength: 1, maxLength: 3 });

/** A pattern as a regular expression, for comparison. */
const asRegExp = (pattern: string): RegExp => new RegExp(`^${pattern.replaceAll("*", ".*")}$`);

describe("patterns of names", () => {
  test("match as regular expressions would", () => {
    fc.assert(fc.property(patterns, names, (pattern, name) => matchesName(pattern, name) === asRegExp(pattern).test(name)));
  });

  test("cover another pattern only if they have all its names", () => {
    fc.assert(
      fc.property(lists, patterns, names, (list, pattern, name) => {
        const own = new NamePatterns(list);
        return !own.covers(pattern) || !matchesName(pattern, name) || own.has(name);
      }),
    );
  });

  test("have in common what both have", () => {
    fc.assert(
      fc.property(lists, lists, lists, names, (some, others, third, name) => {
        const both = new NamePatterns(some).common(new NamePatterns(others));
        const isInBoth = new NamePatterns(some).has(name) && new NamePatterns(others).has(name);
        expect(both.has(name)).toBe(isInBoth);
        const all = both.common(new NamePatterns(third));
        expect(all.has(name)).toBe(isInBoth && new NamePatterns(third).has(name));
      }),
    );
  });

  test("tell what is named without one, in all lists that hold", () => {
    const list = new NamePatterns(["a,b", "c*"]);
    expect(["a,b", "c,d", "x"].map((name) => list.names(name))).toEqual([true, false, false]);
    expect(new NamePatterns(["*"]).names("c,d")).toBe(true);
    expect(new NamePatterns(["c,d"]).common(new NamePatterns(["c*"])).names("c,d")).toBe(false);
  });

  test("are shown as narrow as they are", () => {
    const common = (some: string[], others: string[]) => new NamePatterns(some).common(new NamePatterns(others)).list;
    expect(common(["gpt-*"], ["gpt-5", "claude-*"])).toEqual(["gpt-5"]);
    expect(common(["gpt-5", "claude-*"], ["*"])).toEqual(["gpt-5", "claude-*"]);
    expect(common(["gpt-*"], ["*-mini"])).toEqual(["gpt-*"]);
    expect(common(["gpt-*"], ["claude-*"])).toEqual([]);
  });
});
