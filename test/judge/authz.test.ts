import { describe, expect, test } from "bun:test";
import { backend } from "../support/backend.ts";
import { exchange } from "../support/raw.ts";
import { serving } from "../support/serving.ts";

const KEY = "a-declared-key-0123456789";
const ADDRESS = "203.0.113.7";

/** A gateway that judges, before a backend that must not be asked. */
function judging(more: object = {}) {
  const behind = backend();
  const gateway = serving({
    authz: {},
    tiers: {
      anonymous: { limits: [{ name: "by-address", algorithm: "fixed-window", limit: 2, window: "1h" }] },
      small: { limits: [{ name: "per-hour", algorithm: "fixed-window", limit: 3, window: "1h" }] },
    },
    consumers: [{ id: "acme", tier: "small", keys: [KEY, { key: "a-key-for-elsewhere-01234", ips: ["192.0.2.0/24"] }] }],
    routes: [
      { name: "api", path: "/api", methods: ["GET", "POST"], upstream: behind.url, scopes: [] },
      { name: "scoped", path: "/scoped", upstream: behind.url, scopes: ["write"] },
      { name: "open", path: "/open", upstream: behind.url, auth: "optional" },
      { name: "page", path: "/page", upstream: behind.url, auth: "none", cors: { origins: ["https://app.example.com"] } },
      { name: "inner", path: "/api", hosts: ["inner.example.com"], upstream: behind.url, auth: "none" },
    ],
    ...more,
  });
  const ask = (uri: string, headers: Record<string, string> = {}, method = "GET") =>
    fetch(`${gateway.url}/authz`, {
      headers: { "X-Forwarded-Method": method, "X-Forwarded-Uri": uri, "X-Forwarded-For": ADDRESS, ...headers },
    });
  return {
    ...{ gateway, behind, ask },
    warnings: async () => {
      const { warnings } = (await (await fetch(`${gateway.url}/ready`)).json()) as { warnings: { code: string }[] };
      return warnings.map(({ code }) => code);
    },
    [Symbol.asyncDispose]: async () => {
      await gateway.stop();
      behind[Symbol.dispose]();
    },
  };
}

const codeOf = async (answer: Response) => [answer.status, ((await answer.json()) as { code: string }).code];
const withKey = { "X-API-Key": KEY };

/** What differs between any two answers. */
const VOLATILE = ["x-request-id", "x-process-time", "date", "content-length"];
const headersOf = (answer: Response, without: readonly string[] = []) =>
  Object.fromEntries([...answer.headers].filter(([name]) => !VOLATILE.includes(name) && !without.includes(name)));

describe("a proxy that asks", () => {
  test("is told that a request may pass, who calls, and what is left", async () => {
    await using it = judging();
    const answer = await it.ask("/api/users?a=1", { ...withKey, "X-Request-ID": "from-the-proxy" });
    expect([answer.status, await answer.text()]).toEqual([200, ""]);
    expect(headersOf(answer)).toEqual({
      "cache-control": "no-store",
      "x-consumer-id": "acme",
      "x-consumer-tier": "small",
      "x-ratelimit-limit": "3",
      "x-ratelimit-remaining": "2",
      "x-ratelimit-reset": expect.any(String),
      "ratelimit-policy": '"per-hour";q=3;w=3600',
      ratelimit: '"per-hour";r=2;t=3600',
    });
    expect(answer.headers.get("x-request-id")).toBe("from-the-proxy");
    expect(it.behind.seen).toEqual([]);
  });

  test("is told that nobody calls by empty fields, which take the place of what the caller claims", async () => {
    await using it = judging();
    const answer = await it.ask("/open", { "X-Consumer-ID": "root", "X-Consumer-Tier": "enterprise" });
    expect([answer.status, answer.headers.get("x-consumer-id"), answer.headers.get("x-consumer-tier")]).toEqual([200, "", ""]);
  });

  test("is told of refusals in the words of forwarded requests, and both count as one", async () => {
    await using it = judging();
    const both = async (path: string, headers: Record<string, string>) => {
      const [judged, forwarded] = [await it.ask(path, headers), await fetch(it.gateway.url + path, { headers })];
      expect([judged.status, headersOf(judged)]).toEqual([forwarded.status, headersOf(forwarded)]);
      const [a, b] = [(await judged.json()) as Record<string, unknown>, (await forwarded.json()) as Record<string, unknown>];
      expect({ ...a, requestId: "" }).toEqual({ ...b, requestId: "" });
      return [judged.status, a.code];
    };
    expect(await both("/api/x", {})).toEqual([401, "keyMissing"]);
    expect(await both("/api/x", { "X-API-Key": "a-key-that-nobody-has-0" })).toEqual([401, "keyInvalid"]);
    expect(await both("/scoped", withKey)).toEqual([403, "forbidden"]);
    expect(await both("/api/x", { "X-API-Key": "a-key-for-elsewhere-01234" })).toEqual([403, "forbidden"]);
    expect((await fetch(`${it.gateway.url}/api/x`, { headers: withKey })).status).toBe(200);
    expect((await it.ask("/api/x", withKey)).status).toBe(200);
    expect((await it.ask("/api/x", { Authorization: `Bearer ${KEY}` })).status).toBe(200);
    expect(await both("/api/x", withKey)).toEqual([429, "rateLimited"]);
  });

  test("is told 403 with its own code of a path that is malformed, unknown or not allowed for its method", async () => {
    await using it = judging();
    const cases: [string, string, string][] = [
      ["GET", "/a%2fb", "badRequest"],
      ["GET", "no-path", "badRequest"],
      ["GET", "*", "badRequest"],
      ["GET", "/with space", "badRequest"],
      ["GET", "/nowhere", "routeNotFound"],
      ["DELETE", "/api/x", "methodNotAllowed"],
      ["TRACE", "/api/x", "methodNotAllowed"],
      ["GE T", "/api/x", "badRequest"],
    ];
    for (const [method, uri, code] of cases) expect([uri, await codeOf(await it.ask(uri, withKey, method))]).toEqual([uri, [403, code]]);
    // Nothing of it was charged.
    expect((await it.ask("/api/x", withKey)).headers.get("x-ratelimit-remaining")).toBe("2");
  });

  test("is told 403 of a path that its backend may read as another route's: the backend gets it as it was sent", async () => {
    await using it = judging({
      tiers: { anonymous: { limits: [] }, small: { limits: [] } },
      routes: [
        { name: "site", path: "/", upstream: "http://127.0.0.1:1", auth: "none", cors: { origins: ["https://app.example.com"] } },
        { name: "admin", path: "/a/admin", methods: ["GET"], upstream: "http://127.0.0.1:1" },
        { name: "news", path: "/a/admin/news", upstream: "http://127.0.0.1:1", auth: "none" },
      ],
    });
    const dots = ["/a/admin/../x", "/a/admin/%2e%2E/x", "/a/admin/./news", "/a/admin/..", "/x/../a/admin/%2e./%2e./y", "/a/admin/.;x/news"];
    for (const uri of [...dots, "/a/admin//news", "/a/admin//news/%41"])
      expect([uri, await codeOf(await it.ask(uri))]).toEqual([uri, [403, "badRequest"]]);
    expect(await codeOf(await it.ask("/a/admin//news", {}, "DELETE"))).toEqual([403, "badRequest"]);
    for (const uri of ["//x//y", "/a/admin/news//today", "/...", "/x/.y/z..", "/x?a=/../b"])
      expect([uri, (await it.ask(uri)).status]).toEqual([uri, 200]);
    const preflight = { Origin: "https://app.example.com", "Access-Control-Request-Method": "GET" };
    expect((await it.ask("//x//y", preflight, "OPTIONS")).status).toBe(200);
  });

  test("gets 403 in place of 429 where it wants that, with Retry-After", async () => {
    await using it = judging({ authz: { denyAs: 403 } });
    for (let i = 0; i < 3; i++) await it.ask("/api/x", withKey);
    const answer = await it.ask("/api/x", withKey);
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([403, "3600"]);
    expect(await answer.json()).toMatchObject({ status: 403, code: "rateLimited", retryAfter: 3600 });
    // The request itself is one that a limit has refused.
    const usage = (await (await it.gateway.admin("GET", "/admin/usage?consumer=acme")).json()) as { items: object[] };
    expect(usage.items).toMatchObject([{ requests: 4, limited: 1 }]);
    const metrics = await (await fetch(`${it.gateway.url}/metrics`)).text();
    expect(metrics).toMatch(/http_requests_total\{[^}]*route="api"[^}]*status="429"[^}]*\} 1\n/);
    expect(metrics).toMatch(/http_requests_total\{[^}]*route="authz"[^}]*status="403"[^}]*\} 1\n/);
  });

  test("may use any method, and describe any", async () => {
    await using it = judging({ tiers: { small: { limits: [] } } });
    for (const method of ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]) {
      const answer = await fetch(`${it.gateway.url}/authz`, {
        method,
        headers: { ...withKey, "X-Forwarded-Method": "POST", "X-Forwarded-Uri": "/api/x", "X-Forwarded-For": ADDRESS },
        ...(["POST", "PUT"].includes(method) ? { body: "a body that nobody asked for" } : {}),
      });
      expect([method, answer.status, await answer.text()]).toEqual([method, 200, ""]);
    }
    expect((await it.ask("/api/x", withKey, "HEAD")).status).toBe(200);
    expect(it.behind.seen).toEqual([]);
  });

  test("is refused unless its own address is allowed: for others there is no such path", async () => {
    await using it = judging({ authz: { allowFrom: ["10.0.0.0/8"] }, server: { host: "127.0.0.1", trustedProxies: ["127.0.0.1"] } });
    const headers = { ...withKey, "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api/x", "X-Forwarded-For": "10.0.0.1" };
    expect(await codeOf(await fetch(`${it.gateway.url}/authz`, { headers }))).toEqual([404, "routeNotFound"]);
    expect(await codeOf(await fetch(`${it.gateway.url}/authz/api/x`, { headers: withKey }))).toEqual([404, "routeNotFound"]);
  });

  test("is told 503 by a gateway that is about to stop", async () => {
    await using it = judging();
    it.gateway.drain();
    const answer = await it.ask("/api/x", withKey);
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await answer.json()).toMatchObject({ code: "draining", status: 503 });
  });

  test("is told 503 by a gateway that can't check limits", async () => {
    await using it = judging({ redis: { url: "redis://127.0.0.1:1", onFailure: "deny" } });
    const answer = await it.ask("/api/x", withKey);
    expect([answer.headers.get("retry-after"), await codeOf(answer)]).toEqual(["1", [503, "limiterUnavailable"]]);
  });

  test("needs no key for a browser's preflight, which costs nothing", async () => {
    await using it = judging();
    const preflight = { Origin: "https://app.example.com", "Access-Control-Request-Method": "POST" };
    for (let i = 0; i < 5; i++) expect((await it.ask("/page", preflight, "OPTIONS")).status).toBe(200);
    // Without CORS on the route it is a request like any other.
    expect(await codeOf(await it.ask("/api/x", preflight, "OPTIONS"))).toEqual([403, "methodNotAllowed"]);
    const denied = await it.ask("/page", { Origin: "https://app.example.com" }, "GET");
    expect(denied.headers.get("access-control-allow-origin")).toBe("https://app.example.com");
  });

  test("asks about its own backend's paths, also where Sluice has one of the same name", async () => {
    await using it = judging({
      routes: [{ name: "all", path: "/", upstream: "http://127.0.0.1:1" }],
    });
    for (const path of ["/health", "/metrics", "/admin/users"]) {
      expect(await codeOf(await it.ask(path))).toEqual([401, "keyMissing"]);
      expect((await it.ask(path, withKey)).status).toBe(200);
    }
    await using without = judging();
    expect(await codeOf(await without.ask("/health", withKey))).toEqual([403, "routeNotFound"]);
  });
});

describe("the path", () => {
  test("exists only where it is turned on; a route there is a fault then", async () => {
    using behind = backend();
    const routes = [{ name: "own", path: "/authz", upstream: behind.url, auth: "none", stripPrefix: false }];
    const gateway = serving({ routes });
    expect((await fetch(`${gateway.url}/authz`)).status).toBe(200);
    expect(behind.seen.map(({ url }) => url)).toEqual(["/authz"]);
    await gateway.stop();
    expect(() => serving({ routes, authz: {} })).toThrow("is served by Sluice itself");
    const off = serving({});
    expect((await fetch(`${off.url}/authz`)).status).toBe(404);
    await off.stop();
  });

  test("is the judge's before any route that covers it, and explained as that", async () => {
    await using it = judging({ routes: [{ name: "all", path: "/", upstream: "http://127.0.0.1:1", auth: "none" }] });
    expect(await codeOf(await fetch(`${it.gateway.url}/authz`))).toEqual([403, "badRequest"]);
    const walked = async (ip: string) =>
      (await it.gateway.admin("POST", "/admin/explain/request", { method: "GET", target: "/authz", ip })).json();
    expect(await walked("127.0.0.1")).toMatchObject({
      steps: [{ step: "path" }, { step: "route", passed: true, detail: expect.stringContaining("another proxy describes") }],
      refusal: null,
    });
    expect(await walked(ADDRESS)).toMatchObject({
      steps: [{ step: "path" }, { step: "route", passed: false, detail: expect.stringContaining("authz.allowFrom does not name it") }],
      refusal: { status: 404, code: "routeNotFound" },
    });
  });
});

describe("the description", () => {
  test("must be there, whole, and of one request", async () => {
    await using it = judging();
    const detail = async (headers: Record<string, string>, path = "/authz") => {
      const answer = await fetch(it.gateway.url + path, { headers: { ...withKey, ...headers } });
      const { code, detail } = (await answer.json()) as { code: string; detail: string };
      expect([answer.status, code]).toEqual([403, "badRequest"]);
      return detail;
    };
    expect(await detail({ "X-Forwarded-Uri": "/api/x" })).toContain("X-Forwarded-Method");
    expect(await detail({ "X-Forwarded-Method": "GET" })).toContain("X-Forwarded-Uri");
    // The proxy sets one kind, and passes on what the caller has sent of the other.
    const own = { "X-Original-Method": "POST", "X-Original-URI": "/api/x" };
    expect(await detail({ ...own, "X-Forwarded-Uri": "/page" })).toContain("let your proxy set one kind of them");
    expect(await detail({ ...own, "X-Forwarded-Method": "GET" })).toContain("let your proxy set one kind of them");
    expect(await detail({ ...own, "X-Original-URL": "https://inner.example.com/open" })).toContain("let your proxy set one kind of them");
    // Of a request without a Host the proxy names none.
    const hostless = { "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api/x" };
    for (const more of [{}, { "X-Forwarded-Host": "" }] as Record<string, string>[]) {
      expect(await detail({ ...hostless, ...more, "X-Original-Host": "inner.example.com" })).toContain(
        "X-Original-Host says something else",
      );
      expect(await detail({ ...hostless, "X-Original-URL": "http://inner.example.com/api/x", ...more })).toContain("X-Original-URL says");
    }
    expect(await detail({ ...own, "X-Forwarded-Host": "a.example.com, inner.example.com" })).toContain("host");
    expect(await detail({ "X-Original-URI": "/page" }, "/authz/api/x")).toContain("below /authz");
    for (const target of ["/a/../authz/api/x", "/authz/%00", "/authz/..;/x", "//authz/page"])
      expect(await raw(it.gateway.port, [`GET ${target} HTTP/1.1`, "Host: a"])).toEqual([403, "badRequest"]);
  });

  test("below /authz leads nowhere else: Sluice's own answers are no permission", async () => {
    await using it = judging();
    const ask = (target: string) => raw(it.gateway.port, [`GET ${target} HTTP/1.1`, "Host: a"]);
    for (const target of ["/authz/../health", "/authz/%2e%2e/docs", "/authz/../open", "/authz/x/../../ready", "/authz/.."])
      expect([target, await ask(target)]).toEqual([target, [404, "routeNotFound"]]);
    expect(await ask("/authz/page/../api/x")).toEqual([403, "badRequest"]);
    expect(await ask("/authz/../authz/page")).toEqual([403, "badRequest"]);
    await using other = judging({ authz: null });
    expect((await raw(other.gateway.port, ["GET /authz/../health HTTP/1.1", "Host: a"]))[0]).toBe(200);
  });

  test("may say the same thing twice", async () => {
    await using it = judging();
    const headers = { "X-Original-Method": "GET", "X-Original-URL": "http://api.example.com/api/x", "X-Forwarded-Host": "api.example.com" };
    expect((await it.ask("/api/x", { ...withKey, ...headers })).status).toBe(200);
  });

  test("names the host by which the route is found", async () => {
    await using it = judging();
    expect((await it.ask("/api/x")).status).toBe(401);
    for (const [name, host] of [
      ["X-Forwarded-Host", "inner.example.com"],
      ["X-Original-Host", "INNER.example.com:8443"],
    ] as const) {
      const headers = { "X-Original-Method": "GET", "X-Original-URI": "/api/x", "X-Forwarded-For": ADDRESS, [name]: host };
      expect((await fetch(`${it.gateway.url}/authz`, { headers })).status).toBe(200);
    }
  });

  test("may carry a key in the query, where keys may be there", async () => {
    await using it = judging({ identity: { query: "api_key" } });
    expect((await it.ask(`/api/x?api_key=${KEY}&a=1`)).headers.get("x-consumer-id")).toBe("acme");
  });
});

/** Sends a question as a proxy writes it. */
async function raw(port: number, lines: readonly string[]): Promise<[number, string | null]> {
  const text = await exchange(port, `${lines.join("\r\n")}\r\nConnection: close\r\n\r\n`);
  return [Number(text.slice(9, 12)), /X-Consumer-ID: (\S+)/i.exec(text)?.[1] ?? /"code":"(\w+)"/.exec(text)?.[1] ?? null];
}

describe("a question as it is written by", () => {
  const cases: Record<string, (target: string, method: string) => readonly string[]> = {
    // Go's client: the caller's fields, but for those of the hop, and what the middleware sets.
    "Traefik's ForwardAuth": (target, method) => [
      ...["GET /authz HTTP/1.1", "Host: sluice:8080", "User-Agent: curl/8.5.0", "Accept: */*", `X-Api-Key: ${KEY}`],
      ...[`X-Forwarded-For: ${ADDRESS}`, "X-Forwarded-Host: api.example.com", `X-Forwarded-Method: ${method}`],
      ...["X-Forwarded-Port: 443", "X-Forwarded-Proto: https", "X-Forwarded-Server: 6f3f0d1c", `X-Forwarded-Uri: ${target}`],
      ...[`X-Real-Ip: ${ADDRESS}`, "Accept-Encoding: gzip"],
    ],
    "Traefik with preserveRequestMethod": (target, method) => [
      ...[`${method} /authz HTTP/1.1`, "Host: sluice:8080", `X-Api-Key: ${KEY}`, `X-Forwarded-For: ${ADDRESS}`],
      ...["X-Forwarded-Host: api.example.com", `X-Forwarded-Method: ${method}`, "X-Forwarded-Proto: https"],
      ...[`X-Forwarded-Uri: ${target}`, ...(method === "POST" ? ["Content-Length: 0"] : [])],
    ],
    "Caddy's forward_auth": (target, method) => [
      ...["GET /authz HTTP/1.1", "Host: api.example.com", "User-Agent: curl/8.5.0", "Accept: */*", "Accept-Encoding: gzip"],
      ...[`X-Api-Key: ${KEY}`, `X-Forwarded-For: ${ADDRESS}`, "X-Forwarded-Host: api.example.com"],
      ...[`X-Forwarded-Method: ${method}`, "X-Forwarded-Proto: https", `X-Forwarded-Uri: ${target}`],
    ],
    "nginx with X-Original-*": (target, method) => [
      ...["GET /authz HTTP/1.0", "Host: 127.0.0.1:8080", `X-Original-Method: ${method}`, `X-Original-URI: ${target}`],
      ...["X-Original-Host: api.example.com", `X-Real-IP: ${ADDRESS}`, "Accept: */*", `X-API-Key: ${KEY}`],
    ],
    "ingress-nginx": (target, method) => [
      ...["GET /authz HTTP/1.1", "Host: sluice.default.svc", `X-Original-URL: https://api.example.com${target}`],
      ...[`X-Original-Method: ${method}`, "X-Sent-From: nginx-ingress-controller", `X-Real-IP: ${ADDRESS}`],
      ...[`X-Forwarded-For: ${ADDRESS}`, `X-Auth-Request-Redirect: ${target}`, `X-API-Key: ${KEY}`],
    ],
    // The method, the path behind the prefix, and the Host are the caller's; there is no body.
    "Envoy's ext_authz": (target, method) => [
      ...[`${method} /authz${target} HTTP/1.1`, "host: api.example.com", "content-length: 0", `x-api-key: ${KEY}`],
      ...[`x-forwarded-for: ${ADDRESS}`, "x-forwarded-proto: https", "x-envoy-internal: true", "x-envoy-expected-rq-timeout-ms: 200"],
    ],
  };
  for (const [who, write] of Object.entries(cases))
    test(`${who} is understood`, async () => {
      await using it = judging({
        routes: [
          { name: "read", path: "/api", methods: ["GET"], hosts: ["api.example.com"], upstream: "http://127.0.0.1:1" },
          { name: "ip", path: "/ip", methods: ["GET", "POST"], upstream: "http://127.0.0.1:1", limits: [ONE_BY_IP] },
          { name: "root", path: "/", upstream: "http://127.0.0.1:1", auth: "none" },
        ],
      });
      const ask = (target: string, method = "GET") => raw(it.gateway.port, write(target, method));
      expect(await ask("/api/users/7?a=1&b=%2F")).toEqual([200, "acme"]);
      expect(await ask("/api/users/7", "POST")).toEqual([403, "methodNotAllowed"]);
      expect(await ask("/api/users%2f7")).toEqual([403, "badRequest"]);
      expect(await ask("/ip", "POST")).toEqual([200, "acme"]);
      expect(await ask("/ip")).toEqual([429, "rateLimited"]);
      expect((await ask("/"))[0]).toBe(200);
      const { denials } = (await (await it.gateway.admin("GET", "/admin/explain?consumer=acme&route=ip")).json()) as {
        denials: { code: string }[];
      };
      expect(denials.map(({ code }) => code)).toEqual(["rateLimited"]);
      // Neither is the proxy one that nobody has named, nor is an address wanting.
      expect(await it.warnings()).toEqual([]);
      const limits = await (await it.gateway.admin("GET", `/admin/explain?consumer=acme&route=ip&ip=${ADDRESS}`)).json();
      expect(limits).toMatchObject({ limits: expect.arrayContaining([expect.objectContaining({ name: "one", used: 1 })]) });
    });
});

const ONE_BY_IP = { name: "one", algorithm: "fixed-window", limit: 1, window: "1h", by: "ip" };

describe("the caller's address", () => {
  test("is the one that a trusted proxy would name", async () => {
    await using it = judging({ server: { host: "127.0.0.1", trustedProxies: ["10.0.0.0/8"] } });
    const left = async (headers: Record<string, string>) => {
      const answer = await fetch(`${it.gateway.url}/authz`, {
        headers: { "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/open", ...headers },
      });
      return answer.headers.get("x-ratelimit-remaining");
    };
    expect(await left({ "X-Forwarded-For": "198.51.100.1" })).toBe("1");
    expect(await left({ "X-Forwarded-For": "192.0.2.1, 198.51.100.1, 10.0.0.9, 127.0.0.1" })).toBe("0");
    expect(await left({ "X-Forwarded-For": "198.51.100.2", "X-Real-IP": "198.51.100.1" })).toBe("1");
    expect(await left({ "X-Real-IP": "198.51.100.2" })).toBe("0");
    expect(await left({ "X-Real-IP": "2001:db8::1" })).toBe("1");
    expect(await left({ "X-Forwarded-For": "[2001:db8::2]:4711" })).toBe("0");
    expect(await it.warnings()).toEqual([]);
  });

  test("is what the guard blocks, and not the proxy's", async () => {
    await using it = judging();
    for (let i = 0; i < 10; i++) expect((await it.ask("/api/x", { "X-API-Key": `a-bad-key-0123456789-${i}` })).status).toBe(401);
    expect(await codeOf(await it.ask("/api/x", { "X-API-Key": "a-bad-key-0123456789-x" }))).toEqual([429, "ipBlocked"]);
    expect((await it.ask("/api/x", { ...withKey, "X-Forwarded-For": "198.51.100.1" })).status).toBe(200);
    expect((await fetch(`${it.gateway.url}/api/x`, { headers: withKey })).status).toBe(200);
    const { items } = (await (await it.gateway.admin("GET", "/admin/blocks")).json()) as { items: { ip: string }[] };
    expect(items.map(({ ip }) => ip)).toEqual([ADDRESS]);
    expect(await it.warnings()).toEqual([]);
  });

  test("where nobody tells it, is left out of limits and of the guard, and /ready warns", async () => {
    await using it = judging({
      guard: { invalidKeyLimit: 2 },
      routes: [
        { name: "open", path: "/open", upstream: "http://127.0.0.1:1", auth: "optional", limits: [ONE_BY_IP, ALL] },
        { name: "api", path: "/api", upstream: "http://127.0.0.1:1" },
      ],
    });
    const ask = (uri: string, headers: Record<string, string> = {}) =>
      fetch(`${it.gateway.url}/authz`, { headers: { "X-Forwarded-Method": "GET", "X-Forwarded-Uri": uri, ...headers } });
    expect(await it.warnings()).toEqual([]);
    for (let i = 0; i < 3; i++) {
      const answer = await ask("/open", { "X-Forwarded-For": "unknown", "X-Real-IP": ADDRESS });
      expect([answer.status, answer.headers.get("ratelimit-policy")]).toEqual([200, '"all";q=100;w=3600']);
    }
    for (let i = 0; i < 5; i++) expect((await ask("/api", { "X-API-Key": `a-bad-key-0123456789-${i}` })).status).toBe(401);
    expect((await ask("/api", withKey)).headers.get("ratelimit-policy")).toBe('"per-hour";q=3;w=3600');
    expect(await it.warnings()).toEqual(["addressUnknown"]);
    expect(it.gateway.faults).toEqual([]);
  });

  test("is what keys are bound to", async () => {
    const bound = "a-key-for-an-address-0123";
    await using it = judging({ consumers: [{ id: "acme", tier: "small", keys: [{ key: bound, ips: ["198.51.100.0/24"] }] }] });
    const shown = { "X-API-Key": bound };
    expect((await it.ask("/api/x", { ...shown, "X-Forwarded-For": "198.51.100.9" })).status).toBe(200);
    expect((await it.ask("/api/x", shown)).status).toBe(403);
    const nobody = { ...shown, "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api/x" };
    expect((await fetch(`${it.gateway.url}/authz`, { headers: nobody })).status).toBe(403);
  });
});

const ALL = { name: "all", algorithm: "fixed-window", limit: 100, window: "1h", by: "route" };
