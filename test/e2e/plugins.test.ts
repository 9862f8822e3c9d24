import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { backend } from "../support/backend.ts";
import { write } from "../support/plugins.ts";
import { folder, run, start } from "../support/process.ts";

const plugin = (version: number): string => `
import type { Plugin } from "sluice";
import { header } from "./lib/header";
let isStopped = false;
export default {
  name: "versioned",
  request(request) { request.headers.set(header satisfies string, isStopped ? "stopped" : "${version}"); },
  stop() { isStopped = true; console.error("stopped ${version}"); },
} satisfies Plugin;
`;
const FILES = { "plugins/versioned.ts": plugin(1), "plugins/lib/header.ts": 'export const header: string = "X-Version";\n' };
const CONFIG = (url: string) => ({
  plugins: [{ file: "./plugins/versioned.ts" }],
  tiers: { anonymous: { limits: [] } },
  routes: [{ path: "/a", upstream: url, auth: "none" }],
});

const STRAY = `
const stray = (where: string): void => {
  void Promise.reject(new Error("stray promise " + where));
  setTimeout(() => { throw new Error("stray timer " + where); }, 1);
};
stray("at load");
export default {
  async setup() { stray("in setup"); await Bun.sleep(20); },
  request() { stray("in a hook"); },
};
`;

describe("the program", () => {
  test("goes on whatever a plug-in throws that nobody catches, also before it listens", async () => {
    using behind = backend();
    using home = folder();
    write(home.path, { "plugins/versioned.ts": STRAY });
    await using gateway = await start({ config: CONFIG(behind.url), cwd: home.path });
    expect((await fetch(`${gateway.url}/a/x`)).status).toBe(200);
    for (const where of ["at load", "in setup", "in a hook"])
      for (const what of ["promise", "timer"]) while (!gateway.output().includes(`stray ${what} ${where}`)) await Bun.sleep(10);
    expect((await fetch(`${gateway.url}/a/x`)).status).toBe(200);
    expect(await gateway.stop()).toBe(0);
  });

  test("loads TypeScript from disk by itself, and again when it is changed, at a signal or by itself", async () => {
    using behind = backend();
    using home = folder();
    write(home.path, FILES);
    await using gateway = await start({ config: CONFIG(behind.url), cwd: home.path });
    const version = async (): Promise<string | undefined> => {
      await (await fetch(`${gateway.url}/a/x`)).text();
      return behind.seen.at(-1)?.headers["x-version"];
    };
    const becomes = async (wanted: string): Promise<void> => {
      while ((await version()) !== wanted) await Bun.sleep(10);
    };
    expect(await version()).toBe("1");
    write(home.path, { "plugins/versioned.ts": plugin(2) });
    process.kill(gateway.pid, "SIGHUP");
    await becomes("2");
    write(home.path, { "plugins/versioned.ts": plugin(3) });
    await becomes("3");
    write(home.path, { "plugins/versioned.ts": "export default {\n  request() { const x = ; },\n};\n" });
    while (!gateway.output().includes("plugins/versioned.ts:2:25: Unexpected ;")) await Bun.sleep(10);
    expect(await version()).toBe("3");
    expect(await gateway.stop()).toBe(0);
    expect(gateway.output()).toContain("stopped 1\n");
    expect(gateway.output().match(/stopped 3/g)).toHaveLength(1);
  });

  test("serves with the plug-ins that were in force last, until those of its file are mended", async () => {
    using behind = backend();
    using home = folder();
    const answering = (text: string) => `export default { request() { return new Response("${text}"); } };\n`;
    const config = (name: string) => ({ ...CONFIG(behind.url), plugins: [{ file: name }] });
    const answer = async (url: string) => (await fetch(`${url}/a/x`)).text();
    write(home.path, { "good.ts": answering("good"), "bad.ts": "export default {\n" });
    {
      await using gateway = await start({ config: config("good.ts"), cwd: home.path });
      expect(await answer(gateway.url)).toBe("good");
    }
    {
      await using gateway = await start({ config: config("bad.ts"), cwd: home.path, args: ["--last-good"] });
      expect(await answer(gateway.url)).toBe("good");
      write(home.path, { "bad.ts": answering("mended") });
      while ((await answer(gateway.url)) !== "mended") await Bun.sleep(10);
    }
    write(home.path, { "good.ts": "export default {\n", "bad.ts": "export default {\n", "config.json": JSON.stringify(config("none.ts")) });
    const { status, stderr } = await run(["serve", "--last-good"], { cwd: home.path });
    expect(status).toBe(1);
    expect(stderr).toContain("plugins[0].file: there is no file");
    expect(stderr).toContain("nor can the one that was in force last be used");
    expect(stderr).toMatch(/kept:\d+:\d+ plugins\[0\]\.file: bad\.ts:1:17: /);
  });

  test("does not start with a plug-in that does not load, and says where it is wrong; check says the same", async () => {
    using home = folder();
    write(home.path, {
      "plugins/versioned.ts": "export default {\n  request() { const x = ; },\n};\n",
      "config.json": JSON.stringify(CONFIG("http://127.0.0.1:1"), null, 2),
    });
    const line = "config.json:4:15 plugins[0].file: plugins/versioned.ts:2:25: Unexpected ;";
    expect(await run(["serve"], { cwd: home.path })).toMatchObject({ status: 1, stderr: expect.stringContaining(line) });
    expect(await run(["check"], { cwd: home.path })).toMatchObject({ status: 1, stdout: `${line}\n` });
    // It is loaded, and not set up: what it would open is not there where a configuration is checked.
    write(home.path, { "plugins/versioned.ts": "export default { request() {}, setup() { throw new Error('no database'); } };\n" });
    expect(await run(["check", join(home.path, "config.json")], { cwd: "/" })).toMatchObject({ status: 0 });
    expect(await run(["serve"], { cwd: home.path })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("config.json:3:5 plugins[0]: setup: plugins/versioned.ts:1:52: no database"),
    });
  });
});
