import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { folder, freePort, run, start } from "../support/process.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../support/tls.ts";

const secure = () =>
  Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    development: false,
    tls: { cert: CERTIFICATE, key: PRIVATE_KEY },
    fetch: async (request) => Response.json({ proto: request.headers.get("x-forwarded-proto"), size: (await request.bytes()).length }),
  });

test("TLS is spoken on both sides, and a backend whose certificate nobody vouches for is not used", async () => {
  using home = folder();
  writeFileSync(join(home.path, "cert.pem"), CERTIFICATE);
  writeFileSync(join(home.path, "key.pem"), PRIVATE_KEY);
  const backend = secure();
  const config = {
    server: { tls: { cert: "cert.pem", key: "key.pem" }, port: freePort() },
    admin: { listen: { port: freePort() } },
    tiers: { anonymous: {} },
    routes: [{ name: "secure", path: "/", upstream: `https://localhost:${backend.port}`, auth: "none" }],
  };
  try {
    for (const [trusted, expected] of [
      [{ NODE_EXTRA_CA_CERTS: "cert.pem" }, 200],
      [{}, 502],
    ] as const) {
      await using gateway = await start({ cwd: home.path, config, env: trusted, tls: CERTIFICATE });
      const answer = await fetch(`${gateway.url}/up`, { method: "POST", body: new Uint8Array(3_000_000), tls: { ca: CERTIFICATE } });
      expect(answer.status).toBe(expected);
      if (expected === 200) expect(await answer.json()).toEqual({ proto: "https", size: 3_000_000 });
    }
  } finally {
    await backend.stop(true);
  }
});

test("a certificate that can't be read is named", async () => {
  using home = folder();
  writeFileSync(join(home.path, "config.json"), '{ "server": { "tls": { "cert": "none.pem", "key": "none.pem" } } }');
  const { status, stderr } = await run(["serve", "--port", "0"], { cwd: home.path });
  expect([status, stderr]).toEqual([1, expect.stringContaining("none.pem")]);
});
