import { expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { TooLarge, WholeBody } from "../../src/http/body.ts";
import { readJson } from "../../src/http/json-body.ts";
import { Refused } from "../../src/http/refused.ts";

const BODY = { schema: Type.Object({ a: Type.Integer() }, { additionalProperties: false }), max: 40, advice: 'send { "a": 1 }' };
const bodyOf = (text: string) => new WholeBody(Buffer.from(text));

async function refusalOf(reading: Promise<unknown>): Promise<unknown> {
  const error = await reading.catch((thrown: unknown) => thrown);
  return error instanceof Refused ? [error.problem.status, error.message] : error;
}

test("a body is read as its schema says, or refused with all that is wrong", async () => {
  expect(await readJson(bodyOf('{ "a": 1 }'), BODY)).toEqual({ a: 1 });
  const noJson = [400, 'The body is not JSON: send { "a": 1 }.'];
  for (const text of ["", "{", "[".repeat(40), "\0"]) expect(await refusalOf(readJson(bodyOf(text), BODY))).toEqual(noJson);
  expect(await refusalOf(readJson(null, BODY))).toEqual(noJson);
  expect(await refusalOf(readJson(bodyOf('{ "a": "x", "b": 1 }'), BODY))).toEqual([
    422,
    'b: unknown field "b", did you mean "a"?, and 1 more.',
  ]);
  expect(await refusalOf(readJson(bodyOf("null"), BODY))).toEqual([422, expect.stringContaining("must be an object")]);
  expect(await refusalOf(readJson(bodyOf(`{ "a": ${"1".repeat(40)} }`), BODY))).toBeInstanceOf(TooLarge);
});

test("an empty body is what the endpoint says, where it says so", async () => {
  const optional = { ...BODY, schema: Type.Object({}), empty: {} };
  for (const body of [null, bodyOf("")]) expect(await readJson(body, optional)).toEqual({});
  expect(await refusalOf(readJson(bodyOf(" "), optional))).toEqual([400, 'The body is not JSON: send { "a": 1 }.']);
});
