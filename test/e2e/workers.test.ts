import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Backend, backend } from "../support/backend.ts";
import { ADMIN_TOKEN, folder, freePort, run, start } from "../support/process.ts";
import { isAlive, killAndWait, partOf, partsOf, startAll } from "../support/processes.ts";
import { until } from "../support/until.ts";

let behind: Backend;
beforeAll(() => {
  behind = backend();
});
afterAll(() => behind[Symbol.dispose]());

const KEY = "a-key-of-acme-0123456789";
const configOf = (more: object = {}, server: object = {}) => ({
  server: { workers: 2, ...server },
  logging: { accessLog: false },
  tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
  consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
  routes: [{ name: "all", path: "/", upstream: behind.url, stripPrefix: false, auth: "optional" }],
  ...more,
});

/** Sends a request as it stands there, and gives the status of the answer. */
async function rawStatus(port: number, request: string): Promise<number> {
  let answer = "";
  const ended = Promise.withResolvers<void>();
  await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (socket) => void socket.write(request),
      data: (_, bytes) => {
        answer += bytes.toString("latin1");
      },
      close: () => ended.resolve(),
    },
  });
  await ended.promise;
  return Number(answer.slice(9, 12));
}

/** Sends requests, each over a connection of its own, until `stop` is called; gives the statuses and faults that were no 200. */
function underLoad(url: string) {
  let isOn = true;
  const bad: string[] = [];
  let count = 0;
  const ask = async (): Promise<void> => {
    while (isOn) {
      try {
        const answer = await fetch(`${url}/status`, { headers: { connection: "close" } });
        await answer.text();
        if (answer.status !== 200) bad.push(String(answer.status));
      } catch (error) {
        bad.push(String(error));
      }
      count++;
    }
  };
  const asking = Promise.all(Array.from({ length: 4 }, ask));
  return {
    count: () => count,
    stop: async (): Promise<string[]> => {
      isOn = false;
      await asking;
      return bad;
    },
  };
}

describe("a gateway of several processes", () => {
  test("serves by its workers, and answers what speaks for all by its keeper, whichever worker is asked", async () => {
    await using gateway = await startAll({ config: configOf() });
    expect(partsOf(gateway.pid).map(({ name }) => name)).toEqual(["1", "2", "keeper"]);
    expect(await (await fetch(`${gateway.url}/status?body=hello`, { headers: { "x-api-key": KEY } })).text()).toBe("hello");
    expect((await fetch(`${gateway.url}/ready`)).status).toBe(200);
    expect(await (await fetch(`${gateway.url}/metrics`)).text()).toContain("http_requests_total");
    const made = await gateway.admin("POST", "/admin/consumers", { id: "bob", tier: "plain" }, { "x-request-id": "made-by-a-test" });
    expect(made.status).toBe(201);
    // One id, the caller's, and once.
    expect(made.headers.get("x-request-id")).toBe("made-by-a-test");
    const key = ((await (await gateway.admin("POST", "/admin/keys", { consumer: "bob" })).json()) as { key: string }).key;
    // At once, whichever worker is asked.
    const statuses = await Promise.all(
      Array.from({ length: 8 }, () => fetch(`${gateway.url}/status`, { headers: { "x-api-key": key, connection: "close" } })),
    );
    expect(statuses.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200));
    // So does a route, and so does its end.
    const answers = (): Promise<number[]> =>
      Promise.all(
        Array.from({ length: 8 }, () => fetch(`${gateway.url}/made`, { headers: { connection: "close" } }).then(({ status }) => status)),
      );
    const route = { name: "made", path: "/made", upstream: behind.url, stripPrefix: true, auth: "required" };
    expect((await gateway.admin("POST", "/admin/routes", route)).status).toBe(201);
    expect(new Set(await answers())).toEqual(new Set([401]));
    expect((await gateway.admin("DELETE", "/admin/routes/made")).status).toBe(204);
    // The route for everything takes it then.
    expect(new Set(await answers())).toEqual(new Set([200]));
    // A stranger's word about whom a request is of means nothing.
    const forged = await fetch(`${gateway.url}/admin/consumers`, {
      headers: { "sluice-relay": encodeURIComponent(JSON.stringify({ ip: "127.0.0.1", isTls: true })) },
    });
    expect(forged.status).toBe(401);
  });

  test("tells the keeper from where a request comes", async () => {
    await using gateway = await startAll({
      config: configOf({ admin: { allowFrom: ["192.0.2.0/24"] } }, { trustedProxies: ["127.0.0.1"] }),
    });
    const from = (ip: string) => gateway.admin("GET", "/admin/consumers", undefined, { "x-forwarded-for": ip });
    expect((await from("192.0.2.7")).status).toBe(200);
    expect((await from("198.51.100.7")).status).toBe(403);
    // Nor does naming the field as one of this hop hide it.
    const hidden = await rawStatus(
      gateway.port,
      `GET /admin/consumers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\nX-Forwarded-For: 192.0.2.7\r\nConnection: close, x-forwarded-for\r\n\r\n`,
    );
    expect(hidden).toBe(200);
  });

  test("serves the admin API on a listener of its own, and there alone", async () => {
    const port = freePort();
    await using gateway = await startAll({ config: configOf({ admin: { listen: { host: "127.0.0.1", port } } }) });
    const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
    expect((await fetch(`http://127.0.0.1:${port}/admin/consumers`, { headers })).status).toBe(200);
    expect((await fetch(`http://127.0.0.1:${port}/ready`)).status).toBe(200);
    // There it is a path like any other.
    expect(await (await fetch(`${gateway.url}/admin/consumers?body=x`, { headers })).text()).not.toContain("items");
    expect((await fetch(`${gateway.url}/ready`)).status).toBe(200);
  });

  test("goes on when a worker or the keeper is killed, and another takes its place", async () => {
    await using gateway = await startAll({ config: configOf() });
    const load = underLoad(gateway.url);
    const another = killAndWait(gateway, "keeper");
    // It waits for the next one.
    expect((await fetch(`${gateway.url}/ready`)).status).toBe(200);
    await another;
    // No proxied request has failed for want of a keeper.
    expect(await load.stop()).toEqual([]);
    for (let i = 0; i < 6; i++) {
      await killAndWait(gateway, "1");
      expect((await fetch(`${gateway.url}/status`, { headers: { connection: "close" } })).status).toBe(200);
    }
    expect(gateway.output()).toContain('"worker":"1"');
    expect(gateway.output()).not.toContain("left out");
  });

  test("stops at SIGTERM when what is in flight has ended, and leaves no process behind", async () => {
    await using gateway = await startAll({ config: configOf() });
    const parts = partsOf(gateway.pid);
    const slow = fetch(`${gateway.url}/slow?ms=1000`);
    await until(() => behind.seen.some(({ url }) => url.includes("ms=1000")));
    expect(await gateway.stop()).toBe(0);
    expect(await (await slow).text()).toBe("late");
    expect(parts.filter(({ pid }) => isAlive(pid))).toEqual([]);
    expect(gateway.output()).toContain('"msg":"stopped"');
  });

  test("leaves nothing that serves on when its supervisor is killed", async () => {
    await using gateway = await startAll({ config: configOf() });
    const parts = partsOf(gateway.pid);
    const folders = () => readdirSync(tmpdir()).filter((name) => /^sluice-.{6}$/.test(name) && existsSync(join(tmpdir(), name, "keeper")));
    const before = folders();
    await gateway.stop("SIGKILL");
    await until(() => parts.every(({ pid }) => !isAlive(pid)));
    expect(await fetch(`${gateway.url}/health`).catch(() => null)).toBeNull();
    // Others come and go with the tests beside this one.
    const after = folders();
    expect(before.some((name) => !after.includes(name))).toBe(true);
  });

  test("hands over to the next one by --reuse-port without a lost request", async () => {
    using home = folder();
    const config = configOf();
    const port = freePort();
    const options = { cwd: home.path, config, port, args: ["--reuse-port"] };
    const first = await startAll(options);
    const load = underLoad(first.url);
    try {
      const second = await startAll(options);
      try {
        expect(await first.stop()).toBe(0);
        const count = load.count();
        await until(() => load.count() > count + 50);
        expect(await load.stop()).toEqual([]);
      } finally {
        await second[Symbol.asyncDispose]();
      }
    } finally {
      await load.stop();
      await first[Symbol.asyncDispose]();
    }
  });

  test("puts another configuration in force in all workers, or in none", async () => {
    await using gateway = await startAll({ config: configOf() });
    const path = join(gateway.folder, "config.json");
    const told = async () =>
      new Set(
        await Promise.all(
          Array.from({ length: 12 }, async () =>
            (await fetch(`${gateway.url}/status`, { headers: { connection: "close" } })).headers.get("x-told"),
          ),
        ),
      );
    const withTold = (value: string, plugins: object[] = []) =>
      JSON.stringify({
        ...configOf(),
        plugins,
        routes: [
          {
            name: "all",
            path: "/",
            upstream: behind.url,
            stripPrefix: false,
            auth: "optional",
            headers: { response: { set: { "X-Told": value } } },
          },
        ],
      });
    writeFileSync(path, withTold("one"));
    expect((await gateway.admin("POST", "/admin/config/reload")).status).toBe(200);
    expect(await told()).toEqual(new Set(["one"]));
    // One of the workers can't: a plug-in that does not load there.
    writeFileSync(
      join(gateway.folder, "odd.ts"),
      'if (process.argv.at(-1) === "2") throw new Error("not in this one");\nexport default { name: "odd", request() {} };\n',
    );
    writeFileSync(path, withTold("two", [{ file: "./odd.ts" }]));
    const answer = await gateway.admin("POST", "/admin/config/reload");
    expect(answer.status).toBe(422);
    expect(await answer.text()).toContain("worker 2");
    expect(await told()).toEqual(new Set(["one"]));
    // Who takes a dead one's place begins with what is in force.
    await killAndWait(gateway, "2");
    writeFileSync(path, withTold("three"));
    expect((await gateway.admin("POST", "/admin/config/reload")).status).toBe(200);
    expect(await told()).toEqual(new Set(["three"]));
    // SIGHUP as well.
    writeFileSync(path, withTold("four"));
    process.kill(gateway.pid, "SIGHUP");
    await until(async () => (await told()).has("four"));
  });

  test("leaves a worker out that ends again and again before it serves, and serves on by the others", async () => {
    using home = folder();
    writeFileSync(
      join(home.path, "odd.ts"),
      'import { existsSync } from "node:fs";\nif (existsSync("die") && process.argv.at(-1) === "2") process.exit(3);\nexport default { name: "odd", request() {} };\n',
    );
    await using gateway = await startAll({ cwd: home.path, config: configOf({ plugins: [{ file: "./odd.ts" }] }) });
    writeFileSync(join(home.path, "die"), "");
    process.kill(partOf(gateway.pid, "2") ?? 0, "SIGKILL");
    await until(() => gateway.output().includes("left out"));
    expect(partsOf(gateway.pid).map(({ name }) => name)).toEqual(["1", "keeper"]);
    expect((await fetch(`${gateway.url}/status`)).status).toBe(200);
  });

  test("says in one sentence why it can't start", async () => {
    using home = folder();
    await using taken = await startAll({ cwd: home.path, config: configOf() });
    writeFileSync(join(home.path, "config.json"), JSON.stringify(configOf()));
    const second = await run(["serve", "--host", "127.0.0.1", "--port", String(taken.port)], { cwd: home.path });
    expect([second.status, second.stderr]).toEqual([1, expect.stringContaining(`port ${taken.port} on 127.0.0.1 is taken`)]);
    const broken = await start({ config: configOf({ plugins: [{ file: "./missing.ts" }] }) }).then(
      () => "started",
      (error: Error) => error.message,
    );
    expect(broken).toContain("missing.ts");
    expect(broken.match(/^sluice: /gm)).toHaveLength(1);
  });

  test("shares connections that are kept alive evenly among its workers", async () => {
    await using gateway = await startAll({ config: configOf() });
    const openIn = (name: string): number => readdirSync(`/proc/${partOf(gateway.pid, name)}/fd`).length;
    const before = [openIn("1"), openIn("2")] as const;
    let answered = 0;
    const sockets: Bun.Socket<undefined>[] = [];
    for (let i = 0; i < 64; i++)
      sockets.push(
        await Bun.connect({
          hostname: "127.0.0.1",
          port: gateway.port,
          socket: { data: () => void answered++, open: (socket) => void socket.write("GET /status HTTP/1.1\r\nHost: a\r\n\r\n") },
        }),
      );
    await until(() => answered >= 64);
    // Those to the backend are among them, which each has as many of as it serves at once.
    const [one, two] = [openIn("1") - before[0], openIn("2") - before[1]];
    expect(Math.min(one, two)).toBeGreaterThan((one + two) / 4);
    for (const socket of sockets) socket.end();
  });
});
