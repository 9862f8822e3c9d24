// The configurations of docs/guides/nginx-and-caddy.md, in a real nginx and a real Caddy before a backend.
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { blocksOf } from "../docs/blocks.ts";
import { ROOT } from "../docs/files.ts";
import { type Backend, backend } from "../support/backend.ts";
import { type Folder, folder, freePort, type Running, start } from "../support/process.ts";
import { having, programAt } from "../support/programs.ts";

const CADDY = programAt("caddy");
const NGINX = programAt("nginx");
const { describe: withProxies, beforeAll: before, afterAll: after } = having("nginx", "caddy");

const KEY = "a-declared-key-0123456789";
const MANY = "the-key-of-many-0123456789";
const FEW = "the-key-of-few-0123456789";
const LIMIT = 120;
const OF_ADDRESS = 60;

let behind: Backend;
let gateway: Running;
let home: Folder;
const proxies: Bun.Subprocess[] = [];
const urls = { sluice: "", nginx: "", caddy: "" };
type Way = keyof typeof urls;
const WAYS: readonly Way[] = ["sluice", "nginx", "caddy"];

/** A file as the guide has it, with other ports. */
async function fromGuide(name: string, ports: ReadonlyMap<number, number>): Promise<string> {
  const blocks = blocksOf(await Bun.file(join(ROOT, "docs/guides/nginx-and-caddy.md")).text());
  const block = blocks.find(({ words: [file] }) => file === name);
  if (block === undefined) throw new Error(`the guide has no ${name}`);
  return block.text.replace(/(127\.0\.0\.1:)(\d{4})\b/g, (_, host: string, port: string) => `${host}${ports.get(Number(port)) ?? port}`);
}

async function untilAnswers(url: string, child: Bun.Subprocess): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the proxy for ${url} ended with ${child.exitCode}`);
    if (
      await fetch(url).then(
        () => true,
        () => false,
      )
    )
      return;
    await Bun.sleep(10);
  }
}

async function startProxies(): Promise<void> {
  const [nginxPort, caddyPort] = [freePort(), freePort()];
  const ports = new Map([
    [8080, gateway.port],
    [8081, nginxPort],
    [8082, caddyPort],
    [3001, behind.port],
  ]);
  urls.nginx = `http://127.0.0.1:${nginxPort}`;
  urls.caddy = `http://127.0.0.1:${caddyPort}`;
  mkdirSync(join(home.path, "tmp"));
  // Where the distribution's own file says it: not in root's folders.
  const places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${home.path}/tmp/${kind};`);
  const conf = (await fromGuide("nginx.conf", ports)).replace("http {", `http { access_log off; ${places.join(" ")}`);
  writeFileSync(join(home.path, "nginx.conf"), conf);
  const log = join(home.path, "error.log");
  const once = `daemon off; master_process off; pid ${home.path}/nginx.pid;`;
  proxies.push(
    Bun.spawn([NGINX ?? "", "-p", home.path, "-c", join(home.path, "nginx.conf"), "-e", log, "-g", once], {
      stdout: "ignore",
      stderr: "inherit",
    }),
  );
  // Its own API would want a port that others may have.
  writeFileSync(join(home.path, "Caddyfile"), `{\n\tadmin off\n}\n${await fromGuide("Caddyfile", ports)}`);
  proxies.push(
    Bun.spawn([CADDY ?? "", "run", "--config", join(home.path, "Caddyfile"), "--adapter", "caddyfile"], {
      env: { HOME: home.path, PATH: process.env.PATH ?? "" },
      stdout: "ignore",
      stderr: "ignore",
    }),
  );
  await Promise.all([untilAnswers(urls.nginx, proxies[0] as Bun.Subprocess), untilAnswers(urls.caddy, proxies[1] as Bun.Subprocess)]);
}

before(async () => {
  home = folder();
  behind = backend();
  const hourly = (name: string, limit: number, more: object = {}) => ({ name, algorithm: "fixed-window", limit, window: "1h", ...more });
  const route = (name: string, more: object = {}) => ({ name, path: `/${name}`, upstream: behind.url, stripPrefix: false, ...more });
  gateway = await start({
    config: {
      authz: {},
      tiers: {
        anonymous: { limits: [] },
        plain: { limits: [hourly("per-hour", 1000)] },
        many: { limits: [hourly("per-hour", LIMIT)] },
        few: { limits: [hourly("few", 1)] },
      },
      consumers: [
        { id: "acme", tier: "plain", keys: [KEY] },
        { id: "crowd", tier: "many", keys: [MANY] },
        { id: "one", tier: "few", keys: [FEW] },
      ],
      routes: [
        route("api"),
        route("counted"),
        route("scoped", { scopes: ["write"] }),
        route("open", { auth: "optional" }),
        route("ws", { auth: "none" }),
        route("status", { auth: "none" }),
        route("upload"),
        route("by-address", { auth: "none", limits: [hourly("address", OF_ADDRESS, { by: "ip" })] }),
        route("read", { methods: ["GET"] }),
      ],
    },
  });
  urls.sluice = gateway.url;
  await startProxies();
});
after(async () => {
  for (const proxy of proxies) {
    proxy.kill("SIGKILL");
    await proxy.exited;
  }
  await gateway[Symbol.asyncDispose]();
  behind[Symbol.dispose]();
  home[Symbol.dispose]();
});

const ask = (way: Way, path: string, headers: Record<string, string> = {}, more: RequestInit = {}) =>
  fetch(urls[way] + path, { headers, ...more });
const withKey = { "X-API-Key": KEY };

/** What Sluice says of limits in an answer; times are whole seconds, and may have gone on. */
const limitsIn = ({ headers }: Response) =>
  ["x-ratelimit-limit", "x-ratelimit-remaining", "ratelimit-policy", "ratelimit"].map((name) => headers.get(name)?.replace(/t=\d+/, "t"));

withProxies("nginx and Caddy, as the guide has them", () => {
  test("tell backend and caller what Sluice tells, as if it had forwarded the request", async () => {
    for (const [i, way] of WAYS.entries()) {
      const answer = await ask(way, "/api/users%20x?a=1&b=%2F", { ...withKey, "X-Consumer-ID": "root", "X-Request-ID": `by-${way}` });
      expect([way, answer.status]).toEqual([way, 200]);
      const left = 999 - i;
      expect(limitsIn(answer)).toEqual(["1000", String(left), '"per-hour";q=1000;w=3600', `"per-hour";r=${left};t`]);
      expect([answer.headers.get("x-request-id"), answer.headers.has("x-ratelimit-reset")]).toEqual([`by-${way}`, true]);
      const { url, headers } = behind.seen.at(-1) as Backend["seen"][number];
      expect([way, url]).toEqual([way, "/api/users%20x?a=1&b=%2F"]);
      expect(headers).toMatchObject({ "x-consumer-id": "acme", "x-consumer-tier": "plain", "x-request-id": `by-${way}` });
      expect([way, Object.keys(headers).filter((name) => /ratelimit|api-key|forwarded-(uri|method)/.test(name))]).toEqual([way, []]);
    }
  });

  test("let nobody say who they are", async () => {
    for (const way of WAYS) {
      const answer = await ask(way, "/open/x", { "X-Consumer-ID": "root", "X-Consumer-Tier": "enterprise" });
      expect([way, answer.status, limitsIn(answer)]).toEqual([way, 200, [undefined, undefined, undefined, undefined]]);
      const { headers } = behind.seen.at(-1) as Backend["seen"][number];
      expect([way, Object.keys(headers).filter((name) => name.startsWith("x-consumer"))]).toEqual([way, []]);
    }
  });

  test("refuse what Sluice refuses, by its status and headers", async () => {
    const reached = behind.seen.length;
    const cases: [string, Record<string, string>, number][] = [
      ["/api/x", {}, 401],
      ["/api/x", { "X-API-Key": "a-key-that-nobody-has-0" }, 401],
      ["/scoped/x", withKey, 403],
    ];
    for (const [path, headers, status] of cases)
      for (const way of WAYS) {
        const answer = await ask(way, path, headers);
        expect([way, path, answer.status]).toEqual([way, path, status]);
        expect([way, answer.headers.get("www-authenticate")]).toEqual([way, status === 401 ? 'Bearer realm="sluice"' : null]);
        expect([way, answer.headers.get("content-type")]).toEqual([way, "application/problem+json"]);
        expect(await answer.json()).toMatchObject({ status, title: expect.any(String), requestId: answer.headers.get("x-request-id") });
      }
    expect((await ask("caddy", "/api/x", { "X-API-Key": FEW })).status).toBe(200);
    for (const way of WAYS) {
      const answer = await ask(way, "/api/x", { "X-API-Key": FEW });
      expect([way, answer.status, limitsIn(answer)]).toEqual([way, 429, ["1", "0", '"few";q=1;w=3600', '"few";r=0;t']]);
      expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(3500);
      expect(await answer.json()).toMatchObject({ status: 429 });
    }
    // What would be 404, 405 and 400 of a forwarded request.
    for (const way of ["nginx", "caddy"] as const)
      for (const [path, method] of [
        ["/nowhere", "GET"],
        ["/read/x", "POST"],
        ["/api/a%2fb", "GET"],
        ["/api/..;/x", "GET"],
      ] as const)
        expect([way, path, (await ask(way, path, withKey, { method })).status]).toEqual([way, path, 403]);
    expect(behind.seen.length - reached).toBe(1);
  });

  test("judge by the request itself, whatever a caller says of it", async () => {
    const lies = {
      "X-Forwarded-Uri": "/open",
      "X-Forwarded-Method": "GET",
      "X-Forwarded-Host": "other.example.com",
      "X-Forwarded-For": "192.0.2.1",
      "X-Real-IP": "192.0.2.1",
    };
    for (const way of ["nginx", "caddy"] as const) {
      expect([way, (await ask(way, "/api/x", lies)).status]).toEqual([way, 401]);
      expect([way, (await ask(way, "/api/x", { ...withKey, "X-Original-URI": "/open", "X-Original-Method": "GET" })).status]).toEqual([
        way,
        403,
      ]);
    }
  });

  test("send bodies past Sluice, and a backend's own errors through", async () => {
    const body = "x".repeat(100_000);
    for (const way of ["nginx", "caddy"] as const) {
      const uploaded = await ask(way, "/upload", withKey, { method: "POST", body });
      expect([way, await uploaded.json()]).toMatchObject([way, { size: body.length }]);
      for (const code of [500, 401, 404])
        expect([way, code, await (await ask(way, `/status?code=${code}&body=own`)).text()]).toEqual([way, code, "own"]);
    }
  });

  test("Caddy lets a WebSocket through", async () => {
    const socket = new WebSocket(`${urls.caddy.replace("http", "ws")}/ws`, ["chat"]);
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    socket.onmessage = ({ data }) => resolve(data);
    socket.onerror = () => reject(new Error("no WebSocket"));
    socket.onopen = () => socket.send("hello");
    expect(await promise).toBe("hello");
    socket.close();
  });

  /** Asks by all ways at the same time, and gives how often each status came. */
  async function flood(path: string, headers: Record<string, string>, each: number): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    const one = async (way: Way): Promise<void> => {
      for (let i = 0; i < each / 10; i++) {
        const { status } = await ask(way, path, headers);
        counts[status] = (counts[status] ?? 0) + 1;
      }
    };
    await Promise.all(WAYS.flatMap((way) => Array.from({ length: 10 }, () => one(way))));
    return counts;
  }

  test("count with what is forwarded at the same time: the sum is exact", async () => {
    const reached = behind.seen.length;
    const each = 100;
    expect(await flood("/counted/x", { "X-API-Key": MANY }, each)).toEqual({ 200: LIMIT, 429: 3 * each - LIMIT });
    expect(behind.seen.length - reached).toBe(LIMIT);
    // All come from this machine: the address that the proxies name is the one that Sluice sees.
    expect(await flood("/by-address/x", {}, 50)).toEqual({ 200: OF_ADDRESS, 429: 150 - OF_ADDRESS });
    const usage = (await (await gateway.admin("GET", "/admin/usage?consumer=crowd")).json()) as { items: object[] };
    expect(usage.items).toMatchObject([{ requests: 3 * each, limited: 3 * each - LIMIT }]);
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
    const counted = (route: string, status: number) =>
      [...metrics.matchAll(/^http_requests_total\{(.*)\} (\d+)$/gm)]
        .filter(([, labels = ""]) => labels.includes(`route="${route}"`) && labels.includes(`status="${status}"`))
        .reduce((sum, [, , count]) => sum + Number(count), 0);
    expect([counted("counted", 200), counted("counted", 429)]).toEqual([LIMIT, 3 * each - LIMIT]);
    expect([counted("by-address", 200), counted("by-address", 429)]).toEqual([OF_ADDRESS, 150 - OF_ADDRESS]);
    const explained = await (await gateway.admin("GET", "/admin/explain?consumer=crowd&route=counted")).json();
    expect(explained).toMatchObject({ limits: [{ name: "per-hour", used: LIMIT, remaining: 0 }] });
    const ready = (await (await fetch(`${gateway.url}/ready`)).json()) as { warnings: object[] };
    expect(ready.warnings).toEqual([]);
  });

  test("let nothing through while Sluice is away", async () => {
    const reached = behind.seen.length;
    await gateway.stop("SIGKILL");
    expect([(await ask("nginx", "/open/x")).status, (await ask("caddy", "/open/x")).status]).toEqual([503, 502]);
    expect(behind.seen.length).toBe(reached);
  });
});
