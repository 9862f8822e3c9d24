import { describe, expect, test } from "bun:test";
import { flaky, inParallel, randomFrom, underLoad, victim } from "../support/flaky.ts";
import { freePort, type Running, start } from "../support/process.ts";

const OPEN = { tiers: { anonymous: { limits: [] } }, logging: { accessLog: false } };
const NEVER = { failureThreshold: 1_000_000 };
const QUICK = { attempts: 3, baseDelay: "10ms" };

const gatewayFor = (upstream: object, route: object = {}, more: object = {}): Promise<Running> =>
  start({
    config: {
      ...OPEN,
      upstreams: { main: upstream },
      routes: [{ name: "main", path: "/", upstream: "main", auth: "none", retry: QUICK, ...route }],
      ...more,
    },
  });

const codeOf = async (answer: Response): Promise<string> => ((await answer.json()) as { code: string }).code;

interface BreakerItem {
  readonly target: string;
  readonly state: string;
  readonly failures: number;
  readonly held: boolean;
  readonly inFlight: number;
}
const breakers = async (gateway: Running): Promise<BreakerItem[]> =>
  ((await (await gateway.admin("GET", "/admin/breakers")).json()) as { items: BreakerItem[] }).items;

describe("retries", () => {
  test("make a backend that fails one in ten look steady, and never send a POST twice", async () => {
    const random = randomFrom(7);
    using behind = flaky(() => (random() < 0.1 ? (random() < 0.5 ? { status: 503 } : "reset") : { status: 200 }));
    await using gateway = await gatewayFor({ targets: [{ url: behind.url }], breaker: NEVER });
    const requests = 20_000;
    let good = 0;
    await inParallel(requests, 64, async () => {
      const answer = await fetch(gateway.url);
      if (answer.status === 200) good++;
      await answer.text();
    });
    expect(good / requests).toBeGreaterThanOrEqual(0.998);
    expect(behind.seen.length / requests).toBeLessThanOrEqual(1.2);

    behind.seen.length = 0;
    await inParallel(1000, 32, async (i) => void (await (await fetch(`${gateway.url}/${i}`, { method: "POST", body: "x" })).text()));
    const counts = new Map<string, number>();
    for (const { path } of behind.seen) counts.set(path, (counts.get(path) ?? 0) + 1);
    expect(Math.max(...counts.values())).toBe(1);
  });

  test("stay below a fifth of the requests when the backend is in real trouble", async () => {
    const random = randomFrom(11);
    using behind = flaky(() => (random() < 0.5 ? { status: 503 } : { status: 200 }));
    await using gateway = await gatewayFor({ targets: [{ url: behind.url }], breaker: NEVER });
    const requests = 2000;
    await inParallel(requests, 32, async () => void (await (await fetch(gateway.url)).text()));
    // Ten are every route's allowance.
    expect(behind.seen.length).toBeLessThanOrEqual(requests * 1.2 + 10);
    expect(behind.seen.length).toBeGreaterThan(requests * 1.15);
  });

  test("send the same bytes again, say the count, and go into the log", async () => {
    using behind = flaky((_request, index) => (index % 3 < 2 ? { status: 503, headers: { "Retry-After": "0" } } : { status: 200 }));
    await using gateway = await gatewayFor({ targets: [{ url: behind.url }], breaker: null }, {}, { logging: { accessLog: true } });
    const answer = await fetch(`${gateway.url}/a?b=c`, { method: "PUT", body: "all of it", headers: { "x-retry-count": "99" } });
    expect(answer.status).toBe(200);
    expect(behind.seen.map(({ body, headers }) => [body, headers["x-retry-count"]])).toEqual([
      ["all of it", undefined],
      ["all of it", "1"],
      ["all of it", "2"],
    ]);
    expect(new Set(behind.seen.map(({ headers }) => headers["x-request-id"])).size).toBe(1);
    // A POST that names itself may be repeated.
    expect((await fetch(gateway.url, { method: "POST", body: "once", headers: { "idempotency-key": "k1" } })).status).toBe(200);
    while (gateway.output().split('"msg":"request"').length < 3) await Bun.sleep(5);
    const lines = gateway
      .output()
      .split("\n")
      .filter((line) => line.includes('"msg":"request"'))
      .map((line) => JSON.parse(line) as { attempts: number });
    expect(lines.map(({ attempts }) => attempts)).toEqual([3, 3]);
  });

  test("leave alone what must not or can't be repeated", async () => {
    using behind = flaky(() => ({ status: 503, body: "as it was" }));
    await using gateway = await gatewayFor({ targets: [{ url: behind.url }], breaker: null });
    const sent = async (init: RequestInit): Promise<[number, string, number]> => {
      behind.seen.length = 0;
      const answer = await fetch(gateway.url, init);
      return [answer.status, await answer.text(), behind.seen.length];
    };
    expect(await sent({})).toEqual([503, "as it was", 3]);
    expect(await sent({ method: "POST", body: "x" })).toEqual([503, "as it was", 1]);
    expect(await sent({ method: "PATCH", body: "x" })).toEqual([503, "as it was", 1]);
    expect(await sent({ method: "PUT", body: "x".repeat(65_536) })).toEqual([503, "as it was", 3]);
    expect(await sent({ method: "PUT", body: "x".repeat(65_537) })).toEqual([503, "as it was", 1]);
    expect(await sent({ method: "DELETE" })).toEqual([503, "as it was", 3]);
  });

  test("of a status that no retry mends, or with retries off, do not happen", async () => {
    using behind = flaky(({ path }) => ({ status: Number(path.slice(1)) || 503 }));
    await using gateway = await gatewayFor({ targets: [{ url: behind.url }], breaker: null });
    for (const status of [400, 404, 429, 500, 501]) expect((await fetch(`${gateway.url}/${status}`)).status).toBe(status);
    expect(behind.seen.length).toBe(5);
    await using without = await gatewayFor({ targets: [{ url: behind.url }], breaker: null }, { retry: null });
    expect((await fetch(without.url)).status).toBe(503);
    expect(behind.seen.length).toBe(6);
  });

  test("make a POST arrive whose first target could not be reached", async () => {
    using behind = flaky(() => ({ status: 200 }));
    await using gateway = await gatewayFor({
      targets: [{ url: `http://127.0.0.1:${freePort()}`, weight: 100 }, { url: behind.url }],
      breaker: NEVER,
    });
    for (let i = 0; i < 5; i++) expect((await fetch(gateway.url, { method: "POST", body: "x".repeat(200_000) })).status).toBe(200);
    expect(behind.seen.map(({ body }) => body.length)).toEqual(Array(5).fill(200_000));
  });

  test("go to another target at once: a delay is for asking the same one again", async () => {
    using ill = flaky(() => ({ status: 503, headers: { "Retry-After": "25" } }));
    using well = flaky(() => ({ status: 200 }));
    const targets = [{ url: ill.url }, { url: well.url }, { url: `http://127.0.0.1:${freePort()}` }];
    // A wait would not fit into the route's timeout, and so would be no retry at all.
    const patient = { timeout: "20s", retry: { attempts: 3, baseDelay: "25s", jitter: false } };
    await using gateway = await gatewayFor({ targets, breaker: null }, patient);
    for (let i = 0; i < 12; i++) expect((await fetch(gateway.url)).status).toBe(200);
    expect(ill.seen.length).toBeGreaterThan(0);
    // The first refusal of the only target is most often a restart: it is asked again soon.
    const only = { targets: [{ url: `http://127.0.0.1:${freePort()}` }], breaker: null };
    await using alone = await gatewayFor(only, patient, { logging: { accessLog: true } });
    expect((await fetch(alone.url, { method: "POST", body: "x" })).status).toBe(502);
    while (!alone.output().includes('"msg":"request"')) await Bun.sleep(5);
    expect(alone.output()).toContain('"attempts":2');
  }, 60_000);

  test("end with the route's timeout, which is for all attempts together", async () => {
    using behind = flaky(() => new Promise(() => {}));
    await using gateway = await gatewayFor(
      { targets: [{ url: behind.url }], breaker: NEVER },
      { timeout: "2s", retry: { ...QUICK, attempts: 10, attemptTimeout: "700ms" } },
    );
    const answer = await fetch(gateway.url);
    expect([answer.status, await codeOf(answer)]).toEqual([504, "upstreamTimeout"]);
    expect(behind.seen.length).toBeWithin(2, 4);
  });
});

describe("a breaker", () => {
  test("cuts off a backend that was killed, probes it once each recovery time, and closes when it is back", async () => {
    const first = await victim();
    await using gateway = await gatewayFor({
      targets: [{ url: first.url }],
      breaker: { failureThreshold: 5, recoveryTimeout: "300ms", successThreshold: 3 },
    });
    const codes = new Set<string>();
    let afterOpen = 0;
    const load = underLoad(64, async () => {
      const wasOpen = codes.has("circuitOpen");
      const answer = await fetch(gateway.url);
      if (answer.status === 200) return void (await answer.text());
      const code = await codeOf(answer);
      codes.add(code);
      if (code !== "circuitOpen") return;
      expect(Number(answer.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
      if (wasOpen) afterOpen++;
    });
    await Bun.sleep(200);
    await first.kill();
    while (!codes.has("circuitOpen")) await Bun.sleep(5);
    codes.clear();

    // In its place, something that takes connections and breaks them off: it counts probes.
    let probes = 0;
    {
      const from = performance.now();
      using counter = flaky(() => {
        probes++;
        return "reset";
      }, first.port);
      expect(counter.port).toBe(first.port);
      while (probes < 5) await Bun.sleep(5);
      // One each recovery time, whatever the load; the first may have been due already.
      expect(probes).toBeLessThanOrEqual((performance.now() - from) / 300 + 2);
    }
    // A probe may be answered with 502 when it is refused; everything else is cut off at once.
    expect(afterOpen).toBeGreaterThan(100);

    const second = await victim(first.port);
    while ((await fetch(gateway.url)).status !== 200) await Bun.sleep(20);
    while ((await breakers(gateway))[0]?.state !== "closed") await Bun.sleep(5);
    await load.stop();
    await second.kill();
    // The log comes by a pipe, a little later than the answers.
    while (!gateway.output().includes('"to":"closed"')) await Bun.sleep(5);
    expect(gateway.output()).toContain('"from":"closed","to":"open","cause":"failures"');
    expect(gateway.output()).toContain('"from":"half-open","to":"closed","cause":"probe"');
  });

  test("and retries leave no GET without an answer when one of two backends is killed", async () => {
    const [dying, staying] = await Promise.all([victim(), victim()]);
    await using gateway = await gatewayFor({ targets: [{ url: dying.url }, { url: staying.url }] });
    const statuses = new Map<number, number>();
    const load = underLoad(64, async () => {
      const answer = await fetch(gateway.url);
      await answer.text();
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
    });
    await Bun.sleep(500);
    await dying.kill();
    await Bun.sleep(1000);
    await load.stop();
    expect([...statuses.keys()]).toEqual([200]);
    expect(statuses.get(200)).toBeGreaterThan(500);
    expect((await breakers(gateway)).map(({ state }) => state)).toEqual(["open", "closed"]);
    await staying.kill();
  });

  test("is not opened by what one caller's requests do to themselves: 500, 501 and 505 count only where they are named", async () => {
    using behind = flaky(({ path, method }) => ({ status: method === "FOO" ? 501 : Number(path.slice(1)) || 200 }));
    await using gateway = await gatewayFor({ targets: [{ url: behind.url }] }, { retry: null });
    for (let i = 0; i < 20; i++) await fetch(gateway.url, { method: "FOO" });
    for (const status of [500, 501, 505]) for (let i = 0; i < 20; i++) await fetch(`${gateway.url}/${status}`);
    expect([(await fetch(gateway.url)).status, (await breakers(gateway))[0]?.state]).toEqual([200, "closed"]);
    for (let i = 0; i < 5; i++) await fetch(`${gateway.url}/503`);
    expect((await breakers(gateway))[0]?.state).toBe("open");
    await using strict = await gatewayFor({ targets: [{ url: behind.url }], breaker: { failures: ["5xx"] } }, { retry: null });
    for (let i = 0; i < 5; i++) await fetch(`${strict.url}/500`);
    expect((await breakers(strict))[0]?.state).toBe("open");
  });

  test("is half-open as soon as a health check passes, and one good answer closes it", async () => {
    let isIll = true;
    using behind = flaky(({ path }) => ({ status: path === "/health" || !isIll ? 200 : 503 }));
    await using gateway = await gatewayFor(
      {
        // Another target that is left: otherwise the first would get a probe each second in any case.
        targets: [{ url: behind.url, weight: 1000 }, { url: `http://127.0.0.1:${freePort()}` }],
        breaker: { recoveryTimeout: "10m", failures: ["503"] },
        healthCheck: { interval: "100ms", timeout: "5s", unhealthyAfter: 100 },
      },
      { retry: null },
    );
    while (!gateway.output().includes('"from":"closed","to":"open"')) await (await fetch(gateway.url)).text();
    isIll = false;
    while (!gateway.output().includes('"to":"half-open","cause":"health"')) await Bun.sleep(5);
    while ((await breakers(gateway))[0]?.state !== "closed") await (await fetch(gateway.url)).text();
    while (!gateway.output().includes('"from":"half-open","to":"closed","cause":"probe"')) await Bun.sleep(5);
  }, 30_000);

  test("of the only target that is back after a moment lets requests through within seconds, although its recovery time is a minute", async () => {
    const first = await victim();
    await using gateway = await gatewayFor({ targets: [{ url: first.url }], breaker: { recoveryTimeout: "60s" } }, { retry: null });
    expect((await fetch(gateway.url)).status).toBe(200);
    await first.kill();
    while ((await breakers(gateway))[0]?.state !== "open") await (await fetch(gateway.url)).text();
    const second = await victim(first.port);
    while ((await breakers(gateway))[0]?.state !== "closed") await (await fetch(gateway.url)).text();
    while (!gateway.output().includes('"cause":"last-resort"')) await Bun.sleep(5);
    await second.kill();
  }, 30_000);

  test("is seen, opened and closed by the admin API", async () => {
    using behind = flaky(() => ({ status: 200 }));
    await using gateway = await gatewayFor({ targets: [{ url: behind.url }] });
    const name = encodeURIComponent(behind.url);
    expect(await breakers(gateway)).toMatchObject([{ target: behind.url, upstream: "main", state: "closed", held: false, healthy: true }]);
    const opened = await gateway.admin("POST", `/admin/breakers/${name}/open`);
    expect([opened.status, await opened.json()]).toMatchObject([200, { items: [{ state: "open", held: true, retryAfter: null }] }]);
    const refused = await fetch(gateway.url);
    expect([refused.status, await codeOf(refused), behind.seen.length]).toEqual([503, "circuitOpen", 0]);
    expect((await gateway.admin("POST", `/admin/breakers/${name}/close`)).status).toBe(200);
    expect((await fetch(gateway.url)).status).toBe(200);
    expect((await gateway.admin("POST", "/admin/breakers/http%3A%2F%2Fnowhere/open")).status).toBe(404);
  });
});

describe("several targets", () => {
  test("are asked whether they are well, and those that are not get no request", async () => {
    let isWell = true;
    const answer = (name: string, well: () => boolean) =>
      flaky(({ path }) => (path === "/health" ? { status: well() ? 200 : 500 } : { status: 200, body: name }));
    using a = answer("a", () => isWell);
    using b = answer("b", () => true);
    const check = { interval: "20ms", timeout: "500ms", unhealthyAfter: 2, healthyAfter: 2 };
    await using gateway = await gatewayFor({ targets: [{ url: a.url }, { url: b.url }], healthCheck: check });
    const names = async () => new Set(await Promise.all(Array.from({ length: 10 }, async () => (await fetch(gateway.url)).text())));
    expect(await names()).toEqual(new Set(["a", "b"]));
    isWell = false;
    while (!gateway.output().includes('"healthy":false')) await Bun.sleep(5);
    expect(await names()).toEqual(new Set(["b"]));
    isWell = true;
    while (!gateway.output().includes('"healthy":true')) await Bun.sleep(5);
    expect(await names()).toEqual(new Set(["a", "b"]));
    // With none left, callers are told at once.
    await using alone = await gatewayFor({ targets: [{ url: `http://127.0.0.1:${freePort()}` }], healthCheck: check });
    while (!alone.output().includes('"healthy":false')) await Bun.sleep(5);
    const refused = await fetch(alone.url);
    expect([refused.status, await codeOf(refused)]).toEqual([503, "noHealthyTarget"]);
  });

  test("share callers by key, address or header with consistent-hash, and the idle one is taken by least-requests", async () => {
    const backends = Array.from({ length: 4 }, (_, i) =>
      flaky(({ path }) => (path === "/slow" ? new Promise(() => {}) : { status: 200, body: String(i) })),
    );
    const targets = backends.map(({ url }) => ({ url }));
    await using hashed = await gatewayFor({ targets, balance: "consistent-hash", hashOn: "header:X-Tenant" });
    const used = new Set<string>();
    for (let tenant = 0; tenant < 12; tenant++) {
      const answers = await Promise.all(
        [1, 2, 3].map(async () => (await fetch(hashed.url, { headers: { "x-tenant": `tenant-${tenant}` } })).text()),
      );
      expect(new Set(answers).size).toBe(1);
      used.add(answers[0] ?? "");
    }
    expect(used.size).toBeGreaterThan(1);

    await using least = await gatewayFor({ targets: targets.slice(0, 2), balance: "least-requests" });
    const abort = new AbortController();
    void fetch(`${least.url}/slow`, { signal: abort.signal }).catch(() => {});
    while ((await breakers(least)).every(({ inFlight }) => inFlight === 0)) await Bun.sleep(5);
    const answers = new Set<string>();
    for (let i = 0; i < 6; i++) answers.add(await (await fetch(least.url)).text());
    expect(answers.size).toBe(1);
    abort.abort();
    while ((await breakers(least)).some(({ inFlight }) => inFlight > 0)) await Bun.sleep(5);
    for (const each of backends) each[Symbol.dispose]();
  });
});

describe("/ready", () => {
  interface Readiness {
    readonly failing: string[];
    readonly components: Record<string, string>;
    readonly upstreams?: Record<string, string>;
  }
  const readiness = async (gateway: Running, headers = {}): Promise<[number, Readiness]> => {
    const answer = await fetch(`${gateway.url}/ready`, { headers });
    return [answer.status, (await answer.json()) as Readiness];
  };
  const becomes = async (gateway: Running, status: number): Promise<Readiness> => {
    for (;;) {
      const [now, body] = await readiness(gateway);
      if (now === status) return body;
      await Bun.sleep(10);
    }
  };

  test("is 503 without the upstreams that ready.upstreams names, and tells strangers no names", async () => {
    const first = await victim();
    const port = freePort();
    const upstreams = {
      needed: { targets: [{ url: first.url }], healthCheck: { path: "/", interval: "50ms", unhealthyAfter: 1, healthyAfter: 1 } },
      other: { targets: [{ url: `http://127.0.0.1:${port}` }], healthCheck: { interval: "50ms", unhealthyAfter: 1 } },
    };
    const routes = [{ name: "main", path: "/", upstream: "needed", auth: "none", retry: QUICK }];
    await using gateway = await start({ config: { ...OPEN, upstreams, routes, ready: { upstreams: ["needed"] } } });
    expect(await becomes(gateway, 200)).toMatchObject({ failing: [], components: { upstreams: "ok" }, upstreams: { needed: "ok" } });
    await first.kill();
    expect(await becomes(gateway, 503)).toMatchObject({ failing: ["upstreams"], upstreams: { needed: "failing" } });
    const [, seenByStrangers] = await readiness(gateway, { "x-forwarded-for": "192.0.2.1" });
    expect(JSON.stringify(seenByStrangers)).not.toContain("needed");
    const second = await victim(first.port);
    await becomes(gateway, 200);
    await second.kill();
  }, 30_000);

  test("waits for the first health check of such an upstream, and follows its breaker where there is none", async () => {
    using behind = flaky(({ path }) => ({ status: path === "/health" ? 500 : 503 }));
    const targets = [{ url: behind.url }];
    const upstreams = { checked: { targets, healthCheck: { interval: "1m" } }, plain: { targets } };
    const routes = [{ name: "main", path: "/", upstream: "plain", auth: "none", retry: null }];
    const config = { ...OPEN, upstreams, routes };
    await using waiting = await start({ config: { ...config, ready: { upstreams: ["checked"] } } });
    expect((await readiness(waiting))[0]).toBe(503);
    await using gateway = await start({ config: { ...config, ready: { upstreams: ["plain"] } } });
    expect((await readiness(gateway))[0]).toBe(200);
    while ((await readiness(gateway))[0] === 200) await (await fetch(gateway.url)).text();
    await using careless = await start({ config });
    for (let i = 0; i < 6; i++) await (await fetch(careless.url)).text();
    expect((await readiness(careless))[0]).toBe(200);
  }, 30_000);
});
