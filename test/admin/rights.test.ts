import { expect, test } from "bun:test";
import { openApiDocument } from "../../src/cli/openapi-document.ts";
import { admin, TOKEN } from "./harness.ts";

/** Whoever may call an operation that changes something, besides admins. */
const NOT_FOR_ADMINS_ALONE: Readonly<Record<string, "viewer" | "operator">> = {
  "POST /admin/explain/request": "viewer",
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

test("every operation of the admin API is for the least role that the API says, and for those above it", async () => {
  using gateway = admin();
  const tokens = {
    viewer: (await gateway.post("/admin/tokens", { name: "eve", role: "viewer" })).json.token as string,
    operator: (await gateway.post("/admin/tokens", { name: "ops", role: "operator" })).json.token as string,
    admin: TOKEN,
  };
  const { paths } = (await openApiDocument()) as { paths: Record<string, object> };
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    path.startsWith("/admin") ? Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path: path.replace(/\/$/, "") })) : [],
  );
  expect(operations.length).toBeGreaterThan(50);
  const least: Record<string, string> = {};
  for (const { method, path } of operations) {
    // A stream of events does not end by itself, and everybody may look.
    if (path === "/admin/events") continue;
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
    .filter(({ path }) => path !== "/admin/events")
    .map(({ method, path }) => [
      `${method} ${path}`,
      method === "GET" ? "viewer" : (NOT_FOR_ADMINS_ALONE[`${method} ${path}`] ?? "admin"),
    ]);
  expect(least).toEqual(Object.fromEntries(expected));
});
