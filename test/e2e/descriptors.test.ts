import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { backend } from "../support/backend.ts";
import { start } from "../support/process.ts";

const opened = (port: number): Promise<Socket> =>
  new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port }, () => resolve(socket));
    socket.on("error", () => resolve(socket));
  });

// What is looked at is Linux's: /proc, ulimit.
describe.skipIf(process.platform !== "linux")("a gateway that may open few files", () => {
  test("serves callers and reaches its backend while more clients idle than it has descriptors", async () => {
    using behind = backend();
    await using gateway = await start({
      files: 256,
      config: { routes: [{ path: "/open", auth: "none", upstream: behind.url }], anonymousTier: "open", tiers: { open: { limits: [] } } },
    });
    const before = readdirSync(`/proc/${gateway.pid}/fd`).length;
    const kept = await opened(gateway.port);
    const crowd: Socket[] = [];
    for (let i = 0; i < 400; i++) {
      crowd.push(await opened(gateway.port));
      // Connections of their own, and to the backend as well.
      if (i % 40 === 0)
        expect((await fetch(`${gateway.url}/open/hello`, { headers: { connection: "close" }, keepalive: false })).status).toBe(200);
    }
    const answers = await Promise.all(Array.from({ length: 50 }, () => fetch(`${gateway.url}/open/hello`)));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 50 }, () => 200));
    const warnings = async (): Promise<string[]> =>
      ((await (await fetch(`${gateway.url}/ready`)).json()) as { warnings: { code: string }[] }).warnings.map(({ code }) => code);
    while (!(await warnings()).includes("connectionsExhausted")) await Bun.sleep(50);
    const metrics = await (await gateway.admin("GET", "/metrics")).text();
    expect(metrics).toMatch(/sluice_connections_limit 149\n/);
    expect(metrics).toMatch(/sluice_connections_refused_total\{of="total"\} 0\n/);
    expect(Number(/sluice_connections_closed_early_total\{of="total"\} (\d+)/.exec(metrics)?.[1])).toBeGreaterThan(250);
    expect(metrics).toMatch(/circuit_breaker_state\{[^}]*\} 0\n/);
    while (!gateway.output().includes("connectionsExhausted")) await Bun.sleep(10);
    expect(gateway.output().split("connectionsExhausted").length - 1).toBe(1);
    for (const socket of [kept, ...crowd]) socket.destroy();
    while (readdirSync(`/proc/${gateway.pid}/fd`).length > before + 60) await Bun.sleep(20);
    expect((await fetch(`${gateway.url}/open/hello`)).status).toBe(200);
  });

  test("takes the bounds of its configuration, and other ones at a reload", async () => {
    using behind = backend();
    const config = (maxConnections: number) => ({
      server: { maxConnections, maxConnectionsPerAddress: 1 },
      routes: [{ path: "/open", auth: "none", upstream: behind.url }],
    });
    await using gateway = await start({ config: config(3) });
    const limit = async (): Promise<string> =>
      /sluice_connections_limit (\d+)/.exec(await (await gateway.admin("GET", "/metrics")).text())?.[1] ?? "none";
    expect(await limit()).toBe("3");
    const idle = await opened(gateway.port);
    const gone = new Promise<void>((resolve) => idle.on("close", () => resolve()).resume());
    // Loopback's connections are not counted by address; in all there are three.
    const others = [await opened(gateway.port), await opened(gateway.port), await opened(gateway.port)];
    await gone;
    await Bun.write(`${gateway.folder}/config.json`, JSON.stringify(config(50)));
    expect((await gateway.admin("POST", "/admin/config/reload")).status).toBe(200);
    expect(await limit()).toBe("50");
    for (const each of others) each.destroy();
  });
});
