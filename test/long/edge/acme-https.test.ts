// What is ordered is served: from an empty folder to https, and renewals while others connect.
import { expect } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { authority } from "../../support/acme-authority.ts";
import { FakeClock } from "../../support/clock.ts";
import { pebble } from "../../support/pebble.ts";
import { folder, freePort, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";
import { serving } from "../../support/serving.ts";
import { CERTIFICATE } from "../../support/tls.ts";
import { until } from "../../support/until.ts";

const { test } = having("pebble", "curl");

const HOST = "api.example.com";
const DAY = 86_400_000;
const ANONYMOUS = { tiers: { anonymous: { limits: [] } } };

/** Asks as a user would; `ca`: a file with the authority that is believed. */
function curl(url: string, port: number, ca: string): { status: number; text: string; headers: string } {
  const { host, hostname } = new URL(url);
  const { stdout, exitCode } = Bun.spawnSync([
    ...["curl", "-s", "-i", "--max-time", "10", "--cacert", ca],
    ...["--resolve", `${host.includes(":") ? host : `${hostname}:${port}`}:127.0.0.1`, url],
  ]);
  const [headers = "", text = ""] = stdout.toString().split("\r\n\r\n");
  return { status: exitCode === 0 ? Number(headers.split(" ")[1]) : -exitCode, text, headers };
}

test.each([1, 2])("from an empty folder to https in one start, with %p workers", async (workers) => {
  await using ca = await pebble();
  using place = folder();
  const tlsPort = freePort();
  const acme = { hosts: [HOST], email: "ops@example.org", directory: ca.directory, ca: ca.caFile };
  const config = { server: { workers, tls: { port: tlsPort, acme } }, ...ANONYMOUS, routes: [] };
  await using gateway = await start({ config, port: ca.httpPort, cwd: place.path });
  const root = join(place.path, "root.pem");
  await Bun.write(root, await ca.root());
  const https = () => curl(`https://${HOST}:${tlsPort}/health`, tlsPort, root);
  await until(() => https().status === 200);
  expect(https().text).toContain('"healthy"');
  // Everybody else is sent there.
  const plain = curl(`http://${HOST}:${ca.httpPort}/users?a=b`, ca.httpPort, root);
  expect(plain.status).toBe(308);
  expect(plain.headers).toContain(`Location: https://${HOST}:${tlsPort}/users?a=b`);
  expect(curl(`http://other.example.com:${ca.httpPort}/users`, ca.httpPort, root).status).toBe(404);
  // A worker that takes another's place has it as well, and a start of its own.
  if (workers === 2) {
    for (const pid of childrenOf(gateway.pid)) process.kill(pid, "SIGKILL");
    await until(() => https().status === 200);
  }
  await gateway.stop();
  await using again = await start({ config, port: ca.httpPort, cwd: place.path });
  await until(() => https().status === 200);
  expect(again.output()).not.toContain('"certificate ordered"');
});

/** The processes that a supervisor has started. */
const childrenOf = (pid: number): number[] =>
  readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    Bun.spawnSync(["cat", `/proc/${pid}/task/${task}/children`])
      .stdout.toString()
      .split(" ")
      .map(Number)
      .filter((child) => child > 0),
  );

test("renewals while many connect: no failed handshake, no cut answer", async () => {
  using place = folder();
  const began = Math.floor(Date.now() / 1000) * 1000;
  const clock = new FakeClock(began);
  using ca = authority({ life: { beginsAt: began, endsAt: began + 90 * DAY } });
  const caFile = join(place.path, "ca.pem");
  await Bun.write(caFile, CERTIFICATE);
  const acme = { hosts: [HOST, "b.example.com"], directory: ca.directory, ca: caFile };
  const server = { host: "127.0.0.1", port: 0, drainTimeout: "0s", tls: { port: 0, acme } };
  ca.httpPort = freePort();
  using _front = Bun.serve({
    ...{ hostname: "127.0.0.1", port: ca.httpPort },
    fetch: ({ url }) => fetch(`${gateway.url}${new URL(url).pathname}`, { headers: { Host: HOST } }),
  });
  const gateway = serving({ server, ...ANONYMOUS, routes: [] }, clock, join(place.path, "sluice.db"));
  const ends = async (): Promise<number[]> => {
    const { items } = (await (await gateway.admin("GET", "/admin/certificates")).json()) as {
      items: { endsAt: string | null; renewsAt: string }[];
    };
    return items.map(({ endsAt }) => (endsAt === null ? 0 : Date.parse(endsAt)));
  };
  try {
    await until(async () => (await ends()).every((end) => end > 0));
    const crowd = Bun.spawn(["bun", join(import.meta.dir, "../../support/handshakes.ts"), String(gateway.tlsPort), HOST, "500", "5"], {
      stdout: "pipe",
    });
    let renewals = 0;
    while (crowd.exitCode === null) {
      const before = await ends();
      clock.advance(62 * DAY);
      ca.life = { beginsAt: clock.time, endsAt: clock.time + 90 * DAY };
      await until(async () => crowd.exitCode !== null || (await ends()).every((end, i) => end > (before[i] ?? 0)));
      renewals++;
    }
    const outcome = (await new Response(crowd.stdout).json()) as {
      asked: number;
      answered: number;
      certificates: number;
      failures: object;
    };
    expect(outcome.failures).toEqual({});
    expect(outcome.answered).toBe(outcome.asked);
    expect(renewals).toBeGreaterThan(1);
    expect(outcome.certificates).toBeGreaterThan(1);
    expect(gateway.faults).toEqual([]);
  } finally {
    await gateway.stop();
  }
});
