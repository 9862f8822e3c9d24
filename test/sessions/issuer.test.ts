import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { IssuerSignIn, type IssuerSignInDeps } from "../../src/admin/issuer-sign-in.ts";
import { ROLES, type Role } from "../../src/admin/rights.ts";
import type { Visit } from "../../src/admin/visits.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { CodeFlow } from "../../src/issuers/code-flow.ts";
import type { Issuer } from "../../src/issuers/issuer.ts";
import { roleOfValues, valuesWithRole } from "../../src/sessions/issued-role.ts";
import { FakeClock } from "../support/clock.ts";
import { serving } from "../support/serving.ts";
import { signed, signingKey } from "../support/token-issuer.ts";

const ROLES_BY_GROUP = { claim: "groups", map: { platform: "admin", support: "viewer" } };

/** An issuer that gives one ID token for every code, whatever it is: `claims` says what stands in it. */
async function issuerOf() {
  const key = await signingKey("one");
  const other = await signingKey("one");
  const state = {
    claims: {} as Record<string, unknown>,
    isForged: false,
    discovery: {} as Record<string, unknown>,
    forms: [] as { form: URLSearchParams; authorization: string | null }[],
    discoveries: 0,
    tokenStatus: 200,
  };
  const server = Bun.serve({
    ...{ hostname: "127.0.0.1", port: 0 },
    fetch: async (request) => {
      const { origin, pathname } = new URL(request.url);
      if (pathname === "/jwks") return Response.json({ keys: [key.published] });
      if (pathname === "/token") {
        state.forms.push({ form: new URLSearchParams(await request.text()), authorization: request.headers.get("authorization") });
        if (state.tokenStatus !== 200) return new Response("", { status: state.tokenStatus });
        const claims = { aud: "console", ...state.claims };
        return Response.json({ id_token: await signed(state.isForged ? other : key, origin, Date.now(), { claims }) });
      }
      state.discoveries++;
      const places = { authorization_endpoint: `${origin}/auth?tenant=1`, token_endpoint: `${origin}/token`, jwks_uri: `${origin}/jwks` };
      return Response.json({ issuer: origin, ...places, ...state.discovery });
    },
  });
  return { state, url: `http://127.0.0.1:${server.port}`, [Symbol.asyncDispose]: () => server.stop(true) };
}

type TestIssuer = Awaited<ReturnType<typeof issuerOf>>;
type Gateway = ReturnType<typeof serving>;

async function using(work: (gateway: Gateway, issuer: TestIssuer) => Promise<void>, admin: object = {}, more: object = {}): Promise<void> {
  await using issuer = await issuerOf();
  const gateway = serving({
    issuers: { main: { issuer: issuer.url, audience: ["api"] } },
    admin: { issuer: "main", clientId: "console", roles: ROLES_BY_GROUP, ...admin },
    ...more,
  });
  try {
    await work(gateway, issuer);
    expect(gateway.faults).toEqual([]);
  } finally {
    await gateway.stop();
  }
}

const get = (url: string, cookie = "") => fetch(url, { redirect: "manual", headers: cookie === "" ? {} : { cookie } });
const cookieOf = (answer: Response, name: string): string =>
  answer.headers
    .getSetCookie()
    .find((line) => line.startsWith(`${name}=`))
    ?.split(";", 1)[0] ?? "";
const errorOf = (answer: Response): string => decodeURIComponent(/#error=(.*)/.exec(answer.headers.get("location") ?? "")?.[1] ?? "");

/** Begins a sign-in, and comes back with a code: `claims` stand in the ID token beside the nonce. */
async function come({ url }: Gateway, { state }: TestIssuer, claims: Record<string, unknown>, back: Record<string, string> = {}) {
  const begun = await get(`${url}/admin/session/start`);
  const sent = new URL(begun.headers.get("location") ?? "");
  state.claims = { nonce: sent.searchParams.get("nonce"), ...claims };
  const query = new URLSearchParams({ code: "a-code", state: sent.searchParams.get("state") ?? "", ...back });
  const answer = await get(`${url}/admin/session/callback?${query}`, cookieOf(begun, "sluice_sign_in"));
  return { begun, sent, answer };
}

const whoIs = async ({ url }: Gateway, cookie: string) => {
  const answer = await fetch(`${url}/admin/session`, { headers: { cookie } });
  return { status: answer.status, ...((await answer.json()) as { name?: string; role?: string }) };
};

describe("sign-in by an issuer", () => {
  test("sends a browser there with PKCE, state and nonce, and signs in who comes back", () =>
    using(
      async (gateway, issuer) => {
        const { begun, sent, answer } = await come(gateway, issuer, { sub: "alice", groups: ["staff", "support", "platform"] });
        expect([begun.status, sent.origin + sent.pathname, sent.searchParams.get("tenant")]).toEqual([302, `${issuer.url}/auth`, "1"]);
        expect(Object.fromEntries(sent.searchParams)).toMatchObject({
          ...{ response_type: "code", client_id: "console", scope: "openid groups", code_challenge_method: "S256" },
          redirect_uri: `${gateway.url}/admin/session/callback`,
        });
        expect(begun.headers.get("set-cookie")).toMatch(/; HttpOnly; SameSite=Lax; Path=\/admin\/session\/callback; Max-Age=600$/);
        expect([answer.status, answer.headers.get("location")]).toEqual([303, "/console"]);
        expect(answer.headers.getSetCookie().find((line) => line.startsWith("sluice_session="))).toMatch(
          /; HttpOnly; SameSite=Strict; Path=\/; Max-Age=43200$/,
        );
        const cookie = cookieOf(answer, "sluice_session");
        expect(await whoIs(gateway, cookie)).toMatchObject({ name: "main:alice", role: "admin" });
        const [{ form, authorization }] = issuer.state.forms as [TestIssuer["state"]["forms"][number]];
        expect(authorization).toBe(`Basic ${btoa("console:a-secret")}`);
        const challenge = new Bun.CryptoHasher("sha256").update(form.get("code_verifier") ?? "").digest("base64url");
        expect([form.get("code"), challenge]).toEqual(["a-code", sent.searchParams.get("code_challenge")]);
        gateway.clock.advance(12 * 3_600_000);
        expect((await whoIs(gateway, cookie)).status).toBe(401);
      },
      { clientSecret: "a-secret", scopes: ["groups"] },
    ));

  test("refuses an ID token that is not good here, and says so without the reason, which is the log's", () =>
    using(async (gateway, issuer) => {
      const good = { sub: "alice", groups: ["platform"] };
      for (const [claims, isForged] of [
        [{ ...good, nonce: "another" }, false],
        [{ ...good, nonce: undefined }, false],
        [{ ...good, aud: "api" }, false],
        [{ ...good, aud: ["console", "api"], azp: "api" }, false],
        [{ ...good, iss: "https://other.example.com" }, false],
        [{ ...good, exp: 1 }, false],
        [{ ...good, sub: undefined }, false],
        [{ ...good, sub: "with space" }, false],
        [good, true],
      ] as const) {
        issuer.state.isForged = isForged;
        const { answer } = await come(gateway, issuer, claims);
        expect([claims, errorOf(answer), cookieOf(answer, "sluice_session")]).toEqual([
          claims,
          expect.stringContaining("the gateway's log says why"),
          "",
        ]);
      }
      issuer.state.isForged = false;
      const { answer } = await come(gateway, issuer, { ...good, groups: ["sales"] });
      expect([errorOf(answer), cookieOf(answer, "sluice_session")]).toEqual([expect.stringContaining("gives a role here"), ""]);
    }));

  test("takes nobody back who did not begin here, or whom the issuer did not sign in", () =>
    using(async (gateway, issuer) => {
      const good = { sub: "alice", groups: ["platform"] };
      for (const back of [{ state: "another" }, { iss: "https://other.example.com" }] as Record<string, string>[])
        expect(errorOf((await come(gateway, issuer, good, back)).answer)).toContain("begin again");
      const begun = await get(`${gateway.url}/admin/session/start`);
      const state = new URL(begun.headers.get("location") ?? "").searchParams.get("state") ?? "";
      const callback = `${gateway.url}/admin/session/callback`;
      expect(errorOf(await get(`${callback}?code=a&state=${state}`))).toContain("begin again");
      const cookie = cookieOf(begun, "sluice_sign_in");
      expect(errorOf(await get(`${callback}?error=access_denied&state=${state}`, cookie))).toContain("access_denied");
      expect(errorOf(await get(`${callback}?error=<script>&state=${state}`, cookie))).toBe("main did not sign you in: it gave no reason.");
    }));

  test("asks the issuer for nobody who has not begun here, nor twice for one who has, nor too late", () =>
    using(
      async (gateway, issuer) => {
        const back = (cookie: string, state: string) => get(`${gateway.url}/admin/session/callback?code=a&state=${state}`, cookie);
        const begin = async () => {
          const begun = await get(`${gateway.url}/admin/session/start`);
          const sent = new URL(begun.headers.get("location") ?? "").searchParams;
          issuer.state.claims = { sub: "alice", groups: ["platform"], nonce: sent.get("nonce") };
          return { state: sent.get("state") ?? "", cookie: cookieOf(begun, "sluice_sign_in") };
        };
        const [state, rest] = ["s".repeat(32), `${"n".repeat(32)}.${"v".repeat(64)}`];
        const later = gateway.clock.wall() + 60_000;
        for (const kept of [`${state}.${rest}`, `${state}.${rest}.${later}.${"0".repeat(64)}`])
          expect(errorOf(await back(`sluice_sign_in=${kept}`, state))).toContain("begin again");
        const late = await begin();
        const longer = late.cookie.replace(/\.\d+\./, `.${later + 3_600_000}.`);
        gateway.clock.advance(600_000);
        for (const cookie of [late.cookie, longer]) expect(errorOf(await back(cookie, late.state))).toContain("begin again");
        expect(issuer.state.forms).toEqual([]);
        const good = await begin();
        expect((await back(good.cookie, good.state)).headers.get("location")).toBe("/console");
        expect(errorOf(await back(good.cookie, good.state))).toContain("begin again");
        expect(issuer.state.forms.length).toBe(1);
      },
      { clientSecret: "a-secret" },
    ));

  test("counts codes that the issuer refuses in the guard, and asks nothing for a blocked address", () =>
    using(
      async (gateway, issuer) => {
        issuer.state.tokenStatus = 400;
        const good = { sub: "alice", groups: ["platform"] };
        for (let i = 0; i < 3; i++) expect(errorOf((await come(gateway, issuer, good)).answer)).toContain("the gateway's log says why");
        for (const path of ["start", "callback?code=a&state=b"]) {
          const answer = await get(`${gateway.url}/admin/session/${path}`);
          expect(((await answer.json()) as { code: string }).code).toBe("ipBlocked");
        }
        expect(issuer.state.forms.length).toBe(3);
      },
      {},
      { guard: { invalidKeyLimit: 3 } },
    ));

  test("tells why nobody was signed in once in a while, however many try", async () => {
    const clock = new FakeClock(Date.now());
    const told: [string, number][] = [];
    const loaded = loadConfig(
      JSON.stringify({
        issuers: { main: { issuer: "https://id.example.com", audience: ["api"] } },
        admin: { issuer: "main", clientId: "console", roles: ROLES_BY_GROUP },
      }),
      {},
    );
    const { admin } = (loaded as { config: Config }).config;
    const issuer = { name: "main", config: { issuer: "https://id.example.com" }, refuses: () => "is not allowed" } as unknown as Issuer;
    const signIn = new IssuerSignIn({
      ...{ clock, settings: () => admin, issuerOf: () => issuer, flow: new CodeFlow(() => clock.now()) },
      guard: { blockedFor: () => 0 },
      onTrouble: (_name: string, why: string, untold: number) => void told.push([why, untold]),
    } as unknown as IssuerSignInDeps);
    const visit = { ip: "192.0.2.1", browser: { origins: ["http://localhost"] } } as unknown as Visit;
    for (let i = 0; i < 20; i++) await signIn.begin(visit);
    clock.advance(10_000);
    await signIn.begin(visit);
    expect(told).toEqual([
      [expect.stringContaining("is not allowed"), 0],
      [expect.stringContaining("is not allowed"), 19],
    ]);
  });

  test("tells the console what kept the issuer from being asked", () =>
    using(async (gateway, issuer) => {
      issuer.state.discovery = { authorization_endpoint: "ftp://127.0.0.1/" };
      const answer = await get(`${gateway.url}/admin/session/start`);
      expect([answer.status, errorOf(answer)]).toEqual([303, expect.stringContaining("main can't be asked")]);
    }));

  test("asks an issuer once for what it says of itself, however many want to sign in", () =>
    using(async (gateway, issuer) => {
      await Promise.all(Array.from({ length: 20 }, () => get(`${gateway.url}/admin/session/start`)));
      // Once by those, and once for the keys.
      expect(issuer.state.discoveries).toBeLessThanOrEqual(2);
    }));

  test("is refused where the console is not served, and without an issuer", async () => {
    await using(async (gateway) => {
      const answer = await fetch(`${gateway.url}/admin/session/start`, { redirect: "manual", headers: { host: "api.example.com" } });
      expect(answer.status).toBe(403);
    });
    const gateway = serving({});
    expect(errorOf(await get(`${gateway.url}/admin/session/start`))).toContain("use an admin token");
    expect(errorOf(await get(`${gateway.url}/admin/session/callback?code=a&state=b`))).toContain("use an admin token");
    await gateway.stop();
  });
});

describe("the role that an issuer gives", () => {
  const map = fc.dictionary(fc.string({ minLength: 1, maxLength: 4 }), fc.constantFrom(...ROLES), { maxKeys: 5 });

  test("is the one with the most rights among those of the claim's values", () => {
    fc.assert(
      fc.property(map, fc.array(fc.string({ maxLength: 4 }), { maxLength: 5 }), (roles, values) => {
        const rules = { claim: "a.groups", map: roles };
        const found = valuesWithRole({ a: { groups: values } }, rules);
        const given = values.flatMap((value) => (Object.hasOwn(roles, value) ? [ROLES.indexOf(roles[value] as Role)] : []));
        expect(roleOfValues(found, rules, ROLES)).toBe(given.length === 0 ? null : (ROLES[Math.max(...given)] ?? null));
      }),
    );
  });

  test.each([
    [{ groups: "platform" }, "admin"],
    [{ groups: "platform support" }, null],
    [{ groups: ["support", 7, null, {}] }, "viewer"],
    [{ groups: { platform: true } }, null],
    [{ groups: ["constructor", "__proto__"] }, null],
    [{}, null],
  ])("of %p is %p", (claims, role) => {
    const rules = ROLES_BY_GROUP as { claim: string; map: Record<string, Role> };
    expect(roleOfValues(valuesWithRole(claims, rules), rules, ROLES)).toBe(role as Role | null);
  });
});

test("a session has the role that the configuration gives it now, and no more than it had at first", () => {
  const begun = { use: "console", token: null, actor: "main:alice", role: "operator", claims: ["ops"], consumer: null } as const;
  const session = { ...begun, madeAt: 0, expiresAt: 1 };
  const roleWith = (map: Record<string, Role> | null, issuer = "main", known = ["main"]): Role | null => {
    const settings = { issuer, roles: map === null ? null : { claim: "groups", map } } as Config["admin"];
    // Nothing else of an issuer is looked at than whether there is one.
    const issuerOf = (name: string) => (known.includes(name) ? ({} as Issuer) : null);
    return new IssuerSignIn({ settings: () => settings, issuerOf } as unknown as IssuerSignInDeps).roleOf(session);
  };
  expect(roleWith({ ops: "operator" })).toBe("operator");
  expect(roleWith({ ops: "viewer" })).toBe("viewer");
  expect(roleWith({ ops: "admin" })).toBe("operator");
  expect([
    roleWith({ others: "admin" }),
    roleWith(null),
    roleWith({ ops: "operator" }, "other"),
    roleWith({ ops: "operator" }, "main", []),
  ]).toEqual([null, null, null, null]);
});

describe("the configuration of sign-in", () => {
  const faultsOf = (admin: object, issuers: object = { main: { issuer: "https://id.example.com", audience: ["api"] } }): string[] => {
    const loaded = loadConfig(JSON.stringify({ issuers, admin }), {});
    return "faults" in loaded ? loaded.faults.map(({ path, message }) => `${path.join(".")} ${message}`) : [];
  };
  const whole = { issuer: "main", clientId: "console", roles: ROLES_BY_GROUP };

  test("is whole, or there is none", () => {
    expect(faultsOf(whole)).toEqual([]);
    expect(faultsOf({ ...whole, issuer: "mian" })).toEqual(['admin.issuer there is no issuer "mian", did you mean "main"?']);
    expect(faultsOf({ issuer: "main" }).map((each) => each.split(" ", 1)[0])).toEqual(["admin.clientId", "admin.roles"]);
    expect(faultsOf({ clientId: "a", scopes: ["groups"] }).map((each) => each.split(" ", 1)[0])).toEqual([
      "admin.clientId",
      "admin.scopes",
    ]);
    expect(faultsOf({ ...whole, roles: { claim: "groups", map: { a: "root" } } })).toHaveLength(1);
    const secret = { main: { issuer: "https://id.example.com", audience: ["api"], secret: "a-secret-of-32-characters-at-least" } };
    expect(faultsOf(whole, secret)).toEqual([expect.stringContaining("can't say where people sign in")]);
  });
});
