import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Authorizer, authorizer, rawAuthorizer } from "../support/authorizer.ts";
import { type Backend, backend } from "../support/backend.ts";
import { freePort } from "../support/process.ts";
import { RawConnection } from "../support/raw.ts";
import { serving } from "../support/serving.ts";

const KEY = "a-declared-key-0123456789";
let behind: Backend;
beforeAll(() => {
  behind = backend();
});
afterAll(() => behind[Symbol.dispose]());

/** A gateway whose one route asks `url`. */
const asking = (url: string, authorize: object = {}, route: object = {}, more: object = {}) => {
  const gateway = serving({
    tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
    consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
    routes: [{ name: "shop", path: "/shop", upstream: behind.url, auth: "none", authorize: { url, ...authorize }, ...route }],
    ...more,
  });
  return { ...gateway, [Symbol.asyncDispose]: () => gateway.stop() };
};
const get = (url: string, headers: Record<string, string> = {}) => fetch(url, { headers, redirect: "manual" });
// biome-ignore lint/suspicious/noExplicitAny: what comes is compared with what should.
const read = (answer: Response): Promise<any> => answer.json();
/** What the backend got. */
const received = async (answer: Response): Promise<Record<string, string>> => (await read(answer)).headers;

describe("a service that lets a request pass", () => {
  test("gives the backend its fields, and no caller can give them, however they are spelt", async () => {
    using asked = authorizer(() => new Response(null, { status: 204, headers: { "x-user": "alice", "x-other": "kept from the backend" } }));
    await using gateway = asking(asked.url, { upstreamHeaders: ["X-User", "X-Groups"] });
    const spelt = { "x-user": "mallory", x_user: "mallory", "X.User": "mallory", "X-GROUPS": "admins", x_groups: "admins" };
    const headers = await received(await get(`${gateway.url}/shop/7`, { ...spelt, "x-fine": "mine" }));
    expect(headers).toMatchObject({ "x-user": "alice", "x-fine": "mine" });
    expect(JSON.stringify(headers)).not.toContain("mallory");
    expect(JSON.stringify(headers)).not.toContain("admins");
    expect(headers).not.toHaveProperty("x-other");
  });

  test("learns what Sluice knows of the request, and of the caller's fields those that are named", async () => {
    using asked = authorizer();
    await using gateway = asking(`${asked.url}/may?strict=1`, { headers: ["X-Tenant", "Cookie"] }, { auth: "required" });
    const claimed = {
      "x-forwarded-for": "9.9.9.9",
      "x-forwarded-host": "evil.test",
      "x-forwarded-uri": "/public",
      "x-consumer-id": "root",
    };
    const answer = await fetch(`${gateway.url}/shop/a/../b%20c?d=1`, {
      method: "PUT",
      body: "a body",
      headers: { ...claimed, "x-api-key": KEY, "x-tenant": "t1", x_tenant: "t2", cookie: "a=1", "x-private": "mine", "x-request-id": "r1" },
    });
    const { headers: sent, body, url } = await read(answer);
    expect(asked.seen).toEqual([
      {
        method: "GET",
        url: "/may?strict=1",
        body: "",
        headers: {
          host: asked.url.slice("http://".length),
          "x-forwarded-method": "PUT",
          "x-forwarded-proto": "http",
          "x-forwarded-host": `127.0.0.1:${gateway.port}`,
          "x-forwarded-uri": "/shop/b%20c?d=1",
          "x-forwarded-for": "127.0.0.1",
          "x-consumer-id": "acme",
          "x-consumer-tier": "plain",
          "x-tenant": "t1",
          cookie: "a=1",
          "x-request-id": "r1",
        },
      },
    ]);
    expect([url, body]).toEqual(["/b%20c?d=1", "a body"]);
    // The backend must not read another value than the one that was decided by.
    expect(sent).toMatchObject({ "x-tenant": "t1", cookie: "a=1" });
    expect(sent).not.toHaveProperty("x_tenant");
  });

  test("gets no key of Sluice's, wherever it stands", async () => {
    using asked = authorizer();
    const identity = { identity: { query: "key", basic: true } };
    await using gateway = asking(asked.url, { headers: ["Authorization", "X-API-Key"] }, { auth: "optional" }, identity);
    const basic = `Basic ${btoa(`git:${KEY}`)}`;
    for (const [field, value] of [
      ["x-api-key", KEY],
      ["authorization", `Bearer ${KEY}`],
      ["authorization", basic],
    ] as const)
      expect((await get(`${gateway.url}/shop`, { [field]: value })).status).toBe(200);
    expect((await get(`${gateway.url}/shop?a=1&key=${KEY}`)).status).toBe(200);
    expect(asked.seen.map(({ headers }) => headers["x-consumer-id"])).toEqual(["acme", "acme", "acme", "acme"]);
    expect(JSON.stringify(asked.seen)).not.toContain(KEY);
    expect(JSON.stringify(asked.seen)).not.toContain(basic);
    expect(asked.seen.at(-1)?.headers["x-forwarded-uri"]).toBe("/shop?a=1");
    // What is not Sluice's own is shown.
    await using open = asking(asked.url, {}, { auth: "none" });
    await get(`${open.url}/shop`, { authorization: "Bearer somebody-else's" });
    expect(asked.seen.at(-1)?.headers.authorization).toBe("Bearer somebody-else's");
  });

  test("learns of a trusted proxy's caller, host and scheme", async () => {
    using asked = authorizer();
    await using gateway = asking(
      asked.url,
      {},
      {},
      { server: { host: "127.0.0.1", drainTimeout: "0s", trustedProxies: ["127.0.0.1/32"] } },
    );
    const told = { "x-forwarded-for": "203.0.113.9", "x-forwarded-host": "shop.example.com", "x-forwarded-proto": "https" };
    await get(`${gateway.url}/shop`, { ...told, "x-forwarded-uri": "/else", "x-forwarded-method": "DELETE" });
    expect(asked.seen[0]?.headers).toMatchObject({ ...told, "x-forwarded-uri": "/shop", "x-forwarded-method": "GET" });
  });

  test("is asked before a connection becomes a WebSocket, and not about a browser's preflight", async () => {
    using asked = authorizer((request) => new Response(null, { status: request.headers.get("cookie") === "in=1" ? 200 : 401 }));
    await using gateway = asking(asked.url, {}, { path: "/", cors: { origins: ["https://app.test"] } });
    const upgrade = (cookie: string) =>
      `GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${cookie}\r\n`;
    const open = await RawConnection.open(gateway.port);
    open.write(upgrade("Cookie: in=1\r\n"));
    expect(await open.until("\r\n\r\n")).toStartWith("HTTP/1.1 101 ");
    open.close();
    const closed = await RawConnection.open(gateway.port);
    closed.write(upgrade(""));
    expect(await closed.until("\r\n\r\n")).toStartWith("HTTP/1.1 401 ");
    closed.close();
    expect(asked.seen).toHaveLength(2);
    expect(asked.seen[0]?.headers).not.toHaveProperty("upgrade");
    const preflight = { origin: "https://app.test", "access-control-request-method": "PUT" };
    expect((await fetch(`${gateway.url}/x`, { method: "OPTIONS", headers: preflight })).status).toBe(204);
    expect(asked.seen).toHaveLength(2);
  });
});

describe("a service's refusal", () => {
  test("is the caller's answer: its status, body and fields, without those of its own connection, with Sluice's", async () => {
    using asked = authorizer((request) => {
      const to = new URL(request.headers.get("x-forwarded-uri") ?? "", "http://a").pathname;
      const headers: [string, string][] = [
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
        ["content-type", "text/plain"],
      ];
      if (to === "/shop/in")
        return new Response("this way", { status: 302, headers: [...headers, ["location", "https://id.test/?rd=%2F"]] });
      if (to === "/shop/who")
        return new Response("who?", {
          status: 401,
          headers: [...headers, ["www-authenticate", 'Basic realm="it"'], ["connection", "close, X-Hop"], ["x-hop", "1"]],
        });
      return new Response("no", { status: 403, headers });
    });
    await using gateway = asking(asked.url, {}, { headers: { response: { set: { "X-Frame": "DENY" }, remove: ["Content-Language"] } } });
    const before = behind.seen.length;
    const redirect = await get(`${gateway.url}/shop/in`, { "x-request-id": "r2" });
    expect([redirect.status, await redirect.text(), redirect.headers.get("location")]).toEqual([
      302,
      "this way",
      "https://id.test/?rd=%2F",
    ]);
    expect(redirect.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect(redirect.headers.get("x-request-id")).toBe("r2");
    expect(redirect.headers.has("x-process-time")).toBe(true);
    expect(redirect.headers.get("x-frame")).toBe("DENY");
    const who = await get(`${gateway.url}/shop/who`);
    expect([who.status, await who.text(), who.headers.get("www-authenticate")]).toEqual([401, "who?", 'Basic realm="it"']);
    expect(who.headers.has("x-hop")).toBe(false);
    const head = await fetch(`${gateway.url}/shop/no`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([403, "2"]);
    const post = await fetch(`${gateway.url}/shop/no`, { method: "POST", body: "x".repeat(100_000) });
    expect([post.status, await post.text()]).toEqual([403, "no"]);
    expect(behind.seen.length).toBe(before);
    expect(asked.seen).toHaveLength(4);
  });

  test("stands whatever becomes of its body", async () => {
    const head = (status: string, more: string) => `HTTP/1.1 ${status}\r\nContent-Type: text/html\r\nX-Why: sure\r\n${more}\r\n`;
    const bodies = [
      [head("403 No", "Content-Length: 70000\r\n") + "x".repeat(70_000), "stays"],
      [`${head("403 No", "Transfer-Encoding: chunked\r\n")}11170\r\n${"x".repeat(70_000)}\r\n0\r\n\r\n`, "stays"],
      [`${head("403 No", "Content-Length: 10\r\n")}five!`, "closes"],
      [`${head("403 No", "Content-Length: 10\r\n")}five!`, "stays"],
      [`${head("403 No", "")}no end`, "stays"],
    ] as const;
    for (const [bytes, after] of bodies) {
      using asked = await rawAuthorizer(bytes, after);
      await using gateway = asking(asked.url, { onError: "allow", timeout: "200ms" });
      const answer = await get(`${gateway.url}/shop`);
      expect([answer.status, answer.headers.get("x-why"), answer.headers.get("content-type"), await answer.text()]).toEqual([
        403,
        "sure",
        null,
        "",
      ]);
    }
  });

  test("is not a redirect that Sluice follows, nor an upgrade", async () => {
    using other = authorizer();
    using asked = authorizer(() => Response.redirect(other.url, 307));
    await using gateway = asking(asked.url);
    expect((await get(`${gateway.url}/shop`)).status).toBe(307);
    expect(other.seen).toEqual([]);
  });
});

describe("a service that does not decide", () => {
  const cases: [name: string, open: () => Promise<{ url: string; [Symbol.dispose](): void }>][] = [
    ["answers 500", async () => authorizer(() => new Response("broken", { status: 500, headers: { "x-user": "root" } }))],
    ["answers 599", async () => authorizer(() => new Response(null, { status: 599 }))],
    ["never answers", async () => rawAuthorizer("", "stays")],
    ["answers half a head", async () => rawAuthorizer("HTTP/1.1 200 OK\r\nX-User: al", "stays")],
    ["resets the connection", async () => rawAuthorizer("", "resets")],
    ["closes the connection", async () => rawAuthorizer("", "closes")],
    ["speaks no HTTP", async () => rawAuthorizer("SSH-2.0-OpenSSH\r\n", "stays")],
    ["leaves HTTP", async () => rawAuthorizer("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "stays")],
    ["has only interim answers", async () => rawAuthorizer("HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n", "stays")],
    [
      "grants more than a head holds",
      async () => rawAuthorizer(`HTTP/1.1 200 OK\r\nX-User: ${"x".repeat(20_000)}\r\nContent-Length: 0\r\n\r\n`, "stays"),
    ],
    ["is not there", async () => ({ url: `http://127.0.0.1:${freePort()}`, [Symbol.dispose]: () => {} })],
    ["has no such name", async () => ({ url: "http://authorizer.invalid", [Symbol.dispose]: () => {} })],
  ];

  test.each(cases)("since it %s: onError says what becomes of requests", async (_, open) => {
    using asked = await open();
    const before = behind.seen.length;
    await using denying = asking(asked.url, { timeout: "150ms" });
    const denied = await get(`${denying.url}/shop`, { "x-user": "mallory" });
    expect([denied.status, denied.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await denied.json()).toMatchObject({
      code: "authorizeFailed",
      status: 503,
      retryAfter: 1,
      type: "urn:sluice:problem:authorizeFailed",
    });
    expect(behind.seen.length).toBe(before);
    await using allowing = asking(asked.url, { timeout: "150ms", onError: "allow" });
    const allowed = await get(`${allowing.url}/shop`, { "x-user": "mallory" });
    expect(allowed.status).toBe(200);
    expect(await received(allowed)).not.toHaveProperty("x-user");
    expect([denying.faults, allowing.faults]).toEqual([[], []]);
  });

  test("is counted, and told once a minute, until it decides again", async () => {
    using asked = authorizer(() => new Response(null, { status: 500 }));
    await using gateway = asking(`${asked.url}/may?token=secret`);
    for (let i = 0; i < 3; i++) await get(`${gateway.url}/shop`);
    asked.decide = () => new Response();
    await get(`${gateway.url}/shop`);
    asked.decide = () => new Response(null, { status: 403 });
    await get(`${gateway.url}/shop`);
    const metrics = await (await gateway.admin("GET", "/metrics")).text();
    for (const [outcome, count] of [
      ["allowed", 1],
      ["refused", 1],
      ["failed", 3],
    ])
      expect(metrics).toContain(`sluice_authorize_total{route="shop",outcome="${outcome}"} ${count}\n`);
    expect(metrics).toContain('sluice_authorize_asked_total{route="shop"} 5\n');
    expect(metrics).toContain('sluice_refused_requests_total{code="authorizeFailed",tier="none"} 3\n');
  });
});

test("a kept connection that the service has closed is no failure, and a kept one is used again", async () => {
  using closing = await rawAuthorizer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "closes");
  await using gateway = asking(closing.url);
  for (let i = 0; i < 5; i++) expect((await get(`${gateway.url}/shop`)).status).toBe(200);
  using staying = await rawAuthorizer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfine!", "stays");
  await using kept = asking(staying.url);
  for (let i = 0; i < 5; i++) expect((await get(`${kept.url}/shop`)).status).toBe(200);
  expect([staying.asked, staying.connections]).toEqual([5, 1]);
});

test("when the caller leaves, the service is not waited for, and the backend not asked", async () => {
  using asked = authorizer();
  const came = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  asked.decide = (request) => {
    request.signal.addEventListener("abort", () => gone.resolve());
    came.resolve();
    return new Promise<Response>(() => {});
  };
  await using gateway = asking(asked.url, { timeout: "60s" });
  const before = behind.seen.length;
  const caller = await RawConnection.open(gateway.port);
  caller.write("GET /shop HTTP/1.1\r\nHost: a\r\n\r\n");
  await came.promise;
  caller.close();
  await gone.promise;
  expect(behind.seen.length).toBe(before);
  expect(gateway.faults).toEqual([]);
});

describe("limits on a route that asks", () => {
  const limited = { limits: [{ name: "few", algorithm: "fixed-window", limit: 3, window: "1h" }] };
  const byCookie: Authorizer["decide"] = (request) => new Response(null, { status: request.headers.get("cookie") === "in=1" ? 200 : 403 });

  test("are looked at before it is asked, and charged after: exactly", async () => {
    using asked = authorizer(byCookie);
    await using gateway = asking(asked.url, {}, limited);
    const statuses: number[] = [];
    const left: (string | null)[] = [];
    for (const cookie of ["", "in=1", "", "", "in=1", "in=1", "in=1", ""]) {
      const answer = await get(`${gateway.url}/shop`, { cookie });
      statuses.push(answer.status);
      left.push(answer.headers.get("x-ratelimit-remaining"));
    }
    // What the service refuses costs nothing; what limits refuse asks nobody.
    expect(statuses).toEqual([403, 200, 403, 403, 200, 200, 429, 429]);
    expect(left).toEqual([null, "2", null, null, "1", "0", "0", "0"]);
    expect(asked.seen).toHaveLength(6);
  });

  test("refuse as they do on any other route", async () => {
    using asked = authorizer(byCookie);
    await using gateway = asking(asked.url, {}, { ...limited, path: "/asks", name: "one" });
    await using plain = asking(asked.url, {}, { ...limited, path: "/asks", name: "one", authorize: null });
    const told: unknown[] = [];
    for (const { url, clock } of [gateway, plain]) {
      clock.time = Math.ceil(clock.time / 1e9) * 1e9;
      for (let i = 0; i < 3; i++) expect((await get(`${url}/asks`, { cookie: "in=1" })).status).toBe(200);
      const refused = await get(`${url}/asks`, { cookie: "in=1", "x-request-id": "same" });
      const headers = refused.headers.toJSON() as Record<string, string>;
      for (const each of ["date", "x-process-time"]) delete headers[each];
      told.push([refused.status, headers, await refused.json()]);
    }
    expect(told[0]).toEqual(told[1] as object);
    const metrics = await (await gateway.admin("GET", "/metrics")).text();
    expect(metrics).toContain('sluice_limited_requests_total{owner="route one",limit="few"} 1\n');
  });

  test("are never overrun by those who were asked about at the same time, and each pays once", async () => {
    using asked = authorizer(byCookie);
    await using gateway = asking(asked.url, {}, limited);
    const answers = await Promise.all(Array.from({ length: 20 }, () => get(`${gateway.url}/shop`, { cookie: "in=1" })));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(3);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(17);
  });

  test("hold no place while the service is asked", async () => {
    using asked = authorizer();
    const waiting: (() => void)[] = [];
    const all = Promise.withResolvers<void>();
    asked.decide = () =>
      new Promise<Response>((resolve) => {
        waiting.push(() => resolve(new Response(null, { status: 403 })));
        if (waiting.length === 3) all.resolve();
      });
    await using gateway = asking(asked.url, { timeout: "60s" }, { limits: [{ algorithm: "concurrency", limit: 1, by: "global" }] });
    const answers = [1, 2, 3].map(() => get(`${gateway.url}/shop`));
    await all.promise;
    for (const answer of waiting) answer();
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([403, 403, 403]);
    asked.decide = () => new Response();
    expect((await get(`${gateway.url}/shop`)).status).toBe(200);
  });

  test("may count by a field that the service gives, and never by the caller's own", async () => {
    using asked = authorizer((request) => new Response(null, { headers: { "x-user": request.headers.get("cookie") ?? "" } }));
    await using gateway = asking(asked.url, {}, { limits: [{ algorithm: "fixed-window", limit: 1, window: "1h", by: "header:X-User" }] });
    const as = async (cookie: string, claimed: string) => (await get(`${gateway.url}/shop`, { cookie, "x-user": claimed })).status;
    expect([await as("u=a", "1"), await as("u=a", "2"), await as("u=b", "1"), await as("u=b", "3")]).toEqual([200, 429, 200, 429]);
  });
});

describe("answers that are kept", () => {
  test("are 2xx and 403 without a cookie, for as long as is said, for the same question", async () => {
    let count = 0;
    using asked = authorizer((request) => {
      const status = Number(request.headers.get("x-status"));
      const cookie: Record<string, string> = request.headers.has("x-sets") ? { "set-cookie": "a=1" } : {};
      return new Response(status === 204 ? null : `answer ${++count}`, {
        status,
        headers: { ...cookie, "x-user": "alice", "x-why": `${count}` },
      });
    });
    await using gateway = asking(asked.url, { cacheFor: "30s", headers: ["X-Status", "X-Sets"] });
    const times = async (path: string, headers: Record<string, string>, n = 3) => {
      const before = asked.seen.length;
      const told = new Set<string>();
      for (let i = 0; i < n; i++) {
        const answer = await get(`${gateway.url}/shop${path}`, headers);
        told.add(`${answer.status} ${answer.status === 200 ? (await received(answer))["x-user"] : await answer.text()}`);
      }
      return [asked.seen.length - before, told.size === 1 ? [...told][0] : told.size];
    };
    expect(await times("/a", { "x-status": "200" })).toEqual([1, "200 alice"]);
    expect(await times("/b", { "x-status": "204" })).toEqual([1, "200 alice"]);
    expect(await times("/a", { "x-status": "403" })).toEqual([1, "403 answer 2"]);
    expect(await times("/a", { "x-status": "403", "x-sets": "1" })).toEqual([3, 3]);
    for (const status of ["302", "401", "404", "429"]) expect(await times("/a", { "x-status": status })).toEqual([3, 3]);
    expect((await times("/a", { "x-status": "500" }))[0]).toBe(3);
    // Other questions.
    expect((await times("/a?b=1", { "x-status": "200" }))[0]).toBe(1);
    expect((await fetch(`${gateway.url}/shop/a`, { method: "POST", headers: { "x-status": "200" } })).status).toBe(200);
    expect(asked.seen.at(-1)?.headers["x-forwarded-method"]).toBe("POST");
    gateway.clock.time += 29_999;
    expect(await times("/a", { "x-status": "403" })).toEqual([0, "403 answer 2"]);
    gateway.clock.time += 1;
    expect((await times("/a", { "x-status": "200" }))[0]).toBe(1);
  });

  test("belong to one caller", async () => {
    using asked = authorizer((request) => new Response(null, { headers: { "x-user": request.headers.get("x-consumer-id") ?? "nobody" } }));
    const other = "another-declared-key-0123";
    await using gateway = asking(
      asked.url,
      { cacheFor: "1h" },
      { auth: "optional" },
      {
        consumers: [
          { id: "acme", tier: "plain", keys: [KEY] },
          { id: "bolt", tier: "plain", keys: [other] },
        ],
      },
    );
    const users: (string | undefined)[] = [];
    for (let round = 0; round < 2; round++)
      for (const key of [KEY, other, ""])
        users.push((await received(await get(`${gateway.url}/shop`, key === "" ? {} : { "x-api-key": key })))["x-user"]);
    expect(users).toEqual(["acme", "bolt", "nobody", "acme", "bolt", "nobody"]);
    expect(asked.seen).toHaveLength(3);
  });

  test("are given to none of those who ask at the same time when they are meant for one", async () => {
    let count = 0;
    using asked = authorizer(() => new Response(null, { status: 302, headers: { location: "/in", "set-cookie": `state=${++count}` } }));
    await using gateway = asking(asked.url, { cacheFor: "30s" });
    const answers = await Promise.all(Array.from({ length: 8 }, () => get(`${gateway.url}/shop`)));
    expect(new Set(answers.map(({ headers }) => headers.get("set-cookie"))).size).toBe(8);
  });

  test("are over when the route's settings change", async () => {
    using asked = authorizer(() => new Response(null, { headers: { "x-user": "alice", "x-role": "admin" } }));
    await using gateway = asking(asked.url, {}, {}, { routes: [] });
    const route = { path: "/shop", upstream: behind.url, auth: "none" };
    const authorize = { url: asked.url, cacheFor: "1h" };
    expect((await gateway.admin("POST", "/admin/routes", { name: "shop", ...route, authorize })).status).toBe(201);
    const sent = async () => received(await get(`${gateway.url}/shop`));
    expect(await sent()).not.toHaveProperty("x-role");
    const changed = { authorize: { ...authorize, upstreamHeaders: ["X-User", "X-Role"] } };
    expect((await gateway.admin("PATCH", "/admin/routes/shop", changed)).status).toBe(200);
    expect(await sent()).toMatchObject({ "x-user": "alice", "x-role": "admin" });
    expect(asked.seen).toHaveLength(2);
  });
});

describe("a route's cache", () => {
  const byCookie: Authorizer["decide"] = (request) => {
    const user = /user=(\w+)/.exec(request.headers.get("x-session") ?? "")?.[1];
    return user === undefined ? new Response(null, { status: 401 }) : new Response(null, { headers: { "x-user": user } });
  };
  test("stands behind the service, and gives nobody what another one was given", async () => {
    using asked = authorizer(byCookie);
    for (const [cache, kept] of [
      [{}, [false, false]],
      [{ perConsumer: true }, [true, false]],
      [{ shared: true, key: { headers: ["X-User"] } }, [true, false]],
      [{ shared: true }, [true, true]],
    ] as const) {
      await using gateway = asking(asked.url, { headers: ["X-Session"] }, { cache: { ttl: "1h", ...cache } });
      const as = async (user: string) => {
        const before = behind.seen.length;
        const answer = await get(`${gateway.url}/shop`, { "x-session": `user=${user}`, "x-user": "mallory" });
        expect(answer.status).toBe(200);
        return [(await received(answer))["x-user"], behind.seen.length === before];
      };
      expect(await as("alice")).toEqual(["alice", false]);
      expect(await as("alice")).toEqual(["alice", kept[0]]);
      const [user, isHit] = await as("bob");
      expect([user, isHit]).toEqual([kept[1] ? "alice" : "bob", kept[1]]);
      // A hit asks as well.
      expect((await get(`${gateway.url}/shop`, { "x-session": "none" })).status).toBe(401);
    }
  });
});

test("another proxy that asks at /authz gets what the service says: its fields, its refusal, and no failure as a permission", async () => {
  using asked = authorizer((request) => {
    const uri = request.headers.get("x-forwarded-uri");
    if (uri === "/shop/in") return new Response("in", { status: 302, headers: { location: "/sign-in" } });
    return uri === "/shop/500" ? new Response(null, { status: 500 }) : new Response(null, { headers: { "x-user": "alice" } });
  });
  await using gateway = asking(asked.url, { upstreamHeaders: ["X-User", "X-Role"] }, {}, { authz: {} });
  const judged = (uri: string) =>
    get(`${gateway.url}/authz`, { "x-forwarded-method": "GET", "x-forwarded-uri": uri, "x-forwarded-for": "203.0.113.9" });
  const may = await judged("/shop/7");
  // An empty one takes the place of what the caller has claimed.
  expect([may.status, may.headers.get("x-user"), may.headers.get("x-role")]).toEqual([200, "alice", ""]);
  expect(asked.seen[0]?.headers).toMatchObject({ "x-forwarded-for": "203.0.113.9", "x-forwarded-uri": "/shop/7" });
  const redirect = await judged("/shop/in");
  expect([redirect.status, redirect.headers.get("location")]).toEqual([302, "/sign-in"]);
  expect((await judged("/shop/500")).status).toBe(503);
});

test("asking what would become of a request asks nobody", async () => {
  using asked = authorizer();
  await using gateway = asking(`${asked.url}/may?token=secret`, {}, { limits: [{ algorithm: "fixed-window", limit: 1, window: "1h" }] });
  const walked = await read(await gateway.admin("POST", "/admin/explain/request", { method: "GET", target: "/shop" }));
  expect(walked.steps.map(({ step }: { step: string }) => step)).toEqual([
    "path",
    "route",
    "guard",
    "identify",
    "limits",
    "authorize",
    "target",
  ]);
  expect(walked.steps.find(({ step }: { step: string }) => step === "authorize")).toEqual({
    step: "authorize",
    passed: null,
    detail: `${asked.url}/may would be asked whether it may pass`,
  });
  const explained = await read(await gateway.admin("GET", "/admin/explain?route=shop&ip=127.0.0.1"));
  expect(JSON.stringify(explained)).toContain(`what ${asked.url}/may says`);
  expect(asked.seen).toEqual([]);
  expect((await get(`${gateway.url}/shop`)).status).toBe(200);
});

test("a route that the admin API makes asks no address that it may not forward to", async () => {
  await using gateway = asking("http://127.0.0.1:1", {}, {}, { routes: [], admin: { upstreamAllow: ["127.0.0.0/8"] } });
  let count = 0;
  const made = async (url: string) => {
    const answer = await gateway.admin("POST", "/admin/routes", { path: `/r${++count}`, upstream: behind.url, authorize: { url } });
    return [
      answer.status,
      (await read(answer)).errors?.map(({ path, message }: { path: string; message: string }) => `${path}: ${message}`),
    ];
  };
  expect(await made("http://127.0.0.1:1/may")).toEqual([201, undefined]);
  expect(await made("http://auth.example.com")).toEqual([422, ["authorize.url: is not among the hosts of admin.upstreamAllow"]]);
  expect(await made("http://169.254.169.254/latest")).toEqual([422, [expect.stringContaining("authorize.url: is link-local")]]);
  expect(await made("ftp://127.0.0.1")).toEqual([422, [expect.stringContaining("authorize.url: must be a URL")]]);
});
