import { expect } from "bun:test";
import { lease, newPoolState, type PoolPolicy, poolShape, remainingOf } from "../../src/pools/pool.ts";
import { RedisLink } from "../../src/redis/link.ts";
import { RedisConfig } from "../../src/redis/settings.ts";
import { Contended, SharedState } from "../../src/redis/shared-state.ts";
import { fillIn } from "../../src/schema/fill-in.ts";
import { FakeClock } from "../support/clock.ts";
import { having } from "../support/programs.ts";
import { redisServer } from "../support/redis.ts";

const { describe, test } = having("redis-server");

const policy: PoolPolicy = {
  name: "p",
  strategy: "in-order",
  keys: [1000, 3000].map((limit, i) => ({ id: `k${i}`, secret: null, mark: "m", budgets: [{ of: "tokens", limit, window: 3_600_000 }] })),
  services: new Map(),
};
const clock = new FakeClock(Date.now());

async function connected(url: string): Promise<RedisLink> {
  const link = new RedisLink({ config: fillIn(RedisConfig, { url, timeout: "2s" }).value as RedisConfig, clock, onChange: () => {} });
  while (!link.isUp) await Bun.sleep(5);
  return link;
}
const share = (link: RedisLink) => new SharedState(link, "state", poolShape, newPoolState());
const take = (state: SharedState<ReturnType<typeof newPoolState>>, cost: number) =>
  state.run((it, now) => lease(policy, it, { tokens: cost, usd: null }, now).granted);

describe("a state that several change as one", () => {
  test("is never changed twice from the same beginning: what is granted is exactly what there is", async () => {
    await using redis = await redisServer();
    const links = await Promise.all([1, 2, 3, 4, 5].map(() => connected(redis.url)));
    const states = links.map(share);
    const granted = await Promise.all(Array.from({ length: 1000 }, (_, i) => take(states[i % 5] as (typeof states)[0], 7)));
    // 142 × 7 = 994 of the first key, 428 × 7 = 2996 of the second.
    expect(granted.filter(Boolean)).toHaveLength(142 + 428);
    await Promise.all(states.map((state) => state.refresh()));
    for (const state of states) expect(policy.keys.map((key) => remainingOf(state.state, key, state.now()))).toEqual([6, 4]);
    for (const link of links) link.close();
  });

  test("goes on here while Redis is away, and what was given on both sides meanwhile is added up", async () => {
    await using redis = await redisServer();
    const [one, two] = await Promise.all([connected(redis.url), connected(redis.url)]);
    const mine = share(one);
    const theirs = share(two);
    for (let i = 0; i < 10; i++) await take(i % 2 === 0 ? mine : theirs, 50);
    await mine.refresh();
    one.client.disconnect();
    while (one.isUp) await Bun.sleep(2);
    expect(take(mine, 100)).toBe(true);
    expect(await take(theirs, 200)).toBe(true);
    await one.client.connect();
    while (!one.isUp) await Bun.sleep(5);
    await mine.refresh();
    await theirs.refresh();
    for (const state of [mine, theirs]) expect(policy.keys.map((key) => remainingOf(state.state, key, state.now()))).toEqual([200, 3000]);
    // Emptied: what an instance knows is put back.
    await redis.client.flushall();
    expect([await take(mine, 300), await take(mine, 150)]).toEqual([true, true]);
    await theirs.refresh();
    expect(policy.keys.map((key) => remainingOf(theirs.state, key, theirs.now()))).toEqual([50, 2700]);
    one.close();
    two.close();
  });

  test("what was refused because others were faster is not done after all when Redis is lost then", async () => {
    await using redis = await redisServer();
    const link = await connected(redis.url);
    const state = share(link);
    await state.refresh();
    let runs = 0;
    const refused = state.run(() => {
      runs++;
      // Others are faster each time, for longer than a request may wait.
      link.client.hset("state", "v", `theirs-${runs}`).catch(() => {});
      clock.time += 4500;
    });
    // Came along, and has no such hurry.
    let more = 0;
    const patient = state.run(() => {
      if (++more === 3) link.client.disconnect();
    }, true);
    await expect(refused).rejects.toBeInstanceOf(Contended);
    await patient;
    expect({ runs, more }).toEqual({ runs: 2, more: 4 });
    link.close();
  });
});
