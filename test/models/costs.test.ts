import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { type FakeModel, fakeModel } from "../support/fake-model.ts";
import { CALLER } from "../support/model-gateway.ts";
import { type ModelProvider, modelProvider } from "../support/model-provider.ts";
import { type Running, start } from "../support/process.ts";
import { until } from "../support/until.ts";

/** A dollar for a million tokens of the request, ten for a million of the answer. */
const PRICE = { input: "1", output: "10" };
const MICRO = 1e-6;

let provider: ModelProvider;
let hanging: FakeModel;
let gateway: Running;

beforeAll(async () => {
  provider = modelProvider();
  hanging = await fakeModel("hangs");
  const key = (secret: string) => ({ id: secret, secret, limit: 1_000_000, window: "1h" });
  const inDollars = (secret: string, limit: string) => ({ id: secret, secret, cost: "usd", limit, window: "1h" });
  const last = { upstream: provider.url, model: "last", pool: "last", fallback: true };
  const times = { firstToken: "400ms", giveUpAfter: "20s" };
  gateway = await start({
    config: {
      prices: { "*": PRICE },
      tiers: { plain: { limits: [{ name: "dollars", algorithm: "fixed-window", cost: "usd", limit: "1", window: "1h" }] } },
      consumers: [{ id: "acme", tier: "plain", keys: [CALLER] }],
      pools: {
        two: { keys: [key("sk-1"), key("sk-2")] },
        dead: { keys: [key("bad-1")] },
        poor: { keys: [inDollars("sk-poor", "0.000001")] },
        dollars: { keys: [inDollars("sk-dollars", "1")] },
        last: { keys: [inDollars("sk-last", "1")] },
      },
      models: {
        twice: { try: [{ upstream: provider.url, model: "first", pool: "two" }, last], ...times },
        alone: { try: [{ upstream: provider.url, model: "first", pool: "two" }], ...times },
        dead: { try: [{ upstream: provider.url, model: "first", pool: "dead" }, last], ...times },
        poor: { try: [{ upstream: provider.url, model: "first", pool: "poor" }, last], ...times },
        slow: { try: [{ upstream: hanging.url, model: "first", pool: "dollars" }, last], ...times },
      },
      routes: [{ name: "llm", path: "/v1", upstream: provider.url, stripPrefix: false, models: ["*"] }],
    },
  });
});

afterEach(() => {
  provider.seen.length = 0;
  provider.refuse.clear();
});

afterAll(async () => {
  await gateway.stop();
  provider[Symbol.dispose]();
  hanging[Symbol.dispose]();
});

const ask = (model: string, more: object = {}) =>
  fetch(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${CALLER}`, "content-type": "application/json" },
    body: JSON.stringify({ model, max_tokens: 10, messages: [{ role: "user", content: "Hello, model" }], ...more }),
  });

/** The keys that the provider was asked with, and for which models. */
const asked = () => provider.seen.filter(({ method }) => method === "POST").map(({ key, body }) => [key, body?.model]);

/** The dollars that the caller, and a pool's key, have spent. */
async function spent(): Promise<number> {
  const { limits } = (await (await gateway.admin("GET", "/admin/limits/acme")).json()) as {
    limits: { limit: number; remaining: number }[];
  };
  return limits.reduce((sum, { limit, remaining }) => sum + limit - remaining, 0);
}
async function usedOf(pool: string): Promise<number> {
  const { state } = (await (await gateway.admin("GET", `/admin/pools/${pool}`)).json()) as {
    state: { keys: { budgets: { used: number }[] }[] };
  };
  return state.keys[0]?.budgets[0]?.used ?? 0;
}

describe("the keys of an attempt's pool", () => {
  test("take each other's place where one is limited, before another model is asked", async () => {
    provider.refuse.set("sk-1", { status: 429, headers: { "retry-after": "1" } });
    const answer = await ask("twice");
    expect([answer.status, answer.headers.get("x-model-used")]).toEqual([200, "first"]);
    expect(asked()).toEqual([
      ["sk-1", "first"],
      ["sk-2", "first"],
    ]);
  });

  test("make room for another model where all are limited, and where none is left", async () => {
    await gateway.admin("POST", "/admin/pools/two/reset");
    for (const key of ["sk-1", "sk-2"]) provider.refuse.set(key, { status: 429, headers: { "retry-after": "60" } });
    for (const expected of [["sk-1", "sk-2", "sk-last"], ["sk-last"]]) {
      provider.seen.length = 0;
      const answer = await ask("twice");
      expect([answer.status, answer.headers.get("x-model-used")]).toEqual([200, "last"]);
      expect(asked().map(([key]) => key)).toEqual(expected);
    }
    await gateway.admin("POST", "/admin/pools/two/reset");
  });

  test("tell when the first of them may be used again, where there is nobody else", async () => {
    await gateway.admin("POST", "/admin/pools/two/reset");
    provider.refuse.set("sk-1", { status: 429, headers: { "retry-after": "900" } });
    provider.refuse.set("sk-2", { status: 429, headers: { "retry-after": "300" } });
    for (const isAsked of [true, false]) {
      provider.seen.length = 0;
      const answer = await ask("alone");
      expect([answer.status, asked().length > 0]).toEqual([502, isAsked]);
      const seconds = Number(answer.headers.get("retry-after"));
      expect(seconds).toBeGreaterThan(200);
      expect(seconds).toBeLessThanOrEqual(300);
    }
    await gateway.admin("POST", "/admin/pools/two/reset");
  });

  test("make room where the provider knows none of them", async () => {
    const answer = await ask("dead");
    expect([answer.status, answer.headers.get("x-model-used")]).toEqual([200, "last"]);
  });

  test("make room where their budget in dollars holds no such request", async () => {
    const answer = await ask("poor");
    expect([answer.status, answer.headers.get("x-model-used"), asked().length]).toEqual([200, "last", 1]);
  });
});

test("what failed for nothing costs nothing, and an answer what it says", async () => {
  const before = [await spent(), await usedOf("last")];
  const answer = await ask("dead");
  const { usage } = (await answer.json()) as { usage: { prompt_tokens: number; completion_tokens: number } };
  const cost = (usage.prompt_tokens + 10 * usage.completion_tokens) * MICRO;
  expect(Number(answer.headers.get("x-cost"))).toBeCloseTo(cost, 9);
  await until(async () => Math.abs((await spent()) - (before[0] ?? 0) - cost) < 1e-9);
  expect((await usedOf("last")) - (before[1] ?? 0)).toBeCloseTo(cost, 9);
});

test("a loser that was sent keeps what was reserved for it, at its pool's key as well as at the caller's limits", async () => {
  const before = [await spent(), await usedOf("dollars"), await usedOf("last")];
  const answer = await ask("slow", { stream: true, stream_options: { include_usage: true } });
  const text = await answer.text();
  expect(answer.headers.get("x-model-used")).toBe("last");
  const [, prompt, completion] = /"prompt_tokens":(\d+),"completion_tokens":(\d+)/.exec(text) ?? [];
  const cost = (Number(prompt) + 10 * Number(completion)) * MICRO;
  const reserved = (await usedOf("dollars")) - (before[1] ?? 0);
  // Ten tokens of an answer, and what the request is estimated to be.
  expect(reserved).toBeGreaterThan(100 * MICRO);
  expect(reserved).toBeLessThan(120 * MICRO);
  await until(async () => Math.abs((await spent()) - (before[0] ?? 0) - cost - reserved) < 1e-9);
  expect((await usedOf("last")) - (before[2] ?? 0)).toBeCloseTo(cost, 9);
});
