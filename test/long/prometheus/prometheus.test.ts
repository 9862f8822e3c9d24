import { test as always, describe, expect } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { backend } from "../../support/backend.ts";
import { collector } from "../../support/collector.ts";
import { folder, type Running, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";
import { type Prometheus, prometheus } from "../../support/prometheus.ts";
import { redisServer } from "../../support/redis.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../../support/tls.ts";

const DEPLOY = resolve(import.meta.dir, "../../../deploy");
const read = (path: string) => readFileSync(join(DEPLOY, path), "utf8");

interface Target {
  readonly expr: string;
  readonly refId: string;
}
interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly targets?: readonly Target[];
  readonly datasource?: { readonly uid: string };
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}
interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly refresh: string;
  readonly schemaVersion: number;
  readonly time: { readonly from: string; readonly to: string };
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string }[] };
  readonly annotations: { readonly list: readonly { readonly name: string; readonly target: { readonly expr: string } }[] };
}
const dashboard = JSON.parse(read("grafana/dashboards/sluice.json")) as Dashboard;
const { groups } = Bun.YAML.parse(read("prometheus/rules.yml")) as { groups: { rules: { alert: string; expr: string }[] }[] };

const { test } = having("redis-server", "prometheus", "promtool");

/** Labels of other programs' metrics, as prometheus.yml offers them to who uncomments them. */
const RELABEL = Bun.YAML.parse(
  [...read("prometheus/prometheus.yml").matchAll(/^ *#( *-? \{ source_labels.*)$/gm)].map(([, line]) => line).join("\n"),
) as object[];

/** Every query that is deployed, and whose it is. Of a rule: what it compares. */
const QUERIES = [
  ...dashboard.panels.flatMap(({ title, targets }) => (targets ?? []).map(({ expr }) => [title, expr])),
  ...dashboard.annotations.list.map(({ name, target }) => [name, target.expr]),
  ...groups.flatMap(({ rules }) => rules.flatMap(({ alert, expr }) => compared(expr).map((each) => [alert, each]))),
] as [string, string][];

const promtool = async (args: string[], cwd: string) => {
  const child = Bun.spawn(["promtool", ...args], { cwd, stdout: "pipe", stderr: "pipe" });
  const [out, error, status] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { status, text: out + error };
};

describe("what is deployed for Prometheus and Grafana", () => {
  test("promtool accepts the rules and the configuration, and each rule fires when it should", async () => {
    expect(await promtool(["check", "rules", "rules.yml"], join(DEPLOY, "prometheus"))).toMatchObject({ status: 0 });
    expect(await promtool(["test", "rules", "rules.test.yml"], join(DEPLOY, "prometheus"))).toMatchObject({ status: 0 });
    const tested = read("prometheus/rules.test.yml");
    for (const { alert } of groups.flatMap(({ rules }) => rules))
      expect([alert, tested.includes(`alertname: ${alert}\n`)]).toEqual([alert, true]);
    // The token is a file of the container's.
    using home = folder();
    writeFileSync(join(home.path, "token"), "x");
    writeFileSync(join(home.path, "rules.yml"), read("prometheus/rules.yml"));
    writeFileSync(join(home.path, "prometheus.yml"), read("prometheus/prometheus.yml").replace("/etc/prometheus/token", "token"));
    expect(await promtool(["check", "config", "prometheus.yml"], home.path)).toMatchObject({ status: 0 });
  });

  always("the dashboard can be provisioned: what Grafana wants is there, and no panel lies over another", () => {
    expect(dashboard).toMatchObject({ uid: "sluice", title: "Sluice", refresh: "5s", time: { from: "now-1h", to: "now" } });
    expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(36);
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    const taken = new Map<string, string>();
    for (const { title, gridPos, type, targets, datasource } of dashboard.panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect([title, taken.get(`${x},${y}`)]).toEqual([title, undefined]);
          taken.set(`${x},${y}`, title);
        }
      if (type === "row") continue;
      expect([title, datasource?.uid, targets?.length]).toEqual([title, "${datasource}", expect.any(Number)]);
      expect(new Set(targets?.map(({ refId }) => refId)).size).toBe(targets?.length ?? 0);
    }
    const variables = dashboard.templating.list.map(({ name }) => name);
    for (const [, name = ""] of JSON.stringify(dashboard.panels).matchAll(/\$\{?([a-z]+)\b/g)) expect(variables).toContain(name);
    const [datasource] = (
      Bun.YAML.parse(read("grafana/provisioning/datasources/prometheus.yaml")) as { datasources: { type: string; url: string }[] }
    ).datasources;
    expect(datasource).toMatchObject({ type: "prometheus", url: "http://prometheus:9090" });
    const [provider] = (
      Bun.YAML.parse(read("grafana/provisioning/dashboards/sluice.yaml")) as { providers: { options: { path: string } }[] }
    ).providers;
    const compose = read("compose.yaml");
    expect(compose).toContain(`./grafana/dashboards:${provider?.options.path}:ro`);
    expect(compose).toContain("./grafana/provisioning:/etc/grafana/provisioning:ro");
    expect(readdirSync(join(DEPLOY, "grafana/dashboards"))).toEqual(["sluice.json"]);
    expect(() => Bun.YAML.parse(compose)).not.toThrow();
  });

  always("each query of the dashboard and of the rules asks for metrics that there are", async () => {
    await using gateway = await start({ config: { telemetry: { otlp: { endpoint: "http://127.0.0.1:1" } } } });
    const text = await (await fetch(`${gateway.url}/metrics`)).text();
    const known = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
    for (const [, expr] of QUERIES)
      for (const [name] of expr.matchAll(/\b(sluice|http|circuit|process)_\w+/g))
        expect([name, known.has(name.replace(/_bucket$/, ""))]).toEqual([name, true]);
  });

  test("each query of the dashboard and of the rules has data from a real Prometheus that scrapes real gateways under traffic", async () => {
    using behind = backend();
    using traces = collector();
    const KEY = "a-key-of-a-caller-0123456";
    using hook = folder();
    const HOOK = join(hook.path, "hook.ts");
    writeFileSync(HOOK, "export default { request() {} };\n");
    const shared = {
      tiers: { anonymous: { limits: [] }, small: { limits: [{ algorithm: "fixed-window", limit: 5, window: "1h" }] } },
      consumers: [{ id: "acme", tier: "small", keys: [KEY] }],
      issuers: { main: { issuer: "http://127.0.0.1:1", audience: ["api"], tier: { default: "small" } } },
      logging: { accessLog: false },
      webhooks: [{ url: behind.url, secret: `whsec_${"A".repeat(32)}`, events: ["block.made"] }],
      activities: { auth: "none" },
      routes: [
        { name: "all", path: "/", upstream: behind.url, stripPrefix: false, auth: "none" },
        { name: "mine", path: "/mine", upstream: behind.url, plugins: [{ file: HOOK }] },
        { name: "kept", path: "/kept", upstream: behind.url, auth: "none", cache: { ttl: "1h" } },
        { name: "models", path: "/v1", upstream: behind.url, auth: "none", models: ["smart"] },
        { name: "tools", path: "/tools", upstream: behind.url, auth: "none", mcp: {} },
        { name: "dead", path: "/dead", upstream: "dead", auth: "none", retry: { attempts: 2, baseDelay: "1ms" } },
      ],
      prices: { m: { input: "1", output: "2" } },
      models: { smart: { try: [{ upstream: behind.url, model: "m" }] } },
      upstreams: { dead: { targets: [{ url: "http://127.0.0.1:1" }], breaker: { failureThreshold: 2, recoveryTimeout: "500ms" } } },
      pools: { llm: { keys: [{ id: "k1", limit: 100, window: "1h" }], services: { s: { cost: 1 } }, auth: "none" } },
    };
    await using alone = await start({ config: { ...shared, backup: {}, telemetry: { otlp: { endpoint: traces.url } } } });
    await using redis = await redisServer();
    using home = folder();
    mkdirSync(join(home.path, "tls"));
    writeFileSync(join(home.path, "tls/cert.pem"), CERTIFICATE);
    writeFileSync(join(home.path, "tls/key.pem"), PRIVATE_KEY);
    await using joined = await start({
      config: { ...shared, server: { tls: { cert: "tls/cert.pem", key: "tls/key.pem" } }, redis: { url: redis.url } },
      tls: CERTIFICATE,
      cwd: home.path,
    });
    await using watcher = await prometheus([alone.url, joined.url], join(DEPLOY, "prometheus/rules.yml"), RELABEL);

    let isOver = false;
    const traffic = async (gateway: Running, init: object) => {
      const call = (path: string, more: object = {}) =>
        fetch(gateway.url + path, { ...init, ...more } as RequestInit).then(
          (answer) => answer.arrayBuffer(),
          () => null,
        );
      const activities = JSON.stringify({
        activities: [{ operation: "insert", table: "t", colNames: ["a"], colTypes: ["TEXT"], colValues: ["x"] }],
      });
      const failing = JSON.stringify({
        activities: [{ operation: "delete", table: "nowhere", oldValue: { colNames: ["a"], colTypes: ["TEXT"], colValues: ["x"] } }],
      });
      const post = (path: string, body: object) =>
        call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
      while (!isOver) {
        await Promise.all([
          call("/status"),
          call("/status?code=500"),
          call("/status?code=404"),
          call("/mine/status", { headers: { "x-api-key": KEY } }),
          call("/mine/status"),
          call("/kept/status"),
          call("/dead"),
          post("/v1/chat/completions", { model: "smart", max_tokens: 5, messages: [] }),
          post("/tools", { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "search", arguments: {} } }),
          call("/api/v1/api-key", { method: "POST", body: '{"type":"s"}' }),
          call("/api/activities", { method: "POST", body: activities }),
          call("/api/activities", { method: "POST", body: failing }),
          call("/api/activities", { method: "POST", body: '{"activities":[]}' }),
          call("/health"),
          call("/ready"),
        ]);
        await Bun.sleep(20);
      }
    };
    const running = [traffic(alone, {}), traffic(joined, { tls: { ca: CERTIFICATE } })];
    try {
      // A reload that works, then one that does not; DEGRADED; Redis gone.
      const scraped = (name: string, value: number) => until(watcher, `${name} == ${value}`);
      await scraped('sluice_config_reloads_total{trigger="admin",result="ok"}', 0);
      await scraped("sluice_redis_up", 1);
      expect((await alone.admin("POST", "/admin/config/reload")).status).toBe(200);
      await scraped('sluice_config_reloads_total{trigger="admin",result="ok"}', 1);
      writeFileSync(join(alone.folder, "config.json"), '{ "rutes": [] }');
      expect((await alone.admin("POST", "/admin/config/reload")).status).toBe(422);
      expect((await alone.admin("POST", "/admin/health", { status: "DEGRADED" })).status).toBe(200);
      for (const [title, expr] of QUERIES) expect([title, await until(watcher, filled(expr))]).toEqual([title, true]);
      // What came is told by endpoint, probes and scrapers among them; what a caller did wrong apart from what failed; each fate of an activity.
      for (const route of ["all", "mine", "health", "ready", "metrics"])
        expect([route, await until(watcher, `sum(increase(http_requests_total{job="sluice",route="${route}"}[1m])) > 0`)]).toEqual([
          route,
          true,
        ]);
      for (const [route, kind] of [
        ["all", "4.."],
        ["all", "5.."],
        ["mine", "4.."],
        ["dead", "5.."],
      ])
        expect([route, kind, await until(watcher, `sum(rate(http_requests_total{route="${route}",status=~"${kind}"}[1m])) > 0`)]).toEqual([
          route,
          kind,
          true,
        ]);
      expect(await watcher.query('http_requests_total{route="mine",status=~"5.."}')).toEqual([]);
      for (const result of ["accepted", "applied", "failed", "rejected"])
        expect([result, await until(watcher, `sum(rate(sluice_activities_total{result="${result}"}[1m])) > 0`)]).toEqual([result, true]);
      // The queries of those who come with other labels hold with what prometheus.yml offers them.
      for (const query of [
        'sum by (endpoint) (rate(http_requests_total{status_code=~"5.."}[1m])) > 0',
        'http_requests_total{endpoint="health",status_code="200"}',
      ])
        expect([query, await until(watcher, query)]).toEqual([query, true]);
      await redis.kill();
      const provoked = ["SluiceBreakerOpen", "SluiceErrorRate", "SluiceDegraded", "SluiceRedisDown", "SluiceConfigReloadFailed"];
      for (const { alert, expr } of groups.flatMap(({ rules }) => rules))
        if (provoked.includes(alert)) expect([alert, await until(watcher, expr)]).toEqual([alert, true]);
      for (const alert of ["SluiceDegraded", "SluiceConfigReloadFailed"])
        expect([alert, await until(watcher, `ALERTS{alertname="${alert}"}`)]).toEqual([alert, true]);
      const exemplars = (await watcher.get(
        `/api/v1/query_exemplars?query=http_request_latency_ms_bucket&start=${Date.now() / 1000 - 60}&end=${Date.now() / 1000 + 60}`,
      )) as { exemplars: { labels: { trace_id: string } }[] }[];
      expect(exemplars[0]?.exemplars[0]?.labels.trace_id).toMatch(/^[0-9a-f]{32}$/);
      expect(await watcher.query("min(up)")).toMatchObject([{ value: 1 }]);
    } finally {
      isOver = true;
      await Promise.all(running);
    }
  });
});

/** What a rule looks at, whatever its value is: where it compares two of them, both. */
function compared(expr: string): string[] {
  return expr.split(" and ").flatMap((each) => {
    const bare = each.replace(/ (==|>|<) [\d.* ]+( or .*)?$/, "");
    return bare === each ? each.split(/ < (?=\()/) : [bare];
  });
}

/** A panel's query with Grafana's variables filled in. */
const filled = (expr: string): string =>
  expr.replaceAll("$__rate_interval", "1m").replaceAll("$job", "sluice").replaceAll("$instance", ".*").replaceAll("$route", ".*");

/** Whether a query gives a number, now or in a moment: what has happened is scraped first. */
async function until(watcher: Prometheus, expr: string): Promise<boolean> {
  for (let i = 0; i < 60; i++) {
    if ((await watcher.query(expr)).some(({ value }) => !Number.isNaN(value))) return true;
    await Bun.sleep(200);
  }
  return false;
}
