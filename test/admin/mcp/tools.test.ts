import { describe, expect, test } from "bun:test";
import { MAX_TEXT } from "../../../src/admin/mcp/calls.ts";
import type { ShownTool } from "../../../src/admin/mcp/tools.ts";
import { openApiDocument } from "../../../src/cli/openapi-document.ts";
import type { Document } from "../../support/openapi.ts";
import { type Admin, admin, TOKEN } from "../harness.ts";

const ON = { admin: { mcp: true } };

/** Sends a request by the versions before the one without sessions. */
const rpc = (gateway: Admin, method: string, params: object = {}, token: string = TOKEN) =>
  gateway.call("/admin/mcp", { method: "POST", body: { jsonrpc: "2.0", id: 1, method, params }, token });

async function listFor(gateway: Admin, token: string = TOKEN): Promise<ShownTool[]> {
  const { json } = await rpc(gateway, "tools/list", {}, token);
  return json.result.tools;
}

/** Calls a tool, and gives the text of its result, as JSON where it is, and whether it is an error. */
async function use(gateway: Admin, name: string, args: object = {}, token: string = TOKEN) {
  const { json } = await rpc(gateway, "tools/call", { name, arguments: args }, token);
  const { content, isError = false } = json.result;
  expect(content).toHaveLength(1);
  const { text } = content[0] as { text: string };
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came.
  return { text, isError, json: (/^[[{]/.test(text) ? JSON.parse(text) : null) as any };
}

const tokenOf = async (gateway: Admin, role: string): Promise<string> =>
  (await gateway.post("/admin/tokens", { name: `a-${role}`, role })).json.token;

test("there is a tool for each operation of the admin API that takes and gives JSON, and none for what only browsers need", async () => {
  using gateway = admin({ config: ON });
  const { paths } = (await openApiDocument()) as Document;
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    path.startsWith("/admin/") ? Object.values(methods).map(({ operationId }) => operationId) : [],
  );
  const names = (await listFor(gateway)).map(({ name }) => name);
  expect(operations.filter((id) => !names.includes(id)).sort()).toEqual([
    "beginSession",
    "callMcp",
    "createBackup",
    "endSession",
    "exportAudit",
    "getSignInOptions",
    "readEvents",
    "seeSecret",
  ]);
  expect(names.filter((name) => !operations.includes(name))).toEqual([]);
  for (const name of names) expect(name).toMatch(/^[a-zA-Z]{1,64}$/);
});

test("a token sees the tools that its role may use, and no other", async () => {
  using gateway = admin({ config: ON });
  const [viewer, operator, all] = await Promise.all([
    tokenOf(gateway, "viewer").then((token) => listFor(gateway, token)),
    tokenOf(gateway, "operator").then((token) => listFor(gateway, token)),
    listFor(gateway),
  ]);
  expect(viewer.filter(({ annotations }) => !annotations.readOnlyHint)).toEqual([]);
  expect(viewer.map(({ name }) => name)).toEqual(all.filter(({ annotations }) => annotations.readOnlyHint).map(({ name }) => name));
  const runs = operator.filter(({ annotations }) => !annotations.readOnlyHint).map(({ name }) => name);
  expect(runs.sort()).toEqual([
    "closeBreaker",
    "createBlock",
    "deleteBlock",
    "openBreaker",
    "purgeCache",
    "reloadConfig",
    "resetLimits",
    "resetLogging",
    "setHealth",
    "updateLogging",
  ]);
  expect(all.length).toBeGreaterThan(operator.length);
});

test("what a tool of another role is asked for is refused as by the API, in the result", async () => {
  using gateway = admin({ config: ON });
  const viewer = await tokenOf(gateway, "viewer");
  const refused = await use(gateway, "createTier", { body: { name: "gold", limits: [] } }, viewer);
  expect([refused.isError, refused.json.code, refused.json.detail]).toEqual([
    true,
    "forbidden",
    "This takes a token with more rights than viewer.",
  ]);
  expect((await gateway.get("/admin/tiers/gold")).status).toBe(404);
});

test("what deletes, revokes or changes something is marked as destructive, and what only adds something is not", async () => {
  using gateway = admin({ config: ON });
  const all = await listFor(gateway);
  const of = (name: string) => all.find((each) => each.name === name)?.annotations;
  for (const name of [
    "deleteConsumer",
    "revokeKey",
    "rotateKey",
    "revokeToken",
    "resetPool",
    "restoreVersion",
    "applyState",
    "updateTier",
    "createRoute",
    "createToken",
  ])
    expect([name, of(name)]).toEqual([name, expect.objectContaining({ readOnlyHint: false, destructiveHint: true })]);
  for (const name of ["createConsumer", "createKey", "importKeys", "testWebhook"])
    expect([name, of(name)]).toEqual([name, expect.objectContaining({ readOnlyHint: false, destructiveHint: false })]);
  for (const name of ["listKeys", "explain", "explainRequest", "findWhatToExplain", "getConfig"])
    expect([name, of(name)]).toEqual([name, expect.objectContaining({ readOnlyHint: true, destructiveHint: false })]);
});

test("the schema of each tool's arguments is whole: an object, with no reference, each argument described", async () => {
  using gateway = admin({ config: ON });
  for (const { name, inputSchema, description } of await listFor(gateway)) {
    expect([name, JSON.stringify(inputSchema).includes("$ref"), inputSchema.type]).toEqual([name, false, "object"]);
    expect([name, description]).toEqual([name, expect.stringMatching(/^[A-Z].*\.$/s)]);
    for (const [argument, schema] of Object.entries(inputSchema.properties))
      expect([name, argument, (schema as { description?: string }).description]).toEqual([
        name,
        argument,
        expect.stringMatching(/^[^%]+$/),
      ]);
    for (const argument of inputSchema.required ?? []) expect(Object.keys(inputSchema.properties)).toContain(argument);
  }
});

test("a call is a request of the token's: it changes the same, and the audit has the actor, the address and the request's id", async () => {
  using gateway = admin({ config: ON });
  const made = await use(gateway, "createTier", {
    body: { name: "gold", limits: [{ algorithm: "sliding-window", limit: 10, window: "1m" }] },
    note: "größer, for March",
  });
  expect([made.isError, made.json.name]).toEqual([false, "gold"]);
  expect((await gateway.get("/admin/tiers/gold")).json.limits[0].limit).toBe(10);
  const { items } = (await gateway.get("/admin/audit?limit=1")).json;
  expect(items[0]).toMatchObject({ actor: "env", action: "tier.create", subject: "tier gold", requestId: "request-1" });
  expect((await gateway.get("/admin/versions?limit=1")).json.items[0].note).toBe("größer, for March");
  const shown = await use(gateway, "getTier", { id: "gold", part: "/limits/0/limit" });
  expect(shown.text).toBe("10");
  expect((await use(gateway, "deleteTier", { id: "gold", force: true })).text).toBe("Done.");
  expect((await use(gateway, "getTier", { id: "gold" })).json.status).toBe(404);
});

test("a name goes into the path as it is, and leads nowhere else", async () => {
  using gateway = admin({ config: ON });
  await gateway.post("/admin/routes", { name: "a/b@x:1", path: "/a", upstream: "http://127.0.0.1:1" });
  expect((await use(gateway, "getRoute", { id: "a/b@x:1" })).json.path).toBe("/a");
  for (const id of ["..", ".", "../tokens"]) expect([id, (await use(gateway, "getRoute", { id })).isError]).toEqual([id, true]);
  expect((await use(gateway, "deleteConsumer", { id: "../tokens/env" })).json.status).toBe(404);
  // An empty name would lead to the list, and half a character can't be written.
  for (const id of ["", []]) expect((await use(gateway, "getRoute", { id })).text).toBe("id: must not be empty.");
  expect((await use(gateway, "getRoute", { id: "a\ud800" })).text).toBe("id: holds half of a character.");
  const noted = await use(gateway, "createTier", { body: { name: "t", limits: [] }, note: "\udc00" });
  expect(noted.text).toBe("note: holds half of a character.");
});

test("wrong arguments are told in the result, all at once and by name", async () => {
  using gateway = admin({ config: ON });
  expect((await use(gateway, "getTier", { name: "gold" })).text).toBe(
    "name: there is no such argument; there are id, part.\nid: is required.",
  );
  expect((await use(gateway, "createTier", { body: "gold" })).text).toBe("body: must be an object.");
  expect((await use(gateway, "listKeys", { search: { a: 1 } })).text).toBe("search: must be text, a number, true or false.");
  const faulty = await use(gateway, "createTier", { body: { name: "x", limits: [{ algorithm: "none" }] } });
  expect(faulty.json.errors.map(({ path }: { path: string }) => path).sort()).toEqual(["limits[0].algorithm", "limits[0].limit"]);
});

describe("a secret that is shown once", () => {
  const SECRET = "a-secret-for-tests-0123456789abcdef";

  /** Creates what has a secret by each tool that gives one. */
  async function made(gateway: Admin) {
    await gateway.post("/admin/tiers", { name: "free", limits: [] });
    await gateway.post("/admin/consumers", { id: "acme", tier: "free" });
    const key = await use(gateway, "createKey", { body: { consumer: "acme" } });
    return {
      createKey: key,
      rotateKey: await use(gateway, "rotateKey", { id: key.json.id, body: { gracePeriod: "1h" } }),
      createWebhook: await use(gateway, "createWebhook", {
        body: { name: "alerts", url: "https://example.com/x", events: ["key.expiring"] },
      }),
      rotateWebhookSecret: await use(gateway, "rotateWebhookSecret", { id: "alerts" }),
      createToken: await use(gateway, "createToken", { body: { name: "ci", role: "viewer" } }),
      createConsumerLink: await use(gateway, "createConsumerLink", { id: "acme", body: {} }),
    };
  }

  test("is in no result: there is the record's id, and where a person sees it", async () => {
    using gateway = admin({ config: { ...ON, selfService: { url: "https://api.example.com" } }, secret: SECRET });
    for (const [tool, { json, text, isError }] of Object.entries(await made(gateway))) {
      expect([tool, isError, json.id, json.seeAt]).toEqual([
        tool,
        false,
        expect.stringMatching(/./),
        expect.stringMatching(/^\/console\/secret\/\w{24}$/),
      ]);
      expect([tool, text]).toEqual([tool, expect.not.stringMatching(/sl(c|at)_\w{8}|whsec_\w{8}|#link=/)]);
      for (const field of ["key", "secret", "token", "url"].filter((field) => tool !== "createWebhook" || field !== "url"))
        expect([tool, field, /^\*+$/.test(json[field] ?? "*")]).toEqual([tool, field, true]);
    }
  });

  test("is left out by every tool whose answer says that it holds one", async () => {
    using gateway = admin({ config: ON });
    const tools = await listFor(gateway);
    const { paths, components } = (await openApiDocument()) as Document;
    const saysSo = Object.entries(paths).flatMap(([path, methods]) =>
      Object.values(methods).flatMap((operation) => {
        if (!path.startsWith("/admin/")) return [];
        const schemas = JSON.stringify(Object.entries(operation.responses).filter(([status]) => status.startsWith("2")));
        const named = [...schemas.matchAll(/schemas\/(\w+)/g)].map(([, name = ""]) => JSON.stringify(components.schemas[name]));
        return /nowhere else|shown only here/.test(schemas + named) ? [operation.operationId] : [];
      }),
    );
    expect(saysSo.sort()).toEqual(["createConsumerLink", "createKey", "createToken", "rotateKey", "rotateWebhookSecret", "seeSecret"]);
    for (const name of saysSo.filter((each) => each !== "seeSecret"))
      expect([name, tools.find((tool) => tool.name === name)?.description]).toEqual([name, expect.stringContaining("seeAt")]);
  });

  test("is not shown to whoever has a token alone", async () => {
    using gateway = admin({ config: ON });
    const { json } = await use(gateway, "createToken", { body: { name: "ci", role: "viewer" } });
    const id = json.seeAt.split("/").at(-1);
    const refused = await gateway.call(`/admin/mcp/secrets/${id}`, { method: "POST" });
    expect([refused.status, refused.json.detail]).toEqual([
      403,
      "Only a person sees this secret: open its page in the console and sign in.",
    ]);
  });
});

describe("an answer that is too long", () => {
  test("of a list is a page of fewer, from which the next one begins", async () => {
    using gateway = admin({ config: ON });
    const backends = Array.from({ length: 40 }, (_, i) => ({ url: `http://127.0.0.1:${9000 + i}` }));
    for (let i = 0; i < 30; i++) await gateway.post("/admin/upstreams", { name: `u${String(i).padStart(2, "0")}`, targets: backends });
    const names: string[] = [];
    let pages = 0;
    for (let cursor: string | null | undefined; cursor !== null; pages++) {
      const { text, json, isError } = await use(gateway, "listUpstreams", cursor === undefined ? {} : { cursor });
      expect([isError, text.length <= MAX_TEXT]).toEqual([false, true]);
      names.push(...json.items.map(({ name }: { name: string }) => name));
      cursor = json.nextCursor;
    }
    expect(pages).toBeGreaterThan(1);
    expect(names).toEqual(Array.from({ length: 30 }, (_, i) => `u${String(i).padStart(2, "0")}`));
  });

  test("of another tool says of what it is made, and each part can be asked for", async () => {
    using gateway = admin({ config: ON });
    const whole = await use(gateway, "getConfigSchema");
    expect([whole.isError, whole.text]).toEqual([true, expect.stringContaining("/properties: ")]);
    const within = await use(gateway, "getConfigSchema", { part: "/properties" });
    expect([within.isError, within.text]).toEqual([true, expect.stringContaining("/properties/admin: ")]);
    expect((await use(gateway, "getConfigSchema", { part: "/properties/admin/type" })).text).toBe('"object"');
    expect((await use(gateway, "getConfigSchema", { part: "/properties/nothing" })).text).toBe(
      "part: there is nothing at /properties/nothing.",
    );
    expect((await use(gateway, "getConfig", { part: "config.tiers" })).text).toBe('part: must begin with "/", such as /items/0.');
  });
});
