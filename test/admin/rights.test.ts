import { expect, test } from "bun:test";
import { Elysia } from "elysia";
import { own, recordsOf } from "../../src/admin/resource.ts";
import { isAtLeast, leastRole, ROLES, resourceFinder } from "../../src/admin/rights.ts";
import { openApiDocument } from "../../src/cli/openapi-document.ts";
import { admin, TOKEN } from "./harness.ts";

/** Whoever may call an operation that changes something, besides admins. */
const NOT_FOR_ADMINS_ALONE: Readonly<Record<string, "viewer" | "operator">> = {
  "POST /admin/explain/request": "viewer",
  "POST /admin/mcp": "viewer",
  "POST /admin/session": "viewer",
  "DELETE /admin/session": "viewer",
  "POST /admin/explain/find": "viewer",
  "POST /admin/health": "operator",
  "POST /admin/blocks": "operator",
  "DELETE /admin/blocks/{ip}": "operator",
  "POST /admin/breakers/{target}/close": "operator",
  "POST /admin/breakers/{target}/open": "operator",
  "DELETE /admin/cache": "operator",
  "DELETE /admin/limits/{consumer}": "operator",
  "PATCH /admin/logging": "operator",
  "DELETE /admin/logging": "operator",
  "POST /admin/config/reload": "operator",
};

/** A stream of events does not end by itself, and everybody may look; what an assistant had made is shown to people alone, and to no token. */
const APART = ["/admin/events", "/admin/mcp/secrets/{id}"];

test("every operation of the admin API is for the least role that the API says, and for those above it", async () => {
  using gateway = admin();
  const tokens = {
    viewer: (await gateway.post("/admin/tokens", { name: "eve", role: "viewer" })).json.token as string,
    operator: (await gateway.post("/admin/tokens", { name: "ops", role: "operator" })).json.token as string,
    admin: TOKEN,
  };
  const { paths } = (await openApiDocument()) as { paths: Record<string, object> };
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    path.startsWith("/admin")
      ? Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path: path.replace(/\/$/, "") }))
      : [],
  );
  expect(operations.length).toBeGreaterThan(50);
  const least: Record<string, string> = {};
  for (const { method, path } of operations) {
    if (APART.includes(path)) continue;
    // No record of this name is there: whoever may do it is told so.
    const target = path.replaceAll(/\{\w+\}/g, "none");
    for (const [role, token] of Object.entries(tokens)) {
      const answer = await gateway.call(target, { method, token, ...(method === "GET" ? {} : { body: {} }) });
      if (answer.status === 403) continue;
      least[`${method} ${path}`] = role;
      break;
    }
  }
  const expected = operations
    .filter(({ path }) => !APART.includes(path))
    .map(({ method, path }) => [`${method} ${path}`, method === "GET" ? "viewer" : (NOT_FOR_ADMINS_ALONE[`${method} ${path}`] ?? "admin")]);
  expect(least).toEqual(Object.fromEntries(expected));
});

const routes = (path: string) => new Elysia({ prefix: path }).get("/", () => "");
const resources = [
  own(routes("/health"), "operator"),
  own(routes("/config"), "admin", { "POST /reload": "operator" }),
  recordsOf("block", routes("/blocks")),
  recordsOf("token", routes("/tokens"), routes("/tokens")),
];
const resourceAt = resourceFinder(resources);
const least = (method: string, path: string): string => leastRole(resourceAt(path), method, path);

test("a role has the rights of those before it", () => {
  expect(ROLES.map((role) => ROLES.filter((other) => isAtLeast(role, other)).length)).toEqual([1, 2, 3]);
});

test.each([
  ["GET", "/admin/tokens", "viewer"],
  ["HEAD", "/admin/nothing", "viewer"],
  ["POST", "/admin/health", "operator"],
  ["POST", "/admin/health/", "operator"],
  ["PATCH", "/admin/health/any/depth", "operator"],
  ["DELETE", "/admin/blocks/10.0.0.0%2F8", "operator"],
  ["POST", "/admin/config/reload", "operator"],
  ["POST", "/admin/config/reload/now", "admin"],
  ["POST", "/admin/config", "admin"],
  ["POST", "/admin/tokens", "admin"],
  // What is mounted nowhere, or only looks like it.
  ["POST", "/admin/healthy", "admin"],
  ["POST", "/admin/%68ealth", "admin"],
  ["POST", "/admin//health", "admin"],
  ["POST", "//admin/health", "admin"],
  ["POST", "/admins/health", "admin"],
  ["POST", "/admin", "admin"],
  ["POST", "/admin/__proto__", "admin"],
])("%s %s takes the role %p at least", (method, path, role) => {
  expect(least(method, path)).toBe(role);
});

test("what instances share is changed one at a time: the records of a kind", () => {
  expect(resources.map(({ path, isShared }) => [path, isShared])).toEqual([
    ["health", false],
    ["config", false],
    ["blocks", true],
    ["tokens", true],
  ]);
});

test("a resource can't be mounted where its rights would not be found", () => {
  expect(() =>
    own(
      new Elysia().get("/loose", () => ""),
      "admin",
    ),
  ).toThrow("one prefix");
  expect(() => own(routes("/two/segments"), "admin")).toThrow("one prefix");
  expect(() => recordsOf("key", routes("/keys"), routes("/other"))).toThrow("one prefix");
  expect(() => resourceFinder([own(routes("/health"), "operator"), own(routes("/health"), "admin")])).toThrow("same path");
});
