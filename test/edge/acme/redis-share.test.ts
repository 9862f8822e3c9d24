import { expect } from "bun:test";
import { RedisShare } from "../../../src/edge/acme/redis-share.ts";
import { MemoryStore } from "../../../src/edge/acme/store.ts";
import { Secrets } from "../../../src/records/sealing.ts";
import { RedisLink } from "../../../src/redis/link.ts";
import { RedisConfig } from "../../../src/redis/settings.ts";
import { fillIn } from "../../../src/schema/fill-in.ts";
import { type Ordering, type OrderingOptions, ordering } from "../../support/acme.ts";
import { authority, refusal } from "../../support/acme-authority.ts";
import { FakeClock } from "../../support/clock.ts";
import { having } from "../../support/programs.ts";
import { type RedisServer, redisServer } from "../../support/redis.ts";

const { test } = having("redis-server");

const HOST = "api.example.com";
const DAY = 86_400_000;
const START = Math.floor(Date.now() / 1000) * 1000;

interface Instance extends Ordering {
  readonly share: RedisShare;
  /** Ends it as a crash would: it gives up nothing. */
  crash(): Promise<void>;
}

/** One of several instances on a Redis. */
async function instance(server: RedisServer, self: string, options: OrderingOptions & { readonly secret?: string }): Promise<Instance> {
  const config = fillIn(RedisConfig, { url: server.url, timeout: "2s" }).value as RedisConfig;
  const link = new RedisLink({ config, clock: new FakeClock(), onChange: () => {} });
  await link.tried;
  const secrets = new Secrets(options.secret ?? "a secret of theirs", undefined);
  const share = new RedisShare({
    ...{ link, self, directory: options.settings.directory },
    seal: (text) => secrets.seal(text),
    open: (text) => secrets.openIfSealed(text),
  });
  const own = ordering({ ...options, share });
  const end = async (): Promise<void> => {
    await own[Symbol.asyncDispose]();
    link.close();
  };
  return {
    ...own,
    share,
    [Symbol.asyncDispose]: end,
    crash: async () => {
      link.close();
      await end();
    },
  };
}

/** Has all instances do what is due, until nothing is. */
async function rounds(...all: Instance[]): Promise<void> {
  for (let i = 0; i < 3; i++) for (const each of all) await each.look();
}

test("one of several instances orders, all answer challenges, and all serve what came", async () => {
  await using server = await redisServer();
  using ca = authority({ life: { beginsAt: START, endsAt: START + 90 * DAY } });
  const settings = { directory: ca.directory };
  await using one = await instance(server, "one", { settings });
  await using two = await instance(server, "two", { settings });
  // The authority comes to the one that does not order.
  ca.httpPort = two.httpPort;
  await rounds(one, two);
  expect([one.share.isOrderer, two.share.isOrderer]).toEqual([true, false]);
  expect([one.counts.issued, two.counts.issued]).toEqual([1, 0]);
  expect(two.source.certificates).toEqual(one.source.certificates);
  expect(two.source.certificates).toHaveLength(1);
  // A renewal as well.
  for (const each of [one, two]) each.clock.time = one.source.standings[0]?.renewsAt ?? 0;
  ca.life = { beginsAt: one.clock.time, endsAt: one.clock.time + 90 * DAY };
  await rounds(one, two);
  expect([one.counts.issued, two.counts.issued]).toEqual([2, 0]);
  expect(two.source.certificates).toEqual(one.source.certificates);
  expect(two.source.standings).toMatchObject([{ trouble: null, renewsAt: one.source.standings[0]?.renewsAt }]);
  expect(ca.accounts.size).toBe(1);
});

test("when the one that orders stops, another orders at once, with the same account", async () => {
  await using server = await redisServer();
  using ca = authority();
  await using one = await instance(server, "one", { settings: { directory: ca.directory } });
  await using two = await instance(server, "two", { settings: { directory: ca.directory, hosts: [HOST, "b.example.com"] } });
  ca.httpPort = one.httpPort;
  await rounds(one, two);
  expect(two.source.certificates.map(({ place }) => place)).toEqual([HOST]);
  await one[Symbol.asyncDispose]();
  ca.httpPort = two.httpPort;
  await rounds(two);
  expect(two.share.isOrderer).toBe(true);
  expect(two.source.certificates.map(({ place }) => place)).toEqual([HOST, "b.example.com"]);
  expect(two.counts.issued).toBe(1);
  expect(ca.accounts.size).toBe(1);
});

test("one that crashed is followed by another when its lease is over", async () => {
  await using server = await redisServer();
  using ca = authority();
  const settings = { directory: ca.directory };
  const one = await instance(server, "one", { settings });
  await using two = await instance(server, "two", { settings });
  ca.httpPort = one.httpPort;
  await rounds(one, two);
  await one.crash();
  await rounds(two);
  expect(two.share.isOrderer).toBe(false);
  const [lease = ""] = await server.client.keys("*:lease");
  expect(await server.client.pttl(lease)).toBeGreaterThan(0);
  await server.client.del(lease);
  await rounds(two);
  expect(two.share.isOrderer).toBe(true);
  expect(two.counts).toEqual({ issued: 0, failed: 0 });
});

test("what fails is told by all, and who orders next waits as long as was to be waited", async () => {
  await using server = await redisServer();
  using ca = authority();
  const settings = { directory: ca.directory };
  await using one = await instance(server, "one", { settings });
  await using two = await instance(server, "two", { settings });
  ca.instead = (what) => (what === "new-order" ? refusal("rejectedIdentifier", "not that one") : null);
  await rounds(one, two);
  expect(one.counts.failed).toBe(1);
  expect(two.source.standings).toMatchObject([{ failures: 1, trouble: "not that one (rejectedIdentifier)" }]);
  expect(two.events).toMatchObject([{ type: "certificateFailing", name: HOST, why: "not that one (rejectedIdentifier)" }]);
  await one[Symbol.asyncDispose]();
  await rounds(two);
  expect(two.share.isOrderer).toBe(true);
  expect(two.counts.failed).toBe(0);
  ca.instead = () => null;
  ca.httpPort = two.httpPort;
  two.clock.time = two.source.standings[0]?.renewsAt ?? 0;
  await rounds(two);
  expect(two.source.certificates).toHaveLength(1);
  expect(two.events.at(-2)).toMatchObject({ why: null });
});

test("a Redis that was emptied gets back what instances have", async () => {
  await using server = await redisServer();
  using ca = authority();
  const settings = { directory: ca.directory };
  await using one = await instance(server, "one", { settings });
  ca.httpPort = one.httpPort;
  await rounds(one);
  await server.client.flushall();
  await rounds(one);
  await using two = await instance(server, "two", { settings });
  await rounds(two);
  expect(two.source.certificates).toEqual(one.source.certificates);
  expect([one.counts.issued, two.counts.issued]).toEqual([1, 0]);
});

test("private keys lie sealed in Redis, and who can't open them says so and orders nothing", async () => {
  await using server = await redisServer();
  using ca = authority();
  const settings = { directory: ca.directory };
  await using one = await instance(server, "one", { settings });
  ca.httpPort = one.httpPort;
  await rounds(one);
  const texts = await Promise.all((await server.client.keys("*")).map((key) => server.client.dump(key)));
  expect(texts.some((text) => text?.includes("PRIVATE KEY"))).toBe(false);
  expect((await server.client.keys("*:certificate:*")).length).toBe(1);
  await using stranger = await instance(server, "two", { settings, secret: "another secret" });
  await rounds(stranger);
  expect(stranger.source.certificates).toEqual([]);
  expect(stranger.source.standings[0]?.trouble).toContain("SLUICE_SECRET");
  // Not once more with each look.
  expect(stranger.events).toHaveLength(1);
});

test("while Redis is away nothing is ordered, and what there is serves", async () => {
  await using server = await redisServer();
  using ca = authority();
  const store = new MemoryStore();
  const settings = { directory: ca.directory };
  await using one = await instance(server, "one", { settings, store });
  ca.httpPort = one.httpPort;
  await rounds(one);
  await server.kill();
  await using two = await instance(server, "two", { settings, store });
  await rounds(two);
  expect(two.share.isOrderer).toBe(false);
  expect(two.source.certificates).toHaveLength(1);
  expect(await two.source.proof("unknown")).toBeNull();
});
