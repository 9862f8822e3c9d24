import { afterAll, afterEach, beforeAll, beforeEach, expect } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Authorities, askWith, authorities, type Pair, type TestAuthority, TlsClient } from "../support/authority.ts";
import { type Backend, backend } from "../support/backend.ts";
import { having } from "../support/programs.ts";
import { serving } from "../support/serving.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../support/tls.ts";

const { describe, test } = having("openssl");

const KEY = "a-declared-key-0123456789";
const TIERS = {
  anonymous: { limits: [] },
  free: { limits: [{ algorithm: "fixed-window", limit: 3, window: "1m" }] },
  pro: { limits: [{ algorithm: "fixed-window", limit: 100, window: "1m" }] },
};

let own: Authorities;
let root: TestAuthority;
let inter: TestAuthority;
let alice: Pair;
let folder: string;
let upstream: Backend;
const open: { stop: () => Promise<unknown> }[] = [];

beforeAll(() => {
  own = authorities();
  root = own.authority("/CN=Root");
  inter = root.authority("/CN=Between");
  alice = root.sign({
    subject: "/O=Acme/CN=alice",
    extensions: ["subjectAltName=URI:spiffe://acme/alice,DNS:Alice.Test,DNS:b.test,email:alice@acme.test"],
  });
});
afterAll(() => own[Symbol.dispose]());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-tls-"));
  writeFileSync(join(folder, "cert.pem"), CERTIFICATE);
  writeFileSync(join(folder, "key.pem"), PRIVATE_KEY);
  upstream = backend();
});
afterEach(async () => {
  for (const each of open.splice(0)) await each.stop();
  upstream[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** A gateway that takes certificates of the authority. `ca`: what its file holds. */
function gateway({
  ca = root.cert,
  clients = {},
  route = {},
  server = {},
  ...config
}: {
  ca?: string;
  clients?: object;
  route?: object;
  server?: object;
  [section: string]: unknown;
} = {}) {
  writeFileSync(join(folder, "ca.pem"), ca);
  const served = serving({
    tiers: TIERS,
    server: {
      ...{ host: "127.0.0.1", drainTimeout: "0s" },
      tls: { cert: join(folder, "cert.pem"), key: join(folder, "key.pem"), clientCertificates: { ca: join(folder, "ca.pem"), ...clients } },
      ...server,
    },
    routes: [{ path: "/a", upstream: upstream.url, ...route }],
    consumers: [{ id: "acme", tier: "pro", keys: [KEY] }],
    ...config,
  });
  open.push(served);
  const admin = async (path: string) => {
    const response = await fetch(`https://127.0.0.1:${served.port}/admin${path}`, {
      headers: { authorization: "Bearer an-admin-token-0123456789" },
      tls: { ca: CERTIFICATE, checkServerIdentity: () => undefined },
    });
    return { status: response.status, json: (await response.json()) as Record<string, unknown> };
  };
  const ask = (pair: Pair | null, headers: Record<string, string> = {}, path = "/a/x") => askWith(served.port, pair, path, headers);
  const codeOf = async (pair: Pair | null, headers: Record<string, string> = {}) => {
    const { status, json } = await ask(pair, headers);
    return `${status} ${String(json.code)}`;
  };
  /** The consumer that the backend is told of. */
  const consumerOf = async (pair: Pair | null, headers: Record<string, string> = {}) => {
    expect((await ask(pair, headers)).status).toBe(200);
    return upstream.seen.at(-1)?.headers["x-consumer-id"];
  };
  return { ...served, ask, codeOf, consumerOf, adminGet: admin };
}

describe("a request over a connection with a client's certificate", () => {
  test("is the caller's whom the certificate names", async () => {
    const { consumerOf } = gateway();
    expect(await consumerOf(alice)).toBe("certificate:alice");
    expect(upstream.seen.at(-1)?.headers).toMatchObject({ "x-consumer-tier": "free" });
  });

  test.each([
    ["san.uri", "certificate:spiffe://acme/alice"],
    ["san.dns", "certificate:alice.test"],
    ["san.email", "certificate:alice@acme.test"],
  ])("names its caller by %s where the configuration says so", async (consumer, id) => {
    expect(await gateway({ clients: { consumer } }).consumerOf(alice)).toBe(id);
  });

  test("has a name that can stand in a header, whatever the certificate holds", async () => {
    const { consumerOf, codeOf } = gateway();
    expect(await consumerOf(root.sign({ subject: '/CN=Jörg "50%" Doe' }))).toBe("certificate:J%C3%B6rg%20%2250%25%22%20Doe");
    expect(await consumerOf(root.sign({ subject: "/CN=first/O=Acme/CN=last" }))).toBe("certificate:last");
    expect(await codeOf(root.sign({ subject: "/O=Acme" }))).toBe("401 certificateInvalid");
    expect(await codeOf(root.sign({ subject: `/CN=${"a".repeat(43)} ${"€".repeat(20)}` }))).toBe("401 certificateInvalid");
  });

  test("has the limits of its tier, counted for the caller by however many connections and certificates", async () => {
    const { ask } = gateway();
    const other = root.sign({ subject: "/CN=alice" });
    const statuses: number[] = [];
    for (const pair of [alice, other, alice, other]) statuses.push((await ask(pair)).status);
    expect(statuses).toEqual([200, 200, 200, 429]);
    expect((await ask(root.sign({ subject: "/CN=bob" }))).status).toBe(200);
  });

  test("has the tier, the limits and the state of the record with its id", async () => {
    const record = { id: "certificate:alice", tier: "pro", metadata: { team: "a" } };
    const { ask, adminGet } = gateway({ consumers: [record] });
    expect((await ask(alice)).headers["x-ratelimit-limit"]).toBe("100");
    expect((await adminGet("/explain?consumer=certificate:alice")).json).toMatchObject({ tier: "pro", anonymous: false, allowed: true });
    const own = gateway({ consumers: [{ ...record, limits: [{ algorithm: "fixed-window", limit: 7, window: "1m" }] }] });
    expect((await own.ask(alice)).headers["x-ratelimit-limit"]).toBe("7");
    const made = gateway();
    expect((await made.ask(alice)).headers["x-ratelimit-limit"]).toBe("3");
    await fetch(`https://127.0.0.1:${made.port}/admin/consumers`, {
      method: "POST",
      headers: { authorization: "Bearer an-admin-token-0123456789", "content-type": "application/json" },
      body: JSON.stringify({ id: "certificate:alice", tier: "pro" }),
      tls: { ca: CERTIFICATE, checkServerIdentity: () => undefined },
    });
    expect((await made.ask(alice)).headers["x-ratelimit-limit"]).toBe("100");
    expect(upstream.seen.at(-1)?.headers["x-consumer-tier"]).toBe("pro");
    const url = gateway({ clients: { consumer: "san.uri" }, consumers: [{ ...record, id: "certificate:spiffe://acme/alice" }] });
    expect((await url.ask(alice)).headers["x-ratelimit-limit"]).toBe("100");
    const off = gateway({ consumers: [{ ...record, enabled: false }] });
    expect((await off.ask(alice)).json).toMatchObject({ status: 401, code: "certificateInvalid" });
    expect((await off.adminGet("/explain?consumer=certificate:alice")).json.denials).toMatchObject([{ code: "certificateInvalid" }]);
  });

  test("is the key's or the token's caller where one is shown besides, and a bad one is refused", async () => {
    const { consumerOf, codeOf } = gateway();
    expect(await consumerOf(alice, { "x-api-key": KEY })).toBe("acme");
    expect(await codeOf(alice, { "x-api-key": "a-key-that-nobody-has" })).toBe("401 keyInvalid");
    const stranger = own.authority("/CN=Elsewhere").sign();
    expect(await consumerOf(stranger, { "x-api-key": KEY })).toBe("acme");
  });

  test("needs none where none is needed", async () => {
    const { codeOf, ask } = gateway();
    expect(await codeOf(null)).toBe("401 keyMissing");
    const stranger = own.authority("/CN=Elsewhere").sign();
    const none = gateway({ route: { auth: "none" } });
    for (const pair of [null, alice, stranger]) expect((await none.ask(pair)).status).toBe(200);
    expect(upstream.seen.at(-1)?.headers["x-consumer-id"]).toBeUndefined();
    const optional = gateway({ route: { auth: "optional" } });
    expect((await optional.ask(null)).status).toBe(200);
    expect(await optional.consumerOf(alice)).toBe("certificate:alice");
    expect(await optional.codeOf(stranger)).toBe("401 certificateInvalid");
    expect((await ask(null, {}, "/health")).status).toBe(200);
  });

  test("may use what its tier allows; scopes it has none", async () => {
    expect((await gateway({ route: { tiers: ["free"] } }).ask(alice)).status).toBe(200);
    expect((await gateway({ route: { tiers: ["pro"] } }).ask(alice)).status).toBe(403);
    const { json } = await gateway({ route: { scopes: ["a:read"] } }).ask(alice);
    expect(json).toMatchObject({ status: 403, detail: "Certificates carry no scopes, and this takes a:read: send a key." });
  });

  test("tells who calls in the usage and at /api/v1/me", async () => {
    const { ask, adminGet, clock } = gateway({ selfService: {} });
    await ask(alice);
    expect((await ask(alice, {}, "/api/v1/me")).json).toMatchObject({ consumer: "certificate:alice", tier: "free", key: null });
    clock.advance(2000);
    const { json } = await adminGet("/usage?by=consumer");
    expect(JSON.stringify(json)).toContain('"certificate:alice"');
  });

  test("can't be stood in for by any field of a request, and no backend is told of such a field", async () => {
    const { codeOf, consumerOf } = gateway();
    const fields = {
      ...{ "x-client-cert": alice.cert.replaceAll("\n", " "), "client-cert": ":AAAA:", "client-cert-chain": ":AAAA:" },
      ...{
        "x-ssl-client-verify": "SUCCESS",
        "ssl-client-subject-dn": "CN=root",
        "x-forwarded-client-cert": "Subject=root",
        "x-consumer-id": "certificate:root",
      },
      ...{ "sluice-relay": "%7B%22certificate%22%3A%7B%22name%22%3A%22root%22%7D%7D", x_client_cert: "root" },
    };
    expect(await codeOf(null, fields)).toBe("401 keyMissing");
    expect(await consumerOf(alice, fields)).toBe("certificate:alice");
    const seen = upstream.seen.at(-1)?.headers ?? {};
    expect(Object.keys(seen).filter((name) => /client|ssl/.test(name))).toEqual([]);
  });

  test("is not the proxy's who brings the request of somebody else", async () => {
    const { codeOf, consumerOf } = gateway({ server: { trustedProxies: ["127.0.0.1"] } });
    expect(await codeOf(alice, { "x-forwarded-for": "192.0.2.1" })).toBe("401 keyMissing");
    expect(await consumerOf(alice)).toBe("certificate:alice");
    expect(await gateway().consumerOf(alice, { "x-forwarded-for": "192.0.2.1" })).toBe("certificate:alice");
  });
});

describe("a certificate", () => {
  test("is taken by way of those between it and the authority, where the client sends them or the file holds them", async () => {
    const pair = inter.sign();
    const whole = { ...pair, cert: pair.cert + inter.cert };
    const { codeOf, consumerOf } = gateway();
    expect(await consumerOf(whole)).toBe("certificate:alice");
    expect(await codeOf(pair)).toBe("401 certificateInvalid");
    expect(await gateway({ ca: inter.cert + root.cert }).consumerOf(pair)).toBe("certificate:alice");
    // One that another has signed is an authority by itself.
    const alone = gateway({ ca: inter.cert });
    expect(await alone.consumerOf(pair)).toBe("certificate:alice");
    expect(await alone.codeOf(alice)).toBe("401 certificateInvalid");
  });

  test.each([
    ["that nobody known has signed", () => own.authority("/CN=Root").sign(), "not signed by an authority"],
    ["that has signed itself", () => own.authority("/CN=alice"), "not signed by an authority"],
    ["that is over", () => root.sign({ until: "20210101000000Z" }), "has expired"],
    ["that is not valid yet", () => root.sign({ from: "20990101000000Z" }), "not valid yet"],
    ["of a server", () => root.sign({ extensions: ["extendedKeyUsage=serverAuth"] }), "not for clients"],
  ])("%s is refused, and the caller is told why", async (_what, make, says) => {
    const { status, headers, json } = await gateway().ask(make());
    expect([status, json.code, headers["www-authenticate"]]).toEqual([401, "certificateInvalid", 'Bearer realm="sluice"']);
    expect(json.detail).toContain(says);
  });

  test("that is over by the time of a request is refused on the connection that showed it", async () => {
    const soon = new Date(Date.now() + 3_600_000).toISOString().replace(/[-:T]|\.\d+/g, "");
    const pair = root.sign({ until: soon });
    const { port, clock } = gateway();
    const client = await TlsClient.open(port, pair);
    expect((await client.ask("/a/x")).status).toBe(200);
    clock.advance(3_700_000);
    expect((await client.ask("/a/x")).json).toMatchObject({
      code: "certificateInvalid",
      detail: "The certificate has expired; show another one, or send a key.",
    });
    client.close();
  });

  test("that a list revokes is refused, also where it stands between", async () => {
    const [bob, carol] = [root.sign({ subject: "/CN=bob" }), inter.sign({ subject: "/CN=carol" })];
    const other = root.authority("/CN=Other");
    const dave = other.sign({ subject: "/CN=dave" });
    root.revoke(bob);
    root.revoke(other);
    const lists = gateway({ ca: root.cert + root.list() });
    expect(await lists.consumerOf(alice)).toBe("certificate:alice");
    expect((await lists.ask(bob)).json).toMatchObject({
      code: "certificateInvalid",
      detail: "The certificate is revoked; show another one, or send a key.",
    });
    expect(await lists.codeOf({ ...dave, cert: dave.cert + other.cert })).toBe("401 certificateInvalid");
    expect(await lists.consumerOf({ ...carol, cert: carol.cert + inter.cert })).toBe("certificate:carol");
    inter.revoke(carol);
    const both = gateway({ ca: root.cert + root.list() + inter.cert + inter.list() });
    expect(await both.codeOf(carol)).toBe("401 certificateInvalid");
  });

  test.each(["TLSv1.2", "TLSv1.3"] as const)("is known by a resumed session (%s)", async (version) => {
    const { port } = gateway();
    const first = await TlsClient.open(port, alice, { version });
    expect((await first.ask("/a/x")).isResumed).toBe(false);
    const { session } = first;
    first.close();
    // Shown in the first handshake alone.
    const second = await TlsClient.open(port, null, { session, version });
    expect(await second.ask("/a/x")).toMatchObject({ status: 200, isResumed: true });
    expect(upstream.seen.at(-1)?.headers["x-consumer-id"]).toBe("certificate:alice");
    second.close();
  });
});

describe("a gateway that requires certificates", () => {
  test("refuses the handshake of those who show none that holds", async () => {
    const bob = root.sign({ subject: "/CN=bob" });
    root.revoke(bob);
    const { ask, consumerOf, port } = gateway({ clients: { require: true }, ca: root.cert + root.list() });
    expect(await consumerOf(alice)).toBe("certificate:alice");
    for (const pair of [null, own.authority("/CN=Elsewhere").sign(), bob]) expect((await ask(pair, {}, "/health")).status).toBe(0);
    expect((await ask(alice, {}, "/health")).status).toBe(200);
    const client = await TlsClient.open(port, alice);
    const metrics = await client.ask("/metrics", { authorization: "Bearer an-admin-token-0123456789" });
    expect(metrics.status).toBe(200);
    client.close();
  });

  test("asks for none on the admin API's own listener", async () => {
    const { ask, adminPort } = gateway({ clients: { require: true }, admin: { listen: { host: "127.0.0.1", port: 0 } } });
    expect((await ask(null, {}, "/health")).status).toBe(0);
    expect((await askWith(adminPort, null, "/admin/stats", { authorization: "Bearer an-admin-token-0123456789" })).status).toBe(200);
  });
});

describe("authorities that change", () => {
  test("hold for connections and sessions that are there already", async () => {
    const { port, useAuthorities } = gateway();
    const client = await TlsClient.open(port, alice);
    expect((await client.ask("/a/x")).status).toBe(200);
    const list = own.authority("/CN=Root");
    const named = { require: false, consumer: "subject.CN", tier: "pro" } as const;
    // The same name, and another key.
    useAuthorities({ ...named, pem: list.cert });
    expect((await client.ask("/a/x")).json).toMatchObject({ code: "certificateInvalid" });
    const resumed = await TlsClient.open(port, null, { session: client.session });
    expect(await resumed.ask("/a/x")).toMatchObject({ status: 401, isResumed: true, json: { code: "certificateInvalid" } });
    useAuthorities({ ...named, pem: root.cert });
    expect((await client.ask("/a/x")).headers["x-ratelimit-limit"]).toBe("100");
    useAuthorities({ ...named, pem: "" });
    expect((await client.ask("/a/x")).json).toMatchObject({ code: "certificateInvalid" });
    useAuthorities(null);
    expect((await client.ask("/a/x")).json).toMatchObject({ code: "certificateInvalid" });
    for (const each of [client, resumed]) each.close();
  });

  test("leave those before in force when they can't be read", async () => {
    const { ask, useAuthorities } = gateway();
    expect(() => useAuthorities({ require: false, consumer: "subject.CN", tier: "pro", pem: "nothing" })).toThrow(
      "holds no certificate in PEM format",
    );
    expect((await ask(alice)).headers["x-ratelimit-limit"]).toBe("3");
  });

  test("are warned of when their lists are old", async () => {
    const pem = root.cert + root.list("21000101000000Z");
    const { clock, ask, useAuthorities } = gateway({ ca: pem });
    const codes = async () => {
      const { json } = await ask(null, { authorization: "Bearer an-admin-token-0123456789" }, "/ready");
      return (json.warnings as { code: string }[]).map(({ code }) => code);
    };
    expect(await codes()).not.toContain("revocationListOld");
    clock.advance(Date.UTC(2101, 0) - clock.wall());
    useAuthorities({ require: false, consumer: "subject.CN", tier: "pro", pem });
    expect(await codes()).toContain("revocationListOld");
    useAuthorities({ require: false, consumer: "subject.CN", tier: "pro", pem: root.cert });
    expect(await codes()).not.toContain("revocationListOld");
  });
});
