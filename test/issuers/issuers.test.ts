import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { TokenCaller } from "../../src/issuers/caller.ts";
import { isFault } from "../../src/issuers/faults.ts";
import { Issuers } from "../../src/issuers/issuers.ts";
import { type ConsumerEntry, KeyRegistry } from "../../src/keys/registry.ts";
import type { Occurrence } from "../../src/telemetry/occurrences.ts";
import { makeKey } from "../../src/values/key-format.ts";
import { FakeClock } from "../support/clock.ts";
import { issuerConfig, type TestIssuer, testIssuer, until } from "../support/token-issuer.ts";

const MINUTE = 60_000;

let issuer: TestIssuer;
let clock: FakeClock;
let keys: KeyRegistry;
let issuers: Issuers;
let told: Occurrence[];

beforeEach(async () => {
  clock = new FakeClock();
  issuer = await testIssuer(clock.wall);
  keys = new KeyRegistry(
    () => ({ limits: [], quota: [] }),
    () => "anonymous",
  );
  told = [];
  issuers = new Issuers({ clock, keys, emit: (occurrence) => void told.push(occurrence) });
});
afterEach(() => {
  issuers.close();
  issuer[Symbol.dispose]();
});

const configure = (more: object = {}): void =>
  issuers.configure([["main", issuerConfig({ issuer: issuer.url, audience: ["api"], ...more })]]);
const introspecting = (more: object = {}): void =>
  configure({ introspection: { endpoint: `${issuer.url}/introspect`, clientId: "sluice", clientSecret: "a b:c", ...more } });

/** What is found of a token: the caller's name, or the code of what is wrong. */
async function find(token: string): Promise<string> {
  const found = await issuers.find(token, clock.wall());
  return isFault(found) ? found.code : found.id;
}

const consumer = (more: Partial<ConsumerEntry> = {}): ConsumerEntry => ({
  id: "main:alice",
  tier: "pro",
  enabled: true,
  limits: null,
  quota: null,
  models: null,
  ...more,
});

describe("a token", () => {
  test("is nobody's business without issuers", async () => {
    expect(issuers.takes(await issuer.token())).toBe(false);
    configure();
    expect(issuers.takes(await issuer.token())).toBe(true);
    expect(["slc_x", "an-opaque-token-0123456789", makeKey()].map((text) => issuers.takes(text))).toEqual([false, false, false]);
  });

  test("says who calls, and from then on is known at once", async () => {
    configure();
    const token = await issuer.token();
    expect(await find(token)).toBe("main:alice");
    expect(issuers.find(token, clock.wall())).toBeInstanceOf(TokenCaller);
    expect(issuers.get("main")?.counts).toMatchObject({ proven: 1, remembered: 1 });
  });

  test("that many requests show at once is proven once", async () => {
    configure();
    const token = await issuer.token();
    expect(await Promise.all(Array.from({ length: 50 }, () => find(token)))).toEqual(Array(50).fill("main:alice"));
    expect(issuers.get("main")?.counts.proven).toBe(1);
  });

  test("goes to the issuer that its iss names, exactly", async () => {
    configure();
    for (const iss of [`${issuer.url}/`, issuer.url.toUpperCase(), "https://other.example.com", "", undefined, 7, ["main"]])
      expect(await find(await issuer.token({ claims: { iss } }))).toBe("issuerUnknown");
    expect(issuers.strangers.issuerUnknown).toBe(7);
    expect(await find("eyJhbGciOiJub25lIn0.!.")).toBe("tokenInvalid");
    expect(issuers.strangers.tokenInvalid).toBe(1);
  });

  test("is remembered for 5 minutes, and no longer than it is good", async () => {
    configure();
    const long = await issuer.token();
    const short = await issuer.token({ claims: { exp: clock.wall() / 1000 + 60 } });
    for (const token of [long, short]) await find(token);
    clock.advance(MINUTE + 29_999);
    expect(issuers.find(short, clock.wall())).toBeInstanceOf(TokenCaller);
    clock.advance(1);
    expect(await find(short)).toBe("tokenExpired");
    clock.advance(5 * MINUTE - 90_001);
    expect(issuers.find(long, clock.wall())).toBeInstanceOf(TokenCaller);
    clock.advance(1);
    const again = issuers.find(long, clock.wall());
    expect(again).toBeInstanceOf(Promise);
    expect(await again).toBeInstanceOf(TokenCaller);
  });

  test("that was refused is not remembered as good by another", async () => {
    configure();
    const token = await issuer.token();
    expect(await find(`${token.slice(0, -4)}AAAA`)).toBe("tokenInvalid");
    expect(await find(token)).toBe("main:alice");
    expect(await find(`${token.slice(0, -4)}AAAA`)).toBe("tokenInvalid");
  });

  test("by a key that the issuer has dropped is refused, 5 minutes later at the latest", async () => {
    configure();
    const token = await issuer.token();
    await find(token);
    await issuer.rotate();
    clock.advance(11 * MINUTE);
    expect(await find(token)).toBe("tokenInvalid");
  });

  test("can't be judged while its issuer was never there, and is good when it is", async () => {
    await issuer.away();
    configure();
    const token = await issuer.token();
    expect(await find(token)).toBe("issuerUnavailable");
    expect(issuers.get("main")?.counts.issuerUnavailable).toBe(1);
    await until(() => told.length > 0);
    expect(told).toEqual([{ type: "issuer", issuer: "main", why: expect.stringContaining("can't be reached") }]);
    issuer.back();
    clock.advance(5000);
    expect(await find(token)).toBe("main:alice");
    expect(told[1]).toEqual({ type: "issuer", issuer: "main", why: null });
  });
});

describe("a record", () => {
  test("of a caller brings its limits, and takes them away again, but not its tier", async () => {
    configure();
    const token = await issuer.token();
    const caller = await issuers.find(token, clock.wall());
    if (isFault(caller)) throw new Error(caller.why);
    expect([caller.consumer.tier, keys.policiesFor(caller).length]).toEqual(["free", 0]);
    keys.declareConsumer(consumer({ limits: [{ algorithm: "fixed-window", limit: 5, window: "1m" }] }));
    await find(token);
    expect([caller.consumer.tier, keys.policiesFor(caller).length]).toEqual(["free", 1]);
    keys.withdrawConsumer("main:alice");
    await find(token);
    expect(keys.policiesFor(caller)).toHaveLength(0);
  });

  test("that is disabled refuses its caller at once, and lets it in again", async () => {
    configure();
    const token = await issuer.token();
    expect(await find(token)).toBe("main:alice");
    keys.declareConsumer(consumer({ enabled: false }));
    expect(await find(token)).toBe("tokenInvalid");
    expect(await find(await issuer.token({ claims: { jti: "another" } }))).toBe("tokenInvalid");
    expect(issuers.holderOf(token)?.id).toBe("main:alice");
    keys.declareConsumer(consumer());
    expect(await find(token)).toBe("main:alice");
  });
});

describe("another configuration", () => {
  test("leaves keys and proven tokens of issuers that stay as they are", async () => {
    configure();
    const token = await issuer.token();
    await find(token);
    const asked = issuer.asked.length;
    configure();
    expect(issuers.find(token, clock.wall())).toBeInstanceOf(TokenCaller);
    expect(issuer.asked).toHaveLength(asked);
  });

  test("proves tokens anew by an issuer that is changed, whose keys need not be fetched for that", async () => {
    configure();
    const token = await issuer.token({ claims: { plan: "gold" } });
    await find(token);
    const asked = issuer.asked.length;
    configure({ tier: { claim: "plan", map: { gold: "pro" }, default: "free" } });
    const found = await issuers.find(token, clock.wall());
    expect(isFault(found) ? found.code : found.consumer.tier).toBe("pro");
    configure({ audience: ["others"] });
    expect(await find(token)).toBe("tokenInvalid");
    expect(issuer.asked).toHaveLength(asked);
  });

  test("judges for itself what is shown from then on, also while the one before still judges the same token", async () => {
    const keys = Promise.withResolvers<void>();
    const published = issuer.keys.map(({ published }) => published);
    issuer.answer = () => keys.promise.then(() => Response.json({ keys: published }));
    configure();
    const token = await issuer.token();
    const before = find(token);
    configure({ audience: ["others"] });
    const after = find(token);
    keys.resolve();
    expect([await before, await after, await find(token)]).toEqual(["main:alice", "tokenInvalid", "tokenInvalid"]);
  });

  test("without an issuer takes none of its tokens, and tells no more of it", async () => {
    await issuer.away();
    configure();
    const token = await issuer.token();
    await find(token);
    issuers.configure([]);
    expect(told.at(-1)).toEqual({ type: "issuer", issuer: "main", why: null });
    expect(issuers.isEmpty).toBe(true);
    expect(issuers.takes(token)).toBe(false);
  });
});

describe("a token that is no JWT", () => {
  const TOKEN = "an-opaque-token-0123456789";

  test("is asked about, with the client's id and secret, and says who calls", async () => {
    introspecting();
    issuer.opaque.set(TOKEN, { sub: "alice", aud: "api" });
    expect(issuers.takes(TOKEN)).toBe(true);
    expect(await find(TOKEN)).toBe("main:alice");
    expect(issuer.forms).toEqual([
      { form: `token=${TOKEN}&token_type_hint=access_token`, authorization: `Basic ${btoa("sluice:a+b%3Ac")}` },
    ]);
  });

  test("that a client has for itself is the client's", async () => {
    introspecting();
    issuer.opaque.set(TOKEN, { client_id: "shop", aud: "api" });
    expect(await find(TOKEN)).toBe("main:shop");
  });

  test("is never a key of Sluice's, known or made", () => {
    introspecting();
    expect(issuers.takes(makeKey())).toBe(false);
  });

  test("is none where it has other characters than bearer tokens have", () => {
    introspecting();
    const texts = ["a b", '"quoted"', "a,b", "caf\u00e9", "=", "a=b", "a-._~+/Z9=="];
    expect(texts.map((text) => issuers.takes(text))).toEqual([false, false, false, false, false, false, true]);
  });

  test("is asked about once in cacheFor, by however many requests", async () => {
    introspecting({ cacheFor: "30s" });
    issuer.opaque.set(TOKEN, { sub: "alice", aud: ["api"] });
    await Promise.all(Array.from({ length: 50 }, () => find(TOKEN)));
    clock.advance(29_999);
    expect(issuers.find(TOKEN, clock.wall())).toBeInstanceOf(TokenCaller);
    issuer.opaque.delete(TOKEN);
    clock.advance(1);
    expect(await find(TOKEN)).toBe("tokenInvalid");
    expect(await find(TOKEN)).toBe("tokenInvalid");
    expect(issuer.forms).toHaveLength(2);
  });

  test("is judged by what its issuer was asked before a reload, for the request that waits for it", async () => {
    const answer = Promise.withResolvers<Response>();
    introspecting();
    issuer.answer = () => answer.promise;
    const before = find(TOKEN);
    await until(() => issuer.forms.length === 1);
    introspecting({ cacheFor: "1m" });
    answer.resolve(Response.json({ active: true, sub: "alice", aud: "api" }));
    expect(await before).toBe("main:alice");
    expect(issuers.find(TOKEN, clock.wall())).toBeInstanceOf(Promise);
  });

  test("is asked about each time where answers are not kept", async () => {
    introspecting({ cacheFor: "0s" });
    issuer.opaque.set(TOKEN, { sub: "alice", aud: "api" });
    for (let i = 0; i < 3; i++) expect(await find(TOKEN)).toBe("main:alice");
    expect(issuer.forms).toHaveLength(3);
  });

  test("is good no longer than its exp", async () => {
    introspecting();
    issuer.opaque.set(TOKEN, { sub: "alice", aud: "api", exp: clock.wall() / 1000 + 10 });
    expect(await find(TOKEN)).toBe("main:alice");
    clock.advance(40_000);
    expect(await find(TOKEN)).toBe("tokenExpired");
  });

  test.each([
    ["another audience", { sub: "alice", aud: "others" }],
    ["no audience", { sub: "alice" }],
    ["another issuer", { sub: "alice", aud: "api", iss: "https://other.example.com" }],
    ["nobody", { aud: "api" }],
  ])("for %s is refused", async (_what, claims) => {
    introspecting();
    issuer.opaque.set(TOKEN, claims);
    expect(await find(TOKEN)).toBe("tokenInvalid");
  });

  test("can't be judged while the issuer is away, which is not remembered", async () => {
    introspecting();
    issuer.opaque.set(TOKEN, { sub: "alice", aud: "api" });
    for (const answer of [() => new Response(null, { status: 500 }), () => Response.json({}), () => Response.json({ active: "yes" })]) {
      issuer.answer = answer;
      expect(await find(TOKEN)).toBe("issuerUnavailable");
    }
    expect(told).toEqual([{ type: "issuer", issuer: "main", why: expect.stringContaining("answered 500") }]);
    issuer.answer = null;
    expect(await find(TOKEN)).toBe("main:alice");
    expect(told.at(-1)).toEqual({ type: "issuer", issuer: "main", why: null });
  });

  test("is asked about by 128 requests at a time, and no more", async () => {
    introspecting();
    const later = Promise.withResolvers<void>();
    issuer.answer = async () => {
      await later.promise;
      return Response.json({ active: false });
    };
    const many = Array.from({ length: 200 }, (_, i) => find(`${TOKEN}-${i}`));
    const soon = await Promise.all(many.slice(128));
    expect(new Set(soon)).toEqual(new Set(["issuerUnavailable"]));
    later.resolve();
    await Promise.all(many);
    expect(issuer.forms).toHaveLength(128);
  });
});
