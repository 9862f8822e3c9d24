import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Backend, backend } from "../support/backend.ts";
import { ADMIN_TOKEN, folder, type Running, run, start } from "../support/process.ts";
import { exchange } from "../support/raw.ts";

let behind: Backend;
let gateway: Running;

beforeAll(async () => {
  behind = backend();
  gateway = await start({
    config: { tiers: { anonymous: { limits: [] }, plain: { limits: [] } }, routes: [{ name: "all", path: "/", upstream: behind.url }] },
  });
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  behind[Symbol.dispose]();
});

const sluice = (...args: string[]) => run(args, { cwd: gateway.folder, env: { SLUICE_URL: gateway.url, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN } });
const json = async <T>(...args: string[]): Promise<T> => {
  const { status, stdout, stderr } = await sluice(...args, "--json");
  expect([status, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout) as T;
};
const use = async (key: string) => (await fetch(gateway.url, { headers: { "x-api-key": key } })).status;

describe("the command line, with a running gateway", () => {
  test("writes control characters in names so that they do nothing on a terminal", async () => {
    await sluice("consumers", "create", "crafty", "--tier", "plain");
    await sluice("keys", "create", "--consumer", "crafty", "--name", "\u001b[2Jgone\nslc_other\u009b1m");
    const { stdout } = await sluice("keys", "list", "--consumer", "crafty");
    expect(stdout).toContain(String.raw`\u001b[2Jgone\nslc_other\u009b1m`);
    expect(stdout).not.toMatch(/[^\n -~]/);
    await sluice("consumers", "delete", "crafty", "--force");
  });

  test("makes consumers and keys, rotates with grace, lists and revokes", async () => {
    expect(await json<object>("consumers", "create", "acme", "--tier", "plain", "--name", "Acme")).toMatchObject({
      id: "acme",
      tier: "plain",
      name: "Acme",
    });
    const made = await json<{ id: string; key: string }>("keys", "create", "--consumer", "acme", "--name", "first", "--scopes", "a,b");
    expect(await use(made.key)).toBe(200);
    const rotated = await json<{ key: string }>("keys", "rotate", made.id, "--grace", "1h");
    expect([await use(made.key), await use(rotated.key)]).toEqual([200, 200]);
    expect(await json<object[]>("keys", "list", "--consumer", "acme")).toMatchObject([
      { id: made.id, name: "first", status: "active", scopes: ["a", "b"] },
    ]);
    expect(await json<object[]>("keys", "list", "--search", "FIRST")).toHaveLength(1);
    expect(await json<object[]>("consumers", "list", "--search", "cme")).toMatchObject([{ id: "acme" }]);
    expect(await json<object[]>("consumers", "list", "--search", "nobody", "--tier", "plain")).toEqual([]);
    const shown = await sluice("keys", "list");
    expect(shown.stdout.split("\n")[0]).toMatch(/^ID +START +END +CONSUMER +NAME +STATUS/);
    expect(shown.stdout).toContain(made.id);
    expect(shown.stdout).not.toContain(rotated.key);
    expect(shown.stdout.split("\n")[0]).toMatch(/EXPIRES AT +LAST USED AT$/);
    // A secret can be copied, or taken by a script.
    const fresh = await sluice("keys", "create", "--consumer", "acme", "--name", "shown");
    expect(fresh.stdout).toMatch(/^slc_[0-9A-Za-z]{38}\n\n.*shown only this once/);
    expect(fresh.stdout).not.toMatch(/^key /m);
    const quiet = await sluice("keys", "create", "--consumer", "acme", "--quiet");
    expect(quiet.stdout).toMatch(/^slc_[0-9A-Za-z]{38}\n$/);
    expect(await use(quiet.stdout.trim())).toBe(200);
    const [{ id: made2 } = { id: "" }] = (await json<{ id: string; name: string | null }[]>("keys", "list")).filter(
      ({ name }) => name === null,
    );
    expect((await sluice("keys", "disable", made2)).status).toBe(0);
    expect(await use(quiet.stdout.trim())).toBe(401);
    expect((await sluice("keys", "enable", made2)).status).toBe(0);
    expect(await use(quiet.stdout.trim())).toBe(200);
    expect((await sluice("keys", "revoke", made.id)).stdout).toBe(`${made.id} is revoked\n`);
    expect(await use(rotated.key)).toBe(401);
    expect((await sluice("consumers", "get", "acme")).stdout).toMatch(/^id +acme$/m);
    const refused = await sluice("consumers", "delete", "acme");
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringMatching(/^sluice: This consumer has keys.*--force/)]);
    expect((await sluice("consumers", "delete", "acme", "--force")).status).toBe(0);
    expect(await json<object[]>("consumers", "list")).toEqual([]);
  });

  test("takes the gateway's address without http://", async () => {
    const env = { SLUICE_URL: gateway.url.replace("http://", ""), SLUICE_ADMIN_TOKEN: ADMIN_TOKEN };
    expect((await run(["consumers", "list"], { cwd: gateway.folder, env })).status).toBe(0);
    expect((await run(["ping"], { cwd: gateway.folder, env })).status).toBe(0);
  });

  test("lists, shows, creates, changes and deletes what the admin API has", async () => {
    writeFileSync(join(gateway.folder, "tier.json"), '{ "limits": [{ "algorithm": "fixed-window", "limit": 5, "window": "1h" }] }');
    writeFileSync(join(gateway.folder, "upstream.json"), JSON.stringify({ targets: [{ url: behind.url }] }));
    writeFileSync(join(gateway.folder, "route.json"), '{ "path": "/made", "upstream": "made", "auth": "none" }');
    const file = (name: string) => ["--file", `${name}.json`];
    for (const [plural, name] of [
      ["tiers", "tier"],
      ["upstreams", "upstream"],
      ["routes", "route"],
    ] as const) {
      expect(await json<object>(plural, "create", "made", ...file(name))).toMatchObject({ name: "made", source: "admin" });
      expect(await json<object[]>(plural, "list")).toContainEqual(expect.objectContaining({ name: "made" }));
      expect((await sluice(plural, "get", "made")).stdout).toMatch(/^name +made$/m);
      expect((await sluice(plural, "update", "made", ...file(name))).status).toBe(0);
    }
    expect((await sluice("limits", "get", "nobody")).status).toBe(1);
    expect((await sluice("tiers", "create", "made", ...file("tier"))).stderr).toContain("There is a tier");
    expect((await sluice("tiers", "create", "more")).stderr).toContain("--file FILE is needed");
    expect((await sluice("upstreams", "delete", "made")).stderr).toMatch(/use it.*--force/);
    for (const plural of ["routes", "upstreams", "tiers"])
      expect((await sluice(plural, "delete", "made")).stdout).toBe("made is deleted\n");
    expect((await sluice("blocks", "create", "203.0.113.9", "--reason", "a test", "--ttl", "10m")).status).toBe(0);
    expect((await sluice("blocks", "list")).stdout).toMatch(/203\.0\.113\.9 +a test/);
    expect((await sluice("blocks", "delete", "203.0.113.9")).status).toBe(0);
    expect((await sluice("usage", "list", "--by", "consumer", "--per", "hour")).stdout).toMatch(/^TIME +CONSUMER +REQUESTS/);
    // It lists by itself as well.
    expect((await sluice("prices")).stdout).toMatch(/^PATTERN +INPUT +OUTPUT/);
    expect((await sluice("usage", "--by", "model,tool")).stdout).toMatch(/^MODEL +TOOL +REQUESTS.*TOKENS +COST \(\$\)/);
    const token = await sluice("tokens", "create", "ci", "--role", "viewer", "--quiet");
    expect(token.stdout).toMatch(/^slat_\w{40}\n$/);
    const [{ id } = { id: "" }] = (await json<{ id: string; name: string }[]>("tokens", "list")).filter(({ name }) => name === "ci");
    expect((await sluice("tokens", "revoke", id)).status).toBe(0);
    expect((await sluice("breakers", "list")).stdout).toMatch(/^UPSTREAM +TARGET +STATE/);
    expect((await sluice("breakers", "open", behind.url)).status).toBe(0);
    expect((await sluice("breakers", "close", behind.url)).status).toBe(0);
    expect(await json<object>("cache", "purge")).toEqual({ purged: 0 });
    expect((await sluice("cache", "get")).status).toBe(0);
    expect((await sluice("pools", "list")).status).toBe(0);
    expect((await sluice("issuers", "get")).stderr).toContain("an issuer's name is needed");
    expect((await sluice("issuers", "list")).status).toBe(0);
    expect(await json<object>("reload")).toMatchObject({ file: "config.json" });
    expect(JSON.parse((await sluice("config", "get")).stdout)).toMatchObject({ routes: [{ name: "all" }] });
    expect((await sluice("activities", "list")).stderr).toContain("Activities are off");
  });

  test("changes consumers, keys and the log's settings by flags or by a file", async () => {
    await json("consumers", "create", "changing", "--tier", "plain");
    expect(await json<object>("consumers", "update", "changing", "--tier", "anonymous")).toMatchObject({ tier: "anonymous", name: null });
    writeFileSync(join(gateway.folder, "changes.json"), '{ "metadata": { "plan": "gold" } }');
    expect(await json<object>("consumers", "update", "changing", "--name", "New", "--file", "changes.json")).toMatchObject({
      name: "New",
      metadata: { plan: "gold" },
    });
    const made = await json<{ id: string; key: string }>("keys", "create", "--consumer", "changing");
    expect(await json<object>("keys", "update", made.id, "--scopes", "a,b", "--ips", "192.0.2.0/24")).toMatchObject({
      scopes: ["a", "b"],
      ips: ["192.0.2.0/24"],
    });
    expect((await sluice("keys", "update", made.id)).stderr).toContain("say what is to be changed");
    expect((await sluice("consumers", "disable", "changing")).status).toBe(0);
    expect(await use(made.key)).toBe(401);
    expect(await json<object>("consumers", "enable", "changing")).toMatchObject({ enabled: true });
    expect((await sluice("consumers", "delete", "changing", "--force")).status).toBe(0);
    const log = ["logging", "set", "--level", "debug", "--sample", "0.5", "--access-log", "off", "--ttl", "10m"];
    expect(await json<object>(...log)).toMatchObject({ level: "debug", accessLogSample: 0.5, accessLog: false });
    expect((await sluice("logging", "set", "--access-log", "maybe")).status).toBe(2);
    expect(await json<object>("logging", "reset")).toMatchObject({ level: "info", accessLog: true });
  });

  test("sets the system's status, verifies and lists the audit", async () => {
    expect(await json<object>("health", "set", "DEGRADED", "--reason", "a test", "--ttl", "10m")).toMatchObject({
      status: "DEGRADED",
      reason: "a test",
    });
    expect(await json<object>("health", "get")).toMatchObject({ status: "DEGRADED", by: "env" });
    await sluice("health", "set", "NORMAL");
    expect((await sluice("audit", "verify")).stdout).toMatch(/^\d+ rows are as they were written\n$/);
    expect(await json<object[]>("audit", "list", "--action", "health.set")).toMatchObject([
      { after: { status: "NORMAL" } },
      { after: { status: "DEGRADED" } },
    ]);
  });

  test("says what is wrong with the command, the token, or that nobody answers", async () => {
    const cases: [string[], number, string][] = [
      [["keys"], 2, "an action is needed: keys create|list|get|update|rotate|disable|enable|revoke"],
      [["keys", "make"], 2, 'unknown action "make"'],
      [["keys", "create"], 2, "--consumer ID is needed"],
      [["keys", "create", "--consumer", "acme", "--models", ","], 2, "--models names nothing: leave it out for all models"],
      [["keys", "create", "--consumer", "acme", "--ips", " , "], 2, "--ips names nothing: leave it out for all ips"],
      [["keys", "update", "key_1", "--routes", ","], 2, '--routes names nothing: for all routes, give "routes": [] by --file FILE'],
      [["prices", "--models", "gpt-5*"], 2, "--models is for prices import; the price of one model: prices list MODEL"],
      [["keys", "rotate"], 2, "a key's id is needed"],
      [["keys", "create", "--consumer", "nobody"], 1, 'there is no consumer "nobody"'],
      [["keys", "list", "--token", "wrong-token-0123456789"], 1, "sluice: This is not an admin token."],
      [["health", "get", "--url", "http://127.0.0.1:1"], 1, "nothing answers at http://127.0.0.1:1"],
      [["health", "set", "FINE"], 1, "sluice: status:"],
      [["keys", "list", "--url", "ftp://x"], 2, "is no URL of a gateway"],
      [["foo"], 2, 'unknown command "foo"\n'],
      [["keys", "list", "--statsu", "x"], 2, "did you mean --status?"],
    ];
    for (const [args, status, stderr] of cases) {
      const outcome = await sluice(...args);
      expect([args, outcome.status, outcome.stderr]).toEqual([args, status, expect.stringContaining(stderr)]);
    }
    const without = await run(["keys", "list"], { cwd: gateway.folder });
    expect([without.status, without.stderr]).toEqual([2, expect.stringContaining("an admin token is needed")]);
  });
});

describe("a backup", () => {
  test("is a whole copy, made while the gateway serves and is changed, and a gateway runs on it", async () => {
    await gateway.admin("POST", "/admin/consumers", { id: "kept", tier: "plain" });
    const { key } = (await (await gateway.admin("POST", "/admin/keys", { consumer: "kept" })).json()) as { key: string };
    let isOver = false;
    const changing = (async () => {
      for (let i = 0; !isOver; i++)
        expect((await gateway.admin("POST", "/admin/consumers", { id: `during-${i}`, tier: "plain" })).status).toBe(201);
    })();
    using other = folder();
    const file = join(other.path, "copy.db");
    const { status, stderr } = await sluice("backup", file);
    isOver = true;
    await changing;
    expect([status, stderr]).toEqual([0, ""]);
    expect(readdirSync(join(gateway.folder, "data")).filter((name) => name.includes("copy-"))).toEqual([]);
    {
      using database = new Database(file);
      expect(database.query("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
      expect(database.query("SELECT count(*) AS n FROM consumers WHERE id = 'kept'").get()).toEqual({ n: 1 });
      // Each consumer has its audit row: the copy is of one moment.
      const { consumers, rows } = database
        .query<{ consumers: number; rows: number }, []>(
          "SELECT (SELECT count(*) FROM consumers WHERE id LIKE 'during-%') AS consumers, (SELECT count(*) FROM audit WHERE subject LIKE 'consumer during-%') AS rows",
        )
        .get() ?? { consumers: -1, rows: -2 };
      expect(rows).toBe(consumers);
    }
    mkdirSync(join(other.path, "data"));
    renameSync(file, join(other.path, "data", "sluice.db"));
    await using restored = await start({
      cwd: other.path,
      config: { tiers: { anonymous: { limits: [] }, plain: { limits: [] } }, routes: [{ name: "all", path: "/", upstream: behind.url }] },
    });
    expect((await fetch(restored.url, { headers: { "x-api-key": key } })).status).toBe(200);
    expect(await (await restored.admin("GET", "/admin/audit/verify")).json()).toMatchObject({ valid: true });
  });

  test("is whole also where its request has an Idempotency-Key", async () => {
    const answer = await gateway.admin("POST", "/admin/backup", undefined, { "idempotency-key": "one-backup" });
    const bytes = await answer.bytes();
    expect([answer.status, new TextDecoder().decode(bytes.subarray(0, 15))]).toEqual([200, "SQLite format 3"]);
    expect(bytes.length % 4096).toBe(0);
  });

  test("that can't be written leaves nothing that looks like one", async () => {
    using other = folder();
    writeFileSync(join(other.path, "file"), "");
    const refused = await run(["backup", join(other.path, "file", "copy.db")], {
      cwd: gateway.folder,
      env: { SLUICE_URL: gateway.url, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN },
    });
    expect(refused.status).not.toBe(0);
    expect(existsSync(join(other.path, "file", "copy.db"))).toBe(false);
  });
});

test("a lost admin token is replaced on the data folder itself", async () => {
  using home = folder();
  const config = { tiers: { anonymous: { limits: [] } } };
  const env = { SLUICE_ADMIN_TOKEN: "" };
  const tokenOf = (text: string) => /slat_[0-9A-Za-z]{40}/.exec(text)?.[0] ?? "";
  const admin = async (running: Running, token: string) =>
    (await fetch(`${running.url}/admin/keys`, { headers: { authorization: `Bearer ${token}` } })).status;
  let first = "";
  {
    await using running = await start({ cwd: home.path, config, env });
    while (first === "") {
      await Bun.sleep(5);
      first = tokenOf(running.output());
    }
    expect(await admin(running, first)).toBe(200);
  }
  const { status, stdout } = await run(["admin", "reset-token"], { cwd: home.path });
  const second = tokenOf(stdout);
  expect([status, stdout]).toEqual([0, `${second}\n`]);
  await using again = await start({ cwd: home.path, env });
  expect([await admin(again, first), await admin(again, second)]).toEqual([401, 200]);
  expect((await run(["admin", "reset-tokens"], { cwd: home.path })).status).toBe(2);
});

describe("upstreams made by the admin API", () => {
  test("can't lead to link-local addresses or a cloud's metadata, however they are written", async () => {
    const urls = [
      "http://169.254.169.254/latest/meta-data/",
      "http://2852039166/",
      "http://0xa9fea9fe/",
      "http://0251.0376.0251.0376/",
      "http://[::ffff:169.254.169.254]/",
      "http://[64:ff9b::a9fe:a9fe]/",
      "http://[64:ff9b:1::a9fe:a9fe]/",
      "http://[64:ff9b:1:a9fe:a9:fe00::]/",
      "http://[2002:a9fe:a9fe::]/",
      "http://[::169.254.169.254]/",
      "http://[::ffff:0:169.254.169.254]/",
      "http://[2001:0:a9fe:a9fe::1]/",
      "http://[2001:0:1:1:0:0:5601:5601]/",
      "http://[2001:db8::5efe:169.254.169.254]/",
      "http://[fe80::1]/",
      "http://[fd00:ec2::254]/",
      "http://metadata.google.internal/computeMetadata/v1/",
      "http://METADATA.google.internal./",
    ];
    for (const url of urls) {
      const made = [
        await gateway.admin("POST", "/admin/upstreams", { name: "bad", targets: [{ url }] }),
        await gateway.admin("POST", "/admin/routes", { path: "/bad", upstream: url }),
      ];
      expect([url, ...made.map(({ status }) => status)]).toEqual([url, 422, 422]);
    }
    expect((await gateway.admin("POST", "/admin/upstreams", { name: "good", targets: [{ url: "http://10.0.0.1:8080" }] })).status).toBe(
      201,
    );
    expect((await gateway.admin("PATCH", "/admin/upstreams/good", { targets: [{ url: "http://169.254.1.1" }] })).status).toBe(422);
  });

  test("may be held to a list of hosts and blocks", async () => {
    await using strict = await start({
      config: {
        admin: { upstreamAllow: ["10.0.0.0/8", "*.internal.example.com", "api.example.com"] },
        tiers: { anonymous: { limits: [] } },
      },
    });
    const status = async (url: string) =>
      (await strict.admin("POST", "/admin/upstreams", { name: `u${Bun.hash(url)}`, targets: [{ url }] })).status;
    for (const url of ["http://10.1.2.3", "https://a.internal.example.com", "http://API.example.com"])
      expect([url, await status(url)]).toEqual([url, 201]);
    for (const url of [
      "http://11.0.0.1",
      "http://127.0.0.1",
      "https://internal.example.com",
      "http://evil-api.example.com",
      "http://10.0.0.1.example.org",
    ])
      expect([url, await status(url)]).toEqual([url, 422]);
  });
});

test("no key, token or credential is in any log line, answer or audit row", async () => {
  const consumer = await gateway.admin("POST", "/admin/consumers", { id: "secretive", tier: "plain" });
  expect(consumer.status).toBe(201);
  const { id, key } = (await (await gateway.admin("POST", "/admin/keys", { consumer: "secretive" })).json()) as { id: string; key: string };
  const planted = [key, "planted-key-0123456789", "planted-token-0123456789", "planted-password", ADMIN_TOKEN];
  const answers: string[] = [];
  const read = async (answer: Response) => {
    answers.push(await answer.text(), JSON.stringify([...answer.headers]));
  };
  await read(await fetch(`${gateway.url}/status?code=500&secret=planted-password`, { headers: { "x-api-key": key } }));
  await read(await fetch(`${gateway.url}/?api_key=planted-key-0123456789`));
  await read(await fetch(gateway.url, { headers: { "x-api-key": "planted-key-0123456789", cookie: "sid=planted-password" } }));
  await read(await fetch(gateway.url, { headers: { authorization: "Bearer planted-token-0123456789" } }));
  await read(await fetch(`${gateway.url}/admin/keys`, { headers: { authorization: "Bearer planted-token-0123456789" } }));
  await read(
    await gateway.admin("POST", "/admin/keys", { consumer: "secretive", key: "planted-key-0123456789", bogus: "planted-password" }),
  );
  await read(await gateway.admin("POST", "/admin/consumers", '{ "id": "x", "planted-password'));
  answers.push(await exchange(gateway.port, `GET /\x01 HTTP/1.1\r\nHost: h\r\nX-API-Key: ${key}\r\nConnection: close\r\n\r\n`));
  for (const path of [
    "/admin/audit?limit=500",
    "/admin/config",
    `/admin/keys/${id}`,
    "/admin/keys",
    "/admin/usage?by=key",
    "/admin/tokens",
    "/ready",
  ])
    await read(await gateway.admin("GET", path));
  await Bun.sleep(50);
  // A backend's own answer may say what it was asked for; here it does so for the query.
  for (const secret of planted) {
    expect([secret, gateway.output().includes(secret)]).toEqual([secret, false]);
    expect([secret, answers.filter((text) => text.includes(secret)).map((text) => text.slice(0, 100))]).toEqual([secret, []]);
  }
});
