import { describe, expect, test } from "bun:test";
import { Fields, nameAt } from "../../src/http/fields.ts";

function fieldsOf(...lines: readonly (readonly [name: string, value: string])[]): Fields {
  const fields = new Fields();
  for (const [name, value] of lines) fields.add(name, name.toLowerCase(), value);
  return fields;
}
const linesOf = ({ names, lower, values }: Fields) => names.map((name, i) => [name, lower[i], values[i]]);

describe("header fields that are changed", () => {
  const all = () => fieldsOf(["A", "1"], ["b", "2"], ["a", "3"], ["C", "4"]);

  test("have one field in the place of all of its name, where the first of them stood", () => {
    const fields = all();
    fields.set("a", "a", "5");
    expect(linesOf(fields)).toEqual([
      ["a", "a", "5"],
      ["b", "b", "2"],
      ["C", "c", "4"],
    ]);
    fields.set("New", "new", "6");
    expect(linesOf(fields).at(-1)).toEqual(["New", "new", "6"]);
  });

  test("lose all fields of a name", () => {
    const fields = all();
    fields.remove("a");
    fields.remove("none");
    expect(linesOf(fields)).toEqual([
      ["b", "b", "2"],
      ["C", "c", "4"],
    ]);
  });

  test("become others", () => {
    const fields = all();
    const copy = fields.without();
    fields.become(fieldsOf(["x", "y"]));
    expect(linesOf(fields)).toEqual([["x", "x", "y"]]);
    fields.become(copy);
    expect(linesOf(fields)).toEqual(linesOf(all()));
  });
});

describe("a field's name", () => {
  test("is known again in the letter case it came in, however many others have been seen", () => {
    const names = Array.from({ length: 20_000 }, (_, i) => `X-${i.toString(36)}`);
    for (let round = 0; round < 2; round++)
      for (const name of names) expect(nameAt(`a: b\r\n${name}: c`, 6, 6 + name.length)).toEqual({ name, lower: name.toLowerCase() });
  });

  test.each(["", "a b", "a:", "ä", "a\t"])("is not %p", (name) => {
    expect(nameAt(name, 0, name.length)).toBeNull();
  });
});
