// What only shows over many crashes, several instances, or a receiver with a certificate.
import { expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { backend } from "../../support/backend.ts";
import { certified } from "../../support/certificates.ts";
import { folder, type Running, start } from "../../support/process.ts";
import { killAndWait, startAll } from "../../support/processes.ts";
import { having } from "../../support/programs.ts";
import { receiver, WEBHOOK_SECRET } from "../../support/receiver.ts";
import { redisServer } from "../../support/redis.ts";
import { until } from "../../support/until.ts";

const { test } = having("openssl", "redis-server");
const KILLS = 24;

const hookOf = (url: string) => [{ name: "alerts", url, secret: WEBHOOK_SECRET, events: ["*"] }];
const create = async (gateway: Running, name: string): Promise<boolean> =>
  (await gateway.admin("POST", "/admin/keys", { consumer: "acme", name }).catch(() => null))?.status === 201;

test("whatever was acknowledged is told, at least once and always the same, though the gateway is killed again and again", async () => {
  using home = folder();
  using hook = receiver();
  // The second try is 5 s later, the third minutes.
  hook.answers(
    ({ id }) => new Response(null, { status: hook.tries.filter((each) => each === id).length === 1 && Math.random() < 0.2 ? 503 : 204 }),
  );
  const options = { cwd: home.path, config: { webhooks: hookOf(hook.url), consumers: [{ id: "acme", tier: "free" }] } };
  const acknowledged: string[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const gateway = await start(options);
    let isOver = false;
    const work = (async () => {
      for (let i = 0; !isOver; i++) if (await create(gateway, `${kill}-${i}`)) acknowledged.push(`${kill}-${i}`);
    })();
    await Bun.sleep(Math.random() * 400);
    process.kill(gateway.pid, "SIGKILL");
    isOver = true;
    await work;
    await gateway.stop("SIGKILL");
  }
  expect(acknowledged.length).toBeGreaterThan(KILLS);
  await using _ = await start(options);
  const told = () => new Set(hook.all.map(({ body }) => body.data.name as string));
  await until(() => acknowledged.every((name) => told().has(name)), 120_000);
  const texts = new Map<string, string>();
  for (const { id, text } of hook.all) {
    expect(texts.get(id) ?? text).toBe(text);
    texts.set(id, text);
  }
  // Never two events for one key: what comes twice has the same id.
  expect(texts.size).toBe(told().size);
});

test("a keeper that is killed loses nothing that it or a worker has told", async () => {
  using hook = receiver();
  using users = backend();
  const consumers = Array.from({ length: 20 }, (_, i) => ({ id: `c${i}`, tier: "small", keys: [`a-key-of-the-test-${i}-0123`] }));
  const config = {
    ...{ server: { workers: 2 }, webhooks: hookOf(hook.url), consumers },
    upstreams: { users: { targets: [{ url: users.url }] } },
    routes: [{ path: "/", upstream: "users", auth: "required" }],
    tiers: { small: { quota: { limit: 1, period: "day" } } },
  };
  await using gateway = await startAll({ config });
  const killing = killAndWait(gateway, "keeper");
  for (const { keys } of consumers) await fetch(gateway.url, { headers: { "x-api-key": keys[0] as string, connection: "close" } });
  await killing;
  const subjects = () => new Set(hook.all.filter(({ body }) => body.type === "quota.100").map(({ body }) => body.data.subject));
  await until(() => subjects().size === consumers.length);
  expect(new Set(hook.all.map(({ id }) => id)).size).toBe(2 * consumers.length);
});

test("of two instances that share Redis one tells what both see, and each tells what it sees alone", async () => {
  using hook = receiver();
  using users = backend();
  await using redis = await redisServer();
  const config = {
    ...{ webhooks: hookOf(hook.url), redis: { url: redis.url, prefix: "hooks" } },
    upstreams: { users: { targets: [{ url: users.url }] } },
    routes: [{ path: "/", upstream: "users", auth: "required" }],
    tiers: { small: { quota: { limit: 20, period: "day" } } },
    consumers: [
      {
        id: "acme",
        tier: "small",
        keys: [{ key: "a-key-of-the-test-0123", expiresAt: new Date(Date.now() + 86_400_000 * 3).toISOString() }],
      },
    ],
  };
  await using a = await start({ config });
  await using b = await start({ config });
  for (let i = 0; i < 24; i++) await fetch((i % 2 === 0 ? a : b).url, { headers: { "x-api-key": "a-key-of-the-test-0123" } });
  await a.admin("POST", "/admin/health", { status: "DEGRADED", ttl: "1s" });
  await a.admin("POST", "/admin/keys", { consumer: "acme" });
  await b.admin("POST", "/admin/blocks", { ip: "203.0.113.9" });
  const expected = ["block.made", "health.changed", "health.changed", "key.created", "key.expiring", "quota.100", "quota.80"];
  await until(() => hook.all.length >= expected.length);
  // What the other instance has seen would be there by now.
  const waiting = async (gateway: Running) =>
    ((await (await gateway.admin("GET", "/admin/webhooks/alerts")).json()) as { state: { waiting: number } }).state.waiting;
  await until(async () => (await waiting(a)) + (await waiting(b)) === 0);
  expect(hook.types().sort()).toEqual(expected);
});

test("a webhook of the API is told by https, is disabled by 410, and enabled again by a person", async () => {
  using home = folder();
  const { cert, key } = certified(["localhost"]);
  writeFileSync(`${home.path}/ca.pem`, cert);
  let status = 200;
  const seen: string[] = [];
  const server = Bun.serve({
    ...{ port: 0, hostname: "127.0.0.1", tls: { cert, key } },
    fetch: async (request) => {
      if (status === 200) seen.push(((await request.json()) as { type: string }).type);
      return new Response(null, { status });
    },
  });
  const env = { SLUICE_SECRET: "a secret of the machine", NODE_EXTRA_CA_CERTS: `${home.path}/ca.pem` };
  await using gateway = await start({
    env,
    config: { admin: { upstreamAllow: ["localhost"] }, consumers: [{ id: "acme", tier: "free" }] },
  });
  const made = await gateway.admin("POST", "/admin/webhooks", {
    name: "api",
    url: `https://localhost:${server.port}/`,
    events: ["key.created"],
  });
  expect(made.status).toBe(201);
  await create(gateway, "one");
  await until(() => seen.length === 1);
  status = 410;
  await create(gateway, "two");
  const shown = async () =>
    (await (await gateway.admin("GET", "/admin/webhooks/api")).json()) as { enabled: boolean; state: { isGone: boolean } };
  await until(async () => !(await shown()).enabled);
  expect((await shown()).state.isGone).toBe(true);
  const audit = await (await gateway.admin("GET", "/admin/audit?action=webhook.update")).json();
  expect(audit).toMatchObject({ items: [{ actor: "system", subject: "webhook api" }] });
  status = 200;
  expect((await gateway.admin("PATCH", "/admin/webhooks/api", { enabled: true })).status).toBe(200);
  expect((await shown()).state.isGone).toBe(false);
  await create(gateway, "three");
  await until(() => seen.length === 2);
  await server.stop(true);
});
