import { expect, test } from "bun:test";
import { formOf } from "../../src/tokens/form.ts";

const TYPE = "multipart/form-data; boundary=X";
const NAMED = 'Content-Disposition: form-data; name="model"';
/** Gives the models of a form of these parts, each its head and its text; `null`: it is not clear. */
const modelsOf = (parts: readonly (readonly [head: string, text: string])[], type = TYPE) => {
  const text = `${parts.map(([head, value]) => `--X\r\n${head}\r\n\r\n${value}\r\n`).join("")}--X--\r\n`;
  return formOf(Buffer.from(text), type)?.get("model") ?? null;
};

test("a form as browsers and clients write it is read", async () => {
  const form = new FormData();
  form.set("file", new File(["--X\r\n"], 'a "name" ü.wav'));
  form.set("model", "good");
  const request = new Request("http://x", { method: "POST", body: form });
  const type = request.headers.get("content-type") ?? "";
  expect(formOf(await request.bytes(), type)?.get("model")).toEqual(["good"]);
  const file = (name: string) => `Content-Disposition: form-data; name="file"; ${name}\r\nContent-Type: audio/wav`;
  for (const name of ['filename="a.wav"', 'filename="a\\"b.wav"', `filename="a.wav"; filename*=utf-8''a.wav`, "filename*=utf-8''a.wav"])
    expect(
      modelsOf([
        [file(name), "sound"],
        [NAMED, "good"],
      ]),
    ).toEqual(["good"]);
  // As .NET writes it.
  expect(modelsOf([["Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=model", "good"]])).toEqual(["good"]);
  expect(
    modelsOf([
      [NAMED, "good"],
      ["Content-Disposition: form-data; name=model", "secret"],
    ]),
  ).toEqual(["good", "secret"]);
  expect(modelsOf([[NAMED, ""]])).toEqual([""]);
  expect(modelsOf([[NAMED, "good"]], 'multipart/form-data; boundary="X"')).toEqual(["good"]);
});

test.each([
  `${NAMED}; filename="a"`,
  `${NAMED}; filename=""`,
  `${NAMED}; filename*=utf-8''a`,
  "Content-Disposition: form-data; name*=utf-8''model",
  'Content-Disposition: form-data; name="mod\\el"',
  'Content-Disposition: form-data; name = "model"',
  'Content-Disposition: form-data; name="x"; name="model"',
  'Content-Disposition: form-data; name="Model"',
  'Content-Disposition: form-data;\r\n name="model"',
  `X: y\n${NAMED}`,
  `${NAMED}\r\n${NAMED}`,
  `${NAMED}\r\nContent-Transfer-Encoding: base64`,
  "Content-Type: text/plain",
])("a form with a part that servers read in several ways is none: %j", (head) => {
  expect(
    modelsOf([
      [head, "secret"],
      [NAMED, "good"],
    ]),
  ).toBeNull();
  expect(
    modelsOf([
      [NAMED, "good"],
      [head, "secret"],
    ]),
  ).toBeNull();
});

test.each([
  ["two boundaries", `--X\r\n${NAMED}\r\n\r\ngood\r\n--X--\r\n`, `${TYPE}; boundary=Y`],
  ["a part that ends with a line feed", `--X\r\n${NAMED}\r\n\r\ngood\n--X\r\n${NAMED}\r\n\r\nsecret\r\n--X--\r\n`, TYPE],
  ["a delimiter with more behind it", `--X\r\n${NAMED}\r\n\r\ngood\r\n--X \r\n${NAMED}\r\n\r\nsecret\r\n--X--\r\n`, TYPE],
  ["something before it", `\r\n--X\r\n${NAMED}\r\n\r\ngood\r\n--X--\r\n`, TYPE],
  ["something behind it", `--X\r\n${NAMED}\r\n\r\ngood\r\n--X--\r\n--X\r\n${NAMED}\r\n\r\nsecret\r\n--X--\r\n`, TYPE],
  ["no end", `--X\r\n${NAMED}\r\n\r\ngood\r\n`, TYPE],
])("a form with %s is none", (_, text, type) => {
  expect(formOf(Buffer.from(text), type)).toBeNull();
});
