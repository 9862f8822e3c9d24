import { expect, test } from "bun:test";
import { forModelClients, problem, problemBody, standing } from "../../src/http/problem.ts";

test("a standing problem says what it would say otherwise, under any prefix and in any order of them", () => {
  const made = () => problem("keyInvalid", 'This "key" is not known: ü.', { retryAfter: 3 });
  const kept = standing(made());
  for (const [types, id] of [
    ["urn:a:", "1"],
    ["https://errors.example.com/", "2"],
    ["urn:a:", "3"],
    ["urn:a:", "4"],
  ] as const)
    expect(problemBody(kept, id, types)).toBe(problemBody(made(), id, types));
  // What is made of it is a problem of its own.
  expect(JSON.parse(problemBody(forModelClients(kept), "5", "urn:a:"))).toMatchObject({ error: { code: "keyInvalid" }, requestId: "5" });
});
