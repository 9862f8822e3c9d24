import { expect } from "bun:test";
import { Limiter, type Verdict } from "../../src/limits/limiter.ts";
import { MemoryStore } from "../../src/limits/memory/store.ts";
import { compilePolicies } from "../../src/limits/policy.ts";
import { RedisLimiter } from "../../src/limits/redis/limiter.ts";
import type { LimitConfig } from "../../src/limits/settings.ts";
import { RedisLink } from "../../src/redis/link.ts";
import { RedisConfig } from "../../src/redis/settings.ts";
import { fillIn } from "../../src/schema/fill-in.ts";
import { FakeClock } from "../support/clock.ts";
import { having } from "../support/programs.ts";
import { type RedisServer, redisServer } from "../support/redis.ts";

const { afterAll, beforeAll, test } = having("redis-server");

let server: RedisServer;
let link: RedisLink;
const clock = new FakeClock();

// One node with all slots: enough for what an instance does differently on a cluster.
beforeAll(async () => {
  // It announces no address of its own, as a node that was never met by another does not.
  server = await redisServer(["--cluster-enabled", "yes"]);
  await server.client.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
  while (!(await server.client.cluster("INFO")).includes("cluster_state:ok")) await Bun.sleep(5);
  const config = fillIn(RedisConfig, { cluster: [`127.0.0.1:${server.port}`], timeout: "2s" }).value as RedisConfig;
  link = new RedisLink({ config, clock, onChange: () => {} });
  while (!link.isUp) await Bun.sleep(5);
});
afterAll(async () => {
  link.close();
  await server[Symbol.asyncDispose]();
});

function limiting(...configs: LimitConfig[]) {
  const parts = { clock, isDegraded: () => false };
  const faults: unknown[] = [];
  const limiter = new RedisLimiter({
    ...parts,
    link,
    local: new Limiter({ store: new MemoryStore(), ...parts }),
    mode: "exact",
    onFailure: () => "allow",
    instance: Bun.randomUUIDv7(),
    onFault: (error) => faults.push(error),
    now: () => clock.now(),
  });
  return { limiter, faults, policies: compilePolicies(configs, { kind: "tier", name: "test" }) };
}

test("what is in flight is not said again while a request is on its way", async () => {
  const { limiter, policies } = limiting({ algorithm: "concurrency", limit: 10 });
  const subjects = [Bun.randomUUIDv7()];
  const inFlight = async (): Promise<number | undefined> => (await limiter.inspect(policies, subjects))[0]?.used;
  const verdicts: Verdict[] = [await limiter.admit(policies, subjects, 1)];
  const asked = limiter.admit(policies, subjects, 1);
  limiter.renew();
  verdicts.push(await asked);
  expect(await inFlight()).toBe(2);
  for (const verdict of verdicts) limiter.release(verdict);
  limiter.renew();
  expect(await inFlight()).toBe(0);
  limiter.close();
});

test("a fault at one subject gives back what was taken for the others, and no more", async () => {
  const { limiter, faults, policies } = limiting(
    { algorithm: "fixed-window", limit: 1, window: "1h", name: "shadow", shadow: true },
    { algorithm: "fixed-window", limit: 10, window: "1h", name: "own" },
    { algorithm: "fixed-window", limit: 10, window: "1h", name: "other" },
  );
  const [own, other] = [Bun.randomUUIDv7(), Bun.randomUUIDv7()];
  const used = async () => (await limiter.inspect(policies.slice(0, 2), [own, own])).map((reading) => reading.used);
  await limiter.admit(policies, [own, own, other], 1);
  expect(await used()).toEqual([1, 1]);
  const key = (await server.client.keys(`*{${other}}*`))[0] as string;
  await server.client.del(key);
  await server.client.rpush(key, "of another kind");
  await limiter.admit(policies, [own, own, other], 1);
  expect(faults.map(String)).toEqual([expect.stringContaining("WRONGTYPE")]);
  expect(await used()).toEqual([1, 1]);
  limiter.close();
});
