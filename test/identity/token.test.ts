import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createServer } from "node:http";
import { authorizer } from "../support/authorizer.ts";
import { type Backend, backend } from "../support/backend.ts";
import { exchange } from "../support/raw.ts";
import { serving } from "../support/serving.ts";
import { signingKey, type TestIssuer, testIssuer, until } from "../support/token-issuer.ts";

const KEY = "a-declared-key-0123456789";
const TIERS = {
  anonymous: { limits: [] },
  free: { limits: [{ algorithm: "fixed-window", limit: 3, window: "1m" }] },
  pro: { limits: [{ algorithm: "fixed-window", limit: 100, window: "1m" }] },
};

let issuer: TestIssuer;
let upstream: Backend;
const open: { stop: () => Promise<unknown> }[] = [];

beforeEach(async () => {
  issuer = await testIssuer();
  upstream = backend();
});
afterEach(async () => {
  for (const gateway of open.splice(0)) await gateway.stop();
  issuer[Symbol.dispose]();
  upstream[Symbol.dispose]();
});

/** A gateway that takes tokens of the issuer. `more`: what its issuer has besides. */
function gateway({ more = {}, route = {}, ...config }: { more?: object; route?: object; [section: string]: unknown } = {}) {
  const served = serving({
    tiers: TIERS,
    issuers: { main: { issuer: issuer.url, audience: ["api"], tier: { claim: "plan", map: { gold: "pro" }, default: "free" }, ...more } },
    routes: [{ path: "/a", upstream: upstream.url, ...route }],
    consumers: [{ id: "acme", tier: "pro", keys: [KEY] }],
    ...config,
  });
  open.push(served);
  const ask = (token: string | null, headers: Record<string, string> = {}, path = "/a/x") =>
    fetch(`${served.url}${path}`, { headers: { ...(token === null ? {} : { authorization: `Bearer ${token}` }), ...headers } });
  /** The fields that the backend gets of a request. */
  const forwarded = async (token: string | null, headers: Record<string, string> = {}): Promise<Record<string, string>> => {
    const response = await ask(token, headers);
    expect(response.status).toBe(200);
    return ((await response.json()) as { headers: Record<string, string> }).headers;
  };
  return { ...served, ask, forwarded };
}

const codeOf = async (response: Response): Promise<string> => `${response.status} ${((await response.json()) as { code?: string }).code}`;

describe("a request with a token", () => {
  test("is the caller's whom the token names, and the backend is told of them and not the token", async () => {
    const { forwarded } = gateway();
    const headers = await forwarded(await issuer.token());
    expect(headers).toMatchObject({ "x-consumer-id": "main:alice", "x-consumer-tier": "free" });
    expect(headers.authorization).toBeUndefined();
  });

  test("goes on with it where the issuer's tokens are forwarded", async () => {
    const { forwarded } = gateway({ more: { forward: true } });
    const token = await issuer.token();
    for (let i = 0; i < 2; i++) expect((await forwarded(token)).authorization).toBe(`Bearer ${token}`);
  });

  test("brings no other one to the backend beside the one that was checked", async () => {
    const { port } = gateway({ more: { forward: true } });
    const forged = `${(await issuer.token({ claims: { sub: "root" } })).slice(0, -8)}AAAAAAAA`;
    const lines = [`Authorization: Bearer ${await issuer.token()}`, `AUTHORIZATION: Bearer ${forged}`];
    const answer = await exchange(port, `GET /a/x HTTP/1.1\r\nHost: a\r\n${lines.join("\r\n")}\r\nConnection: close\r\n\r\n`);
    expect(answer).toStartWith("HTTP/1.1 200 ");
    expect(upstream.seen.at(-1)?.headers).toMatchObject({ "x-consumer-id": "main:alice" });
    expect(upstream.seen.at(-1)?.headers.authorization).toBeUndefined();
  });

  test("has the limits of its tier, counted for the caller by however many tokens", async () => {
    const { ask } = gateway();
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++) statuses.push((await ask(await issuer.token({ claims: { jti: String(i) } }))).status);
    expect(statuses).toEqual([200, 200, 200, 429]);
    expect((await ask(await issuer.token({ claims: { sub: "bob" } }))).status).toBe(200);
    const gold = await ask(await issuer.token({ claims: { sub: "carol", plan: "gold" } }));
    expect(gold.headers.get("x-ratelimit-limit")).toBe("100");
  });

  test("may use what its scopes and its tier allow, and is told which scope it lacks", async () => {
    const { ask } = gateway({ route: { scopes: ["users:read", "users:list"] } });
    expect((await ask(await issuer.token({ claims: { scope: "users:read users:list" } }))).status).toBe(200);
    const refused = await ask(await issuer.token({ claims: { scope: "users:read" } }));
    expect(refused.headers.get("www-authenticate")).toBe('Bearer error="insufficient_scope", scope="users:read users:list"');
    expect(await refused.json()).toMatchObject({ code: "forbidden", detail: "This token lacks the scope users:list." });
    const pro = gateway({ route: { tiers: ["pro"] } });
    expect((await pro.ask(await issuer.token())).status).toBe(403);
    expect((await pro.ask(await issuer.token({ claims: { plan: "gold" } }))).status).toBe(200);
  });

  test("brings claims to the backend, and no client can send their fields", async () => {
    const { forwarded, ask } = gateway({ more: { headers: { "X-User-Email": "email" } }, route: { auth: "optional" } });
    const token = await issuer.token({ claims: { email: "alice@example.com" } });
    expect((await forwarded(token, { "x-user-email": "root@example.com" }))["x-user-email"]).toBe("alice@example.com");
    for (const [shown, name] of [
      [await issuer.token(), "X-User-Email"],
      [await issuer.token(), "X_User_Email"],
      [null, "X-USER-EMAIL"],
    ] as const)
      expect(JSON.stringify(await forwarded(shown, { [name]: "root@example.com" }))).not.toContain("root@");
    await (await ask(null, { "x-api-key": KEY, "x-user-email": "root@example.com" })).text();
    expect(JSON.stringify(upstream.seen.at(-1))).not.toContain("root@");
  });

  test("brings each claim in one line: what the route sets, removes, or has a service or a key for comes before it", async () => {
    const claims = { email: "alice@example.com", name: "Alice", role: "admin", plan: "silver" };
    const said = authorizer(() => new Response("fine", { headers: { "X-Role": "reader" } }));
    open.push({ stop: async () => said[Symbol.dispose]() });
    const { forwarded } = gateway({
      more: { headers: { "X-Email": "email", "X-Name": "name", "X-Role": "role", "X-Plan": "plan", "X-Seat": "sub" } },
      pools: { p: { keys: [{ id: "k", secret: "a-pool-key", limit: 9, window: "1h" }] } },
      route: {
        headers: { request: { set: { "x-email": "nobody@example.com" }, remove: ["X-NAME"] } },
        authorize: { url: `${said.url}/`, headers: ["X-Plan"], upstreamHeaders: ["X-Role"] },
        credential: { pool: "p", header: "X-Seat" },
      },
    });
    const headers = await forwarded(await issuer.token({ claims }), { "x-plan": "platinum" });
    expect(headers).toMatchObject({ "x-email": "nobody@example.com", "x-role": "reader", "x-plan": "silver", "x-seat": "a-pool-key" });
    expect(headers["x-name"]).toBeUndefined();
    // The service learns of claims what Sluice knows, and not what the caller says.
    expect(said.seen.at(-1)?.headers).toMatchObject({ "x-plan": "silver", "x-role": "admin" });
  });

  test("is counted by its claims where a limit counts by their field, and not by what the caller writes there", async () => {
    const { ask, admin } = gateway({
      more: { headers: { "X-Tenant": "tenant" } },
      route: { auth: "optional", limits: [{ algorithm: "fixed-window", limit: 1, window: "1h", by: "header:X-Tenant" }] },
    });
    const of = async (tenant: string, sub: string, field: string) =>
      (await ask(await issuer.token({ claims: { tenant, sub } }), { "x-tenant": field })).status;
    expect([await of("red", "a", "x"), await of("red", "b", "y"), await of("blue", "c", "x")]).toEqual([200, 429, 200]);
    expect([(await ask(null, { "x-tenant": "1" })).status, (await ask(null, { "x-tenant": "2" })).status]).toEqual([200, 429]);
    const token = await issuer.token({ claims: { tenant: "red" } });
    const explained = await admin("GET", `/admin/explain?token=${token}&route=/a&header=X-Tenant:+other`);
    expect(await explained.json()).toMatchObject({ allowed: false, limits: [{}, { subject: "red", remaining: 0 }] });
  });

  test("leaves no field of claims to the caller of a proxy that only asks: those that the caller lacks are empty", async () => {
    const { url } = gateway({ more: { headers: { "X-User-Email": "email", "X-Role": "role" } }, route: { auth: "optional" }, authz: {} });
    const asked = async (headers: Record<string, string>) => {
      const described = { "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/a/x", "X-Forwarded-For": "203.0.113.7" };
      const answer = await fetch(`${url}/authz`, { headers: { ...described, "X-User-Email": "root@example.com", ...headers } });
      return [answer.status, answer.headers.get("x-user-email"), answer.headers.get("x-role")];
    };
    const token = await issuer.token({ claims: { email: "alice@example.com" } });
    expect(await asked({ authorization: `Bearer ${token}` })).toEqual([200, "alice@example.com", ""]);
    expect(await asked({ "x-api-key": KEY })).toEqual([200, "", ""]);
    expect(await asked({})).toEqual([200, "", ""]);
  });

  test("may be one by a key as well: who shows a key in its header is that key's", async () => {
    const { forwarded } = gateway();
    expect((await forwarded(null, { "x-api-key": KEY }))["x-consumer-id"]).toBe("acme");
    expect((await forwarded(KEY))["x-consumer-id"]).toBe("acme");
    // The bearer token is the backend's then, as it was without issuers.
    const token = await issuer.token();
    expect(await forwarded(token, { "x-api-key": KEY })).toMatchObject({ "x-consumer-id": "acme", authorization: `Bearer ${token}` });
  });

  test("is left alone where the route looks at nobody, and without issuers is a key that nobody has", async () => {
    const token = await issuer.token();
    const open = gateway({ route: { auth: "none" } });
    expect((await open.forwarded(token)).authorization).toBe(`Bearer ${token}`);
    expect(await codeOf(await gateway({ issuers: {} }).ask(token))).toBe("401 keyInvalid");
  });

  test("is looked at in Authorization alone, in any letter case, also where keys are not", async () => {
    const { ask } = gateway({ identity: { bearer: false } });
    const token = await issuer.token();
    for (const scheme of ["Bearer", "bearer", "BEARER"])
      expect((await ask(null, { authorization: `${scheme} ${token}` })).status).toBe(200);
    expect(await codeOf(await ask(null, { authorization: `Banana ${token}` }))).toBe("401 keyMissing");
    expect((await ask(null, { "x-api-key": token })).status).toBe(401);
  });
});

describe("a route with issuers", () => {
  test("takes tokens of these alone, and no keys", async () => {
    using other = await testIssuer();
    const issuers = {
      main: { issuer: issuer.url, audience: ["api"] },
      other: { issuer: other.url, audience: ["api"], headers: { "X-Other": "sub" } },
    };
    const { ask, forwarded } = gateway({ issuers, route: { issuers: ["main"] } });
    expect((await ask(await issuer.token())).status).toBe(200);
    expect(await codeOf(await ask(await other.token()))).toBe("403 forbidden");
    expect(await codeOf(await ask(KEY))).toBe("403 forbidden");
    expect(await (await ask(null)).json()).toMatchObject({
      code: "keyMissing",
      detail: 'Send a token in the Authorization header, behind "Bearer": this route takes no keys.',
    });
    // What only other issuers say of callers is nothing special here.
    expect((await forwarded(await issuer.token(), { "x-other": "mine" }))["x-other"]).toBe("mine");
  });

  test("that is optional takes callers without any", async () => {
    const { ask } = gateway({ route: { issuers: ["main"], auth: "optional" } });
    expect((await ask(null)).status).toBe(200);
    expect(await codeOf(await ask(KEY))).toBe("403 forbidden");
  });
});

describe("a token that is refused", () => {
  test.each([
    ["expired", { claims: { exp: 1_000_000_000 } }, "tokenExpired", "The token has expired"],
    ["for others", { claims: { aud: "others" } }, "tokenInvalid", "The token is for another audience"],
    ["of nobody", { claims: { sub: undefined } }, "tokenInvalid", "The token has no claim sub, which names the caller"],
    ["of a stranger", { claims: { iss: "https://other.example.com" } }, "issuerUnknown", "The issuer of the token is not known here"],
  ])("since it is %s gets 401 with its code and a challenge", async (_what, given, code, says) => {
    const response = await gateway().ask(await issuer.token(given));
    expect(response.headers.get("www-authenticate")).toBe(`Bearer error="invalid_token", error_description="${says}"`);
    expect(await response.json()).toMatchObject({ status: 401, code, detail: `${says}; get another one.` });
  });

  test("is refused as well where callers may be nobody", async () => {
    const { ask } = gateway({ route: { auth: "optional" } });
    expect(await codeOf(await ask(await issuer.token({ claims: { aud: "others" } })))).toBe("401 tokenInvalid");
  });

  test("reaches no backend, and is in no answer", async () => {
    const { ask } = gateway();
    const token = await issuer.token({ claims: { aud: "others" } });
    expect(await (await ask(token)).text()).not.toContain(token.slice(0, 20));
    expect(upstream.seen).toEqual([]);
  });

  test("of 100 kB is refused before anything is computed", async () => {
    const { ask } = gateway({ server: { host: "127.0.0.1", maxHeaderSize: "1mb" } });
    const key = issuer.keys[0] ?? (await signingKey("x"));
    const token = await issuer.token({ key, claims: { padding: "a".repeat(100_000) } });
    expect(await codeOf(await ask(token))).toBe("401 tokenInvalid");
    expect((await gateway().ask(token)).status).toBe(431);
  });

  test("is a guess only when it is malformed, of an unknown issuer, or wrongly signed", async () => {
    const forged = async () => `${(await issuer.token()).slice(0, -8)}AAAAAAAA`;
    for (const guess of [
      forged,
      async () => "eyJhbGciOiJFUzI1NiJ9.!.x",
      () => issuer.token({ claims: { iss: "https://other.example.com" } }),
    ]) {
      const { ask } = gateway({ guard: { invalidKeyLimit: 3 } });
      for (let i = 0; i < 3; i++) expect((await ask(await guess())).status).toBe(401);
      expect(await codeOf(await ask(await issuer.token()))).toBe("429 ipBlocked");
    }
  });

  test("for any other reason counts nowhere", async () => {
    const { ask } = gateway({ guard: { invalidKeyLimit: 2 } });
    const stranger = await signingKey("nobody's");
    for (const given of [
      { claims: { exp: 1_000_000_000 } },
      { claims: { aud: "others" } },
      { claims: { nbf: 99_999_999_999 } },
      { claims: { sub: "a b" } },
      { key: stranger },
    ])
      for (let i = 0; i < 2; i++) expect((await ask(await issuer.token(given))).status).toBe(401);
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    for (let i = 0; i < 2; i++) expect((await ask(`${part({ alg: "none" })}.${part({ iss: issuer.url, sub: "root" })}.`)).status).toBe(401);
    expect((await ask(await issuer.token())).status).toBe(200);
  });

  test("from an address that is blocked is not looked at, and a good one that came from there before passes", async () => {
    const { ask, admin } = gateway({ guard: { invalidKeyLimit: 2 } });
    const known = await issuer.token();
    await ask(known);
    for (let i = 0; i < 2; i++) await ask("eyJhbGciOiJFUzI1NiJ9.!.x");
    expect((await ask(known)).status).toBe(200);
    expect(await codeOf(await ask(await issuer.token({ claims: { sub: "bob" } })))).toBe("429 ipBlocked");
    expect(await (await admin("GET", "/admin/blocks")).json()).toMatchObject({ items: [{ by: "guard" }] });
  });
});

describe("an issuer that is away", () => {
  test("makes tokens 503 that nobody can judge, which says when to come again and counts nowhere", async () => {
    await issuer.away();
    const { ask, admin, url, clock } = gateway({ guard: { invalidKeyLimit: 2 } });
    const token = await issuer.token();
    for (let i = 0; i < 3; i++) {
      const response = await ask(token);
      expect(response.headers.get("retry-after")).toBe("5");
      expect(response.headers.get("www-authenticate")).toBeNull();
      expect(await codeOf(response)).toBe("503 issuerUnavailable");
    }
    const ready = (await (await fetch(`${url}/ready`)).json()) as { warnings: { code: string; detail: string }[] };
    expect(ready.warnings.find(({ code }) => code === "issuerUnavailable")?.detail).toContain("main: ");
    issuer.back();
    clock.advance(5000);
    expect((await ask(token)).status).toBe(200);
    const health = await (await admin("GET", "/admin/health")).text();
    expect(health).not.toContain("issuerUnavailable");
  });

  test("costs no token that is known, nor new ones of a known key", async () => {
    const { ask } = gateway();
    const [seen, unseen] = [await issuer.token(), await issuer.token({ claims: { sub: "bob" } })];
    expect((await ask(seen)).status).toBe(200);
    await issuer.away();
    expect([(await ask(seen)).status, (await ask(unseen)).status]).toEqual([200, 200]);
  });

  test("holds up callers with keys not at all", async () => {
    const later = Promise.withResolvers<Response>();
    issuer.answer = () => later.promise;
    const { ask } = gateway();
    const waiting = ask(await issuer.token());
    expect((await ask(KEY)).status).toBe(200);
    later.resolve(Response.json({ keys: issuer.keys.map(({ published }) => published) }));
    expect((await waiting).status).toBe(200);
  });
});

describe("an issuer's new keys", () => {
  test("are taken at once, and no request that waits for them is refused", async () => {
    const { ask } = gateway();
    for (let i = 0; i < 5; i++) {
      await issuer.rotate();
      const token = await issuer.token({ claims: { plan: "gold" } });
      const answers = await Promise.all(Array.from({ length: 10 }, () => ask(token)));
      expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
    }
  });
});

describe("the record of a caller with a token", () => {
  const limits = [{ algorithm: "fixed-window", limit: 7, window: "1m" }];

  test("brings its limits and leaves the tier, from the moment it is made until it is gone", async () => {
    const { ask, admin } = gateway();
    const token = await issuer.token();
    const limitOf = async () => (await ask(token)).headers.get("x-ratelimit-limit");
    expect(await limitOf()).toBe("3");
    expect((await admin("POST", "/admin/consumers", { id: "main:alice", tier: "pro", limits })).status).toBe(201);
    expect(await limitOf()).toBe("7");
    expect(upstream.seen.at(-1)?.headers["x-consumer-tier"]).toBe("free");
    await admin("PATCH", "/admin/consumers/main:alice", { enabled: false });
    expect(await codeOf(await ask(token))).toBe("401 tokenInvalid");
    await admin("PATCH", "/admin/consumers/main:alice", { enabled: true });
    expect((await ask(token)).status).toBe(200);
    await admin("DELETE", "/admin/consumers/main:alice");
    expect(await limitOf()).toBe("3");
  });

  test("may be declared, and is the consumer's own where names are trusted", async () => {
    const consumers = [{ id: "alice", tier: "pro", keys: [KEY], limits }];
    const { ask, forwarded } = gateway({ more: { trustNames: true }, consumers });
    const token = await issuer.token();
    expect((await ask(token)).headers.get("x-ratelimit-limit")).toBe("7");
    expect((await forwarded(token))["x-consumer-id"]).toBe("alice");
    // It counts together with the consumer's keys.
    expect((await ask(KEY)).headers.get("x-ratelimit-remaining")).toBe("4");
  });
});

describe("a token that is no JWT", () => {
  const introspection = () => ({ endpoint: `${issuer.url}/introspect`, clientId: "sluice", clientSecret: "hush" });

  test("is asked about, and a key as bearer token is still a key", async () => {
    issuer.opaque.set("an-opaque-token-0123456789", { sub: "alice", aud: "api", scope: "users:read" });
    const { forwarded, ask } = gateway({ more: { introspection: introspection() } });
    expect((await forwarded("an-opaque-token-0123456789"))["x-consumer-id"]).toBe("main:alice");
    expect((await forwarded(KEY))["x-consumer-id"]).toBe("acme");
    expect(await codeOf(await ask("another-opaque-token-01234"))).toBe("401 tokenInvalid");
    // A key with a typing error is nobody else's business.
    expect(await codeOf(await ask("slc_0123456789012345"))).toBe("401 keyMalformed");
    expect(issuer.forms.map(({ form }) => form).join()).not.toContain("slc_");
    await issuer.away();
    expect(await codeOf(await ask("one-more-opaque-token-0123"))).toBe("503 issuerUnavailable");
  });
});

describe("what is told of callers with tokens", () => {
  test("is their usage, by their names, without a key", async () => {
    const { ask, admin } = gateway();
    for (const sub of ["alice", "alice", "bob"]) await (await ask(await issuer.token({ claims: { sub } }))).text();
    await until(async () => {
      const { items: usage } = (await (await admin("GET", "/admin/usage?by=consumer")).json()) as {
        items: { consumer: string; requests: number }[];
      };
      const of = (id: string) => usage.find(({ consumer }) => consumer === id)?.requests;
      return of("main:alice") === 2 && of("main:bob") === 1;
    });
  });

  test("are the counts of tokens and of fetches", async () => {
    const { ask, url } = gateway();
    const token = await issuer.token();
    for (const each of [token, token, await issuer.token({ claims: { aud: "others" } }), await issuer.token({ claims: { iss: "x" } })])
      await ask(each);
    const text = await (await fetch(`${url}/metrics`)).text();
    for (const line of [
      'sluice_tokens_total{issuer="main",outcome="proven"} 1',
      'sluice_tokens_total{issuer="main",outcome="remembered"} 1',
      'sluice_tokens_total{issuer="main",outcome="tokenInvalid"} 1',
      'sluice_tokens_total{issuer="",outcome="issuerUnknown"} 1',
      "sluice_tokens_remembered 1",
      'sluice_issuer_key_fetches_total{issuer="main",result="brought"} 1',
      'sluice_issuer_up{issuer="main"} 1',
    ])
      expect(text).toContain(line);
  });
});

describe("the cache", () => {
  /** A backend that tells what it was told of the caller, and how often it was asked. */
  function telling(headers: Record<string, string>) {
    let asked = 0;
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request) => new Response(`${++asked} ${request.headers.get("x-user-email")}`, { headers }),
    });
    return Object.assign(server, { target: `http://127.0.0.1:${server.port}` });
  }

  test("keeps answers apart that vary by a claim which the backend was told", async () => {
    await using told = telling({ "cache-control": "public, max-age=60", vary: "X-User-Email" });
    const { ask } = gateway({ more: { headers: { "X-User-Email": "email" } }, route: { upstream: told.target, cache: { shared: true } } });
    const answer = async (email?: string) =>
      (await ask(await issuer.token({ claims: { email, plan: "gold" } }), { "x-user-email": "a@x" })).text();
    expect([await answer("a@x"), await answer("b@x"), await answer("a@x"), await answer(), await answer()]).toEqual([
      ...["1 a@x", "2 b@x", "1 a@x", "3 null", "3 null"],
    ]);
  });

  test("keeps answers for each caller by whichever token, and nothing where the backend gets the token", async () => {
    await using told = telling({ "cache-control": "max-age=60" });
    const cache = { perConsumer: true, ttl: "1m" };
    const answers = async (more: object) => {
      const { ask } = gateway({ more, route: { upstream: told.target, cache } });
      const texts: string[] = [];
      for (const sub of ["alice", "alice", "bob"])
        texts.push(await (await ask(await issuer.token({ claims: { sub, jti: crypto.randomUUID() } }))).text());
      return texts.map((text) => text.split(" ")[0]);
    };
    expect(await answers({})).toEqual(["1", "1", "2"]);
    expect(await answers({ forward: true })).toEqual(["3", "4", "5"]);
  });
});

test("a request with a token keeps its body while its keys are fetched", async () => {
  const later = Promise.withResolvers<Response>();
  issuer.answer = () => later.promise;
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (bytes) => {
      body += bytes;
    });
    request.on("end", () => {
      bodies.push(body);
      response.end("ok");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const { url } = gateway({ route: { upstream: `http://127.0.0.1:${port}` } });
  const body = "a".repeat(100_000);
  const sent = fetch(`${url}/a`, { method: "POST", body, headers: { authorization: `Bearer ${await issuer.token()}` } });
  await until(() => issuer.asked.includes("/jwks"));
  later.resolve(Response.json({ keys: issuer.keys.map(({ published }) => published) }));
  expect((await sent).status).toBe(200);
  expect(bodies).toEqual([body]);
  server.close();
});
