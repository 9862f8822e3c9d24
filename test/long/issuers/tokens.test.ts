import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { backend } from "../../support/backend.ts";
import { ADMIN_TOKEN, type Running, run, start } from "../../support/process.ts";
import { signingKey, type TestIssuer, testIssuer } from "../../support/token-issuer.ts";

const KEY = "a-declared-key-0123456789";
const SECRET = "the-secret-of-the-introspection-client";

const configFor = (issuer: TestIssuer, url: string, more: object = {}) => ({
  tiers: { anonymous: { limits: [] }, free: { limits: [] }, pro: { limits: [] } },
  issuers: {
    main: {
      issuer: issuer.url,
      audience: ["api"],
      introspection: { endpoint: `${issuer.url}/introspect`, clientId: "sluice", clientSecret: SECRET },
      ...more,
    },
  },
  routes: [{ path: "/a", upstream: url }],
  consumers: [{ id: "acme", tier: "pro", keys: [KEY] }],
});

const ask = (gateway: Running, token: string) => fetch(`${gateway.url}/a`, { headers: { authorization: `Bearer ${token}` } });
const printed = async (gateway: Running, text: string) => {
  while (!gateway.output().includes(text)) await Bun.sleep(10);
};

test("tokens are taken by the whole program, by each kind of key, and are in no line of its log", async () => {
  using issuer = await testIssuer();
  using behind = backend();
  await using gateway = await start({ config: configFor(issuer, behind.url) });
  const tokens: string[] = [];
  for (const algorithm of ["ES256", "RS256", "EdDSA"] as const) {
    const key = await signingKey(algorithm, algorithm);
    issuer.keys.push(key);
    const token = await issuer.token({ key });
    expect((await ask(gateway, token)).status).toBe(200);
    expect((await ask(gateway, `${token.slice(0, -8)}AAAAAAAA`)).status).toBe(401);
    tokens.push(token);
  }
  issuer.opaque.set("an-opaque-token-0123456789", { sub: "alice", aud: "api" });
  expect((await ask(gateway, "an-opaque-token-0123456789")).status).toBe(200);
  await printed(gateway, '"consumer":"main:alice","tier":"free","keyId":null');
  await gateway.stop();
  for (const token of [...tokens, "an-opaque-token"]) expect(gateway.output()).not.toContain(token.slice(-40));
});

test("a reload changes issuers, under tokens that are in use, and shows no secret", async () => {
  using issuer = await testIssuer();
  using behind = backend();
  await using gateway = await start({ config: configFor(issuer, behind.url) });
  const token = await issuer.token({ claims: { plan: "gold" } });
  const tierOf = async () => ((await (await ask(gateway, token)).json()) as { headers: Record<string, string> }).headers["x-consumer-tier"];
  const reload = async (more: object) => {
    writeFileSync(join(gateway.folder, "config.json"), JSON.stringify(configFor(issuer, behind.url, more)));
    return (await gateway.admin("POST", "/admin/config/reload")).status;
  };
  expect(await tierOf()).toBe("free");
  expect(await reload({ tier: { claim: "plan", map: { gold: "pro" }, default: "free" } })).toBe(200);
  expect(await tierOf()).toBe("pro");
  expect(await reload({ tier: { claim: "plan", map: { gold: "platinum" }, default: "free" } })).toBe(422);
  expect(await tierOf()).toBe("pro");
  expect(await reload({ audience: ["others"] })).toBe(200);
  expect((await ask(gateway, token)).status).toBe(401);
  const shown = await (await gateway.admin("GET", "/admin/config")).text();
  expect(shown).toContain('"clientSecret":"***"');
  expect(shown + gateway.output()).not.toContain(SECRET);
});

test("an issuer that is away is told of once, in the log and by /ready, and its return as well", async () => {
  using issuer = await testIssuer();
  using behind = backend();
  await issuer.away();
  await using gateway = await start({ config: configFor(issuer, behind.url, { introspection: null }) });
  await printed(gateway, "an issuer of tokens can't be asked");
  const warnings = async () =>
    ((await (await fetch(`${gateway.url}/ready`)).json()) as { warnings: { code: string }[] }).warnings.map(({ code }) => code);
  expect(await warnings()).toContain("issuerUnavailable");
  const waiting = await ask(gateway, await issuer.token());
  expect([waiting.status, waiting.headers.get("retry-after")]).toEqual([503, "5"]);
  issuer.back();
  await printed(gateway, "the issuer can be asked again");
  expect(await warnings()).not.toContain("issuerUnavailable");
  expect((await ask(gateway, await issuer.token())).status).toBe(200);
  expect(gateway.output().split("an issuer of tokens can't be asked")).toHaveLength(2);
}, 30_000);

test("sluice check warns of issuers that let in more than they should", async () => {
  using issuer = await testIssuer();
  await using gateway = await start({ config: configFor(issuer, "http://127.0.0.1:1") });
  const file = join(gateway.folder, "other.json");
  const hmac = { issuer: "old", audience: ["api"], secret: "a-secret-of-at-least-thirty-two-characters" };
  writeFileSync(
    file,
    JSON.stringify({
      ...configFor(issuer, "http://127.0.0.1:1"),
      issuers: { main: { issuer: "http://id.example.com", audience: [] }, hmac },
    }),
  );
  const checked = await run(["check", file], { cwd: gateway.folder });
  for (const warning of ["issuers.main", "is http: whoever is on the way", "is empty, so that tokens", "beside issuers with public keys"])
    expect(checked.stdout + checked.stderr).toContain(warning);
  expect(checked.status).toBe(0);
  expect((await run(["check", "--strict", file], { cwd: gateway.folder })).status).toBe(1);
});

test("an issuer that the admin API makes is asked at once, and its callers are refused when it is gone", async () => {
  using issuer = await testIssuer();
  using behind = backend();
  const { issuers: _, ...config } = configFor(issuer, behind.url);
  await using gateway = await start({ config: { ...config, admin: { upstreamAllow: ["127.0.0.0/8"] } } });
  const token = await issuer.token();
  expect((await ask(gateway, token)).status).toBe(401);
  expect((await gateway.admin("POST", "/admin/issuers", { name: "made", issuer: issuer.url, audience: ["api"] })).status).toBe(201);
  const answer = await ask(gateway, token);
  expect(answer.status).toBe(200);
  expect(((await answer.json()) as { headers: Record<string, string> }).headers["x-consumer-id"]).toBe("made:alice");

  const env = { SLUICE_URL: gateway.url, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN };
  const explained = async (shown: string) => Object.values(await run(["explain", "--bearer", shown], { cwd: gateway.folder, env })).join();
  expect(await explained(token)).toContain("the token of made is good");
  expect(await explained(await issuer.token({ claims: { aud: "web" } }))).toMatch(/the token is refused: .*aud/);

  expect((await gateway.admin("DELETE", "/admin/issuers/made")).status).toBe(204);
  expect((await ask(gateway, token)).status).toBe(401);
});
