import { describe, expect, test } from "bun:test";
import { answering, TOOLS, toolServer } from "../support/mcp.ts";
import { serving } from "../support/serving.ts";

const READER = "reader-key-0123456789abcdef";
const WRITER = "writer-key-0123456789abcdef";
const VERSION = "2026-07-28";

/** A gateway before a server, with a caller who may read and one who may write. */
function gateway(url: string, mcp: object, more: object = {}, config: object = {}) {
  return serving({
    tiers: { team: { limits: [] } },
    anonymousTier: "team",
    consumers: [
      { id: "reader", tier: "team", keys: [READER] },
      { id: "writer", tier: "team", keys: [{ key: WRITER, scopes: ["mcp:write"] }] },
    ],
    routes: [{ name: "tools", path: "/mcp", upstream: url, stripPrefix: false, mcp, ...more }],
    ...config,
  });
}

interface Answer {
  readonly jsonrpc: string;
  readonly id?: string | number;
  readonly code?: string;
  readonly result?: { readonly tools?: { readonly name: string }[]; readonly content?: { readonly text: string }[] };
  readonly error?: { readonly code: number; readonly message: string; readonly data?: Record<string, unknown> };
}

/** Sends a message by the version without sessions, with the headers that it needs; `headers` in their place. */
async function send(url: string, method: string, params: object = {}, key = READER, headers: Record<string, string> = {}) {
  const { name } = params as { name?: string };
  const meta = { "io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {} };
  return post(url, { jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: meta } }, key, {
    "mcp-protocol-version": VERSION,
    "mcp-method": method,
    ...(name === undefined ? {} : { "mcp-name": name }),
    ...headers,
  });
}

async function post(url: string, message: unknown, key = READER, headers: Record<string, string> = {}) {
  const answer = await fetch(`${url}/mcp`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json, text/event-stream", "x-api-key": key, ...headers },
    body: typeof message === "string" ? message : JSON.stringify(message),
  });
  const text = await answer.text();
  const data =
    answer.headers.get("content-type")?.startsWith("text/event-stream") === true ? (/^data: (.*)$/m.exec(text)?.[1] ?? "") : text;
  return { status: answer.status, headers: answer.headers, body: (data === "" ? {} : JSON.parse(data)) as Answer };
}

const namesIn = ({ result }: Answer): string[] => (result?.tools ?? []).map(({ name }) => name).sort();
const legacy = (method: string, params?: object, id: number | undefined = 1) => ({ jsonrpc: "2.0", id, method, params });

describe("a route to a server of the Model Context Protocol", () => {
  test("lets calls of its tools through, byte for byte", async () => {
    using server = toolServer();
    await using running = stopping(gateway(server.url, {}));
    const { body } = await send(running.url, "tools/call", { name: "search", arguments: { text: "a" } });
    expect(body).toMatchObject({ id: 1, result: { content: [{ text: '{"text":"a"}' }] } });
    expect(server.calls).toEqual(["search"]);
    // Our own errors bear the id as it was sent: JavaScript would round it.
    const long = '{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{}}';
    const refused = await fetch(`${running.url}/mcp`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-api-key": READER },
      body: long,
    });
    expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining('"id":9007199254740993,')]);
    const spaced = '{ "jsonrpc":"2.0", "id": 7,"method":"tools/call","params":{"name":"get_time", "arguments":{"text":"\\u00e9 1.50"}}}';
    expect((await post(running.url, spaced)).body).toMatchObject({ id: 7, result: { content: [{}] } });
    expect(server.seen.at(-1)?.body).toBe(spaced);
  });

  for (const mode of ["auto", "sse"] as const)
    test(`shows the tools that a caller may call, in ${mode === "sse" ? "streams" : "JSON"}, and refuses others as the server would that has none`, async () => {
      using server = toolServer(mode);
      const mcp = {
        tools: { include: ["get_*", "search", "write_*", "drop_*"], exclude: ["drop_*"] },
        scopes: { "write_*": ["mcp:write"] },
      };
      await using running = stopping(gateway(server.url, mcp));
      expect(namesIn((await send(running.url, "tools/list")).body)).toEqual(["get_time", "search"]);
      expect(namesIn((await post(running.url, legacy("tools/list"))).body)).toEqual(["get_time", "search"]);
      expect(namesIn((await send(running.url, "tools/list", {}, WRITER)).body)).toEqual(["get_time", "search", "write_file"]);
      expect((await send(running.url, "tools/list", {}, WRITER)).body.result).toMatchObject({ cacheScope: "private" });

      const dropped = await send(running.url, "tools/call", { name: "drop_table" }, WRITER);
      expect(dropped.status).toBe(200);
      expect(dropped.body).toEqual({
        jsonrpc: "2.0",
        id: 1,
        error: {
          code: -32602,
          message: expect.stringContaining('Unknown tool: "drop_table"'),
          data: { code: "toolUnknown", requestId: expect.any(String) },
        },
      });
      const write = await send(running.url, "tools/call", { name: "write_file" });
      expect(write.status).toBe(403);
      expect(write.body).toMatchObject({
        jsonrpc: "2.0",
        id: 1,
        code: "forbidden",
        error: { code: 403, message: "This API key lacks the scope mcp:write." },
      });
      expect((await send(running.url, "tools/call", { name: "write_file" }, WRITER)).body.result).toBeDefined();
      expect(server.calls).toEqual(["write_file"]);
    });

  test("shows all tools where it restricts none, and their list stays as the server wrote it", async () => {
    const list = '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","x":1.50}],"cacheScope":"public"}}';
    using server = answering(() => new Response(list, { headers: { "content-type": "application/json" } }));
    await using running = stopping(gateway(server.url, { cost: { a: 2 } }));
    expect(JSON.stringify((await post(running.url, legacy("tools/list"))).body)).toBe(list.replace("1.50", "1.5"));
    using own = toolServer();
    await using other = stopping(gateway(own.url, {}));
    expect(namesIn((await send(other.url, "tools/list")).body)).toEqual(TOOLS);
  });

  test("refuses headers that say something else than the body, and versions that it does not know", async () => {
    using server = toolServer();
    await using running = stopping(gateway(server.url, { tools: { exclude: ["drop_*"] } }));
    const asked = { name: "drop_table", arguments: {} };
    const mismatched = await send(running.url, "tools/call", asked, READER, { "mcp-name": "search" });
    expect(mismatched.status).toBe(400);
    expect(mismatched.headers.get("content-type")).toBe("application/json");
    expect(mismatched.body).toMatchObject({ jsonrpc: "2.0", id: 1, error: { code: -32020 } });
    expect(Object.keys(mismatched.body).sort()).toEqual(["error", "id", "jsonrpc"]);
    expect((await send(running.url, "tools/call", asked, READER, { "mcp-method": "ping" })).body.error?.code).toBe(-32020);
    const unknown = await send(running.url, "tools/list", {}, READER, { "mcp-protocol-version": "2031-01-01" });
    expect(unknown.body.error?.code).toBe(-32020);
    const old = await post(running.url, legacy("tools/list"), READER, { "mcp-protocol-version": "2031-01-01" });
    expect(old.body.error).toMatchObject({
      code: -32022,
      data: { requested: "2031-01-01", supported: expect.arrayContaining([VERSION, "2025-11-25"]) },
    });
    expect(server.seen).toEqual([]);
  });

  test("looks at each call of a batch, takes one at most, and refuses what servers may read in another way", async () => {
    using server = answering(() => Response.json([]));
    await using running = stopping(gateway(server.url, { tools: { include: ["search"] } }));
    const call = (name: string, id = 1) => legacy("tools/call", { name }, id);
    expect((await post(running.url, [legacy("ping", {}, 2), call("search")])).status).toBe(200);
    const refused = await post(running.url, [legacy("ping", {}, 2), call("drop_table")]);
    expect([refused.status, refused.body.error?.code]).toEqual([403, -32602]);
    expect((await post(running.url, [call("search"), call("search", 2)])).body.error).toMatchObject({
      code: -32600,
      message: expect.stringContaining("more than one tool"),
    });
    for (const body of [
      '{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"drop_table"}}',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","name":"drop_table"}}',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"NAME":"drop_table"}}',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}',
      "not JSON",
    ])
      expect([body, (await post(running.url, body)).status]).toEqual([body, 400]);
    // One without an id is called all the same.
    expect((await post(running.url, { jsonrpc: "2.0", method: "tools/call", params: { name: "drop_table" } })).status).toBe(403);
    expect(server.bodies).toHaveLength(1);
  });

  test("takes messages by POST alone, as JSON in UTF-8 that is not compressed", async () => {
    using server = answering(() => Response.json({}));
    await using running = stopping(gateway(server.url, { tools: { include: ["search"] } }));
    const call = JSON.stringify(legacy("tools/call", { name: "drop_table" }));
    const asked = async (method: string, headers: Record<string, string>, body: string | Uint8Array<ArrayBuffer> | null = call) => {
      const answer = await fetch(`${running.url}/mcp`, { method, headers: { "x-api-key": READER, ...headers }, body });
      return { status: answer.status, body: (await answer.json()) as Answer };
    };
    expect((await asked("PUT", { "content-type": "application/json" })).status).toBe(405);
    expect((await asked("DELETE", { "content-type": "application/json" })).status).toBe(400);
    expect((await asked("POST", { "content-type": "text/plain" })).status).toBe(415);
    expect((await asked("POST", { "content-type": "application/json; charset=utf-7" })).status).toBe(415);
    const gzipped = Bun.gzipSync(Buffer.from(call));
    expect((await asked("POST", { "content-type": "application/json", "content-encoding": "gzip" }, gzipped)).status).toBe(415);
    expect((await asked("POST", { "content-type": "application/json" }, Buffer.from(call, "utf16le"))).status).toBe(400);
    const upgrade = { "content-type": "application/json", connection: "Upgrade", upgrade: "websocket" };
    expect((await asked("POST", upgrade)).status).toBe(400);
    expect(server.bodies).toEqual([]);
    expect((await asked("DELETE", {}, null)).status).toBe(200);
    // As clients of Java ask for HTTP/2.
    const h2c = { "content-type": "application/json", connection: "Upgrade, HTTP2-Settings", upgrade: "h2c", "http2-settings": "AAMAAABk" };
    expect((await asked("POST", h2c, JSON.stringify(legacy("ping")))).status).toBe(200);
    expect(server.bodies).toEqual(["", JSON.stringify(legacy("ping"))]);
  });

  test("takes messages up to the route's bound, also when they come in chunks", async () => {
    using server = toolServer();
    await using running = stopping(gateway(server.url, {}, { maxBodySize: "3mb" }));
    const message = (size: number) => JSON.stringify(legacy("tools/call", { name: "search", arguments: { text: "x".repeat(size) } }));
    const chunked = (text: string) =>
      fetch(`${running.url}/mcp`, {
        method: "POST",
        headers: { "content-type": "application/json", accept: "application/json, text/event-stream", "x-api-key": READER },
        body: new Blob([text]).stream(),
      });
    const streams = await Promise.all(Array.from({ length: 20 }, () => chunked(message(2_000_000))));
    expect(streams.map(({ status }) => status)).toEqual(Array(20).fill(200));
    for (const stream of streams) await stream.text();
    expect(server.calls).toHaveLength(20);
    expect((await post(running.url, message(3_200_000))).body).toMatchObject({
      jsonrpc: "2.0",
      code: "bodyTooLarge",
      error: { code: 413 },
    });
    const large = await chunked(message(3_200_000));
    expect(large.status).toBe(413);
    await large.text();
    expect(server.calls).toHaveLength(20);
  });

  test("takes the lists apart that come by the streams of older versions, event by event", async () => {
    const list = `{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"search","max":9007199254740993},{"name":"drop_table"}],"nextCursor":"b"}}`;
    const stream = `: here\n\nid: 1\r\nevent: message\r\ndata: ${list.slice(0, 16)}\r\ndata: ${list.slice(16)}\r\n\r\ndata: {"jsonrpc":"2.0","method":"notifications/progress"}\n\ndata: not "tools"\n\n`;
    // Wherever it is cut.
    for (const size of [1, 7, 64, 1000]) {
      const pieces = Array.from({ length: Math.ceil(stream.length / size) }, (_, i) => Buffer.from(stream.slice(i * size, (i + 1) * size)));
      using server = answering(() => {
        const left = [...pieces];
        const body = new ReadableStream({
          pull: (controller) => {
            const next = left.shift();
            if (next === undefined) controller.close();
            else controller.enqueue(next);
          },
        });
        return new Response(body, { headers: { "content-type": "text/event-stream" } });
      });
      await using running = stopping(gateway(server.url, { tools: { include: ["search"] } }));
      const answer = await fetch(`${running.url}/mcp`, { headers: { "x-api-key": READER, accept: "text/event-stream" } });
      expect(await answer.text()).toBe(
        ': here\n\nid: 1\nevent: message\ndata: {"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"search","max":9007199254740993}],"nextCursor":"b"}}\n\ndata: {"jsonrpc":"2.0","method":"notifications/progress"}\n\ndata: not "tools"\n\n',
      );
    }
  });

  test("finds the list of a stream that begins with a byte order mark", async () => {
    using server = answering(
      () =>
        new Response('\ufeffdata: {"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search"},{"name":"drop_table"}]}}\n\n', {
          headers: { "content-type": "text/event-stream" },
        }),
    );
    await using running = stopping(gateway(server.url, { tools: { include: ["search"] } }));
    const answer = await fetch(`${running.url}/mcp`, { headers: { "x-api-key": READER, accept: "text/event-stream" } });
    expect(await answer.text()).toBe('data: {"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search"}]}}\n\n');
  });

  test("shows no list that it can't read", async () => {
    let answer = new Response();
    using server = answering(() => answer);
    await using running = stopping(gateway(server.url, { tools: { include: ["search"] } }));
    const zipped = Bun.gzipSync(Buffer.from('{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"drop_table"}]}}'));
    answer = new Response(zipped, { headers: { "content-type": "application/json", "content-encoding": "gzip" } });
    expect(await post(running.url, legacy("tools/list"))).toMatchObject({
      status: 502,
      body: { jsonrpc: "2.0", id: 1, error: { code: -32603 } },
    });
    answer = new Response("tools: drop_table", { headers: { "content-type": "text/plain" } });
    expect((await post(running.url, legacy("tools/list"))).status).toBe(502);
    answer = new Response("Accepted", { status: 202 });
    const accepted = await fetch(`${running.url}/mcp`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-api-key": READER },
      body: JSON.stringify(legacy("tools/list")),
    });
    expect([accepted.status, await accepted.text()]).toEqual([202, "Accepted"]);
  });

  test("charges what a tool costs, and counts limits by tool for calls alone", async () => {
    using server = toolServer();
    const limits = [
      { name: "all", algorithm: "fixed-window", limit: 20, window: "1h", by: "consumer" },
      { name: "each", algorithm: "fixed-window", limit: 10, window: "1h", by: ["consumer", "tool"] },
    ];
    await using running = stopping(gateway(server.url, { tools: { exclude: ["drop_*"] }, cost: { search: 5, "get_*": 0 } }, { limits }));
    const left = async (method: string, params: object = {}) => (await send(running.url, method, params)).headers.get("ratelimit");
    expect(await left("tools/list")).toMatch(/^"all";r=19;t=\d+$/);
    expect(await left("tools/call", { name: "search" })).toMatch(/"all";r=14.*"each";r=5/);
    expect(await left("tools/call", { name: "get_time" })).toMatch(/"all";r=14.*"each";r=10/);
    expect(await left("tools/call", { name: "write_file" })).toMatch(/"all";r=13.*"each";r=9/);
    expect(await left("tools/call", { name: "drop_table" })).toBeNull();
    expect(await left("tools/call", { name: "search" })).toMatch(/"all";r=8.*"each";r=0/);
    const limited = await send(running.url, "tools/call", { name: "search" });
    expect(limited.status).toBe(429);
    expect(limited.body).toMatchObject({ jsonrpc: "2.0", id: 1, code: "rateLimited", error: { code: 429, data: { code: "rateLimited" } } });
    expect(limited.headers.get("retry-after")).not.toBeNull();
    expect(limited.headers.get("content-type")).toBe("application/json");
    const plain = await send(running.url, "tools/call", { name: "search" }, READER, { accept: "*/*" });
    expect(plain).toMatchObject({ status: 429, body: { code: "rateLimited", error: { code: 429 } } });
    expect(plain.headers.get("content-type")).toBe("application/problem+json");
    expect((await send(running.url, "tools/call", { name: "write_file" })).status).toBe(200);
  });

  test("is called with a key of a pool by callers who are bound to models, and costs none of their money", async () => {
    using server = toolServer();
    const bound = "a-key-of-bound-0123456789";
    const limits = [{ name: "money", algorithm: "fixed-window", limit: "0.000001", window: "1h", cost: "usd" }];
    const config = {
      prices: { "gpt-5*": { input: 1000, output: 1000 } },
      pools: { tools: { keys: [{ id: "one", secret: "a-secret-of-the-tools", limit: 1000, window: "1h" }] } },
      consumers: [{ id: "bound", tier: "team", models: ["gpt-5*"], limits, keys: [bound] }],
    };
    await using running = stopping(gateway(server.url, {}, { credential: { pool: "tools" } }, config));
    expect((await send(running.url, "tools/list", {}, bound)).status).toBe(200);
    expect((await send(running.url, "tools/call", { name: "search", arguments: { model: "gpt-4" } }, bound)).status).toBe(200);
  });

  test("is judged by the headers of the newest version where a proxy asks that does not send the message", async () => {
    using server = toolServer();
    const limits = [{ name: "each", algorithm: "fixed-window", limit: 1, window: "1h", by: "tool" }];
    await using running = stopping(gateway(server.url, { tools: { include: ["search"] } }, { limits }, { authz: {} }));
    const asked = async (headers: Record<string, string>) => {
      const described = { "x-forwarded-method": "POST", "x-forwarded-uri": "/mcp", "x-forwarded-for": "203.0.113.7", "x-api-key": READER };
      return (await fetch(`${running.url}/authz`, { headers: { ...described, ...headers } })).status;
    };
    const modern = { "mcp-protocol-version": VERSION, "mcp-method": "tools/call" };
    expect(await asked({ ...modern, "mcp-name": "search" })).toBe(200);
    expect(await asked({ ...modern, "mcp-name": "search" })).toBe(429);
    expect(await asked({ ...modern, "mcp-name": "drop_table" })).toBe(403);
    expect(await asked(modern)).toBe(403);
    expect(await asked({ ...modern, "mcp-method": "tools/list" })).toBe(200);
    expect(await asked({ "mcp-protocol-version": "2025-11-25", "mcp-method": "tools/call", "mcp-name": "search" })).toBe(403);
    expect(await asked({})).toBe(403);
  });

  test("is judged by the name that its header stands for", async () => {
    using server = toolServer();
    await using running = stopping(gateway(server.url, { tools: { exclude: ["drop_*"] } }, {}, { authz: {} }));
    const asked = async (name: string) => {
      const described = { "x-forwarded-method": "POST", "x-forwarded-uri": "/mcp", "x-forwarded-for": "203.0.113.7", "x-api-key": READER };
      const headers = { ...described, "mcp-protocol-version": VERSION, "mcp-method": "tools/call", "mcp-name": name };
      return (await fetch(`${running.url}/authz`, { headers })).status;
    };
    const encoded = (name: string) => `=?base64?${Buffer.from(name).toString("base64")}?=`;
    expect(await asked(encoded("search"))).toBe(200);
    expect(await asked(encoded("drop_table"))).toBe(403);
    expect(await asked("=?base64?drop_table?=")).toBe(403);
    expect(await asked("a".repeat(257))).toBe(403);
  });

  test("tells usage, metrics and explain of tools", async () => {
    using server = toolServer();
    const mcp = { tools: { include: ["search", "get_*"] }, cost: { search: 3 }, scopes: { get_time: ["time"] } };
    await using running = stopping(gateway(server.url, mcp));
    await send(running.url, "tools/call", { name: "search" });
    await send(running.url, "tools/call", { name: "search" }, WRITER);
    await send(running.url, "tools/call", { name: "get_time" });
    await send(running.url, "tools/call", { name: "made_up" });
    await send(running.url, "tools/list");
    const metrics = await (await running.admin("GET", "/metrics")).text();
    const counts = Object.fromEntries(
      [...metrics.matchAll(/^sluice_mcp_calls_total\{route="tools",tool="(.*)",outcome="(.*)"\} (\d+)$/gm)].map(
        ([, tool, outcome, count]) => [`${tool} ${outcome}`, Number(count)],
      ),
    );
    expect(counts).toMatchObject({
      "search answered": 2,
      "search refused": 0,
      "get_time refused": 1,
      "other refused": 1,
      "other answered": 0,
    });
    running.clock.advance(3_600_000);
    const usage = (await (await running.admin("GET", "/admin/usage?by=tool")).json()) as { items: { tool: string; requests: number }[] };
    expect(usage.items.find(({ tool }) => tool === "search")?.requests).toBe(2);

    const explained = async (query: string) =>
      (await (await running.admin("GET", `/admin/explain?route=tools&${query}`)).json()) as {
        allowed: boolean | null;
        refusal: { code: string } | null;
      };
    expect(await explained("consumer=reader&tool=search")).toMatchObject({ allowed: true, refusal: null });
    expect(await explained("consumer=reader&tool=get_time")).toMatchObject({ allowed: false, refusal: { code: "forbidden" } });
    expect(await explained("consumer=reader&tool=drop_table")).toMatchObject({ allowed: false, refusal: { code: "toolUnknown" } });
    expect(await explained("consumer=reader")).toMatchObject({ allowed: null, unknown: [expect.stringContaining("tool")] });
    const walked = await running.admin("POST", "/admin/explain/request", { method: "POST", target: "/mcp", key: READER, tool: "search" });
    expect(await walked.json()).toMatchObject({
      refusal: null,
      steps: expect.arrayContaining([{ step: "tool", passed: true, detail: expect.stringContaining("takes 3") }]),
    });
  });
});

/** Stops a gateway at the end of its test. */
function stopping(running: ReturnType<typeof serving>) {
  return { ...running, [Symbol.asyncDispose]: () => running.stop() };
}
