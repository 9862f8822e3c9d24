// ACME against pebble, Let's Encrypt's test authority, with what it has to make life hard.
import { expect } from "bun:test";
import { X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { MemoryStore } from "../../../src/edge/acme/store.ts";
import type { AcmeConfig } from "../../../src/edge/settings.ts";
import { ordering } from "../../support/acme.ts";
import { type Pebble, pebble } from "../../support/pebble.ts";
import { type Folder, folder, freePort, type Running, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";
import { redisServer } from "../../support/redis.ts";
import { until } from "../../support/until.ts";

const { test } = having("pebble");
const { test: withRedis } = having("pebble", "redis-server");

const HOST = "api.example.com";
const ANONYMOUS = { tiers: { anonymous: { limits: [] } } };

/** The certificates of a chain, its own first. */
const chainOf = (pem: string): X509Certificate[] =>
  [...pem.matchAll(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g)].map(([text]) => new X509Certificate(text));

/** Checks that a chain is for a host, and leads to an authority's root. */
async function expectGiven(pem: string, host: string, authority: Pebble): Promise<void> {
  const chain = chainOf(pem);
  expect(chain[0]?.checkHost(host)).toBe(host);
  const whole = [...chain, new X509Certificate(await authority.root())];
  for (const [i, each] of whole.slice(0, -1).entries()) expect(each.verify((whole[i + 1] as X509Certificate).publicKey)).toBe(true);
}

const settingsFor = ({ directory, caFile }: Pebble, more: Partial<AcmeConfig> = {}) => ({
  directory,
  ca: caFile,
  email: "ops@example.org",
  ...more,
});

/** The files of certificates below a gateway's data folder. */
function filesOf({ path }: Folder): string[] {
  const root = join(path, "data", "acme");
  if (!existsSync(root)) return [];
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".pem"))
    .map(({ parentPath, name }) => join(parentPath, name));
}

/** A gateway that orders from `authority`, which looks for it at `port`. */
const gatewayAt = (
  port: number,
  authority: Pebble,
  place: Folder,
  more: object = {},
  env: Record<string, string> = {},
): Promise<Running> => {
  const { server, ...others } = { server: {}, ...more };
  const acme = { hosts: [HOST, "b.example.com"], ...settingsFor(authority) };
  return start({
    config: { server: { tls: { port: freePort(), acme }, ...server }, ...ANONYMOUS, routes: [], ...others },
    port,
    cwd: place.path,
    env,
  });
};

test.each([1, 2])("from an empty folder to certificates in one start, with %p workers", async (workers) => {
  await using authority = await pebble();
  using place = folder();
  await using gateway = await gatewayAt(authority.httpPort, authority, place, { server: { workers } });
  await until(() => gateway.output().split('"certificate ordered"').length === 3);
  const files = filesOf(place);
  expect(files).toHaveLength(2);
  for (const file of files) await expectGiven(readFileSync(file, "utf8"), file.slice(file.lastIndexOf("/") + 1, -".pem".length), authority);
});

test("half of all nonces are refused, and the order goes on", async () => {
  await using authority = await pebble({ refusesNonces: 50 });
  const hosts = ["a.example.com", "b.example.com", "c.example.com"];
  await using own = ordering({ settings: settingsFor(authority, { hosts }), httpPort: authority.httpPort });
  await own.look();
  expect(own.counts).toEqual({ issued: 3, failed: 0 });
  for (const { cert, place } of own.source.certificates) await expectGiven(cert, place, authority);
});

test("an authority that takes its time is waited for", async () => {
  await using authority = await pebble({ sleeps: 3 });
  await using own = ordering({ settings: settingsFor(authority), httpPort: authority.httpPort });
  await own.look();
  expect(own.counts).toEqual({ issued: 1, failed: 0 });
});

test("a host that does not lead here fails with the authority's words, and comes when it does", async () => {
  await using authority = await pebble();
  await using own = ordering({ settings: settingsFor(authority) });
  await own.look();
  expect(own.source.standings).toMatchObject([
    { failures: 1, trouble: expect.stringContaining(`http://${HOST}:${authority.httpPort}/.well-known/acme-challenge/`) },
  ]);
  using _front = Bun.serve({
    ...{ hostname: "127.0.0.1", port: authority.httpPort },
    fetch: async ({ url }) => new Response(await own.source.proof(new URL(url).pathname.replace("/.well-known/acme-challenge/", ""))),
  });
  own.clock.time = own.source.standings[0]?.renewsAt ?? 0;
  await own.look();
  expect(own.source.standings).toMatchObject([{ failures: 0, trouble: null }]);
});

test("an account elsewhere is bound where the authority wants one, and wanted is told", async () => {
  const binding = { kid: "kid-1", hmacKey: "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W" };
  await using authority = await pebble({ binding });
  await using without = ordering({ settings: settingsFor(authority), httpPort: authority.httpPort });
  await without.look();
  expect(without.source.standings[0]?.trouble).toBe(
    "the authority wants an external account: set server.tls.acme.eab to the key that it gave you",
  );
  await without[Symbol.asyncDispose]();
  await using wrong = ordering({
    settings: settingsFor(authority, { eab: { ...binding, hmacKey: "d3Jvbmc" } }),
    httpPort: authority.httpPort,
  });
  await wrong.look();
  expect(wrong.source.standings).toMatchObject([{ failures: 1 }]);
  await wrong[Symbol.asyncDispose]();
  await using own = ordering({ settings: settingsFor(authority, { eab: binding }), httpPort: authority.httpPort });
  await own.look();
  expect(own.counts).toEqual({ issued: 1, failed: 0 });
});

test("a renewal, and an authority that has forgotten everything", async () => {
  const store = new MemoryStore();
  const [httpPort, port] = [freePort(), freePort()];
  let first: string | undefined;
  {
    await using authority = await pebble({ httpPort, port });
    await using own = ordering({ settings: settingsFor(authority), httpPort, store });
    await own.look();
    first = own.source.certificates[0]?.cert;
  }
  await using authority = await pebble({ httpPort, port });
  await using own = ordering({ settings: settingsFor(authority), httpPort, store });
  expect(own.source.certificates[0]?.cert).toBe(first as string);
  own.clock.time = own.source.standings[0]?.renewsAt ?? 0;
  await own.look();
  expect(own.counts).toEqual({ issued: 1, failed: 0 });
  expect(own.source.certificates[0]?.cert).not.toBe(first as string);
  await expectGiven(own.source.certificates[0]?.cert ?? "", HOST, authority);
});

withRedis("of two gateways on a Redis one orders, the authority comes to the other, and both have the certificates", async () => {
  await using server = await redisServer();
  await using authority = await pebble();
  using one = folder();
  using two = folder();
  const more = { redis: { url: server.url, timeout: "1s" } };
  const env = { SLUICE_SECRET: "a secret of both" };
  const answering = Promise.withResolvers<string>();
  using _balancer = Bun.serve({
    ...{ hostname: "127.0.0.1", port: authority.httpPort },
    fetch: async ({ url }) => fetch(`${await answering.promise}${new URL(url).pathname}`),
  });
  // It is the first, so it orders.
  await using first = await gatewayAt(freePort(), authority, one, more, env);
  await until(() => (server.client.keys("*:acme:*:lease") as Promise<string[]>).then(({ length }) => length === 1));
  await using second = await gatewayAt(freePort(), authority, two, more, env);
  answering.resolve(second.url);
  await until(() => [one, two].every((place) => filesOf(place).length === 2));
  expect(filesOf(one).map((file) => readFileSync(file, "utf8"))).toEqual(filesOf(two).map((file) => readFileSync(file, "utf8")));
  expect([first, second].map((gateway) => gateway.output().split('"certificate ordered"').length - 1)).toEqual([2, 0]);
  expect(first.output() + second.output()).not.toContain("PRIVATE KEY");
});
