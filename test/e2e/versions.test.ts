import { expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { backend } from "../support/backend.ts";
import { underLoad } from "../support/flaky.ts";
import { write } from "../support/plugins.ts";
import { ADMIN_TOKEN, folder, type Running, run, start } from "../support/process.ts";
import { until } from "../support/until.ts";

const MOVED = { name: "moved", path: "/moved", upstream: "main", auth: "none" };

const configFor = (url: string, routes: readonly object[] = [], more: object = {}) => ({
  logging: { accessLog: false },
  admin: { editFile: true },
  tiers: { anonymous: { limits: [] } },
  upstreams: { main: { targets: [{ url }] } },
  routes: [{ name: "main", path: "/main", upstream: "main", auth: "none" }, ...routes],
  ...more,
});

const text = (config: object): string => `${JSON.stringify(config, null, 2)}\n`;

async function answer(gateway: Running, method: string, path: string, body?: unknown, headers?: Record<string, string>) {
  const response = await gateway.admin(method, path, body, headers);
  const got = await response.text();
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
  return { status: response.status, headers: response.headers, json: (got === "" ? null : JSON.parse(got)) as any };
}

test("a restore moves a route between the API and the file, and no request for it fails", async () => {
  using behind = backend();
  const bare = configFor(behind.url);
  await using gateway = await start({ config: bare });
  await answer(gateway, "POST", "/admin/routes", MOVED);
  await answer(gateway, "DELETE", "/admin/routes/moved");
  const written = await answer(gateway, "PUT", "/admin/config/file", { text: text(configFor(behind.url, [MOVED])), note: "declared" });
  expect([written.status, written.json.number, written.json.changed]).toEqual([200, 4, ["file"]]);
  const failures: string[] = [];
  let requests = 0;
  const load = underLoad(4, async () => {
    const got = await fetch(`${gateway.url}/moved`).catch((error: Error) => error);
    if (got instanceof Error || got.status !== 200) failures.push(String(got instanceof Error ? got : got.status));
    else await got.text();
    requests++;
  });
  for (let i = 0; i < 10; i++) {
    const restored = await answer(gateway, "POST", `/admin/versions/${i % 2 === 0 ? 2 : 4}/restore`, { file: true });
    expect([restored.status, restored.json]).toEqual([200, expect.objectContaining({ file: true, changed: ["file"] })]);
  }
  await load.stop();
  expect(failures).toEqual([]);
  expect(requests).toBeGreaterThan(10);
  expect(readFileSync(join(gateway.folder, "config.json"), "utf8")).toBe(text(configFor(behind.url, [MOVED])));
  expect(readFileSync(join(gateway.folder, "config.json.before"), "utf8")).toBe(JSON.stringify(bare, null, 2));
});

test("a file that is another is left alone until somebody says what is to be done, and what the process has is never changed", async () => {
  using behind = backend();
  await using gateway = await start({ config: configFor(behind.url) });
  const file = join(gateway.folder, "config.json");
  writeFileSync(file, text(configFor(behind.url, [MOVED])));
  await until(async () => (await answer(gateway, "GET", "/admin/versions")).json.items.length === 2);
  const refused = await answer(gateway, "POST", "/admin/versions/1/restore");
  expect(refused.status).toBe(409);
  expect(refused.json.difference).toContain('-      "path": "/moved",');
  expect((await answer(gateway, "POST", "/admin/versions/1/restore", { file: false })).json.number).toBe(2);
  expect((await fetch(`${gateway.url}/moved`)).status).toBe(200);

  const tag = (await answer(gateway, "GET", "/admin/config/file")).headers.get("etag") ?? "";
  const put = (config: object | string, headers = {}, query = "") =>
    answer(gateway, "PUT", `/admin/config/file${query}`, { text: typeof config === "string" ? config : text(config) }, headers);
  const paths = async (config: object | string) => {
    const { status, json } = await put(config);
    return [status, ...json.errors.map(({ path }: { path: string }) => path)];
  };
  expect(await paths(configFor(behind.url, [], { guard: { ban: 5 }, server: { host: "127.0.0.1" } }))).toContain(422);
  expect(await paths(configFor(behind.url, [], { server: { maxHeaderSize: "32kb" } }))).toEqual([422, "server"]);
  expect(await paths(configFor(behind.url, [], { admin: { editFile: true, allowFrom: ["10.0.0.1"] } }))).toEqual([422, "admin"]);
  expect(await paths(configFor(behind.url, [], { plugins: [{ file: "evil.ts" }] }))).toEqual([422, "plugins"]);
  expect(await paths(configFor(behind.url, [{ ...MOVED, upstream: "unix:/run/docker.sock" }]))).toEqual([422, "routes[1].upstream"]);
  expect(await paths(configFor(behind.url, [], { prices: "/etc/passwd" }))).toEqual([422, "prices"]);
  const models = { smart: { try: [{ upstream: "unix:/run/docker.sock", model: "m" }] } };
  expect(await paths(configFor(behind.url, [], { models }))).toEqual([422, "models.smart.try[0].upstream"]);
  expect(await paths(configFor(`${behind.url}/\${HOME}`))).toContain(422);
  expect(await paths('{ "routes": [')).toEqual([422, ""]);
  expect((await put(configFor(behind.url), { "if-match": '"another"' })).status).toBe(412);
  expect((await put(configFor(behind.url), { "if-match": tag }, "?dryRun=true")).json.diff).toContain('-      "path": "/moved",');
  expect((await fetch(`${gateway.url}/moved`)).status).toBe(200);
  expect(readFileSync(file, "utf8")).toBe(text(configFor(behind.url, [MOVED])));
  expect((await put(configFor(behind.url), { "if-match": tag })).status).toBe(200);
  expect((await fetch(`${gateway.url}/moved`)).status).toBe(404);
});

test("a broken file shows no secret, and is replaced by a text that has masks for those in force", async () => {
  using behind = backend();
  const config = configFor(behind.url, [], {
    issuers: { main: { issuer: "https://id.example.com", audience: ["a"], secret: "hunter2-".repeat(8) } },
  });
  await using gateway = await start({ config });
  const good = (await answer(gateway, "GET", "/admin/config/file")).json.text;
  const file = join(gateway.folder, "config.json");
  writeFileSync(file, text(config).replace('"logging": {', '"logging": {{'));
  const broken = (await answer(gateway, "GET", "/admin/config/file")).json;
  expect(broken).toMatchObject({ isInForce: false, text: expect.not.stringContaining("hunter2") });
  expect((await answer(gateway, "PUT", "/admin/config/file", { text: good })).status).toBe(200);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(config);
});

test("the file is not written where it does not say that it may be", async () => {
  using behind = backend();
  await using gateway = await start({ config: configFor(behind.url, [], { admin: {} }) });
  expect((await answer(gateway, "GET", "/admin/config/file")).json).toMatchObject({ isInForce: true, isEditable: false });
  const refused = await answer(gateway, "PUT", "/admin/config/file", { text: "{}" });
  expect([refused.status, refused.json.detail]).toEqual([403, expect.stringContaining("editFile")]);
});

test("a restore with the file that others overtake changes nothing, and leaves no consumer without its tier", async () => {
  using behind = backend();
  using home = folder();
  const [go, waits] = [join(home.path, "go"), join(home.path, "waits")];
  const slow = (note: string): string => `
    import { existsSync, writeFileSync } from "node:fs";
    // ${note}
    export default {
      async setup() {
        writeFileSync(${JSON.stringify(waits)}, "");
        while (!existsSync(${JSON.stringify(go)})) await Bun.sleep(5);
      },
      request() {},
    };`;
  write(home.path, { "slow.ts": slow("as it was"), go: "" });
  const config = (routes: readonly object[]) => configFor(behind.url, routes, { plugins: [{ file: "./slow.ts" }] });
  await using gateway = await start({ config: config([]), cwd: home.path });
  await answer(gateway, "POST", "/admin/tiers", { name: "gone", limits: [] });
  await answer(gateway, "PUT", "/admin/config/file", { text: text(config([MOVED])) });
  for (const late of ["consumer", "tier"]) {
    rmSync(go, { force: true });
    rmSync(waits);
    write(home.path, { "slow.ts": slow(late) });
    await until(() => existsSync(waits));
    const restoring = answer(gateway, "POST", "/admin/versions/1/restore", { file: true });
    // By then it waits for the plug-in.
    for (let i = 0; i < 3; i++) await answer(gateway, "GET", "/admin/versions");
    const body = late === "consumer" ? { id: "late", tier: "gone" } : { name: "late", limits: [] };
    expect((await answer(gateway, "POST", `/admin/${late}s`, body)).status).toBe(201);
    writeFileSync(go, "");
    const { status, json } = await restoring;
    expect([status, json.detail]).toEqual([late === "consumer" ? 422 : 409, expect.any(String)]);
    expect((await answer(gateway, "GET", "/admin/tiers/gone")).status).toBe(200);
    expect(readFileSync(join(home.path, "config.json"), "utf8")).toContain("/moved");
    await answer(gateway, "DELETE", `/admin/${late}s/late`);
  }
  expect((await answer(gateway, "POST", "/admin/versions/1/restore", { file: true })).status).toBe(200);
});

test("dump, diff, apply and versions on the command line", async () => {
  using behind = backend();
  await using gateway = await start({ config: configFor(behind.url) });
  const env = { SLUICE_URL: gateway.url, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN };
  const sluice = async (...args: string[]) => {
    const { status, stdout, stderr } = await run(args, { cwd: gateway.folder, env });
    return [status, stdout + stderr] as const;
  };
  await answer(gateway, "POST", "/admin/tiers", { name: "gold", limits: [] });
  const [, dumped] = await sluice("dump");
  writeFileSync(join(gateway.folder, "state.json"), dumped);
  expect(await sluice("diff", "state.json")).toEqual([0, "nothing differs\n"]);
  writeFileSync(join(gateway.folder, "state.json"), JSON.stringify({ ...JSON.parse(dumped), tiers: { silver: { limits: [] } } }));
  expect(await sluice("diff", "state.json")).toEqual([2, "+ tier silver\n- tier gold\n"]);
  expect(await sluice("apply", "state.json", "--prune", "--note", "from git")).toEqual([0, "+ tier silver\n- tier gold\n"]);
  expect((await sluice("versions"))[1]).toContain("from git");
  expect(await sluice("versions", "restore", "2")).toEqual([0, "+ tier gold\n- tier silver\n"]);
  expect((await sluice("diff", "none.json"))[0]).toBe(1);
});
