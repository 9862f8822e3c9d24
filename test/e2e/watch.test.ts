import { describe, expect, test } from "bun:test";
import { closeSync, constants, openSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Backend, backend } from "../support/backend.ts";
import { collector } from "../support/collector.ts";
import { pipelined } from "../support/pipelined.ts";
import { ADMIN_TOKEN, folder, freePort, PROGRAM, type Running, run, start } from "../support/process.ts";

const KEY = "a-key-of-a-caller-0123456";
const configFor = (behind: Backend, more: object = {}) => ({
  guard: null,
  tiers: { anonymous: { limits: [] }, small: { limits: [{ algorithm: "fixed-window", limit: 2, window: "1h" }] } },
  upstreams: { main: { targets: [{ url: behind.url }], breaker: null } },
  consumers: [{ id: "acme", tier: "small", keys: [KEY] }],
  routes: [
    { name: "all", path: "/", upstream: "main", stripPrefix: false, auth: "none", retry: { attempts: 2, baseDelay: "1ms", jitter: false } },
    { name: "mine", path: "/mine", upstream: "main" },
  ],
  ...more,
});
const linesOf = (gateway: Running): Record<string, unknown>[] =>
  gateway
    .output()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
/** Reads events until `isEnough`. */
async function events(gateway: Running, query: string, act: () => Promise<unknown>, isEnough: (text: string) => boolean): Promise<string> {
  const gone = new AbortController();
  const answer = await fetch(`${gateway.url}/admin/events${query}`, {
    headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
    signal: gone.signal,
  });
  expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
  const decoder = new TextDecoder();
  let text = "";
  const reading = (async () => {
    for await (const chunk of answer.body ?? []) {
      text += decoder.decode(chunk, { stream: true });
      if (isEnough(text)) return;
    }
  })();
  await act();
  await reading;
  gone.abort();
  return text;
}

describe("traces", () => {
  test("cross the gateway, with a retry: the caller's span, the gateway's, and one for each attempt, which the backend gets", async () => {
    let calls = 0;
    const seen: (string | null)[] = [];
    using behind = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request) => {
        seen.push(request.headers.get("traceparent"));
        return new Response("", { status: calls++ === 0 ? 503 : 200, headers: { "x-state": request.headers.get("tracestate") ?? "" } });
      },
    });
    using traces = collector();
    const config = configFor({ url: `http://127.0.0.1:${behind.port}` } as Backend, {
      telemetry: { otlp: { endpoint: traces.url, headers: { "x-token": "a-collectors-token" }, serviceName: "edge" } },
    });
    await using gateway = await start({ config });
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const answer = await fetch(`${gateway.url}/things/7?q=1`, {
      headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01`, tracestate: "vendor=1", "x-request-id": "req-traced" },
    });
    expect([answer.status, answer.headers.get("x-state")]).toEqual([200, "vendor=1"]);
    await traces.has(4);
    const byName = (name: string) => traces.spans.filter((span) => span.name === name);
    const [own] = byName("GET /");
    const attempts = byName("GET main");
    expect(own).toMatchObject({
      traceId,
      parentSpanId: "b7ad6b7169203331",
      kind: 2,
      attributes: {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/",
        "url.path": "/things/7",
        "sluice.route": "all",
        "sluice.request_id": "req-traced",
      },
    });
    expect(attempts.map(({ kind, parentSpanId }) => [kind, parentSpanId])).toEqual([
      [3, own?.spanId],
      [3, own?.spanId],
    ]);
    expect(
      attempts.map(({ attributes, status }) => [
        attributes["http.response.status_code"],
        attributes["http.request.resend_count"],
        status.code ?? 0,
      ]),
    ).toEqual([
      [503, undefined, 2],
      [200, 1, 0],
    ]);
    expect(seen).toEqual(attempts.map(({ spanId }) => `00-${traceId}-${spanId}-01`));
    expect(byName("identify")[0]?.parentSpanId).toBe(own?.spanId);
    const inside = (span: (typeof attempts)[number] | undefined) =>
      span !== undefined &&
      own !== undefined &&
      BigInt(span.startTimeUnixNano) >= BigInt(own.startTimeUnixNano) &&
      BigInt(span.endTimeUnixNano) <= BigInt(own.endTimeUnixNano);
    expect(traces.spans.filter((span) => span !== own).every(inside)).toBe(true);
    expect(Math.abs(Number(BigInt(own?.endTimeUnixNano ?? 0) / 1_000_000n) - Date.now())).toBeLessThan(60_000);
    expect(traces.raw[0]).toContain('"edge"');
    expect(traces.headers[0]?.["x-token"]).toBe("a-collectors-token");
    await gateway.stop();
    expect(linesOf(gateway).find(({ requestId }) => requestId === "req-traced")?.traceId).toBe(traceId);
  });

  test("and a route's rules for traceparent go before the gateway's own", async () => {
    using behind = backend();
    using traces = collector();
    const config = configFor(behind, { telemetry: { otlp: { endpoint: traces.url } } });
    const rules = { request: { set: { traceparent: "mine" }, remove: [] as string[] }, response: { set: {}, remove: [] } };
    Object.assign(config.routes[0] ?? {}, { headers: rules });
    await using gateway = await start({ config });
    await fetch(`${gateway.url}/status`, { headers: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } });
    expect(behind.seen[0]?.headers.traceparent).toBe("mine");
  });

  test("show the step in which a batch of activities is taken", async () => {
    using behind = backend();
    using traces = collector();
    const config = configFor(behind, { telemetry: { otlp: { endpoint: traces.url } }, activities: { auth: "none" } });
    await using gateway = await start({ config });
    const activities = [{ operation: "insert", table: "visits", colNames: ["page"], colTypes: ["TEXT"], colValues: ["/"] }];
    const body = JSON.stringify({ activities });
    const taken = await fetch(`${gateway.url}/api/activities`, { method: "POST", headers: { "content-type": "application/json" }, body });
    expect(taken.status).toBe(202);
    await traces.has(3);
    expect(traces.spans.map(({ name }) => name)).toContain("activities");
  });

  test("are off by default: what a caller sends is passed on, and nothing is added", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind) });
    const sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await fetch(`${gateway.url}/status`, { headers: { traceparent: sent } });
    await fetch(`${gateway.url}/status`);
    expect(behind.seen.map(({ headers }) => headers.traceparent)).toEqual([sent, undefined]);
  });

  test("that the caller does not record pass through, and what the gateway samples out tells the backend so", async () => {
    using behind = backend();
    using traces = collector();
    await using gateway = await start({ config: configFor(behind, { telemetry: { otlp: { endpoint: traces.url, sample: 0 } } }) });
    const sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    await fetch(`${gateway.url}/status`, { headers: { traceparent: sent } });
    await fetch(`${gateway.url}/status`, { headers: { traceparent: "nonsense", tracestate: "vendor=1" } });
    expect(behind.seen[0]?.headers.traceparent).toBe(sent);
    expect(behind.seen[1]?.headers.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    expect(behind.seen[1]?.headers.tracestate).toBeUndefined();
    await gateway.stop();
    expect(traces.spans).toEqual([]);
  });

  test("that no collector takes are dropped and counted, and requests go on; another collector is taken by a reload", async () => {
    using behind = backend();
    using traces = collector();
    const config = (endpoint: string) => configFor(behind, { telemetry: { otlp: { endpoint, timeout: "100ms" } } });
    await using gateway = await start({ config: config("http://127.0.0.1:1") });
    expect((await fetch(`${gateway.url}/status`)).status).toBe(200);
    while (!/sluice_spans_total\{result="dropped"\} [1-9]/.test(await (await fetch(`${gateway.url}/metrics`)).text())) await Bun.sleep(50);
    while (!gateway.output().includes("the collector takes no traces")) await Bun.sleep(5);
    writeFileSync(join(gateway.folder, "config.json"), JSON.stringify(config(traces.url)));
    expect((await gateway.admin("POST", "/admin/config/reload")).status).toBe(200);
    expect((await fetch(`${gateway.url}/status`)).status).toBe(200);
    await traces.has(3);
  });
});

describe("the log", () => {
  test("has its level, and how many requests get lines, changed while it runs", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind, { logging: { accessLogSample: 0 } }) });
    const call = async (path: string) => (await fetch(gateway.url + path)).status;
    expect([await call("/status?n=sampled-out"), await call("/status?code=404"), await call("/mine")]).toEqual([200, 404, 401]);
    const changed = await gateway.admin("PATCH", "/admin/logging", { level: "debug", accessLogSample: 1, ttl: "10m" });
    expect([changed.status, await changed.json()]).toMatchObject([
      200,
      { level: "debug", accessLogSample: 1, until: expect.any(String), dropped: { requests: 0, events: 0 } },
    ]);
    expect(await call("/status/seen")).toBe(200);
    expect((await gateway.admin("PATCH", "/admin/logging", { level: "silent" })).status).toBe(200);
    expect(await call("/status/silent")).toBe(200);
    expect(await (await gateway.admin("DELETE", "/admin/logging")).json()).toMatchObject({
      level: "info",
      accessLogSample: 0,
      until: null,
    });
    for (const body of [{ level: "loud" }, { accessLogSample: 2 }, { ttl: "soon" }, { lvl: "info" }])
      expect((await gateway.admin("PATCH", "/admin/logging", body)).status).toBe(422);
    const rows = (await (await gateway.admin("GET", "/admin/audit?action=logging.set")).json()) as { items: unknown[] };
    expect(rows.items.length).toBe(3);
    await gateway.stop();
    const requests = linesOf(gateway).filter(({ msg }) => msg === "request");
    expect(requests.map(({ path, status }) => [path, status])).toEqual([
      ["/status", 404],
      ["/mine", 401],
      ["/status/seen", 200],
    ]);
  });

  test("says what a backend's trouble was, each failed attempt at debug, what could not be read, and what the admin API was asked", async () => {
    using behind = backend();
    const config = configFor(behind, { logging: { level: "debug" } });
    Object.assign(config.upstreams, { dead: { targets: [{ url: "http://127.0.0.1:1" }], breaker: null } });
    config.routes.push({
      name: "dead",
      path: "/dead",
      upstream: "dead",
      stripPrefix: true,
      auth: "none",
      retry: { attempts: 2, baseDelay: "1ms", jitter: false },
    });
    await using gateway = await start({ config });
    expect((await fetch(`${gateway.url}/dead`, { headers: { "x-request-id": "req-dead" } })).status).toBe(502);
    expect((await fetch(`${gateway.url}/open/a%2fb`, { headers: { "x-request-id": "req-slash" } })).status).toBe(400);
    expect((await fetch(`${gateway.url}/x`, { headers: { "x-long": "x".repeat(20_000) } })).status).toBe(431);
    await gateway.admin("POST", "/admin/consumers", { id: "new", tier: "small" }, { "x-request-id": "req-admin" });
    expect(
      (await fetch(`${gateway.url}/admin/keys`, { headers: { authorization: "Bearer wrong", "x-request-id": "req-wrong" } })).status,
    ).toBe(401);
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
    expect(metrics).toContain('http_requests_total{route="none",method="GET",status="400"} 1');
    expect(metrics).toContain('http_requests_total{route="none",method="other",status="431"} 1');
    await gateway.stop();
    const lines = linesOf(gateway);
    const of = (id: string) => lines.filter(({ requestId }) => requestId === id);
    expect(of("req-dead")).toMatchObject([
      { msg: "attempt failed", level: "debug", attempt: 1, kind: "connect", target: "http://127.0.0.1:1" },
      { msg: "attempt failed", attempt: 2 },
      { msg: "request", status: 502, code: "upstreamFailed", error: expect.any(String) },
    ]);
    expect(of("req-slash")).toMatchObject([{ msg: "request", status: 400, code: "badRequest", path: "/open/a%2fb", route: null }]);
    expect(of("req-admin")).toMatchObject([{ msg: "admin request", method: "POST", path: "/admin/consumers", status: 201 }]);
    expect(of("req-wrong")).toMatchObject([{ msg: "admin request", level: "info", status: 401 }]);
    expect(lines.some(({ msg, status }) => msg === "malformed request" && status === 431)).toBe(true);
  });

  test("that nobody reads stops no request: lines are dropped, counted, and told of when it is read again", async () => {
    using behind = backend();
    using home = folder();
    writeFileSync(join(home.path, "config.json"), JSON.stringify(configFor(behind)));
    const port = freePort();
    // A pipe that is open and that nobody reads.
    const fifo = join(home.path, "log");
    Bun.spawnSync(["mkfifo", fifo]);
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    const child = Bun.spawn(["/bin/sh", "-c", 'exec "$@" > log', "sh", ...PROGRAM, "serve"], {
      cwd: home.path,
      env: { PATH: "/nonexistent", SLUICE_ADMIN_TOKEN: ADMIN_TOKEN, SLUICE_HOST: "127.0.0.1", SLUICE_PORT: String(port) },
      stdout: "ignore",
      stderr: "ignore",
    });
    try {
      const url = `http://127.0.0.1:${port}`;
      while (
        !(await fetch(`${url}/health`).then(
          ({ ok }) => ok,
          () => false,
        ))
      )
        await Bun.sleep(10);
      // Three megabytes of lines and more: paths are long.
      const path = `/status/${"x".repeat(4000)}`;
      const dropped = async () =>
        Number(/sluice_log_lines_dropped_total\{of="requests"\} (\d+)/.exec(await (await fetch(`${url}/metrics`)).text())?.[1]);
      while ((await dropped()) === 0)
        await Promise.all(Array.from({ length: 100 }, () => fetch(url + path).then((answer) => answer.text())));
      let text = "";
      const bytes = Buffer.alloc(65_536);
      while (!text.includes("lines of the log were dropped")) {
        try {
          text = text.slice(-200) + bytes.toString("utf8", 0, readSync(reader, bytes));
        } catch {
          // Nothing there at the moment.
          await Bun.sleep(1);
        }
      }
      expect(/"dropped":[1-9]/.test(text)).toBe(true);
    } finally {
      child.kill("SIGKILL");
      await child.exited;
      closeSync(reader);
    }
  });
});

test("a terminal that somebody has halted stops no request", async () => {
  using behind = backend();
  using home = folder();
  writeFileSync(join(home.path, "config.json"), JSON.stringify(configFor(behind)));
  const port = freePort();
  let text = "";
  const child = Bun.spawn([...PROGRAM, "serve"], {
    cwd: home.path,
    env: { PATH: "/nonexistent", SLUICE_ADMIN_TOKEN: ADMIN_TOKEN, SLUICE_HOST: "127.0.0.1", SLUICE_PORT: String(port) },
    terminal: {
      data: (_, bytes) => {
        text += new TextDecoder().decode(bytes);
      },
    },
  });
  try {
    const url = `http://127.0.0.1:${port}`;
    while (!text.includes("listening")) await Bun.sleep(10);
    // Ctrl-S.
    child.terminal?.write("\x13");
    await Bun.sleep(50);
    const before = text.length;
    // More than a terminal takes by itself.
    for (let i = 0; i < 100; i++)
      expect((await fetch(`${url}/status/${"x".repeat(1000)}`, { signal: AbortSignal.timeout(5000) })).status).toBe(200);
    expect(text.length - before).toBeLessThan(100_000);
    // Ctrl-Q.
    child.terminal?.write("\x11");
    while (text.split("GET /status/").length < 101) await Bun.sleep(10);
  } finally {
    child.kill("SIGKILL");
    await child.exited;
    child.terminal?.close();
  }
});

describe("GET /admin/events", () => {
  test("tells of requests, limits, health and changes as they happen, filtered as asked", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind) });
    const act = async () => {
      for (let i = 0; i < 3; i++) await fetch(`${gateway.url}/mine`, { headers: { "x-api-key": KEY } });
      await gateway.admin("POST", "/admin/health", { status: "DEGRADED", reason: "a test" });
      await gateway.admin("POST", "/admin/consumers", { id: "new", tier: "small" });
    };
    const all = await events(gateway, "", act, (text) => text.includes("consumer.create"));
    const parsed = all
      .split("\n\n")
      .filter((event) => event.startsWith("event:"))
      .map((event) => {
        const [type = "", data = ""] = event.split("\n");
        return [type.slice("event: ".length), JSON.parse(data.slice("data: ".length))] as const;
      });
    expect(parsed.map(([type]) => type)).toEqual(["request", "request", "limit", "request", "change", "health", "change"]);
    expect(parsed[2]?.[1]).toMatchObject({
      route: "mine",
      consumer: "acme",
      limits: [{ name: "per-hour", unit: "requests", limit: 2, shadow: false }],
    });
    expect(parsed[3]?.[1]).toMatchObject({ status: 429, code: "rateLimited", path: "/mine", at: expect.stringMatching(/Z$/) });
    expect(parsed[5]?.[1]).toMatchObject({ from: "NORMAL", to: "DEGRADED", reason: "a test" });
    expect(parsed[6]?.[1]).toMatchObject({ action: "consumer.create", subject: "consumer new", actor: "env" });
    const denied = await events(gateway, "?type=request,limit&status=429", act, (text) => text.includes("event: request"));
    // Two events may come in one piece, and what follows with them.
    expect(denied.match(/event: \w+/g)?.slice(0, 2)).toEqual(["event: limit", "event: request"]);
    const some = await events(gateway, "?type=request&status=4xx&consumer=acme", act, (text) => text.includes("event:"));
    expect(some).toContain('"status":429');
    expect(some).not.toContain("event: change");
    const refusals = ["?type=nothing", "?status=9", "?sample=2"].map(
      async (query) => (await gateway.admin("GET", `/admin/events${query}`)).status,
    );
    expect(await Promise.all(refusals)).toEqual([422, 422, 422]);
    expect((await fetch(`${gateway.url}/admin/events`)).status).toBe(401);
    expect((await gateway.admin("HEAD", "/admin/events")).status).toBe(200);
  });

  test("drops a reader that does not read, and a stop does not wait for those that do", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind, { logging: { accessLog: false }, server: { drainTimeout: "1h" } }) });
    const value = async (name: string) =>
      Number(new RegExp(`^${name} (\\d+)`, "m").exec(await (await fetch(`${gateway.url}/metrics`)).text())?.[1]);
    // One that sends its request and never reads the answer.
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port: gateway.port,
      socket: { data: () => {}, open: (it) => void it.pause() },
    });
    socket.write(`GET /admin/events?type=change,health HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\n\r\n`);
    while ((await value("sluice_event_readers")) !== 1) await Bun.sleep(10);
    const body = JSON.stringify({ status: "DEGRADED", reason: "x".repeat(500) });
    const many =
      `POST /admin/health HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`.repeat(
        500,
      );
    while ((await value("sluice_event_readers_dropped_total")) === 0) await pipelined(gateway.port, many, 500, "HTTP/1.1 200");
    expect(await value("sluice_event_readers")).toBe(0);
    const reader = await fetch(`${gateway.url}/admin/events`, { headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
    // One that waited for its readers would take the drain's whole hour.
    expect(await gateway.stop()).toBe(0);
    await reader.text().catch(() => {});
    socket.terminate();
  });

  test("ends with the token that it was opened with", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind) });
    const { id, token } = (await (await gateway.admin("POST", "/admin/tokens", { name: "watcher", role: "viewer" })).json()) as {
      id: string;
      token: string;
    };
    const answer = await fetch(`${gateway.url}/admin/events`, { headers: { authorization: `Bearer ${token}` } });
    expect((await gateway.admin("DELETE", `/admin/tokens/${id}`)).status).toBe(204);
    await fetch(`${gateway.url}/status`);
    expect(await answer.text()).not.toContain("event: request");
  });
});

describe("from a terminal", () => {
  test("sluice explain tells which limits hold and why the last request was refused", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind) });
    for (let i = 0; i < 3; i++) await fetch(`${gateway.url}/mine`, { headers: { "x-api-key": KEY, "x-request-id": `req-${i}` } });
    const env = { SLUICE_URL: gateway.url, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN };
    const { stdout, status } = await run(["explain", "--consumer", "acme", "--route", "mine"], { cwd: gateway.folder, env });
    expect(status).toBe(0);
    expect(stdout).toContain("the next request is refused: too little is left of a limit");
    expect(stdout).toMatch(/per-hour \(tier small\): 0 of 2 left, more at .*<< denies/);
    expect(stdout).toMatch(/rateLimited on mine {2}req-2\n {4}per-hour \(tier small\): 2 of 2 used/);
    expect(JSON.parse((await run(["explain", "--consumer", "acme", "--json"], { cwd: gateway.folder, env })).stdout).consumer).toBe("acme");
    expect((await run(["explain"], { cwd: gateway.folder, env })).status).toBe(2);
    expect(await run(["explain", "--consumer", "nobody"], { cwd: gateway.folder, env })).toMatchObject({
      status: 1,
      stderr: 'sluice: There is no consumer "nobody".\n',
    });
  });

  test("sluice top fills a terminal of 80 by 24 again and again, without colour where none is wanted, and q gives it back", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind) });
    let text = "";
    const child = Bun.spawn([...PROGRAM, "top", "--interval", "0.2"], {
      cwd: gateway.folder,
      env: { PATH: "/nonexistent", SLUICE_URL: gateway.url, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN, NO_COLOR: "1" },
      terminal: {
        cols: 80,
        rows: 24,
        data: (_, bytes) => {
          text += new TextDecoder().decode(bytes);
        },
      },
    });
    try {
      while (text.split("sluice 0").length < 4) {
        await fetch(`${gateway.url}/mine`, { headers: { "x-api-key": KEY } });
        await Bun.sleep(5);
      }
      child.terminal?.write("q");
      expect(await child.exited).toBe(0);
      const [before = "", ...screens] = text.split("\x1b[H");
      expect([before.includes("\x1b[?1049h"), text.includes("\x1b[?1049l"), text.includes("\x1b[31m")]).toEqual([true, true, false]);
      expect(screens.length).toBeGreaterThanOrEqual(3);
      for (const screen of screens) expect(screen.split("\r\n").length).toBeLessThanOrEqual(24);
      for (const line of screens.join("\r\n").split("\r\n")) expect(Bun.stripANSI(line).length).toBeLessThanOrEqual(80);
      expect(screens.at(-1)).toMatch(/mine +\d/);
    } finally {
      child.kill("SIGKILL");
      await child.exited;
      child.terminal?.close();
    }
  });

  test("sluice top prints one screen where stdout is no terminal", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind) });
    const env = { SLUICE_URL: gateway.url, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN };
    const looking = run(["top", "--interval", "1"], { cwd: gateway.folder, env });
    while (!(await Promise.race([looking.then(() => true), Bun.sleep(5).then(() => false)])))
      await fetch(`${gateway.url}/mine`, { headers: { "x-api-key": KEY } });
    const { stdout, status } = await looking;
    expect([status, stdout.includes("\x1b")]).toEqual([0, false]);
    expect(stdout).toMatch(/^sluice \d.* NORMAL/);
    expect(stdout).toMatch(/^mine +\d/m);
    expect(stdout).toMatch(/^acme +\d/m);
    expect(stdout.split("\n").every((line) => line.length <= 80)).toBe(true);
    expect((await run(["top", "--interval", "0"], { cwd: gateway.folder, env })).status).toBe(2);
    expect((await run(["top"], { cwd: gateway.folder, env: { ...env, SLUICE_URL: "http://127.0.0.1:1" } })).status).toBe(1);
  });
});

describe("secrets", () => {
  test("planted in headers, query, body and errors appear in no line, metric, trace, event or problem", async () => {
    using behind = backend();
    using traces = collector();
    const own = `slc_${"Zq9X".repeat(8)}abcdef`;
    const planted = {
      own,
      imported: "an-imported-key-012345",
      pool: "sk-pool-secret-0123456",
      collector: "a-collectors-token-01",
      redis: "redis-pa55word",
      url: "https://hooks.example.com/services/a-secret-path",
    };
    const config = configFor(behind, {
      consumers: [{ id: "acme", tier: "small", keys: ["${IMPORTED}"] }],
      identity: { query: "api_key" },
      logging: { level: "trace" },
      telemetry: { otlp: { endpoint: traces.url, headers: { authorization: "Bearer ${COLLECTOR}" } } },
      redis: { url: "redis://user:${REDIS}@127.0.0.1:1" },
      pools: {
        llm: { keys: [{ id: "k1", secret: "${POOL}", limit: 100, window: "1h" }], services: { s: { cost: 1 } } },
        hooks: { keys: [{ id: "h1", secret: "${HOOK}", limit: 1, window: "1h" }], services: {} },
      },
      activities: { auth: "none" },
    });
    const env = {
      IMPORTED: planted.imported,
      COLLECTOR: planted.collector,
      POOL: planted.pool,
      HOOK: planted.url,
      REDIS: planted.redis,
      SLUICE_SECRET: "a-secret-of-secrets-012",
    };
    await using gateway = await start({ config, env });
    const problems: string[] = [];
    const seen = events(
      gateway,
      "",
      async () => {},
      (text) => text.includes("event: health"),
    );
    const call = async (path: string, init: RequestInit = {}) => {
      const answer = await fetch(gateway.url + path, init);
      const text = await answer.text();
      if (answer.status >= 400) problems.push(text, JSON.stringify([...answer.headers]));
    };
    for (const secret of [planted.own, planted.imported]) {
      const headers = {
        authorization: `Bearer ${secret}`,
        cookie: `k=${secret}`,
        "x-api-key": secret,
        "user-agent": secret,
        traceparent: secret,
        tracestate: `a=${secret}`,
        referer: `http://x/?k=${secret}`,
      };
      await call(`/mine/status?api_key=${secret}&other=${secret}`, { headers });
      await call(`/status?api_key=${secret}`, { headers });
      await call("/status", { headers: { ...headers, "idempotency-key": secret }, method: "POST", body: secret });
      await call("/api/v1/api-key", {
        headers: { "content-type": "application/json" },
        method: "POST",
        body: JSON.stringify({ type: secret }),
      });
      await call("/api/activities", { method: "POST", body: JSON.stringify({ activities: [{ operation: secret, table: 1 }] }) });
      await call("/api/activities", { method: "POST", body: `{"${secret}` });
    }
    await call(`/mine/${own}`, { headers: { "x-request-id": own } });
    for (const secret of [...Object.values(planted), ADMIN_TOKEN].filter((each) => each !== planted.url)) {
      await call(`/status/${secret}`, { headers: { "x-request-id": secret } });
      await call(`/open%2f${secret}`);
    }
    await call("/status", { method: `X_${own}` });
    await call("/api/v1/api-key", {
      method: "POST",
      headers: { "x-api-key": planted.imported },
      body: JSON.stringify({ type: `a\n${own}` }),
    });
    await call(`/api/v1/api-key`, { headers: { "x-api-key": planted.imported }, method: "POST", body: JSON.stringify({ type: own }) });
    await gateway.admin("GET", `/admin/consumers/${own}`).then(async (answer) => problems.push(await answer.text()));
    await gateway.admin("POST", "/admin/keys", { consumer: own }).then(async (answer) => problems.push(await answer.text()));
    await fetch(`${gateway.url}/admin/consumers`, { headers: { authorization: `Bearer ${own}` } }).then(async (answer) =>
      problems.push(await answer.text()),
    );
    const effective = await (await gateway.admin("GET", "/admin/config")).text();
    const metrics = await (await fetch(`${gateway.url}/metrics`, { headers: { accept: "application/openmetrics-text" } })).text();
    const explained = await (await gateway.admin("GET", "/admin/explain?consumer=acme&ip=127.0.0.1")).text();
    // Without Redis records can't be changed: an event to end with is one that needs none.
    await gateway.admin("POST", "/admin/health", { status: "DEGRADED" });
    await traces.has(10);
    await gateway.stop();
    const told = await seen;
    const places = {
      log: gateway.output(),
      metrics,
      traces: traces.raw.join("\n"),
      events: told,
      problems: problems.join("\n"),
      config: effective,
      explained,
    };
    expect(problems.length).toBeGreaterThan(10);
    for (const [place, text] of Object.entries(places)) {
      expect([place, text.length > 100]).toEqual([place, true]);
      // The hand-out's answer for an imported key in the caller's own words is for that caller alone.
      const secrets = place === "problems" ? [planted.own, planted.pool, planted.redis, planted.collector] : Object.values(planted);
      for (const secret of [...secrets, ADMIN_TOKEN, env.SLUICE_SECRET])
        expect([place, secret, text.includes(secret)]).toEqual([place, secret, false]);
    }
  });
});
