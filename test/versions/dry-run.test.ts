import { expect, test } from "bun:test";
import { FakeClock } from "../support/clock.ts";
import { serving } from "../support/serving.ts";

test("a dry run, and an apply that is refused, leave alone the key whose hash they name for another consumer", async () => {
  const gateway = serving({ selfService: {}, tiers: { anonymous: { limits: [] }, plain: { limits: [] } } }, new FakeClock());
  const use = async (key: string) => (await fetch(`${gateway.url}/api/v1/me`, { headers: { "x-api-key": key } })).status;
  try {
    await gateway.admin("POST", "/admin/consumers", { id: "acme", tier: "plain" });
    const made = (await (await gateway.admin("POST", "/admin/keys", { consumer: "acme" })).json()) as { key: string };
    const dump = (await (await gateway.admin("GET", "/admin/state?keys=true")).json()) as { consumers: { acme: { keys: object[] } } };
    const state = { consumers: { ...dump.consumers, beta: { tier: "plain", keys: dump.consumers.acme.keys } } };
    for (const query of ["?dryRun=true", ""]) {
      const answer = await gateway.admin("PUT", `/admin/state${query}`, { state });
      expect([answer.status, await answer.text()]).toEqual([422, expect.stringContaining("This key exists already")]);
    }
    // Nobody has used it so far: it is looked up now.
    expect(await use(made.key)).toBe(200);
    expect(gateway.faults).toEqual([]);
  } finally {
    await gateway.stop();
  }
});
