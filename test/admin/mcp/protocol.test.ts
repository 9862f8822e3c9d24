import { afterAll, describe, expect, test } from "bun:test";
import { serving } from "../../support/serving.ts";

const TOKEN = "an-admin-token-0123456789";
const MODERN = "2026-07-28";
const META = {
  "io.modelcontextprotocol/protocolVersion": MODERN,
  "io.modelcontextprotocol/clientInfo": { name: "test", version: "1" },
  "io.modelcontextprotocol/clientCapabilities": {},
};

const gateway = serving({ admin: { mcp: true }, tiers: { free: {} }, consumers: [{ id: "acme", tier: "free" }] });
afterAll(() => gateway.stop());

type Fields = Readonly<Record<string, string>>;

/** Sends a body to the endpoint; an empty field is left out. */
async function send(body: unknown, fields: Fields = {}, url = gateway.url) {
  const all = {
    authorization: `Bearer ${TOKEN}`,
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    ...fields,
  };
  const response = await fetch(`${url}/admin/mcp`, {
    method: "POST",
    headers: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== "")),
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await response.text();
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
  return { status: response.status, headers: response.headers, text, json: (text === "" ? null : JSON.parse(text)) as any };
}

const message = (method: string, params: object = {}, id = 7) => ({ jsonrpc: "2.0", id, method, params });
const modern = (method: string, params: object = {}, fields: Fields = {}) =>
  send(message(method, { ...params, _meta: META }), { "mcp-protocol-version": MODERN, "mcp-method": method, ...fields });

describe("by the version without sessions", () => {
  test("what the server is stands in the answer to server/discover, which a client may keep for itself", async () => {
    const { status, json } = await modern("server/discover");
    expect(status).toBe(200);
    expect(json.result).toMatchObject({
      resultType: "complete",
      capabilities: { tools: {} },
      cacheScope: "private",
      ttlMs: expect.any(Number),
      instructions: expect.stringContaining("role admin"),
      _meta: { "io.modelcontextprotocol/serverInfo": { name: "sluice", version: expect.any(String) } },
    });
    expect(json.result.supportedVersions[0]).toBe(MODERN);
  });

  test("what the instructions name are tools", async () => {
    const { instructions } = (await modern("server/discover")).json.result as { instructions: string };
    const { tools } = (await modern("tools/list")).json.result as { tools: { name: string }[] };
    const named = instructions.match(/\b(get|list|explain|find)[A-Z]?\w*(?=[,.:; ])/g) ?? [];
    expect(named.length).toBeGreaterThan(8);
    expect(named.filter((each) => !tools.some(({ name }) => name === each))).toEqual([]);
  });

  test("lists and results are complete, and say whose they are", async () => {
    const list = await modern("tools/list");
    expect(list.json.result).toMatchObject({ resultType: "complete", cacheScope: "private", ttlMs: expect.any(Number) });
    const { json, headers } = await modern("tools/call", { name: "getHealth", arguments: {} }, { "mcp-name": "getHealth" });
    expect(headers.get("x-sluice-tool")).toBeNull();
    expect(json).toMatchObject({ jsonrpc: "2.0", id: 7, result: { resultType: "complete", content: [{ type: "text" }] } });
    expect(JSON.parse(json.result.content[0].text).status).toBe("NORMAL");
    expect(json.result._meta["io.modelcontextprotocol/serverInfo"].name).toBe("sluice");
  });

  test("a header that says something else than the body is refused, and so is one that is missing", async () => {
    const wrong: Fields[] = [{ "mcp-name": "deleteConsumer" }, { "mcp-name": "" }, { "mcp-name": "getHealth", "mcp-method": "tools/list" }];
    for (const fields of wrong) {
      const { status, json } = await modern("tools/call", { name: "getHealth", arguments: {} }, fields);
      expect([fields, status, json.error.code]).toEqual([fields, 400, -32020]);
    }
    const encoded = `=?base64?${btoa("getHealth")}?=`;
    expect((await modern("tools/call", { name: "getHealth" }, { "mcp-name": encoded })).status).toBe(200);
  });

  test("a version that is not known is refused with those that are", async () => {
    const meta = { ...META, "io.modelcontextprotocol/protocolVersion": "2099-01-01" };
    const { status, json } = await send(message("tools/list", { _meta: meta }), {
      "mcp-protocol-version": "2099-01-01",
      "mcp-method": "tools/list",
    });
    expect([status, json.error.code, json.error.data.requested]).toEqual([400, -32022, "2099-01-01"]);
    expect(json.error.data.supported).toContain(MODERN);
  });

  test("a method that is not there is 404, also those of older versions", async () => {
    for (const method of ["initialize", "ping", "resources/list", "subscriptions/listen", "toString"]) {
      const { status, json } = await modern(method);
      expect([method, status, json.error.code, json.id]).toEqual([method, 404, -32601, 7]);
    }
  });

  test("a request without the client's capabilities is refused", async () => {
    const { "io.modelcontextprotocol/clientCapabilities": _, ...meta } = META;
    const { status, json } = await send(message("tools/list", { _meta: meta }), {
      "mcp-protocol-version": MODERN,
      "mcp-method": "tools/list",
    });
    expect([status, json.error.code]).toEqual([400, -32602]);
  });
});

describe("by the versions before", () => {
  test("initialize agrees on the version that the client asks for, or else on the newest of them", async () => {
    for (const [asked, given] of [
      ["2025-03-26", "2025-03-26"],
      ["2025-11-25", "2025-11-25"],
      ["2099-01-01", "2025-11-25"],
    ]) {
      const { status, json, headers } = await send(message("initialize", { protocolVersion: asked, capabilities: {} }));
      expect([asked, status, json.result.protocolVersion]).toEqual([asked, 200, given]);
      expect(headers.get("mcp-session-id")).toBeNull();
    }
  });

  test("a notification and an answer are taken, and not answered", async () => {
    for (const body of [
      { jsonrpc: "2.0", method: "notifications/initialized" },
      { jsonrpc: "2.0", id: 1, result: {} },
    ]) {
      const { status, text } = await send(body);
      expect([status, text]).toEqual([202, ""]);
    }
  });

  test("the requests of a batch are answered together", async () => {
    const { status, json } = await send([
      message("ping", {}, 1),
      { jsonrpc: "2.0", method: "notifications/initialized" },
      message("tools/call", { name: "getConsumer", arguments: { id: "acme" } }, 2),
      message("nothing", {}, 3),
    ]);
    expect(status).toBe(200);
    expect(json.map(({ id }: { id: number }) => id)).toEqual([1, 2, 3]);
    expect(json[0].result).toEqual({});
    expect(JSON.parse(json[1].result.content[0].text).tier).toBe("free");
    expect(json[2].error.code).toBe(-32601);
  });

  test("a batch of more than ten messages is refused, with what is allowed", async () => {
    const batch = (count: number) => Array.from({ length: count }, (_, id) => message("ping", {}, id));
    const refused = await send(batch(11));
    expect([refused.status, refused.json]).toEqual([
      400,
      {
        jsonrpc: "2.0",
        error: { code: -32600, message: "A batch may hold at most 10 messages here, and this one holds 11: send it in several." },
      },
    ]);
    expect((await send(batch(10))).json).toHaveLength(10);
  });

  test("there is no stream to listen to, and no session to end", async () => {
    const made = await gateway.admin("POST", "/admin/tokens", { name: "looks", role: "viewer" });
    const { token: viewer } = (await made.json()) as { token: string };
    for (const token of [TOKEN, viewer])
      for (const method of ["GET", "DELETE", "PUT", "PATCH"]) {
        const answer = await fetch(`${gateway.url}/admin/mcp`, { method, headers: { authorization: `Bearer ${token}` } });
        expect([method, answer.status, answer.headers.get("allow")]).toEqual([method, 405, "POST"]);
      }
  });
});

test("what is no message is refused with what is wrong", async () => {
  for (const [body, fields, status, code] of [
    ["{", {}, 400, -32700],
    ["[]", {}, 400, -32600],
    ['{"jsonrpc":"1.0","id":1,"method":"ping"}', {}, 400, -32600],
    ['{"jsonrpc":"2.0","id":1,"method":"ping"}', { "content-type": "text/plain" }, 415, -32600],
  ] as const) {
    const answer = await send(body, fields);
    expect([body, answer.status, answer.json.error.code]).toEqual([body, status, code]);
  }
  const unknown = await send(message("tools/call", { name: "none" }));
  expect([unknown.status, unknown.json.error]).toEqual([200, { code: -32602, message: 'There is no tool "none".' }]);
});

test("a page of another origin is refused, and one of the gateway's own is not", async () => {
  const foreign = await send(message("tools/list"), { origin: "https://evil.example.com" });
  expect([foreign.status, foreign.json.code]).toEqual([403, "forbidden"]);
  expect((await send(message("tools/list"), { origin: "null" })).status).toBe(403);
  expect((await send(message("tools/list"), { origin: gateway.url })).status).toBe(200);
});

test("without a token there is nothing, and the console's cookie is none", async () => {
  const missing = await send(message("tools/list"), { authorization: "" });
  expect([missing.status, missing.headers.get("www-authenticate")]).toEqual([401, expect.stringContaining("Bearer")]);
  const signedIn = await fetch(`${gateway.url}/admin/session`, {
    method: "POST",
    headers: { "content-type": "application/json", host: `localhost:${gateway.port}` },
    body: JSON.stringify({ token: TOKEN }),
  });
  expect(signedIn.status).toBe(201);
  const cookie = signedIn.headers.get("set-cookie")?.split(";", 1)[0] ?? "";
  const byCookie = { authorization: "", cookie, "x-sluice-console": "1", origin: gateway.url };
  const refused = await send(message("tools/list"), byCookie);
  expect([refused.status, refused.json.detail]).toEqual([
    403,
    "MCP takes an admin token, as Authorization: Bearer TOKEN: the console's cookie does not count here.",
  ]);
});

test("whoever is signed in to the console sees a secret that was left out: once, and within an hour", async () => {
  const signedIn = await gateway.admin("POST", "/admin/session", { token: TOKEN });
  const cookie = signedIn.headers.get("set-cookie")?.split(";", 1)[0] ?? "";
  const make = async (): Promise<string> => {
    const { json } = await send(message("tools/call", { name: "createKey", arguments: { body: { consumer: "acme" } } }));
    const { seeAt, id } = JSON.parse(json.result.content[0].text);
    expect(seeAt).toStartWith(`${gateway.url}/console/secret/`);
    return `${seeAt.split("/").at(-1)} ${id}`;
  };
  const see = (id: string) =>
    fetch(`${gateway.url}/admin/mcp/secrets/${id}`, { method: "POST", headers: { cookie, "x-sluice-console": "1", origin: gateway.url } });
  const [secret = "", key = ""] = (await make()).split(" ");
  const seen = await (await see(secret)).json();
  expect(seen).toEqual({ what: "key", subject: `key ${key}`, secret: expect.stringMatching(/^slc_/) });
  expect((await see(secret)).status).toBe(404);
  const { items } = (await (await gateway.admin("GET", "/admin/audit?limit=1")).json()) as { items: object[] };
  expect(items[0]).toMatchObject({ action: "secret.see", subject: `key ${key}` });
  const [late = ""] = (await make()).split(" ");
  gateway.clock.advance(3_600_000);
  expect((await see(late)).status).toBe(404);
});

test("it is not there unless the configuration turns it on, and is on the admin API's own listener where there is one", async () => {
  const off = serving({});
  const refused = await send(message("tools/list"), {}, off.url);
  expect([refused.status, refused.json.detail]).toEqual([
    404,
    'The admin API is no MCP server here: set "admin": { "mcp": true } in its configuration.',
  ]);
  await off.stop();
  const apart = serving({ admin: { mcp: true, listen: { host: "127.0.0.1", port: 0 } } });
  expect((await send(message("tools/list"), {}, apart.url)).status).toBe(404);
  const own = await send(message("tools/list"), {}, `http://127.0.0.1:${apart.adminPort}`);
  expect([own.status, own.json.result.tools.length > 50]).toEqual([200, true]);
  await apart.stop();
});
