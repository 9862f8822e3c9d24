import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { typesFrom } from "../../src/http/problem.ts";
import { type Running, start } from "../support/process.ts";
import { exchange } from "../support/raw.ts";

const BASE = "https://errors.example.com/sluice";
const limits = [{ algorithm: "fixed-window", limit: 1, window: "1h" }];
const config = (problemBase: string | null) => ({
  problemBase,
  tiers: { anonymous: { limits: [] }, one: { limits } },
  consumers: [{ id: "acme", tier: "one", keys: ["a-declared-key-0123456789"] }],
  activities: { path: ":memory:", auth: "none" },
  pools: {
    default: { auth: "none", keys: [{ id: "one", secret: "sk-0123456789", limit: 1, window: "1h" }], services: { s: { cost: 1 } } },
  },
  routes: [
    { name: "keyed", path: "/keyed", upstream: "http://127.0.0.1:1" },
    { name: "models", path: "/models", upstream: "http://127.0.0.1:1", credential: { pool: "default" } },
    { name: "down", path: "/down", upstream: "http://127.0.0.1:1", auth: "none", retry: null },
  ],
});

/** The types of one refusal from each place that makes some, by its code. */
async function types(gateway: Running): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const note = ({ code, type }: { code: string; type: string }, where: string) => {
    found[`${where}: ${code}`] = type;
  };
  const ask = async (where: string, path: string, init: RequestInit = {}) =>
    note((await (await fetch(gateway.url + path, init)).json()) as { code: string; type: string }, where);
  const key = { "x-api-key": "a-declared-key-0123456789" };
  await ask("router", "/nowhere");
  await ask("route", "/keyed");
  await fetch(`${gateway.url}/keyed`, { headers: key });
  await ask("limits", "/keyed", { headers: key });
  await ask("for models", "/models");
  await ask("backend", "/down");
  await ask("hand-out", "/api/v1/api-key", { method: "POST", body: '{"type":"none"}' });
  await ask("activities", "/api/activities", { method: "POST", body: '{"activities":[]}' });
  await ask("token", "/admin/keys");
  note((await (await gateway.admin("GET", "/admin/keys/none")).json()) as { code: string; type: string }, "record");
  note((await (await gateway.admin("GET", "/admin/nothing")).json()) as { code: string; type: string }, "admin path");
  const large = await gateway.admin("POST", "/admin/consumers", "x".repeat(3_000_000));
  note((await large.json()) as { code: string; type: string }, "admin body");
  const head = await exchange(gateway.port, "GET / HTTP/1.1\r\nHost: h\r\nBad Field: x\r\n\r\n");
  note(JSON.parse(head.slice(head.indexOf("{"))), "head");
  return found;
}

/** What the types should be with this in front of them. */
const expected = (before: string) => ({
  "router: routeNotFound": `${before}routeNotFound`,
  "route: keyMissing": `${before}keyMissing`,
  "limits: rateLimited": "https://iana.org/assignments/http-problem-types#quota-exceeded",
  "for models: keyMissing": `${before}keyMissing`,
  "backend: upstreamFailed": `${before}upstreamFailed`,
  "hand-out: validationFailed": `${before}validationFailed`,
  "activities: validationFailed": `${before}validationFailed`,
  "token: keyMissing": `${before}keyMissing`,
  "record: notFound": `${before}notFound`,
  "admin path: routeNotFound": `${before}routeNotFound`,
  "admin body: bodyTooLarge": `${before}bodyTooLarge`,
  "head: badRequest": `${before}badRequest`,
});

test("problemBase says where the types of all errors lead, but for those that are registered, and follows a reload", async () => {
  await using gateway = await start({ config: config(null) });
  expect(await types(gateway)).toEqual(expected("urn:sluice:problem:"));
  writeFileSync(join(gateway.folder, "config.json"), JSON.stringify(config(BASE)));
  await gateway.admin("POST", "/admin/config/reload");
  expect(await types(gateway)).toEqual(expected(`${BASE}/`));
});

test.each([
  ["https://errors.example.com", "https://errors.example.com/"],
  ["https://errors.example.com/", "https://errors.example.com/"],
  ["http://example.com/docs/errors", "http://example.com/docs/errors/"],
  ["https://example.com/errors.html#", "https://example.com/errors.html#"],
  ["https://example.com/errors?code=", "https://example.com/errors?code="],
  [null, "urn:sluice:problem:"],
])("a code is joined to the base %s behind %s", (base, before) => {
  expect(typesFrom(base)).toBe(before);
});
