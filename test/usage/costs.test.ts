import { afterAll, beforeAll, expect, test } from "bun:test";
import { MAX_CALLED } from "../../src/usage/intake.ts";
import { dollarsOf } from "../../src/values/money.ts";
import { type BillingProvider, billingProvider, PRICE } from "../support/billing-provider.ts";
import { FakeClock } from "../support/clock.ts";
import { serving } from "../support/serving.ts";
import { until } from "../support/until.ts";

const KEY = "a-key-of-a-caller-0123";
const NOW = Date.parse("2026-11-21T10:30:00Z");
let provider: BillingProvider;
beforeAll(() => {
  provider = billingProvider();
});
afterAll(() => provider[Symbol.dispose]());

const configFor = (more: object = {}) => ({
  selfService: {},
  prices: { exact: PRICE, "th*": PRICE, zero: PRICE },
  tiers: { plain: { limits: [] }, anonymous: { limits: [] } },
  consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
  routes: [
    { name: "llm", path: "/llm", upstream: provider.url, usage: "auto" },
    { name: "plain", path: "/plain", upstream: provider.url },
  ],
  ...more,
});
type Serving = ReturnType<typeof serving>;
const call = async (gateway: Serving, model: string, path = "/llm", more: object = {}) => {
  const body = JSON.stringify({ model, max_tokens: 30, messages: [{ role: "user", content: "hello" }], ...more });
  const headers = { "x-api-key": KEY, "content-type": "application/json" };
  const answer = await fetch(`${gateway.url}${path}/v1/chat/completions`, { method: "POST", headers, body });
  await answer.arrayBuffer();
  return answer.status;
};
/** Gives what the provider has billed for models between two of its bills, in dollars. */
const billed = (models: readonly string[], from: number, to?: number): number => {
  const bills = provider.bills.slice(from, to).filter(({ model }) => models.includes(model));
  return bills.reduce((sum, { cost }) => sum + cost, 0) / 1e9;
};
const usageOf = async (gateway: Serving, query: string) =>
  ((await (await gateway.admin("GET", `/admin/usage${query}`)).json()) as { items: { requests: number; cost: number }[] }).items;
const metricOf = async (gateway: Serving) => {
  const text = await (await gateway.admin("GET", "/metrics")).text();
  return text.split("\n").filter((line) => line.startsWith("sluice_usage_cost_usd_total{"));
};

test("usage tells what each model has cost, to the nano-dollar, by consumer, key, route and day, to operators and to the caller", async () => {
  const gateway = serving(configFor(), new FakeClock(NOW));
  const since = provider.bills.length;
  for (const model of ["exact", "thinking", "zero"]) for (const stream of [true, false]) await call(gateway, model, "/llm", { stream });
  const to = provider.bills.length;
  const [exact, thinking] = [billed(["exact"], since, to), billed(["thinking"], since, to)];
  await call(gateway, "exact", "/plain");
  await until(async () => (await usageOf(gateway, ""))[0]?.requests === 7);
  expect(await usageOf(gateway, "?by=route,model")).toMatchObject([
    { route: "llm", model: "exact", requests: 2, cost: exact },
    { route: "llm", model: "thinking", requests: 2, cost: thinking },
    { route: "llm", model: "zero", requests: 2, cost: 0 },
    // Nobody looks which model it is where nothing depends on it.
    { route: "plain", model: "", requests: 1, cost: 0 },
  ]);
  expect(await usageOf(gateway, "?by=consumer&model=thinking&per=day")).toMatchObject([
    { time: "2026-11-21T00:00:00.000Z", consumer: "acme", requests: 2, cost: thinking },
  ]);
  expect(await usageOf(gateway, "?tool=none")).toMatchObject([{ requests: 0, cost: 0 }]);
  const csv = await (await gateway.admin("GET", "/admin/usage?by=model&model=thinking&format=csv")).text();
  const [head, row] = csv.split("\r\n");
  expect([head, row?.split(",").at(-1)]).toEqual(["model,requests,errors,limited,tokens,cost", dollarsOf(Math.round(thinking * 1e9))]);
  const me = (await (await fetch(`${gateway.url}/api/v1/me`, { headers: { "x-api-key": KEY } })).json()) as { usage: object[] };
  expect(me.usage).toMatchObject([{ time: "2026-11-21T00:00:00.000Z", requests: 7, cost: billed(["exact", "thinking"], since, to) }]);
  expect(gateway.faults).toEqual([]);
  await gateway.stop();
});

test("a metric tells dollars by route and model: by the pattern of its price where the configuration has no name", async () => {
  const gateway = serving(configFor({ prices: { exact: PRICE, "ca*": PRICE }, unpriced: "zero" }));
  const since = provider.bills.length;
  for (const model of ["exact", "cached", "thinking"]) await call(gateway, model);
  await until(async () => (await metricOf(gateway)).length === 3);
  const told = (await metricOf(gateway)).map((line) => [line.slice(0, line.indexOf("}") + 1), Number(line.split(" ")[1]).toFixed(9)]);
  expect(told).toEqual([
    ['sluice_usage_cost_usd_total{route="llm",model="exact"}', billed(["exact"], since).toFixed(9)],
    ['sluice_usage_cost_usd_total{route="llm",model="ca*"}', billed(["cached"], since).toFixed(9)],
    // Without a price it counts as free.
    ['sluice_usage_cost_usd_total{route="llm",model="other"}', "0.000000000"],
  ]);
  await gateway.stop();
});

test("a model that the configuration names is told apart, however many others a caller has named before", async () => {
  // Nobody is there: what is called is told all the same.
  const routes = [{ name: "llm", path: "/llm", upstream: "http://127.0.0.1:1", usage: "auto" }];
  const gateway = serving(configFor({ unpriced: "zero", routes }));
  const names = Array.from({ length: MAX_CALLED }, (_, n) => `made-up-${n}`);
  await Promise.all(names.map((name) => call(gateway, name)));
  await call(gateway, "one-more");
  await call(gateway, "exact");
  const of = async (model: string) => (await usageOf(gateway, `?model=${model}`))[0]?.requests;
  expect([await of("exact"), await of("other"), await of("one-more")]).toEqual([1, 1, 0]);
  await gateway.stop();
});
