import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { Audit } from "../../src/audit/audit.ts";
import type { Config } from "../../src/config/schema.ts";
import { canonical, Guard } from "../../src/guard/guard.ts";
import { MemoryStrikes } from "../../src/guard/strikes.ts";
import { MemoryTries } from "../../src/guard/tries.ts";
import { aloneBus } from "../../src/shared/bus.ts";
import { openStorage } from "../../src/storage/open.ts";
import { CidrSet, formatIp } from "../../src/values/ip.ts";
import { hashKey, makeKey } from "../../src/values/key-format.ts";
import { backend } from "../support/backend.ts";
import { FakeClock } from "../support/clock.ts";
import { folder } from "../support/process.ts";
import { exchange } from "../support/raw.ts";
import { serving } from "../support/serving.ts";

const MINUTE = 60_000;
const SETTINGS: Config["guard"] = { invalidKeyLimit: 10, window: "5m", blockFor: "15m", ipv6Prefix: 64, allow: ["192.0.2.0/24"] };

function guarding(path = ":memory:", clock = new FakeClock()) {
  const storage = openStorage(path);
  const audit = new Audit({ storage, clock });
  const guard = new Guard({
    storage,
    clock,
    audit,
    emit: () => {},
    onFault: () => {},
    bus: aloneBus(),
    strikes: new MemoryStrikes(),
    tries: new MemoryTries(),
  });
  guard.configure(SETTINGS);
  const strike = (ip: string, times: number) => {
    for (let i = 0; i < times; i++) guard.strike(ip);
  };
  return { clock, audit, guard, strike, [Symbol.dispose]: () => storage.close() };
}

describe("the guard", () => {
  test("blocks an address after ten invalid keys within five minutes, for fifteen, and no other", () => {
    using it = guarding();
    it.strike("203.0.113.9", 9);
    expect(it.guard.blockedFor("203.0.113.9")).toBe(0);
    it.strike("203.0.113.9", 1);
    expect(it.guard.blockedFor("203.0.113.9")).toBe(15 * MINUTE);
    expect(it.guard.blockedFor("203.0.113.10")).toBe(0);
    it.clock.time += 15 * MINUTE - 1;
    expect(it.guard.blockedFor("203.0.113.9")).toBe(1);
    it.clock.time += 1;
    expect(it.guard.blockedFor("203.0.113.9")).toBe(0);
    it.guard.sweep();
    expect(it.guard.all()).toEqual([]);
  });

  test("does not block for keys that lie further apart, wherever windows would begin", () => {
    using it = guarding();
    for (let i = 0; i < 100; i++) {
      it.strike("203.0.113.9", 1);
      it.clock.time += 5 * MINUTE * 0.1001 * (10 / 9);
    }
    expect(it.guard.blockedFor("203.0.113.9")).toBe(0);
    using other = guarding();
    other.strike("203.0.113.9", 5);
    other.clock.time += 4 * MINUTE;
    other.strike("203.0.113.9", 5);
    expect(other.guard.blockedFor("203.0.113.9")).toBeGreaterThan(0);
  });

  test("counts an IPv6 network as one, and never blocks what is allowed", () => {
    using it = guarding();
    for (let i = 0; i < 10; i++) it.guard.strike(`2001:db8:0:1::${i}`);
    expect(it.guard.blockedFor("2001:db8:0:1:ffff::1")).toBe(15 * MINUTE);
    expect(it.guard.blockedFor("2001:db8:0:2::1")).toBe(0);
    expect(it.guard.all().map(({ cidr }) => cidr)).toEqual(["2001:db8:0:1::/64"]);
    it.strike("192.0.2.7", 100);
    it.guard.block("192.0.2.0/24", "", null, "test");
    expect(it.guard.blockedFor("192.0.2.7")).toBe(0);
  });

  test("takes blocks of addresses by hand, for a time or for ever, and lifts them", () => {
    using it = guarding();
    it.guard.block("10.1.2.3/8", "test", null, "ops");
    it.guard.block("2001:db8::/32", "test", MINUTE, "ops");
    expect(it.guard.blockedFor("10.200.0.1")).toBe(Number.POSITIVE_INFINITY);
    expect(it.guard.blockedFor("2001:db8:5::1")).toBe(MINUTE);
    expect(it.guard.blockedFor("11.0.0.1")).toBe(0);
    expect(it.guard.unblock("10.0.0.0/8")).toBe(true);
    expect(it.guard.unblock("10.0.0.0/8")).toBe(false);
    expect(it.guard.blockedFor("10.200.0.1")).toBe(0);
    expect(it.audit.page({}, Number.MAX_SAFE_INTEGER, 10).map(({ action, subject }) => `${action} ${subject}`)).toEqual([
      "block.delete block 10.0.0.0/8",
      "block.create block 2001:db8::/32",
      "block.create block 10.0.0.0/8",
    ]);
  });

  test("remembers for a day which keys were good from an address, and no more of them than it has room for", () => {
    using it = guarding();
    const note = (ip: string, secret: string) => it.guard.accepted(ip, secret, {}, it.clock.wall());
    note("203.0.113.9", "a-good-key-0123456789");
    note("2001:db8::1", "a-good-key-0123456789");
    const holds = (ip: string, secret = "a-good-key-0123456789") => it.guard.letsKnown(ip, false, hashKey(secret));
    expect([holds("203.0.113.9"), holds("203.0.113.10"), holds("203.0.113.9", "another-key-0123456789"), holds("2001:db8::2")]).toEqual([
      true,
      false,
      false,
      true,
    ]);
    it.clock.time += 24 * 60 * MINUTE - 1;
    it.guard.sweep();
    expect(holds("203.0.113.9")).toBe(true);
    it.clock.time += 1;
    expect(holds("203.0.113.9")).toBe(false);
    note("203.0.113.9", "a-good-key-0123456789");
    for (let i = 0; i < 200_000; i++) note(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, "a-good-key-0123456789");
    expect(it.guard.remembered).toBeLessThanOrEqual(100_000);
    expect([holds("203.0.113.9"), holds("10.3.13.63")]).toEqual([false, true]);
  });

  test("keeps its blocks over a restart, and bounded memory against a million addresses", () => {
    using home = folder();
    const path = join(home.path, "sluice.db");
    const clock = new FakeClock();
    {
      using first = guarding(path, clock);
      first.strike("203.0.113.9", 10);
    }
    using second = guarding(path, clock);
    expect(second.guard.blockedFor("203.0.113.9")).toBe(15 * MINUTE);
    for (let i = 0; i < 1_000_000; i++) second.guard.strike(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
    expect(second.guard.suspected).toBeLessThanOrEqual(100_000);
    // Who began last is still counted.
    for (let i = 0; i < 9; i++) second.guard.strike("10.15.66.63");
    expect(second.guard.blockedFor("10.15.66.63")).toBeGreaterThan(0);
  });

  test("writes an address block in one way, and that way means the same addresses", () => {
    const bytes = fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }));
    fc.assert(
      fc.property(bytes, fc.nat(128), bytes, (address, bits, other) => {
        const text = formatIp(address);
        if (text.startsWith("::ffff:")) return;
        const cidr = `${text}/${Math.min(bits, address.length * 8)}`;
        const one = canonical(cidr);
        expect(canonical(one)).toBe(one);
        expect(new CidrSet([one]).has(formatIp(other))).toBe(new CidrSet([cidr]).has(formatIp(other)));
        expect(new CidrSet([one]).has(text)).toBe(true);
      }),
    );
  });
});

describe("over HTTP", () => {
  const KEY = "a-good-key-0123456789";
  const configFor = (url: string, more: object = {}) => ({
    tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
    consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
    routes: [{ name: "all", path: "/", upstream: url, auth: "optional" }],
    ...more,
  });
  const ask = async (url: string, key: string, from?: string) => {
    const answer = await fetch(url, { headers: { "x-api-key": key, ...(from === undefined ? {} : { "x-forwarded-for": from }) } });
    const { code, type } = (await answer.json()) as { code?: string; type?: string };
    return { status: answer.status, code, type, retryAfter: Number(answer.headers.get("retry-after")) };
  };

  const blockedIn = async (gateway: ReturnType<typeof serving>) => {
    const { items } = (await (await gateway.admin("GET", "/admin/blocks")).json()) as { items: { ip: string }[] };
    return items.map(({ ip }) => ip);
  };

  test("ten bad keys block their address for everything but the admin token, and nobody else", async () => {
    using behind = backend();
    const gateway = serving(configFor(behind.url, { server: { host: "127.0.0.1", trustedProxies: ["127.0.0.1"] } }));
    for (let i = 0; i < 10; i++)
      expect(await ask(gateway.url, `bad-key-${i}-0123456789`, "203.0.113.9")).toMatchObject({ status: 401, code: "keyInvalid" });
    const blocked = {
      status: 429,
      code: "ipBlocked",
      type: "https://iana.org/assignments/http-problem-types#abnormal-usage-detected",
      retryAfter: 900,
    };
    expect(await ask(gateway.url, "bad-key-x-0123456789", "203.0.113.9")).toEqual(blocked);
    expect(await ask(gateway.url, KEY, "203.0.113.9")).toEqual(blocked);
    expect((await fetch(gateway.url, { headers: { "x-forwarded-for": "203.0.113.9" } })).status).toBe(429);
    expect((await ask(gateway.url, KEY, "203.0.113.10")).status).toBe(200);
    const listed = (await (await gateway.admin("GET", "/admin/blocks")).json()) as { items: { ip: string }[] };
    expect(listed.items).toMatchObject([{ ip: "203.0.113.9", reason: "10 invalid keys within 5m", by: "guard" }]);
    expect((await gateway.admin("DELETE", "/admin/blocks/203.0.113.9")).status).toBe(204);
    expect((await ask(gateway.url, KEY, "203.0.113.9")).status).toBe(200);
    expect((await gateway.admin("DELETE", "/admin/blocks/203.0.113.9")).status).toBe(404);
    await gateway.stop();
  });

  test("a proxy that nobody named locks no good key out, and nobody without a key: it is told of", async () => {
    using behind = backend();
    const OTHER = "another-good-key-0123456789";
    const gateway = serving(configFor(behind.url, { consumers: [{ id: "acme", tier: "plain", keys: [KEY, OTHER] }] }));
    const status = async (shown: string, from?: string) => (await ask(gateway.url, shown, from)).status;
    for (let i = 0; i < 10; i++) expect(await status(`bad-key-${i}-0123456789`, `203.0.113.${i}`)).toBe(401);
    expect(await blockedIn(gateway)).toEqual(["127.0.0.1"]);
    expect(await status("bad-key-x-0123456789", "203.0.113.10")).toBe(429);
    // One that was never good from here, and in no form that Sluice makes.
    expect(await status(KEY, "198.51.100.1")).toBe(200);
    expect((await fetch(gateway.url, { headers: { "x-forwarded-for": "198.51.100.1" } })).status).toBe(200);
    expect((await fetch(gateway.url, { headers: { forwarded: "for=198.51.100.1" } })).status).toBe(200);
    // Who comes without a proxy is blocked as anybody else.
    expect((await fetch(gateway.url)).status).toBe(429);
    expect([await status(KEY), await status(OTHER)]).toEqual([200, 429]);
    const { warnings } = (await (await fetch(`${gateway.url}/ready`)).json()) as { warnings: { code: string; detail: string }[] };
    expect(warnings).toMatchObject([
      { code: "untrustedProxy", detail: "requests come through 127.0.0.1, which server.trustedProxies does not name" },
    ]);
    const outside = await (await fetch(`${gateway.url}/ready`, { headers: { forwarded: "for=203.0.113.9" } })).text();
    expect(outside).toContain("untrustedProxy");
    expect(outside).not.toContain("127.0.0.1");
    await gateway.admin("POST", "/admin/blocks", { ip: "127.0.0.1" });
    expect([await status(KEY, "198.51.100.1"), (await fetch(gateway.url, { headers: { "x-forwarded-for": "1.2.3.4" } })).status]).toEqual([
      429, 429,
    ]);
    await gateway.stop();
  });

  test("behind a proxy that nobody named a caller who guesses uses up his own tries, and all together have an end", async () => {
    using behind = backend();
    const keys = Array.from({ length: 4 }, (_, i) => `good-key-${i}-0123456789`);
    const gateway = serving(configFor(behind.url, { consumers: [{ id: "acme", tier: "plain", keys }] }));
    const made = await gateway.admin("POST", "/admin/keys", { consumer: "acme" });
    const { key } = (await made.json()) as { key: string };
    const status = async (n: number, from: string) => (await ask(gateway.url, keys[n] as string, from)).status;
    const guess = async (times: number, from: (i: number) => string) => {
      for (let i = 0; i < times; i++) await ask(gateway.url, `bad-key-${i}-0123456789`, from(i));
    };
    // The first ten make the block, the next ten are what one caller has during it.
    await guess(20, () => "203.0.113.9");
    expect([await status(0, "203.0.113.9"), await status(0, "192.0.2.1, 203.0.113.9"), await status(1, "198.51.100.1")]).toEqual([
      429, 429, 200,
    ]);
    // A key in the form of made ones takes nobody's tries.
    for (let i = 0; i < 20; i++) expect((await ask(gateway.url, makeKey(), "203.0.113.7")).status).toBe(429);
    expect(await status(2, "203.0.113.7")).toBe(200);
    await guess(90, (i) => `10.0.0.${i}`);
    expect([await status(3, "198.51.100.2"), await status(2, "198.51.100.2")]).toEqual([429, 200]);
    expect((await ask(gateway.url, key, "198.51.100.2")).status).toBe(200);
    gateway.clock.time += 15 * MINUTE;
    expect(await status(3, "198.51.100.2")).toBe(200);
    // A new block begins with all tries.
    await guess(10, () => "203.0.113.9");
    expect([await status(0, "203.0.113.9"), await blockedIn(gateway)]).toEqual([200, ["127.0.0.1"]]);
    await gateway.stop();
  });

  test("during a block of the guard's the keys pass that nobody guesses, or that were good there before; an operator's refuses all", async () => {
    using behind = backend();
    const OTHER = "another-good-key-0123456789";
    const config = configFor(behind.url, {
      server: { host: "127.0.0.1", trustedProxies: ["127.0.0.1"] },
      consumers: [{ id: "acme", tier: "plain", keys: [KEY, OTHER] }],
    });
    const gateway = serving(config);
    const made = await gateway.admin("POST", "/admin/keys", { consumer: "acme" });
    const { key, id } = (await made.json()) as { key: string; id: string };
    const here = "203.0.113.9";
    expect((await ask(gateway.url, KEY, here)).status).toBe(200);
    for (let i = 0; i < 10; i++) await ask(gateway.url, `bad-key-${i}-0123456789`, here);
    const status = async (shown: string, from = here) => (await ask(gateway.url, shown, from)).status;
    expect([await status(key), await status(KEY), await status(OTHER), await status(makeKey()), await status("short")]).toEqual([
      200, 200, 429, 429, 429,
    ]);
    expect((await fetch(gateway.url, { headers: { "x-forwarded-for": here } })).status).toBe(429);
    gateway.clock.time += 10 * MINUTE;
    expect([await status(key), await status(OTHER)]).toEqual([200, 429]);
    await gateway.admin("DELETE", `/admin/keys/${id}`);
    expect(await status(key)).toBe(429);
    await gateway.admin("POST", "/admin/blocks", { ip: here });
    expect([await status(KEY), await status(key)]).toEqual([429, 429]);
    expect(await status(KEY, "203.0.113.10")).toBe(200);
    await gateway.stop();
  });

  test("a key that was good from an address passes its block after a restart too, and no key is written down", async () => {
    using behind = backend();
    using home = folder();
    const clock = new FakeClock(Date.now());
    const path = join(home.path, "sluice.db");
    const OTHER = "another-good-key-0123456789";
    const config = configFor(behind.url, {
      server: { host: "127.0.0.1", drainTimeout: "0s", trustedProxies: ["127.0.0.1"] },
      consumers: [{ id: "acme", tier: "plain", keys: [KEY, OTHER] }],
    });
    const here = "203.0.113.9";
    const before = serving(config, clock, path);
    const block = async ({ url }: { url: string }) => {
      for (let i = 0; i < 10; i++) await ask(url, `bad-key-${i}-0123456789`, here);
    };
    expect((await ask(before.url, KEY, here)).status).toBe(200);
    await block(before);
    expect([(await ask(before.url, KEY, here)).status, (await ask(before.url, OTHER, here)).status]).toEqual([200, 429]);
    await before.stop();
    const after = serving(config, clock, path);
    expect([(await ask(after.url, KEY, here)).status, (await ask(after.url, OTHER, here)).status]).toEqual([200, 429]);
    await after.stop();
    expect(await Bun.file(path).text()).not.toContain(KEY);
    clock.time += 24 * 60 * MINUTE;
    const later = serving(config, clock, path);
    await block(later);
    expect((await ask(later.url, KEY, here)).status).toBe(429);
    clock.time += 15 * MINUTE;
    expect((await ask(later.url, OTHER, here)).status).toBe(200);
    await later.stop();
    // What is older than a day is gone with the next that is written.
    const storage = openStorage(path);
    expect(storage.client.query("SELECT count(*) AS n FROM accepted_keys").get()).toEqual({ n: 1 });
    storage.close();
  });

  test("typing errors count for nothing: a wrong checksum, odd characters, too much or too little", async () => {
    using behind = backend();
    const gateway = serving(configFor(behind.url));
    const good = makeKey();
    const mistyped = `${good.slice(0, -1)}${good.endsWith("a") ? "b" : "a"}`;
    for (let i = 0; i < 5; i++)
      for (const shown of [mistyped, good.slice(0, -3), "a key with spaces in it", "x".repeat(3000), "short"])
        expect(await ask(gateway.url, shown)).toMatchObject({ status: 401, code: "keyMalformed" });
    expect((await ask(gateway.url, KEY)).status).toBe(200);
    expect(await blockedIn(gateway)).toEqual([]);
    await gateway.stop();
  });

  test("tokens that are guessed at /metrics and /ready count as at /admin", async () => {
    using behind = backend();
    const gateway = serving(configFor(behind.url, { server: { host: "127.0.0.1", trustedProxies: ["127.0.0.1"] } }));
    const get = async (path: string, token: string, from: string) =>
      (await fetch(gateway.url + path, { headers: { authorization: `Bearer ${token}`, "x-forwarded-for": from } })).status;
    for (let i = 0; i < 10; i++) expect(await get(i % 2 === 0 ? "/metrics" : "/_metrics", `bad-token-${i}`, "203.0.113.9")).toBe(401);
    expect(await get("/metrics", "bad-token-x", "203.0.113.9")).toBe(429);
    expect(await get("/metrics", "an-admin-token-0123456789", "203.0.113.9")).toBe(200);
    for (let i = 0; i < 10; i++) expect(await get("/ready", `bad-token-${i}`, "203.0.113.10")).toBe(200);
    expect((await blockedIn(gateway)).sort()).toEqual(["203.0.113.10", "203.0.113.9"]);
    await gateway.stop();
  });

  test("what is for programs on this machine asks for a Host of this machine, and no trace of a proxy", async () => {
    using behind = backend();
    const gateway = serving(configFor(behind.url));
    const get = async (...fields: string[]) => {
      const text = await exchange(gateway.port, `GET /_metrics HTTP/1.1\r\n${fields.join("\r\n")}\r\nConnection: close\r\n\r\n`);
      return Number(text.slice(9, 12));
    };
    for (const host of ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.1.2.3", "[::1]:8080"])
      expect([host, await get(`Host: ${host}`)]).toEqual([host, 200]);
    for (const host of ["rebound.example", "localhost.example", "10.0.0.1", ""])
      expect([host, await get(`Host: ${host}`)]).toEqual([host, 401]);
    for (const field of ["X-Real-IP: 1.1.1.1", "X-Forwarded-For: 1.1.1.1", "Forwarded: for=1.1.1.1"])
      expect([field, await get("Host: localhost", field)]).toEqual([field, 401]);
    await gateway.stop();
  });

  test("bad admin tokens count as well; a good one still comes in, to lift the block", async () => {
    using behind = backend();
    const gateway = serving(configFor(behind.url));
    const admin = (token: string) => fetch(`${gateway.url}/admin/keys`, { headers: { authorization: `Bearer ${token}` } });
    for (let i = 0; i < 10; i++) expect((await admin(`bad-token-${i}`)).status).toBe(401);
    expect((await admin("bad-token-x")).status).toBe(429);
    expect((await ask(gateway.url, KEY)).status).toBe(429);
    expect((await gateway.admin("GET", "/admin/keys")).status).toBe(200);
    expect((await gateway.admin("DELETE", "/admin/blocks/127.0.0.1")).status).toBe(204);
    expect((await ask(gateway.url, KEY)).status).toBe(200);
    await gateway.stop();
  });
});
