// A gateway with made traffic, to look at the console: several routes, callers of all kinds, a backend that fails from time to time.
import { type Running, start } from "../test/support/process.ts";
import { type Backend, chatBody, MODELS, PRICES, provider, serve, TOOL_ROUTE, toolBody, toolServer } from "./model-traffic.ts";

/** Gives numbers from 0 up to 1, the same ones at each start. */
function randomly(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}

const CONSUMERS = [
  ["acme", "pro", 34],
  ["northwind", "pro", 22],
  ["blue-harbour", "pro", 15],
  ["tinyshop", "free", 12],
  ["field-notes", "free", 9],
  ["weekend-app", "free", 6],
  ["partner-eu", "partner", 28],
  ["intern-dashboard", "free", 3],
] as const;

const keyOf = (consumer: string): string => `a-made-key-of-${consumer}-0001`;

const DOLLARS_A_DAY = { name: "models-a-day", algorithm: "sliding-window", window: "1d", cost: "usd" } as const;
const DOLLARS_A_MONTH = { name: "models-a-month", period: "month", cost: "usd" } as const;
const KEY_A_DAY = { cost: "usd", limit: "20.00", window: "1d" } as const;

const limit = (name: string, most: number, window: string, more: object = {}) => ({
  ...{ name, algorithm: "sliding-window", limit: most, window },
  ...more,
});

/** What the made gateway stands in front of. */
type Name = "shop" | "search" | "models" | "europe" | "local" | "tools";

const at = (port: number) => ({ targets: [{ url: `http://127.0.0.1:${port}` }] });

/** Gives the configuration in front of these backends. */
export const demoConfig = (ports: Readonly<Record<Name, number>>) => ({
  ...{ prices: PRICES, models: MODELS },
  tiers: {
    anonymous: { limits: [limit("per-minute", 120, "1m")] },
    free: { limits: [limit("per-second", 6, "1s"), limit("per-day", 20_000, "1d")], quota: { limit: 300_000, period: "month" } },
    partner: {
      limits: [limit("per-second", 60, "1s", { degraded: 20 }), { ...DOLLARS_A_DAY, limit: "2.50" }],
      quota: [
        { limit: 5_000_000, period: "month" },
        { ...DOLLARS_A_MONTH, limit: "60.00" },
      ],
    },
    pro: {
      limits: [
        limit("per-second", 40, "1s", { degraded: 15 }),
        limit("steady", 1200, "1m", { shadow: true }),
        { ...DOLLARS_A_DAY, limit: "1.00" },
      ],
      quota: [
        { limit: 2_000_000, period: "month" },
        { ...DOLLARS_A_MONTH, limit: "25.00" },
      ],
    },
  },
  upstreams: {
    shop: {
      targets: [{ url: `http://127.0.0.1:${ports.shop}` }, { url: `http://localhost:${ports.shop}` }],
    },
    search: { ...at(ports.search), breaker: { failureThreshold: 20 } },
    ...{ models: at(ports.models), "models-eu": at(ports.europe), "models-local": at(ports.local), documents: at(ports.tools) },
    reports: { targets: [{ url: "http://127.0.0.1:1" }], breaker: { failureThreshold: 2 } },
  },
  pools: {
    models: {
      keys: [
        { ...KEY_A_DAY, id: "eu-1", secret: "sk-made-key-number-one", budgets: [{ of: "requests", limit: 240, window: "1m" }] },
        { ...KEY_A_DAY, id: "eu-2", secret: "sk-made-key-number-two", budgets: [{ of: "requests", limit: 240, window: "1m" }] },
        { id: "us-1", secret: "sk-made-key-number-three", limit: 900_000, window: "1m" },
      ],
      services: { chat: { cost: 1 } },
    },
  },
  routes: [
    { name: "catalogue", path: "/catalogue", upstream: "shop", cache: { ttl: "20s" }, auth: "optional" },
    { name: "orders", path: "/orders", upstream: "shop" },
    { name: "search", path: "/search", upstream: "search" },
    {
      ...{ name: "chat", path: "/chat", upstream: "models", stripPrefix: false, tiers: ["pro", "partner"] },
      ...{ credential: { pool: "models" }, models: ["smart", "fast", "gpt-5-mini"] },
    },
    { ...TOOL_ROUTE, upstream: "documents" },
    { name: "reports", path: "/reports", upstream: "reports" },
  ],
  activities: {},
  ...{ selfService: {}, admin: { editFile: true } },
  webhooks: [
    {
      ...{
        name: "on-call",
        url: `http://127.0.0.1:${ports.shop}/on-call`,
        secret: "whsec_bWFkZS1zZWNyZXQtb2YtdGhlLWRlbW8tMDEtbm90LXJlYWw=",
      },
      events: ["breaker.opened", "breaker.closed", "pool.empty", "target.down", "health.changed"],
    },
  ],
  // Wrong keys come from the same address as all others here.
  guard: { invalidKeyLimit: 10_000 },
  consumers: CONSUMERS.map(([id, tier]) => ({ id, tier, keys: [keyOf(id)] })),
});

const backend = (answerAfter: () => number, failing: () => boolean): Promise<Backend> =>
  serve(answerAfter, (_, response) => {
    response.statusCode = failing() ? 502 : 200;
    return { ok: true };
  });

/** Holds a gateway with made traffic. */
export interface Demo {
  readonly gateway: Running;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts the gateway, its backends and the traffic: about 100 requests a second. */
export async function startDemo(): Promise<Demo> {
  const random = randomly(7);
  const shop = await backend(
    () => 4 + random() * 12 + (random() < 0.03 ? 90 : 0),
    () => false,
  );
  const search = await backend(
    () => 18 + random() * 60 + (random() < 0.05 ? 250 : 0),
    () => random() < 0.02,
  );
  const [models, europe, local] = [await provider(random, 0.06), await provider(random, 0.02), await provider(random, 0)];
  const tools = await toolServer(random);
  const config = demoConfig({
    ...{ shop: shop.port, search: search.port },
    ...{ models: models.port, europe: europe.port, local: local.port, tools: tools.port },
  });
  const gateway = await start({ config, env: { SLUICE_SECRET: "a-secret-that-only-the-demo-has-01" } });
  await makeChanges(gateway);
  const timer = setInterval(() => void callAll(gateway.url, random), 100);
  return {
    gateway,
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await gateway.stop();
      for (const { server } of [shop, search, models, europe, local, tools]) {
        server.closeAllConnections();
        server.close();
      }
    },
  };
}

/** Makes what people make by the API: rules with their reasons, callers with keys, and batches of activities, one of which can't take effect. */
async function makeChanges(gateway: Running): Promise<void> {
  const say = async (method: string, path: string, body: object, note = ""): Promise<void> => {
    const answer = await gateway.admin(method, path, body, note === "" ? {} : { "x-sluice-note": note });
    if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`);
  };
  const trial = { name: "trial", limits: [limit("per-minute", 30, "1m")], selfService: { keys: 3, scopes: ["read"] } };
  await say("POST", "/admin/tiers", trial, "for the fair in March");
  const target = { url: "http://127.0.0.1:1", weight: 1 };
  await say("POST", "/admin/upstreams", { name: "invoices", targets: [target] }, "the new billing service");
  await say(
    "POST",
    "/admin/routes",
    { name: "invoices", path: "/invoices", upstream: "invoices", tiers: ["pro"] },
    "the new billing service",
  );
  await say("PATCH", "/admin/tiers/trial", { limits: [limit("per-minute", 60, "1m")] }, "30 was too few for the app's first screen");
  for (const [id, name] of [
    ["lighthouse", "Lighthouse Books"],
    ["orchard", "Orchard Analytics"],
    ["riverside", "Riverside Deliveries"],
  ] as const) {
    await say("POST", "/admin/consumers", { id, name, tier: "trial" });
    await say("POST", "/admin/keys", { consumer: id, name: "server", scopes: ["read"], expiresAt: "2027-06-30T00:00:00Z" });
  }
  const lists = { colNames: ["id", "title"], colTypes: ["INTEGER", "TEXT"] };
  const activities = [
    { operation: "insert", table: "orders", ...lists, colValues: [7, "boots"] },
    { operation: "delete", table: "returns", oldValue: { ...lists, colValues: [1, "hat"] } },
  ];
  const headers = { "x-api-key": keyOf("acme") };
  await fetch(`${gateway.url}/api/activities`, { method: "POST", headers, body: JSON.stringify({ activities }) });
}

/** What a call of a model or tool carries beside its key. */
const POSTED = { "content-type": "application/json", accept: "application/json, text/event-stream" };

/** Sends what comes in a tenth of a second. */
async function callAll(url: string, random: () => number): Promise<void> {
  // A slow swell, so that lines are no straight ones.
  const swell = 0.75 + 0.25 * Math.sin(Date.now() / 9000) + 0.1 * Math.sin(Date.now() / 2100);
  const calls: Promise<unknown>[] = [];
  const call = (path: string, key: string | null, body: object | null = null): void => {
    const headers: Record<string, string> = key === null ? {} : { "x-api-key": key };
    const posts = { method: "POST", headers: { ...headers, ...POSTED }, body: JSON.stringify(body) };
    calls.push(
      fetch(url + path, body === null ? { headers } : posts).then(
        (answer) => answer.arrayBuffer(),
        () => null,
      ),
    );
  };
  for (const [consumer, tier, rate] of CONSUMERS) {
    let due = (rate * swell) / 10;
    while (random() < due) {
      due--;
      const at = random();
      if (at > 0.93 && (tier !== "free" || random() < 0.03)) call("/chat/completions", keyOf(consumer), chatBody(random));
      else if (at > 0.9) call(TOOL_ROUTE.path, keyOf(consumer), toolBody(random));
      else call(at < 0.4 ? `/catalogue/items/${Math.floor(random() * 40)}` : at < 0.7 ? "/orders" : "/search?q=boots", keyOf(consumer));
    }
  }
  if (random() < 0.3) call(`/catalogue/items/${Math.floor(random() * 40)}`, null);
  if (random() < 0.04) call("/orders", null);
  if (random() < 0.03) call("/orders", "a-key-that-nobody-has-0000");
  if (random() < 0.02) call("/reports/2026", keyOf("acme"));
  if (random() < 0.02) call("/wp-login.php", null);
  await Promise.all(calls);
}
