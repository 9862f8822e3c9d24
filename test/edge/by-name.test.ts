import { expect, test } from "bun:test";
import fc from "fast-check";
import { ByName } from "../../src/edge/by-name.ts";

const label = fc.stringMatching(/^[a-z0-9]{1,8}$/);
const name = fc.array(label, { minLength: 2, maxLength: 4 }).map((labels) => labels.join("."));

test("a name is found as it stands there, however it is written", () => {
  fc.assert(
    fc.property(name, fc.boolean(), (own, hasDot) => {
      const names = new ByName([[[own], "own"]]);
      expect(names.get(own.toUpperCase() + (hasDot ? "." : ""))).toBe("own");
      expect(names.get(`other.${own}`)).toBeUndefined();
    }),
  );
});

test("a wildcard stands for one label, which is not empty, and the name itself goes before it", () => {
  fc.assert(
    fc.property(name, label, label, (domain, first, second) => {
      fc.pre(first !== second);
      const names = new ByName([
        [[`*.${domain}`], "any"],
        [[`${first}.${domain}`], "own"],
      ]);
      expect(names.get(`${first}.${domain}`)).toBe("own");
      expect(names.get(`${second}.${domain}`)).toBe("any");
      expect(names.get(`${first}.${second}.${domain}`)).toBeUndefined();
      expect(names.get(domain)).toBeUndefined();
      expect(names.get(`.${domain}`)).toBeUndefined();
    }),
  );
});

test("of two for one name the first holds", () => {
  const names = new ByName([
    [["a.test"], 1],
    [["A.test", "b.test"], 2],
  ]);
  expect([names.get("a.test"), names.get("b.test")]).toEqual([1, 2]);
});

test("names that nobody has are found nowhere, whatever they are", () => {
  const names = new ByName([[["a.test", "*.b.test"], true]]);
  for (const sent of ["", ".", "..", "*", "*.b.test.", "constructor", "a.test.evil", "\0"])
    expect(names.get(sent) ?? false).toBe(sent === "*.b.test.");
});
