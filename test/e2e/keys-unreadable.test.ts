import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { backend } from "../support/backend.ts";
import { start } from "../support/process.ts";

test("while keys can't be read, keys in use go on, others get 503 and count towards no block, and all is well afterwards", async () => {
  using behind = backend();
  await using gateway = await start({
    config: {
      guard: { invalidKeyLimit: 3 },
      keyVerification: {},
      tiers: { plain: { limits: [] } },
      routes: [{ name: "all", path: "/", upstream: behind.url }],
    },
  });
  await gateway.admin("POST", "/admin/consumers", { id: "acme", tier: "plain" });
  const make = async () => ((await (await gateway.admin("POST", "/admin/keys", { consumer: "acme" })).json()) as { key: string }).key;
  const [used, unused] = [await make(), await make()];
  const show = async (key: string) => {
    const answer = await fetch(gateway.url, { headers: { "x-api-key": key } });
    const { code = null } = (answer.ok ? {} : await answer.json()) as { code?: string };
    return [answer.status, code, answer.headers.get("retry-after")];
  };
  expect(await show(used)).toEqual([200, null, null]);
  using database = new Database(join(gateway.folder, "data", "sluice.db"));
  database.run("PRAGMA busy_timeout = 5000");
  database.run("ALTER TABLE keys RENAME TO gone");
  for (let i = 0; i < 6; i++) expect(await show(unused)).toEqual([503, "keysUnavailable", "5"]);
  expect(await show(used)).toEqual([200, null, null]);
  expect((await gateway.admin("POST", "/v1/keys/verify", { key: unused })).status).toBe(503);
  database.run("ALTER TABLE gone RENAME TO keys");
  expect(await show(unused)).toEqual([200, null, null]);
  // What it prints comes a moment later.
  while (!gateway.output().includes("no such table: keys")) await Bun.sleep(10);
});
