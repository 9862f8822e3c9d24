import { expect, test } from "bun:test";
import { openApiDocument } from "../../src/cli/openapi-document.ts";
import { admin } from "./harness.ts";

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
  readonly enum?: readonly unknown[];
}
type Document = { readonly openapi: string; readonly paths: Record<string, Record<string, Operation>> };

const operations = (document: Document) =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ at: `${method} ${path}`, operation })),
  );

/** An enumeration's values speak for themselves. */
const isDescribed = (field: Schema): boolean =>
  field.description !== undefined || field.enum !== undefined || (field.anyOf ?? []).some(isDescribed);

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

test("every field that a body may hold is described", async () => {
  const document = (await openApiDocument()) as Document;
  const missing = operations(document).flatMap(({ at, operation }) =>
    Object.values(operation.requestBody?.content ?? {}).flatMap(({ schema }) =>
      schema === undefined ? [`${at} has no schema`] : undescribed(schema, at),
    ),
  );
  expect(missing).toEqual([]);
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
