import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { type Backend, backend } from "../support/backend.ts";
import { type Running, start } from "../support/process.ts";
import { exchange, RawConnection } from "../support/raw.ts";
import { scripted } from "../support/relay.ts";

const KEY = "a-key-for-the-tests-0123456789";
const AUTH = { "x-api-key": KEY };

let gateway: Running;
let behind: Backend;
let dying: ReturnType<typeof scripted>;

const open = (name: string, path: string, upstream: string, more: object = {}) => ({ name, path, upstream, auth: "none", ...more });

beforeAll(async () => {
  behind = backend();
  dying = scripted(["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", null]);
  gateway = await start({
    config: {
      server: { maxBodySize: "200mb", maxHeaderSize: "4kb" },
      tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
      consumers: [{ id: "tester", tier: "plain", keys: [KEY] }],
      upstreams: {
        based: { targets: [{ url: `${behind.url}/base/` }] },
        pair: { targets: [{ url: `${behind.url}/one`, weight: 3 }, { url: `${behind.url}/two` }] },
      },
      routes: [
        open("echo", "/echo", behind.url),
        open("based", "/based", "based"),
        open("pair", "/pair", "pair"),
        open("kept", "/upload", behind.url, { stripPrefix: false }),
        { name: "keyed", path: "/keyed", upstream: behind.url },
        { name: "maybe", path: "/maybe", upstream: behind.url, auth: "optional" },
        { name: "vip", path: "/vip", upstream: behind.url, tiers: ["plain"], scopes: ["vip"] },
        open("posts", "/posts", behind.url, { methods: ["POST", "GET"] }),
        open("slow", "/slow", behind.url, { timeout: "150ms" }),
        open("one", "/one-at-a-time", behind.url, { limits: [{ algorithm: "concurrency", limit: 1, by: "route" }] }),
        open("dead", "/dead", "http://127.0.0.1:1"),
        open("dying", "/dying", `http://127.0.0.1:${dying.port}`),
        open("shared", "/shared", behind.url, {
          methods: ["GET", "PUT"],
          auth: "required",
          cors: { origins: ["https://app.example.com"], credentials: true, maxAge: "1h" },
          headers: {
            request: { set: { "X-Gateway": "sluice", "X-Kept": "no longer" }, remove: ["X-Secret"] },
            response: { set: { "Strict-Transport-Security": "max-age=1" }, remove: ["X-Powered-By"] },
          },
        }),
        open("public", "/public", behind.url, { cors: { origins: ["*"] }, headers: { request: { set: { Host: "inner.example.com" } } } }),
        open("hosted", "/", behind.url, { hosts: ["Api.Example.com"] }),
      ],
    },
  });
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  behind[Symbol.dispose]();
  dying[Symbol.dispose]();
});

const json = async (path: string, init?: RequestInit) =>
  (await (await fetch(gateway.url + path, init)).json()) as { method: string; url: string; headers: Record<string, string>; body: string };
const raw = (...lines: string[]) => exchange(gateway.port, `${lines.join("\r\n")}\r\nConnection: close\r\n\r\n`);
const code = async (answer: Response) => ((await answer.json()) as { code: string }).code;

describe("a forwarded request", () => {
  test("keeps its method, path, raw query and body", async () => {
    const text = await exchange(
      gateway.port,
      `PATCH /echo/a%20b/%40/c;v=1?x='1'&y=%zz&z HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n\r\n\x00\xffé!`,
    );
    const at = behind.seen.at(-1);
    expect(text).toContain("HTTP/1.1 200 OK");
    expect(at?.method).toBe("PATCH");
    // The backend's own parser encodes the quotes that reached it.
    expect(at?.url.replaceAll("%27", "'")).toBe("/a%20b/%40/c;v=1?x='1'&y=%zz&z");
  });

  test("loses its prefix unless the route keeps it, and gets the target's base path", async () => {
    expect((await json("/echo")).url).toBe("/");
    expect((await json("/echo/7?q=1")).url).toBe("/7?q=1");
    expect((await json("/based/7")).url).toBe("/base/7");
    expect((await json("/based")).url).toBe("/base");
    expect((await json("/based/")).url).toBe("/base/");
  });

  test("is spread over the targets by weight", async () => {
    const urls = await Promise.all(Array.from({ length: 40 }, async () => (await json("/pair")).url));
    expect(urls.filter((url) => url === "/one").length).toBe(30);
  });

  test("carries nothing that the client did not send, beside what the gateway is for", async () => {
    await raw("GET /echo HTTP/1.1", "Host: public.example", "X-Own: 1", "X-Own: 2");
    expect(Object.keys(behind.seen.at(-1)?.headers ?? {}).sort()).toEqual([
      "host",
      "x-forwarded-for",
      "x-forwarded-host",
      "x-forwarded-proto",
      "x-own",
      "x-request-id",
    ]);
    expect(behind.seen.at(-1)?.headers).toMatchObject({
      host: `127.0.0.1:${behind.port}`,
      "x-own": "1, 2",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "http",
      "x-forwarded-host": "public.example",
    });
  });

  test("loses what is for one hop only, and what Connection names", async () => {
    await exchange(
      gateway.port,
      "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Authorization: x\r\nUpgrade: h2c\r\nX-Stays: 1\r\n\r\n",
    );
    const headers = behind.seen.at(-1)?.headers ?? {};
    for (const name of ["x-hop", "keep-alive", "te", "proxy-authorization", "upgrade"]) expect(headers).not.toHaveProperty(name);
    expect(headers).toHaveProperty("x-stays");
  });

  test("can't claim to be somebody: identity and forwarding headers are the gateway's", async () => {
    const claims = {
      "x-consumer-id": "root",
      "x-consumer-tier": "enterprise",
      "x-forwarded-for": "1.2.3.4",
      "x-forwarded-proto": "https",
      "x-forwarded-host": "evil",
      forwarded: "for=1.2.3.4",
    };
    const { headers } = await json("/echo", { headers: claims });
    expect(headers).not.toHaveProperty("x-consumer-id");
    expect(headers).not.toHaveProperty("x-consumer-tier");
    expect(headers).not.toHaveProperty("forwarded");
    expect(headers["x-forwarded-for"]).toBe("127.0.0.1");
    expect(headers["x-forwarded-proto"]).toBe("http");
    const keyed = await json("/keyed", { headers: { ...claims, ...AUTH } });
    expect(keyed.headers["x-consumer-id"]).toBe("tester");
    expect(keyed.headers["x-consumer-tier"]).toBe("plain");
  });

  test("keeps a sane X-Request-ID and a traceparent, and gets a new id for one that is not", async () => {
    const sane = await fetch(`${gateway.url}/echo`, {
      headers: { "x-request-id": "order-66_a.b", traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
    });
    expect(sane.headers.get("x-request-id")).toBe("order-66_a.b");
    expect(behind.seen.at(-1)?.headers).toMatchObject({
      "x-request-id": "order-66_a.b",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });
    const mad = await fetch(`${gateway.url}/echo`, { headers: { "x-request-id": "a b" } });
    expect(mad.headers.get("x-request-id")).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  });

  test("may be a GET with a body", async () => {
    const gotten = Promise.withResolvers<string>();
    let text = "";
    using plain = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data: (socket, bytes) => {
          text += bytes.toString("latin1");
          if (!text.endsWith("query")) return;
          gotten.resolve(text);
          socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        },
      },
    });
    await gateway.admin("POST", "/admin/routes", {
      name: "search",
      path: "/search",
      upstream: `http://127.0.0.1:${plain.port}`,
      auth: "none",
    });
    await exchange(gateway.port, "GET /search HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\nquery");
    expect(await gotten.promise).toMatch(/Content-Length: 5\r\n[\s\S]*\r\n\r\nquery$/);
  });
});

describe("a response", () => {
  test("comes back as it was: every cookie, its own headers, its compression", async () => {
    const cookies = await fetch(`${gateway.url}/echo/cookies`);
    expect(cookies.headers.getSetCookie()).toEqual(["a=1", "b=2; Path=/"]);
    expect(cookies.headers.get("x-powered-by")).toBe("tests");
    expect(cookies.headers.get("x-request-id")).not.toBe("the-backend's");
    const zipped = await fetch(`${gateway.url}/echo/gzip`, { decompress: false });
    expect(zipped.headers.get("content-encoding")).toBe("gzip");
    expect(new TextDecoder().decode(Bun.gunzipSync(new Uint8Array(await zipped.arrayBuffer())))).toBe("compressed");
  });

  test("of an error passes through untouched", async () => {
    for (const status of [400, 404, 418, 500, 503]) {
      const answer = await fetch(`${gateway.url}/echo/status?code=${status}&body=mine`);
      expect([answer.status, await answer.text()]).toEqual([status, "mine"]);
    }
  });

  test("has no body for HEAD, 204 and 304, and redirects are the client's to follow", async () => {
    expect(await raw("HEAD /echo HTTP/1.1", "Host: h")).toMatch(/Content-Length: \d+\r\n[\s\S]*\r\n\r\n$/);
    expect(await raw("GET /echo/status?code=204 HTTP/1.1", "Host: h")).toMatch(/^HTTP\/1.1 204 [\s\S]*\r\n\r\n$/);
    expect(await raw("GET /echo/status?code=304 HTTP/1.1", "Host: h")).toMatch(/^HTTP\/1.1 304 [\s\S]*\r\n\r\n$/);
    expect((await fetch(`${gateway.url}/echo/status?code=302`, { redirect: "manual" })).status).toBe(302);
  });

  test("of a stream of events arrives as it is sent", async () => {
    const answer = await fetch(`${gateway.url}/echo/events`);
    const decoder = new TextDecoder();
    const delays: number[] = [];
    for await (const chunk of answer.body ?? []) {
      for (const [, sent] of decoder.decode(chunk).matchAll(/data: (\d+)/g)) delays.push(Date.now() - Number(sent));
      if (delays.length >= 5) break;
    }
    // The promise is 50 ms; the median is what a busy machine can't spoil.
    expect(delays.sort((a, b) => a - b)[2]).toBeLessThan(50);
  });
});

describe("large bodies", () => {
  const residentMegabytes = () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${gateway.pid}/status`, "utf8"))?.[1]) / 1024;

  // What the process takes once, for the code of this way and its buffers, is no body's.
  beforeAll(async () => {
    await (await fetch(`${gateway.url}/upload`, { method: "POST", body: new Uint8Array(20_971_520) })).arrayBuffer();
  });

  /** Runs `work` and gives by how many megabytes the gateway's memory grew at most meanwhile. */
  async function growth(work: () => Promise<void>): Promise<number> {
    const before = residentMegabytes();
    let max = before;
    const watch = setInterval(() => {
      max = Math.max(max, residentMegabytes());
    }, 5);
    await work();
    clearInterval(watch);
    return Math.max(max, residentMegabytes()) - before;
  }

  test("of 100 MB pass up, with a length and in chunks, with less than 50 MB of extra memory", async () => {
    const part = new Uint8Array(1_048_576).fill(97);
    const sha256 = new Bun.CryptoHasher("sha256");
    for (let i = 0; i < 100; i++) sha256.update(part);
    const expected = { size: 104_857_600, sha256: sha256.digest("hex") };
    const grown = await growth(async () => {
      let left = 100;
      const chunked = new ReadableStream({ pull: (controller) => (left-- > 0 ? controller.enqueue(part.slice()) : controller.close()) });
      expect(await (await fetch(`${gateway.url}/upload`, { method: "POST", body: chunked })).json()).toEqual(expected);
      expect(await (await fetch(`${gateway.url}/upload`, { method: "PUT", body: new Uint8Array(104_857_600).fill(97) })).json()).toEqual(
        expected,
      );
    });
    expect(grown).toBeLessThan(50);
  });

  test("of 100 MB pass down to a slow reader with less than 50 MB of extra memory", async () => {
    const grown = await growth(async () => {
      const answer = await fetch(`${gateway.url}/echo/download?mb=100`);
      let size = 0;
      let reads = 0;
      for await (const chunk of answer.body ?? []) {
        size += chunk.length;
        if (++reads % 100 === 0) await Bun.sleep(1);
      }
      expect(size).toBe(104_857_600);
    });
    expect(grown).toBeLessThan(50);
  });

  test("beyond the limit are refused with 413, also when the length is not known before", async () => {
    const stated = await exchange(gateway.port, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 300000000\r\n\r\n");
    expect(stated).toContain("HTTP/1.1 413");
    expect(stated).toContain('"code":"bodyTooLarge"');
    const part = new Uint8Array(1_048_576);
    let left = 260;
    const endless = new ReadableStream({ pull: (controller) => (left-- > 0 ? controller.enqueue(part.slice()) : controller.close()) });
    const outcome = await fetch(`${gateway.url}/upload`, { method: "POST", body: endless }).then(
      (answer) => answer.status,
      () => "the connection was closed while sending",
    );
    expect([413, "the connection was closed while sending"]).toContain(outcome);
    expect((await fetch(`${gateway.url}/health`)).status).toBe(200);
  });
});

describe("a WebSocket", () => {
  const connect = () => new WebSocket(`${gateway.url.replace("http", "ws")}/echo/ws`, ["chat"]);

  test("echoes text and bytes through the gateway, with its subprotocol and close code", async () => {
    const socket = connect();
    socket.binaryType = "arraybuffer";
    const messages: unknown[] = [];
    const closed = Promise.withResolvers<CloseEvent>();
    socket.onmessage = ({ data }) => {
      messages.push(typeof data === "string" ? data : [...new Uint8Array(data as ArrayBuffer)]);
      if (messages.length === 2) socket.send("close");
    };
    socket.onclose = (event) => closed.resolve(event);
    await new Promise((resolve) => {
      socket.onopen = resolve;
    });
    expect(socket.protocol).toBe("chat");
    socket.send("hello");
    socket.send(new Uint8Array([1, 2, 255]));
    const { code: status, reason } = await closed.promise;
    expect([status, reason]).toEqual([4001, "as you wish"]);
    expect(messages).toEqual(["hello", [1, 2, 255]]);
  });

  test("carries megabytes both ways", async () => {
    const socket = connect();
    socket.binaryType = "arraybuffer";
    let size = 0;
    const done = Promise.withResolvers<void>();
    socket.onmessage = ({ data }) => {
      size += (data as ArrayBuffer).byteLength;
      if (size === 8_000_000) done.resolve();
    };
    await new Promise((resolve) => {
      socket.onopen = resolve;
    });
    for (let i = 0; i < 8; i++) socket.send(new Uint8Array(1_000_000).fill(i));
    await done.promise;
    socket.close();
  });

  test("that the backend refuses gets the backend's own answer", async () => {
    const answer = await raw(
      "GET /echo/status?code=403&body=never HTTP/1.1",
      "Host: h",
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Version: 13",
    );
    expect(answer).toContain("HTTP/1.1 403");
    expect(answer).toContain("never");
  });
});

describe("what goes wrong", () => {
  test("a backend that is not there gives 502 and keeps its address to itself", async () => {
    const answer = await fetch(`${gateway.url}/dead`);
    expect(answer.status).toBe(502);
    const text = await answer.text();
    expect(JSON.parse(text)).toMatchObject({ code: "upstreamFailed", requestId: answer.headers.get("x-request-id") ?? "" });
    expect(text).not.toContain("127.0.0.1");
  });

  test("a backend that does not answer in time gives 504, and is told to stop", async () => {
    const answer = await fetch(`${gateway.url}/slow/hang`);
    expect(answer.status).toBe(504);
    expect(await code(answer)).toBe("upstreamTimeout");
    await behind.aborted();
  });

  test("a backend that breaks off within its answer breaks off the client's", async () => {
    expect(
      await fetch(`${gateway.url}/dying`)
        .then((answer) => answer.text())
        .then(
          () => "whole",
          () => "broken",
        ),
    ).toBe("broken");
  });

  test("a client that goes away takes its request from the backend, and frees its place", async () => {
    const connection = await RawConnection.open(gateway.port);
    const before = behind.seen.length;
    connection.write("GET /one-at-a-time/hang HTTP/1.1\r\nHost: h\r\n\r\n");
    while (behind.seen.length === before) await Bun.sleep(2);
    const second = await fetch(`${gateway.url}/one-at-a-time`);
    expect(second.status).toBe(429);
    expect(second.headers.get("ratelimit-policy")).toBe('"concurrency";q=1;qu="concurrent-requests"');
    connection.close();
    await behind.aborted();
    let status = 429;
    for (let i = 0; i < 200 && status === 429; i++) {
      status = (await fetch(`${gateway.url}/one-at-a-time`)).status;
      if (status === 429) await Bun.sleep(5);
    }
    expect(status).toBe(200);
  });

  test("an unknown path gives 404, a wrong method 405 with Allow, a path that means two things 400", async () => {
    expect(await code(await fetch(`${gateway.url}/nowhere`))).toBe("routeNotFound");
    expect(await code(await fetch(`${gateway.url}/echoes`))).toBe("routeNotFound");
    const wrong = await fetch(`${gateway.url}/posts`, { method: "DELETE" });
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "GET, HEAD, POST"]);
    expect((await fetch(`${gateway.url}/posts`, { method: "HEAD" })).status).toBe(200);
    for (const path of ["/echo/a%2fb", "/echo/a%5Cb", "/echo/%00", "/echo/a\\b", "/echo/%zz"]) {
      expect(await raw(`GET ${path} HTTP/1.1`, "Host: h")).toContain("HTTP/1.1 400");
    }
  });

  test("what is matched is what is forwarded: dot segments can't leave a route", async () => {
    expect(await raw("GET /echo/../keyed HTTP/1.1", "Host: h")).toContain("HTTP/1.1 401");
    expect(await raw("GET /echo/%2e%2e/keyed HTTP/1.1", "Host: h")).toContain("HTTP/1.1 401");
    expect(await raw("GET /%6b%65yed HTTP/1.1", "Host: h")).toContain("HTTP/1.1 401");
    await raw("GET /echo/x/../y HTTP/1.1", "Host: h");
    expect(behind.seen.at(-1)?.url).toBe("/y");
  });

  test("a route of a host takes that host alone", async () => {
    expect(await raw("GET /anything HTTP/1.1", "Host: api.example.com:8080")).toContain("HTTP/1.1 200");
    expect(await raw("GET /anything HTTP/1.1", "Host: other.example.com")).toContain("HTTP/1.1 404");
    expect(await raw("GET /anything HTTP/1.1", "Host: api.example.com.")).toContain("HTTP/1.1 200");
    expect(await raw("GET http://api.example.com/anything HTTP/1.1", "Host: other.example.com")).toContain("HTTP/1.1 200");
    expect(await raw("GET http://other.example.com/anything HTTP/1.1", "Host: api.example.com")).toContain("HTTP/1.1 404");
  });
});

describe("a route with rules", () => {
  const app = "https://app.example.com";
  const preflight = (path: string, origin: string, method = "PUT") =>
    fetch(gateway.url + path, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": method, "access-control-request-headers": "x-api-key, content-type" },
    });

  test("sets and removes header fields both ways, on its own errors as well", async () => {
    const answer = await fetch(`${gateway.url}/shared/cookies`, { headers: { ...AUTH, "x-kept": "yes", "x-secret": "s" } });
    expect(behind.seen.at(-1)?.headers).toMatchObject({ "x-gateway": "sluice", "x-kept": "no longer" });
    expect(behind.seen.at(-1)?.headers).not.toHaveProperty("x-secret");
    expect([answer.headers.get("strict-transport-security"), answer.headers.get("x-powered-by"), answer.headers.get("set-cookie")]).toEqual(
      ["max-age=1", null, "a=1, b=2; Path=/"],
    );
    expect((await fetch(`${gateway.url}/shared`)).headers.get("strict-transport-security")).toBe("max-age=1");
    expect((await json("/public")).headers.host).toBe("inner.example.com");
  });

  test("answers preflights without a key and without asking the backend", async () => {
    const before = behind.seen.length;
    const answer = await preflight("/shared/7", app);
    expect([
      answer.status,
      answer.headers.get("access-control-allow-origin"),
      answer.headers.get("access-control-allow-credentials"),
    ]).toEqual([204, app, "true"]);
    expect(answer.headers.get("access-control-allow-methods")).toBe("GET, PUT, HEAD");
    expect(answer.headers.get("access-control-allow-headers")).toBe("x-api-key, content-type");
    expect([answer.headers.get("access-control-max-age"), answer.headers.get("vary")]).toEqual([
      "3600",
      "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    ]);
    const stranger = await preflight("/shared/7", "https://evil.example");
    expect([stranger.status, stranger.headers.get("access-control-allow-origin")]).toEqual([204, null]);
    expect((await preflight("/shared/7", app, "DELETE")).status).toBe(405);
    expect((await preflight("/public", "https://any.example", "PATCH")).headers.get("access-control-allow-methods")).toBe("PATCH");
    expect(behind.seen.length).toBe(before);
    // Without CORS the backend answers for itself.
    await preflight("/echo", app);
    expect(behind.seen.at(-1)?.method).toBe("OPTIONS");
  });

  test("lets pages of its origins read answers and refusals, and others not", async () => {
    for (const [headers, status] of [
      [AUTH, 200],
      [{}, 401],
    ] as const) {
      const answer = await fetch(`${gateway.url}/shared`, { headers: { ...headers, origin: app } });
      expect([answer.status, answer.headers.get("access-control-allow-origin"), answer.headers.get("vary")]).toEqual([
        status,
        app,
        "Origin",
      ]);
      expect(answer.headers.get("access-control-expose-headers")).toContain("X-RateLimit-Remaining");
    }
    expect(
      (await fetch(`${gateway.url}/shared`, { headers: { ...AUTH, origin: "https://evil.example" } })).headers.get(
        "access-control-allow-origin",
      ),
    ).toBeNull();
    expect((await fetch(`${gateway.url}/public`, { headers: { origin: app } })).headers.get("access-control-allow-origin")).toBe("*");
  });
});

describe("a key", () => {
  test("may be in the header or the bearer token, and does not reach the backend", async () => {
    expect((await json("/keyed", { headers: { ...AUTH, authorization: "Basic abc" } })).headers).toMatchObject({
      authorization: "Basic abc",
    });
    expect(behind.seen.at(-1)?.headers).not.toHaveProperty("x-api-key");
    expect((await json("/keyed", { headers: { authorization: `bearer ${KEY}` } })).headers).not.toHaveProperty("authorization");
  });

  test("that is missing, unknown or malformed gives 401 with a challenge; on an optional route only a bad one does", async () => {
    const missing = await fetch(`${gateway.url}/keyed`);
    expect([missing.status, missing.headers.get("www-authenticate"), await code(missing)]).toEqual([
      401,
      'Bearer realm="sluice"',
      "keyMissing",
    ]);
    for (const bad of [
      "nobody-knows-this-key",
      "short",
      "slc_00000000000000000000000000000000000000",
      "slc_cut0ff000000000",
      "x".repeat(600),
      "a key of words",
    ]) {
      const answer = await fetch(`${gateway.url}/maybe`, { headers: { "x-api-key": bad } });
      expect([answer.status, await code(answer)]).toEqual([401, bad === "nobody-knows-this-key" ? "keyInvalid" : "keyMalformed"]);
    }
    expect((await fetch(`${gateway.url}/maybe`)).status).toBe(200);
    expect((await json("/maybe", { headers: AUTH })).headers["x-consumer-id"]).toBe("tester");
  });

  test("without the scope that a route asks for gives 403", async () => {
    const answer = await fetch(`${gateway.url}/vip`, { headers: AUTH });
    expect([answer.status, await code(answer)]).toEqual([403, "forbidden"]);
  });
});
