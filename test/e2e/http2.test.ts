import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import type http2 from "node:http2";
import { join } from "node:path";
import { FRAME } from "../../src/http/h2/frames.ts";
import { type Backend, backend } from "../support/backend.ts";
import { ask, FrameConnection, frame, http2To } from "../support/http2.ts";
import { ADMIN_TOKEN, type Folder, folder, freePort, type Running, run, start } from "../support/process.ts";
import { startAll } from "../support/processes.ts";
import { scripted } from "../support/relay.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../support/tls.ts";
import { until } from "../support/until.ts";

const KEY = "a-key-for-the-tests-0123456789";

let gateway: Running;
let behind: Backend;
let dying: ReturnType<typeof scripted>;
let chunked: ReturnType<typeof scripted>;
let home: Folder;

const open = (name: string, path: string, upstream: string, more: object = {}) => ({ name, path, upstream, auth: "none", ...more });
const configOf = (server: object = {}) => ({
  server: { maxBodySize: "200mb", maxHeaderSize: "4kb", ...server },
  logging: { format: "json" },
  tiers: { anonymous: { limits: [] }, plain: { limits: [{ algorithm: "fixed-window", limit: 3, window: "1h" }] } },
  consumers: [{ id: "tester", tier: "plain", keys: [KEY] }],
  routes: [
    open("echo", "/echo", behind.url),
    open("kept", "/upload", behind.url, { stripPrefix: false }),
    open("small", "/small", behind.url, { maxBodySize: "1kb" }),
    { name: "keyed", path: "/keyed", upstream: behind.url },
    open("slow", "/slow", behind.url, { timeout: "150ms" }),
    open("dying", "/dying", `http://127.0.0.1:${dying.port}`, { retry: { attempts: 1 } }),
    open("chunked", "/chunked", `http://127.0.0.1:${chunked.port}`),
    open("shared", "/shared", behind.url, {
      cors: { origins: ["https://app.example.com"] },
      headers: { response: { set: { "Strict-Transport-Security": "max-age=1" }, remove: ["X-Powered-By"] } },
    }),
    open("cached", "/cached", behind.url, { cache: { ttl: "5m" } }),
    open("hosted", "/", behind.url, { hosts: ["Api.Example.com"] }),
  ],
});

beforeAll(async () => {
  behind = backend();
  dying = scripted(["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", null]);
  chunked = scripted([
    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nKeep-Alive: timeout=5\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n",
  ]);
  home = folder();
  writeFileSync(join(home.path, "cert.pem"), CERTIFICATE);
  writeFileSync(join(home.path, "key.pem"), PRIVATE_KEY);
  gateway = await start({ config: configOf() });
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  home[Symbol.dispose]();
  for (const one of [behind, dying, chunked]) one[Symbol.dispose]();
});

const get = (session: http2.ClientHttp2Session, path: string, headers: http2.OutgoingHttpHeaders = {}) =>
  ask(session, { ":path": path, ...headers });

describe("a gateway in HTTP/2", () => {
  test("sends a request on as it would one of HTTP/1.1, and gives the same fields back", async () => {
    using session = http2To(gateway.url);
    const answer = await get(session, "/echo/a%20b?x=1&x=2", {
      "x-a": "1",
      "x-forwarded-for": "203.0.113.9",
      te: "trailers",
      cookie: ["a=1", "b=2"],
    });
    expect(answer.status).toBe(200);
    const { method, url, headers } = JSON.parse(answer.body);
    expect([method, url]).toEqual(["GET", "/a%20b?x=1&x=2"]);
    expect(headers).toMatchObject({
      "x-a": "1",
      cookie: "a=1; b=2",
      te: "trailers",
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "http",
      "x-forwarded-host": `127.0.0.1:${gateway.port}`,
      host: `127.0.0.1:${behind.port}`,
      "x-request-id": answer.headers["x-request-id"],
    });
    expect(Object.keys(headers).some((name) => name.startsWith(":"))).toBe(false);
    expect(Number(answer.headers["x-process-time"])).toBeGreaterThan(0);
    const plain = await fetch(`${gateway.url}/echo/a%20b?x=1&x=2`);
    const names = (all: Iterable<string>) => [...all].filter((name) => !name.startsWith(":") && name !== "connection").sort();
    expect(names(Object.keys(answer.headers))).toEqual(names(plain.headers.keys()));
  });

  test("finds routes by host, and answers what it has no route for", async () => {
    using session = http2To(gateway.url);
    expect((await get(session, "/x", { ":authority": "api.example.com" })).status).toBe(200);
    const missing = await get(session, "/x");
    expect([missing.status, missing.headers["content-type"]]).toEqual([404, "application/problem+json"]);
    expect(JSON.parse(missing.body)).toMatchObject({ code: "routeNotFound", requestId: missing.headers["x-request-id"] });
    expect((await get(session, "/echo/%2e%2e/x")).status).toBe(404);
    expect((await get(session, "/echo/a%2fb")).status).toBe(400);
    expect((await get(session, "/echo", { ":method": "TRACE" })).status).toBe(405);
    expect((await get(session, "/health")).status).toBe(200);
  });

  test("asks for keys, and counts limits together with those of HTTP/1.1", async () => {
    using session = http2To(gateway.url);
    expect(JSON.parse((await get(session, "/keyed/x")).body).code).toBe("keyMissing");
    const key = { "x-api-key": KEY };
    const first = await get(session, "/keyed/x", key);
    expect([first.status, first.headers["x-ratelimit-remaining"]]).toEqual([200, "2"]);
    expect((await fetch(`${gateway.url}/keyed/x`, { headers: key })).headers.get("x-ratelimit-remaining")).toBe("1");
    expect((await get(session, "/keyed/x", key)).status).toBe(200);
    const denied = await get(session, "/keyed/x", key);
    expect([denied.status, Number(denied.headers["retry-after"]) > 0]).toEqual([429, true]);
  });

  test("carries content both ways", async () => {
    using session = http2To(gateway.url);
    const content = Buffer.alloc(20_000_000, "0123456789abcdef-");
    const uploaded = await ask(session, { ":path": "/upload", ":method": "POST" }, content);
    expect(JSON.parse(uploaded.body)).toEqual({ size: content.length, sha256: createHash("sha256").update(content).digest("hex") });
    expect((await get(session, "/echo/download?mb=20")).body.length).toBe(20 * 1_048_576);
    const zipped = await get(session, "/echo/gzip");
    expect([zipped.headers["content-encoding"], zipped.headers["content-type"]]).toEqual(["gzip", "text/plain"]);
    const head = await get(session, "/echo/status?body=12345", { ":method": "HEAD" });
    expect([head.status, head.headers["content-length"], head.body]).toEqual([200, "5", ""]);
    await until(() => gateway.output().includes('"method":"HEAD"'));
    expect(gateway.output()).not.toContain('"aborted":true');
  });

  test("refuses content that is too large, stated or not", async () => {
    using session = http2To(gateway.url);
    for (const headers of [{}, { "content-length": "5000" }]) {
      const answer = await ask(session, { ":path": "/small/x", ":method": "POST", ...headers }, Buffer.alloc(5000)).catch((error) => error);
      expect(JSON.parse(answer.body)).toMatchObject({ code: "bodyTooLarge" });
    }
  });

  test("passes interim answers and trailers on, and no fields of HTTP/1.1's connections", async () => {
    using session = http2To(gateway.url);
    const stream = session.request({ ":path": "/chunked" });
    const seen: Record<string, unknown> = {};
    stream.on("headers", (fields) => Object.assign(seen, { hint: fields.link }));
    stream.on("response", (fields) =>
      Object.assign(seen, { status: fields[":status"], trailer: fields.trailer, keepAlive: fields["keep-alive"] }),
    );
    stream.on("trailers", (fields) => Object.assign(seen, { sum: fields["x-sum"] }));
    await new Promise((resolve) => stream.on("close", resolve).resume());
    expect(seen).toEqual({ hint: "</a.css>", status: 200, trailer: "X-Sum", keepAlive: undefined, sum: "42" });
  });

  test("applies the rules of a route, and answers preflights", async () => {
    using session = http2To(gateway.url);
    const answer = await get(session, "/shared/cookies", { origin: "https://app.example.com" });
    expect(answer.headers).toMatchObject({
      "set-cookie": ["a=1", "b=2; Path=/"],
      "strict-transport-security": "max-age=1",
      "access-control-allow-origin": "https://app.example.com",
      "x-upstream-request-id": "the-backend's",
    });
    expect(answer.headers["x-powered-by"]).toBeUndefined();
    const preflight = { ":method": "OPTIONS", origin: "https://app.example.com", "access-control-request-method": "PUT" };
    expect((await get(session, "/shared/x", preflight)).status).toBe(204);
  });

  test("serves from the cache what HTTP/1.1 has fetched, and the other way round", async () => {
    using session = http2To(gateway.url);
    await (await fetch(`${gateway.url}/cached/one`)).text();
    expect((await get(session, "/cached/one")).headers["cache-status"]).toContain("hit");
    await get(session, "/cached/two");
    expect((await fetch(`${gateway.url}/cached/two`)).headers.get("cache-status")).toContain("hit");
  });

  test("aborts the request to the backend when its stream is reset", async () => {
    using session = http2To(gateway.url);
    const stream = session.request({ ":path": "/echo/hang" });
    stream.on("error", () => {});
    const count = behind.seen.length;
    await until(() => behind.seen.length > count);
    const aborted = behind.aborted();
    stream.close(8);
    await aborted;
    expect((await get(session, "/health")).status).toBe(200);
    // In the log it is as if the connection had been closed.
    await until(() => gateway.output().includes('"status":499'));
  });

  test("tells a backend that dies apart: before the answer 502, within it a reset", async () => {
    using session = http2To(gateway.url);
    await expect(get(session, "/dying")).rejects.toThrow();
    expect((await get(session, "/slow/slow?ms=5000")).status).toBe(504);
    expect((await get(session, "/health")).status).toBe(200);
  });

  test("refuses fields that are too large with 431", async () => {
    using session = http2To(gateway.url);
    const answer = await get(session, "/echo", { "x-a": "a".repeat(5000) });
    expect([answer.status, JSON.parse(answer.body).code]).toEqual([431, "headersTooLarge"]);
  });

  test("lets a WebSocket and HTTP/1.1 by on the same port", async () => {
    using session = http2To(gateway.url);
    const socket = new WebSocket(`${gateway.url.replace("http", "ws")}/echo/ws`, ["chat"]);
    const message = Promise.withResolvers<unknown>();
    socket.onmessage = ({ data }) => message.resolve(data);
    socket.onopen = () => socket.send("hello");
    expect([await message.promise, (await get(session, "/health")).status]).toEqual(["hello", 200]);
    socket.close();
  });

  test("serves the admin API, and counts and logs a client that is cut off", async () => {
    using session = http2To(gateway.url);
    const admin = { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" };
    const made = await ask(
      session,
      { ":path": "/admin/consumers", ":method": "POST", ...admin },
      JSON.stringify({ id: "bob", tier: "plain" }),
    );
    expect(made.status).toBe(201);
    const client = await FrameConnection.open(gateway.port);
    client.write(Buffer.concat(Array.from({ length: 1000 }, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8)))));
    expect(await client.goAwayCode()).toBe(11);
    client.close();
    expect((await get(session, "/metrics")).body).toContain('sluice_http2_cut_off_total{why="pings"} 1');
    await until(() => gateway.output().includes('"why":"pings"'));
  });
});

describe("over TLS", () => {
  const server = { tls: { cert: "cert.pem", key: "key.pem" } };
  const requestOf = (session: http2.ClientHttp2Session) =>
    get(session, "/echo/x").then(({ body }) => JSON.parse(body).headers["x-forwarded-proto"]);

  test("HTTP/2 is agreed on by ALPN", async () => {
    await using secure = await start({ cwd: home.path, config: configOf(server), tls: CERTIFICATE });
    using session = http2To(secure.url, { ca: CERTIFICATE });
    expect([await requestOf(session), session.alpnProtocol]).toEqual(["https", "h2"]);
    const plain = await fetch(`${secure.url}/echo/x`, { tls: { ca: CERTIFICATE } });
    expect(plain.status).toBe(200);
  });

  test("with http2 false it is not", async () => {
    await using secure = await start({ cwd: home.path, config: configOf({ tls: { ...server.tls, http2: false } }), tls: CERTIFICATE });
    using session = http2To(secure.url, { ca: CERTIFICATE });
    await until(() => session.destroyed);
    expect((await fetch(`${secure.url}/echo/x`, { tls: { ca: CERTIFICATE } })).status).toBe(200);
  });

  test("with workers all is the same, also what the keeper answers", async () => {
    await using secure = await startAll({ cwd: home.path, config: configOf({ ...server, workers: 2 }), tls: CERTIFICATE });
    const sessions = Array.from({ length: 4 }, () => http2To(secure.url, { ca: CERTIFICATE }));
    const statuses = await Promise.all(sessions.map(async (session) => [await requestOf(session), (await get(session, "/ready")).status]));
    expect(statuses).toEqual(sessions.map(() => ["https", 200]));
    const admin = { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" };
    const session = sessions[0] as http2.ClientHttp2Session;
    const made = await ask(
      session,
      { ":path": "/admin/consumers", ":method": "POST", ...admin },
      JSON.stringify({ id: "eve", tier: "plain" }),
    );
    expect(made.status).toBe(201);
    expect(JSON.parse((await get(session, "/admin/consumers/eve", admin)).body)).toMatchObject({ id: "eve" });
    expect((await get(session, "/metrics", admin)).body).toContain("http_requests_total");
    for (const one of sessions) one.destroy();
  });

  test("a stop lets what is under way end, and tells the client first", async () => {
    const secure = await start({ cwd: home.path, config: configOf(server), tls: CERTIFICATE });
    using session = http2To(secure.url, { ca: CERTIFICATE });
    const slow = get(session, "/echo/slow?ms=1000");
    const told = new Promise((resolve) => session.on("goaway", resolve));
    const count = behind.seen.length;
    await until(() => behind.seen.length > count);
    const stopped = secure.stop();
    expect(await told).toBe(0);
    expect((await slow).body).toBe("late");
    expect(await stopped).toBe(0);
  });
});

test("the setting is checked like any other", async () => {
  const port = freePort();
  writeFileSync(
    join(home.path, "config.json"),
    JSON.stringify({ server: { port, tls: { cert: "cert.pem", key: "key.pem", http2: "yes" } } }),
  );
  const { status, stdout, stderr } = await run(["check"], { cwd: home.path });
  expect(status).toBe(1);
  expect(stdout + stderr).toContain("server.tls.http2");
});
