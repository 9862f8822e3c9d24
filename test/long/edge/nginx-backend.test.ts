// A real nginx as the backend: behind a Unix socket, and over TLS with an authority and certificates of its own.
import { expect } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { authority } from "../../support/backend-authority.ts";
import { folder, freePort, start } from "../../support/process.ts";
import { having, programAt } from "../../support/programs.ts";
import { until } from "../../support/until.ts";

const { test } = having("nginx", "openssl");
const NGINX = programAt("nginx") ?? "";
const MEGABYTES = 50;

/** Starts nginx with one server in a folder. */
function nginx(home: string, server: string) {
  const places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${home}/tmp/${kind};`);
  const common = `access_log off; client_max_body_size 100m; root ${home}/www; keepalive_requests 1000;`;
  const at = `location = /said { return 200 "$http_host $connection_requests $ssl_client_verify"; } location = /well { return 204; }`;
  writeFileSync(join(home, "nginx.conf"), `events {}\nhttp { ${places.join(" ")} ${common} server { ${server} ${at} } }\n`);
  const once = `daemon off; master_process off; pid ${home}/nginx.pid;`;
  const child = Bun.spawn([NGINX, "-p", home, "-c", join(home, "nginx.conf"), "-e", join(home, "error.log"), "-g", once], {
    stdout: "ignore",
    stderr: "ignore",
  });
  return {
    async stop(signal: NodeJS.Signals): Promise<void> {
      child.kill(signal);
      await child.exited;
    },
  };
}

function prepare(home: string): void {
  chmodSync(home, 0o755);
  mkdirSync(join(home, "tmp"));
  mkdirSync(join(home, "www"));
  writeFileSync(join(home, "www/large"), Buffer.alloc(MEGABYTES * 1_048_576, "0123456789abcdef"));
  writeFileSync(join(home, "www/page.txt"), "a line that repeats itself\n".repeat(10_000));
}

const base = { tiers: { anonymous: { limits: [] } }, logging: { accessLog: false } };

test("behind a Unix socket: connections are kept, large answers stream, and it serves again after a restart", async () => {
  using home = folder();
  prepare(home.path);
  const socket = join(home.path, "app.sock");
  const listen = `listen unix:${socket};`;
  let server = nginx(home.path, listen);
  const upstreams = { app: { targets: [{ url: `unix:${socket}` }], healthCheck: { path: "/well", interval: "50ms" } } };
  const config = { ...base, upstreams, routes: [{ path: "/", upstream: "app", auth: "none", compress: {} }] };
  await using gateway = await start({ config });
  try {
    await until(async () => (await fetch(`${gateway.url}/said`)).status === 200);
    let most = 0;
    for (let i = 0; i < 200; i++) {
      const [host, requests] = (await (await fetch(`${gateway.url}/said`)).text()).split(" ");
      expect(host).toBe("localhost");
      most = Math.max(most, Number(requests));
    }
    expect(most).toBeGreaterThan(50);
    expect((await (await fetch(`${gateway.url}/large`)).bytes()).length).toBe(MEGABYTES * 1_048_576);
    const page = await fetch(`${gateway.url}/page.txt`, { headers: { "accept-encoding": "zstd" }, decompress: false } as RequestInit);
    expect(page.headers.get("content-encoding")).toBe("zstd");
    expect((await page.bytes()).length).toBeLessThan(10_000);

    await server.stop("SIGQUIT");
    expect((await fetch(`${gateway.url}/said`)).status).toBeGreaterThanOrEqual(502);
    server = nginx(home.path, listen);
    await until(async () => (await fetch(`${gateway.url}/said`)).status === 200);
  } finally {
    await server.stop("SIGKILL");
  }
});

test("over TLS with its own authority, which asks for a certificate", async () => {
  using home = folder();
  prepare(home.path);
  const ca = authority(home.path);
  ca.issue("backend", "DNS:backend.internal");
  ca.issue("gateway", "DNS:gateway");
  const port = freePort();
  const files = `ssl_certificate ${home.path}/backend.pem; ssl_certificate_key ${home.path}/backend.key;`;
  const server = nginx(
    home.path,
    `listen 127.0.0.1:${port} ssl; ${files} ssl_client_certificate ${home.path}/ca.pem; ssl_verify_client on;`,
  );
  const shown = { ca: "ca.pem", cert: "gateway.pem", key: "gateway.key", serverName: "backend.internal" };
  const configFor = (tls: object) => ({
    ...base,
    upstreams: {
      app: { targets: [{ url: `https://127.0.0.1:${port}` }], tls, breaker: null, healthCheck: { path: "/well", interval: "50ms" } },
    },
    routes: [{ path: "/", upstream: "app", auth: "none" }],
  });
  try {
    {
      await using gateway = await start({ cwd: home.path, config: configFor(shown) });
      await until(async () => (await fetch(`${gateway.url}/said`)).status === 200);
      expect(await (await fetch(`${gateway.url}/said`)).text()).toEndWith(" SUCCESS");
      expect((await (await fetch(`${gateway.url}/large`)).bytes()).length).toBe(MEGABYTES * 1_048_576);
    }
    // Without a certificate nginx answers 400: so does the health check learn, and the target is taken out.
    await using gateway = await start({ cwd: home.path, config: configFor({ ca: "ca.pem", serverName: "backend.internal" }) });
    await until(async () => (await fetch(`${gateway.url}/said`)).status === 503);
  } finally {
    await server.stop("SIGKILL");
  }
});
