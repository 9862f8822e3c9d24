import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer } from "node:http2";
import { loadConfig } from "../../src/config/load.ts";
import { formatFault } from "../../src/schema/faults.ts";
import { backend } from "../support/backend.ts";
import { exchange } from "../support/raw.ts";
import { serving } from "../support/serving.ts";

const KEY = "a-key-for-the-tests-0123456789";
const behind = backend();
let gateway: ReturnType<typeof serving>;

const gone = (name: string, path: string, respond: object, more: object = {}) => ({ name, path, auth: "none", respond, ...more });

beforeAll(() => {
  gateway = serving({
    tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
    consumers: [{ id: "tester", tier: "plain", keys: [KEY] }],
    routes: [
      gone("closed", "/closed", { status: 503, headers: { "Retry-After": "3600" }, body: "Back at noon.\n" }),
      gone("json", "/json", { body: { down: true, until: ["noon", 12] } }),
      gone("typed", "/typed", { headers: { "content-type": "text/html" }, body: "<p>No.</p>" }),
      gone("empty", "/empty", { status: 204 }),
      gone("moved", "/old/place", { status: 308, headers: { Location: "https://new.example.com{path}{query}" } }),
      gone("below", "/v1", { status: 301, headers: { Location: "/v2{rest}{query}" } }, { methods: ["GET"] }),
      gone("host", "/tls", { status: 301, headers: { location: "https://{host}{path}{query}" } }),
      gone("kept", "/kept", { body: "kept" }, { auth: "required" }),
      gone("few", "/few", { body: "few" }, { limits: [{ algorithm: "fixed-window", limit: 1, window: "1h", by: "ip" }] }),
      gone("pages", "/pages", { body: "for pages" }, { cors: { origins: ["https://app.example.com"] } }),
      gone("ruled", "/ruled", { headers: { "X-A": "own" }, body: "r" }, { headers: { response: { set: { "x-a": "rule" } } } }),
      { name: "back", path: "/back", auth: "none", upstream: behind.url },
    ],
  });
});

afterAll(async () => {
  await gateway.stop();
  behind[Symbol.dispose]();
});

const ask = (path: string, init: RequestInit = {}) => fetch(`${gateway.url}${path}`, { redirect: "manual", ...init });

describe("a route that answers by itself", () => {
  test("gives its status, fields and text, whatever the method and the path below it", async () => {
    for (const method of ["GET", "POST", "DELETE", "OPTIONS"]) {
      const answer = await ask("/closed/for/today", { method, ...(method === "POST" ? { body: "unread" } : {}) });
      expect([answer.status, answer.headers.get("retry-after"), await answer.text()]).toEqual([503, "3600", "Back at noon.\n"]);
      expect(answer.headers.get("content-type")).toBe("text/plain; charset=utf-8");
      expect(answer.headers.get("date")).not.toBeNull();
      expect(answer.headers.get("x-request-id")).not.toBeNull();
    }
  });

  test("answers HEAD with the head alone, and the length that GET has", async () => {
    const { statusCode, headers, text } = await raw("HEAD", "/closed");
    expect([statusCode, headers.get("content-length"), text]).toEqual([503, "14", ""]);
  });

  test("sends an object as JSON, a text as the type that it names, and nothing for 204", async () => {
    const json = await ask("/json");
    expect([json.headers.get("content-type"), await json.json()]).toEqual(["application/json", { down: true, until: ["noon", 12] }]);
    const typed = await ask("/typed");
    expect([typed.headers.get("content-type"), await typed.text()]).toEqual(["text/html", "<p>No.</p>"]);
    const empty = await raw("GET", "/empty");
    expect([empty.statusCode, empty.headers.get("content-length"), empty.headers.get("content-type"), empty.text]).toEqual([
      204,
      null,
      null,
      "",
    ]);
  });

  test("leads to another place with path and query, or with what is below the route", async () => {
    const places = ["/old/place/a%20b?x=1&y={path}", "/v1/users/7?x=1", "/v1", "/v1//x/../users"].map(async (path) => {
      const answer = await ask(path);
      return [answer.status, answer.headers.get("location")];
    });
    expect(await Promise.all(places)).toEqual([
      [308, "https://new.example.com/old/place/a%20b?x=1&y={path}"],
      [301, "/v2/users/7?x=1"],
      [301, "/v2"],
      [301, "/v2/users"],
    ]);
    const host = await raw("GET", "/tls/x?y", "api.example.com:8080");
    expect(host.headers.get("location")).toBe("https://api.example.com:8080/tls/x?y");
  });

  test("never leads to a host that its caller has chosen", async () => {
    const other = serving({
      routes: [
        gone("all", "/", { status: 301, headers: { Location: "{path}" } }),
        gone("page", "/page", { status: 301, headers: { Location: "/{query}/index.html" } }),
      ],
    });
    const leads = async (target: string) => {
      const answer = await exchange(other.port, `GET ${target} HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n`);
      return /^location: (.*)\r$/im.exec(answer)?.[1] ?? answer.split("\r\n")[0];
    };
    expect(await leads("//evil.example.com/x")).toBe("/evil.example.com/x");
    expect(await leads("http://a.example.com//evil.example.com")).toBe("/evil.example.com");
    expect(await leads("/%5cevil.example.com")).toContain(" 400 ");
    expect(await leads("/\t/evil.example.com")).toContain(" 400 ");
    expect(await leads("/page")).toBe("/index.html");
    await other.stop();
  });

  test("is guarded as any other: keys, limits, methods, rules for fields, CORS", async () => {
    expect((await ask("/kept")).status).toBe(401);
    const kept = await ask("/kept", { headers: { "x-api-key": KEY } });
    expect([kept.status, await kept.text()]).toEqual([200, "kept"]);
    expect([(await ask("/few")).status, (await ask("/few")).status]).toEqual([200, 429]);
    expect((await ask("/v1", { method: "POST" })).status).toBe(405);
    expect((await ask("/ruled")).headers.get("x-a")).toBe("rule");
    const headers = { origin: "https://app.example.com" };
    expect((await ask("/pages", { headers })).headers.get("access-control-allow-origin")).toBe("https://app.example.com");
    const preflight = await ask("/pages", { method: "OPTIONS", headers: { ...headers, "access-control-request-method": "GET" } });
    expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([204, "https://app.example.com"]);
  });

  test("tells a caller of gRPC by a status that it understands", async () => {
    const post = (path: string) => ask(path, { method: "POST", headers: { "content-type": "application/grpc" } });
    const closed = await post("/closed");
    expect([closed.status, closed.headers.get("content-type"), closed.headers.get("grpc-status")]).toEqual([200, "application/grpc", "14"]);
    expect([closed.headers.get("grpc-message"), closed.headers.get("retry-after")]).toEqual(["Back at noon.%0A", "3600"]);
    expect((await post("/json")).headers.get("grpc-status")).toBe("12");
  });

  test("is counted, explained and shown", async () => {
    await ask("/typed");
    const metrics = await gateway.admin("GET", "/metrics").then((answer) => answer.text());
    expect(metrics).toMatch(/http_requests_total\{route="typed",method="GET",status="200"\} \d/);
    // As the status that a call of gRPC ended with counts.
    expect(metrics).toMatch(/http_requests_total\{route="closed",method="POST",status="503"\} \d/);
    const walked = await gateway.admin("POST", "/admin/explain/request", { method: "GET", target: "/old/place/x" });
    expect(await walked.json()).toMatchObject({
      refusal: null,
      forwarded: null,
      steps: expect.arrayContaining([
        {
          step: "target",
          passed: true,
          detail: "Sluice itself answers, by the route's respond: 308 to https://new.example.com{path}{query}",
        },
      ]),
    });
    const explained = await gateway.admin("GET", "/admin/explain?route=closed");
    expect(await explained.json()).toMatchObject({ refusal: null });
    const shown = await gateway.admin("GET", "/admin/routes/moved").then((answer) => answer.json());
    expect(shown).toMatchObject({ upstream: null, respond: { status: 308, body: null } });
  });

  test("takes a running upstream's place by the admin API, and gives it back", async () => {
    const named = { name: "shop", path: "/shop", auth: "none" };
    expect((await gateway.admin("POST", "/admin/routes", named)).status).toBe(422);
    expect((await gateway.admin("POST", "/admin/routes", { ...named, upstream: behind.url })).status).toBe(201);
    const closed = { upstream: null, respond: { status: 503, body: "closed" } };
    expect((await gateway.admin("PATCH", "/admin/routes/shop", closed)).status).toBe(200);
    expect(await ask("/shop").then((answer) => answer.text())).toBe("closed");
    expect((await gateway.admin("PATCH", "/admin/routes/shop", { upstream: behind.url, respond: null })).status).toBe(200);
    expect((await ask("/shop")).status).toBe(200);
  });
});

describe("addPrefix", () => {
  test("goes before the path of WebSockets, and of backends that speak HTTP/2", async () => {
    const paths: unknown[] = [];
    const http2 = createServer((request, response) => {
      paths.push(request.url);
      response.end("fine");
    });
    await new Promise<void>((resolve) => http2.listen(0, "127.0.0.1", resolve));
    const { port } = http2.address() as { port: number };
    const other = serving({
      upstreams: { newer: { targets: [{ url: `http://127.0.0.1:${port}` }], protocol: "h2c" } },
      routes: [
        { path: "/socket", auth: "none", upstream: behind.url, addPrefix: "/ws" },
        { path: "/newer", auth: "none", upstream: "newer", addPrefix: "/v2" },
      ],
    });
    const socket = new WebSocket(`${other.url.replace("http", "ws")}/socket`, "chat");
    await new Promise<void>((resolve, reject) => {
      socket.onopen = () => resolve();
      socket.onerror = () => reject(new Error("not opened"));
    });
    socket.close();
    expect(await fetch(`${other.url}/newer/7?x`).then((answer) => answer.text())).toBe("fine");
    expect(paths).toEqual(["/v2/7?x"]);
    await other.stop();
    http2.close();
  });

  test("stands before what is forwarded, with and without the route's own path, behind the target's", async () => {
    const target = (more: object) => ({ auth: "none", upstream: `${behind.url}/base`, ...more });
    const other = serving({
      routes: [
        target({ path: "/api/users", addPrefix: "/v2" }),
        target({ path: "/whole", addPrefix: "/v2/", stripPrefix: false }),
        target({ path: "/plain" }),
      ],
    });
    const before = behind.seen.length;
    for (const path of ["/api/users/7?a=b", "/api/users", "/api/users/", "/whole/7", "/plain/7", "/api/users;v=1/7%2e"])
      await fetch(`${other.url}${path}`);
    expect(behind.seen.slice(before).map(({ url }) => url)).toEqual([
      "/base/v2/7?a=b",
      "/base/v2",
      "/base/v2/",
      "/base/v2/whole/7",
      "/base/7",
      "/base/v2/7.",
    ]);
    const walked = await other.admin("POST", "/admin/explain/request", { method: "GET", target: "/api/users/7" });
    expect(await walked.json()).toMatchObject({ forwarded: `GET ${behind.url}/base/v2/7` });
    await other.stop();
  });
});

test("what can't be meant is a fault at its place", () => {
  const faults = (more: object) => {
    const loaded = loadConfig(JSON.stringify({ routes: [{ path: "/a", ...more }] }), {});
    return "faults" in loaded ? loaded.faults.map((fault) => formatFault("c", fault).replace(/^c:\d+:\d+ routes\[0\]\.?/, "")) : [];
  };
  const url = "http://127.0.0.1:1";
  expect(faults({})).toEqual([expect.stringContaining('upstream: is required, or "respond" in its place')]);
  expect(faults({ upstream: url, respond: {} })).toEqual(["respond: stands beside upstream: a route has one of them"]);
  for (const status of [101, 199, 600, 200.5]) expect(faults({ respond: { status } })).toHaveLength(1);
  for (const status of [204, 304]) expect(faults({ respond: { status, body: "x" } })).toHaveLength(1);
  expect(faults({ respond: { status: 302 } })).toEqual([expect.stringContaining("is a redirect: say where to")]);
  for (const name of ["Content-Length", "transfer-encoding", "Connection", "X-Request-ID", "Date"])
    expect(faults({ respond: { headers: { [name]: "1" } } })).toEqual([
      `respond.headers${/-/.test(name) ? `.${name}` : `.${name}`}: is Sluice's own to set`,
    ]);
  expect(faults({ respond: { headers: { "X-A": "a\r\nb: c" } } })).toHaveLength(1);
  expect(faults({ respond: { headers: { "X A": "a" } } })).toHaveLength(1);
  expect(faults({ respond: { headers: { "X-A": "a", "x-a": "b" } } })).toEqual(["respond.headers.x-a: stands here twice"]);
  expect(faults({ respond: { body: 7 } })).toEqual(["respond.body: must be text, an object, a list or null, got 7"]);
  for (const Location of ["https://a.example.com/{pfad}", "/{path", "/path}", "{rest}", "{host}", "", "/a b"])
    expect(faults({ respond: { status: 301, headers: { Location } } })).toHaveLength(1);
  for (const Location of ["/{rest}", "/{path}", "//{path}", "/{query}{rest}", "https:{path}", "HTTPS://{rest}", "http:/{query}{path}"])
    expect(faults({ respond: { status: 301, headers: { Location } } })).toEqual([expect.stringContaining('must not have "/" or a bare')]);
  for (const Location of ["{path}", "/v2{rest}", "https://a.example.com{rest}", "//{host}{path}", "https://{host}{path}{query}"])
    expect(faults({ respond: { status: 301, headers: { Location } } })).toEqual([]);
  const forwarding = {
    timeout: "5s",
    cache: { ttl: "1m" },
    retry: null,
    addPrefix: "/v2",
    stripPrefix: false,
    host: "preserve",
    slashes: "keep",
  };
  expect(faults({ respond: {}, ...forwarding })).toHaveLength(Object.keys(forwarding).length);
  expect(faults({ respond: {}, headers: { request: { remove: ["A"] } } })).toHaveLength(1);
  for (const addPrefix of ["v2", "/", "/a//b", "/a/../b", "/a?b", "/{id}", "/a b", "/a%2fb"])
    expect(faults({ upstream: url, addPrefix })).toHaveLength(1);
  expect(faults({ upstream: url, addPrefix: "/v2" })).toEqual([]);
});

async function raw(method: string, path: string, host = "127.0.0.1") {
  const text = await exchange(gateway.port, `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  const [head = "", ...body] = text.split("\r\n\r\n");
  const [line = "", ...fields] = head.split("\r\n");
  const headers = new Headers(
    fields.map((field) => field.split(/:\s*/, 2) as [string, string]).filter(([name]) => name.toLowerCase() !== "location"),
  );
  const location = fields.find((field) => /^location:/i.test(field));
  if (location !== undefined) headers.set("location", location.replace(/^location:\s*/i, ""));
  return { statusCode: Number(line.split(" ")[1]), headers, text: body.join("\r\n\r\n") };
}
