import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ADMIN_TOKEN, type Running, run, start } from "../support/process.ts";

let gateway: Running;
beforeAll(async () => {
  gateway = await start();
});
afterAll(() => gateway[Symbol.asyncDispose]());

/** Sends `count` requests and gives how many answers there were of each status. */
async function statuses(count: number, headers: Record<string, string>, path = "/test"): Promise<Record<number, number>> {
  const counts: Record<number, number> = {};
  for (let sent = 0; sent < count; sent += 50) {
    const batch = Array.from({ length: Math.min(50, count - sent) }, () => fetch(gateway.url + path, { headers }));
    for (const answer of await Promise.all(batch)) {
      counts[answer.status] = (counts[answer.status] ?? 0) + 1;
      await answer.arrayBuffer();
    }
  }
  return counts;
}

describe("the demo", () => {
  test("greets with its addresses, a request for each key, and a warning", () => {
    const printed = gateway.output();
    for (const key of ["demo_free_key_123", "demo_pro_key_789", "demo_enterprise_key_abc"])
      expect(printed).toContain(`curl -i -H 'X-API-Key: ${key}'`);
    expect(printed).toContain("/swagger");
    expect(printed).toContain("These keys are public");
    expect(printed).toContain("embedded demo");
  });

  test("answers /test with who calls and what is allowed, and every limit header", async () => {
    const before = Math.floor(Date.now() / 1000);
    const answer = await fetch(`${gateway.url}/test`, { headers: { "x-api-key": "demo_pro_key_789" } });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ consumer: "demo_pro", tier: "pro", limit: 150 });
    expect(answer.headers.get("x-ratelimit-limit")).toBe("150");
    expect(answer.headers.get("x-ratelimit-remaining")).toBe("149");
    const reset = Number(answer.headers.get("x-ratelimit-reset"));
    expect(reset).toBeGreaterThan(before);
    expect(reset).toBeLessThanOrEqual(before + 62);
    expect(answer.headers.get("ratelimit-policy")).toBe('"per-minute";q=150;w=60');
    expect(answer.headers.get("ratelimit")).toMatch(/^"per-minute";r=149;t=(60|5\d)$/);
    expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    expect(Number(answer.headers.get("x-process-time"))).toBeGreaterThan(0);
  });

  test("lets a free key make 20 requests a minute, then answers 429 with when to come back", async () => {
    expect(await statuses(25, { authorization: "Bearer demo_free_key_123" })).toEqual({ 200: 20, 429: 5 });
    const answer = await fetch(`${gateway.url}/test`, { headers: { "x-api-key": "demo_free_key_123" } });
    expect(answer.status).toBe(429);
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    const retryAfter = Number(answer.headers.get("retry-after"));
    expect(retryAfter).toBeGreaterThanOrEqual(1);
    expect(retryAfter).toBeLessThanOrEqual(60);
    expect(answer.headers.get("x-ratelimit-remaining")).toBe("0");
    expect(await answer.json()).toMatchObject({
      type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
      status: 429,
      code: "rateLimited",
      retryAfter,
      requestId: answer.headers.get("x-request-id") ?? "",
      violatedPolicies: [{ name: "per-minute", scope: "tier free", limit: 20, used: 20 }],
    });
  });

  test("lets a pro key make 150, an enterprise key 1,000 and callers without a key 100 by IP", async () => {
    expect(await statuses(160, { "x-api-key": "demo_pro_key_789" })).toEqual({ 200: 149, 429: 11 });
    expect(await statuses(1010, { "x-api-key": "demo_enterprise_key_abc" })).toEqual({ 200: 1000, 429: 10 });
    expect(await statuses(110, {}, "/proxy")).toEqual({ 200: 100, 429: 10 });
    // An address that a peer claims is not believed.
    expect(await statuses(3, { "x-forwarded-for": "203.0.113.9" }, "/downstream")).toEqual({ 429: 3 });
  });

  test("shows what is used of a limit, and forgets it on demand", async () => {
    const used = async () =>
      ((await (await gateway.admin("GET", "/admin/limits/demo_pro")).json()) as { limits: { used: number; remaining: number }[] })
        .limits[0];
    expect(await used()).toMatchObject({ used: 150, remaining: 0 });
    expect((await gateway.admin("DELETE", "/admin/limits/demo_pro")).status).toBe(204);
    expect(await used()).toMatchObject({ used: 0, remaining: 150 });
    expect(await statuses(1, { "x-api-key": "demo_pro_key_789" })).toEqual({ 200: 1 });
  });

  test("sheds load by tier while it is DEGRADED, and keeps what was counted", async () => {
    await gateway.admin("DELETE", "/admin/limits/demo_free");
    expect((await gateway.admin("POST", "/admin/health", { status: "DEGRADED", reason: "a test" })).status).toBe(200);
    expect(await statuses(4, { "x-api-key": "demo_free_key_123" })).toEqual({ 200: 2, 429: 2 });
    const denied = await fetch(`${gateway.url}/test`, { headers: { "x-api-key": "demo_free_key_123" } });
    expect(await denied.json()).toMatchObject({
      type: "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
      code: "rateLimited",
    });
    await gateway.admin("POST", "/admin/health", { status: "NORMAL" });
    expect(await statuses(20, { "x-api-key": "demo_free_key_123" })).toEqual({ 200: 18, 429: 2 });
  });

  test("is alive and ready", async () => {
    for (const path of ["/health", "/_health"])
      expect(await (await fetch(gateway.url + path)).json()).toMatchObject({ status: "healthy", version: "0.1.0" });
    expect(await (await fetch(`${gateway.url}/ready`)).json()).toMatchObject({ status: "ready", failing: [] });
  });
});

test("the demo listens on this machine alone, unless somebody says otherwise", async () => {
  const reaches = (url: string, host: string) =>
    fetch(`${url.replace("127.0.0.1", host)}/health`).then(
      () => true,
      () => false,
    );
  for (const [config, env, isOpen] of [
    [undefined, {}, false],
    [{ demo: true }, {}, false],
    [undefined, { SLUICE_HOST: "0.0.0.0" }, true],
    [{ demo: true, server: { host: "0.0.0.0" } }, {}, true],
    [{}, {}, true],
  ] as const) {
    await using demo = await start({ ...(config === undefined ? {} : { config }), env: { SLUICE_HOST: "", ...env } });
    // Another address of this machine stands for those from outside.
    expect([config, env, await reaches(demo.url, "127.0.0.1"), await reaches(demo.url, "127.0.0.2")]).toEqual([config, env, true, isOpen]);
    if (isOpen) while (!demo.output().includes("the admin API can be reached on 0.0.0.0 without TLS")) await Bun.sleep(10);
    if (isOpen && JSON.stringify(config) !== "{}")
      while (!demo.output().includes("the demo can be reached on 0.0.0.0")) await Bun.sleep(10);
  }
});

test("the demo's backend can be made to fail: its breaker opens, and closes again", async () => {
  await using demo = await start();
  const proxy = async () => {
    const answer = await fetch(`${demo.url}/proxy`);
    return { status: answer.status, body: (await answer.json()) as { code?: string; message?: string } };
  };
  expect(await proxy()).toMatchObject({ status: 200, body: { message: "Hello from the demo backend." } });
  expect((await fetch(`${demo.url}/simulate-failure`, { method: "POST" })).status).toBe(200);
  expect((await proxy()).status).toBe(503);
  while ((await proxy()).body.code !== "circuitOpen");
  const { items } = (await (await demo.admin("GET", "/admin/breakers")).json()) as {
    items: { target: string; state: string; upstream: string }[];
  };
  const open = items.find(({ state }) => state === "open");
  expect(open?.upstream).toBe("demo-downstream");
  // Nothing else is cut off.
  expect((await fetch(`${demo.url}/simulate-recovery`, { method: "POST" })).status).toBe(200);
  expect((await demo.admin("POST", `/admin/breakers/${encodeURIComponent(open?.target ?? "")}/close`)).status).toBe(200);
  expect((await proxy()).status).toBe(200);
});

test("the tour shows a visitor what the demo does, and all of it is as expected", async () => {
  await using gateway = await start();
  const tour = (...args: string[]) => run(["demo", "tour", "--url", gateway.url, ...args], { cwd: gateway.folder });
  const { status, stdout, stderr } = await tour("--token", ADMIN_TOKEN);
  expect([status, stderr, stdout]).toEqual([0, "", expect.stringContaining("All as expected")]);
  for (const word of ["401 keyMissing", "429 rateLimited", "DEGRADED", "503 circuitOpen"]) expect(stdout).toContain(word);
  expect(stdout).not.toContain("!!");
  expect(await (await gateway.admin("GET", "/admin/health")).json()).toMatchObject({ status: "NORMAL" });
  // Somebody without a token sees the rest.
  const without = await tour();
  expect([without.status, without.stdout]).toEqual([0, expect.stringContaining("left out: it takes an admin token")]);
  await using other = await start({ config: { tiers: { anonymous: { limits: [] } } } });
  const refused = await run(["demo", "tour", "--url", other.url], { cwd: other.folder });
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("is not the demo")]);
}, 120_000);
