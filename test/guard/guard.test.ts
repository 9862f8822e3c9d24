import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { Audit } from "../../src/audit/audit.ts";
import { CidrSet, formatIp } from "../../src/config/ip.ts";
import type { Config } from "../../src/config/schema.ts";
import { canonical, Guard } from "../../src/guard/guard.ts";
import { openStorage } from "../../src/storage/open.ts";
import { backend } from "../support/backend.ts";
import { FakeClock } from "../support/limits.ts";
import { folder } from "../support/process.ts";
import { serving } from "../support/serving.ts";

const MINUTE = 60_000;
const SETTINGS: Config["guard"] = { invalidKeyLimit: 10, window: "5m", blockFor: "15m", ipv6Prefix: 64, allow: ["192.0.2.0/24"] };

function guarding(path = ":memory:", clock = new FakeClock()) {
  const storage = openStorage(path);
  const audit = new Audit({ storage, clock });
  const guard = new Guard({ storage, clock, audit, onBlock: () => {}, onFault: () => {} });
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

  test("what an untrusted peer claims of its address blocks nobody else and hides nobody", async () => {
    using behind = backend();
    const gateway = serving(configFor(behind.url));
    for (let i = 0; i < 10; i++) await ask(gateway.url, `bad-key-${i}-0123456789`, `203.0.113.${i}`);
    expect((await ask(gateway.url, KEY, "198.51.100.1")).status).toBe(429);
    const { items } = (await (await gateway.admin("GET", "/admin/blocks")).json()) as { items: { ip: string }[] };
    expect(items.map(({ ip }) => ip)).toEqual(["127.0.0.1"]);
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
