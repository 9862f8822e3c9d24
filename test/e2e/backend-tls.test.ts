import { expect } from "bun:test";
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import tls from "node:tls";
import { type Authority, authority, type Issued } from "../support/backend-authority.ts";
import { folder, run, start } from "../support/process.ts";
import { killAndWait, startAll } from "../support/processes.ts";
import { having } from "../support/programs.ts";
import { until } from "../support/until.ts";

const { describe, test } = having("openssl");

/** An HTTPS backend that asks for a certificate, and tells which it was shown and by which name it was asked for. */
async function judging({ cert, key }: Issued, { cert: ca }: Authority) {
  const seen: string[] = [];
  const server = tls.createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: false }, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      const { subject } = socket.getPeerCertificate() as { subject?: { CN?: string } };
      const path = bytes.toString().split(" ", 2)[1] ?? "";
      seen.push(path);
      const body = JSON.stringify({ shown: socket.authorized ? (subject?.CN ?? null) : null, name: socket.servername });
      socket.write(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", () => done()));
  return { port: (server.address() as { port: number }).port, seen, [Symbol.dispose]: () => void server.close() };
}

const configFor = (port: number, own: object, more: object = {}) => ({
  tiers: { anonymous: { limits: [] } },
  logging: { accessLog: false },
  upstreams: { main: { targets: [{ url: `https://127.0.0.1:${port}` }], tls: own, breaker: null, ...more } },
  routes: [{ name: "main", path: "/", upstream: "main", auth: "none", retry: null }],
});

describe("an https target", () => {
  test("is checked by the upstream's authority and name, and shown its certificate, by health checks too", async () => {
    using home = folder();
    const ca = authority(home.path);
    using behind = await judging(ca.issue("backend", "DNS:backend.internal"), ca);
    ca.issue("gateway", "DNS:gateway");
    const own = { ca: "ca.pem", cert: "gateway.pem", key: "gateway.key", serverName: "backend.internal" };
    const config = configFor(behind.port, own, { healthCheck: { path: "/well", interval: "50ms" } });
    await using gateway = await start({ cwd: home.path, config });
    const answer = await fetch(`${gateway.url}/x`);
    expect([answer.status, await answer.json()]).toEqual([200, { shown: "gateway", name: "backend.internal" }]);
    await until(() => behind.seen.includes("/well"));
    const breakers = (await (await gateway.admin("GET", "/admin/breakers")).json()) as { items: { healthy: boolean }[] };
    expect(breakers.items.map(({ healthy }) => healthy)).toEqual([true]);
  });

  test("is not used without the authority, nor under another name", async () => {
    using home = folder();
    const ca = authority(home.path);
    using behind = await judging(ca.issue("backend", "DNS:backend.internal"), ca);
    for (const own of [{ serverName: "backend.internal" }, { ca: "ca.pem" }, { ca: "ca.pem", serverName: "other.internal" }]) {
      await using gateway = await start({ cwd: home.path, config: configFor(behind.port, own) });
      expect((await fetch(`${gateway.url}/x`)).status).toBe(502);
    }
    expect(behind.seen).toEqual([]);
  });

  test("sees the new certificate after a reload, which refuses files that can't be used and leaves the old ones", async () => {
    using home = folder();
    const ca = authority(home.path);
    using behind = await judging(ca.issue("backend", "DNS:backend.internal"), ca);
    ca.issue("old", "DNS:gateway");
    ca.issue("new", "DNS:gateway");
    const put = (name: string): void => {
      for (const end of ["pem", "key"]) copyFileSync(join(home.path, `${name}.${end}`), join(home.path, `shown.${end}`));
    };
    put("old");
    const own = { ca: "ca.pem", cert: "shown.pem", key: "shown.key", serverName: "backend.internal" };
    for (const workers of [1, 2]) {
      put("old");
      const config = { ...configFor(behind.port, own), server: { workers } };
      await using gateway = await (workers === 1 ? start : startAll)({ cwd: home.path, config });
      // A connection of its own each time, so that each worker is asked.
      const shown = async () =>
        ((await (await fetch(`${gateway.url}/x`, { headers: { connection: "close" } })).json()) as { shown: string }).shown;
      const shownByAll = async () => [...new Set(await Promise.all(Array.from({ length: 16 }, shown)))];
      const reload = () => gateway.admin("POST", "/admin/config/reload");
      expect(await shownByAll()).toEqual(["old"]);
      put("new");
      expect((await reload()).status).toBe(200);
      expect(await shownByAll()).toEqual(["new"]);
      writeFileSync(join(home.path, "shown.key"), "half a ke");
      const refused = await reload();
      expect([refused.status, await refused.text()]).toEqual([
        422,
        expect.stringContaining("shown.key holds no private key without a password in PEM format"),
      ]);
      expect(await shownByAll()).toEqual(["new"]);
      if (workers === 1) continue;
      // A process that begins now has nobody but the others to learn from.
      for (const name of ["keeper", "1", "2"]) await killAndWait(gateway, name);
      expect(await shownByAll()).toEqual(["new"]);
    }
  });
});

describe("files of an upstream", () => {
  test("are opened by check, which names what is wrong with its place, and what is shown until when", async () => {
    using home = folder();
    const ca = authority(home.path);
    ca.issue("one", "DNS:one");
    ca.issue("two", "DNS:two");
    writeFileSync(join(home.path, "empty.pem"), "nothing\n");
    const check = async (own: object): Promise<string> => {
      writeFileSync(join(home.path, "config.json"), JSON.stringify(configFor(1, own)));
      return (await run(["check"], { cwd: home.path })).stdout;
    };
    expect(await check({ ca: "ca.pem", cert: "one.pem", key: "one.key" })).toContain(
      "one.pem: a certificate for backends, CN=one, until 20",
    );
    for (const [own, fault] of [
      [{ ca: "none.pem" }, "upstreams.main.tls.ca: none.pem can't be read: there is no such file"],
      [{ ca: "empty.pem" }, "upstreams.main.tls.ca: empty.pem holds no certificate in PEM format"],
      [{ cert: "one.pem", key: "two.key" }, "upstreams.main.tls.key: two.key is not the key of the certificate in one.pem"],
      [{ cert: "one.pem", key: "empty.pem" }, "upstreams.main.tls.key: empty.pem holds no private key"],
      [{ cert: "one.pem" }, "upstreams.main.tls.key: is required beside cert"],
    ] as const)
      expect(await check(own)).toContain(fault);
    const { status, stderr } = await run(["serve", "--port", "0"], { cwd: home.path });
    expect([status, stderr]).toEqual([1, expect.stringContaining("upstreams.main.tls.key")]);
  });

  test("can't be named by the admin API", async () => {
    await using gateway = await start({ config: { tiers: { anonymous: { limits: [] } } } });
    const make = (name: string, body: object) => gateway.admin("POST", "/admin/upstreams", { name, ...body });
    const targets = [{ url: "https://backend.internal" }];
    const refused = await make("one", { targets, tls: { ca: "/etc/passwd" } });
    expect([refused.status, await refused.text()]).toEqual([422, expect.stringContaining("files are named in config.json alone")]);
    expect((await make("two", { targets, tls: { serverName: "backend.internal" } })).status).toBe(201);
  });
});
