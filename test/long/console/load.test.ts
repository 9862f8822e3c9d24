import { expect } from "bun:test";
import { backend } from "../../support/backend.ts";
import { consoleTests } from "../../support/console.ts";
import { until } from "../../support/until.ts";

const screenTest = consoleTests(async () => {
  const behind = backend();
  return {
    config: {
      tiers: { anonymous: { limits: [] } },
      upstreams: { main: { targets: [{ url: behind.url }] } },
      routes: [{ name: "busy", path: "/busy", upstream: "main", auth: "none" }],
    },
  };
});

/** Milliseconds until the first paint on this machine, which others may keep busy. */
const FIRST_PAINT = process.env.CI ? 1000 : 200;
const A_SECOND = 1000;
const SECONDS = 60;

screenTest("paints at once", async ({ open, page }) => {
  const paints: number[] = [];
  for (let i = 0; i < 5; i++) {
    await open();
    paints.push(await page.evaluate<number>(`performance.getEntriesByName("first-contentful-paint")[0].startTime`));
  }
  const [, , median = 0] = paints.toSorted((a, b) => a - b);
  console.log(`first paint: ${Math.round(median)} ms`);
  expect(median).toBeLessThan(FIRST_PAINT);
});

screenTest(
  "a thousand events a second for a minute are watched without the page or the gateway suffering",
  async ({ gateway, open, page }) => {
    await open("/start?upstream=main&route=busy&path=/busy&auth=none");
    const session = await page.context().newCDPSession(page);
    await session.send("Performance.enable");
    const measured = async (): Promise<Record<string, number>> => {
      await session.send("HeapProfiler.collectGarbage");
      const { metrics } = await session.send("Performance.getMetrics");
      return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
    };
    await page.evaluate(`globalThis.longest = 0; new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
    }).observe({ type: "longtask" })`);
    const call = () => fetch(`${gateway.url}/busy`).then((answer) => answer.arrayBuffer());
    await call();
    await page.getByText("Here it is.").waitFor();
    const before = await measured();
    const latencies: number[] = [];
    let sent = 0;
    const end = performance.now() + SECONDS * 1000;
    const begin = performance.now();
    // As many as are due are sent: a machine that is slow for a moment catches up.
    while (performance.now() < end) {
      const due = Math.floor(((performance.now() - begin) / 1000) * A_SECOND) - sent;
      const batch = Math.min(due, 50);
      sent += batch;
      const at = performance.now();
      await Promise.all(Array.from({ length: batch }, call));
      if (batch > 0) latencies.push(performance.now() - at);
      await Bun.sleep(5);
    }
    const after = await measured();
    const longest = await page.evaluate<number>("longest");
    latencies.sort((a, b) => a - b);
    const share = ((after.TaskDuration ?? 0) - (before.TaskDuration ?? 0)) / SECONDS;
    const heap = ((after.JSHeapUsedSize ?? 0) - (before.JSHeapUsedSize ?? 0)) / 1e6;
    console.log(
      `${Math.round(sent / SECONDS)} requests a second, ${(share * 100).toFixed(1)} % of a core, ${heap.toFixed(2)} MB more, ${after.Nodes} nodes (${before.Nodes}), longest task ${Math.round(longest)} ms, median of batches ${Math.round(latencies[Math.floor(latencies.length / 2)] ?? 0)} ms`,
    );
    expect(sent).toBeGreaterThan((A_SECOND * SECONDS) / 2);
    // Nothing grows, and the page stays quick.
    expect(heap).toBeLessThan(5);
    expect(after.Nodes ?? 0).toBeLessThan((before.Nodes ?? 0) + 500);
    expect(share).toBeLessThan(0.5);
    // Whoever watches is still told of each: none was dropped for being slow.
    const metrics = await (await gateway.admin("GET", "/metrics")).text();
    expect(/^sluice_event_readers_dropped_total(?:\{[^}]*\})? (\d+)/m.exec(metrics)?.[1] ?? "0").toBe("0");
    await until(async () => (await page.getByText("Here it is.").count()) === 1);
  },
);
