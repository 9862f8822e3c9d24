import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SHA256 } from "bun";
import { backend } from "../support/backend.ts";
import { type Running, start } from "../support/process.ts";

const ACME = "acme-declared-key-0123456789";
const REPORTS = "reports-declared-key-0123456789";
const GONE = "expired-declared-key-0123456789";

const use = async (gateway: Running, path: string, key: string) =>
  (await fetch(gateway.url + path, { headers: { "x-api-key": key } })).status;

const configFor = (url: string, keys: unknown[]) => ({
  tiers: { pro: { limits: [{ algorithm: "fixed-window", limit: 1000, window: "1h" }] } },
  routes: [
    { name: "users", path: "/api/users", upstream: url, scopes: ["users:read"] },
    { name: "orders", path: "/api/orders", upstream: url },
  ],
  consumers: [{ id: "acme", tier: "pro", keys }],
});

describe("a key that the file declares with rules of its own", () => {
  test("opens the routes whose scopes it has, from its addresses, until it expires, within its limits", async () => {
    using behind = backend();
    const config = configFor(behind.url, [
      { key: "${ACME_KEY}", name: "production", scopes: ["users:read"], ips: ["127.0.0.0/8"], expiresAt: "2999-01-31T00:00:00Z" },
      {
        key: `sha256:${SHA256.hash(REPORTS, "hex")}`,
        routes: ["orders"],
        limits: [{ algorithm: "fixed-window", limit: 2, window: "1h" }],
      },
      { key: GONE, expiresAt: "2020-01-31T00:00:00Z" },
      "plain-declared-key-0123456789",
      { key: "elsewhere-declared-key-0123456789", ips: ["10.0.0.0/8"] },
    ]);
    await using gateway = await start({ config, env: { ACME_KEY: ACME } });
    expect(await use(gateway, "/api/users/1", ACME)).toBe(200);
    expect(await use(gateway, "/api/users/1", "plain-declared-key-0123456789")).toBe(403);
    expect(await use(gateway, "/api/orders/1", "elsewhere-declared-key-0123456789")).toBe(403);
    expect(await use(gateway, "/api/orders/1", GONE)).toBe(401);
    expect(await use(gateway, "/api/users/1", REPORTS)).toBe(403);
    expect([await use(gateway, "/api/orders/1", REPORTS), await use(gateway, "/api/orders/1", REPORTS)]).toEqual([200, 200]);
    expect(await use(gateway, "/api/orders/1", REPORTS)).toBe(429);

    const { items } = (await (await gateway.admin("GET", "/admin/keys?consumer=acme")).json()) as { items: Record<string, unknown>[] };
    expect(items.find(({ name }) => name === "production")).toMatchObject({
      source: "config",
      start: "acme-dec",
      scopes: ["users:read"],
      ips: ["127.0.0.0/8"],
      expiresAt: "2999-01-31T00:00:00.000Z",
      status: "active",
    });
    expect(items.find(({ routes }) => (routes as string[]).includes("orders"))).toMatchObject({ start: "", limits: [{ limit: 2 }] });
    expect(items.filter(({ status }) => status === "expired")).toHaveLength(1);
    // Secrets are nowhere: not in what is shown, not in the database.
    const shown = await (await gateway.admin("GET", "/admin/config")).text();
    expect(shown).toContain("users:read");
    const stored = readdirSync(join(gateway.folder, "data")).map((name) => readFileSync(join(gateway.folder, "data", name), "latin1"));
    for (const secret of [ACME, GONE, SHA256.hash(REPORTS, "hex")])
      expect([shown.includes(secret), gateway.output().includes(secret)]).toEqual([false, false]);
    for (const secret of [ACME, GONE]) expect(stored.some((text) => text.includes(secret))).toBe(false);
  });

  test("follows the file at a reload, and keeps when it was used last", async () => {
    using behind = backend();
    const config = configFor(behind.url, [ACME]);
    await using gateway = await start({ config });
    const write = async (keys: unknown[]) => {
      writeFileSync(join(gateway.folder, "config.json"), JSON.stringify(configFor(behind.url, keys)));
      return await gateway.admin("POST", "/admin/config/reload");
    };
    expect(await use(gateway, "/api/users/1", ACME)).toBe(403);
    expect((await write([{ key: ACME, scopes: ["users:read"] }])).status).toBe(200);
    expect(await use(gateway, "/api/users/1", ACME)).toBe(200);
    expect((await write([{ key: ACME, scopes: ["users:read"], routes: ["orders"] }])).status).toBe(200);
    const { items } = (await (await gateway.admin("GET", "/admin/keys")).json()) as { items: { lastUsedAt: string | null }[] };
    expect(items[0]?.lastUsedAt).toBeString();
    expect(await use(gateway, "/api/users/1", ACME)).toBe(403);
    // One key in both forms, and its hash, are one key in two places.
    for (const second of [ACME, { key: ACME }, `sha256:${SHA256.hash(ACME, "hex")}`, { key: `sha256:${SHA256.hash(ACME, "hex")}` }]) {
      const refused = await write([{ key: ACME, scopes: ["users:read"] }, second]);
      const text = await refused.text();
      expect([refused.status, text.includes("is the same key as consumers[0].keys[0]"), text.includes(ACME)]).toEqual([422, true, false]);
    }
  });
});
