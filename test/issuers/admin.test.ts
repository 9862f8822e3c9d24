import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import { ConfigConflict } from "../../src/gateway/reload.ts";
import { SecretFault } from "../../src/records/sealing.ts";
import { admin, errorsOf } from "../admin/harness.ts";
import { folder, start } from "../support/process.ts";
import { testIssuer, until } from "../support/token-issuer.ts";

const SECRET = "what-signs-the-tokens-of-the-issuer";
const CLIENT_SECRET = "what-shows-the-issuer-who-asks";
const MAIN = { name: "main", issuer: "https://id.example.com", audience: ["api"] };
const SIGNING = {
  name: "signing",
  issuer: "https://signing.example.com",
  audience: ["api"],
  secret: SECRET,
  introspection: { endpoint: "https://signing.example.com/introspect", clientId: "sluice", clientSecret: CLIENT_SECRET },
};

describe("secrets of an issuer that the admin API made", () => {
  test("are sealed in the database, shown to nobody, and open after a restart and under a new SLUICE_SECRET", async () => {
    using home = folder();
    const path = join(home.path, "sluice.db");
    const stored = (): string => {
      using database = new Database(path, { readonly: true });
      const rows = database.query<{ document: string }, []>("SELECT document FROM documents UNION SELECT after FROM audit").all();
      return JSON.stringify(rows);
    };
    {
      using gateway = admin({ path, secret: "the-first-secret" });
      const made = await gateway.post("/admin/issuers", SIGNING);
      expect([made.status, made.json.secret, made.json.introspection.clientSecret]).toEqual([201, "***", "***"]);
      const shown = await Promise.all(
        ["/admin/issuers", "/admin/issuers/signing", "/admin/audit", "/admin/config"].map((each) => gateway.get(each)),
      );
      for (const { text } of [made, ...shown]) expect([text.includes(SECRET), text.includes(CLIENT_SECRET)]).toEqual([false, false]);
      // What was shown may be sent back: the secrets stay.
      const { introspection } = made.json;
      const changed = await gateway.patch("/admin/issuers/signing", { secret: "***", introspection, clockTolerance: "5s" });
      expect([changed.status, changed.json.clockTolerance]).toEqual([200, "5s"]);
      expect(gateway.faults).toEqual([]);
    }
    const under = stored();
    expect(under.match(/sealed:v1:/g)).toHaveLength(2);
    expect([under.includes(SECRET), under.includes(CLIENT_SECRET)]).toEqual([false, false]);
    {
      using gateway = admin({ path, secret: "the-second-secret", oldSecret: "the-first-secret" });
      // A change stores them under the new one.
      expect((await gateway.patch("/admin/issuers/signing", { clockTolerance: "6s" })).status).toBe(200);
    }
    using gateway = admin({ path, secret: "the-second-secret" });
    expect((await gateway.get("/admin/issuers/signing")).json).toMatchObject({ clockTolerance: "6s", secret: "***" });
    expect(() => admin({ path, secret: "another-secret" })).toThrow(SecretFault);
  });

  test("are refused without SLUICE_SECRET, and where only their mask is sent", async () => {
    using without = admin();
    const why = "can't be stored: start the gateway with SLUICE_SECRET, under which secrets are encrypted";
    const refused = await without.post("/admin/issuers", SIGNING);
    expect([refused.status, errorsOf(refused)]).toEqual([422, { secret: why, "introspection.clientSecret": why }]);
    // Whoever has none needs no SLUICE_SECRET.
    expect((await without.post("/admin/issuers", MAIN)).status).toBe(201);
    using gateway = admin({ secret: "the-first-secret" });
    const masked = { ...SIGNING, secret: null, introspection: { ...SIGNING.introspection, clientSecret: "***" } };
    expect(Object.keys(errorsOf(await gateway.post("/admin/issuers", masked)))).toEqual(["introspection.clientSecret"]);
  });
});

describe("an issuer that the admin API makes", () => {
  test("is checked as one of config.json, and names no file and no place that the admin API does not lead to", async () => {
    using gateway = admin({ config: { admin: { upstreamAllow: ["*.example.com", "127.0.0.0/8"] } } });
    const faults = async (change: object) => errorsOf(await gateway.post("/admin/issuers", { ...MAIN, ...change }));
    expect(await faults({ jwks: "./keys.json" })).toEqual({ jwks: "must be a URL: files are named in config.json alone" });
    expect(await faults({ jwks: "/etc/passwd" })).toEqual({ jwks: "must be a URL: files are named in config.json alone" });
    expect(await faults({ jwks: "file:///etc/passwd" })).toEqual({ jwks: "must begin with https:// or http://" });
    for (const place of ["http://169.254.169.254/keys", "http://0xa9fea9fe/keys", "http://metadata.google.internal/keys"]) {
      expect([place, await faults({ jwks: place })]).toEqual([place, { jwks: expect.stringContaining("link-local") }]);
      expect([place, await faults({ issuer: place })]).toEqual([place, { issuer: expect.stringContaining("link-local") }]);
    }
    expect(await faults({ issuer: "https://id.elsewhere.com" })).toEqual({ issuer: "is not among the hosts of admin.upstreamAllow" });
    // What is only compared is asked nothing.
    expect(
      (await gateway.post("/admin/issuers", { ...MAIN, issuer: "https://id.elsewhere.com", jwks: "http://127.0.0.1/keys" })).status,
    ).toBe(201);
    expect(errorsOf(await gateway.patch("/admin/issuers/main", { jwks: null }))).toHaveProperty("issuer");
    expect(errorsOf(await gateway.patch("/admin/issuers/main", { jwks: "keys.json" }))).toHaveProperty("jwks");
    const introspection = { endpoint: "http://[fe80::1]/introspect", clientId: "a", clientSecret: "b" };
    expect(errorsOf(await gateway.patch("/admin/issuers/main", { introspection }))).toEqual({
      "introspection.endpoint": expect.stringContaining("link-local"),
    });
    expect(Object.keys(await faults({ name: "other", algorithms: ["HS256"] }))).toEqual(["algorithms[0]"]);
    expect(await faults({ name: "other", tier: { default: "golden" } })).toEqual({
      "tier.default": expect.stringContaining('there is no tier "golden"'),
    });
  });

  test("has a name that can stand before a caller's", async () => {
    using gateway = admin();
    for (const name of ["a:b", "certificate", "a".repeat(65), "-a", "a b", ""])
      expect([name, Object.keys(errorsOf(await gateway.post("/admin/issuers", { ...MAIN, name })))]).toEqual([name, ["name"]]);
    expect((await gateway.post("/admin/issuers", { ...MAIN, name: "a".repeat(64) })).status).toBe(201);
  });

  test("signs for itself alone: no other issuer has its iss, whether the API or config.json makes it", async () => {
    using home = folder();
    const path = join(home.path, "sluice.db");
    const declared = { issuers: { declared: { issuer: "https://declared.example.com", audience: ["api"] } } };
    {
      using gateway = admin({ path, config: declared });
      expect((await gateway.post("/admin/issuers", MAIN)).status).toBe(201);
      const twin = { ...MAIN, name: "twin" };
      expect(errorsOf(await gateway.post("/admin/issuers", twin))).toEqual({ issuer: 'is the issuer of "main" already' });
      const same = { ...twin, issuer: "https://declared.example.com" };
      expect(errorsOf(await gateway.post("/admin/issuers", same))).toEqual({ issuer: 'is the issuer of "declared" already' });
      expect((await gateway.patch("/admin/issuers/main", { issuer: MAIN.issuer })).status).toBe(200);
      expect(errorsOf(await gateway.patch("/admin/issuers/main", { issuer: same.issuer }))).toHaveProperty("issuer");
      expect((await gateway.post("/admin/issuers", { ...MAIN, name: "declared" })).status).toBe(409);
    }
    const faults = (issuers: object): unknown => {
      const loaded = loadConfig(JSON.stringify({ issuers }), {});
      if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
      try {
        admin({ path, config: { issuers } })[Symbol.dispose]();
      } catch (error) {
        return error instanceof ConfigConflict ? error.faults : error;
      }
      return [];
    };
    expect(faults({ main: { issuer: "https://other.example.com", audience: ["api"] } })).toEqual([
      { path: ["issuers", "main"], message: "the admin API made an issuer of this name already: delete that one, or rename this one" },
    ]);
    expect(faults({ other: { issuer: MAIN.issuer, audience: ["api"] } })).toEqual([
      { path: ["issuers", "other", "issuer"], message: 'is the issuer of "main" already' },
    ]);
    expect(faults(declared.issuers)).toEqual([]);
  });

  test("gives way to the one that this instance's file declares, where another instance has made it", async () => {
    using home = folder();
    const path = join(home.path, "sluice.db");
    using other = admin({ path });
    using gateway = admin({ path, config: { issuers: { zeta: { issuer: MAIN.issuer, audience: ["api"], jwks: "./keys.json" } } } });
    expect((await other.post("/admin/issuers", MAIN)).status).toBe(201);
    const { items } = (await gateway.get("/admin/issuers")).json as { items: { name: string; state: { trouble: string | null } }[] };
    const counts = ({ state }: { state: { trouble: string | null } }) =>
      state.trouble?.includes("another issuer has the same iss") !== true;
    expect(items.map((item) => [item.name, counts(item)])).toEqual([
      ["main", false],
      ["zeta", true],
    ]);
    expect((await other.get("/admin/issuers/main")).json.state.trouble ?? "").not.toContain("another issuer");
  });

  test("can be named by routes, and is missed by those that name it, as its tiers are by it", async () => {
    using gateway = admin();
    const route = { name: "users", path: "/users", upstream: "http://127.0.0.1:2", issuers: ["main"] };
    expect(errorsOf(await gateway.post("/admin/routes", route))).toEqual({ "issuers[0]": 'there is no issuer "main"' });
    await gateway.post("/admin/tiers", { name: "gold", limits: [] });
    expect((await gateway.post("/admin/issuers", { ...MAIN, tier: { claim: "plan", map: { best: "gold" } } })).status).toBe(201);
    expect((await gateway.post("/admin/routes", route)).status).toBe(201);
    for (const [target, user] of [
      ["/admin/tiers/gold", "issuer main"],
      ["/admin/issuers/main", "route users"],
    ] as const) {
      const refused = await gateway.remove(target);
      expect([target, refused.status, refused.json.detail]).toEqual([target, 409, expect.stringContaining(`${user} use`)]);
      expect((await gateway.remove(`${target}?force=true`)).status).toBe(204);
    }
  });
});

test("an issuer says whether its tokens can be judged: when its keys came, and why they can't be had", async () => {
  using theirs = await testIssuer();
  using gateway = admin({ secret: "the-first-secret" });
  const state = async (name: string) => (await gateway.get(`/admin/issuers/${name}`)).json.state;
  await gateway.post("/admin/issuers", { ...MAIN, issuer: theirs.url });
  await until(async () => (await state("main")).hasKeys);
  expect(await state("main")).toEqual({ hasKeys: true, fetchedAt: "2026-11-21T00:00:00.000Z", trouble: null });
  await theirs.away();
  await gateway.post("/admin/issuers", { ...MAIN, name: "gone", issuer: "https://gone.example.com", jwks: `${theirs.url}/jwks` });
  await until(async () => (await state("gone")).trouble !== null);
  expect(await state("gone")).toEqual({ hasKeys: false, fetchedAt: null, trouble: expect.stringContaining(theirs.url) });
  // A secret is there at once, and nobody is asked.
  expect((await gateway.post("/admin/issuers", { ...SIGNING, introspection: null })).json.state).toEqual({
    hasKeys: true,
    fetchedAt: null,
    trouble: null,
  });
  const { items } = (await gateway.get("/admin/issuers")).json;
  expect(items.map((each: { name: string; state: { hasKeys: boolean } }) => [each.name, each.state.hasKeys])).toEqual([
    ["gone", false],
    ["main", true],
    ["signing", true],
  ]);
});

test("an issuer of the admin API can't lead Sluice where the API's upstreams can't, also not by a redirect; one of config.json may", async () => {
  using theirs = await testIssuer();
  theirs.answer = () => Response.redirect("http://169.254.169.254/keys", 302);
  using gateway = admin();
  await gateway.post("/admin/issuers", { ...MAIN, issuer: theirs.url });
  const state = async (name: string) => (await gateway.get(`/admin/issuers/${name}`)).json.state;
  await until(async () => (await state("main")).trouble !== null);
  expect((await state("main")).trouble).toStartWith("http://169.254.169.254/keys is link-local");
  theirs.answer = null;
  using strict = admin({ config: { admin: { upstreamAllow: [] }, issuers: { declared: { issuer: theirs.url, audience: ["api"] } } } });
  await until(async () => (await strict.get("/admin/issuers/declared")).json.state.hasKeys);
});

test("two processes on one data folder have the same issuers, and neither logs their secrets", async () => {
  using home = folder();
  const env = { SLUICE_SECRET: "the-first-secret" };
  await using first = await start({ cwd: home.path, config: { tiers: { anonymous: {}, free: {} }, guard: null }, env });
  await using second = await start({ cwd: home.path, env });
  const told = async (gateway: typeof first) => await (await gateway.admin("GET", "/admin/issuers/signing")).json();
  expect((await first.admin("POST", "/admin/issuers", SIGNING)).status).toBe(201);
  expect(await told(second)).toEqual(await told(first));
  expect((await second.admin("PATCH", "/admin/issuers/signing", { audience: ["web"] })).status).toBe(200);
  expect(await told(first)).toMatchObject({ audience: ["web"], secret: "***" });
  for (const gateway of [first, second]) {
    await fetch(`${gateway.url}/${SECRET}`, { headers: { "x-request-id": CLIENT_SECRET } });
    while (!gateway.output().includes('"path":"/')) await Bun.sleep(5);
  }
  expect((await first.admin("DELETE", "/admin/issuers/signing")).status).toBe(204);
  expect((await second.admin("GET", "/admin/issuers/signing")).status).toBe(404);
  for (const gateway of [first, second])
    for (const secret of [SECRET, CLIENT_SECRET]) expect([secret, gateway.output().includes(secret)]).toEqual([secret, false]);
});
