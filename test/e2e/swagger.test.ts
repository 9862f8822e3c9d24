import { describe, expect, test } from "bun:test";
import { OPERATIONS } from "../../src/admin/operations.ts";
import { conformance, type Document, type Operation } from "../support/openapi.ts";
import { ADMIN_TOKEN, start } from "../support/process.ts";

test("every endpoint of the document has a summary, and those that take a body describe it", async () => {
  await using gateway = await start();
  const document = (await (await fetch(`${gateway.url}/swagger/json`)).json()) as { paths: Record<string, Record<string, Operation>> };
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ name: `${method} ${path}`, method, operation })),
  );
  expect(operations.length).toBeGreaterThan(30);
  for (const { name, method, operation } of operations) {
    expect([name, operation.summary]).toEqual([name, expect.stringMatching(/./)]);
    const isPlainAct = /\/(open|close|reload|replay|redeliver|reset|backup|mcp\/secrets\/\{id\})$/.test(name);
    if ((method === "post" || method === "patch") && !isPlainAct) expect([name, operation.requestBody]).toEqual([name, expect.anything()]);
  }
});

/** A configuration of nobody's own, and the demo. */
const GATEWAYS = [
  [
    "a fresh gateway",
    {
      ...{ activities: { auth: "optional" }, keyVerification: {}, selfService: {}, admin: { mcp: true } },
      tiers: { anonymous: { limits: [] }, free: { limits: [] }, pro: { limits: [], selfService: { keys: 9 } } },
    },
  ],
  ["the demo", undefined],
] as const;

describe.each(GATEWAYS)("on %s", (_, config) => {
  test("every example of the document is accepted as it stands, and every answer is what the document says", async () => {
    // The secrets of webhooks are stored under it.
    const env = { SLUICE_SECRET: "c3dhZ2dlci1leGFtcGxlcy1hcmUtYWNjZXB0ZWQtMDE=" };
    await using gateway = await start(config === undefined ? { env } : { config, env });
    const document = (await (await fetch(`${gateway.url}/swagger/json`)).json()) as Document;
    const { faultsOf } = conformance(document);
    let key = "";
    const ids = new Map<string, string>();
    const ask = async (method: string, path: string, body: unknown): Promise<Response> => {
      const operation = document.paths[path]?.[method.toLowerCase()] as Operation;
      const [, , kind = ""] = path.split("/");
      // The first one is there as well, but to restore it takes away what the other examples have made.
      if (path.startsWith("/admin/versions/")) {
        const { items } = (await (await gateway.admin("GET", "/admin/versions?limit=1")).json()) as { items: { number: number }[] };
        ids.set("versions", String(items[0]?.number));
      }
      const target = path.replace(/\{([^}]+)\}/, (_all, name: string) => {
        const sample = operation.parameters?.find((each) => each.in === "path" && each.name === name)?.example as string;
        return encodeURIComponent(ids.get(kind) ?? sample);
      });
      const isOpen = path.startsWith("/api/");
      const answer = await fetch(gateway.url + target, {
        method,
        headers: {
          ...(isOpen ? { "x-api-key": key } : { authorization: `Bearer ${ADMIN_TOKEN}` }),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const isStream = answer.headers.get("content-type") === "text/event-stream";
      if (isStream) await answer.body?.cancel();
      const text = isStream ? "" : await answer.text();
      const type = answer.headers.get("content-type");
      expect([method, path, faultsOf({ method, target, status: answer.status, type, text })]).toEqual([method, path, []]);
      if (method === "POST" && path === "/admin/keys") {
        const made = JSON.parse(text) as { id: string; key: string };
        key = made.key;
        ids.set("keys", made.id);
      }
      if (method === "POST" && path === "/api/v1/me/keys") ids.set("v1", (JSON.parse(text) as { id: string }).id);
      if (path.endsWith("/rotate") && !path.startsWith("/admin/webhooks/")) ({ key } = JSON.parse(text) as { key: string });
      if (method === "POST" && path === "/admin/tokens") ids.set("tokens", (JSON.parse(text) as { id: string }).id);
      return new Response(isStream ? "" : text, { status: answer.status === 204 || answer.status === 304 ? 200 : answer.status });
    };
    const examples = Object.keys(OPERATIONS).flatMap((name) => {
      const [method = "", path = ""] = name.split(" ");
      const content = document.paths[path]?.[method.toLowerCase()]?.requestBody?.content["application/json"];
      // Nobody's token can stand in the document.
      const body = path === "/admin/session" ? { token: ADMIN_TOKEN } : content?.example;
      return content === undefined ? [] : [{ method, path, body }];
    });
    expect(examples.length).toBeGreaterThanOrEqual(20);
    for (const { method, path, body } of examples) {
      const answer = await ask(method, path, body);
      // Neither of these gateways lets the API write its file.
      if (path === "/admin/config/file") {
        expect(answer.status).toBe(403);
        continue;
      }
      // The demo's admin API is no MCP server.
      if (path === "/admin/mcp" && config === undefined) {
        expect(answer.status).toBe(404);
        continue;
      }
      expect([method, path, answer.status < 300, answer.status < 300 ? "" : await answer.text()]).toEqual([method, path, true, ""]);
    }
    // Whatever can be read, with the parameters' examples.
    for (const [path, methods] of Object.entries(document.paths)) {
      if (methods.get === undefined) continue;
      const answer = await ask("GET", path, undefined);
      const hasNoFile = path === "/admin/config/file" && config === undefined;
      const expected = path === "/admin/explain" ? 422 : hasNoFile ? 409 : 200;
      expect([path, answer.status]).toEqual([path, expected]);
    }
    for (const at of ["open", "close"]) expect((await ask("POST", `/admin/breakers/{target}/${at}`, undefined)).status).toBe(200);
    for (const path of ["/admin/pools/{id}/reset", "/admin/backup"]) expect((await ask("POST", path, undefined)).status).toBe(200);
    // And what must not be done is refused as the document says.
    for (const [path, methods] of Object.entries(document.paths))
      for (const method of Object.keys(methods)) {
        if (!path.startsWith("/admin/") || path === "/admin/events") continue;
        const target = path.replace(/\{[^}]+\}/, "nobody");
        for (const headers of [{}, { authorization: `Bearer ${ADMIN_TOKEN}` }] as Record<string, string>[]) {
          if (method === "get" && "authorization" in headers && !path.includes("{")) continue;
          if (path === "/admin/backup" && "authorization" in headers) continue;
          const answer = await fetch(gateway.url + target, { method: method.toUpperCase(), headers });
          const text = await answer.text();
          const type = answer.headers.get("content-type");
          expect([method, path, faultsOf({ method: method.toUpperCase(), target, status: answer.status, type, text })]).toEqual([
            method,
            path,
            [],
          ]);
        }
      }
  });
});

test("the document is given compressed and with an ETag, over real connections", async () => {
  await using gateway = await start();
  const first = await fetch(`${gateway.url}/swagger/json`, { headers: { "accept-encoding": "gzip" } });
  expect(first.headers.get("content-encoding")).toBe("gzip");
  const text = await first.text();
  expect(JSON.parse(text).openapi).toStartWith("3.1");
  const etag = first.headers.get("etag") ?? "";
  const again = await fetch(`${gateway.url}/swagger/json`, { headers: { "if-none-match": etag } });
  expect([again.status, await again.text(), again.headers.get("etag")]).toEqual([304, "", etag]);
  const plain = await fetch(`${gateway.url}/swagger/json`, { headers: { "accept-encoding": "identity" } });
  expect([plain.headers.get("content-encoding"), await plain.text()]).toEqual([null, text]);
  const head = await fetch(`${gateway.url}/swagger`, { method: "HEAD" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
});

test("Swagger UI's page names no file of another host", async () => {
  await using gateway = await start();
  const page = await (await fetch(`${gateway.url}/swagger`)).text();
  const addresses = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? "");
  for (const address of addresses) expect(address).toStartWith("/");
  for (const address of addresses) expect((await fetch(gateway.url + address)).status).toBe(200);
});
