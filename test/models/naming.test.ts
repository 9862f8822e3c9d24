import { expect, test } from "bun:test";
import fc from "fast-check";
import { namingOf } from "../../src/models/naming.ts";

const of = (text: string) => namingOf(Buffer.from(text));

test.each([
  ['{"model":"a"}', "once"],
  ['{ "messages": [{"model":"b"}], "x": "\\"model\\":", "model" : "a" }', "once"],
  ['{"a":{"model":"b","Model":"c"}}', "none"],
  ['{"a":"model","b":["model"],"models":["b"]}', "none"],
  ['{"model":"a","model":"b"}', "unclear"],
  ['{"model":"a","Model":"b"}', "unclear"],
  ['{"MODEL":"b"}', "unclear"],
  ['{"mod\\u0065l":"b"}', "unclear"],
  ['{"\\u006d\\u006f\\u0064\\u0065\\u006c":"b","model":"a"}', "unclear"],
  ['{"model\\\\":"a"}', "none"],
])("%s names its model: %s", (text, naming) => {
  expect(of(text)).toBe(naming as ReturnType<typeof of>);
});

test("whatever else a body holds, its own fields alone name its model", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom("model", "Model", "a", "b"), fc.jsonValue()), fc.nat({ max: 2 }), (value, indent) => {
      const names = Object.keys(value).filter((name) => name.toLowerCase() === "model");
      const expected = names.length === 0 ? "none" : names.length === 1 && names[0] === "model" ? "once" : "unclear";
      expect(of(JSON.stringify(value, null, indent))).toBe(expected);
    }),
  );
});
