import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ADMIN_TOKEN, type Running, run, start } from "../support/process.ts";

const config = (allowFrom: readonly string[]) => ({ tiers: { anonymous: { limits: [] } }, admin: { allowFrom } });

/** Puts another list in force by the file alone, as somebody does who is locked out. */
async function allow(gateway: Running, allowFrom: readonly string[]): Promise<void> {
  const before = gateway.output().split("configuration reloaded").length;
  writeFileSync(join(gateway.folder, "config.json"), JSON.stringify(config(allowFrom)));
  while (gateway.output().split("configuration reloaded").length === before) await Bun.sleep(10);
}

test("admin.allowFrom follows the file without a restart; the command line says why it is refused, and readers of events are sent away", async () => {
  await using gateway = await start({ config: config([]) });
  const list = () => run(["keys", "list"], { cwd: gateway.folder, env: { SLUICE_URL: gateway.url, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN } });
  expect((await list()).status).toBe(0);
  const events = await gateway.admin("GET", "/admin/events");
  const reading = events.text();
  await allow(gateway, ["10.0.0.0/8"]);
  // It ends, and does not break off.
  expect(await reading).toStartWith(":");
  const refused = await list();
  expect([refused.status, refused.stdout]).toEqual([1, ""]);
  expect(refused.stderr).toBe(
    "sluice: What takes an admin token can't be used from your address: admin.allowFrom in the gateway's configuration does not name it.\n",
  );
  expect((await gateway.admin("POST", "/admin/config/reload")).status).toBe(403);
  await allow(gateway, ["127.0.0.1"]);
  expect((await list()).status).toBe(0);
});
