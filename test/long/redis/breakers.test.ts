import { expect, test } from "bun:test";
import { flaky } from "../../support/flaky.ts";
import { type Running, start } from "../../support/process.ts";
import { redisServer } from "../../support/redis.ts";

interface Item {
  readonly state: string;
  readonly held: boolean;
}
const breaker = async (gateway: Running): Promise<Item> => {
  const { items } = (await (await gateway.admin("GET", "/admin/breakers")).json()) as { items: Item[] };
  return items[0] as Item;
};
const until = async (gateway: Running, is: (item: Item) => boolean): Promise<void> => {
  while (!is(await breaker(gateway))) await Bun.sleep(10);
};

test("a breaker that a person takes over on one instance is theirs on all: no instance's probe closes it, a person on any does", async () => {
  let isIll = true;
  using behind = flaky(() => ({ status: isIll ? 503 : 200 }));
  await using redis = await redisServer();
  const config = {
    logging: { accessLog: false },
    redis: { url: redis.url, prefix: "breakers", timeout: "500ms" },
    tiers: { anonymous: { limits: [] } },
    upstreams: { main: { targets: [{ url: behind.url }], breaker: { failureThreshold: 2, successThreshold: 1 } } },
    routes: [{ name: "main", path: "/", upstream: "main", auth: "none", retry: null }],
  };
  await using a = await start({ config });
  await using b = await start({ config });
  const ask = async (gateway: Running) => {
    const answer = await fetch(gateway.url);
    await answer.arrayBuffer();
    return answer.status;
  };
  while ((await breaker(a)).state === "closed") await ask(a);
  await until(b, ({ state }) => state !== "closed");
  // Failures have opened it; now it is a person's, and the others hear of that as well.
  const target = encodeURIComponent(behind.url);
  await a.admin("POST", `/admin/breakers/${target}/open`);
  await until(b, ({ held }) => held);
  isIll = false;
  const before = behind.seen.length;
  // Longer than the time after which a probe would go out.
  for (let i = 0; i < 30; i++) {
    expect(await ask(i % 2 === 0 ? a : b)).toBe(503);
    await Bun.sleep(50);
  }
  expect(behind.seen.length).toBe(before);
  await b.admin("POST", `/admin/breakers/${target}/close`);
  await until(a, ({ state }) => state === "closed");
  expect([await ask(a), await ask(b)]).toEqual([200, 200]);

  // Without a person, the instance that finds it well tells the others.
  isIll = true;
  while ((await breaker(a)).state === "closed") await ask(a);
  await until(b, ({ state }) => state !== "closed");
  isIll = false;
  while ((await breaker(a)).state !== "closed") {
    await ask(a);
    await Bun.sleep(20);
  }
  await until(b, ({ state }) => state === "closed");
}, 60_000);
