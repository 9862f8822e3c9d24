import { afterAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { CredentialUse, ModelUnpriced, PoolExhausted } from "../../src/pools/credential.ts";
import type { Grant } from "../../src/pools/pool.ts";
import { Pools, type PoolsDeps } from "../../src/pools/pools.ts";
import { PoolConfig, poolFaults } from "../../src/pools/settings.ts";
import { RedisLink } from "../../src/redis/link.ts";
import { RedisConfig } from "../../src/redis/settings.ts";
import { fillIn } from "../../src/schema/fill-in.ts";
import { Chunks } from "../../src/shared/chunks.ts";
import { openRegion, type Region } from "../../src/shared/region.ts";
import { Table } from "../../src/shared/table.ts";
import { openStorage } from "../../src/storage/open.ts";
import type { OccurrenceOf } from "../../src/telemetry/occurrences.ts";
import type { Prompt } from "../../src/tokens/prompt.ts";
import { NANO } from "../../src/values/money.ts";
import { FakeClock } from "../support/clock.ts";
import { exchangeOn, routeOf } from "../support/exchange.ts";
import { modelProvider } from "../support/model-provider.ts";
import { type RedisServer, redisServer } from "../support/redis.ts";
import { serving } from "../support/serving.ts";
import { until } from "../support/until.ts";

const closings: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closings.reverse()) await close();
});

type Key = { id: string; cost?: "usd"; limit?: number | string; window?: string; budgets?: object[] };

/** Pools of one pool "p" with these keys. */
function poolsOf(keys: readonly Key[], more: Partial<PoolsDeps> = {}, clock = new FakeClock()) {
  const storage = openStorage(":memory:");
  closings.push(() => storage.close());
  const told: OccurrenceOf<"poolSpent">[] = [];
  const emit: PoolsDeps["emit"] = (occurrence) => {
    if (occurrence.type === "poolSpent") told.push(occurrence);
  };
  const pools = new Pools({ storage, clock, link: null, table: null, isWriter: true, onFault: () => {}, emit, ...more });
  const { value, faults } = fillIn(PoolConfig, { keys });
  expect([...faults, ...poolFaults(value as PoolConfig)]).toEqual([]);
  pools.configure([["p", value as PoolConfig]]);
  const pool = pools.get("p");
  if (pool === null) throw new Error("no pool");
  return { pools, pool, clock, storage, told, used: () => pools.keysOf("p").map(({ budgets }) => budgets.map(({ used }) => used)) };
}

const DOLLAR: Key = { id: "one", cost: "usd", limit: "1.00", window: "1h" };

const reserve = async ({ pools, pool }: ReturnType<typeof poolsOf>, usd: number | null): Promise<Grant | null> => {
  const lease = await pools.reserve(pool, "r", { tokens: 1, usd }, [{ without: [], mayProbe: false }]);
  return lease.granted ? lease.grant : null;
};

type Instance = ReturnType<typeof poolsOf>;

/** Opens a worker's view of a region. */
function tableOf(region: Region): PoolsDeps["table"] {
  const ticket = region.becomeWorker();
  if (ticket === null) throw new Error("no id");
  const table = new Table(region.memory, ticket);
  return { table, chunks: new Chunks(region, table) };
}

let server: Promise<RedisServer> | null = null;
let prefixes = 0;

async function linkTo(prefix: string, clock: FakeClock): Promise<RedisLink> {
  server ??= redisServer().then((redis) => {
    closings.push(() => redis[Symbol.asyncDispose]());
    return redis;
  });
  const config = fillIn(RedisConfig, { url: (await server).url, timeout: "2s", prefix }).value as RedisConfig;
  const link = new RedisLink({ config, clock, onChange: () => {} });
  closings.push(() => link.close());
  while (!link.isUp) await Bun.sleep(5);
  return link;
}

/** Opens one key's dollar in each of the places where states are kept, empty: for those who share it. */
const places: Record<string, () => Promise<readonly Instance[]>> = {
  memory: async () => [poolsOf([DOLLAR])],
  "the table of two workers": async () => {
    const region = openRegion(null, { maxSubjects: 1000 });
    closings.push(() => region.close());
    const clock = new FakeClock();
    return [1, 2].map(() => poolsOf([DOLLAR], { table: tableOf(region) }, clock));
  },
  "Redis, with two instances": async () => {
    const prefix = `p${prefixes++}`;
    const clock = new FakeClock(Date.now());
    return Promise.all([1, 2].map(async () => poolsOf([DOLLAR], { link: await linkTo(prefix, clock) }, clock)));
  },
};

const nano = (max: number) => fc.integer({ min: 1, max: Math.floor(max) });
const step = fc.oneof(
  fc.record({ do: fc.constant("reserve" as const), usd: nano(NANO / 3), by: fc.nat(1) }),
  fc.record({ do: fc.constant("grow" as const), usd: nano(NANO / 8), of: fc.nat(20) }),
  fc.record({ do: fc.constant("settle" as const), usd: fc.option(fc.oneof(fc.constant(0), nano(NANO / 3))), of: fc.nat(20) }),
);

describe("a budget in dollars", () => {
  for (const [place, open] of Object.entries(places))
    test(`in ${place} is never exceeded by more than what answers cost above what was reserved for them`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
          const all = await open();
          const running: { by: Instance; grant: Grant; reserved: number }[] = [];
          let [settled, above] = [0, 0];
          const due = () => settled + running.reduce((sum, { reserved }) => sum + reserved, 0);
          for (const each of steps) {
            if (each.do === "reserve") {
              const by = all[each.by % all.length] as Instance;
              const grant = await reserve(by, each.usd);
              expect(grant !== null).toBe(due() + each.usd <= NANO);
              if (grant !== null) running.push({ by, grant, reserved: each.usd });
              continue;
            }
            const at = each.of % Math.max(1, running.length);
            const mine = running[at];
            if (mine === undefined) continue;
            const { pools, pool } = mine.by;
            if (each.do === "grow") {
              const fits = due() + each.usd <= NANO;
              expect(await pools.grow(pool, mine.grant, each.usd)).toBe(fits);
              if (fits) mine.reserved += each.usd;
              continue;
            }
            running.splice(at, 1);
            pools.settle(pool, mine.grant, { tokens: 1, usd: each.usd }, 1);
            await pools.refresh();
            settled += each.usd ?? mine.reserved;
            // What is reserved by whomever is not spent.
            const { told } = mine.by;
            if (settled >= 0.8 * NANO) await until(() => told.at(-1)?.used === settled);
            else expect(told).toEqual([]);
            above += Math.max(0, (each.usd ?? 0) - mine.reserved);
          }
          await Promise.all(all.map(({ pools }) => pools.refresh()));
          for (const { used } of all) expect(used()).toEqual([[due()]]);
          expect(due()).toBeLessThanOrEqual(NANO + above);
        }),
        { numRuns: place.startsWith("Redis") ? 25 : 150 },
      );
    });

  test("is given out by many at the same time to the last nano-dollar", async () => {
    const all = await (places["Redis, with two instances"] as () => Promise<Instance[]>)();
    const grants = await Promise.all(Array.from({ length: 200 }, (_, i) => reserve(all[i % 2] as Instance, NANO / 100)));
    expect(grants.filter((grant) => grant !== null)).toHaveLength(100);
  });

  test("holds beside budgets of requests and tokens: all of them, or nothing is taken", async () => {
    const budgets = [
      { of: "requests", limit: 3, window: "1h" },
      { of: "tokens", limit: 1000, window: "1h" },
      { cost: "usd", limit: "0.50", window: "1d" },
    ];
    const all = poolsOf([{ ...DOLLAR, budgets }]);
    expect(await reserve(all, 0.6 * NANO)).toBeNull();
    expect(all.used()).toEqual([[0, 0, 0, 0]]);
    const grant = await reserve(all, 0.4 * NANO);
    expect(all.used()).toEqual([[0.4 * NANO, 1, 1, 0.4 * NANO]]);
    if (grant === null) throw new Error("not granted");
    // The smaller of the two refuses, and the larger has not grown.
    expect(all.pools.grow(all.pool, grant, 0.2 * NANO)).toBe(false);
    expect(all.pools.grow(all.pool, grant, 0.1 * NANO)).toBe(true);
    expect(all.used()).toEqual([[0.5 * NANO, 1, 1, 0.5 * NANO]]);
    all.pools.settle(all.pool, grant, { tokens: 70, usd: 0.3 * NANO }, 1);
    expect(all.used()).toEqual([[0.3 * NANO, 1, 70, 0.3 * NANO]]);
  });

  test("lets those pass that can't be said in money, and counts them nowhere", async () => {
    const all = poolsOf([DOLLAR]);
    expect(await reserve(all, NANO)).not.toBeNull();
    expect([await reserve(all, 1), (await reserve(all, null)) !== null]).toEqual([null, true]);
    expect(all.used()).toEqual([[NANO]]);
  });

  test("pays for the rest of a long stream out of the window in which that comes", async () => {
    const all = poolsOf([DOLLAR]);
    const grant = await reserve(all, 0.9 * NANO);
    if (grant === null) throw new Error("not granted");
    all.clock.advance(3_600_001);
    expect(await reserve(all, 0.8 * NANO)).not.toBeNull();
    expect(all.pools.grow(all.pool, grant, 0.3 * NANO)).toBe(false);
    expect(all.pools.grow(all.pool, grant, 0.2 * NANO)).toBe(true);
    expect(all.used()).toEqual([[NANO]]);
    // Of 0.95 the first 0.9 were the window's before.
    all.pools.settle(all.pool, grant, { tokens: 1, usd: 0.95 * NANO }, 1);
    expect(all.used()).toEqual([[0.85 * NANO]]);
  });

  test("outlives a restart, and is shown beside what it counts", async () => {
    const all = poolsOf([DOLLAR]);
    await reserve(all, 0.25 * NANO);
    all.pools.flush();
    const after = new Pools({
      ...{ storage: all.storage, clock: all.clock, link: null, table: null, isWriter: true, onFault: () => {}, emit: () => {} },
    });
    after.configure([["p", fillIn(PoolConfig, { keys: [DOLLAR] }).value as PoolConfig]]);
    expect(after.keysOf("p")).toMatchObject([
      { unit: "usd", remaining: 0.75 * NANO, budgets: [{ of: "usd", limit: NANO, used: 0.25 * NANO }] },
    ]);
  });

  test("keeps its key from being handed out, since nobody could tell what is spent with it", async () => {
    const { pools, pool } = poolsOf([DOLLAR, { id: "two", limit: 10, window: "1h" }]);
    pools.configure([
      [
        "p",
        fillIn(PoolConfig, { keys: [DOLLAR, { id: "two", limit: 10, window: "1h" }], services: { chat: { cost: 4 } } }).value as PoolConfig,
      ],
    ]);
    const leases = await Promise.all([1, 2, 3].map(() => pools.lease(pools.get("p") ?? pool, "chat")));
    expect(leases.map((lease) => lease.granted && lease.grant.key.id)).toEqual(["two", "two", false]);
  });

  test("says where its settings are wrong", () => {
    const faultsOf = (key: object, services = {}) => {
      const { value, faults } = fillIn(PoolConfig, { keys: [{ id: "k", ...key }], services });
      return [...faults, ...(value === undefined ? [] : poolFaults(value as PoolConfig))].map(
        ({ path, message }) => `${path.join(".")} ${message}`,
      );
    };
    expect(faultsOf({ cost: "usd", limit: 25, window: "1d" })).toEqual([
      'keys.0.limit must be an amount in dollars in quotes, such as "25.00"',
    ]);
    expect(faultsOf({ limit: "25.00", window: "1d" })).toEqual(['keys.0.limit must be a whole number, or stand beside "cost": "usd"']);
    expect(faultsOf({ cost: "usd", limit: "0.00", window: "1d" })).toEqual(["keys.0.limit must be more than zero"]);
    expect(faultsOf({ cost: "usd", budgets: [{ cost: "usd", limit: "1", window: "1d" }] })).toEqual([
      "keys.0.cost goes with limit and window",
    ]);
    expect(faultsOf({ budgets: [{ limit: 5, window: "1d" }] })).toEqual([
      'keys.0.budgets.0 needs either "of": "requests" or "tokens", or "cost": "usd"',
    ]);
    expect(faultsOf({ cost: "usd", limit: "25.0000000001", window: "1d" })).toEqual([expect.stringContaining("an amount in dollars")]);
    expect(faultsOf(DOLLAR, { chat: { cost: 1 } })).toEqual([expect.stringContaining("services nothing can be handed out")]);
  });
});

test("a request that is settled after a reload leaves the counts of budgets that came with it alone", async () => {
  const day = { cost: "usd", limit: "10", window: "1d" };
  const month = { cost: "usd", limit: "10", window: "30d" };
  const it = poolsOf([{ id: "one", budgets: [day] }]);
  const old = await reserve(it, NANO);
  const { value } = fillIn(PoolConfig, { keys: [{ id: "one", budgets: [day, month] }] });
  it.pools.configure([["p", value as PoolConfig]]);
  const pool = it.pools.get("p");
  if (old === null || pool === null) throw new Error("nothing was given");
  const lease = await it.pools.reserve(pool, "r", { tokens: 1, usd: 5 * NANO }, [{ without: [], mayProbe: false }]);
  expect(await it.pools.grow(it.pool, old, NANO)).toBe(true);
  it.pools.settle(it.pool, old, { tokens: 1, usd: 2 * NANO }, 1);
  await it.pools.refresh();
  expect([lease.granted, it.used()]).toEqual([true, [[7 * NANO, 5 * NANO]]]);
});

describe("a request with a pool's key", () => {
  const KEYS = [DOLLAR];
  const { credential } = routeOf({ credential: { pool: "p" } });
  /** What it costs in money, as its model's prices say. */
  const charge = { model: "m", reserve: (0.4 * NANO) as number | null, price: (0.1 * NANO) as number | null, cost: () => charge.price };
  const prompt = { isRead: true, input: 10, output: 20 } as Prompt;

  async function begun(keys: readonly Key[] = KEYS, price: Partial<typeof charge> = {}) {
    const all = poolsOf(keys);
    const exchange = exchangeOn(routeOf({ credential: { pool: "p" } }), all.clock);
    const its = { ...charge, ...price, cost: () => its.price };
    if (credential === null) throw new Error("no credential");
    const use = await CredentialUse.begin(all, exchange, credential, prompt, false, its);
    return { ...all, exchange, use, its };
  }

  test("reserves what it may cost, and settles what it has cost", async () => {
    const { exchange, use, used } = await begun();
    expect(used()).toEqual([[0.4 * NANO]]);
    use.sent({ isSent: true });
    exchange.end();
    expect(used()).toEqual([[0.1 * NANO]]);
  });

  test("keeps what was reserved where nobody can say what it has cost", async () => {
    const { exchange, use, used } = await begun(KEYS, { price: null });
    use.sent({ isSent: true });
    expect(use.grow(0.1 * NANO)).toBe(true);
    exchange.end();
    expect(used()).toEqual([[0.5 * NANO]]);
    expect(use.grow(1)).toBe(false);
  });

  test("costs nothing that did not go out", async () => {
    const { exchange, use, used } = await begun(KEYS, { price: null });
    use.sent({ isSent: false });
    exchange.end();
    expect(used()).toEqual([[0]]);
  });

  test("that is given up for another attempt is settled at once, and counts as spent where its answer says nothing", async () => {
    const keys = [{ ...DOLLAR, budgets: [{ of: "tokens", limit: 1000, window: "1h" }] }];
    const { exchange, use, used } = await begun(keys, { price: null });
    use.sent({ isSent: true });
    use.lost();
    expect(used()).toEqual([[0.4 * NANO, 30]]);
    exchange.end();
    expect(used()).toEqual([[0.4 * NANO, 30]]);
  });

  test("for a model without a price gets a key without a budget in money, and is refused where there is none", async () => {
    await expect(begun(KEYS, { reserve: null })).rejects.toBeInstanceOf(ModelUnpriced);
    const { use } = await begun([DOLLAR, { id: "two", limit: 100, window: "1h" }], { reserve: null });
    expect(use.line).toBe("Authorization: Bearer two\r\n");
  });

  test("that costs more than any key holds is told so, and one that comes too late when it may come again", async () => {
    await expect(begun(KEYS, { reserve: 2 * NANO })).rejects.toMatchObject({ retryIn: Number.POSITIVE_INFINITY });
    await expect(begun(KEYS, { reserve: 2 * NANO })).rejects.toBeInstanceOf(PoolExhausted);
  });

  test("settles what it has grown to when Redis answers after its end", async () => {
    const [all] = (await (places["Redis, with two instances"] as () => Promise<Instance[]>)()) as [Instance];
    const exchange = exchangeOn(routeOf({ credential: { pool: "p" } }), all.clock);
    if (credential === null) throw new Error("no credential");
    const use = await CredentialUse.begin(all, exchange, credential, prompt, false, charge);
    use.sent({ isSent: true });
    const grown = use.grow(0.2 * NANO);
    exchange.end();
    expect(await grown).toBe(true);
    await all.pools.refresh();
    expect(all.used()).toEqual([[0.1 * NANO]]);
  });
});

describe("a pool with budgets in dollars, before a provider", () => {
  /** Ten cents for each token that comes back; what is sent costs nothing. */
  const PRICES = { m: { input: "0", output: "100000" } };
  const call = (gateway: { readonly url: string }, dollars: number, model = "m") =>
    fetch(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model, max_tokens: 10 * dollars, messages: [{ role: "user", content: "hi" }] }),
    });

  test("is spent to its end and no further, tells so in dollars, and takes no model without a price", async () => {
    using provider = modelProvider();
    const gateway = serving({
      prices: PRICES,
      tiers: { anonymous: { limits: [] } },
      pools: { p: { keys: [{ id: "one", secret: "sk-one", cost: "usd", limit: "10.50", window: "1h" }] } },
      routes: [{ name: "llm", path: "/v1", upstream: provider.url, stripPrefix: false, auth: "none", credential: { pool: "p" } }],
    });
    try {
      expect((await call(gateway, 6)).status).toBe(200);
      const shown = (await (await gateway.admin("GET", "/admin/pools/p")).json()) as { state: { keys: object[] } };
      expect(shown.state.keys).toMatchObject([
        { unit: "usd", remaining: 4.5, budgets: [{ of: "usd", limit: 10.5, window: "3600s", used: 6 }] },
      ]);
      expect(await (await fetch(`${gateway.url}/metrics`)).text()).toContain('sluice_pool_usd_remaining{pool="p",key="one"} 4.5');
      const answers = await Promise.all([4, 4, 4].map((dollars) => call(gateway, dollars)));
      const refused = answers.filter(({ status }) => status === 429);
      expect(refused).toHaveLength(2);
      expect(await refused[0]?.json()).toMatchObject({ code: "poolExhausted" });
      const never = await call(gateway, 11);
      expect(await never.json()).toMatchObject({ code: "costTooHigh", detail: expect.stringContaining("may cost 11 dollars") });
      expect(await (await call(gateway, 1, "another")).json()).toMatchObject({ code: "modelUnpriced", status: 403 });
      expect(gateway.faults).toEqual([]);
    } finally {
      await gateway.stop();
    }
  });
});
