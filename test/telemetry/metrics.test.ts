import { describe, expect, test } from "bun:test";
import { type Backend, backend } from "../support/backend.ts";
import { pipelined } from "../support/pipelined.ts";
import { serving } from "../support/serving.ts";

const KEY = "a-key-of-a-caller-0123";
const configFor = (behind: Backend) => ({
  guard: null,
  tiers: { anonymous: { limits: [] }, plain: { limits: [{ algorithm: "fixed-window", limit: 3, window: "1h" }] } },
  consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
  pools: {
    llm: { keys: [{ id: "k1", secret: "sk-planted-secret", limit: 100, window: "1h" }], services: { s: { cost: 30 } }, auth: "none" },
  },
  upstreams: {
    main: { targets: [{ url: behind.url }] },
    dead: { targets: [{ url: "http://127.0.0.1:1" }], breaker: { failureThreshold: 1 } },
    twin: { targets: [{ url: "http://127.0.0.1:1" }] },
  },
  activities: { auth: "none" },
  routes: [
    {
      name: "all",
      path: "/",
      upstream: "main",
      stripPrefix: false,
      auth: "none",
      limits: [{ algorithm: "fixed-window", limit: 1, window: "1h", name: "tried", shadow: true }],
    },
    { name: "mine", path: "/mine", upstream: "main" },
    { name: "kept", path: "/kept", upstream: "main", auth: "none", cache: { ttl: "1h" } },
    { name: "dead", path: "/dead", upstream: "dead", auth: "none", retry: { attempts: 2, baseDelay: "1ms" } },
  ],
});
/** The samples of a scrape: what stands before the value, and the value. */
async function scrape(url: string): Promise<Map<string, number>> {
  const answer = await fetch(`${url}/metrics`);
  expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"]);
  const samples = new Map<string, number>();
  for (const line of (await answer.text()).split("\n"))
    if (line !== "" && !line.startsWith("#"))
      samples.set(line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1)));
  return samples;
}

describe("GET /metrics", () => {
  test("tells of requests, limits, breakers, the cache, pools and activities, by names of the configuration alone", async () => {
    using behind = backend();
    const gateway = serving(configFor(behind));
    const get = async (path: string, headers: Record<string, string> = {}, method = "GET") =>
      (await fetch(gateway.url + path, { method, headers })).arrayBuffer();
    for (let i = 0; i < 5; i++) await get(`/mine/status?n=${i}`, { "x-api-key": KEY });
    for (let i = 0; i < 3; i++) await get("/kept/status");
    await get("/status", {}, "PROPFIND");
    await get("/status?code=503");
    await get("/dead");
    await get("/nowhere/../status");
    await fetch(`${gateway.url}/api/v1/api-key`, { method: "POST", body: '{"type":"s"}' });
    await fetch(`${gateway.url}/api/activities`, {
      method: "POST",
      body: JSON.stringify({ activities: [{ operation: "insert", table: "t", colNames: ["a"], colTypes: ["TEXT"], colValues: ["x"] }] }),
    });
    const samples = await scrape(gateway.url);
    const wanted: Record<string, number> = {
      'http_requests_total{route="mine",method="GET",status="200"}': 3,
      'http_requests_total{route="mine",method="GET",status="429"}': 2,
      'http_requests_total{route="all",method="other",status="200"}': 1,
      'http_requests_total{route="activities",method="POST",status="202"}': 1,
      'http_request_latency_ms_count{route="mine"}': 5,
      'http_request_latency_ms_bucket{route="mine",le="+Inf"}': 5,
      'sluice_limited_requests_total{owner="tier plain",limit="per-hour"}': 2,
      'sluice_cache_requests_total{result="hits"}': 2,
      'sluice_cache_requests_total{result="misses"}': 1,
      'circuit_breaker_state_changes_total{target="http://127.0.0.1:1",from="closed",to="open"}': 1,
      'circuit_breaker_state{upstream="dead",target="http://127.0.0.1:1"}': 2,
      'sluice_pool_tokens_remaining{pool="llm",key="k1"}': 70,
      'sluice_activities_total{result="accepted"}': 1,
      sluice_config_faulty: 0,
      sluice_system_degraded: 0,
    };
    for (const [name, value] of Object.entries(wanted)) expect([name, samples.get(name)]).toEqual([name, value]);
    expect(samples.get('sluice_shadow_denials_total{owner="route all",limit="tried"}')).toBeGreaterThan(0);
    expect([...samples.keys()].some((name) => name.startsWith("process_cpu_seconds_total"))).toBe(true);
    const summary = (await (await fetch(`${gateway.url}/_metrics`)).json()) as object;
    expect(summary).toMatchObject({
      requests_total: expect.any(Number),
      requests_rate_limited: 2,
      cache_hits: 2,
      cache_misses: 1,
      cache_size: 1,
      circuit_breakers: { "http://127.0.0.1:1": { state: "open" }, [behind.url]: { state: "closed" } },
    });
    expect(gateway.faults).toEqual([]);
    await gateway.stop();
  });

  // A million of them: SLUICE_SERIES_REQUESTS=1000000
  test("keeps its series over ten thousand paths, keys and addresses, and whatever else callers send", async () => {
    using behind = backend();
    const gateway = serving({ ...configFor(behind), server: { trustedProxies: ["127.0.0.1"] } });
    const many = Number(process.env.SLUICE_SERIES_REQUESTS ?? 10_000);
    const [batch, distinct] = [1000, 10_000];
    const flood = async (from: number) => {
      let requests = "";
      for (let n = from; n < from + batch; n++) {
        const i = n % distinct;
        requests += `GET /mine/${i}?q=${i} HTTP/1.1\r\nHost: h${i}.example.com\r\nX-API-Key: nobody-has-this-${i}-0123\r\nX-Forwarded-For: 10.${i >> 8}.${i & 255}.7\r\nUser-Agent: agent ${i}\r\n\r\n`;
      }
      await pipelined(Number(new URL(gateway.url).port), requests, batch, "HTTP/1.1 401");
    };
    const send = async (i: number) => {
      const headers = { "x-api-key": `nobody-has-this-${i}-0123`, "x-forwarded-for": `10.0.0.${i}`, "user-agent": `agent ${i}` };
      await (await fetch(`${gateway.url}/mine/${i}?q=${i}`, { headers })).arrayBuffer();
      await (await fetch(`${gateway.url}/status/${i}?code=200`, { method: `WORD${i}` })).arrayBuffer();
    };
    for (let i = 0; i < 2; i++) await send(i);
    await flood(0);
    // Those of the process, such as kinds of garbage collection, come as they happen.
    const series = async () => [...(await scrape(gateway.url)).keys()].filter((name) => !/^(process|nodejs)_/.test(name));
    const before = await series();
    for (let i = 1; i < 200; i++) await send(i);
    for (let from = 0; from < many; from += batch) await flood(from);
    const after = await series();
    expect(after).toEqual(before);
    expect(after.join()).not.toContain("sk-planted");
    expect((await scrape(gateway.url)).get('http_requests_total{route="mine",method="GET",status="401"}')).toBeGreaterThanOrEqual(many);
    await gateway.stop();
  }, 600_000);

  test("is for scrapers on this machine and holders of a token", async () => {
    using behind = backend();
    const gateway = serving(configFor(behind));
    for (const path of ["/metrics", "/_metrics"]) {
      const passedOn = await fetch(gateway.url + path, { headers: { "x-forwarded-for": "192.0.2.1" } });
      expect([passedOn.status, ((await passedOn.json()) as { code: string }).code]).toEqual([401, "keyMissing"]);
      const headers = { "x-forwarded-for": "192.0.2.1", authorization: "Bearer an-admin-token-0123456789" };
      expect((await fetch(gateway.url + path, { headers })).status).toBe(200);
    }
    await gateway.stop();
  });
});
