import { expect, test } from "bun:test";
import { backend } from "../../support/backend.ts";
import { start } from "../../support/process.ts";

// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
type Json = any;

test("what callers change about their keys holds at once, whichever worker is asked next", async () => {
  using behind = backend();
  await using gateway = await start({
    config: {
      server: { workers: 3 },
      selfService: {},
      tiers: { anonymous: { limits: [] }, own: { limits: [], selfService: { keys: 5, scopes: ["read"] } } },
      routes: [{ name: "shop", path: "/shop", upstream: behind.url, scopes: ["read"], retry: null }],
      consumers: [{ id: "acme", tier: "own" }],
    },
  });
  const send = async (method: string, path: string, headers: Record<string, string>, body?: object) => {
    // A connection of its own, which any worker may take.
    const sent = { method, headers: { connection: "close", ...headers }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    const answer = await fetch(gateway.url + path, sent);
    const text = await answer.text();
    return { status: answer.status, set: answer.headers.get("set-cookie"), json: (text === "" ? null : JSON.parse(text)) as Json };
  };
  const statuses = async (key: string) => {
    const found = new Set<number>();
    for (let i = 0; i < 12; i++) found.add((await send("GET", "/shop", { "x-api-key": key })).status);
    return [...found];
  };
  const given = (await (await gateway.admin("POST", "/admin/keys", { consumer: "acme", scopes: ["read"] })).json()) as Json;
  const made = (await send("POST", "/api/v1/me/keys", { "x-api-key": given.key })).json;
  expect(await statuses(made.key)).toEqual([200]);
  await gateway.admin("PATCH", `/admin/keys/${given.id}`, { scopes: [] });
  expect(await statuses(made.key)).toEqual([403]);
  await gateway.admin("PATCH", `/admin/keys/${given.id}`, { scopes: ["read"] });
  expect(await statuses(made.key)).toEqual([200]);

  const { url } = (await (await gateway.admin("POST", "/admin/consumers/acme/link", {})).json()) as Json;
  const link = new URL(url).hash.slice("#link=".length);
  const opened = await send("POST", "/my/session", {}, { link });
  expect([opened.status, (await send("POST", "/my/session", {}, { link })).status]).toEqual([201, 401]);
  const page = { cookie: opened.set?.split(";", 1)[0] ?? "", origin: gateway.url, "x-sluice-console": "1" };
  for (let i = 0; i < 6; i++) expect((await send("GET", "/my/api/me", page)).status).toBe(200);
  expect((await send("DELETE", `/my/api/me/keys/${made.id}`, page)).status).toBe(204);
  expect(await statuses(made.key)).toEqual([401]);
  expect(await statuses(given.key)).toEqual([200]);
}, 60_000);
