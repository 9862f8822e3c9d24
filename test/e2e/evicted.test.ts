import { expect, test } from "bun:test";
import { backend } from "../support/backend.ts";
import { start } from "../support/process.ts";

const KEY = "a-key-for-the-tests-0123456789";

test("callers whom nobody knows reset no quota and no long window, however many of them come", async () => {
  using behind = backend();
  await using gateway = await start({
    config: {
      logging: { accessLog: false },
      limits: { maxSubjects: 1000 },
      tiers: {
        anonymous: { limits: [] },
        plain: { limits: [{ algorithm: "fixed-window", limit: 5, window: "1h" }], quota: { limit: 5, period: "month" } },
      },
      consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
      routes: [
        { path: "/", upstream: behind.url },
        {
          path: "/open",
          upstream: behind.url,
          auth: "none",
          limits: [{ algorithm: "fixed-window", limit: 10, window: "1m", by: "header:X-Tenant" }],
        },
        {
          path: "/slow",
          upstream: behind.url,
          auth: "none",
          limits: [{ algorithm: "fixed-window", limit: 10, window: "2h", by: "header:X-Tenant" }],
        },
      ],
    },
  });
  const ask = async (path: string, headers: Record<string, string>) => (await fetch(gateway.url + path, { headers })).status;
  const seven = async () => {
    const statuses: number[] = [];
    for (let i = 0; i < 7; i++) statuses.push(await ask("/", { "x-api-key": KEY }));
    return statuses;
  };
  expect(await seven()).toEqual([200, 200, 200, 200, 200, 429, 429]);
  for (const path of ["/open", "/slow"]) {
    for (let at = 0; at < 1200; at += 50)
      await Promise.all(Array.from({ length: 50 }, (_, i) => ask(path, { "x-tenant": `tenant-${at + i}` })));
    expect(await seven()).toEqual([429, 429, 429, 429, 429, 429, 429]);
  }
});
