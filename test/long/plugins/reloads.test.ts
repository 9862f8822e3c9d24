import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { backend } from "../../support/backend.ts";
import { write } from "../../support/plugins.ts";
import { folder, start } from "../../support/process.ts";

/**
 * The engine keeps the parsed text of the 2,000 modules that it saw last. Two files fill that in the first thousand reloads; a thousand more
 * show whether anything else grows.
 */
const RELOADS = 2000;
/** Of so many samples of memory the least counts: what is not collected yet lifts it by forty megabytes, again and again. */
const SAMPLES = 5;
const CALLERS = 8;

const plugin = (version: number): string => `
import type { Plugin } from "sluice";
import { lib } from "./lib.ts";
const ballast = new Array(10_000).fill(${version});
export default {
  async request(request) { request.headers.set("X-Version", \`${version} \${lib} \${ballast.length}\`); },
  response(response) { response.headers.set("X-Version", "${version}"); },
  ended() {},
} satisfies Plugin;
`;
const lib = (version: number): string => `export const lib: number = ${version};\n`;

/** Resident memory of a process, in megabytes. */
const memoryOf = (pid: number): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

describe("a plug-in that is replaced again and again under load", () => {
  test("fails no request, shows each its own version, and leaves memory as it was", async () => {
    using behind = backend();
    using home = folder();
    write(home.path, { "p.ts": plugin(0), "lib.ts": lib(0) });
    await using gateway = await start({
      config: {
        plugins: [{ file: "p.ts" }],
        logging: { level: "warn" },
        tiers: { anonymous: { limits: [] } },
        routes: [{ path: "/a", upstream: behind.url, auth: "none" }],
      },
      cwd: home.path,
    });
    const load = { isOver: false, good: 0, bad: [] as string[] };
    const calling = Array.from({ length: CALLERS }, async () => {
      while (!load.isOver) {
        const answer = await fetch(`${gateway.url}/a/x`);
        const { headers } = (await answer.json()) as { headers: Record<string, string> };
        const [version, imported] = String(headers["x-version"]).split(" ");
        // One request has one version to its end.
        if (answer.status === 200 && version === imported && version === answer.headers.get("x-version")) load.good++;
        else load.bad.push(`${answer.status} ${headers["x-version"]} ${answer.headers.get("x-version")}`);
        behind.seen.length = 0;
      }
    });
    const memory: number[] = [];
    for (let version = 1; version <= RELOADS; version++) {
      write(home.path, { "lib.ts": lib(version), "p.ts": plugin(version) });
      expect((await gateway.admin("POST", "/admin/config/reload")).status).toBe(200);
      const now = await fetch(`${gateway.url}/a/x`);
      await now.body?.cancel();
      expect(now.headers.get("x-version")).toBe(String(version));
      if (version % 100 === 0) memory.push(memoryOf(gateway.pid));
    }
    load.isOver = true;
    await Promise.all(calling);
    console.log(`${load.good} requests; MB after each hundred reloads: ${memory.map(Math.round).join(" ")}`);
    expect(load.bad).toEqual([]);
    expect(load.good).toBeGreaterThan(RELOADS);
    const least = (samples: readonly number[]): number => Math.min(...samples);
    const half = memory.length / 2;
    const growth = least(memory.slice(-SAMPLES)) - least(memory.slice(half - SAMPLES, half));
    // The copies of these thousand reloads, if they leaked, would be 80 MB.
    expect(growth).toBeLessThan(40);
  }, 600_000);
});
