// The whole program, of one process and of several: what workers see is told as well.
import { describe, expect, test } from "bun:test";
import { ADMIN_TOKEN, run } from "../../support/process.ts";
import { startAll } from "../../support/processes.ts";
import { receiver, WEBHOOK_SECRET } from "../../support/receiver.ts";
import { until } from "../../support/until.ts";

const KEY = "a-key-of-the-test-0123";
const config = (hook: string, workers: number) => ({
  server: { workers },
  logging: { accessLog: false },
  webhooks: [{ name: "alerts", url: hook, secret: WEBHOOK_SECRET, events: ["*"] }],
  upstreams: { gone: { targets: [{ url: "http://127.0.0.1:1" }], breaker: { failureThreshold: 2, recoveryTimeout: "1h" } } },
  routes: [{ path: "/gone", upstream: "gone", auth: "required" }],
  tiers: { small: { quota: { limit: 10, period: "day" } } },
  consumers: [{ id: "acme", tier: "small", keys: [KEY] }],
});

describe.each([1, 2])("webhooks of a gateway with %d workers", (workers) => {
  test("are told once of what any process sees, and of what is changed", async () => {
    using hook = receiver();
    const options = { config: config(hook.url, workers) };
    await using gateway = await startAll(options);
    // Over connections of their own, so that each worker gets some.
    for (let i = 0; i < 12; i++) await fetch(`${gateway.url}/gone`, { headers: { "x-api-key": KEY, connection: "close" } });
    const env = { SLUICE_ADMIN_TOKEN: ADMIN_TOKEN, SLUICE_URL: gateway.url };
    const sluice = (...args: string[]) => run(args, { cwd: gateway.folder, env });
    expect((await sluice("keys", "create", "--consumer", "acme", "--quiet")).status).toBe(0);
    await until(() => hook.all.length >= 4);

    const tested = await sluice("webhooks", "test", "alerts", "--event", "pool.empty", "--json");
    expect([tested.status, JSON.parse(tested.stdout)]).toMatchObject([0, { delivered: true, event: "pool.empty", status: 204 }]);
    const listed = await sluice("webhooks", "deliveries", "alerts", "--json");
    const deliveries = JSON.parse(listed.stdout) as { type: string; state: string }[];
    expect(deliveries.map(({ type }) => type).sort()).toEqual(["breaker.opened", "key.created", "quota.100", "quota.80"]);
    expect(deliveries.every(({ state }) => state === "delivered")).toBe(true);
    expect(
      hook
        .types()
        .filter((type) => type !== "pool.empty")
        .sort(),
    ).toEqual(["breaker.opened", "key.created", "quota.100", "quota.80"]);
    const metrics = await (await gateway.admin("GET", "/metrics")).text();
    expect(metrics).toContain('sluice_webhook_waiting{webhook="alerts"} 0');
    expect(metrics).toMatch(/sluice_webhook_deliveries_total\{result="delivered"\} \d/);
  }, 60_000);
});
