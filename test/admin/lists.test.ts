import { afterAll, describe, expect, test } from "bun:test";
import { type Admin, admin, errorsOf } from "./harness.ts";

const gateway: Admin = admin({
  config: {
    tiers: { free: { limits: [] }, pro: { limits: [] } },
    consumers: [{ id: "declared", name: "Zweite Wahl", tier: "free", keys: [{ key: "declared-key-0123456789", name: "from the file" }] }],
    upstreams: { users: { targets: [{ url: "http://127.0.0.1:8001" }] } },
    routes: [{ name: "users", path: "/api/people", upstream: "users", hosts: ["api.example.com"] }],
  },
});
afterAll(() => gateway[Symbol.dispose]());

for (const [id, name, tier, enabled] of [
  ["acme", "Müller AG", "pro", true],
  ["beta", null, "free", false],
  ["globex", "ACME's other name", "free", true],
] as const) {
  gateway.clock.advance(1000);
  await gateway.post("/admin/consumers", { id, tier, enabled, ...(name === null ? {} : { name }) });
}

const ids = async (path: string): Promise<string[]> => {
  const { status, json } = await gateway.get(path);
  expect(status).toBe(200);
  return json.items.map((item: { id: string; name: string }) => item.id ?? item.name);
};

describe("consumers", () => {
  test.each([
    ["search=acme", ["acme", "globex"]],
    ["search=M%C3%9CLLER", ["acme"]],
    ["search=zweite", ["declared"]],
    ["search=%25", []],
    ["tier=free", ["beta", "declared", "globex"]],
    ["enabled=false", ["beta"]],
    ["enabled=true&tier=free", ["declared", "globex"]],
    ["source=config", ["declared"]],
    ["source=admin&sort=-id", ["globex", "beta", "acme"]],
    ["sort=name", ["beta", "globex", "acme", "declared"]],
    ["sort=-createdAt", ["globex", "beta", "acme", "declared"]],
    ["sort=tier&search=e", ["beta", "declared", "globex", "acme"]],
  ])("may be listed by ?%s", async (query, expected) => {
    expect(await ids(`/admin/consumers?${query}`)).toEqual(expected);
    const [first] = await ids(`/admin/consumers?${query}&limit=1`);
    expect(first).toBe(expected[0]);
  });

  test("refuse an order that there is not, and a cursor of another order", async () => {
    expect(errorsOf(await gateway.get("/admin/consumers?sort=colour")).sort).toContain("createdAt");
    const { json } = await gateway.get("/admin/consumers?sort=name&limit=1");
    expect((await gateway.get(`/admin/consumers?sort=name&cursor=${json.nextCursor}`)).json.items[0].id).toBe("globex");
    expect(errorsOf(await gateway.get(`/admin/consumers?sort=-name&cursor=${json.nextCursor}`)).cursor).toContain("first page");
    expect((await gateway.get(`/admin/consumers?search=${"x".repeat(129)}`)).status).toBe(422);
    expect((await gateway.get("/admin/consumers?enabled=maybe")).status).toBe(422);
  });
});

describe("keys", () => {
  test("are found by what is known of them, and sorted by when they expire", async () => {
    const make = async (body: object) => (await gateway.post("/admin/keys", body)).json;
    const soon = await make({ consumer: "acme", name: "Soon over", expiresAt: "2026-12-24T00:00:00Z" });
    const late = await make({ consumer: "globex", name: "late", expiresAt: "2027-12-24T00:00:00Z" });
    await gateway.remove(`/admin/keys/${late.id}`);
    const declared = (await ids("/admin/keys?source=config"))[0] ?? "";
    expect(await ids("/admin/keys?sort=expiresAt")).toEqual([soon.id, late.id, declared]);
    expect(await ids("/admin/keys?sort=-expiresAt&limit=1")).toEqual([declared]);
    expect(await ids("/admin/keys?search=SOON")).toEqual([soon.id]);
    expect(await ids(`/admin/keys?search=${soon.end}`)).toContain(soon.id);
    expect(await ids(`/admin/keys?search=${late.id.slice(8)}&status=revoked`)).toEqual([late.id]);
    expect(await ids("/admin/keys?search=globex&status=active")).toEqual([]);
    expect(await ids("/admin/keys?consumer=acme&search=over&sort=-lastUsedAt")).toEqual([soon.id]);
  });
});

test.each([
  ["tiers", "PRO", ["pro"]],
  ["routes", "people", ["users"]],
  ["routes", "API.example", ["users"]],
  ["upstreams", ":8001", ["users"]],
  ["upstreams", "nobody", []],
  ["pools", "a", []],
])("%s are found by %s", async (kind, search, expected) => {
  expect(await ids(`/admin/${kind}?search=${encodeURIComponent(search)}`)).toEqual(expected);
});
