import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Backend, backend } from "../support/backend.ts";
import { FakeClock, START } from "../support/clock.ts";
import { serving } from "../support/serving.ts";

const DAY = 86_400_000;
const TRIAL = { name: "trial", algorithm: "fixed-window", limit: 2, window: "1h", shadow: true };

let behind: Backend;
let gateway: ReturnType<typeof serving>;
beforeAll(async () => {
  behind = backend();
  gateway = serving(
    {
      tiers: { anonymous: { limits: [] }, free: { limits: [TRIAL] } },
      consumers: [{ id: "acme", tier: "free", keys: ["acme-key-0123456789"] }],
      routes: [{ name: "shop", path: "/", upstream: behind.url }],
    },
    new FakeClock(START + DAY / 2),
  );
  await made("/admin/tiers", { name: "gold", limits: [{ algorithm: "fixed-window", limit: 100, window: "1h" }, TRIAL] });
  for (const id of ["one", "two"]) {
    await made("/admin/consumers", { id, tier: "gold" });
    await made("/admin/keys", { consumer: id, key: `${id}-key-0123456789` });
  }
});
afterAll(async () => {
  await gateway.stop();
  behind[Symbol.dispose]();
});

const json = async (answer: Promise<Response>) => {
  const { status } = await answer;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
  return { status, headers: (await answer).headers, json: (await (await answer).json()) as any };
};
const made = async (path: string, body: object): Promise<void> => {
  expect((await json(gateway.admin("POST", path, body))).status).toBe(201);
};
const call = async (consumer: string, times: number): Promise<number[]> => {
  const statuses: number[] = [];
  for (let i = 0; i < times; i++) {
    const answer = await fetch(gateway.url, { headers: { "x-api-key": `${consumer}-key-0123456789` } });
    await answer.text();
    statuses.push(answer.status);
  }
  return statuses;
};
const report = async (query = "") => (await json(gateway.admin("GET", `/admin/shadow${query}`))).json.items;
const arm = (owner: string, limit: string) => json(gateway.admin("POST", "/admin/shadow/arm", { owner, limit }));

describe("limits in shadow", () => {
  test("are listed with what they would have refused, by consumer, in the last day and week", async () => {
    expect((await report()).map(({ owner, limit, source }: Record<string, string>) => [owner, limit, source])).toEqual([
      ["tier free", "trial", "config"],
      ["tier gold", "trial", "admin"],
    ]);
    expect(await call("one", 5)).toEqual([200, 200, 200, 200, 200]);
    await call("two", 3);
    const [, gold] = await report();
    expect(gold).toMatchObject({ max: 2, unit: "requests", window: "3600s", algorithm: "fixed-window" });
    expect([gold.day, gold.week]).toEqual([
      { requests: 8, refused: 4 },
      { requests: 8, refused: 4 },
    ]);
    expect(gold.consumers.map(({ consumer, others, day }: Record<string, unknown>) => [consumer, others, day])).toEqual([
      ["one", false, { requests: 5, refused: 3 }],
      ["two", false, { requests: 3, refused: 1 }],
    ]);
    const [, shortened] = await report("?limit=1");
    expect(shortened.consumers.map(({ consumer, others, week }: Record<string, unknown>) => [consumer, others, week])).toEqual([
      ["one", false, { requests: 5, refused: 3 }],
      [null, true, { requests: 3, refused: 1 }],
    ]);
  });

  test("of yesterday are in the week alone", async () => {
    gateway.clock.advance(DAY);
    await call("two", 1);
    const [, gold] = await report();
    expect([gold.day, gold.week]).toEqual([
      { requests: 1, refused: 0 },
      { requests: 9, refused: 4 },
    ]);
  });

  test("of a consumer are listed when it has called, and armed in its record", async () => {
    const own = [TRIAL, { name: "other", algorithm: "concurrency", limit: 10 }];
    expect((await json(gateway.admin("PATCH", "/admin/consumers/two", { limits: own }))).status).toBe(200);
    await call("two", 1);
    expect((await report()).map(({ owner }: Record<string, string>) => owner)).toEqual(["tier free", "tier gold", "consumer two"]);
    const armed = await arm("consumer two", "trial");
    expect([armed.status, armed.json]).toEqual([200, { owner: "consumer two", limit: "trial", shadow: false }]);
    const record = await json(gateway.admin("GET", "/admin/consumers/two"));
    const { shadow: _, ...inForce } = TRIAL;
    expect(record.json.limits).toEqual([inForce, own[1]]);
    expect(record.headers.get("etag")).toBe(armed.headers.get("etag"));
  });

  test("are armed as a change of their record: audited, with If-Match, and from the next request on", async () => {
    const { headers } = await json(gateway.admin("GET", "/admin/tiers/gold"));
    const stale = fetch(`${gateway.url}/admin/shadow/arm`, {
      method: "POST",
      headers: { authorization: "Bearer an-admin-token-0123456789", "content-type": "application/json", "if-match": '"77"' },
      body: JSON.stringify({ owner: "tier gold", limit: "trial" }),
    });
    expect((await json(stale)).status).toBe(412);
    expect(headers.get("etag")).toBe('"1"');
    const armed = await arm("tier gold", "trial");
    expect([armed.status, armed.headers.get("etag")]).toEqual([200, '"2"']);
    // It goes on from what it has counted.
    expect(await call("one", 3)).toEqual([200, 200, 429]);
    const audit = (await json(gateway.admin("GET", "/admin/audit?limit=1"))).json.items[0];
    expect([audit.action, audit.subject]).toEqual(["tier.update", "tier gold"]);
    expect((await report()).map(({ owner }: Record<string, string>) => owner)).toEqual(["tier free"]);
    const again = await arm("tier gold", "trial");
    expect([again.status, again.json.detail]).toEqual([409, expect.stringContaining("is not in shadow")]);
  });

  test("that the file declares are changed there, and the answer says where", async () => {
    const { status, json: refusal } = await arm("tier free", "trial");
    expect(status).toBe(409);
    expect(refusal.detail).toContain('The tier "free" is managed by config.json: take tiers.free.limits[0].shadow away there');
  });

  test.each([
    ["tier silver", "trial", 404],
    ["tier gold", "none", 404],
    ["nobody", "trial", 404],
    ["consumer nobody", "trial", 404],
    ["key none", "trial", 404],
    ["route shop", "trial", 404],
  ])("%s %s can't be armed", async (owner, limit, status) => {
    expect((await arm(owner, limit)).status).toBe(status);
  });

  test("nothing of it failed", () => {
    expect(gateway.faults).toEqual([]);
  });
});
