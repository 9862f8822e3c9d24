import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Backend, backend } from "../support/backend.ts";
import { ADMIN_TOKEN, type Running, start } from "../support/process.ts";
import { exchange } from "../support/raw.ts";

let gateway: Running;
let behind: Backend;

beforeAll(async () => {
  behind = backend();
  gateway = await start({
    config: {
      tiers: { anonymous: { limits: [] }, plain: { limits: [{ algorithm: "fixed-window", limit: 1000, window: "1m" }] }, unused: {} },
      consumers: [{ id: "declared", tier: "plain", keys: ["a-declared-key-0123456789"] }],
      upstreams: { main: { targets: [{ url: behind.url }] } },
      routes: [
        { name: "main", path: "/main", upstream: "main" },
        { name: "other", path: "/other", upstream: "main" },
        { name: "scoped", path: "/scoped", upstream: "main", scopes: ["read", "write"] },
      ],
    },
  });
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  behind[Symbol.dispose]();
});

type Json = Record<string, unknown> & {
  detail: string;
  errors: { path: string; message: string }[];
  key: string;
  id: string;
  code: string;
  items: { id: string; name: string }[];
  nextCursor: string | null;
};

async function ask(
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
): Promise<{ status: number; body: Json; headers: Headers }> {
  const answer = await gateway.admin(method, path, body, headers);
  const text = await answer.text();
  return { status: answer.status, body: text === "" ? ({} as Json) : (JSON.parse(text) as Json), headers: answer.headers };
}

const use = async (key: string, path = "/main") => (await fetch(gateway.url + path, { headers: { "x-api-key": key } })).status;
const why = async (key: string, path = "/main") =>
  ((await (await fetch(gateway.url + path, { headers: { "x-api-key": key } })).json()) as Json).code;
let made = 0;
async function newConsumer(more: object = {}): Promise<string> {
  const id = `consumer-${++made}`;
  expect((await ask("POST", "/admin/consumers", { id, tier: "plain", ...more })).status).toBe(201);
  return id;
}
async function newKey(more: object = {}, consumer?: string): Promise<{ id: string; key: string }> {
  const { status, body } = await ask("POST", "/admin/keys", { consumer: consumer ?? (await newConsumer()), ...more });
  expect(status).toBe(201);
  return body;
}

describe("the admin API", () => {
  test("wants its token, and says nothing without it", async () => {
    for (const authorization of ["", "Bearer wrong", `Basic ${ADMIN_TOKEN}`, ADMIN_TOKEN]) {
      const answer = await fetch(`${gateway.url}/admin/consumers`, { headers: authorization ? { authorization } : {} });
      expect(answer.status).toBe(401);
      expect(answer.headers.get("www-authenticate")).toContain("Bearer");
      expect(answer.headers.get("content-type")).toBe("application/problem+json");
    }
    expect((await fetch(`${gateway.url}/admin/nothing-here`)).status).toBe(401);
    for (const path of ["/%61dmin/keys", "/x/../admin/keys", "/swagger/../admin/keys", "/swagger/%2e%2e/admin/keys"]) {
      expect(await exchange(gateway.port, `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`)).toContain("HTTP/1.1 401");
    }
    expect((await ask("GET", "/admin/nothing-here")).status).toBe(404);
    const wrong = await ask("PUT", "/admin/consumers");
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "GET, POST"]);
  });

  test("answers a list in pages that join without a gap", async () => {
    for (let i = 0; i < 7; i++) await newConsumer({ metadata: { i } });
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const page: { status: number; body: Json } = await ask(
        "GET",
        `/admin/consumers?limit=3${cursor === null ? "" : `&cursor=${cursor}`}`,
      );
      expect(page.status).toBe(200);
      expect(page.body.items.length).toBeLessThanOrEqual(3);
      seen.push(...page.body.items.map((item) => item.id));
      cursor = page.body.nextCursor;
    } while (cursor !== null);
    expect(seen).toContain("declared");
    expect(seen).toEqual([...new Set(seen)].sort());
    for (const bad of ["limit=0", "limit=501", "limit=x", "cursor=%21"])
      expect((await ask("GET", `/admin/consumers?${bad}`)).status).toBe(422);
  });

  test("changes a record only as it was read", async () => {
    const id = await newConsumer({ name: "before", metadata: { keep: 1, drop: 2 } });
    const read = await ask("GET", `/admin/consumers/${id}`);
    const etag = read.headers.get("etag") ?? "";
    const patched = await ask("PATCH", `/admin/consumers/${id}`, { name: null, metadata: { drop: null, add: 3 } }, { "if-match": etag });
    expect(patched.status).toBe(200);
    expect(patched.body).toMatchObject({ name: null, metadata: { keep: 1, add: 3 } });
    expect(patched.headers.get("etag")).not.toBe(etag);
    const stale = await ask("PATCH", `/admin/consumers/${id}`, { name: "late" }, { "if-match": etag });
    expect([stale.status, stale.body.code]).toEqual([412, "preconditionFailed"]);
  });

  test("gives one answer to one Idempotency-Key", async () => {
    const consumer = await newConsumer();
    const post = (body: object) => ask("POST", "/admin/keys", body, { "idempotency-key": "order-1" });
    const first = await post({ consumer });
    const again = await post({ consumer });
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(again.body).toEqual(first.body);
    expect(again.headers.get("location")).toBe(first.headers.get("location"));
    expect((await ask("GET", `/admin/keys?consumer=${consumer}`)).body.items.length).toBe(1);
    expect((await post({ consumer, name: "another" })).status).toBe(422);
  });

  test("says all that is wrong with its input at once", async () => {
    const { status, body } = await ask("POST", "/admin/keys", {
      consumer: "declared",
      scops: [],
      limits: [{ algorithm: "foo", limit: 0 }],
      ips: 3,
    });
    expect(status).toBe(422);
    expect(body.errors.map((error) => error.path).sort()).toEqual(["ips", "limits[0].algorithm", "limits[0].limit", "scops"]);
    expect(body.errors.find((error) => error.path === "scops")?.message).toContain('"scopes"');
    expect((await ask("POST", "/admin/keys", "{")).status).toBe(400);
  });

  test("leaves what config.json declares to config.json", async () => {
    for (const path of ["/admin/consumers/declared", "/admin/tiers/plain", "/admin/routes/main", "/admin/upstreams/main"]) {
      for (const method of ["PATCH", "DELETE"]) {
        const { status, body } = await ask(method, path, method === "PATCH" ? {} : undefined);
        expect(status).toBe(409);
        expect(body.detail).toContain("config.json");
      }
    }
    expect((await ask("POST", "/admin/consumers", { id: "declared", tier: "plain" })).status).toBe(409);
  });

  test("makes routes, upstreams and tiers that work at once, and refuses what would break others", async () => {
    expect((await ask("POST", "/admin/routes", { path: "/early", upstream: "later", auth: "none" })).status).toBe(422);
    expect((await ask("POST", "/admin/upstreams", { name: "later", targets: [{ url: behind.url }] })).status).toBe(201);
    const route = await ask("POST", "/admin/routes", { path: "/early", upstream: "later", auth: "none" });
    expect([route.status, route.headers.get("location")]).toEqual([201, "/admin/routes/%2Fearly"]);
    expect((await fetch(`${gateway.url}/early/x`)).status).toBe(200);
    expect((await ask("GET", "/admin/routes/%2Fearly")).body).toMatchObject({ path: "/early", source: "admin", timeout: "30s" });
    expect((await ask("POST", "/admin/routes", { name: "twice", path: "/early/", upstream: "later" })).status).toBe(422);

    expect((await ask("PATCH", "/admin/routes/%2Fearly", { auth: "required" })).status).toBe(200);
    expect((await fetch(`${gateway.url}/early`)).status).toBe(401);
    expect((await ask("PATCH", "/admin/routes/%2Fearly", { auth: "none", plugins: [{ file: "./p.ts" }] })).body.errors[0]).toMatchObject({
      path: "plugins",
      message: expect.stringContaining("can't be set by the admin API"),
    });

    expect((await ask("DELETE", "/admin/upstreams/later")).status).toBe(409);
    expect((await ask("PATCH", "/admin/routes/%2Fearly", { auth: "none" })).status).toBe(200);
    expect((await ask("DELETE", "/admin/upstreams/later?force=true")).status).toBe(204);
    expect((await fetch(`${gateway.url}/early`)).status).toBe(503);
    expect((await ask("DELETE", "/admin/routes/%2Fearly")).status).toBe(204);
    expect((await fetch(`${gateway.url}/early`)).status).toBe(404);

    expect(
      (await ask("POST", "/admin/tiers", { name: "gold", limits: [{ algorithm: "fixed-window", limit: 2, window: "1m" }] })).status,
    ).toBe(201);
    const { key } = await newKey({}, await newConsumer({ tier: "gold" }));
    expect([await use(key), await use(key), await use(key)]).toEqual([200, 200, 429]);
    // A larger number keeps what was counted.
    expect((await ask("PATCH", "/admin/tiers/gold", { limits: [{ algorithm: "fixed-window", limit: 3, window: "1m" }] })).status).toBe(200);
    expect([await use(key), await use(key)]).toEqual([200, 429]);
    expect((await ask("DELETE", "/admin/tiers/gold")).status).toBe(409);
  });

  test("shows the configuration in force without a secret", async () => {
    const { body } = await ask("GET", "/admin/config");
    expect(JSON.stringify(body)).not.toContain("a-declared-key");
    expect(body.config).toMatchObject({ server: { maxBodySize: "10mb" }, consumers: [{ id: "declared", keys: ["***"] }] });
    expect((await ask("GET", "/admin/config/schema")).body).toMatchObject({ title: "Sluice configuration" });
  });
});

describe("a key", () => {
  test("is shown once, works at once, and is nowhere else", async () => {
    const { id, key } = await newKey({ name: "laptop" });
    expect(key).toMatch(/^slc_[0-9A-Za-z]{38}$/);
    expect(await use(key)).toBe(200);
    const read = await ask("GET", `/admin/keys/${id}`);
    expect(read.body).toMatchObject({ start: key.slice(0, 8), end: key.slice(-4), name: "laptop", status: "active" });
    expect(read.body.lastUsedAt).not.toBeNull();
    expect(JSON.stringify(read.body)).not.toContain(key);
    expect(gateway.output()).not.toContain(key);
  });

  test("is refused from the next request on when it is revoked, disabled or its consumer is", async () => {
    const consumer = await newConsumer();
    const { id, key } = await newKey({}, consumer);
    await ask("PATCH", `/admin/keys/${id}`, { enabled: false });
    expect(await why(key)).toBe("keyRevoked");
    await ask("PATCH", `/admin/keys/${id}`, { enabled: true });
    expect(await use(key)).toBe(200);
    await ask("PATCH", `/admin/consumers/${consumer}`, { enabled: false });
    expect(await why(key)).toBe("keyRevoked");
    await ask("PATCH", `/admin/consumers/${consumer}`, { enabled: true });
    expect((await ask("DELETE", `/admin/keys/${id}`)).status).toBe(204);
    expect(await why(key)).toBe("keyRevoked");
    expect((await ask("GET", `/admin/keys/${id}`)).body).toMatchObject({ status: "revoked" });
    expect((await ask("GET", `/admin/keys?status=revoked&consumer=${consumer}`)).body.items.length).toBe(1);
  });

  test("gets a new secret by rotation; the old one is good for the grace period and no longer", async () => {
    const { id, key } = await newKey();
    const hard = await ask("POST", `/admin/keys/${id}/rotate`);
    expect(hard.status).toBe(200);
    expect([await why(key), await use(hard.body.key)]).toEqual(["keyInvalid", 200]);
    const soft = await ask("POST", `/admin/keys/${id}/rotate`, { gracePeriod: "1h" });
    expect([await use(hard.body.key), await use(soft.body.key)]).toEqual([200, 200]);
    const short = await ask("POST", `/admin/keys/${id}/rotate`, { gracePeriod: "1ms" });
    await Bun.sleep(5);
    expect([await why(soft.body.key), await use(short.body.key), short.body.id]).toEqual(["keyInvalid", 200, id]);
  });

  test("expires", async () => {
    const { key } = await newKey({ expiresAt: new Date(Date.now() - 1000).toISOString() });
    expect(await why(key)).toBe("keyExpired");
    expect((await ask("POST", "/admin/keys", { consumer: "declared", expiresAt: "tomorrow" })).status).toBe(422);
  });

  test("may be bound to routes, scopes and addresses, and may have limits of its own", async () => {
    const bound = await newKey({ routes: ["main"] });
    expect([await use(bound.key), await use(bound.key, "/other")]).toEqual([200, 403]);
    const half = await newKey({ scopes: ["read"] });
    const whole = await newKey({ scopes: ["read", "write"] });
    expect([await use(half.key, "/scoped"), await use(whole.key, "/scoped")]).toEqual([403, 200]);
    const near = await newKey({ ips: ["127.0.0.0/8"] });
    const far = await newKey({ ips: ["10.0.0.0/8"] });
    expect([await use(near.key), await use(far.key)]).toEqual([200, 403]);
    const own = await newKey({ limits: [{ algorithm: "token-bucket", limit: 2, window: "1h" }] });
    expect([await use(own.key), await use(own.key), await use(own.key)]).toEqual([200, 200, 429]);
  });

  test("may be imported, by itself or by its hash, one or many: all or none", async () => {
    const secret = "imported.key-of-another-system/1";
    expect((await newKey({ key: secret })).key).toBe(secret);
    expect(await use(secret)).toBe(200);
    expect((await ask("POST", "/admin/keys", { consumer: "declared", key: secret })).status).toBe(409);
    const hashed = "known-only-by-its-hash-0123456789";
    const byHash = await ask("POST", "/admin/keys", { consumer: "declared", hash: Bun.SHA256.hash(hashed, "hex") });
    expect(byHash.body.key).toBeUndefined();
    expect(await use(hashed)).toBe(200);

    const many = Array.from({ length: 500 }, (_, i) => ({
      consumer: "declared",
      hash: Bun.SHA256.hash(`bulk-key-number-${i}-0123`, "hex"),
    }));
    const faulty = await ask("POST", "/admin/keys/import", {
      keys: [...many, { consumer: "nobody", key: "another-key-0123456789" }, many[0]],
    });
    expect([faulty.status, faulty.body.errors.map((error) => error.path)]).toEqual([422, ["keys[500].consumer", "keys[501].hash"]]);
    expect(await use("bulk-key-number-7-0123")).toBe(401);
    expect((await ask("POST", "/admin/keys/import", { keys: many })).status).toBe(201);
    expect([await use("bulk-key-number-0-0123"), await use("bulk-key-number-499-0123")]).toEqual([200, 200]);
  });

  test("goes with its consumer", async () => {
    const consumer = await newConsumer();
    const { key } = await newKey({}, consumer);
    expect((await ask("DELETE", `/admin/consumers/${consumer}`)).status).toBe(409);
    expect((await ask("DELETE", `/admin/consumers/${consumer}?force=true`)).status).toBe(204);
    expect(await why(key)).toBe("keyInvalid");
    expect((await ask("GET", `/admin/consumers/${consumer}`)).status).toBe(404);
  });
});

test("a method that the admin API does not know is refused, not taken for GET", async () => {
  for (const method of ["FOO", "get", "PROPFIND"]) {
    const answer = await exchange(
      gateway.port,
      `${method} /admin/health HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${ADMIN_TOKEN}\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).toStartWith("HTTP/1.1 405 ");
    expect(answer).toContain("Allow: GET, HEAD, POST");
  }
});

test("a route that would never be reached is refused", async () => {
  for (const path of ["/admin", "/admin/x", "/swagger/json", "/health", "/_health/", "/ready", "/metrics"]) {
    const { status, body } = await ask("POST", "/admin/routes", { path, upstream: "main" });
    expect([path, status, body.errors]).toEqual([
      path,
      422,
      [{ path: "path", message: "is served by Sluice itself, so that this route would never be reached" }],
    ]);
  }
  expect((await ask("POST", "/admin/routes", { path: "/health/deep", upstream: "main" })).status).toBe(201);
});

test("the path where keys of pools are handed out is a route's only while there is no pool", async () => {
  const route = { name: "squatter", path: "/api/v1/api-key", upstream: "main" };
  const pool = { name: "first", keys: [{ id: "one", limit: 1, window: "1s" }] };
  expect((await ask("POST", "/admin/routes", route)).status).toBe(201);
  const { status, body } = await ask("POST", "/admin/pools", pool);
  expect([status, JSON.stringify(body.errors)]).toEqual([422, expect.stringContaining('the route \\"squatter\\" takes /api/v1/api-key')]);
  expect((await ask("DELETE", "/admin/routes/squatter")).status).toBe(204);
  expect((await ask("POST", "/admin/pools", pool)).status).toBe(201);
  expect((await ask("POST", "/admin/routes", route)).status).toBe(422);
  expect((await ask("DELETE", "/admin/pools/first")).status).toBe(204);
});

test("a key says in its last seven days when it ends", async () => {
  const expiring = async (days: number) => {
    const expiresAt = new Date(Date.now() + days * 86_400_000).toISOString();
    const { key } = await newKey({ expiresAt });
    return [(await fetch(`${gateway.url}/main`, { headers: { "x-api-key": key } })).headers.get("x-key-expires"), expiresAt];
  };
  const [soon, at] = await expiring(6.9);
  expect(soon).toBe(at as string);
  expect((await expiring(7.1))[0]).toBeNull();
});

describe("a body that means harm", () => {
  const DEEP = `${'{"a":'.repeat(200_000)}1${"}".repeat(200_000)}`;

  test("is refused: nested deep, too large, or with a field __proto__; the gateway serves on", async () => {
    await using gateway = await start({ config: {} });
    // 200,000 levels are 1.4 MB: more than a record may have. An import may be larger, and is looked at before it is parsed.
    const record = await gateway.admin("POST", "/admin/consumers", `{"id":"acme","tier":"free","metadata":${DEEP}}`);
    expect([record.status, ((await record.json()) as { code: string }).code]).toEqual([413, "bodyTooLarge"]);
    const bulk = await gateway.admin("POST", "/admin/keys/import", `{"keys":[{"consumer":"acme","metadata":${DEEP}}]}`);
    expect([bulk.status, ((await bulk.json()) as { code: string }).code]).toEqual([422, "validationFailed"]);
    const smaller = await gateway.admin(
      "POST",
      "/admin/consumers",
      `{"id":"acme","tier":"free","metadata":${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}}`,
    );
    expect([smaller.status, ((await smaller.json()) as { detail: string }).detail]).toEqual([422, expect.stringContaining("nested")]);
    const prototype = await gateway.admin("POST", "/admin/consumers", '{"id":"acme","tier":"free","__proto__":{"isAdmin":true}}');
    expect([prototype.status, ((await prototype.json()) as { errors: unknown }).errors]).toEqual([
      422,
      [{ path: "__proto__", message: 'unknown field "__proto__"' }],
    ]);
    const chunked = await fetch(`${gateway.url}/admin/consumers`, {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" },
      body: new ReadableStream({
        pull: (controller) => {
          controller.enqueue(new TextEncoder().encode(DEEP));
          controller.close();
        },
      }),
    });
    expect(chunked.status).toBe(413);
    expect((await fetch(`${gateway.url}/health`)).status).toBe(200);
    expect((await gateway.admin("GET", "/admin/consumers/acme")).status).toBe(404);
  });
});
