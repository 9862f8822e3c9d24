// Restores on several processes, with all cores busy, and on instances that share records by Redis.
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { backend } from "../../support/backend.ts";
import { underLoad } from "../../support/flaky.ts";
import { type Running, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";
import { redisServer } from "../../support/redis.ts";
import { until } from "../../support/until.ts";

const MOVED = { name: "moved", path: "/moved", upstream: "main", auth: "none" };

const configFor = (url: string, routes: readonly object[] = [], more: object = {}) => ({
  logging: { accessLog: false },
  admin: { editFile: true },
  tiers: { anonymous: { limits: [] } },
  upstreams: { main: { targets: [{ url }] } },
  routes: [{ name: "main", path: "/main", upstream: "main", auth: "none" }, ...routes],
  ...more,
});

async function done(gateway: Running, method: string, path: string, body?: unknown) {
  const response = await gateway.admin(method, path, body);
  const got = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${got}`);
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
  return (got === "" ? null : JSON.parse(got)) as any;
}

/** Keeps all cores at work while something is tried. */
function busy(): Disposable {
  const children = [1, 2].map(() => Bun.spawn(["yes"], { stdout: "ignore" }));
  return {
    [Symbol.dispose]: () => {
      for (const child of children) child.kill();
    },
  };
}

test("two workers with all cores busy: a hundred restores that write the file fail no request and end no process", async () => {
  using behind = backend();
  using _ = busy();
  await using gateway = await start({ config: configFor(behind.url, [], { server: { workers: 2 } }) });
  await done(gateway, "POST", "/admin/routes", MOVED);
  await done(gateway, "DELETE", "/admin/routes/moved");
  const both = configFor(behind.url, [MOVED], { server: { workers: 2 } });
  await done(gateway, "PUT", "/admin/config/file", { text: JSON.stringify(both) });
  await until(async () => (await fetch(`${gateway.url}/moved`)).status === 200);
  const failures: string[] = [];
  const load = underLoad(4, async () => {
    const got = await fetch(`${gateway.url}/moved`).catch((error: Error) => error);
    if (got instanceof Error || got.status !== 200) failures.push(String(got instanceof Error ? got : got.status));
    else await got.text();
  });
  let [one, other] = [2, 4];
  for (let i = 0; i < 100; i++) {
    // What was restored becomes the newest: those of the beginning are dropped.
    const { number } = await done(gateway, "POST", `/admin/versions/${one}/restore`, { file: true });
    [one, other] = [other, number];
  }
  await load.stop();
  expect(failures).toEqual([]);
  expect(gateway.output()).not.toMatch(/a process of the gateway has ended|a fault of the gateway/);
}, 600_000);

test("two workers with all cores busy: changes, reloads and restores one after the other end no process", async () => {
  using behind = backend();
  using _ = busy();
  const server = { workers: 2 };
  await using gateway = await start({ config: configFor(behind.url, [], { server }) });
  for (let i = 0; i < 100; i++) {
    await done(gateway, "POST", "/admin/routes", { ...MOVED, name: `route-${i}` });
    await done(gateway, "DELETE", `/admin/routes/route-${i}`);
    const route = { ...MOVED, name: `file-${i}` };
    writeFileSync(join(gateway.folder, "config.json"), JSON.stringify(configFor(behind.url, [route], { server })));
    await done(gateway, "POST", "/admin/config/reload");
    const { items } = await done(gateway, "GET", "/admin/versions?limit=4");
    await done(gateway, "POST", `/admin/versions/${items.at(-1).number}/restore`, { file: true });
  }
  expect(gateway.output()).not.toMatch(/a process of the gateway has ended|a fault of the gateway/);
}, 600_000);

test("restores while the other worker still starts end nothing, however often the gateway is started", async () => {
  using behind = backend();
  using _ = busy();
  const server = { workers: 3 };
  for (let i = 0; i < 10; i++) {
    await using gateway = await start({ config: configFor(behind.url, [], { server }) });
    await done(gateway, "POST", "/admin/routes", MOVED);
    await done(gateway, "DELETE", "/admin/routes/moved");
    await done(gateway, "PUT", "/admin/config/file", { text: JSON.stringify(configFor(behind.url, [MOVED], { server })) });
    let [one, other] = [2, 4];
    for (let j = 0; j < 6; j++) {
      const { number } = await done(gateway, "POST", `/admin/versions/${one}/restore`, { file: true });
      [one, other] = [other, number];
    }
    await until(() => gateway.output().includes('"listening"'));
  }
}, 600_000);

having("redis-server").test(
  "two instances with Redis agree on numbers, and each restores what the other made",
  async () => {
    using behind = backend();
    await using server = await redisServer();
    const config = configFor(behind.url, [], { redis: { url: server.url } });
    await using one = await start({ config });
    await using two = await start({ config });
    await Promise.all(
      [one, two].flatMap((gateway, i) =>
        Array.from({ length: 10 }, (_, j) => done(gateway, "POST", "/admin/tiers", { name: `tier-${i}-${j}`, limits: [] })),
      ),
    );
    const listed = async (gateway: Running) => (await done(gateway, "GET", "/admin/versions?limit=500")).items;
    const made = async (gateway: Running) =>
      (await done(gateway, "GET", "/admin/tiers?limit=500")).items.filter(({ source }: { source: string }) => source === "admin");
    await until(async () => (await listed(one)).length === 21 && (await listed(two)).length === 21);
    expect(await listed(one)).toEqual(await listed(two));
    expect((await listed(one)).map(({ number }: { number: number }) => number)).toEqual(Array.from({ length: 21 }, (_, i) => 21 - i));
    expect((await done(two, "POST", "/admin/versions/1/restore")).deleted).toHaveLength(20);
    await until(async () => (await made(one)).length === 0);
    expect((await done(one, "POST", "/admin/versions/21/restore")).created).toHaveLength(20);
    await until(async () => Bun.deepEquals(await listed(one), await listed(two)));
  },
  120_000,
);
