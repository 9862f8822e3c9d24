import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { RedisQueue } from "../../src/activities/queues/redis.ts";
import { SharedKeys } from "../../src/activities/queues/shared-keys.ts";
import { RedisLink } from "../../src/redis/link.ts";
import { RedisConfig } from "../../src/redis/settings.ts";
import { fillIn } from "../../src/schema/fill-in.ts";
import { systemClock } from "../../src/values/clock.ts";
import { engineIn, sqlite } from "../support/activities.ts";
import { folder } from "../support/process.ts";
import { type RedisServer, redisServer } from "../support/redis.ts";
import { insert, int, remove } from "../support/runs.ts";

let redis: RedisServer;
beforeAll(async () => {
  redis = await redisServer();
});
afterAll(() => redis[Symbol.asyncDispose]());

const links: RedisLink[] = [];
afterAll(() => {
  for (const link of links) link.close();
});
async function linkTo(prefix: string, url = redis.url): Promise<RedisLink> {
  const config = { ...(fillIn(RedisConfig, { url, prefix, timeout: "1s" }).value as RedisConfig) };
  const link = new RedisLink({ config, clock: systemClock, onChange: () => {} });
  links.push(link);
  await link.tried;
  return link;
}

const IDS = "SELECT id FROM t ORDER BY rowid";

describe("a queue in Redis", () => {
  test("is followed by several sinks, by one instance each; whoever takes over does nothing twice, in order", async () => {
    using home = folder();
    const sinks = [sqlite("one", join(home.path, "one.db")), sqlite("two", join(home.path, "two.db"))];
    const open = async (name: string) => {
      const link = await linkTo("several");
      return engineIn({ home: join(home.path, name), sinks, queueOn: () => new RedisQueue(link) });
    };
    const instances = [await open("a"), await open("b")];
    const model: number[] = [];
    let next = 0;
    for (let i = 0; i < 60; i++) {
      const instance = instances[i % 2];
      const ids = Array.from({ length: 1 + (i % 7) * 40 }, () => next++);
      const gone = model.splice(0, i % 3);
      model.push(...ids);
      await instance?.post(...gone.map((id) => remove("t", { id: int(id) })), ...ids.map((id) => insert("t", { id: int(id) })));
      for (const name of ["one", "two"]) if ((i + name.length) % 4 > 0) await instances[(i >> 1) % 2]?.step(name);
      // The one that applies is taken for dead: another goes on.
      if (i % 5 === 0) await redis.client.del("several:{activities}:leader", "several:{activities}:leader:two");
    }
    // Whoever applies has the rest.
    for (const name of ["one", "two"]) for (let idle = 0; idle < 4; ) idle = (await instances[idle % 2]?.step(name)) === 0 ? 0 : idle + 1;
    const expected = model.map((id) => ({ id }));
    expect(instances[0]?.all(IDS, "../one.db")).toEqual(expected);
    expect(instances[0]?.all(IDS, "../two.db")).toEqual(expected);
    expect([await redis.client.xlen("several:{activities}:stream"), (await instances[0]?.engine.stats())?.waiting]).toEqual([0, 0]);
    for (const instance of instances) await instance.close();
  });

  test("counts what waits for each sink, and keeps it until the last has it", async () => {
    using home = folder();
    const link = await linkTo("counted");
    const sinks = [sqlite("one", join(home.path, "one.db")), sqlite("two", join(home.path, "two.db"))];
    const it = engineIn({ home: home.path, sinks, queueOn: () => new RedisQueue(link) });
    await it.post(...Array.from({ length: 1500 }, (_, i) => insert("t", { id: int(i) })));
    await it.post(insert("t", { id: int(1500) }));
    expect((await it.engine.stats()).sinks).toMatchObject([{ waiting: 1501 }, { waiting: 1501 }]);
    await it.step("one");
    expect((await it.engine.stats()).sinks).toMatchObject([{ waiting: 501 }, { waiting: 1501, waitingSize: expect.any(Number) }]);
    await it.step("one");
    expect((await it.engine.stats()).sinks).toMatchObject([{ waiting: 0, lag: 0 }, { waiting: 1501 }]);
    expect(await redis.client.xlen("counted:{activities}:stream")).toBe(2);
    await it.work();
    expect(await redis.client.xlen("counted:{activities}:stream")).toBe(0);
    await it.close();
  });

  test("takes over what waits in the file, before anything that comes later", async () => {
    using home = folder();
    {
      const it = engineIn({ home: home.path });
      await it.post(...Array.from({ length: 1200 }, (_, i) => insert("t", { id: int(i) })));
      await it.step("sqlite");
      await it.close();
    }
    const link = await linkTo("taken");
    const it = engineIn({ home: home.path, queueOn: () => new RedisQueue(link) });
    // A sink that looks for work meanwhile moves nothing a second time.
    await Promise.all([it.step("sqlite"), it.post(insert("t", { id: int(1200) }))]);
    expect(await redis.client.get("taken:{activities}:position")).toBe("1201");
    expect(it.all("SELECT * FROM sluice_queue")).toEqual([]);
    for (let idle = 0; idle < 2; ) idle = (await it.step("sqlite")) === 0 ? 0 : idle + 1;
    expect(it.all(IDS)).toEqual(Array.from({ length: 1201 }, (_, id) => ({ id })));
    await it.close();
  });
});

test("keys that instances share are known to each, though their queue knows none; while Redis is away each knows its own", async () => {
  using home = folder();
  await using own = await redisServer();
  // What the two have in common is the keys alone.
  const open = async (name: string) => {
    const [queue, keys] = [await linkTo(name), await linkTo("shared", own.url)];
    return engineIn({ home: join(home.path, name), queueOn: () => new RedisQueue(queue), sharedKeys: new SharedKeys(keys) });
  };
  const one = await open("one");
  const two = await open("two");
  const send = async (to: typeof one, key: string, id: number) => {
    const [admission] = await to.engine.take([{ body: JSON.stringify({ activities: [insert("t", { id: int(id) })] }), key }]);
    return admission;
  };
  const first = await send(one, "a", 1);
  expect(first).toMatchObject({ kind: "accepted" });
  expect(await send(two, "a", 1)).toEqual(first as NonNullable<typeof first>);
  expect(await send(two, "a", 2)).toEqual({ kind: "mismatch" });
  expect(await send(two, "b", 2)).toMatchObject({ kind: "accepted" });
  expect([await send(one, "b", 3), await send(one, "b", 2)]).toMatchObject([{ kind: "mismatch" }, { kind: "accepted" }]);
  expect([(await one.engine.stats()).accepted, (await two.engine.stats()).accepted]).toEqual([1, 1]);
  expect(await own.client.pttl("shared:{activities}:key:a")).toBeGreaterThan(86_000_000);
  await own.kill();
  expect(await send(two, "c", 4)).toMatchObject({ kind: "accepted" });
  expect(await send(two, "c", 5)).toEqual({ kind: "mismatch" });
  await one.close();
  await two.close();
});
