import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ADMIN_TOKEN, folder, start } from "../../support/process.ts";

// These need node, npm and python3 with venv, and install the programs themselves into a folder that goes.
const NPM = ["@redocly/cli@2.77.0", "openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3"];
const PIP = ["schemathesis==4.32.5"];

async function run(command: readonly string[], cwd: string): Promise<{ status: number; text: string }> {
  const child = Bun.spawn([...command], { cwd, stdout: "pipe", stderr: "pipe", env: { ...process.env, REDOCLY_TELEMETRY: "off" } });
  const [out, error, status] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { status, text: out + error };
}

/** What somebody would write against the generated types. */
const CLIENT = `
import createClient from "openapi-fetch";
import type { components, paths } from "./client.ts";
const client = createClient<paths>({ baseUrl: "http://127.0.0.1:8080", headers: { authorization: "Bearer x" } });
export async function use(): Promise<unknown[]> {
  const made = await client.POST("/admin/consumers", { body: { id: "acme", tier: "free" } });
  const consumer: components["schemas"]["Consumer"] | undefined = made.data;
  const problem: components["schemas"]["Problem"] | undefined = made.error;
  const key = await client.POST("/admin/keys", { body: { consumer: "acme" }, params: { header: { "Idempotency-Key": "1" } } });
  const text: string | undefined = key.data?.key;
  const tiers = await client.GET("/admin/tiers", { params: { query: { limit: 10 } } });
  const names = tiers.data?.items.map((tier) => [tier.name, tier.source, tier.limits?.[0]?.window]);
  const route = await client.POST("/admin/routes", { body: { path: "/x", upstream: "users" } });
  const changed = await client.PATCH("/admin/routes/{id}", {
    params: { path: { id: "users" }, header: { "If-Match": '"1"' } },
    body: { timeout: "10s" },
  });
  await client.DELETE("/admin/keys/{id}", { params: { path: { id: "k" } } });
  const ready = await client.GET("/ready");
  return [consumer?.createdAt, problem?.code, problem?.errors?.[0]?.path, text, names, route.data?.name, changed.data?.retry?.attempts, ready.data?.warnings];
}
`;

test("linters find nothing in the document, and the client that openapi-typescript generates compiles", async () => {
  using home = folder();
  await using gateway = await start();
  writeFileSync(join(home.path, "package.json"), '{ "private": true }');
  const installed = await run(["npm", "install", "--no-audit", "--no-fund", "--silent", ...NPM], home.path);
  expect(installed).toMatchObject({ status: 0 });
  await Bun.write(join(home.path, "openapi.json"), await fetch(`${gateway.url}/swagger/json`));
  const linted = await run(["npx", "redocly", "lint", "openapi.json"], home.path);
  expect([linted.status, linted.text]).toEqual([0, expect.stringContaining("Your API description is valid")]);
  expect(linted.text).not.toMatch(/\d+ (warning|error)/);
  expect(await run(["npx", "openapi-typescript", "openapi.json", "-o", "client.ts"], home.path)).toMatchObject({ status: 0 });
  writeFileSync(join(home.path, "use.ts"), CLIENT);
  const flags = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--moduleResolution", "nodenext"];
  expect(await run(["npx", "tsc", ...flags, "use.ts"], home.path)).toEqual({ status: 0, text: expect.any(String) });
});

test("two minutes of requests by schemathesis meet no status, type or body that the document does not name, and no 5xx", async () => {
  using home = folder();
  await using gateway = await start({
    config: {
      activities: { auth: "optional" },
      selfService: {},
      keyVerification: {},
      pools: {
        default: { keys: [{ id: "one", limit: 1000, window: "60s" }], services: { service_1: { cost: 1 } }, auth: "none" },
      },
    },
  });
  expect(await run(["python3", "-m", "venv", "venv"], home.path)).toMatchObject({ status: 0 });
  expect(await run(["venv/bin/pip", "install", "--quiet", ...PIP], home.path)).toMatchObject({ status: 0 });
  const checks = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
  ];
  const found = await run(
    [
      join(home.path, "venv/bin/schemathesis"),
      ...["run", `${gateway.url}/swagger/json`, "-H", `Authorization: Bearer ${ADMIN_TOKEN}`],
      // One never ends, one is a file; the token that is used must not go.
      ...["--exclude-operation-id", "readEvents", "--exclude-operation-id", "createBackup", "--exclude-operation-id", "revokeToken"],
      ...["--phases", "examples,coverage,fuzzing", "--max-time", "120", "--no-color", "--checks", checks.join(",")],
    ],
    home.path,
  );
  // Its status also tells of faults of its own, within the library that makes the cases: what counts is that none of them failed.
  const [, generated, passed] = /(\d+) generated, (\d+) passed/.exec(found.text) ?? [];
  expect([passed, found.text]).toEqual([generated ?? "cases", expect.not.stringContaining("FAILURES")]);
  expect(Number(generated)).toBeGreaterThan(1000);
});
