// Tokens of a certified issuer (npm oidc-provider), while its keys change, while strangers send tokens of keys that it never had, and while it is gone.
import { expect, test } from "bun:test";
import { type Issuer, startIssuer } from "../../support/issuer.ts";
import { type Running, start } from "../../support/process.ts";

/** A gateway before a backend, with an issuer whose machines may read orders. */
async function startAll() {
  const issuer = await startIssuer();
  const orders = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("ok") });
  const gateway = await start({
    config: {
      logging: { accessLog: false },
      anonymousTier: "free",
      tiers: { free: { limits: [] }, gold: { limits: [] } },
      issuers: {
        main: {
          issuer: issuer.url,
          audience: ["api", "urn:opaque"],
          tier: { claim: "plan", map: { gold: "gold" }, default: "free" },
          introspection: { endpoint: `${issuer.url}/token/introspection`, clientId: "shop", clientSecret: "a-client-secret-0123456789" },
        },
      },
      routes: [{ path: "/orders", upstream: `http://127.0.0.1:${orders.port}`, scopes: ["orders:read"], tiers: ["gold"], retry: null }],
    },
  });
  return {
    issuer,
    gateway,
    [Symbol.asyncDispose]: async () => {
      await gateway[Symbol.asyncDispose]();
      await orders.stop(true);
      await issuer[Symbol.asyncDispose]();
    },
  };
}

const ask = async ({ url }: Running, token: string): Promise<number> => {
  const answer = await fetch(`${url}/orders`, { headers: { authorization: `Bearer ${token}` } });
  await answer.text();
  return answer.status;
};

/** Gets several tokens of the issuer's newest key. */
const tokensOf = (issuer: Issuer, count: number) => Promise.all(Array.from({ length: count }, () => issuer.token()));

/** Sends `perSecond` requests a second until told to stop; gives how many got which status. */
function load(gateway: Running, perSecond: number, next: () => string) {
  const EVERY = 5;
  const statuses: Record<number, number> = {};
  const pending = new Set<Promise<void>>();
  const beganAt = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    // By the time that has passed: a timer that comes late must not make it less.
    const due = ((performance.now() - beganAt) * perSecond) / 1000;
    for (; sent < due; sent++) {
      const one = ask(gateway, next()).then((status) => {
        statuses[status] = (statuses[status] ?? 0) + 1;
        pending.delete(one);
      });
      pending.add(one);
    }
  }, EVERY);
  return {
    get sent() {
      return sent;
    },
    stop: async () => {
      clearInterval(timer);
      await Promise.all(pending);
      return statuses;
    },
  };
}

test("good tokens get no 401 while the issuer's keys change five times under 2,000 requests a second", async () => {
  await using all = await startAll();
  const { issuer, gateway } = all;
  // Those of the last three keys: the issuer's set has as many.
  let generations = [await tokensOf(issuer, 10)];
  const running = load(gateway, 2000, () => {
    const newest = generations.at(-1) ?? [];
    const any = generations[Math.floor(Math.random() * generations.length)] ?? newest;
    return any[Math.floor(Math.random() * any.length)] ?? "";
  });
  for (let rotation = 0; rotation < 5; rotation++) {
    const until = running.sent + 3000;
    while (running.sent < until) await Bun.sleep(20);
    await issuer.rotate();
    generations = [...generations, await tokensOf(issuer, 10)].slice(-3);
  }
  const until = running.sent + 2000;
  while (running.sent < until) await Bun.sleep(20);
  const { sent } = running;
  expect(await running.stop()).toEqual({ 200: sent });
  expect(sent).toBeGreaterThanOrEqual(17_000);
  // One look at the keys at the start, and one for each key that was new; one more where it was asked in the moment before.
  expect((await issuer.counts()).keys).toBeLessThanOrEqual(11);
});

/** A token of this issuer that a key signed which it does not have. */
const forged = (issuer: string): string => {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: issuer, aud: "api", sub: "shop", scope: "orders:read", iat: now, exp: now + 600 };
  const signature = Buffer.from(crypto.getRandomValues(new Uint8Array(256))).toString("base64url");
  return `${part({ alg: "RS256", typ: "at+jwt", kid: crypto.randomUUID() })}.${part(claims)}.${signature}`;
};

test("10,000 tokens with made-up key ids cost the issuer at most eight fetches, and a good token of a new key passes within 6 s", async () => {
  await using all = await startAll();
  const { issuer, gateway } = all;
  const old = await issuer.token();
  expect(await ask(gateway, old)).toBe(200);
  const before = await issuer.counts();
  const running = load(gateway, 400, () => forged(issuer.url));
  while (running.sent < 4000) await Bun.sleep(20);
  await issuer.rotate();
  const fresh = await issuer.token();
  const beganAt = performance.now();
  while ((await ask(gateway, fresh)) !== 200) if (performance.now() - beganAt > 6000) break;
  const passedAfter = performance.now() - beganAt;
  expect(await ask(gateway, fresh)).toBe(200);
  expect(passedAfter).toBeLessThanOrEqual(6000);
  while (running.sent < 10_000) await Bun.sleep(20);
  const statuses = await running.stop();
  // Refused, and never taken for a guess that blocks the address: the good ones went on.
  expect(Object.keys(statuses)).toEqual(["401"]);
  expect(await ask(gateway, old)).toBe(200);
  expect((await issuer.counts()).keys - before.keys).toBeLessThanOrEqual(8);
}, 120_000);

test("tokens are good while their issuer is gone, new ones of a known key as well", async () => {
  await using all = await startAll();
  const { issuer, gateway } = all;
  const [seen = "", unseen = ""] = await tokensOf(issuer, 2);
  expect(await ask(gateway, seen)).toBe(200);
  await issuer.kill();
  expect([await ask(gateway, seen), await ask(gateway, unseen)]).toEqual([200, 200]);
  // One of a key that nobody knows can't be judged now.
  expect([401, 503]).toContain(await ask(gateway, forged(issuer.url)));
});

test("opaque tokens are asked about at the issuer, and remembered", async () => {
  await using all = await startAll();
  const { issuer, gateway } = all;
  const token = await issuer.token("opaque");
  for (let i = 0; i < 5; i++) expect(await ask(gateway, token)).toBe(200);
  expect((await issuer.counts()).introspections).toBe(1);
  await issuer.kill();
  expect(await ask(gateway, token)).toBe(200);
  expect(await ask(gateway, "an-opaque-token-of-nobody-0123456789")).toBe(503);
});
