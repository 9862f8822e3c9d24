import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { backend } from "../../support/backend.ts";
import { type Running, start } from "../../support/process.ts";

const program = (name: string): string => resolve(import.meta.dir, `../../support/${name}.ts`);
const MEGABYTE = 1024;
/** Kilobytes that an attack may cost: memory that Bun keeps once it had it is part of them. */
const MOST = 50 * MEGABYTE;

interface Tally {
  readonly opened: number;
  readonly refused: number;
  readonly closed: number;
  readonly sent: number;
  readonly answered: Readonly<Record<string, number>>;
}

interface Calls {
  readonly calls: number;
  readonly failures: Readonly<Record<string, number>>;
  readonly p50: number;
  readonly p99: number;
}

async function json<T>(name: string, args: readonly (string | number)[]): Promise<T> {
  const child = Bun.spawn([process.execPath, program(name), ...args.map(String)], { stdout: "pipe", stderr: "inherit" });
  return JSON.parse(await new Response(child.stdout).text()) as T;
}

/** Kilobytes. */
const memoryOf = (pid: number): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

const limits = [{ algorithm: "fixed-window", limit: 100_000_000, window: "1m" }];
const gatewayTo = (url: string, more: { files?: number; config?: object } = {}): Promise<Running> =>
  start({
    ...(more.files === undefined ? {} : { files: more.files }),
    config: {
      logging: { accessLog: false },
      anonymousTier: "open",
      tiers: { open: { limits } },
      routes: [
        { path: "/open", auth: "none", upstream: url },
        { path: "/patient", auth: "none", upstream: url, bodyRate: "0b" },
        { path: "/strict", auth: "none", upstream: url, bodyRate: "4kb" },
      ],
      ...more.config,
    },
  });

/**
 * Attacks while good callers go on. Tells what became of both, how many kilobytes the gateway grew by at most, and whether all is as it was when the attacker has left.
 */
async function underAttack(gateway: Running, path: string, seconds: number, attack: readonly (string | number)[]) {
  const url = `${gateway.url}${path}`;
  // Twice: the first shows the machine's speed to the compiler.
  await json<Calls>("callers", [url, 3]);
  const before = await json<Calls>("callers", [url, 5]);
  const [idle, descriptors] = [memoryOf(gateway.pid), descriptorsOf(gateway.pid)];
  let peak = idle;
  const watch = setInterval(() => {
    peak = Math.max(peak, memoryOf(gateway.pid));
  }, 50);
  const [kind, count, ...rest] = attack;
  const attacking = json<Tally>("attacker", [kind ?? "", gateway.port, count ?? 1, ...rest]);
  const calling = json<Calls>("callers", [url, seconds]);
  const [tally, during] = await Promise.all([attacking, calling]);
  clearInterval(watch);
  const ended = performance.now();
  while (descriptorsOf(gateway.pid) > descriptors + 5 && performance.now() - ended < 10_000) await Bun.sleep(50);
  const freedAfter = Math.round(performance.now() - ended);
  const metrics = await (await gateway.admin("GET", "/metrics")).text();
  const figures = {
    attack: attack.join(" "),
    "grew by MB": Math.round((peak - idle) / MEGABYTE),
    "p99 before, during (ms)": [before.p99, during.p99],
    "p50 before, during (ms)": [before.p50, during.p50],
    calls: during.calls,
    "freed after ms": freedAfter,
    ...tally,
  };
  console.log(JSON.stringify(figures));
  return { tally, before, during, grew: peak - idle, descriptors: descriptorsOf(gateway.pid) - descriptors, metrics };
}

describe("other callers are served, memory stays within 50 MB, and all is as before when the attacker has left", () => {
  test("200 MB of empty lines on one connection", async () => {
    using behind = backend();
    await using gateway = await gatewayTo(behind.url);
    const it = await underAttack(gateway, "/open/hello", 6, ["crlf", 200, 30]);
    expect(it.during.failures).toEqual({});
    expect(it.tally.answered).toEqual({ 400: 1 });
    expect(it.grew).toBeLessThan(MOST);
    expect(it.descriptors).toBeLessThanOrEqual(5);
  });

  for (const path of ["/health", "/swagger/json", "/open/hello"])
    test(`10 s of requests for ${path} whose answers nobody reads`, async () => {
      using behind = backend();
      await using gateway = await gatewayTo(behind.url);
      const it = await underAttack(gateway, "/open/hello", 10, ["unread", 1, 10, path]);
      expect(it.during.failures).toEqual({});
      expect(it.grew).toBeLessThan(MOST);
      expect(it.descriptors).toBeLessThanOrEqual(5);
      expect(it.metrics).toMatch(/sluice_target_in_flight\{[^}]*\} 0/);
    });

  test("5,000 heads that drip in", async () => {
    using behind = backend();
    await using gateway = await gatewayTo(behind.url);
    const it = await underAttack(gateway, "/open/hello", 25, ["heads", 5000, 25]);
    expect(it.during.failures).toEqual({});
    expect(it.tally.answered["408"]).toBe(5000);
    expect(it.tally.closed).toBe(5000);
    expect(it.grew).toBeLessThan(MOST);
    expect(it.descriptors).toBeLessThanOrEqual(5);
  });

  test("1,000 bodies that drip in", async () => {
    using behind = backend();
    await using gateway = await gatewayTo(behind.url);
    // Routes have their own measure: these come just as slowly, and at 2 kB a second.
    const others = Promise.all([
      json<Tally>("attacker", ["bodies", gateway.port, 5, 65, "/patient/upload"]),
      json<Tally>("attacker", ["steady", gateway.port, 5, 65, "/open/upload"]),
      json<Tally>("attacker", ["steady", gateway.port, 5, 65, "/strict/upload"]),
    ]);
    const it = await underAttack(gateway, "/open/hello", 60, ["bodies", 1000, 60, "/open/upload"]);
    const [patient, steady, strict] = await others;
    expect([patient?.answered, patient?.closed]).toEqual([{}, 0]);
    expect([steady?.answered, steady?.closed]).toEqual([{}, 0]);
    expect(strict?.answered).toEqual({ 408: 5 });
    expect(it.during.failures).toEqual({});
    expect(it.tally.answered["408"]).toBe(1000);
    expect(it.tally.closed).toBe(1000);
    expect(it.grew).toBeLessThan(MOST);
    expect(it.descriptors).toBeLessThanOrEqual(5);
    expect(it.metrics).toMatch(/sluice_target_in_flight\{[^}]*\} 0/);
    // What callers do says nothing of the backend.
    expect(it.metrics).toMatch(/circuit_breaker_state\{[^}]*\} 0/);
  });

  test("5,000 idle connections while 1,024 files may be open", async () => {
    using behind = backend();
    await using gateway = await gatewayTo(behind.url, { files: 1024 });
    const it = await underAttack(gateway, "/open/hello", 15, ["idle", 5000, 15]);
    expect(it.during.failures).toEqual({});
    expect(it.tally.opened).toBe(5000);
    expect(it.grew).toBeLessThan(MOST);
    expect(it.descriptors).toBeLessThanOrEqual(5);
    expect(it.metrics).toMatch(/sluice_connections_closed_early_total\{of="total"\} [1-9]/);
    expect(it.metrics).toMatch(/circuit_breaker_state\{[^}]*\} 0/);
    // However many were closed, that is one line.
    expect(gateway.output().split("connectionsExhausted").length - 1).toBe(1);
    const ready = (await (await fetch(`${gateway.url}/ready`)).json()) as { warnings: { code: string }[] };
    expect(ready.warnings.map(({ code }) => code)).toContain("connectionsExhausted");
  });
});
