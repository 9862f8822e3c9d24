import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { serving } from "../support/serving.ts";
import { signingKey, type TestIssuer, testIssuer } from "../support/token-issuer.ts";

const TIERS = {
  anonymous: { limits: [] },
  free: { limits: [{ name: "per-minute", algorithm: "fixed-window", limit: 3, window: "1m" }] },
  pro: { limits: [] },
};

let issuer: TestIssuer;
let backend: ReturnType<typeof Bun.serve>;
let gateway: ReturnType<typeof serving>;

beforeEach(async () => {
  issuer = await testIssuer();
  backend = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("ok") });
  gateway = serving({
    tiers: TIERS,
    issuers: { main: { issuer: issuer.url, audience: ["api"] } },
    routes: [
      {
        name: "a",
        path: "/a",
        upstream: `http://127.0.0.1:${backend.port}`,
        limits: [{ name: "all", algorithm: "fixed-window", limit: 9, window: "1m" }],
      },
      { name: "write", path: "/write", upstream: `http://127.0.0.1:${backend.port}`, scopes: ["write"] },
    ],
    consumers: [{ id: "acme", tier: "pro", keys: ["a-declared-key-0123456789"] }],
  });
});
afterEach(async () => {
  await gateway.stop();
  await backend.stop(true);
  issuer[Symbol.dispose]();
});

/** The admin API's answer, with its status. */
async function json(path: string, body?: object) {
  const response = await gateway.admin(body === undefined ? "GET" : "POST", path, body);
  return { ...((await response.json()) as Record<string, unknown>), status: response.status } as Record<string, unknown>;
}
const explained = (token: string, more = "") => json(`/admin/explain?token=${token}${more}`);
const ask = (token: string) => fetch(`${gateway.url}/a`, { headers: { authorization: `Bearer ${token}` } });

describe("a token that is asked about", () => {
  test("is good, and has the limits of its caller, of which nothing is taken", async () => {
    const token = await issuer.token();
    await ask(token);
    for (let i = 0; i < 5; i++)
      expect(await explained(token, "&route=a")).toMatchObject({
        ...{ consumer: "main:alice", tier: "free", key: null, allowed: true, refusal: null },
        token: { issuer: "main", passed: true, why: null },
        limits: [
          { name: "per-minute", scope: "tier free", subject: "main:alice", used: 1, remaining: 2 },
          { name: "all", scope: "route a", used: 1 },
        ],
      });
  });

  test.each([
    ["expired", { claims: { exp: 1_000_000_000 } }, "tokenExpired", /^its exp was \d+ s ago$/],
    ["for others", { claims: { aud: ["x", "y"] } }, "tokenInvalid", 'its aud is ["x","y"]: wanted is any of api'],
    ["by an unknown key", { header: { kid: "nobody's" } }, "tokenInvalid", "issuer main has no key with its kid"],
    ["without a name", { claims: { sub: undefined } }, "tokenInvalid", "The token has no claim sub, which names the caller"],
  ])("says which check failed when it is %s", async (_what, given, code, why) => {
    const answer = await explained(await issuer.token(given));
    expect(answer).toMatchObject({
      allowed: false,
      consumer: null,
      limits: [],
      refusal: { code },
      token: { issuer: "main", passed: false },
    });
    const said = (answer.token as unknown as { why: string }).why;
    if (typeof why === "string") expect(said).toBe(why);
    else expect(said).toMatch(why);
  });

  test("says that it is of nobody, or forged, or nothing at all", async () => {
    expect(await explained(await issuer.token({ claims: { iss: "https://other.example.com" } }))).toMatchObject({
      refusal: { code: "issuerUnknown" },
      token: { issuer: null, why: "no issuer has this iss" },
    });
    const { kid } = issuer.keys[0] ?? { kid: "" };
    expect(await explained(await issuer.token({ key: await signingKey(kid) }))).toMatchObject({
      token: { issuer: "main", why: "the token was changed, or somebody else has signed it" },
    });
    expect(await explained("slc_0123456789")).toMatchObject({ status: 422 });
    expect(await explained(await issuer.token(), "&consumer=acme")).toMatchObject({ status: 422 });
  });

  test("is told once what is wrong where no more is to be said", async () => {
    const { refusal } = await explained(await issuer.token({ claims: { exp: undefined } }));
    expect(refusal).toEqual({ code: "tokenInvalid", detail: "The token lacks the claim exp." });
  });

  test("counts in no guard, however often it is wrong", async () => {
    const forged = `${(await issuer.token()).slice(0, -8)}AAAAAAAA`;
    for (let i = 0; i < 20; i++) await explained(forged, "&ip=127.0.0.1");
    expect((await ask(await issuer.token())).status).toBe(200);
  });

  test("is in no count, and is remembered by nobody", async () => {
    const counts = async () => (await (await fetch(`${gateway.url}/metrics`)).text()).match(/^sluice_tokens.*$/gm);
    const good = await issuer.token();
    const shown = await issuer.token({ claims: { sub: "bob" } });
    await ask(shown);
    const before = await counts();
    for (const token of [good, shown, await issuer.token({ claims: { aud: "x", iss: "y" } }), await issuer.token({ claims: { exp: 1 } })]) {
      await explained(token);
      await json("/admin/explain/request", { method: "GET", target: "/a", headers: [`Authorization: Bearer ${token}`] });
    }
    expect(await counts()).toEqual(before);
    expect((await json("/admin/explain?consumer=main:bob")).status).toBe(200);
    expect((await json("/admin/explain?consumer=main:alice")).status).toBe(404);
  });

  test("may not use what its scopes do not allow", async () => {
    expect(await explained(await issuer.token(), "&route=write")).toMatchObject({
      allowed: false,
      refusal: { code: "forbidden", detail: "This token lacks the scope write." },
    });
    expect(await explained(await issuer.token({ claims: { scope: "write" } }), "&route=write")).toMatchObject({ allowed: true });
  });

  test("can't be judged while its issuer is away", async () => {
    // Before its keys change: the gateway may be asking for them just now.
    await issuer.away();
    await issuer.rotate();
    const token = await issuer.token();
    expect(await explained(token)).toMatchObject({
      allowed: false,
      refusal: { code: "issuerUnavailable" },
      token: { issuer: "main", passed: false },
    });
  });
});

describe("a request with a token that is asked about", () => {
  const steps = async (token: string) => {
    const answer = await json("/admin/explain/request", { method: "GET", target: "/a", headers: [`Authorization: Bearer ${token}`] });
    return answer as unknown as { steps: { step: string; passed: boolean; detail: string }[]; refusal: object | null };
  };

  test("tells who calls, or which check failed", async () => {
    const good = await steps(await issuer.token());
    expect(good.steps.find(({ step }) => step === "identify")).toEqual({
      ...{ step: "identify", passed: true, detail: "token of consumer main:alice, tier free" },
    });
    expect(good.refusal).toBeNull();
    const bad = await steps(await issuer.token({ claims: { aud: "x" } }));
    expect(bad.steps.at(-1)).toEqual({ step: "identify", passed: false, detail: 'its aud is "x": wanted is any of api' });
    expect(bad.refusal).toEqual({ status: 401, code: "tokenInvalid" });
  });
});

describe("a caller with a token and without a record", () => {
  test("has limits that can be looked at and reset, and denials that are remembered", async () => {
    expect((await json("/admin/limits/main:alice")).status).toBe(404);
    const token = await issuer.token();
    for (let i = 0; i < 4; i++) await (await ask(token)).text();
    expect(await json("/admin/limits/main:alice")).toMatchObject({
      limits: [
        { name: "per-minute", subject: "main:alice", used: 3, remaining: 0 },
        { name: "all", used: 3 },
      ],
    });
    expect(await json("/admin/explain?consumer=main:alice")).toMatchObject({
      tier: "free",
      allowed: false,
      denials: [{ code: "rateLimited", route: "a" }],
    });
    expect((await gateway.admin("DELETE", "/admin/limits/main:alice")).status).toBe(204);
    expect((await ask(token)).status).toBe(200);
  });
});
