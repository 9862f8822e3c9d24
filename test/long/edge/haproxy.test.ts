// HAProxy before Sluice, as an operator would set it up: PROXY lines of both versions, before http, before TLS, and on a Unix socket.
import { afterAll, beforeAll, expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Backend, backend } from "../../support/backend.ts";
import { ADMIN_TOKEN, folder, freePort, PROGRAM } from "../../support/process.ts";
import { having, programAt } from "../../support/programs.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../../support/tls.ts";
import { until } from "../../support/until.ts";

const { describe, test } = having("haproxy", "curl");

let behind: Backend;
beforeAll(() => {
  behind = backend();
});
afterAll(() => behind[Symbol.dispose]());

/** Sluice with these settings, and HAProxy before it, each on ports of its own. */
async function pair(workers: object, isTls: boolean) {
  const home = folder();
  const { path } = home;
  const [port, tlsPort, adminPort] = [freePort(), freePort(), freePort()];
  const fronts = { v1: freePort(), v2: freePort(), socket: freePort(), health: freePort() };
  writeFileSync(join(path, "cert.pem"), CERTIFICATE);
  writeFileSync(join(path, "key.pem"), PRIVATE_KEY);
  const config = {
    server: {
      ...workers,
      host: "127.0.0.1",
      port,
      unix: "s",
      proxyProtocol: ["127.0.0.1", "unix"],
      tls: { port: tlsPort, redirect: false, cert: "cert.pem", key: "key.pem" },
    },
    admin: { listen: { port: adminPort } },
    tiers: { anonymous: { limits: [] } },
    routes: [{ name: "all", path: "/", upstream: behind.url, stripPrefix: false, auth: "none" }],
  };
  writeFileSync(join(path, "config.json"), JSON.stringify(config));
  const to = isTls ? tlsPort : port;
  const front = (name: string, at: number, server: string) => `listen ${name}\n  bind 127.0.0.1:${at}\n  server sluice ${server}\n`;
  writeFileSync(
    join(path, "haproxy.cfg"),
    `defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
${front("v1", fronts.v1, `127.0.0.1:${to} send-proxy`)}
${front("v2", fronts.v2, `127.0.0.1:${to} send-proxy-v2 check inter 100ms`)}
${front("socket", fronts.socket, `unix@${path}/s send-proxy-v2 check inter 100ms`)}
`,
  );
  const env = { PATH: process.env.PATH ?? "", SLUICE_ADMIN_TOKEN: ADMIN_TOKEN };
  const sluice = Bun.spawn([...PROGRAM, "serve"], { cwd: path, env, stdout: Bun.file(join(path, "log")), stderr: "inherit" });
  const haproxy = Bun.spawn([programAt("haproxy") ?? "haproxy", "-db", "-f", "haproxy.cfg"], {
    cwd: path,
    env,
    stdout: "ignore",
    stderr: Bun.file(join(path, "haproxy.log")),
  });
  const log = () => Bun.file(join(path, "log")).text();
  await until(async () => (await log()).includes('"msg":"listening"'));
  return {
    fronts,
    log,
    ready: async () => (await fetch(`https://127.0.0.1:${adminPort}/ready`, { tls: { ca: CERTIFICATE } } as RequestInit)).text(),
    [Symbol.asyncDispose]: async () => {
      haproxy.kill("SIGTERM");
      sluice.kill("SIGTERM");
      await Promise.all([haproxy.exited, sluice.exited]);
      home[Symbol.dispose]();
    },
  };
}

describe.each([
  ["alone", {}],
  ["with workers", { workers: 2 }],
])("HAProxy before Sluice, %s", (_, workers) => {
  test.each([
    ["http", false],
    ["https", true],
  ])(
    "tells by its PROXY line who calls, with %s",
    async (scheme, isTls) => {
      await using both = await pair(workers, isTls);
      const { fronts } = both;
      // From an address of this machine that is not HAProxy's own.
      const fronted: readonly (readonly [number, string])[] = [
        [fronts.v1, scheme],
        [fronts.v2, scheme],
        [fronts.socket, "http"],
      ];
      for (const [port, its] of fronted) {
        const inspect = async () => {
          // Who calls is what matters here, and not whether the certificate holds.
          const words = ["-sSk", "--interface", "127.0.0.9", `${its}://127.0.0.1:${port}/inspect`];
          const curl = Bun.spawn([programAt("curl") ?? "curl", ...words], { stdout: "pipe", stderr: "ignore" });
          return (JSON.parse(await curl.stdout.text()) as { headers: Record<string, string> }).headers;
        };
        // HAProxy begins when it likes.
        await until(() => inspect().then(Boolean, () => false));
        const headers = await inspect();
        expect([headers["x-forwarded-for"], headers["x-forwarded-proto"]]).toEqual(["127.0.0.9", its]);
      }
      // Its health checks open connections and say nothing, which is no fault of theirs.
      expect(JSON.parse(await both.ready()).warnings).toEqual([]);
      expect(await both.log()).not.toContain("malformed");
    },
    60_000,
  );
});
