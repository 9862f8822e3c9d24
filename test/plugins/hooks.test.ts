import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { backend } from "../support/backend.ts";
import { collector } from "../support/collector.ts";
import { type Line, servingPlugins } from "../support/plugins.ts";

/** One plug-in with a hook for each of the paths that the tests ask for. */
const PLUGIN = `
import type { Plugin } from "sluice";
import { greeting } from "./lib/greeting";

export default {
  name: "tried",
  async request(request, context) {
    const { pathname } = new URL(request.url);
    switch (pathname) {
      case "/r/set":
        request.headers.set("X-Tenant", greeting);
        request.headers.append("X-Many", "1");
        request.headers.append("X-Many", "2");
        request.headers.delete("X-Gone");
        break;
      case "/r/own":
        for (const name of ["Content-Length", "Transfer-Encoding", "Connection", "Host", "X-Forwarded-For", "X-Consumer-ID", "X_Request_ID", "X-Real-IP", "X-User-Email"])
          request.headers.set(name, "mine");
        break;
      case "/r/state":
        context.state.seen = "by request";
        break;
      case "/r/answer":
        return new Response("stop here", { status: 403, headers: [["x-why", "because"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]] });
      case "/r/stream":
        return new Response(new ReadableStream({
          async pull(controller) { await new Promise((done) => setTimeout(done, 5)); controller.enqueue("part;"); if (++parts === 3) controller.close(); },
        }));
      case "/r/legacy":
        request.headers.set("X-API-Key", request.headers.get("X-Old-Key") ?? "");
        break;
      case "/r/throws":
        request.headers.set("X-Half", "done");
        throw new Error("no such tenant");
      case "/r/hangs":
        await new Promise(() => {});
        break;
      case "/r/nonsense":
        return 42 as never;
      case "/r/fetched":
        return fetch(request.headers.get("X-Url") ?? "");
      case "/r/odd":
        return Object.create(Response.prototype);
      case "/r/unspeakable":
        throw { toString() { throw new Error("x"); } };
      case "/r/breaks":
        return new Response(new ReadableStream({
          async pull(controller) { if (broke++ === 0) controller.enqueue("part;"); else { await new Promise((done) => setTimeout(done, 5)); throw new Error("half way"); } },
        }, { highWaterMark: 0 }));
      case "/r/logs":
        context.log.info("told", { level: "fatal", time: 7, msg: "other", other: 1 });
        break;
      case "/r/used": {
        const response = new Response("x");
        await response.text();
        return response;
      }
      case "/r/inspect": {
        const { method, url } = request;
        const { ip, route, requestId, caller } = context;
        return Response.json({ method, url, headers: Object.fromEntries(request.headers), isRequest: request instanceof Request, ip, route, requestId, caller });
      }
      case "/r/clone": {
        const own = request.clone();
        own.headers.set("X-Clone", "1");
        return Response.json({ method: own.method, url: own.url, clone: own.headers.get("X-Clone"), own: request.headers.get("X-Clone"), body: await own.text() });
      }
    }
    return undefined;
  },
  admit(request, context) {
    if (request.url.endsWith("/r/who")) return Response.json({ caller: context.caller, state: context.state });
    if (request.url.endsWith("/r/state")) return Response.json(context.state);
    if (request.url.endsWith("/r/authorization")) request.headers.set("Authorization", "Bearer of-the-backend");
    return undefined;
  },
  async ended(summary, context) {
    context.log.info("ended", { summary });
    await new Promise(() => {});
  },
} satisfies Plugin;
let parts = 0;
let broke = 0;
`;

let gateway: Awaited<ReturnType<typeof servingPlugins>>;
let behind: ReturnType<typeof backend>;
const KEY = "a-declared-key-0123456789";

beforeAll(async () => {
  behind = backend();
  const to = { upstream: behind.url, auth: "none", stripPrefix: false, retry: null };
  gateway = await servingPlugins(
    { "plugins/tried.ts": PLUGIN, "plugins/lib/greeting.ts": 'export const greeting: string = "acme";\n' },
    {
      tiers: { small: { limits: [] } },
      issuers: {
        main: {
          issuer: "https://id.example.com",
          audience: ["api"],
          secret: "a-secret-of-at-least-32-characters",
          headers: { "X-User-Email": "email" },
          tier: { default: "small" },
        },
      },
      routes: [
        { path: "/r", ...to, auth: "optional", plugins: [{ file: "./plugins/tried.ts", timeout: "100ms" }] },
        { path: "/plain", ...to },
      ],
      consumers: [{ id: "acme", tier: "small", keys: [KEY] }],
    },
  );
});
afterAll(async () => {
  await gateway.stop();
  behind[Symbol.dispose]();
});

const ask = (path: string, init: RequestInit = {}) => fetch(gateway.url + path, init);
const seen = async (path: string, init: RequestInit = {}): Promise<Record<string, string>> => {
  const answer = await ask(path, init);
  expect(answer.status).toBe(200);
  return ((await answer.json()) as { headers: Record<string, string> }).headers;
};
const lineOf = async (isMeant: (line: Line) => boolean): Promise<Line | undefined> => (await gateway.logged()).find(isMeant);

describe("a plug-in's request hook", () => {
  test("changes the headers that the backend gets", async () => {
    const headers = await seen("/r/set", { headers: { "X-Gone": "yes", "X-Stays": "yes" } });
    expect(headers).toMatchObject({ "x-tenant": "acme", "x-many": "1, 2", "x-stays": "yes" });
    expect(headers).not.toHaveProperty("x-gone");
  });

  test("can't touch what frames the message, is this hop's, or is Sluice's own, and that is logged once", async () => {
    for (const _ of [1, 2]) {
      const headers = await seen("/r/own", { method: "POST", body: "four" });
      expect(headers).toMatchObject({ "content-length": "4", host: `127.0.0.1:${behind.port}`, "x-forwarded-for": "127.0.0.1" });
      expect(Object.values(headers)).not.toContain("mine");
    }
    const told = (await gateway.logged()).filter(({ msg }) => msg.startsWith("this header field is not a plug-in's to set"));
    expect(told.map(({ field }) => field).filter((field) => field === "host")).toHaveLength(1);
    // Where a request came from is told by proxies alone, and what an issuer says by its tokens.
    expect(told.map(({ field }) => field)).toEqual(expect.arrayContaining(["x-real-ip", "x-user-email"]));
    expect(told[0]).toMatchObject({ level: "warn", plugin: "tried" });
  });

  test("answers in the backend's place, with its headers and a length", async () => {
    const before = behind.seen.length;
    const answer = await ask("/r/answer");
    expect(answer.status).toBe(403);
    expect(await answer.text()).toBe("stop here");
    expect(answer.headers.get("x-why")).toBe("because");
    expect(answer.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect(answer.headers.get("content-length")).toBe("9");
    expect(answer.headers.get("date")).not.toBeNull();
    expect(answer.headers.get("x-request-id")).not.toBeNull();
    expect((await ask("/r/answer", { method: "HEAD" })).headers.get("content-length")).toBe("9");
    expect(behind.seen.length).toBe(before);
  });

  test("answers piece by piece where its Response is a stream", async () => {
    const answer = await ask("/r/stream");
    expect(answer.headers.get("content-length")).toBeNull();
    expect(await answer.text()).toBe("part;part;part;");
  });

  test("answers with what it has fetched, decoded and said to be so", async () => {
    await using encoding = Bun.serve({
      ...{ port: 0, hostname: "127.0.0.1" },
      fetch: () => new Response(Bun.gzipSync("fetched"), { headers: { "content-encoding": "gzip", "x-kept": "1" } }),
    });
    const answer = await fetch(`${gateway.url}/r/fetched`, { headers: { "X-Url": encoding.url.href }, decompress: false });
    expect([await answer.text(), answer.headers.get("content-encoding"), answer.headers.get("x-kept")]).toEqual(["fetched", null, "1"]);
  });

  test("whose stream breaks off is named in the log", async () => {
    const answer = await ask("/r/breaks", { headers: { "X-Request-ID": "broke-off" } });
    expect(await answer.text().catch(() => "broken off")).toBe("broken off");
    const line = async () => lineOf(({ msg, requestId }) => msg === "request" && requestId === "broke-off");
    while ((await line()) === undefined) await Bun.sleep(5);
    expect((await line())?.error).toBe("plug-in tried, request: its Response broke off: half way");
  });

  test("logs no second level, time or message into a line", async () => {
    await ask("/r/logs");
    const line = await lineOf(({ msg }) => msg === "told");
    expect(line).toMatchObject({ level: "info", level_: "fatal", time: expect.any(String), time_: 7, msg_: "other", other: 1 });
  });

  test("comes before anybody is identified, so that it can put a key where Sluice finds it", async () => {
    expect((await ask("/r/legacy", { headers: { "X-Old-Key": "wrong-key-0123456789" } })).status).toBe(401);
    const headers = await seen("/r/legacy", { headers: { "X-Old-Key": KEY } });
    expect(headers["x-consumer-id"]).toBe("acme");
    // What shows who calls is never the backend's business.
    expect(headers).not.toHaveProperty("x-api-key");
  });

  test("sees a web Request, and what is known", async () => {
    const answer = await ask("/r/inspect?a=1", { headers: { "X-One": "1", "X-Request-ID": "given-id" } });
    expect(await answer.json()).toMatchObject({
      method: "GET",
      url: `${gateway.url}/r/inspect?a=1`,
      headers: { "x-one": "1", host: `127.0.0.1:${gateway.port}` },
      ip: "127.0.0.1",
      isRequest: true,
      route: { name: "/r", path: "/r" },
      requestId: "given-id",
      caller: null,
    });
    const own = await ask("/r/clone", { method: "POST", body: "of the caller" });
    expect(await own.json()).toEqual({ method: "POST", url: `${gateway.url}/r/clone`, clone: "1", own: null, body: "of the caller" });
  });

  test("is not called on a route that does not name it", async () => {
    expect(await seen("/plain/set")).not.toHaveProperty("x-tenant");
  });
});

describe("a plug-in's admit hook", () => {
  test("knows who calls, and finds what an earlier hook has left", async () => {
    const answer = await ask("/r/who", { headers: { "X-API-Key": KEY } });
    expect(await answer.json()).toMatchObject({
      caller: { via: "key", consumer: "acme", tier: "small", scopes: [], keyId: expect.any(String), metadata: {} },
      state: {},
    });
    expect(await (await ask("/r/who")).json()).toMatchObject({ caller: null });
    expect(await (await ask("/r/state")).json()).toEqual({ seen: "by request" });
  });

  test("can set the credential that the backend gets in the place of a key that came as one", async () => {
    const headers = await seen("/r/authorization", { headers: { Authorization: `Bearer ${KEY}` } });
    expect(headers).toMatchObject({ authorization: "Bearer of-the-backend", "x-consumer-id": "acme" });
  });
});

describe("a plug-in's ended hook", () => {
  test("is told what became of each request, and nobody waits for it", async () => {
    await ask("/r/x", { headers: { "X-Request-ID": "ended-well" } });
    await ask("/r/x", { headers: { "X-Request-ID": "ended-refused", "X-API-Key": "wrong-key-0123456789" } });
    const line = (id: string) => lineOf(({ msg, requestId }) => msg === "ended" && requestId === id);
    expect(await line("ended-well")).toMatchObject({
      plugin: "tried",
      summary: { status: 200, code: null, cache: null, attempts: 1, target: behind.url, units: null, duration: expect.any(Number) },
    });
    expect(await line("ended-refused")).toMatchObject({ summary: { status: 401, code: "keyInvalid", attempts: 0, target: null } });
  });
});

describe("a hook that fails", () => {
  test.each([
    ["/r/throws", "thrown", "no such tenant"],
    ["/r/hangs", "late", "it did not answer within 100 ms"],
    ["/r/nonsense", "nonsense", "request gave 42 in place of a Response, or nothing"],
    ["/r/used", "nonsense", "request gave a Response whose body was read already"],
    ["/r/odd", "thrown", "The Response.bodyUsed getter can only be used on instances of Response"],
    ["/r/unspeakable", "thrown", "it threw what can't be shown"],
  ])("%s: the caller gets 500, and the log names the plug-in, its hook and why (%s)", async (path, kind, why) => {
    const id = `fails-${kind}-${path.length}`;
    const answer = await ask(path, { headers: { "X-Request-ID": id } });
    expect(answer.status).toBe(500);
    expect(await answer.json()).toMatchObject({ code: "pluginFailed", requestId: id });
    const line = await lineOf((each) => each.requestId === id && each.msg === "a plug-in failed");
    expect(line).toMatchObject({ level: "error", plugin: "tried", hook: "request", kind, error: expect.stringContaining(why) });
    const request = await lineOf((each) => each.requestId === id && each.msg === "request");
    expect(request).toMatchObject({ code: "pluginFailed", error: `plug-in tried, request: ${why}` });
    const counted = await gateway.metric(`sluice_plugin_failures_total{plugin="tried",hook="request",kind="${kind}"}`);
    expect(Number(counted[0]?.split(" ")[1])).toBeGreaterThan(0);
  });
});

const SKIPPED = `
import type { Plugin } from "sluice";
export default {
  name: "skipped",
  async request(request, context) {
    const how = request.headers.get("X-How");
    request.headers.set("X-Half", "done");
    request.headers.delete("X-Gone");
    context.cost = 7;
    context.tags.tenant = "half";
    if (how === "throws") throw new Error("half way");
    if (how === "hangs") {
      await new Promise((done) => setTimeout(done, 80));
      request.headers.set("X-Late", "done");
      context.tags.tenant = "late";
    }
    if (how === "nonsense") return "words" as never;
    return undefined;
  },
  identify() { throw new Error("nobody knows"); },
} satisfies Plugin;
`;
const ORDER = (name: string): string => `
export default {
  request(request) { request.headers.append("X-Order", "${name}"); },
  admit(request, context) { request.headers.append("X-Admitted", "${name}"); request.headers.set("X-Tags", JSON.stringify(context.tags)); },
};
`;

const LATER = `
export default {
  async admit(request, context) {
    await new Promise((done) => setTimeout(done, 80));
    context.tags.tenant = "late";
    globalThis.__lateIsDone();
  },
};
`;
const TAGGING = `
export default {
  request(request, context) { context.tags.tenant = "on time"; return request.headers.get("X-Order") === null ? undefined : new Response("too early"); },
  admit(request, context) { if (request.url.endsWith("/order")) return new Response(request.headers.get("X-Order")); },
  response(response, context) { response.headers.set("X-Tags", JSON.stringify(context.tags)); },
};
`;

describe("plug-ins", () => {
  const window = { algorithm: "fixed-window", limit: 100, window: "1h" };
  const files = { "skipped.ts": SKIPPED, "a.ts": ORDER("a"), "b.ts": ORDER("b"), "c.ts": ORDER("c") };

  test('with "onError": "skip" that fail have changed nothing, whatever they had begun', async () => {
    const to = { upstream: behind.url, auth: "optional", limits: [{ ...window, by: "tag:tenant" }] };
    await using skipping = await servingPlugins(files, {
      plugins: [{ file: "skipped.ts", onError: "skip", timeout: "40ms" }, { file: "a.ts" }],
      tiers: { anonymous: { limits: [] } },
      routes: [{ path: "/r", ...to }],
    });
    const told = async (how: string) => {
      const answer = await fetch(`${skipping.url}/r/slow?ms=100`, { headers: { "X-How": how, "X-Gone": "no" } });
      expect(answer.status).toBe(200);
      const { headers } = behind.seen.at(-1) as { headers: Record<string, string> };
      return [
        headers["x-half"],
        headers["x-gone"],
        headers["x-late"],
        headers["x-order"],
        headers["x-tags"],
        answer.headers.get("x-ratelimit-remaining"),
      ];
    };
    expect(await told("works")).toEqual(["done", undefined, undefined, "a", '{"tenant":"half"}', "93"]);
    expect(await told("throws")).toEqual([undefined, "no", undefined, "a", "{}", "99"]);
    expect(await told("hangs")).toEqual([undefined, "no", undefined, "a", "{}", "98"]);
    expect(await told("nonsense")).toEqual([undefined, "no", undefined, "a", "{}", "97"]);
    const line = (await skipping.logged()).find(({ error }) => String(error).includes("half way"));
    expect(line).toMatchObject({ level: "warn", plugin: "skipped", kind: "thrown", msg: "a plug-in failed: it is skipped" });
  });

  test("of all routes come before the route's own, in the order in which they are listed", async () => {
    await using ordered = await servingPlugins(files, {
      plugins: [{ file: "c.ts" }, { file: "a.ts" }],
      routes: [
        { path: "/r", upstream: behind.url, auth: "none", plugins: [{ file: "b.ts" }, { file: "c.ts" }] },
        { path: "/alone", upstream: behind.url, auth: "none" },
      ],
    });
    const headers = async (path: string) =>
      ((await (await fetch(ordered.url + path)).json()) as { headers: Record<string, string> }).headers;
    expect(await headers("/r/x")).toMatchObject({ "x-order": "c, a, b, c", "x-admitted": "c, a, b, c" });
    expect(await headers("/alone/x")).toMatchObject({ "x-order": "c, a" });
    // A route of the admin API has those of all routes, and none of its own.
    await ordered.admin("POST", "/admin/routes", { name: "made", path: "/made", upstream: behind.url, auth: "none" });
    expect(await headers("/made/x")).toMatchObject({ "x-order": "c, a" });
    const refused = await ordered.admin("PATCH", "/admin/routes/made", { plugins: [{ file: "b.ts" }] });
    expect([refused.status, await refused.text()]).toEqual([422, expect.stringContaining("can't be set by the admin API")]);
  });

  test("see in later hooks what others have changed meanwhile", async () => {
    await using seeing = await servingPlugins(
      { "a.ts": ORDER("a"), "tagging.ts": TAGGING },
      { plugins: [{ file: "tagging.ts" }, { file: "a.ts" }], routes: [{ path: "/r", upstream: behind.url, auth: "none" }] },
    );
    expect(await (await fetch(`${seeing.url}/r/order`)).text()).toBe("a");
  });

  test("that are too late change no tag of another's", async () => {
    const late = Promise.withResolvers<void>();
    Object.assign(globalThis, { __lateIsDone: late.resolve });
    const answering = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => late.promise.then(() => new Response("x")) });
    await using seeing = await servingPlugins(
      { "later.ts": LATER, "tagging.ts": TAGGING },
      {
        plugins: [{ file: "tagging.ts" }, { file: "later.ts", onError: "skip", timeout: "10ms" }],
        routes: [{ path: "/r", upstream: answering.url.origin, auth: "none" }],
      },
    );
    expect((await fetch(`${seeing.url}/r/x`)).headers.get("x-tags")).toBe('{"tenant":"on time"}');
    await answering.stop(true);
  });

  test("have steps in traces, which say that one failed", async () => {
    using traces = collector();
    await using traced = await servingPlugins(
      { "tried.ts": PLUGIN, "lib/greeting.ts": 'export const greeting = "acme";\n' },
      {
        telemetry: { otlp: { endpoint: traces.url } },
        routes: [{ path: "/r", upstream: behind.url, auth: "none", plugins: [{ file: "tried.ts" }] }],
      },
    );
    await fetch(`${traced.url}/r/throws`);
    await fetch(`${traced.url}/r/x`);
    await traces.has(6);
    const steps = traces.spans.filter(({ name }) => name === "plugin tried");
    const told = steps.map(({ attributes, status }) => [
      attributes["sluice.hook"],
      attributes["sluice.plugin"],
      attributes["error.type"],
      status.code,
    ]);
    expect(told).toContainEqual(["request", "tried", "pluginFailed", 2]);
    expect(told).toContainEqual(["admit", "tried", undefined, 0]);
  });

  test("that do not give back control are named, once they have", async () => {
    const busy = "export default { request() { const until = Date.now() + 600; while (Date.now() < until); } };\n";
    await using held = await servingPlugins(
      { "busy.ts": busy },
      { plugins: [{ file: "busy.ts", timeout: "10ms" }], routes: [{ path: "/r", upstream: behind.url, auth: "none" }] },
    );
    // No timeout helps: it is through by the time that anybody could look.
    expect((await fetch(`${held.url}/r/x`)).status).toBe(200);
    const line = (await held.logged()).find(({ msg }) => msg === "a plug-in has kept everything else waiting");
    expect(line).toMatchObject({ level: "warn", plugin: "busy", hook: "request" });
    expect(Number(line?.milliseconds)).toBeGreaterThan(500);
    const { plugins } = (await (await held.admin("GET", "/admin/stats")).json()) as { plugins: { longestHold: number }[] };
    expect(plugins[0]?.longestHold).toBeGreaterThan(500);
  });

  test("are measured by hook", async () => {
    await ask("/r/set");
    const counts = await gateway.metric('sluice_plugin_seconds_count{plugin="tried"');
    expect(counts.map((line) => line.split(" ")[0])).toEqual([
      'sluice_plugin_seconds_count{plugin="tried",hook="request"}',
      'sluice_plugin_seconds_count{plugin="tried",hook="admit"}',
      'sluice_plugin_seconds_count{plugin="tried",hook="ended"}',
    ]);
    const stats = (await (await gateway.admin("GET", "/admin/stats")).json()) as { plugins: object[] };
    expect(stats.plugins).toEqual([
      {
        plugin: "tried",
        calls: expect.any(Number),
        seconds: expect.any(Number),
        failures: expect.any(Number),
        longestHold: expect.any(Number),
      },
    ]);
  });
});
