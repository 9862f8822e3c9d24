import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { backend } from "../support/backend.ts";
import { underLoad } from "../support/flaky.ts";
import { folder, freePort, run, start } from "../support/process.ts";
import { exchange, RawConnection } from "../support/raw.ts";

const configFor = (url: string) => ({
  tiers: {
    anonymous: { limits: [] },
    hourly: {
      limits: [
        { algorithm: "fixed-window", limit: 5, window: "1h" },
        { algorithm: "sliding-log", limit: 50, window: "2h", name: "log" },
      ],
    },
  },
  routes: [{ name: "all", path: "/", upstream: url, auth: "optional" }],
});

describe("a restart", () => {
  test("keeps consumers, keys, routes and the counts of long windows; kill -9 loses at most a second of counts", async () => {
    using behind = backend();
    using home = folder();
    let key = "";
    {
      await using first = await start({ cwd: home.path, config: configFor(behind.url) });
      await first.admin("POST", "/admin/consumers", { id: "acme", tier: "hourly" });
      key = ((await (await first.admin("POST", "/admin/keys", { consumer: "acme" })).json()) as { key: string }).key;
      await first.admin("POST", "/admin/routes", { name: "made", path: "/made", upstream: behind.url, auth: "none" });
      for (let i = 0; i < 3; i++) expect((await fetch(first.url, { headers: { "x-api-key": key } })).status).toBe(200);
      expect(await first.stop()).toBe(0);
    }
    const statuses: number[] = [];
    {
      await using second = await start({ cwd: home.path });
      expect((await fetch(`${second.url}/made`)).status).toBe(200);
      const answer = await fetch(second.url, { headers: { "x-api-key": key } });
      expect(answer.headers.get("ratelimit")).toMatch(/^"per-hour";r=1;t=\d+, "log";r=46;t=\d+$/);
      // Longer than the second that a crash may lose.
      await Bun.sleep(1100);
      await second.stop("SIGKILL");
    }
    {
      await using third = await start({ cwd: home.path });
      for (let i = 0; i < 3; i++) statuses.push((await fetch(third.url, { headers: { "x-api-key": key } })).status);
      expect((await third.admin("GET", "/admin/limits/acme").then((answer) => answer.json())) as object).toMatchObject({
        limits: [
          { name: "per-hour", used: 5, remaining: 0 },
          { name: "log", used: 5 },
        ],
      });
    }
    expect(statuses).toEqual([200, 429, 429]);
    // Nothing on disk holds the secret.
    for (const name of readdirSync(join(home.path, "data"))) expect(readFileSync(join(home.path, "data", name)).includes(key)).toBe(false);
    expect(statSync(join(home.path, "data")).mode & 0o777).toBe(0o700);
  });
});

describe("two processes on one data folder", () => {
  test("agree on consumers, keys, tiers and routes within a second, and refuse what the other has made", async () => {
    using behind = backend();
    using home = folder();
    await using first = await start({ cwd: home.path, config: configFor(behind.url) });
    await using second = await start({ cwd: home.path });
    const ask = (gateway: typeof first, key: string, path = "/") => fetch(gateway.url + path, { headers: { "x-api-key": key } });
    const settle = () => Bun.sleep(500);

    expect((await first.admin("POST", "/admin/consumers", { id: "acme", tier: "hourly" })).status).toBe(201);
    expect((await second.admin("POST", "/admin/consumers", { id: "acme", tier: "hourly" })).status).toBe(409);
    // The admin API knows at once what the other process did, requests a moment later.
    const made = (await (await second.admin("POST", "/admin/keys", { consumer: "acme" })).json()) as { id: string; key: string };
    expect((await ask(second, made.key)).status).toBe(200);
    await second.admin("POST", "/admin/routes", { name: "made", path: "/made", upstream: behind.url, tiers: ["hourly"] });
    await settle();
    expect([(await ask(first, made.key)).status, (await ask(first, made.key, "/made")).status]).toEqual([200, 200]);

    const rotated = (await (await first.admin("POST", `/admin/keys/${made.id}/rotate`, {})).json()) as { key: string };
    await settle();
    expect([(await ask(second, made.key)).status, (await ask(second, rotated.key)).status]).toEqual([401, 200]);
    await second.admin("DELETE", `/admin/keys/${made.id}`);
    await second.admin("DELETE", "/admin/routes/made");
    await settle();
    expect([(await ask(first, rotated.key)).status, (await fetch(`${first.url}/made`)).status]).toEqual([401, 200]);
    await second.admin("DELETE", "/admin/consumers/acme?force=true");
    expect((await first.admin("GET", "/admin/consumers/acme")).status).toBe(404);
  });
});

describe("SIGTERM", () => {
  test("lets what is in flight end, then the process ends with 0", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind.url) });
    const connection = await RawConnection.open(gateway.port);
    // A small body would be waited for before a backend is asked.
    connection.write(`POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n${"x".repeat(10_000)}`);
    while (behind.seen.length === 0) await Bun.sleep(2);
    const ended = gateway.stop("SIGTERM");
    while (!gateway.output().includes("stopping")) await Bun.sleep(2);
    expect(
      await RawConnection.open(gateway.port).then(
        () => "accepted",
        () => "refused",
      ),
    ).toBe("refused");
    connection.write("x".repeat(10_000));
    expect(await connection.untilClosed()).toContain('"size":20000');
    expect(await ended).toBe(0);
  });

  test("does not wait longer than drainTimeout", async () => {
    using behind = backend();
    await using gateway = await start({ config: { ...configFor(behind.url), server: { drainTimeout: "100ms" } } });
    const hanging = fetch(`${gateway.url}/hang`).then(
      () => "answered",
      () => "cut off",
    );
    while (behind.seen.length === 0) await Bun.sleep(2);
    expect(await gateway.stop("SIGINT")).toBe(0);
    expect(await hanging).toBe("cut off");
  });
});

describe("under load", () => {
  /** Requests on new connections and on kept ones, until `stop`; what went wrong, by kind. */
  const loading = (port: number, isExpected: (failure: string) => boolean) => {
    const failures: string[] = [];
    const counts = { good: 0 };
    const note = (failure: string) => {
      if (!isExpected(failure)) failures.push(failure);
    };
    const strands = [
      underLoad(16, async () => {
        const text = await exchange(port, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").catch(
          (error: { code: string }) => error.code,
        );
        if (text.startsWith("HTTP/1.1 200 ")) counts.good++;
        else note(text.slice(0, 20));
      }),
      underLoad(16, async () => {
        try {
          const answer = await fetch(`http://127.0.0.1:${port}/x`);
          await answer.text();
          if (answer.status === 200) counts.good++;
          else note(String(answer.status));
        } catch (error) {
          note((error as { code: string }).code);
        }
      }),
    ];
    return { failures, counts, stop: () => Promise.all(strands.map((strand) => strand.stop())) };
  };

  test("a second process takes over on the same port without a lost request, again and again", async () => {
    using behind = backend();
    using home = folder();
    const port = freePort();
    const config = { ...configFor(behind.url), logging: { accessLog: false } };
    const next = async () => {
      const gateway = await start({ cwd: home.path, port, args: ["--reuse-port"], config, env: { SLUICE_LOG_LEVEL: "info" } });
      while (!gateway.output().includes("listening")) await Bun.sleep(5);
      return gateway;
    };
    let current = await next();
    const load = loading(port, () => false);
    for (let i = 0; i < 3; i++) {
      const successor = await next();
      expect(await current.stop("SIGTERM")).toBe(0);
      current = successor;
    }
    await load.stop();
    await current.stop();
    expect(load.failures).toEqual([]);
    expect(load.counts.good).toBeGreaterThan(300);
  });

  test("SIGTERM fails no request that was taken", async () => {
    using behind = backend();
    await using gateway = await start({ config: { ...configFor(behind.url), logging: { accessLog: false } } });
    // Those that come after it find nobody; those that the kernel had taken, but nobody accepted yet, are reset.
    const untaken = ["ECONNREFUSED", "ECONNRESET", ""];
    const load = loading(gateway.port, (failure) => untaken.includes(failure));
    while (load.counts.good < 200) await Bun.sleep(5);
    expect(await gateway.stop("SIGTERM")).toBe(0);
    await load.stop();
    expect(load.failures).toEqual([]);
    // Every request that was forwarded has brought its caller an answer.
    expect(behind.seen.filter(({ url }) => url === "/x").length).toBe(load.counts.good);
  });
});

describe("a start", () => {
  test("says what is wrong with a configuration, with its place, and ends with 1", async () => {
    using home = folder();
    writeFileSync(
      join(home.path, "config.json"),
      '{\n  "server": { "prot": 1 },\n  "plugins": [{ "file": "./x.ts", "timeot": "1s" }]\n}\n',
    );
    const { status, stderr } = await run(["serve"], { cwd: home.path });
    expect(status).toBe(1);
    expect(stderr).toContain('config.json:2:15 server.prot: unknown field "prot", did you mean "port"?');
    expect(stderr).toContain('config.json:3:35 plugins[0].timeot: unknown field "timeot", did you mean "timeout"?');
  });

  test("refuses a taken port, a damaged database, one of a newer version and bad variables, and says what to do", async () => {
    using home = folder();
    await using gateway = await start();
    const taken = await run(["serve", "--port", String(gateway.port), "--host", "127.0.0.1"], { cwd: home.path });
    expect([taken.status, taken.stderr]).toEqual([1, expect.stringContaining("choose another with --port")]);

    const data = join(home.path, "data", "sluice.db");
    writeFileSync(data, "this is no database, it is a text that is longer than the header of one would be, and so on and so forth");
    for (const suffix of ["-wal", "-shm"])
      await Bun.file(data + suffix)
        .delete()
        .catch(() => {});
    const damaged = await run(["serve", "--port", "0"], { cwd: home.path });
    expect([damaged.status, damaged.stderr]).toEqual([1, expect.stringContaining("restore a backup with `sluice restore FILE`")]);

    const newer = join(home.path, "newer");
    await using other = await start({ cwd: home.path, args: ["--data", newer] });
    await other.stop();
    using database = new Database(join(newer, "sluice.db"));
    database.run("INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('from-the-future', 9999999999999)");
    database.close();
    const refused = await run(["serve", "--port", "0", "--data", newer], { cwd: home.path });
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("newer Sluice")]);

    expect((await run(["serve"], { cwd: home.path, env: { SLUICE_PORT: "99999" } })).stderr).toContain("SLUICE_PORT must be a port");
    expect((await run(["serve"], { cwd: home.path, env: { SLUICE_ADMIN_TOKEN: "short" } })).stderr).toContain("SLUICE_ADMIN_TOKEN");
    expect((await run(["serve", "--port", "x"], { cwd: home.path })).status).toBe(2);
  });

  test("of two processes on one new database works for both", async () => {
    using home = folder();
    const args = ["--data", join(home.path, "shared")];
    const both = await Promise.all([start({ cwd: home.path, args }), start({ cwd: home.path, args })]);
    for (const gateway of both) {
      expect((await gateway.admin("GET", "/admin/consumers")).status).toBe(200);
      await gateway[Symbol.asyncDispose]();
    }
  });

  test("makes an admin token when none is given, shows it once and keeps its hash", async () => {
    using home = folder();
    const env = { SLUICE_ADMIN_TOKEN: "" };
    let token = "";
    {
      await using first = await start({ cwd: home.path, env });
      token = /slat_[0-9A-Za-z]{40}/.exec(first.output())?.[0] ?? "";
      expect((await fetch(`${first.url}/admin/keys`, { headers: { authorization: `Bearer ${token}` } })).status).toBe(200);
    }
    await using second = await start({ cwd: home.path, env });
    expect(second.output()).not.toContain("slat_");
    expect((await fetch(`${second.url}/admin/keys`, { headers: { authorization: `Bearer ${token}` } })).status).toBe(200);
  });

  test("serves the admin API on its own port when it has one", async () => {
    const port = freePort();
    await using gateway = await start({ config: { admin: { listen: { port } } } });
    expect((await fetch(`${gateway.url}/admin/keys`)).status).toBe(404);
    expect((await fetch(`${gateway.url}/swagger`)).status).toBe(404);
    expect((await fetch(`http://127.0.0.1:${port}/admin/keys`)).status).toBe(401);
    expect((await fetch(`http://127.0.0.1:${port}/swagger/json`)).status).toBe(200);
  });

  test("names what a configuration has in common with what the admin API made", async () => {
    using home = folder();
    {
      await using gateway = await start({ cwd: home.path, config: {} });
      await gateway.admin("POST", "/admin/consumers", { id: "acme", tier: "pro" });
    }
    writeFileSync(join(home.path, "config.json"), '{ "consumers": [\n  { "id": "acme", "tier": "pro" }\n] }');
    const { status, stderr } = await run(["serve", "--port", "0"], { cwd: home.path });
    expect([status, stderr]).toEqual([
      1,
      expect.stringContaining("config.json:2:3 consumers[0]: the admin API made a consumer of this name already"),
    ]);
  });

  test("tells of a folder that can't be written", async () => {
    using home = folder();
    writeFileSync(join(home.path, "data"), "a file where the folder should be");
    chmodSync(join(home.path, "data"), 0o400);
    const { status, stderr } = await run(["serve", "--port", "0"], { cwd: home.path });
    expect([status, stderr]).toEqual([1, expect.stringContaining("name another with --data")]);
  });
});

test("20,000 keys are imported in bulk, loaded at the start, and found", async () => {
  using home = folder();
  const secretOf = (i: number) => `bulk-import-key-${String(i).padStart(8, "0")}`;
  {
    await using gateway = await start({
      cwd: home.path,
      config: { tiers: { anonymous: {}, plain: {} }, consumers: [{ id: "bulk", tier: "plain" }] },
    });
    for (let from = 0; from < 20_000; from += 10_000) {
      const keys = Array.from({ length: 10_000 }, (_, i) => ({ consumer: "bulk", hash: Bun.SHA256.hash(secretOf(from + i), "hex") }));
      expect((await gateway.admin("POST", "/admin/keys/import", { keys })).status).toBe(201);
    }
    await gateway.stop();
  }
  using behind = backend();
  const begun = performance.now();
  await using gateway = await start({
    cwd: home.path,
    config: {
      tiers: { anonymous: {}, plain: {} },
      consumers: [{ id: "bulk", tier: "plain" }],
      routes: [{ path: "/", upstream: behind.url }],
    },
  });
  console.log(`20,000 keys: first answer ${Math.round(performance.now() - begun)} ms after the start`);
  for (const i of [0, 1, 10_000, 19_999]) expect((await fetch(gateway.url, { headers: { "x-api-key": secretOf(i) } })).status).toBe(200);
  expect((await fetch(gateway.url, { headers: { "x-api-key": secretOf(20_000) } })).status).toBe(401);
});
