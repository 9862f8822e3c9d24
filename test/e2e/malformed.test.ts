import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { ADMIN_TOKEN, type Running, start } from "../support/process.ts";
import { exchange } from "../support/raw.ts";

let gateway: Running;
beforeAll(async () => {
  gateway = await start();
});
afterAll(() => gateway[Symbol.asyncDispose]());

const status = (answer: string) => Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);

/** A clear refusal: 4xx or 5xx of the protocol's own, a problem, a request id. */
function expectRefusal(answer: string): void {
  expect(answer).toMatch(/^HTTP\/1\.1 (4\d\d|501|505) /);
  expect(answer).toMatch(/\r\nX-Request-ID: [A-Za-z0-9._-]{1,128}\r\n/i);
  expect(answer).toMatch(/\r\nContent-Type: application\/problem\+json\r\n/i);
  const { code, detail, requestId } = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4));
  expect([typeof code, typeof detail, typeof requestId]).toEqual(["string", "string", "string"]);
}

test("150 malformed heads and bodies on the wire are refused clearly, with a request id", async () => {
  const bad = fc.constantFrom(
    "Host: second",
    "Content-Length: -1",
    "Content-Length: 1, 2",
    "Content-Length: abc",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 3\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: chunked, gzip",
    "No colon here",
    " Folded: line",
    "Space : before",
    ": nameless",
    "Bad\x01Name: x",
    "Value: \x00",
    "Value: a\rb",
    "Value: a\nb",
    "N\xe4me: x",
    "Expect: something-else",
    `Huge: ${"x".repeat(20_000)}`,
  );
  const line = fc.constantFrom("GET /test HTTP/1.1", "POST /test HTTP/1.1", "PROPFIND /proxy HTTP/1.1");
  const badLine = fc.constantFrom(
    "GET /test",
    "GET  /test HTTP/1.1",
    "GET /te st HTTP/1.1",
    "GET /test HTTP/3.0",
    "GET /test HTPP/1.1",
    "/test HTTP/1.1",
    "GET /a%2fb HTTP/1.1",
    "GET /%zz HTTP/1.1",
    "GET * HTTP/1.1",
    "G{T / HTTP/1.1",
    "\x16\x03\x01",
  );
  const text = fc.oneof(
    fc
      .tuple(line, bad, fc.boolean())
      .map(
        ([first, field, before]) => `${first}\r\n${before ? `Host: h\r\n${field}` : `${field}\r\nHost: h`}\r\nConnection: close\r\n\r\n`,
      ),
    badLine.map((first) => `${first}\r\nHost: h\r\nConnection: close\r\n\r\n`),
    fc
      .constantFrom("x", "0x5\r\n", "-1\r\n", "\r\n", "5;\n", "fffffffffffffffff\r\n")
      .map(
        (chunk) =>
          `POST /test HTTP/1.1\r\nHost: h\r\nX-API-Key: demo_enterprise_key_abc\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}\r\n\r\n`,
      ),
  );
  await fc.assert(
    fc.asyncProperty(text, async (request) => expectRefusal(await exchange(gateway.port, request))),
    { numRuns: 150 },
  );
  expect((await fetch(`${gateway.url}/health`)).status).toBe(200);
});

test("100 malformed bodies for each way to write are refused clearly by the admin API, and nothing is made of them", async () => {
  const junk = fc.oneof(
    fc.json(),
    fc.string(),
    fc.constantFrom("", "{", "null", "[]", '{"id":', '"text"', "1e999", '{"__proto__":{"x":1}}', '{"constructor":{}}'),
  );
  const field = fc.constantFrom(
    "id",
    "consumer",
    "tier",
    "name",
    "path",
    "upstream",
    "targets",
    "limits",
    "keys",
    "status",
    "metadata",
    "expiresAt",
    "ips",
  );
  const shaped = fc.dictionary(field, fc.jsonValue(), { minKeys: 1, maxKeys: 4 }).map((object) => JSON.stringify(object));
  const post = fc.constantFrom("consumers", "keys", "keys/import", "tiers", "routes", "upstreams", "health", "keys/none/rotate");
  const patch = fc.constantFrom("consumers/demo_free", "keys/none", "tiers/free", "routes/test", "upstreams/none");
  const call = fc.oneof(fc.tuple(fc.constant("POST"), post), fc.tuple(fc.constant("PATCH"), patch));
  const before = await (await gateway.admin("GET", "/admin/config")).text();
  await fc.assert(
    fc.asyncProperty(call, fc.oneof(junk, shaped), async ([method, path], body) => {
      const answer = await fetch(`${gateway.url}/admin/${path}`, {
        method,
        body,
        headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" },
      });
      const text = await answer.text();
      if (answer.ok) {
        // By chance it was a whole one.
        expect(["consumers", "tiers", "health"]).toContain(path);
        return;
      }
      expect([400, 404, 409, 422]).toContain(answer.status);
      expect(JSON.parse(text)).toMatchObject({ status: answer.status, requestId: answer.headers.get("x-request-id") ?? "" });
    }),
    { numRuns: 200 },
  );
  expect(await (await gateway.admin("GET", "/admin/config")).text()).toBe(before);
  expect(gateway.output()).not.toContain("a fault of the gateway");
});

test("paths, queries and identifiers of any text give an answer with a request id, never a 500", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("/test", "/admin/keys", "/admin/consumers", "/admin/routes", "/admin/limits", "/swagger", "/ready", ""),
      fc.string({ unit: "binary", maxLength: 20 }),
      async (prefix, text) => {
        const tail = encodeURIComponent(text.toWellFormed());
        for (const target of [`${prefix}/${tail}`, `${prefix}?limit=${tail}&cursor=${tail}`, `${prefix}/${tail.replaceAll("%", "%25")}`]) {
          const answer = await exchange(
            gateway.port,
            `GET ${target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\nConnection: close\r\n\r\n`,
          );
          expect(status(answer)).toBeLessThan(500);
          expect(answer).toMatch(/\r\nX-Request-ID: /i);
        }
      },
    ),
    { numRuns: 60 },
  );
});

test("a chunk that is none, with the head or behind it, holds no place of a concurrency limit", async () => {
  await using one = await start({
    config: {
      tiers: { anonymous: { limits: [{ algorithm: "concurrency", limit: 1, by: "global" }] } },
      routes: [{ path: "/c", upstream: "http://127.0.0.1:1", auth: "none", retry: null }],
    },
  });
  const head = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (let i = 0; i < 3; i++) expect(status(await exchange(one.port, `${head}ZZ\r\n`))).toBe(400);
  // Nobody listens there: 502 and not 429 is what a request gets that is let through.
  expect((await fetch(`${one.url}/c`)).status).toBe(502);
  expect(one.output()).not.toContain("a fault of the gateway");
});
