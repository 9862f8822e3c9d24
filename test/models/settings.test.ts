import { expect, test } from "bun:test";
import { loadConfig } from "../../src/config/load.ts";
import { formatPath } from "../../src/schema/faults.ts";

const BASE = {
  upstreams: {
    openai: { targets: [{ url: "http://127.0.0.1:1" }] },
    calls: { targets: [{ url: "http://127.0.0.1:1" }], protocol: "grpc" },
  },
  pools: { keys: { keys: [{ id: "one", limit: 1, window: "1m" }] } },
};
const route = { path: "/v1", upstream: "openai", models: ["smart"] };
const attempt = { upstream: "openai", model: "gpt-5" };

const faultsOf = (smart: object, more: object = {}): string[] => {
  const loaded = loadConfig(JSON.stringify({ ...BASE, routes: [route], models: { smart }, ...more }), {});
  return "faults" in loaded ? loaded.faults.map(({ path, message }) => `${formatPath(path)}: ${message}`) : [];
};

test("a virtual model may say where its attempts go, with which keys, and what is tried again", () => {
  const full = { ...attempt, pool: "keys", header: "x-api-key", value: "Key {key}", weight: 9 };
  const on = ["429", "529", "4xx", "5xx", "timeout", "connect", "budget"];
  expect(faultsOf({ try: [full, { ...attempt, fallback: true }], on, firstToken: "1s", giveUpAfter: "1m" })).toEqual([]);
  expect(faultsOf({ try: [{ ...attempt, upstream: "http://127.0.0.1:9/v1" }] })).toEqual([]);
});

test.each([
  [{ try: [] }, "models.smart.try: "],
  [{}, "models.smart.try: "],
  [{ try: [{ ...attempt, upstream: "opneai" }] }, 'models.smart.try[0].upstream: there is no upstream "opneai"'],
  [{ try: [{ ...attempt, upstream: "calls" }] }, "models.smart.try[0].upstream: speaks gRPC"],
  [{ try: [{ ...attempt, model: "gpt 5" }] }, "models.smart.try[0].model: "],
  [{ try: [{ ...attempt, pool: "kyes" }] }, 'models.smart.try[0].pool: there is no pool "kyes", did you mean "keys"?'],
  [{ try: [{ ...attempt, header: "x-api-key" }] }, 'models.smart.try[0].header: means nothing without "pool"'],
  [{ try: [{ ...attempt, value: "{key}" }] }, 'models.smart.try[0].value: means nothing without "pool"'],
  [{ try: [{ ...attempt, pool: "keys", header: "Host" }] }, "models.smart.try[0].header: is Sluice's own to set"],
  [{ try: [{ ...attempt, pool: "keys", value: "Bearer" }] }, 'models.smart.try[0].value: must hold "{key}" once'],
  [{ try: [{ ...attempt, weight: 0 }] }, "models.smart.try[0].weight: "],
  [{ try: [attempt, { ...attempt, weight: 2, fallback: true }] }, "models.smart.try[1].weight: means nothing for a fallback"],
  [{ try: [{ ...attempt, fallback: true }] }, "models.smart.try: has fallbacks alone"],
  [{ try: [attempt], on: ["200"] }, "models.smart.on[0]: "],
  [{ try: [attempt], on: ["reset"] }, "models.smart.on[0]: "],
  [{ try: [attempt], firstToken: "0s" }, "models.smart.firstToken: must be from 1ms to 24h"],
  [{ try: [attempt], giveUpAfter: "25h" }, "models.smart.giveUpAfter: must be from 1ms to 24h"],
  [{ try: [attempt], firstToken: "31s" }, "models.smart.firstToken: must not be longer than giveUpAfter"],
])("the fault of %j is told", (smart, fault) => {
  expect(faultsOf(smart)).toEqual([expect.stringContaining(fault)]);
});

test("a name can't be a pattern, and a route's models must be names or patterns of them", () => {
  const named = (name: string) => faultsOf({ try: [attempt] }, { models: { [name]: { try: [attempt] } } });
  expect(named("sm*rt")[0]).toContain("models");
  expect(named("org/smart-1.5:beta")).toEqual([]);
  expect(faultsOf({ try: [attempt] }, { routes: [{ ...route, models: ["two words"] }] })[0]).toContain("routes[0].models[0]");
  expect(faultsOf({ try: [attempt] }, { routes: [{ path: "/v1", respond: { status: 204 }, models: ["*"] }] })[0]).toContain(
    "routes[0].models: means nothing beside respond",
  );
});
