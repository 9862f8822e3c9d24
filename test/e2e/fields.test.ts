import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { lines } from "../support/lines.ts";
import { ADMIN_TOKEN, type Running, start } from "../support/process.ts";
import { exchange } from "../support/raw.ts";

const KEY = "a-key-for-the-tests-0123456789";
const OTHER = "another-key-for-the-tests-0123456789";

let behind: Awaited<ReturnType<typeof lines>>;
let gateway: Running;
/** It trusts whoever is on this machine. */
let trusting: Running;

beforeAll(async () => {
  behind = await lines();
  const config = {
    identity: { query: "key" },
    tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
    consumers: [{ id: "alice", tier: "plain", keys: [KEY, OTHER] }],
    pools: { ai: { keys: [{ id: "one", secret: "the-pool-secret", limit: 1000, window: "1m" }] } },
    routes: [
      { path: "/open", upstream: behind.url, auth: "none" },
      { path: "/maybe", upstream: behind.url, auth: "optional" },
      { path: "/kept", upstream: behind.url, auth: "none", cache: { ttl: "1m", key: { headers: ["X-Tenant"] } } },
      {
        path: "/ruled",
        upstream: behind.url,
        auth: "none",
        headers: { request: { set: { "X-Inner-Secret": "s" }, remove: ["X-Debug-Mode"] } },
      },
      { path: "/ai", upstream: behind.url, credential: { pool: "ai", header: "Api-Key", cost: 1 } },
    ],
  };
  gateway = await start({ config });
  trusting = await start({ config: { ...config, server: { trustedProxies: ["127.0.0.1"] } } });
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await trusting[Symbol.asyncDispose]();
  behind[Symbol.dispose]();
});

/** What the backend got: fields in lower case, in the order they came; and its request line. */
async function got(path: string, fields: readonly string[], by = gateway) {
  const before = behind.heads.length;
  const answer = await exchange(by.port, `GET ${path} HTTP/1.1\r\n${["Host: h", ...fields, "Connection: close"].join("\r\n")}\r\n\r\n`);
  const [line = "", ...rest] = (behind.heads[before] ?? "").split("\r\n");
  const found = rest.map((each) => [each.slice(0, each.indexOf(":")).toLowerCase(), each.slice(each.indexOf(":") + 2)] as const);
  return {
    answer,
    line,
    names: found.map(([name]) => name),
    value: (name: string) => found.filter(([each]) => each === name).map(([, value]) => value),
  };
}
/** As CGI, WSGI and PHP read a name. */
const variable = (name: string): string => name.toUpperCase().replaceAll("-", "_");

test("no spelling of a field that says who calls comes from a client", async () => {
  const spelt = fc
    .tuple(
      fc.constantFrom(
        "x-consumer-id",
        "x-consumer-tier",
        "x-consumer-username",
        "x-consumer-custom-id",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-request-id",
        "x-api-key",
        "x-real-ip",
        "x-original-url",
        "x-forwarded-uri",
      ),
      fc.infiniteStream(fc.boolean()),
      fc.boolean(),
    )
    .map(([name, stream, isUpper]) => {
      const text = name.replaceAll("-", () => (stream.next().value ? "_" : "-"));
      return isUpper ? text.toUpperCase() : text;
    });
  await fc.assert(
    fc.asyncProperty(fc.array(spelt, { minLength: 1, maxLength: 4 }), async (names) => {
      const { names: arrived, value } = await got(
        "/open/a",
        names.map((name) => `${name}: forged`),
      );
      const variables = arrived.map(variable);
      expect(new Set(variables).size).toBe(variables.length);
      // A sane request id is kept, by its one name.
      for (const name of arrived) if (name !== "x-request-id") expect([name, ...value(name)]).not.toContain("forged");
    }),
    { numRuns: 200 },
  );
  const { value } = await got("/maybe/a", [
    `X-API-Key: ${KEY}`,
    "X_Consumer_ID: admin",
    "X.Consumer.ID: admin",
    "x~consumer-id: admin",
    "X-Consumer-Tier: gold",
  ]);
  expect([
    value("x-consumer-id"),
    value("x-consumer-tier"),
    value("x_consumer_id"),
    value("x.consumer.id"),
    value("x~consumer-id"),
  ]).toEqual([["alice"], ["plain"], [], [], []]);
});

test("names with _ that are nobody's arrive as they were", async () => {
  const { value } = await got("/open/a", ["my_field: 1", "X-Http-Method-Override: PUT", "_: 2"]);
  expect([value("my_field"), value("x-http-method-override"), value("_")]).toEqual([["1"], ["PUT"], ["2"]]);
});

test("what a route sets, removes, keeps answers by or sends a pool's key in comes in no other spelling either", async () => {
  const ruled = await got("/ruled/a", ["X_Inner_Secret: forged", "X_Debug-Mode: 1"]);
  expect([ruled.value("x-inner-secret"), ruled.value("x_inner_secret"), ruled.value("x_debug-mode")]).toEqual([["s"], [], []]);
  const kept = await got("/kept/a", ["X_Tenant: b", "Accept_Language: de", "If_None_Match: x"]);
  expect(kept.names.filter((name) => name.includes("_"))).toEqual([]);
  const pooled = await got("/ai/a", [`X-API-Key: ${KEY}`, "Api_Key: forged", "Api-Key: forged"]);
  expect([pooled.value("api-key"), pooled.value("api_key")]).toEqual([["the-pool-secret"], []]);
});

test("a proxy's fields are believed of trusted peers only", async () => {
  const fields = [
    "X-Real-IP: 6.6.6.6",
    "X-Original-URL: /admin",
    "X-Forwarded-Method: PUT",
    "X-Forwarded-Uri: /x",
    "X-Forwarded-Prefix: /p",
    "Forwarded: for=6.6.6.6",
  ];
  const strange = await got("/open/a", fields);
  expect(strange.names.sort()).toEqual(["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"]);
  const trusted = await got("/open/a", fields, trusting);
  for (const field of fields) {
    const [name = "", value = ""] = field.split(": ");
    expect(trusted.value(name.toLowerCase())).toEqual([value]);
  }
  expect((await got("/open/a", ["X-Consumer-ID: admin", "X_Real_IP: 6.6.6.6", "Proxy: http://6.6.6.6"], trusting)).names.sort()).toEqual(
    strange.names.sort(),
  );
});

test("no key of Sluice's reaches a backend: not on an open route, and not a second one", async () => {
  const made = (await (await gateway.admin("POST", "/admin/keys", { consumer: "alice" })).json()) as { key: string };
  for (const fields of [
    [`X-API-Key: ${KEY}`],
    [`Authorization: Bearer ${KEY}`],
    [`X-API-Key: ${KEY}`, `Authorization: Bearer ${OTHER}`],
    [`X-API-Key: ${KEY}`, `Authorization: bearer ${made.key}`],
  ])
    for (const path of [`/open/a?key=${OTHER}&b=1`, `/maybe/a?b=1&key=${OTHER}`]) {
      const { line, names } = await got(path, fields);
      expect([line, names.filter((name) => name === "x-api-key" || name === "authorization")]).toEqual(["GET /a?b=1 HTTP/1.1", []]);
    }
  // A backend's own token is none of Sluice's business.
  expect((await got("/open/a", ["Authorization: Bearer ey.a.jwt"])).value("authorization")).toEqual(["Bearer ey.a.jwt"]);
  expect((await got("/maybe/a", [`X-API-Key: ${KEY}`, "Authorization: Bearer ey.a.jwt"])).value("authorization")).toEqual([
    "Bearer ey.a.jwt",
  ]);
});

test("a key may be a password where the configuration says so, with any user name", async () => {
  const basic = (user: string, password: string) => `Authorization: Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
  await using git = await start({
    config: {
      identity: { basic: true },
      tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
      consumers: [{ id: "alice", tier: "plain", keys: [KEY, OTHER] }],
      routes: [
        { path: "/git", upstream: behind.url },
        { path: "/open", upstream: behind.url, auth: "none" },
      ],
    },
  });
  for (const fields of [[basic("x", KEY)], [basic("", KEY)], [`X-API-Key: ${KEY}`, basic("x", OTHER)]]) {
    const { value } = await got("/git/a", fields, git);
    expect([value("x-consumer-id"), value("authorization")]).toEqual([["alice"], []]);
  }
  const missing = await got("/git/a", [], git);
  expect(missing.answer).toContain('\r\nWWW-Authenticate: Basic realm="sluice"');
  for (const [fields, code] of [
    [[basic("x", "nobody-has-this-key-0123")], "keyInvalid"],
    [[basic(KEY, "")], "keyMissing"],
    [["Authorization: Basic !"], "keyMissing"],
  ] as const)
    expect((await got("/git/a", fields, git)).answer).toContain(`"code":"${code}"`);
  const own = basic("user", "of the backend's");
  expect((await got("/open/a", [own], git)).value("authorization")).toEqual([own.slice("Authorization: ".length)]);
  // It is off unless it is turned on.
  expect((await got("/maybe/a", [own])).value("authorization")).toEqual([own.slice("Authorization: ".length)]);
});

test("an answer on an open route is no caller's own: its backend knew of no key", async () => {
  const first = await got("/kept/one", [`X-API-Key: ${KEY}`]);
  expect(first.names).not.toContain("x-api-key");
  expect((await got("/kept/one", [`X-API-Key: ${OTHER}`])).answer).toContain("Cache-Status: sluice; hit");
});

test("a path can't write to a terminal by the log", async () => {
  await using loud = await start({ config: { logging: { format: "pretty" }, routes: [] } });
  await using json = await start({ config: { routes: [] } });
  for (const it of [loud, json]) {
    for (const path of ["/a\x9b31m", "/b\xe2\x80\xa8"])
      await exchange(it.port, `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
    await fetch(`${it.url}/admin/x`, { method: "DELETE", headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
    await exchange(
      it.port,
      `DELETE /admin/keys/\x9b31m HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\nConnection: close\r\n\r\n`,
    );
    while (!it.output().includes("/admin/keys/")) await Bun.sleep(10);
    expect(it.output()).not.toMatch(/[\x7f-\x9f\u2028]/);
    expect(it.output()).toContain("\\u009b31m");
  }
});
