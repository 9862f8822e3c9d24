import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { compileIps, type IpsConfig, RouteIps } from "../../src/guard/ips.ts";
import { CidrSet, formatIp } from "../../src/values/ip.ts";
import { backend } from "../support/backend.ts";
import { serving } from "../support/serving.ts";

const KEY = "a-declared-key-0123456789";
const TRUSTING = { host: "127.0.0.1", drainTimeout: "0s", trustedProxies: ["127.0.0.1"] };
const OFFICE = { allow: ["10.0.0.0/8", "2001:db8::/32"], deny: ["10.6.6.0/24"] };

function gateway(more: object = {}) {
  const behind = backend();
  const it = serving({
    server: TRUSTING,
    tiers: { anonymous: { limits: [] }, plain: { limits: [{ algorithm: "fixed-window", limit: 100, window: "1h" }] } },
    consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
    upstreams: { main: { targets: [{ url: behind.url }] } },
    routes: [
      { name: "office", path: "/office", upstream: "main", ips: OFFICE, cors: { origins: ["https://app.example"] }, maxBodySize: "1kb" },
      { name: "all", path: "/all", upstream: "main" },
    ],
    ...more,
  });
  return {
    ...it,
    behind,
    ask: async (path: string, from: string, headers: Record<string, string> = { "x-api-key": KEY }, init: RequestInit = {}) => {
      const answer = await fetch(it.url + path, { ...init, headers: { "x-forwarded-for": from, ...headers } });
      const text = await answer.text();
      return { status: answer.status, headers: answer.headers, json: answer.status < 400 ? null : JSON.parse(text) };
    },
    [Symbol.asyncDispose]: async () => {
      await it.stop();
      behind[Symbol.dispose]();
    },
  };
}

describe("a route's addresses", () => {
  test("let in whom allow names, or everybody where it is empty, and never whom deny names", () => {
    const octet = fc.integer({ min: 0, max: 3 });
    const address = fc.tuple(octet, octet).map(([a, b]) => formatIp(Uint8Array.of(10, 0, a, b)));
    const entry = fc.oneof(
      address,
      address.map((ip) => `${ip}/31`),
      address.map((ip) => `::ffff:${ip}/120`),
    );
    const list = fc.array(entry, { maxLength: 4 });
    fc.assert(
      fc.property(list, list, address, fc.boolean(), (allow, deny, ip, isMapped) => {
        const within = (entries: readonly string[]) => entries.some((each) => new CidrSet([each]).has(ip));
        const wanted = within(deny) ? "deny" : allow.length === 0 || within(allow) ? null : "allow";
        expect(new RouteIps({ allow, deny }).keptOutBy(isMapped ? `::ffff:${ip}` : ip)).toBe(wanted);
      }),
    );
  });

  test("that name none are none, so that the route's line has no step for them", () => {
    const empty: IpsConfig = { allow: [], deny: [] };
    expect([compileIps(null), compileIps(empty)]).toEqual([null, null]);
    expect(compileIps({ ...empty, deny: ["10.0.0.1"] })).not.toBeNull();
  });

  test("refuse with 403 what comes from elsewhere, before anybody is identified, charged or suspected", async () => {
    await using it = gateway();
    for (const from of ["203.0.113.9", "10.6.6.6", "::ffff:10.6.6.6", "2001:db9::1"]) {
      const { status, json } = await it.ask("/office", from);
      expect([from, status, json.code, json.detail]).toEqual([from, 403, "forbidden", "This route may not be used from your address."]);
    }
    for (const from of ["10.1.2.3", "::ffff:10.1.2.3", "2001:DB8::1", "203.0.113.9, 10.1.2.3"])
      expect([from, (await it.ask("/office", from)).status]).toEqual([from, 200]);
    // Ten wrong keys would block the address; here nobody has looked at them.
    for (let i = 0; i < 20; i++)
      expect((await it.ask("/office", "203.0.113.9", { "x-api-key": `nobody-has-this-key-${i}` })).json.code).toBe("forbidden");
    expect((await it.ask("/office", "203.0.113.9", {})).json.code).toBe("forbidden");
    expect((await it.ask("/office", "203.0.113.9", {}, { method: "POST", body: "x".repeat(2000) })).status).toBe(403);
    expect((await it.ask("/all", "203.0.113.9")).status).toBe(200);
    expect(it.behind.seen.length).toBe(5);
    const { limits } = (await (await it.admin("GET", "/admin/limits/acme")).json()) as { limits: { used: number }[] };
    expect(limits.map(({ used }) => used)).toEqual([5]);
  });

  test("are told to pages of other origins as everything else is, and let preflights through, which ask no backend", async () => {
    await using it = gateway();
    const origin = { origin: "https://app.example" };
    const refused = await it.ask("/office", "203.0.113.9", origin);
    expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([403, "https://app.example"]);
    const preflight = await it.ask("/office", "203.0.113.9", { ...origin, "access-control-request-method": "GET" }, { method: "OPTIONS" });
    expect([preflight.status, it.behind.seen.length]).toEqual([204, 0]);
  });

  test("see only a proxy that nobody named, and the operator is told of it", async () => {
    await using it = gateway({ server: { host: "127.0.0.1", drainTimeout: "0s" } });
    expect((await it.ask("/office", "10.1.2.3")).status).toBe(403);
    const { warnings } = (await (await fetch(`${it.url}/ready`)).json()) as { warnings: { code: string }[] };
    expect(warnings.map(({ code }) => code)).toEqual(["untrustedProxy"]);
  });

  test("can be given to a route that the admin API makes, and are checked there as in the file", async () => {
    await using it = gateway();
    const wrong = await it.admin("POST", "/admin/routes", {
      name: "made",
      path: "/made",
      upstream: "main",
      ips: { allow: ["10.0.0.0/33"] },
    });
    expect(await wrong.json()).toMatchObject({ status: 422, errors: [{ path: "ips.allow[0]" }] });
    const made = await it.admin("POST", "/admin/routes", {
      name: "made",
      path: "/made",
      upstream: "main",
      ips: { deny: ["203.0.113.0/24"] },
    });
    expect(await made.json()).toMatchObject({ name: "made", ips: { allow: [], deny: ["203.0.113.0/24"] } });
    expect([(await it.ask("/made", "203.0.113.9")).status, (await it.ask("/made", "10.1.2.3")).status]).toEqual([403, 200]);
    await it.admin("PATCH", "/admin/routes/made", { ips: null });
    expect((await it.ask("/made", "203.0.113.9")).status).toBe(200);
  });
});
