import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { decodeProtectedHeader, jwtVerify } from "jose";
import { bearerOf } from "../../src/issuers/claims.ts";
import { folder, run } from "../support/process.ts";
import { issuerConfig } from "../support/token-issuer.ts";

const SECRET = "a-secret-of-at-least-32-characters";
const own = { issuer: "https://own.example.com", audience: ["api", "web"], secret: "${TOKEN_SECRET}", type: "at+jwt" };
const foreign = { issuer: "https://id.example.com", audience: ["api"] };

/** Runs the command beside a configuration with these issuers. */
async function signing(issuers: object, ...args: readonly string[]) {
  using here = folder();
  writeFileSync(join(here.path, "config.json"), JSON.stringify({ issuers }));
  return await run(["sign-token", ...args], { cwd: here.path, env: { TOKEN_SECRET: SECRET } });
}

test("a token is signed as the issuer with the secret would, for whom and as long as is said", async () => {
  const { status, stdout } = await signing({ foreign, own }, "alice", "--claims", '{"plan":"gold","iat":null}', "--for", "5m");
  expect(status).toBe(0);
  const { payload } = await jwtVerify(stdout.trim(), new TextEncoder().encode(SECRET), { issuer: own.issuer, audience: "api" });
  expect([payload.sub, payload.plan, payload.iat]).toEqual(["alice", "gold", undefined]);
  expect((payload.exp ?? 0) - Date.now() / 1000).toBeLessThanOrEqual(300);
  expect(decodeProtectedHeader(stdout.trim())).toEqual({ alg: "HS256", typ: "at+jwt" });
});

test("the subject stands in the claim that names the issuer's callers", async () => {
  const { stdout } = await signing({ own: { ...own, consumer: "client_id" } }, "shop");
  const { payload } = await jwtVerify(stdout.trim(), new TextEncoder().encode(SECRET));
  expect([payload.client_id, payload.sub]).toEqual(["shop", undefined]);
  const inner = await signing({ own: { ...own, consumer: "user.id" } }, "shop");
  const claims = (await jwtVerify(inner.stdout.trim(), new TextEncoder().encode(SECRET))).payload;
  expect(bearerOf(claims, "own", issuerConfig({ ...own, consumer: "user.id" }))).toMatchObject({ id: "own:shop" });
});

test("what can't be signed is told of, with what to do", async () => {
  const said = async (issuers: object, ...args: string[]) => {
    const { status, stdout, stderr } = await signing(issuers, ...args);
    expect(stdout).toBe("");
    return `${status} ${stderr.split("\n")[0]}`;
  };
  expect(await said({ foreign }, "alice")).toBe(
    "1 sluice: no issuer in config.json has a secret to sign with: tokens come from the issuers themselves",
  );
  expect(await said({ foreign }, "alice", "--issuer", "foreign")).toBe(
    "1 sluice: the tokens of foreign are signed with its private key: get one from https://id.example.com",
  );
  expect(await said({ own }, "alice", "--issuer", "other")).toBe('1 sluice: config.json has no issuer "other"');
  expect(await said({ own, two: { ...own, issuer: "https://two.example.com" } }, "alice")).toBe(
    "1 sluice: several issuers have a secret: name one by --issuer own|two",
  );
  expect(await said({ own }, "alice", "--claims", "plan=gold")).toBe(
    '2 sluice: --claims takes a JSON object such as \'{"plan":"gold"}\', not plan=gold',
  );
  expect(await said({ own }, "alice", "--for", "soon")).toBe('2 sluice: --for takes a duration such as 10m, not "soon"');
  expect(await said({ own })).toBe("2 sluice: name the subject, whom the token is for: sluice sign-token alice");
  expect(await said({ own: { ...own, audience: "api" } }, "alice")).toStartWith("1 sluice: config.json:1:");
});
