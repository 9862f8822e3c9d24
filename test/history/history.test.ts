import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { HistoryResponse } from "../../src/history/admin.ts";
import { type Backend, backend } from "../support/backend.ts";
import { FakeClock, START } from "../support/clock.ts";
import { serving } from "../support/serving.ts";

const MINUTE = 60_000;

let behind: Backend;
let gateway: ReturnType<typeof serving>;
beforeAll(() => {
  behind = backend();
  gateway = serving(
    {
      tiers: { anonymous: { limits: [] }, free: { limits: [{ algorithm: "fixed-window", limit: 3, window: "1h" }] } },
      consumers: [{ id: "acme", tier: "free", keys: ["acme-key-0123456789"] }],
      routes: [
        { name: "shop", path: "/shop", upstream: behind.url, auth: "optional" },
        { name: "status", path: "/", upstream: behind.url, auth: "optional" },
      ],
    },
    new FakeClock(START),
  );
});
afterAll(async () => {
  await gateway.stop();
  behind[Symbol.dispose]();
});

const call = async (path: string, headers: Record<string, string> = {}): Promise<number> => {
  const answer = await fetch(gateway.url + path, { headers });
  await answer.text();
  return answer.status;
};
const ask = async (query: string): Promise<HistoryResponse> => {
  const answer = await gateway.admin("GET", `/admin/history${query}`);
  expect(answer.status).toBe(200);
  return (await answer.json()) as HistoryResponse;
};
const LATELY = `?step=minute&from=${new Date(START - MINUTE).toISOString()}`;

describe("GET /admin/history", () => {
  test("tells requests, errors, refusals and latencies by route, as far as they have come", async () => {
    expect(await Promise.all([call("/shop"), call("/shop"), call("/status?code=404"), call("/status?code=503")])).toEqual([
      200, 200, 404, 503,
    ]);
    gateway.clock.advance(MINUTE);
    await call("/shop");
    const { step, from, to, total, items, series } = await ask(`${LATELY}&by=route`);
    expect([step, from, to]).toEqual(["1m", new Date(START - MINUTE).toISOString(), new Date(START + 2 * MINUTE).toISOString()]);
    expect(total).toMatchObject({ requests: 5, clientErrors: 1, errors: 1, limited: 0 });
    expect(total.p99).not.toBeNull();
    expect(items.reduce((sum, { requests }) => sum + requests, 0)).toBe(5);
    expect(series.map(({ name, others, total: its }) => [name, others, its.requests])).toEqual([
      ["shop", false, 3],
      ["status", false, 2],
    ]);
    expect((await ask(`${LATELY}&by=route&name=shop`)).items.reduce((sum, { requests }) => sum + requests, 0)).toBe(3);
  });

  test("tells what consumers have used, those without a key too, and which codes refused", async () => {
    const key = { "x-api-key": "acme-key-0123456789" };
    const statuses = [];
    for (let i = 0; i < 5; i++) statuses.push(await call("/shop", key));
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    const { series } = await ask(`${LATELY}&by=consumer`);
    expect(series.map(({ name, others, total }) => [name, others, total.requests, total.errors, total.limited])).toEqual([
      [null, false, 5, 1, 0],
      ["acme", false, 5, 0, 2],
    ]);
    expect(series[0]?.total).toMatchObject({ clientErrors: null, p50: null });
    const refusals = await ask(`${LATELY}&by=refusal`);
    expect(refusals.series.map(({ name, total }) => [name, total.requests])).toEqual([["rateLimited", 2]]);
    expect((await ask(`${LATELY}&by=consumer&name=`)).total.requests).toBe(5);
  });

  test("tells an hour the same as its minutes", async () => {
    const [minutes, hours] = await Promise.all([ask(LATELY), ask(`?step=hour&from=${new Date(START).toISOString()}`)]);
    expect([hours.items.length, hours.total]).toEqual([1, minutes.total]);
    expect((await ask("")).step).toBe("1h");
    expect((await ask(`?from=${new Date(START).toISOString()}`)).step).toBe("1m");
  });

  test.each([
    ["?by=tier", "by: must be one of route, consumer, refusal"],
    ["?step=day", "step: must be minute, hour, auto"],
    ["?name=shop", "name: needs ?by="],
    ["?limit=0", "limit: must be a whole number from 1 to 50"],
    ["?from=yesterday", "from: must be an RFC 3339 time"],
    ["?from=2026-11-22T00:00:00Z&to=2026-11-21T00:00:00Z", "from: must be before `to`"],
    ["?step=minute&by=route", "from: makes an answer of 17292 items, and there may be 5000"],
  ])("refuses %s and says why", async (query, why) => {
    const answer = await gateway.admin("GET", `/admin/history${query}`);
    expect([answer.status, ((await answer.json()) as { detail: string }).detail]).toEqual([422, expect.stringContaining(why)]);
  });

  test("nothing of it failed", () => {
    expect(gateway.faults).toEqual([]);
  });
});
