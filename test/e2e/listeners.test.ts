import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, lstatSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Backend, backend } from "../support/backend.ts";
import { ADMIN_TOKEN, folder, freePort, PROGRAM, type Running, run, start } from "../support/process.ts";
import { proxyV2 } from "../support/proxy-line.ts";
import { exchange } from "../support/raw.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../support/tls.ts";
import { until } from "../support/until.ts";

let behind: Backend;
beforeAll(() => {
  behind = backend();
});
afterAll(() => behind[Symbol.dispose]());

/** A gateway with these settings of its server, in a folder with a certificate for localhost and 127.0.0.1. */
function configIn(path: string, server: object, more: object = {}) {
  writeFileSync(join(path, "cert.pem"), CERTIFICATE);
  writeFileSync(join(path, "key.pem"), PRIVATE_KEY);
  return {
    server,
    tiers: { anonymous: { limits: [] } },
    routes: [{ name: "all", path: "/", upstream: behind.url, stripPrefix: false, auth: "none" }],
    ...more,
  };
}

/** What the backend tells of a request. */
interface Inspected {
  readonly headers: Readonly<Record<string, string>>;
}

const TLS = { cert: "cert.pem", key: "key.pem" };
const KINDS = [
  ["alone", {}],
  ["with workers", { workers: 2 }],
] as const;

/** Asks without following redirects. */
const ask = (url: string, headers: Record<string, string> = {}, more: object = {}) =>
  fetch(url, { redirect: "manual", headers, tls: { ca: CERTIFICATE }, ...more } as RequestInit);

/** Waits until all processes serve: workers begin after the keeper, which answers no one by itself. */
const listening = (gateway: Running) => until(() => gateway.output().includes('"msg":"listening"'));

describe.each(KINDS)("the plain port beside the one for https, %s", (_, workers) => {
  test("sends callers there, and serves what can't be asked there", async () => {
    using home = folder();
    const port = freePort();
    await using gateway = await start({ cwd: home.path, config: configIn(home.path, { ...workers, tls: { port, ...TLS } }) });
    await listening(gateway);
    const plain = `http://localhost:${gateway.port}`;
    const seen = await ask(`${plain}/echo/../a%20b?x=1&y=`);
    expect([seen.status, seen.headers.get("location"), await seen.text()]).toEqual([308, `https://localhost:${port}/a%20b?x=1&y=`, ""]);
    expect(seen.headers.get("x-request-id")).not.toBeNull();
    // The method and the body stay.
    const post = await ask(`${plain}/echo`, {}, { method: "POST", body: "hello" });
    expect([post.status, post.headers.get("location")]).toEqual([308, `https://localhost:${port}/echo`]);
    const followed = await fetch(`${plain}/status?body=hi`, { tls: { ca: CERTIFICATE } } as RequestInit);
    expect(await followed.text()).toBe("hi");

    for (const path of ["/health", "/_health", "/ready"]) expect((await ask(plain + path, { host: "elsewhere.test" })).status).toBe(200);
    // A host that nobody can call by https.
    for (const path of ["/", "/metrics", "/admin/tiers", "/api/v1/me"])
      expect((await ask(plain + path, { host: "evil.test" })).status).toBe(404);
    expect((await ask(`${plain}/%zz`)).status).toBe(400);
    const challenge = await ask(`${plain}/.well-known/acme-challenge/token-1`, { host: "any.test" });
    expect([challenge.status, challenge.headers.get("location")]).toEqual([200, null]);

    const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
    for (const path of ["/metrics", "/_metrics", "/admin/tiers"]) {
      expect((await ask(plain + path, admin)).status).toBe(200);
      for (const field of ["x-forwarded-for", "forwarded", "x-real-ip"])
        expect((await ask(plain + path, { ...admin, [field]: "192.0.2.1" })).status).toBe(308);
      expect((await ask(`https://localhost:${port}${path}`, { ...admin, "x-forwarded-for": "192.0.2.1" })).status).toBe(200);
    }
    expect(await (await ask(`${plain}/metrics`)).text()).toContain('http_requests_total{route="redirect",method="POST",status="308"} 1');
    expect(gateway.output()).toContain(`"url":"https://127.0.0.1:${port}","plain":"http://127.0.0.1:${gateway.port}"`);
  });

  test("serves as that one does, with redirect off", async () => {
    using home = folder();
    const port = freePort();
    await using gateway = await start({
      cwd: home.path,
      config: configIn(home.path, { ...workers, tls: { port, redirect: false, ...TLS } }),
    });
    await listening(gateway);
    for (const url of [gateway.url, `https://127.0.0.1:${port}`]) expect(await (await ask(`${url}/status?body=hi`)).text()).toBe("hi");
  });
});

describe.each(KINDS)("a Unix socket, %s", (_, workers) => {
  const over = (path: string) => ({ unix: path }) as object;

  test("serves besides the port, to whom the file's rights let in, and is gone afterwards", async () => {
    using home = folder();
    const path = join(home.path, "s");
    await using gateway = await start({ cwd: home.path, config: configIn(home.path, { ...workers, unix: { path, mode: "0600" } }) });
    await listening(gateway);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const answer = await ask("http://gateway.test/inspect", { "x-forwarded-for": "192.0.2.1" }, over(path));
    expect(answer.status).toBe(200);
    // Who is not believed is told of, by the name of such peers.
    expect(((await answer.json()) as Inspected).headers["x-forwarded-for"]).toBe("unix");
    await until(() => gateway.output().includes('"ip":"unix"'));
    await until(async () => (await (await ask(`${gateway.url}/ready`)).text()).includes("requests come through unix"));
    expect((await ask("http://localhost/metrics", {}, over(path))).status).toBe(401);
    expect(await gateway.stop()).toBe(0);
    expect(existsSync(path)).toBe(false);
  });

  test("is believed as a proxy, and may use the admin API, where a list names it", async () => {
    using home = folder();
    const path = join(home.path, "s");
    const server = { ...workers, unix: path, trustedProxies: ["unix"] };
    await using gateway = await start({ cwd: home.path, config: configIn(home.path, server, { admin: { allowFrom: ["unix"] } }) });
    await listening(gateway);
    expect(statSync(path).mode & 0o777).toBe(0o660);
    const answer = await ask("http://gateway.test/inspect", { "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https" }, over(path));
    const { headers } = (await answer.json()) as Inspected;
    expect([headers["x-forwarded-for"], headers["x-forwarded-proto"]]).toEqual(["192.0.2.1, unix", "https, http"]);
    await until(() => gateway.output().includes('"ip":"192.0.2.1"'));
    const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
    expect((await ask("http://gateway.test/admin/tiers", admin, over(path))).status).toBe(200);
    expect((await ask("http://gateway.test/admin/tiers", { ...admin, "x-forwarded-for": "192.0.2.1" }, over(path))).status).toBe(403);
    expect((await ask(`${gateway.url}/admin/tiers`, admin)).status).toBe(403);
  });

  test("takes the place of a file that is left over, and of nothing else", async () => {
    using home = folder();
    const path = join(home.path, "s");
    const config = configIn(home.path, { ...workers, unix: path });
    {
      await using killed = await start({ cwd: home.path, config });
      await listening(killed);
      await killed.stop("SIGKILL");
    }
    expect(lstatSync(path).isSocket()).toBe(true);
    await using gateway = await start({ cwd: home.path, config });
    await listening(gateway);
    expect((await ask("http://h/health", {}, over(path))).status).toBe(200);
    // One that is in use.
    using other = folder();
    writeFileSync(join(other.path, "config.json"), JSON.stringify(configIn(other.path, { ...workers, unix: path, port: 0 })));
    const taken = await run(["serve"], { cwd: other.path });
    expect([taken.status, taken.stderr]).toEqual([
      1,
      `sluice: ${path} is taken: stop what listens there, or choose another path by server.unix\n`,
    ]);
    expect((await ask("http://h/health", {}, over(path))).status).toBe(200);
    // What is no socket.
    writeFileSync(join(other.path, "file"), "precious");
    for (const [place, why] of [
      [join(other.path, "file"), "is no socket"],
      [join(other.path, "none", "s"), "there is no such folder"],
    ] as const) {
      writeFileSync(join(other.path, "config.json"), JSON.stringify(configIn(other.path, { ...workers, unix: place, port: 0 })));
      const { status, stderr } = await run(["serve"], { cwd: other.path });
      expect([status, stderr]).toEqual([1, expect.stringContaining(why)]);
    }
    expect(await Bun.file(join(other.path, "file")).text()).toBe("precious");
  }, 60_000);

  test("is handed over, with the port for https, without a refused request", async () => {
    using home = folder();
    const path = join(home.path, "s");
    const [port, tlsPort] = [freePort(), freePort()];
    const config = configIn(home.path, { ...workers, unix: path, tls: { port: tlsPort, ...TLS } }, { logging: { accessLog: false } });
    const options = { cwd: home.path, config, port, args: ["--reuse-port"] };
    await using first = await start(options);
    await listening(first);
    const bad: unknown[] = [];
    let count = 0;
    let isOn = true;
    const asking = [over(path), {}].map(async (more) => {
      const url = "unix" in more ? "http://localhost/status" : `https://localhost:${tlsPort}/status`;
      while (isOn) {
        await ask(url, { connection: "close" }, more).then(
          ({ status }) => status === 200 || bad.push(status),
          (error) => bad.push(error),
        );
        count++;
      }
    });
    await using second = await start(options);
    await listening(second);
    const before = count;
    expect(await first.stop()).toBe(0);
    await until(() => count > before + 50);
    isOn = false;
    await Promise.all(asking);
    expect(bad).toEqual([]);
    // The first has left the file, which is the other's by now.
    expect((await ask("http://localhost/status", {}, over(path))).status).toBe(200);
    expect(await second.stop()).toBe(0);
    expect(existsSync(path)).toBe(false);
  }, 60_000);
});

describe.each(KINDS)("PROXY lines, %s", (_, workers) => {
  test("say who calls, also to what the keeper answers, and make nobody local", async () => {
    using home = folder();
    const path = join(home.path, "s");
    const server = { ...workers, unix: path, proxyProtocol: ["unix", "127.0.0.1"] };
    // The port takes nobody without a line; the admin API has a listener of its own, which takes none.
    const admin = freePort();
    const config = configIn(home.path, server, { admin: { listen: { port: admin } } });
    const { child, port } = started(home.path, config);
    try {
      await until(() =>
        ask(`http://localhost:${admin}/health`).then(
          ({ ok }) => ok,
          () => false,
        ),
      );
      const line = proxyV2({ source: new Uint8Array([192, 0, 2, 7]) });
      const get = (target: string) => Buffer.from(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
      await until(() =>
        exchange(port, Buffer.concat([line, get("/health")])).then(
          (text) => text.includes(" 200 "),
          () => false,
        ),
      );
      const seen = await exchange(port, Buffer.concat([line, get("/inspect")]));
      expect(seen).toContain('"x-forwarded-for":"192.0.2.7"');
      const details = async (before: Uint8Array) => (await exchange(port, Buffer.concat([before, get("/ready")]))).includes('"faults"');
      for (const before of [line, proxyV2({ command: 0 }), Buffer.from("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n")])
        expect(await details(before)).toBe(false);
      expect(await (await ask(`http://localhost:${admin}/ready`)).text()).toContain('"faults"');
      expect(await exchange(port, get("/status"))).toContain("must begin with a PROXY line");
      await until(async () => (await (await ask(`http://localhost:${admin}/ready`)).text()).includes("proxyLineMissing"));
    } finally {
      child.kill("SIGTERM");
      await child.exited;
    }
  });
});

/** Starts the gateway without asking it whether it is there: its port may take no one. */
function started(cwd: string, config: object) {
  const port = freePort();
  writeFileSync(join(cwd, "config.json"), JSON.stringify(config));
  const env = { PATH: "/nonexistent", SLUICE_HOST: "127.0.0.1", SLUICE_PORT: String(port), SLUICE_ADMIN_TOKEN: ADMIN_TOKEN };
  const child = Bun.spawn([...PROGRAM, "serve"], { cwd, env, stdout: "ignore", stderr: "inherit" });
  return { child, port };
}
