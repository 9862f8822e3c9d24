import { afterAll, beforeAll, expect, test } from "bun:test";
import { Denials } from "../../src/explain/denials.ts";
import { refusalShown } from "../../src/explain/refusals.ts";
import { problem } from "../../src/http/problem.ts";
import { ipSubject } from "../../src/limits/subject.ts";
import { type Backend, backend } from "../support/backend.ts";
import { serving } from "../support/serving.ts";

let behind: Backend;
let gateway: ReturnType<typeof serving>;
beforeAll(() => {
  behind = backend();
  gateway = serving({
    tiers: { free: { limits: [{ algorithm: "fixed-window", limit: 1, window: "1h" }] } },
    upstreams: { main: { targets: [{ url: behind.url }] } },
    routes: [{ name: "shop", path: "/shop", upstream: "main" }],
    consumers: [{ id: "acme", tier: "free", keys: ["a-declared-key-of-acme"] }],
  });
});
afterAll(async () => {
  await gateway.stop();
  behind[Symbol.dispose]();
});

// biome-ignore-start lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
const find = async (text: string): Promise<any[]> =>
  ((await (await gateway.admin("POST", "/admin/explain/find", { text })).json()) as any).matches;
const refusals = async (): Promise<any[]> => ((await (await gateway.admin("GET", "/admin/explain/refusals")).json()) as any).items;
const newKey = async (): Promise<any> => (await gateway.admin("POST", "/admin/keys", { consumer: "acme" })).json();
// biome-ignore-end lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
const nothing = { consumer: null, fault: null, refusal: null };

test("tells a consumer, an address and a route", async () => {
  expect(await find(" acme ")).toEqual([{ ...nothing, kind: "consumer", id: "acme" }]);
  expect(await find("2001:DB8::1")).toEqual([{ ...nothing, kind: "address", id: "2001:db8::1" }]);
  expect(await find("shop")).toEqual([{ ...nothing, kind: "route", id: "shop" }]);
  expect(await find("nobody")).toEqual([]);
});

test("tells a key by its id and by itself, and why it is good no more", async () => {
  const { id, key } = await newKey();
  const good = { ...nothing, kind: "key", id, consumer: "acme" };
  expect(await find(id)).toEqual([good]);
  expect(await find(key)).toEqual([good]);
  expect(await find("a-declared-key-of-acme")).toMatchObject([{ kind: "key", consumer: "acme", fault: null }]);

  const rotated = (await (await gateway.admin("POST", `/admin/keys/${id}/rotate`, { gracePeriod: "0s" })).json()) as { key: string };
  expect(await find(rotated.key)).toEqual([good]);
  expect(await find(key)).toMatchObject([{ kind: "key", fault: { code: "keyInvalid" } }]);

  await gateway.admin("DELETE", `/admin/keys/${id}`);
  for (const text of [id, rotated.key]) expect(await find(text)).toMatchObject([{ kind: "key", id, fault: { code: "keyRevoked" } }]);
});

test("tells a key with a typing error", async () => {
  const { key } = await newKey();
  expect(await find(`${key.slice(0, -1)}${key.endsWith("a") ? "b" : "a"}`)).toMatchObject([
    { kind: "key", id: null, consumer: null, fault: { code: "keyMalformed" } },
  ]);
});

test("finds a refusal by its request's id, and lists those of all", async () => {
  const call = async (key: string, id: string) =>
    (await fetch(`${gateway.url}/shop`, { headers: { "x-api-key": key, "x-request-id": id } })).status;
  expect(await call("a-declared-key-of-acme", "first")).toBe(200);
  expect(await call("a-declared-key-of-acme", "second")).toBe(429);
  gateway.clock.advance(10);
  expect(await call("nobody-has-this-key-at-all", "third")).toBe(401);
  expect(await find("first")).toEqual([]);
  const [limited] = await find("second");
  expect(limited).toMatchObject({
    kind: "request",
    id: "second",
    consumer: "acme",
    refusal: { code: "rateLimited", route: "shop", ip: null },
  });
  expect(limited.refusal.limits).toMatchObject([{ limit: 1, used: 1 }]);
  expect((await refusals()).map(({ requestId, consumer, ip }) => [requestId, consumer, ip])).toEqual([
    ["third", null, "127.0.0.1"],
    ["second", "acme", null],
  ]);
});

test("the last refusals are those of whoever was refused last, so many as are asked for", () => {
  const denials = new Denials();
  const refusal = problem("forbidden", "No.");
  for (let at = 1; at <= 20; at++) denials.note(`caller-${at % 4}`, { at, requestId: `r${at}`, route: null, refusal });
  expect(denials.latest(3).map(({ requestId }) => requestId)).toEqual(["r20", "r19", "r18"]);
  expect(denials.latest(100)).toHaveLength(20);
  expect(denials.find("r7")?.caller).toBe("caller-3");
  expect(denials.find("r21")).toBeNull();
});

test("an address is shown as one that can be asked about", () => {
  const shown = (ip: string) =>
    refusalShown({ at: 0, requestId: "r", route: null, refusal: problem("forbidden", "No."), caller: ipSubject(ip) }).ip;
  expect(shown("192.0.2.1")).toBe("192.0.2.1");
  expect(ipSubject(shown("2001:db8:1:2:3::4") ?? "")).toBe(ipSubject("2001:db8:1:2:3::4"));
});
