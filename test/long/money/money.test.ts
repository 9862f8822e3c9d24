import { afterAll, beforeAll, describe, expect } from "bun:test";
import { type BillingProvider, billingProvider, MODELS, PRICE } from "../../support/billing-provider.ts";
import { type Folder, folder, type Running, start } from "../../support/process.ts";
import { partsOf, startAll } from "../../support/processes.ts";
import { having } from "../../support/programs.ts";
import { type RedisServer, redisServer } from "../../support/redis.ts";
import { until } from "../../support/until.ts";
import type { Call } from "./calls.ts";
import { accountsOf, callAll, DOLLAR, type Logged } from "./round.ts";

const { test } = having("python3", "redis-server");

/** The parallel streams, and how often they go for a dollar. */
const STREAMS = 200;
const ROUNDS = Number(process.env.SLUICE_TEST_ROUNDS ?? 10);
/** The calls that the provider has taken when the first kill comes. */
const KILLED_AFTER = 60;
const WORKERS = 3;

/** Where the dollar is: each round takes the next. */
const HOLDERS = ["limit", "quota", "pool"] as const;
type Holder = (typeof HOLDERS)[number];
const holderOf = (round: number): Holder => HOLDERS[round % HOLDERS.length] ?? "limit";
const isKilled = (round: number): boolean => round % 2 === 1;
const keyOf = (round: number): string => `a-key-of-round-${round}-0123456789`;

let home: Folder;
let provider: BillingProvider;
let redis: RedisServer;
beforeAll(async () => {
  home = folder();
  redis = await redisServer();
  const install = Bun.spawn(
    [
      ...["python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", home.path],
      ...["-r", `${import.meta.dir}/../sdk/requirements.txt`],
    ],
    { stdout: "ignore", stderr: "pipe" },
  );
  const said = await new Response(install.stderr).text();
  if ((await install.exited) !== 0) throw new Error(`pip can't install what requirements.txt names:\n${said}`);
}, 300_000);
afterAll(async () => {
  await redis?.[Symbol.asyncDispose]();
  home?.[Symbol.dispose]();
});

/** What ends a stream that needs more than there is. */
const SPENT = "The budget was used up";
const MONEY = { name: "dollar", cost: "usd", limit: "1.00" } as const;

/** A model whose first upstream stalls, and another one answers. */
const VIRTUAL = "smart";
/** Gives the models that callers name in a round. */
const modelsIn = (round: number): string[] => [
  ...Object.keys(MODELS).filter((model) => model !== "stalling"),
  ...(holderOf(round) === "pool" ? [] : [VIRTUAL]),
];

const rounds = <T>(of: (round: number) => T): T[] => Array.from({ length: ROUNDS }, (_, round) => of(round));
const inRounds = <T>(holder: Holder, of: (round: number) => T): T[] =>
  rounds((round) => (holderOf(round) === holder ? [of(round)] : [])).flat();

const configFor = (url: string, more: object = {}) => ({
  guard: null,
  prices: { "*": PRICE },
  // Which fails often, and is asked again all the same.
  upstreams: { provider: { targets: [{ url }], breaker: null } },
  models: {
    [VIRTUAL]: {
      try: [
        { upstream: "provider", model: "stalling" },
        { upstream: "provider", model: "exact", fallback: true },
      ],
      firstToken: "200ms",
    },
  },
  tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
  pools: Object.fromEntries(
    inRounds("pool", (round) => [
      `pool-${round}`,
      { keys: [{ id: "one", secret: "sk-pool-1", cost: "usd", limit: "1.00", window: "30d" }] },
    ]),
  ),
  consumers: rounds((round) => ({
    id: `round-${round}`,
    tier: "plain",
    keys: [keyOf(round)],
    ...(holderOf(round) === "limit" ? { limits: [{ ...MONEY, algorithm: "fixed-window", window: "30d" }] } : {}),
    ...(holderOf(round) === "quota" ? { quota: { ...MONEY, period: "month" } } : {}),
  })),
  routes: rounds((round) => ({
    ...{ name: `round-${round}`, path: `/round-${round}`, upstream: "provider" },
    ...(holderOf(round) === "pool" ? { credential: { pool: `pool-${round}` } } : { usage: "auto", models: ["*"] }),
  })),
  ...more,
});

/** Is one gateway, of one or several processes or instances. */
interface Setup {
  readonly bases: readonly string[];
  /** Ends one of its processes as a crash would, and waits until another serves in its place. */
  crash(): Promise<void>;
  /** Gives all that its processes have printed, those that have ended too. */
  output(): string;
  /** Gives its instances. */
  readonly instances: () => readonly Running[];
  [Symbol.asyncDispose](): Promise<void>;
}

async function alone(config: object): Promise<Setup> {
  const data = folder();
  let gateway = await start({ config, cwd: data.path });
  const { url, port } = gateway;
  let before = "";
  return {
    bases: [url],
    crash: async () => {
      await gateway.stop("SIGKILL");
      before += gateway.output();
      gateway = await start({ cwd: data.path, port });
    },
    output: () => before + gateway.output(),
    instances: () => [gateway],
    [Symbol.asyncDispose]: async () => {
      await gateway[Symbol.asyncDispose]();
      data[Symbol.dispose]();
    },
  };
}

async function ofWorkers(config: object): Promise<Setup> {
  const gateway = await startAll({ config: { ...config, server: { workers: WORKERS } } });
  const workers = () => partsOf(gateway.pid).filter(({ name }) => name !== "keeper");
  return {
    bases: [gateway.url],
    crash: async () => {
      const killed = workers()[0]?.pid ?? 0;
      process.kill(killed, "SIGKILL");
      await until(() => workers().length === WORKERS && workers().every(({ pid }) => pid !== killed));
    },
    output: () => gateway.output(),
    instances: () => [gateway],
    [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose](),
  };
}

async function ofInstances(config: object): Promise<Setup> {
  const setups = await Promise.all([alone(config), alone(config)]);
  const [first] = setups;
  return {
    bases: setups.flatMap(({ bases }) => bases),
    crash: () => first.crash(),
    output: () => setups.map((setup) => setup.output()).join(""),
    instances: () => setups.flatMap((setup) => setup.instances()),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(setups.map((setup) => setup[Symbol.asyncDispose]()));
    },
  };
}

/** Reads the lines of a gateway's calls in a round. */
function loggedIn(setup: Setup, round: number): Map<string, Logged> {
  const lines = setup.output().split("\n");
  const own = lines.filter((line) => line.includes(`"requestId":"round-${round}-`)).map((line) => JSON.parse(line) as Logged);
  return new Map(own.filter(({ status }) => status !== 0).map((line) => [line.requestId, line]));
}

/** Gives what of the dollar is used, in nano-dollars, as the gateway itself says. */
async function usedOf(setup: Setup, round: number): Promise<number> {
  const gateway = setup.instances().at(-1);
  if (gateway === undefined) return -1;
  const nano = (dollars: number): number => Math.round(dollars * DOLLAR);
  if (holderOf(round) === "pool") {
    const { state } = (await (await gateway.admin("GET", `/admin/pools/pool-${round}`)).json()) as {
      state: { keys: { budgets: { of: string; used: number }[] }[] };
    };
    return nano(state.keys[0]?.budgets.find(({ of }) => of === "usd")?.used ?? -1);
  }
  const { limits } = (await (await gateway.admin("GET", `/admin/limits/round-${round}`)).json()) as { limits: { used: number }[] };
  return nano(limits[0]?.used ?? -1);
}

/** Gives what of usage the instances know together, in nano-dollars. */
async function usageOf(setup: Setup, round: number): Promise<number> {
  const costs = setup.instances().map(async (gateway) => {
    const { items } = (await (await gateway.admin("GET", `/admin/usage?consumer=round-${round}`)).json()) as { items: { cost: number }[] };
    return Math.round((items[0]?.cost ?? 0) * DOLLAR);
  });
  return (await Promise.all(costs)).reduce((sum, cost) => sum + cost, 0);
}

/** Lets all callers go for one dollar. Gives the number of streams that were ended since there was no more. */
async function play(setup: Setup, round: number): Promise<number> {
  const begun = provider.bills.length;
  const calling = callAll(
    {
      ...{ name: `round-${round}`, bases: setup.bases.map((base) => `${base}/round-${round}`), key: keyOf(round) },
      ...{ models: modelsIn(round), streams: STREAMS, refusals: 4, most: 100, seed: 1000 * round },
    },
    { program: "python3", path: home.path },
  );
  if (isKilled(round)) {
    await until(() => provider.bills.length - begun > KILLED_AFTER, 60_000);
    await setup.crash();
  }
  const calls = await calling;
  await until(() => provider.open === 0, 60_000);
  const answered = calls.filter(({ status }) => status === 200);
  if (!isKilled(round)) await until(() => answered.every(({ id }) => loggedIn(setup, round).has(id)));
  const bills = provider.bills.filter(({ id }) => id.startsWith(`round-${round}-`));
  const accounts = accountsOf(bills, new Map(calls.map((call) => [call.id, call])), loggedIn(setup, round));
  // What is used is what was charged, as soon as all instances know; a process that was killed has left what it had reserved.
  const isTold = (used: number): boolean => (isKilled(round) ? used >= accounts.charged : used === accounts.charged);
  await until(async () => isTold(await usedOf(setup, round)));
  const used = await usedOf(setup, round);
  const cut = calls.filter(({ fault }) => fault?.includes(SPENT)).length;
  console.log(
    `${holderOf(round)}${isKilled(round) ? ", killed" : ""}: ${calls.length} calls, ${bills.length} taken, ${cut} cut; billed ${accounts.billed}, charged ${accounts.charged}, used ${used}, missed ${accounts.missed}, beyond ${accounts.beyond}`,
  );
  expect(modelsIn(round).filter((model) => !calls.some((call) => call.model === model && bills.some(({ id }) => id === call.id)))).toEqual(
    [],
  );
  expect(used).toBeLessThanOrEqual(DOLLAR + accounts.beyond);
  expect(accounts.billed).toBeLessThanOrEqual(DOLLAR + accounts.missed + accounts.beyond);
  if (isKilled(round)) return cut;
  expect(calls.filter(isOdd).slice(0, 5)).toEqual([]);
  expect(await usageOf(setup, round)).toBe(accounts.charged);
  // All of it can be spent: what nobody needed is given back.
  expect(accounts.charged).toBeGreaterThan((DOLLAR * 95) / 100);
  return cut;
}

/** Tells whether a call has failed otherwise than the provider makes some fail, and the dollar others. */
function isOdd({ status, fault = "", model }: Call): boolean {
  if (status === 200 || status === 429 || fault.includes(SPENT)) return false;
  // The second attempt finds no more, after what the first has cost, or comes late on a machine that has much to do.
  if (model === VIRTUAL) return status !== 502;
  return model !== "broken" && model !== "failing";
}

describe.each([
  ["a process", alone, {}],
  ["workers", ofWorkers, {}],
  ["two instances with Redis", ofInstances, { mode: "exact" }],
  ["two instances that take slices of what Redis holds", ofInstances, { mode: "leased" }],
] as const)("%s", (_name, open, mode) => {
  test(
    `${STREAMS} parallel streams of the providers' own clients spend a dollar and what the estimate missed, ${ROUNDS} times, also when callers leave and processes are killed`,
    async () => {
      using ownProvider = billingProvider();
      provider = ownProvider;
      const shared = "mode" in mode ? { redis: { url: redis.url, prefix: mode.mode, ...mode } } : {};
      await using setup = await open(configFor(provider.url, shared));
      let cut = 0;
      for (let round = 0; round < ROUNDS; round++) cut += await play(setup, round);
      expect(cut).toBeGreaterThan(0);
    },
    ROUNDS * 90_000,
  );
});
