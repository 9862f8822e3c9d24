import { expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Authority, authority } from "../support/acme-authority.ts";
import { type Folder, folder, freePort, type Running, run, start } from "../support/process.ts";
import { CERTIFICATE } from "../support/tls.ts";
import { until } from "../support/until.ts";

const HOST = "api.example.com";
const ANONYMOUS = { tiers: { anonymous: { limits: [] } } };
const AT = "/.well-known/acme-challenge";

/** A gateway that orders from `ca`, which looks for it at its plain port. */
async function ordering(ca: Authority, place: Folder, more: object = {}): Promise<Running> {
  const port = freePort();
  ca.httpPort = port;
  writeFileSync(join(place.path, "ca.pem"), CERTIFICATE);
  const acme = { hosts: [HOST], email: "ops@example.com", directory: ca.directory, ca: "ca.pem" };
  const config = {
    server: { tls: { port: freePort(), acme }, ...more },
    ...ANONYMOUS,
    // It takes every path: the challenge's is Sluice's own.
    routes: [{ path: "/", upstream: "http://127.0.0.1:1", auth: "none" }],
  };
  return start({ config, port, cwd: place.path });
}

const ordered = (gateway: Running) => until(() => gateway.output().includes('"certificate ordered"'));
const metric = async (gateway: Running, name: string): Promise<string | undefined> =>
  (await (await gateway.admin("GET", "/metrics")).text()).split("\n").find((line) => line.startsWith(name));

/** The files of certificates below a gateway's data folder. */
function filesOf({ path }: Folder): string[] {
  const root = join(path, "data", "acme");
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".pem"))
    .map(({ parentPath, name }) => join(parentPath, name));
}

test.each([1, 2])("from an empty folder to a certificate in one start, with %p workers", async (workers) => {
  using ca = authority();
  using place = folder();
  {
    await using gateway = await ordering(ca, place, { workers });
    await ordered(gateway);
    const [file = ""] = filesOf(place);
    expect(file).toEndWith(`/${HOST}.pem`);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, "utf8")).toMatch(/^-----BEGIN PRIVATE KEY-----[\s\S]*-----BEGIN CERTIFICATE-----/);
    expect(await metric(gateway, "sluice_acme_orders_total")).toBe('sluice_acme_orders_total{result="issued"} 1');
    expect(await metric(gateway, "sluice_acme_failures")).toBe(`sluice_acme_failures{host="${HOST}"} 0`);
    expect(gateway.output()).not.toContain("PRIVATE KEY");
    expect(await gateway.stop()).toBe(0);
  }
  // What is stored is not ordered again.
  await using again = await ordering(ca, place, { workers });
  await until(async () => (await metric(again, "sluice_acme_next_order")) !== undefined);
  expect(await metric(again, "sluice_acme_orders_total")).toBe('sluice_acme_orders_total{result="issued"} 0');
  expect(ca.asked.filter(({ what }) => what === "new-order")).toHaveLength(1);
});

test("a failing order is a warning and a metric, and requests are served", async () => {
  using ca = authority();
  using place = folder();
  ca.instead = (what) => (what === "finalize" ? new Response("{}", { status: 500 }) : null);
  await using gateway = await ordering(ca, place);
  type Ready = { warnings: { code: string; detail: string }[] };
  const warning = async () =>
    ((await (await gateway.admin("GET", "/ready")).json()) as Ready).warnings.find(({ code }) => code === "certificateFailing");
  await until(async () => (await warning()) !== undefined);
  expect((await warning())?.detail).toContain(`${HOST}: status 500`);
  expect(await metric(gateway, "sluice_acme_failures")).toBe(`sluice_acme_failures{host="${HOST}"} 1`);
  expect((await fetch(`${gateway.url}/health`)).status).toBe(200);
  ca.instead = () => null;
  // It is tried again after a minute.
  await until(() => gateway.output().includes('"nextAt"'));
});

test("what nobody asks for is not there, and nothing else is answered", async () => {
  using ca = authority();
  using place = folder();
  await using gateway = await ordering(ca, place);
  await ordered(gateway);
  for (const path of [`${AT}/unknown`, `${AT}/`, AT, `${AT}/..%2f..%2fca.pem`, `${AT}/a/b`, `${AT}/${"x".repeat(5000)}`]) {
    const answer = await fetch(gateway.url + path, { redirect: "manual" });
    expect([path, answer.status === 404 || answer.status === 400]).toEqual([path, true]);
  }
  expect((await fetch(`${gateway.url}${AT}/unknown`, { method: "POST", redirect: "manual" })).status).toBe(405);
});

test("a route at the challenges' path is a fault where hosts are ordered for", async () => {
  using place = folder();
  const check = (tls: object | null) => {
    writeFileSync(
      join(place.path, "config.json"),
      JSON.stringify({ server: { port: 80, tls }, routes: [{ path: `${AT}/x`, upstream: "http://127.0.0.1:1", auth: "none" }] }),
    );
    return run(["check"], { cwd: place.path });
  };
  expect((await check(null)).stdout).toContain("valid");
  expect((await check({ acme: { hosts: [HOST] } })).stdout).toContain("routes[0].path");
});
