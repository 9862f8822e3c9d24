import { describe, expect, test } from "bun:test";
import { FakeClock } from "../support/clock.ts";
import { type ModelProvider, modelProvider } from "../support/model-provider.ts";
import { serving } from "../support/serving.ts";

const KEY = "a-key-of-acme-0123456789";
const OTHER = "a-key-of-other-0123456789";
/** Ten cents for each token that comes back, or a tenth of one; what is sent costs nothing. */
const PRICES = { m: { input: "0", output: "100000" }, cheap: { input: "0", output: "1000" } };

type Limits = { readonly limits?: readonly object[]; readonly quota?: object | readonly object[] };

/** A gateway before a provider, with the limits of a tier, or of the route. */
function gatewayOf(provider: ModelProvider, tier: Limits, more: object = {}, route: Limits = {}, clock?: FakeClock) {
  return serving(
    {
      prices: PRICES,
      pools: { p: { keys: [{ id: "k1", secret: "sk-1", limit: 1e9, window: "1h" }] } },
      tiers: { team: { limits: [], ...tier } },
      consumers: [
        { id: "acme", tier: "team", keys: [KEY] },
        { id: "other", tier: "team", keys: [OTHER] },
      ],
      routes: [
        { name: "models", path: "/v1", upstream: provider.url, stripPrefix: false, auth: "required", credential: { pool: "p" }, ...route },
        { name: "plain", path: "/plain", upstream: provider.url, auth: "required" },
      ],
      ...more,
    },
    clock,
  );
}

/** Calls a model, for so many dollars. */
const call = (
  gateway: { readonly url: string },
  dollars: number,
  body: { readonly model?: string; readonly stream?: boolean; readonly stream_options?: object } = {},
  key = KEY,
  headers: Record<string, string> = {},
) =>
  fetch(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${key}`, ...headers },
    body: JSON.stringify({
      model: "m",
      max_tokens: dollars * (body.model === "cheap" ? 1000 : 10),
      messages: [{ role: "user", content: "hi" }],
      ...body,
    }),
  });

const left = async (gateway: ReturnType<typeof serving>, consumer = "acme") =>
  (
    (await (await gateway.admin("GET", `/admin/limits/${consumer}`)).json()) as {
      limits: { name: string; used: number; remaining: number; unit: string }[];
    }
  ).limits;

async function using(
  tier: Limits,
  work: (gateway: ReturnType<typeof serving>, provider: ModelProvider) => Promise<void>,
  more: object = {},
  route: Limits = {},
) {
  using provider = modelProvider();
  const gateway = gatewayOf(provider, tier, more, route, new FakeClock(Date.UTC(2027, 2, 10, 12)));
  try {
    await work(gateway, provider);
    expect(gateway.faults).toEqual([]);
  } finally {
    await gateway.stop();
  }
}

const daily = (limit: string, more: object = {}) => ({ limit, period: "day", cost: "usd", ...more });

describe("a budget in money", () => {
  test("takes what a call may cost, keeps what it has cost, and refuses what is no longer there with the dollars in the answer", () =>
    using({ quota: daily("25") }, async (gateway) => {
      const first = await call(gateway, 10);
      expect([first.status, first.headers.get("ratelimit-policy")]).toEqual([200, '"daily";q=25000000000;w=86400;qu="nano-usd"']);
      expect(first.headers.get("ratelimit")).toBe('"daily";r=15000000000;t=43200');
      await first.text();
      expect(await left(gateway)).toMatchObject([{ name: "daily", unit: "usd", limit: 25, used: 10, remaining: 15 }]);
      await (await call(gateway, 12)).text();
      const refused = await call(gateway, 4);
      expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "43200"]);
      expect(await refused.json()).toMatchObject({
        code: "quotaExceeded",
        detail: "Of the $25 of daily (tier team) $22 are used, and this request may cost $4: a new period begins in 43200 seconds.",
        limit: 25,
        violatedPolicies: [
          { name: "daily", scope: "tier team", unit: "usd", limit: 25, used: 22, asked: 4, reset: "2027-03-11T00:00:00.000Z" },
        ],
      });
      // What still fits passes, and others have a budget of their own.
      expect([(await call(gateway, 3)).status, (await call(gateway, 25, {}, OTHER)).status]).toEqual([200, 200]);
      const spent = await call(gateway, 1);
      expect(await spent.json()).toMatchObject({ detail: "The $25 of daily (tier team) are spent: a new period begins in 43200 seconds." });
    }));

  test("gives back what a call has not cost: an error of the provider costs nothing", () =>
    using({ limits: [{ algorithm: "fixed-window", limit: "5.5", window: "1h", cost: "usd" }] }, async (gateway) => {
      for (let i = 0; i < 3; i++) expect((await call(gateway, 5, { model: "m", stream_options: {} })).status).toBe(400);
      expect(await left(gateway)).toMatchObject([{ limit: 5.5, used: 0 }]);
      await (await call(gateway, 0.5, { model: "cheap" })).text();
      expect(await left(gateway)).toMatchObject([{ used: 0.5, remaining: 5 }]);
    }));

  test("refuses what it could never hold with 413, since no waiting changes that", () =>
    using({ quota: daily("2") }, async (gateway) => {
      const refused = await call(gateway, 3);
      expect([refused.status, refused.headers.get("retry-after")]).toEqual([413, null]);
      expect(await refused.json()).toMatchObject({
        code: "costTooHigh",
        detail:
          "This request may cost $3, more than daily (tier team) ever holds ($2): ask for a shorter answer, for instance with a lower max_tokens, or for a cheaper model.",
        violatedPolicies: [{ name: "daily", unit: "usd", limit: 2, asked: 3 }],
      });
      expect(await left(gateway)).toMatchObject([{ used: 0 }]);
    }));

  test("is charged with all other limits or with none of them", () =>
    using({ limits: [{ algorithm: "fixed-window", limit: 2, window: "1h" }], quota: daily("4") }, async (gateway) => {
      await (await call(gateway, 3)).text();
      expect((await call(gateway, 2)).status).toBe(429);
      expect(await left(gateway)).toMatchObject([
        { unit: "requests", used: 1 },
        { unit: "usd", used: 3 },
      ]);
      await (await call(gateway, 1)).text();
      const limited = await call(gateway, 1);
      // Both deny: the money is what lasts longer.
      expect(await limited.json()).toMatchObject({
        code: "quotaExceeded",
        violatedPolicies: [{ unit: "requests" }, { unit: "usd", asked: 1 }],
      });
    }));

  test("leaves alone what calls no model", () =>
    using({ quota: daily("1") }, async (gateway) => {
      const headers = { authorization: `Bearer ${KEY}` };
      await (await call(gateway, 1)).text();
      const listed = await fetch(`${gateway.url}/v1/models`, { headers });
      const plain = await fetch(`${gateway.url}/plain/x`, { headers });
      expect([listed.headers.get("ratelimit"), plain.headers.get("ratelimit")]).toEqual([null, null]);
      expect([listed.status, plain.status].includes(429)).toBe(false);
      expect((await call(gateway, 1)).status).toBe(429);
    }));

  test("refuses models without a price, also where nothing has one, and takes nothing for them", async () => {
    const tier = { limits: [{ algorithm: "fixed-window", limit: 9, window: "1h" }], quota: daily("1") };
    await using(tier, async (gateway, provider) => {
      const refused = await call(gateway, 1, { model: "other" });
      expect([refused.status, await refused.json()]).toMatchObject([
        403,
        { code: "modelUnpriced", detail: expect.stringContaining('"other"') },
      ]);
      expect([(await left(gateway)).map(({ used }) => used), provider.seen.length]).toEqual([[0, 0], 0]);
    });
    await using(
      tier,
      async (gateway, provider) => {
        expect((await call(gateway, 1)).status).toBe(403);
        expect([(await left(gateway)).map(({ used }) => used), provider.seen.length]).toEqual([[0, 0], 0]);
      },
      { prices: null },
    );
    await using(
      tier,
      async (gateway) => {
        expect((await call(gateway, 1)).status).toBe(200);
      },
      { prices: null, unpriced: "zero" },
    );
  });

  test("in shadow counts and tells, and denies neither what is spent nor what has no price", () =>
    using(
      { limits: [{ name: "trial", algorithm: "fixed-window", limit: "2", window: "1h", cost: "usd", shadow: true }] },
      async (gateway) => {
        await (await call(gateway, 2)).text();
        const next = await call(gateway, 2);
        expect([next.status, next.headers.get("x-ratelimit-shadow")]).toEqual([200, '"trial";denied']);
        expect((await call(gateway, 2, { model: "other" })).status).toBe(200);
        expect((await call(gateway, 5)).status).toBe(200);
      },
    ));

  test("may be smaller while the system is DEGRADED", () =>
    using({ limits: [{ algorithm: "token-bucket", limit: "10", degraded: "0.5", window: "1h", cost: "usd" }] }, async (gateway) => {
      await gateway.admin("POST", "/admin/health", { status: "DEGRADED" });
      const refused = await call(gateway, 1);
      expect([refused.status, await refused.json()]).toMatchObject([
        429,
        { type: expect.stringContaining("temporary-reduced-capacity"), limit: 0.5 },
      ]);
      await gateway.admin("POST", "/admin/health", { status: "NORMAL" });
      expect((await call(gateway, 1)).status).toBe(200);
    }));

  test("holds for a route, and for each model or for each header where it says so", () =>
    using(
      {},
      async (gateway) => {
        expect([
          (await call(gateway, 2)).status,
          (await call(gateway, 1, {}, OTHER)).status,
          (await call(gateway, 1, { model: "cheap" })).status,
        ]).toEqual([200, 429, 200]);
      },
      {},
      { limits: [{ name: "each-model", algorithm: "fixed-window", limit: "2", window: "1h", cost: "usd", by: ["route", "model"] }] },
    ));

  test("in which parallel calls have reserved all there is lets no other pass", () =>
    using({ quota: daily("1") }, async (gateway) => {
      const answers = await Promise.all(Array.from({ length: 40 }, () => call(gateway, 0.125, { model: "cheap" })));
      // Eight have reserved an eighth each.
      expect(answers.filter(({ status }) => status === 200).length).toBeWithin(8, 9);
      await Promise.all(answers.map((answer) => answer.text()));
      expect(await left(gateway)).toMatchObject([{ used: 1, remaining: 0 }]);
    }));

  test("is explained where it and its neighbours hold, and to no more of them a model or a tool must be named", () =>
    using(
      { limits: [{ name: "tools", algorithm: "fixed-window", limit: 9, window: "1h", by: ["consumer", "tool"] }], quota: daily("3") },
      async (gateway) => {
        const explained = async (query: string) =>
          (await (await gateway.admin("GET", `/admin/explain?consumer=acme&${query}`)).json()) as {
            allowed: boolean | null;
            refusal: { code: string } | null;
            limits: { name: string }[];
          };
        // Tools are called on routes of MCP alone.
        expect(await explained("route=models&model=m")).toMatchObject({ allowed: true, refusal: null, limits: [{ name: "daily" }] });
        expect(await explained("route=plain")).toMatchObject({ allowed: true, limits: [] });
        expect(await explained("route=models&model=nobody-knows")).toMatchObject({ allowed: false, refusal: { code: "modelUnpriced" } });
        expect(await explained("route=plain&model=nobody-knows")).toMatchObject({ allowed: true, refusal: null });
      },
    ));

  test("is told to its owner, to services that verify keys, and explained to operators", () =>
    using(
      { limits: [{ name: "plenty", algorithm: "fixed-window", limit: 9, window: "1h" }], quota: daily("3", { name: "money" }) },
      async (gateway) => {
        await (await call(gateway, 2)).text();
        const own = (await (await fetch(`${gateway.url}/api/v1/me`, { headers: { authorization: `Bearer ${KEY}` } })).json()) as {
          quotas: object[];
        };
        expect(own.quotas).toEqual([
          { name: "money", unit: "usd", limit: 3, remaining: 1, reset: "2027-03-11T00:00:00.000Z", scope: "tier team" },
        ]);
        const verify = async () =>
          (await gateway.admin("POST", "/v1/keys/verify", { key: KEY })).json() as Promise<{
            valid: boolean;
            code: string;
            limits: object[];
          }>;
        expect(await verify()).toMatchObject({
          valid: true,
          limits: [
            { name: "plenty", unit: "requests", remaining: 7 },
            { name: "money", unit: "usd", remaining: 1 },
          ],
        });
        const explained = async (query = "") =>
          (await (await gateway.admin("GET", `/admin/explain?consumer=acme&route=models${query}`)).json()) as {
            allowed: boolean;
            limits: object[];
          };
        expect(await explained()).toMatchObject({
          limits: [{ unit: "requests" }, { name: "money", unit: "usd", limit: 3, used: 2, remaining: 1, cost: 0, denies: false }],
        });
        await (await call(gateway, 1)).text();
        expect(await verify()).toMatchObject({ valid: false, code: "quotaExceeded" });
        expect(await explained()).toMatchObject({ allowed: false, limits: [{}, { name: "money", denies: true }] });
        // A key that may be used no more takes nothing.
        expect((await left(gateway)).map(({ used }) => used)).toEqual([3, 3]);
      },
      { selfService: {}, keyVerification: {} },
    ));
});
