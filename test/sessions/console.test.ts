import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import http2 from "node:http2";
import { join } from "node:path";
import { FakeClock } from "../support/clock.ts";
import { ask } from "../support/http2.ts";
import { folder } from "../support/process.ts";
import { exchange } from "../support/raw.ts";
import { type RedisServer, redisServer } from "../support/redis.ts";
import { serving } from "../support/serving.ts";
import { until } from "../support/until.ts";

const TOKEN = "an-admin-token-0123456789";

type Gateway = ReturnType<typeof serving>;
// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
type Json = any;

interface Sent {
  readonly method?: string;
  readonly cookie?: string | null;
  readonly body?: object;
  readonly headers?: Record<string, string>;
}

async function send({ url }: Pick<Gateway, "url">, path: string, { method = "GET", cookie = null, body, headers = {} }: Sent = {}) {
  const answer = await fetch(url + path, {
    method,
    headers: {
      ...(cookie === null ? {} : { cookie }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  const isJson = answer.headers.get("content-type")?.includes("json") === true;
  return { status: answer.status, headers: answer.headers, text, json: (isJson ? JSON.parse(text) : null) as Json };
}

/** The fields that the console sends with a change. */
const own = ({ url }: Pick<Gateway, "url">): Record<string, string> => ({ origin: url, "x-sluice-console": "1" });

async function signIn(gateway: Gateway, token = TOKEN, headers: Record<string, string> = {}): Promise<string> {
  const answer = await send(gateway, "/admin/session", { method: "POST", body: { token }, headers });
  expect([answer.status, answer.text]).toEqual([201, expect.any(String)]);
  return answer.headers.get("set-cookie")?.split(";", 1)[0] ?? "";
}

async function using(work: (gateway: Gateway) => Promise<void>, config: object = {}): Promise<void> {
  const gateway = serving(config);
  try {
    await work(gateway);
    expect(gateway.faults).toEqual([]);
  } finally {
    await gateway.stop();
  }
}

describe("signing in", () => {
  test("with a token makes a session of 12 hours, which ends when its holder signs out", () =>
    using(async (gateway) => {
      expect((await send(gateway, "/admin/session")).status).toBe(401);
      const answer = await send(gateway, "/admin/session", { method: "POST", body: { token: TOKEN } });
      const expiresAt = new Date(gateway.clock.wall() + 12 * 3_600_000).toISOString();
      expect([answer.status, answer.json]).toEqual([201, { name: "env", role: "admin", expiresAt }]);
      expect(answer.headers.get("set-cookie")).toMatch(
        /^sluice_session=[0-9A-Za-z]{40}; HttpOnly; SameSite=Strict; Path=\/; Max-Age=43200$/,
      );
      const cookie = answer.headers.get("set-cookie")?.split(";", 1)[0] ?? "";
      const who = { name: "env", role: "admin", expiresAt, version: expect.any(String) };
      expect((await send(gateway, "/admin/session", { cookie })).json).toEqual({ ...who, via: "session" });
      const byToken = await send(gateway, "/admin/session", { cookie, headers: { authorization: `Bearer ${TOKEN}` } });
      expect(byToken.json).toEqual({ ...who, via: "token", expiresAt: null });
      const out = await send(gateway, "/admin/session", { method: "DELETE", cookie, headers: own(gateway) });
      expect([out.status, out.headers.get("set-cookie")]).toEqual([204, "sluice_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0"]);
      expect((await send(gateway, "/admin/session", { cookie })).status).toBe(401);
      const { items } = (await (await gateway.admin("GET", "/admin/audit")).json()) as Json;
      expect(items.map(({ action, actor }: Json) => [action, actor])).toEqual([
        ["session.end", "env"],
        ["session.begin", "env"],
      ]);
    }));

  test("ends after 12 hours", () =>
    using(async (gateway) => {
      const cookie = await signIn(gateway);
      gateway.clock.advance(12 * 3_600_000 - 1);
      expect((await send(gateway, "/admin/tiers", { cookie })).status).toBe(200);
      gateway.clock.advance(1);
      expect((await send(gateway, "/admin/tiers", { cookie })).status).toBe(401);
    }));

  test("with a wrong token counts in the guard, and whoever has a good one gets in all the same", () =>
    using(
      async (gateway) => {
        const tries = [];
        for (const body of [{ token: "wrong" }, { link: "wrong" }, { token: "also wrong" }, { token: "once more" }])
          tries.push((await send(gateway, "/admin/session", { method: "POST", body })).json.code);
        expect(tries).toEqual(["keyInvalid", "keyInvalid", "keyInvalid", "ipBlocked"]);
        await signIn(gateway);
      },
      { guard: { invalidKeyLimit: 3, window: "1m", blockFor: "1m" } },
    ));

  test("takes either a token or a link, and little else", () =>
    using(async (gateway) => {
      for (const body of [{}, { token: "a", link: "b" }, { token: 1 }, { password: "a" }])
        expect([body, (await send(gateway, "/admin/session", { method: "POST", body })).status]).toEqual([body, 422]);
      const long = await send(gateway, "/admin/session", { method: "POST", body: { token: "a".repeat(5000) } });
      expect(long.json.code).toBe("bodyTooLarge");
    }));

  test("from a page of somebody else is refused", () =>
    using(async (gateway) => {
      const headers = { origin: "https://other.example" };
      expect((await send(gateway, "/admin/session", { method: "POST", body: { token: TOKEN }, headers })).json.code).toBe("forbidden");
    }));
});

describe("a link of the first run", () => {
  const follow = (gateway: Gateway, link: string | null, headers: Record<string, string> = {}) =>
    send(gateway, "/admin/session", { method: "POST", body: { link }, headers });

  test("works once, for half an hour", () =>
    using(async (gateway) => {
      const link = gateway.firstRunLink();
      expect((await follow(gateway, link)).json).toMatchObject({ name: "env", role: "admin" });
      const again = await follow(gateway, link);
      expect([again.status, again.json.detail]).toEqual([401, expect.stringContaining("works once")]);
      const late = gateway.firstRunLink();
      gateway.clock.advance(30 * 60_000);
      expect((await follow(gateway, late)).status).toBe(401);
    }));

  test("is made until a token was used, also before a restart, and where there is a console", async () => {
    using home = folder();
    const path = join(home.path, "sluice.db");
    const begun = async (admin: object, work: (gateway: Gateway) => Promise<void>) => {
      const gateway = serving({ admin }, new FakeClock(Date.now()), path);
      await work(gateway);
      await gateway.stop();
    };
    await begun({ console: "off" }, async (gateway) => expect(gateway.firstRunLink()).toBeNull());
    await begun({}, async (gateway) => {
      expect(gateway.firstRunLink()).not.toBeNull();
      expect((await send(gateway, "/admin/session/options")).json).toEqual({ issuer: null, firstRun: true });
      await gateway.admin("GET", "/admin/tiers");
      expect((await send(gateway, "/admin/session/options")).json.firstRun).toBe(false);
    });
    await begun({}, async (gateway) => expect(gateway.firstRunLink()).toBeNull());
  });

  test("is not made, nor the console linked to, where a route has the console's path: its backend could read the secret", async () => {
    const shown = async (gateway: Gateway) => {
      const there = { ...gateway, url: `http://127.0.0.1:${gateway.adminPort ?? gateway.port}` };
      const page = await send(there, "/", { headers: { accept: "text/html" } });
      const { links } = (await send(there, "/")).json;
      return [gateway.firstRunLink() !== null, page.text.includes('href="/console"'), links.console];
    };
    const theirs = (path: string) => ({ routes: [{ path, upstream: "http://127.0.0.1:9", auth: "none" }] });
    for (const path of ["/console", "/console/deep"])
      await using(async (gateway) => expect([path, await shown(gateway)]).toEqual([path, [false, false, undefined]]), theirs(path));
    await using(async (gateway) => expect(await shown(gateway)).toEqual([true, true, "/console"]), theirs("/shop"));
    // A listener of its own has no routes in the way.
    const elsewhere = { ...theirs("/console"), admin: { listen: { host: "127.0.0.1", port: 0 } } };
    await using(async (gateway) => expect(await shown(gateway)).toEqual([true, true, "/console"]), elsewhere);
  });

  test("is not taken where others could read it on the way", () =>
    using(
      async (gateway) => {
        const link = gateway.firstRunLink();
        const refused = await follow(gateway, link, { host: "api.example.com" });
        expect([refused.status, refused.json.detail]).toEqual([403, expect.stringContaining("https")]);
        expect((await follow(gateway, link)).status).toBe(201);
      },
      { admin: { console: "main" } },
    ));
});

describe("a session", () => {
  test("may look at everything, and change something only as the console does", () =>
    using(async (gateway) => {
      const cookie = await signIn(gateway);
      const body = { name: "gold" };
      const statuses = [];
      for (const headers of [
        {},
        { origin: gateway.url },
        { "x-sluice-console": "1" },
        { origin: "https://other.example", "x-sluice-console": "1" },
        { origin: "null", "x-sluice-console": "1" },
        { origin: gateway.url.replace("http:", "https:"), "x-sluice-console": "1" },
        { origin: `${gateway.url}0`, "x-sluice-console": "1" },
      ])
        for (const [method, path] of [
          ["POST", "/admin/tiers"],
          ["POST", "/admin/explain/request"],
          ["DELETE", "/admin/session"],
        ] as const)
          statuses.push((await send(gateway, path, { method, body, cookie, headers: headers as Record<string, string> })).status);
      expect(new Set(statuses)).toEqual(new Set([403]));
      const refused = await send(gateway, "/admin/tiers", { method: "POST", body, cookie });
      expect(refused.json.detail).toContain("X-Sluice-Console");
      expect((await send(gateway, "/admin/tiers", { method: "POST", body, cookie, headers: own(gateway) })).status).toBe(201);
      expect((await send(gateway, "/admin/tiers/gold", { cookie })).json.name).toBe("gold");
    }));

  test("has the rights that its token has now, and ends with it", () =>
    using(async (gateway) => {
      const made = (await (await gateway.admin("POST", "/admin/tokens", { name: "eve", role: "viewer" })).json()) as Json;
      const cookie = await signIn(gateway, made.token);
      expect((await send(gateway, "/admin/session", { cookie })).json).toMatchObject({ name: "eve", role: "viewer" });
      const refused = await send(gateway, "/admin/tiers", { method: "POST", body: { name: "a" }, cookie, headers: own(gateway) });
      expect(refused.json.detail).toContain("more rights than viewer");
      expect((await gateway.admin("DELETE", `/admin/tokens/${made.id}`)).status).toBe(204);
      expect((await send(gateway, "/admin/session", { cookie })).status).toBe(401);
    }));

  test("is no use where programs show a token, nor where none is shown beside another", () =>
    using(
      async (gateway) => {
        const cookie = await signIn(gateway);
        const headers = { host: "api.example.com" };
        expect((await send(gateway, "/metrics", { cookie, headers })).status).toBe(401);
        expect((await send(gateway, "/ready", { cookie, headers })).json.upstreams).toBeUndefined();
        expect((await send(gateway, "/v1/keys/verify", { method: "POST", body: { key: "a" }, cookie })).status).toBe(401);
        const wrong = { authorization: "Bearer wrong" };
        expect((await send(gateway, "/admin/tiers", { cookie, headers: wrong })).status).toBe(401);
      },
      { admin: { console: "main" }, keyVerification: {} },
    ));

  test("reads live events until it ends", () =>
    using(async (gateway) => {
      const cookie = await signIn(gateway);
      const stream = await fetch(`${gateway.url}/admin/events`, { headers: { cookie } });
      expect(stream.status).toBe(200);
      const ended = stream.text();
      await send(gateway, "/admin/session", { method: "DELETE", cookie, headers: own(gateway) });
      expect(await ended).toBe(":\n\n");
    }));

  test("is known by whichever Cookie field has it, with the body that is sent", () =>
    using(async (gateway) => {
      const cookie = await signIn(gateway);
      const body = JSON.stringify({ name: "gold" });
      const answer = await exchange(
        gateway.port,
        `POST /admin/tiers HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\nOrigin: ${gateway.url}\r\nX-Sluice-Console: 1\r\nCookie: theirs=1\r\nCookie: ${cookie}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      );
      expect(answer).toStartWith("HTTP/1.1 201");
    }));

  test("is answered once to an Idempotency-Key", () =>
    using(async (gateway) => {
      const cookie = await signIn(gateway);
      const post = () =>
        send(gateway, "/admin/tiers", {
          ...{ method: "POST", body: { name: "gold" }, cookie },
          headers: { ...own(gateway), "idempotency-key": "once" },
        });
      expect([(await post()).status, (await post()).headers.get("idempotent-replayed")]).toEqual([201, "true"]);
    }));
});

describe("where the console is served", () => {
  const session = async (gateway: Gateway, headers: Record<string, string> = {}) => {
    const options = await send(gateway, "/admin/session/options", { headers });
    const begun = await send(gateway, "/admin/session", { method: "POST", body: { token: TOKEN }, headers });
    return [options.status, begun.status, begun.json.detail ?? ""];
  };
  const REFUSED = [403, 403, expect.stringMatching(/admin\.listen.*admin\.console/)];

  test("on the main port it is for this machine alone, and a session as well", () =>
    using(async (gateway) => {
      const cookie = await signIn(gateway);
      expect(await session(gateway)).toEqual([200, 201, ""]);
      for (const headers of [{ host: "api.example.com" }, { "x-forwarded-for": "192.0.2.1" }] as Record<string, string>[]) {
        expect(await session(gateway, headers)).toEqual(REFUSED);
        const answer = await send(gateway, "/admin/tiers", { cookie, headers });
        expect([answer.status, answer.json.detail]).toEqual([403, expect.stringContaining("admin.listen")]);
        // A token holds there, as ever.
        const byToken = await send(gateway, "/admin/tiers", { headers: { ...headers, authorization: `Bearer ${TOKEN}` } });
        expect(byToken.status).toBe(200);
      }
    }));

  test("`main` has it for all, behind a trusted proxy by the address that browsers see", () =>
    using(
      async (gateway) => {
        const proxied = { host: "10.0.0.1:8080", "x-forwarded-proto": "https", "x-forwarded-host": "api.example.com" };
        const answer = await send(gateway, "/admin/session", { method: "POST", body: { token: TOKEN }, headers: proxied });
        expect(answer.headers.get("set-cookie")).toEndWith("; Secure");
        const cookie = answer.headers.get("set-cookie")?.split(";", 1)[0] ?? "";
        const change = async (origin: string) =>
          (
            await send(gateway, "/admin/tiers", {
              ...{ method: "POST", body: { name: `t${Math.random()}` }, cookie },
              headers: { ...proxied, origin, "x-sluice-console": "1" },
            })
          ).status;
        expect(await change("https://api.example.com")).toBe(201);
        expect(await change("http://api.example.com")).toBe(403);
        expect(await change("https://other.example.com")).toBe(403);
      },
      { server: { host: "127.0.0.1", drainTimeout: "0s", trustedProxies: ["127.0.0.1"] }, admin: { console: "main" } },
    ));

  test("`off` has it nowhere, and no cookie is taken", () =>
    using(
      async (gateway) => {
        expect(await session(gateway)).toEqual([403, 403, expect.stringContaining("admin.console")]);
      },
      { admin: { console: "off" } },
    ));

  test("with a listener of its own it is there, by whatever Host", () =>
    using(
      async (gateway) => {
        const { adminPort } = gateway;
        const there = { ...gateway, url: `http://127.0.0.1:${adminPort}` };
        expect(adminPort).not.toBe(gateway.port);
        expect(await session(there, { host: "admin.example.com" })).toEqual([200, 201, ""]);
        expect((await send(gateway, "/admin/session/options")).status).toBe(404);
      },
      { admin: { listen: { host: "127.0.0.1", port: 0 } } },
    ));
});

describe("the console's cookies", () => {
  test.each(["http/1.1", "h2c"])("reach no backend, and none sets them: over %s", async (protocol) => {
    const seen: (string | null)[] = [];
    const answers = { "set-cookie": ["sluice_session=theirs; Path=/", "theirs=1; Path=/", "sluice_my=theirs"] };
    const plain = Bun.serve({
      ...{ hostname: "127.0.0.1", port: 0 },
      fetch: (request) => {
        seen.push(request.headers.get("cookie"));
        const headers = new Headers();
        for (const each of answers["set-cookie"]) headers.append("set-cookie", each);
        return new Response("", { headers });
      },
    });
    const h2 = http2.createServer();
    h2.on("stream", (stream: http2.ServerHttp2Stream, headers) => {
      seen.push(headers.cookie ?? null);
      stream.respond({ ":status": 200, ...answers });
      stream.end();
    });
    await new Promise<void>((resolve) => h2.listen(0, "127.0.0.1", resolve));
    const port = protocol === "h2c" ? (h2.address() as { port: number }).port : plain.port;
    const target = { targets: [{ url: `http://127.0.0.1:${port}` }], ...(protocol === "h2c" ? { protocol } : {}) };
    try {
      await using(
        async (gateway) => {
          const cookie = await signIn(gateway);
          const answer = await send(gateway, "/any", { cookie: `a=1; ${cookie}; b="2"` });
          expect(answer.headers.getSetCookie()).toEqual(["theirs=1; Path=/"]);
          await send(gateway, "/any", { cookie });
          await send(gateway, "/any", { cookie: "a=1;b=2" });
          const session = http2.connect(gateway.url);
          // Browsers send each cookie as a field of its own.
          const crumbs = await ask(session, { ":path": "/any", cookie: ["a=1", cookie, "b=2"] as unknown as string });
          expect(crumbs.headers["set-cookie"]).toEqual(["theirs=1; Path=/"]);
          session.close();
          expect(seen).toEqual(['a=1; b="2"', null, "a=1;b=2", "a=1; b=2"]);
        },
        { upstreams: { any: target }, routes: [{ path: "/any", upstream: "any", auth: "none" }] },
      );
    } finally {
      await plain.stop(true);
      h2.close();
    }
  });

  test("are seen by no service that is asked", async () => {
    const seen: (string | null)[] = [];
    const service = Bun.serve({
      ...{ hostname: "127.0.0.1", port: 0 },
      fetch: (request) => {
        seen.push(request.headers.get("cookie"));
        return new Response("");
      },
    });
    const url = `http://127.0.0.1:${service.port}`;
    try {
      await using(
        async (gateway) => {
          await send(gateway, "/any", { cookie: "a=1; sluice_session=b" });
          expect(seen).toEqual(["a=1", "a=1"]);
          // What a proxy asks about is asked about without them.
          const headers = { "x-forwarded-method": "GET", "x-forwarded-uri": "/any" };
          await send(gateway, "/authz", { cookie: "sluice_my=1; a=2", headers });
          expect(seen).toEqual(["a=1", "a=1", "a=2"]);
        },
        { authz: {}, routes: [{ path: "/any", upstream: url, auth: "none", authorize: { url } }] },
      );
    } finally {
      await service.stop(true);
    }
  });
});

describe("instances that share records", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await redisServer();
  });
  afterAll(() => redis[Symbol.asyncDispose]());

  test("let no stranger with a wrong link, and no blocked address, wait for the lock of all records", async () => {
    const gateway = serving({ redis: { url: redis.url }, selfService: {}, guard: { invalidKeyLimit: 5 }, tiers: { gold: { limits: [] } } });
    const lock = "sluice:{records}:lock";
    const open = (path: string, link: string | null) => send(gateway, path, { method: "POST", body: { link } });
    try {
      await until(async () => (await gateway.admin("POST", "/admin/consumers", { id: "acme", tier: "gold" })).status === 201);
      const made = (await (await gateway.admin("POST", "/admin/consumers/acme/link", {})).json()) as Json;
      const good = new URL(made.url).hash.replace("#link=", "");
      // Another instance has the lock, for as long as it likes.
      await until(async () => (await redis.client.set(lock, "another", "NX")) === "OK");
      for (const link of ["x", "a".repeat(40)])
        for (const path of ["/my/session", "/admin/session"])
          expect([path, link, (await open(path, link)).status]).toEqual([path, link, 401]);
      expect((await open("/my/session", "x")).status).toBe(401);
      for (const path of ["/my/session", "/admin/session"]) expect((await open(path, good)).json.code).toBe("ipBlocked");
      await redis.client.del(lock);
      expect((await gateway.admin("DELETE", "/admin/blocks/127.0.0.1")).status).toBe(204);
      expect((await open("/my/session", good)).status).toBe(201);
      expect((await open("/my/session", good)).status).toBe(401);
    } finally {
      await redis.client.del(lock);
      await gateway.stop();
    }
  });

  test("know each other's sessions, and which have ended; and who can't reach Redis can be signed in to", async () => {
    using home = folder();
    const config = { redis: { url: redis.url } };
    const clock = () => new FakeClock(Date.now());
    const [one, two] = ["one", "two"].map((name) => serving(config, clock(), join(home.path, name, "sluice.db"))) as [Gateway, Gateway];
    try {
      const cookie = await signIn(one);
      await until(async () => (await send(two, "/admin/session", { cookie })).status === 200);
      expect((await send(two, "/admin/session", { method: "DELETE", cookie, headers: own(two) })).status).toBe(204);
      await until(async () => (await send(one, "/admin/session", { cookie })).status === 401);
      await redis.kill();
      const alone = await signIn(one);
      expect((await send(one, "/admin/session", { cookie: alone })).status).toBe(200);
    } finally {
      await Promise.all([one.stop(), two.stop()]);
    }
  });
});
