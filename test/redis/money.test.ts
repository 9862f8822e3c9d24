import { expect } from "bun:test";
import { Limiter, type Verdict } from "../../src/limits/limiter.ts";
import { MemoryStore } from "../../src/limits/memory/store.ts";
import type { Policy } from "../../src/limits/policy.ts";
import { RedisLimiter } from "../../src/limits/redis/limiter.ts";
import { RedisLink } from "../../src/redis/link.ts";
import { RedisConfig } from "../../src/redis/settings.ts";
import { fillIn } from "../../src/schema/fill-in.ts";
import { FakeClock } from "../support/clock.ts";
import { holdMoney, inMoney, settleLate } from "../support/money.ts";
import { having } from "../support/programs.ts";
import { type RedisServer, redisServer } from "../support/redis.ts";
import { until } from "../support/until.ts";

const { afterAll, beforeAll, describe, test } = having("redis-server");

let server: RedisServer;
let link: RedisLink;
const clock = new FakeClock(Date.UTC(2026, 0, 30, 12));
const isDegraded = () => false;

beforeAll(async () => {
  server = await redisServer();
  const config = fillIn(RedisConfig, { url: server.url, timeout: "2s" }).value as RedisConfig;
  link = new RedisLink({ config, clock, onChange: () => {} });
  await link.tried;
});
afterAll(async () => {
  link.close();
  await server[Symbol.asyncDispose]();
});

/** One of several instances that share limits, by the test's clock; over a Redis of its own by that one's. */
function instance(mode: "exact" | "leased", over = link) {
  const store = new MemoryStore();
  const local = new Limiter({ store, clock, isDegraded });
  const limiter = new RedisLimiter({
    ...{ link: over, local, clock, isDegraded, mode, instance: Bun.randomUUIDv7() },
    ...(over === link ? { now: () => clock.time } : {}),
    onFailure: () => "local",
    onFault: (error) => {
      throw error;
    },
  });
  return { limiter, store };
}

describe("a limit in money in Redis", () => {
  const kinds = inMoney(1).flatMap(({ algorithm }, kind) => [[algorithm, "exact", kind] as const, [algorithm, "leased", kind] as const]);

  test.each(kinds)("of %s, %s, holds at three instances, whatever is reserved, grown and settled when", async (_, mode, kind) => {
    await holdMoney(kind, 40, async () => {
      const all = [instance(mode), instance(mode), instance(mode)].map(({ limiter }) => limiter);
      return { all, end: () => all.map((each) => each.close()) };
    });
  });

  test.each(kinds.filter(([name, mode]) => mode === "exact" && name !== "token-bucket"))(
    "of %s is not given what is settled after the window in which it was reserved",
    async (_, mode, kind) => {
      const { limiter } = instance(mode);
      await settleLate(kind, limiter, (milliseconds) => {
        clock.time += milliseconds;
      });
      limiter.close();
    },
  );

  test("what grows while it is settled is given back", async () => {
    const { limiter } = instance("exact");
    const [policy] = inMoney(1000) as [Policy];
    const subjects = [Bun.randomUUIDv7()];
    const verdict = await limiter.admit([policy], subjects, 1, 100);
    const growing = limiter.grow(verdict, 50);
    limiter.settle(verdict, null, 30);
    expect(await growing).toBe(false);
    expect(await limiter.inspect([policy], subjects)).toMatchObject([{ used: 30 }]);
    limiter.close();
  });

  test("what is reserved in Redis grows and is settled at the instance while Redis is away, and all of it is counted when it is back", async () => {
    await using away = await redisServer();
    const config = fillIn(RedisConfig, { url: away.url, timeout: "300ms" }).value as RedisConfig;
    const its = new RedisLink({ config, clock, onChange: () => {} });
    await its.tried;
    const { limiter, store } = instance("exact", its);
    try {
      const [policy] = inMoney(1000) as [Policy];
      const subjects = [Bun.randomUUIDv7()];
      const [first, second] = [await limiter.admit([policy], subjects, 1, 400), await limiter.admit([policy], subjects, 1, 300)] as [
        Verdict,
        Verdict,
      ];
      // Redis holds still, as in an outage, and forgets nothing.
      away.signal("SIGSTOP");
      expect([await limiter.grow(first, 200), await limiter.grow(second, 200)]).toEqual([true, false]);
      // An answer that is late is no outage yet.
      await until(async () => {
        await limiter.inspect([policy], [Bun.randomUUIDv7()]);
        return !its.isUp;
      });
      // What is settled in the meantime is told afterwards.
      limiter.settle(second, null, 100);
      away.signal("SIGCONT");
      await until(() => its.isUp);
      await limiter.giveBack(store.all(), (entry) => store.forget(entry));
      limiter.renew();
      // Nobody waits for what is told: what is asked may come before it.
      await until(async () => (await limiter.inspect([policy], subjects))[0]?.used === 700);
      limiter.settle(first, null, 450);
      expect(await limiter.inspect([policy], subjects)).toMatchObject([{ used: 550, remaining: 450 }]);
    } finally {
      limiter.close();
      its.close();
    }
  });
});
