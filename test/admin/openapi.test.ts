import { expect, test } from "bun:test";
import { openApiDocument } from "../../src/cli/openapi-document.ts";
import { conformance, type Document as Full, type Operation as FullOperation } from "../support/openapi.ts";
import { admin } from "./harness.ts";

const each = (document: Full): { at: string; operation: FullOperation }[] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ at: `${method} ${path}`, operation })),
  );

interface Operation {
  readonly summary?: string;
  readonly parameters?: readonly { readonly name: string; readonly description?: string; readonly schema?: Schema }[];
  readonly requestBody?: { readonly content?: Record<string, { readonly schema?: Schema }> };
}
interface Schema {
  readonly properties?: Record<string, Schema>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly description?: string;
  readonly $ref?: string;
  readonly enum?: readonly unknown[];
}
type Document = { readonly openapi: string; readonly paths: Record<string, Record<string, Operation>> };

const operations = (document: Document) =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ at: `${method} ${path}`, operation })),
  );

const isDescribed = (field: Schema): boolean =>
  field.description !== undefined || field.$ref !== undefined || (field.anyOf ?? []).some(isDescribed);

/** The fields below a schema that nothing describes. */
function undescribed(schema: Schema, at: string): string[] {
  return [
    ...Object.entries(schema.properties ?? {}).flatMap(([name, field]) => [
      ...(isDescribed(field) ? [] : [`${at}.${name}`]),
      ...undescribed(field, `${at}.${name}`),
    ]),
    ...(schema.items === undefined ? [] : undescribed(schema.items, `${at}[]`)),
    ...[...(schema.anyOf ?? []), ...(schema.allOf ?? [])].flatMap((each) => undescribed(each, at)),
  ];
}

test("the OpenAPI document names every endpoint of the admin API, each with a summary", async () => {
  const document = (await openApiDocument()) as Document;
  expect(document.openapi).toStartWith("3.");
  const all = operations(document);
  expect(all.filter(({ operation }) => operation.summary === undefined).map(({ at }) => at)).toEqual([]);
  const named = all.map(({ at }) => at.replace(/\/$/, ""));
  for (const resource of ["consumers", "tiers", "routes", "upstreams", "keys"]) {
    for (const at of [
      `get /admin/${resource}`,
      `post /admin/${resource}`,
      `get /admin/${resource}/{id}`,
      `patch /admin/${resource}/{id}`,
      `delete /admin/${resource}/{id}`,
    ]) {
      expect(named).toContain(at);
    }
  }
  for (const at of [
    "post /admin/keys/import",
    "post /admin/keys/{id}/rotate",
    "get /admin/limits/{consumer}",
    "delete /admin/limits/{consumer}",
    "get /admin/health",
    "post /admin/health",
    "get /admin/config",
    "get /admin/config/schema",
  ]) {
    expect(named).toContain(at);
  }
});

test("every field of every body and of every answer is described", async () => {
  const document = (await openApiDocument()) as Full;
  const inline = each(document).flatMap(({ at, operation }) =>
    [operation.requestBody, ...Object.values(operation.responses)].flatMap((of) =>
      Object.values(of?.content ?? {}).flatMap(({ schema }) =>
        schema === undefined ? [`${at} has no schema`] : undescribed(schema as Schema, at),
      ),
    ),
  );
  const named = Object.entries(document.components.schemas).flatMap(([name, schema]) => undescribed(schema as Schema, name));
  expect([...inline, ...named]).toEqual([]);
  expect(Object.keys(document.components.schemas).length).toBeGreaterThan(50);
});

test("every parameter is described", async () => {
  const document = (await openApiDocument()) as Document;
  const missing = operations(document).flatMap(({ at, operation }) =>
    (operation.parameters ?? [])
      .filter((parameter) => parameter.description === undefined && !isDescribed(parameter.schema ?? {}))
      .map(({ name }) => `${at} ${name}`),
  );
  expect(missing).toEqual([]);
});

test("no path ends with a slash, and the resources that most people need come first", async () => {
  const document = (await openApiDocument()) as Full;
  expect(Object.keys(document.paths).filter((path) => path.endsWith("/"))).toEqual([]);
  expect(document.tags.slice(0, 5).map(({ name }) => name)).toEqual(["consumers", "keys", "tiers", "routes", "upstreams"]);
  expect(Object.keys(document.paths)[0]).toBe("/admin/consumers");
  const tags = new Set(each(document).flatMap(({ operation }) => operation.tags ?? ["none"]));
  expect([...tags].sort()).toEqual(document.tags.map(({ name }) => name).sort());
});

test("the admin token stands first where a reader authorizes, and under a name that says what it is", async () => {
  const document = (await openApiDocument()) as Full;
  expect(Object.keys(document.components.securitySchemes)).toEqual(["adminToken", "consumerKey"]);
});

test("every operation of the admin API names the statuses of its refusals, each a problem with an example", async () => {
  const document = (await openApiDocument()) as Full;
  for (const { at, operation } of each(document)) {
    const [method = "", path = ""] = at.split(" ");
    const statuses = Object.keys(operation.responses);
    expect([at, statuses.some((status) => status.startsWith("2"))]).toEqual([at, true]);
    if (!path.startsWith("/admin/")) continue;
    const expected = [
      "401",
      "429",
      ...(method === "get" ? [] : ["403"]),
      ...(operation.requestBody === undefined ? [] : ["400", "413", "422"]),
    ];
    if (path.includes("{")) expected.push("404");
    if (/\{id\}$/.test(path) && method === "patch") expected.push("409", "412");
    for (const status of expected) expect([at, statuses]).toEqual([at, expect.arrayContaining([status])]);
  }
  for (const [name, { content }] of Object.entries(document.components.responses)) {
    expect([name, Object.keys(content ?? {})]).toEqual([name, ["application/problem+json"]]);
    expect(content?.["application/problem+json"]?.example).toMatchObject({
      status: expect.any(Number),
      code: expect.any(String),
      requestId: expect.any(String),
    });
  }
});

test("what is printed holds only words that JSON Schema knows, and names for its schemas", async () => {
  const text = JSON.stringify(await openApiDocument());
  for (const word of ["expects", "secretNames", "isUrl", "shown", "instead", "x-refuses"])
    expect([word, text.includes(`"${word}":`)]).toEqual([word, false]);
  const { components } = JSON.parse(text) as Full;
  for (const name of [
    "Consumer",
    "NewConsumer",
    "ConsumerPatch",
    "ConsumerPage",
    "Key",
    "Tier",
    "Route",
    "Upstream",
    "Pool",
    "Limit",
    "Quota",
    "Target",
    "Problem",
  ])
    expect(Object.keys(components.schemas)).toContain(name);
});

test("every body has an example, which its own schema accepts, and every path parameter has one", async () => {
  const document = (await openApiDocument()) as Full;
  const { faultsOfBody } = conformance(document);
  for (const { at, operation } of each(document)) {
    const [method = "", path = ""] = at.split(" ");
    const content = operation.requestBody?.content["application/json"];
    if (content !== undefined) {
      expect([at, content.example]).toEqual([at, expect.anything()]);
      expect([at, faultsOfBody(method, path, content.example)]).toEqual([at, []]);
    }
    for (const parameter of operation.parameters ?? []) {
      expect([at, parameter.name, parameter.description]).toEqual([at, parameter.name, expect.stringMatching(/./)]);
      if (parameter.in === "path") expect([at, String(parameter.example ?? "")]).toEqual([at, expect.stringMatching(/./)]);
    }
  }
});

test("operations say Create, not Make, and have ids that clients can be made of", async () => {
  const document = (await openApiDocument()) as Full;
  const all = each(document);
  expect(all.filter(({ operation }) => /\bMake\b|\ba [aeiou]/.test(operation.summary ?? "")).map(({ at }) => at)).toEqual([]);
  const ids = all.map(({ operation }) => operation.operationId);
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) expect(id).toMatch(/^[a-z][A-Za-z]+$/);
});

test("a method that keys/import does not take is told those that it takes", async () => {
  using gateway = admin();
  const answer = await gateway.call("/admin/keys/import", { method: "OPTIONS" });
  expect([answer.status, answer.headers.get("allow")]).toEqual([405, "POST"]);
  expect((await gateway.call("/admin/keys/some", { method: "OPTIONS" })).headers.get("allow")).toBe("DELETE, GET, PATCH");
});

test("the document is made once: it has an ETag, and who has it already gets 304", async () => {
  using gateway = admin();
  const first = await gateway.call("/swagger/json", { token: null });
  const etag = first.headers.get("etag") ?? "";
  expect(etag).toMatch(/^W\/"[0-9a-f]{32}"$/);
  expect(first.headers.get("cache-control")).toBe("no-cache");
  for (const field of [etag, `"other", ${etag}`, etag.replace("W/", ""), "*"]) {
    const again = await gateway.call("/swagger/json", { token: null, headers: { "if-none-match": field } });
    expect([field, again.status, again.text, again.headers.get("etag")]).toEqual([field, 304, "", etag]);
  }
  expect((await gateway.call("/swagger/json", { token: null, headers: { "if-none-match": '"other"' } })).status).toBe(200);
  for (let i = 0; i < 50; i++) expect((await gateway.call("/swagger/json", { token: null })).text).toBe(first.text);
});

test("the documentation goes compressed to those who take gzip", async () => {
  using gateway = admin();
  for (const path of ["/swagger/json", "/swagger", "/swagger/assets/swagger-ui-bundle.js"]) {
    const plain = await gateway.bytes(path, { "accept-encoding": "identity" });
    expect([path, plain.headers.get("content-encoding"), plain.headers.get("vary")]).toEqual([path, null, "Accept-Encoding"]);
    const zipped = await gateway.bytes(path, { "accept-encoding": "gzip, br" });
    expect([path, zipped.headers.get("content-encoding")]).toEqual([path, "gzip"]);
    expect(Buffer.from(Bun.gunzipSync(new Uint8Array(zipped.bytes))).equals(Buffer.from(plain.bytes))).toBe(true);
    expect((await gateway.bytes(path, { "accept-encoding": "gzip;q=0, identity" })).headers.get("content-encoding")).toBeNull();
  }
});

test("the documentation may not be framed, runs no script of a page's own, and keeps no token", async () => {
  using gateway = admin();
  for (const path of ["/swagger", "/swagger/json", "/swagger/assets/start.js"]) {
    const { headers } = await gateway.call(path, { token: null });
    const policy = headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'self'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain("unsafe");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
  }
  const page = await gateway.call("/swagger", { token: null });
  expect(page.text).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\son[a-z]+=|\sstyle=/);
  expect((await gateway.call("/swagger/assets/start.js", { token: null })).text).toContain("persistAuthorization: false");
  for (const path of ["/admin/consumers", "/admin/nothing"])
    expect((await gateway.call(path)).headers.get("x-content-type-options")).toBe("nosniff");
});

test("Swagger UI is served whole by the gateway: no file of it comes from elsewhere", async () => {
  using gateway = admin();
  const page = await gateway.call("/swagger", { token: null });
  expect(page.headers.get("content-type")).toContain("text/html");
  const loaded = [...page.text.matchAll(/<(?:script|link)[^>]+(?:src|href)="([^"]+)"/g)].map(([, address]) => address ?? "");
  expect(loaded.length).toBeGreaterThan(0);
  for (const address of loaded) {
    expect(address).toStartWith("/swagger/");
    expect([address, (await gateway.call(address, { token: null })).status]).toEqual([address, 200]);
  }
});

test("two gateways in one process both serve the documentation", async () => {
  using first = admin();
  expect((await first.call("/swagger")).status).toBe(200);
  using second = admin();
  expect((await second.call("/swagger")).status).toBe(200);
  expect((await second.call("/swagger/json")).status).toBe(200);
});
