import { expect } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Certified, certified, shownBy } from "../../support/certificates.ts";
import { ADMIN_TOKEN, folder, type Running, run, start } from "../../support/process.ts";
import { killAndWait, startAll } from "../../support/processes.ts";
import { having } from "../../support/programs.ts";
import { until } from "../../support/until.ts";

const { describe, test } = having("openssl");

const configOf = (tls: object, server: object = {}) => ({
  server: { ...server, tls },
  logging: { accessLog: false },
  tiers: { anonymous: { limits: [] } },
});
const FIRST = { cert: "own.pem", key: "own.key" };
const SECOND = { cert: "other.pem", key: "other.key" };

/** Puts a certificate into a folder, over the one before. */
function put(path: string, name: string, { cert, key }: Certified): void {
  writeFileSync(join(path, `${name}.pem`), cert);
  writeFileSync(join(path, `${name}.key.new`), key, { mode: 0o600 });
  renameSync(join(path, `${name}.key.new`), join(path, `${name}.key`));
}

const asked = async <T>(gateway: Running, path: string): Promise<T> => (await (await gateway.admin("GET", path)).json()) as T;
const warningsOf = async (gateway: Running): Promise<readonly { readonly code: string; readonly detail: string }[]> =>
  (await asked<{ warnings: { code: string; detail: string }[] }>(gateway, "/ready")).warnings;

for (const workers of [1, 2])
  describe(`certificates, with ${workers === 1 ? "one process" : "workers"}`, () => {
    test("are chosen by name, exchanged while https goes on, and kept while a file is broken", async () => {
      using home = folder();
      const first = certified(["a.test", "localhost"]);
      put(home.path, "own", first);
      put(home.path, "other", certified(["*.b.test"]));
      const config = configOf({ ...FIRST, certificates: [SECOND] }, { workers });
      await using gateway = await (workers === 1 ? start : startAll)({ cwd: home.path, config, tls: true });
      const { port } = gateway;
      expect(await Promise.all(["a.test", "X.B.TEST", "b.test", null].map((name) => shownBy(port, name)))).toEqual([
        "a.test",
        "*.b.test",
        "a.test",
        "a.test",
      ]);
      put(home.path, "own", certified(["c.test"]));
      await until(async () => (await shownBy(port, null)) === "c.test");
      put(home.path, "other", certified(["d.test"]));
      await until(async () => (await shownBy(port, "d.test")) === "d.test");
      await until(() => gateway.output().includes('"msg":"another certificate is served"'));

      writeFileSync(join(home.path, "other.key"), first.key);
      await until(async () => (await warningsOf(gateway)).some(({ code }) => code === "certificateFailing"));
      expect(await asked(gateway, "/admin/certificates")).toMatchObject({
        items: [
          { names: ["c.test"], source: "file", place: "own.pem", trouble: null, renewsAt: null },
          { names: ["d.test"], trouble: "other.key is not the key of the certificate in other.pem" },
        ],
      });
      const metrics = await (await gateway.admin("GET", "/metrics")).text();
      expect(metrics).toContain('sluice_tls_certificate_failing{name="d.test"} 1');
      expect(metrics).toContain('sluice_tls_certificate_failing{name="c.test"} 0');
      expect(metrics).toMatch(/sluice_tls_certificate_expiry_timestamp_seconds\{name="c\.test"\} \d{10}/);
      const listed = await run(["certificates", "list", "--url", gateway.url, "--token", ADMIN_TOKEN], {
        cwd: home.path,
        env: { NODE_TLS_REJECT_UNAUTHORIZED: "0" },
      });
      expect([listed.status, listed.stdout]).toEqual([1, expect.stringMatching(/d\.test +file +other\.pem .* other\.key is not the key/)]);
      if (workers > 1) {
        for (const name of ["keeper", "1", "2"]) await killAndWait(gateway, name);
        expect(await Promise.all(["d.test", null].map((name) => shownBy(port, name)))).toEqual(["d.test", "c.test"]);
        expect((await warningsOf(gateway)).map(({ code }) => code)).toContain("certificateFailing");
      }
      put(home.path, "other", certified(["e.test"]));
      process.kill(gateway.pid, "SIGHUP");
      await until(async () => (await warningsOf(gateway)).every(({ code }) => code !== "certificateFailing"));
      expect(await shownBy(port, "e.test")).toBe("e.test");
    });

    test("come and go by a reload, which is refused where one can't be served with", async () => {
      using home = folder();
      put(home.path, "own", certified(["a.test"]));
      put(home.path, "other", certified(["b.test"]));
      await using gateway = await (workers === 1 ? start : startAll)({
        ...{ cwd: home.path, tls: true, config: configOf(FIRST, { workers }) },
      });
      const { port } = gateway;
      const reload = async (tls: object): Promise<unknown> => {
        writeFileSync(join(home.path, "config.json"), JSON.stringify(configOf(tls, { workers })));
        const answer = await gateway.admin("POST", "/admin/config/reload");
        return answer.status === 200 ? 200 : await answer.json();
      };
      expect(await reload({ ...FIRST, certificates: [SECOND], minVersion: "1.3" })).toBe(200);
      await until(async () => (await shownBy(port, "b.test")) === "b.test");
      expect(await shownBy(port, "b.test", { maxVersion: "TLSv1.2" }).catch(({ code }) => code)).toMatch(/VERSION/);
      expect(await reload({ ...FIRST, certificates: [SECOND, { cert: "own.pem", key: "other.key" }] })).toMatchObject({
        errors: [{ path: "server.tls.certificates[1].key", message: "other.key is not the key of the certificate in own.pem" }],
      });
      expect(await reload({ ...SECOND, redirect: false })).toMatchObject({ errors: [{ path: "server.tls.redirect" }] });
      expect(await shownBy(port, null)).toBe("a.test");
      expect(await reload(SECOND)).toBe(200);
      await until(async () => (await shownBy(port, null)) === "b.test");
      expect(await shownBy(port, "a.test", { maxVersion: "TLSv1.2" })).toBe("b.test");
    });
  });

describe("certificates", () => {
  test("plain http to a port for https is told so", async () => {
    using home = folder();
    put(home.path, "own", certified(["localhost"]));
    await using gateway = await start({ cwd: home.path, config: configOf(FIRST), tls: true });
    const answer = await fetch(`http://127.0.0.1:${gateway.port}/health`);
    expect([answer.status, await answer.json()]).toEqual([
      400,
      expect.objectContaining({ code: "badRequest", detail: expect.stringContaining("This port speaks https") }),
    ]);
    // Neither takes a port scanner anything down.
    await fetch(`http://127.0.0.1:${gateway.port}/`, { method: "POST", body: "x".repeat(100_000) }).catch(() => null);
    expect(await shownBy(gateway.port, null)).toBe("localhost");
  });

  test("are opened by sluice check, which names each fault's place", async () => {
    using home = folder();
    put(home.path, "own", certified(["a.test", "b.test"], 10));
    put(home.path, "other", certified(["b.test"], 400));
    const check = async (tls: object, ...args: string[]) => {
      writeFileSync(join(home.path, "config.json"), JSON.stringify(configOf(tls)));
      return await run(["check", ...args], { cwd: home.path });
    };
    const listed = await check({ ...FIRST, certificates: [SECOND] });
    expect([listed.status, listed.stdout]).toEqual([
      0,
      expect.stringMatching(/^own\.pem: a certificate for a\.test, b\.test, until .*\nother\.pem: a certificate for b\.test, until /),
    ]);
    expect(listed.stdout).toContain(
      "server.tls.certificates[0].cert: warning: is for names that own.pem is for as well, which stands before it: nobody gets other.pem",
    );
    expect((await check({ certificates: [FIRST, { cert: "none.pem", key: "other.key" }] })).stdout).toMatch(
      /^config\.json:1:\d+ server\.tls\.certificates\[1\]\.cert: none\.pem can't be read: there is no such file\n$/,
    );
    expect((await check({ cert: "own.pem" })).stdout).toMatch(/server\.tls\.key: is required/);
    expect((await check({})).stdout).toMatch(/server\.tls\.cert: is required.*\n.*server\.tls\.key: is required/);
    expect((await check({ certificates: [FIRST] })).status).toBe(0);
  });
});
