import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { folder, run, start } from "../support/process.ts";

const here = async (args: string[], files: Record<string, string> = {}, env: Record<string, string> = {}) => {
  using home = folder();
  for (const [name, text] of Object.entries(files)) writeFileSync(join(home.path, name), text);
  return await run(args, { cwd: home.path, env });
};

describe("the command line", () => {
  test("checks a configuration and names each fault with its place", async () => {
    using home = folder();
    writeFileSync(join(home.path, "config.json"), '{ "demo": true }');
    writeFileSync(join(home.path, "bad.json"), '{\n "server": { "port": "x" },\n "rutes": []\n}');
    expect(await run(["check"], { cwd: home.path })).toMatchObject({ status: 0, stdout: "config.json: valid\n" });
    expect(await run(["check", "bad.json"], { cwd: home.path })).toMatchObject({
      status: 1,
      stdout:
        'bad.json:2:22 server.port: must be a whole number, got "x"\nbad.json:3:2 rutes: unknown field "rutes", did you mean "routes"?\n',
    });
    expect((await run(["check", "none.json"], { cwd: home.path })).status).toBe(1);
  });

  test("prints the configuration's schema and the admin API's document", async () => {
    const schema = JSON.parse((await here(["schema"])).stdout);
    expect(schema.$schema).toContain("2020-12");
    expect(schema.properties.server.properties.port).toMatchObject({ type: "integer", default: 8080, description: expect.any(String) });
    const document = JSON.parse((await here(["openapi"])).stdout);
    expect(document.openapi).toStartWith("3.");
    expect(Object.keys(document.paths)).toContain("/admin/keys/{id}/rotate");
    for (const path of Object.keys(document.paths)) expect(path).toMatch(/^\/(admin\/|api\/(v1\/api-key|activities)$)/);
  });

  test("helps, and says what it does not know", async () => {
    for (const args of [["--help"], ["serve", "--help"], ["check", "--help"], ["--version"], ["--port", "1", "--help"]])
      expect((await here(args)).status).toBe(0);
    expect((await here(["--help"])).stdout).toContain("check");
    expect(await here(["chek"])).toMatchObject({
      status: 2,
      stderr: 'sluice: unknown command "chek", did you mean "check"?\nTry: sluice --help\n',
    });
    expect(await here(["serve", "--prot", "1"])).toMatchObject({
      status: 2,
      stderr: "sluice: unknown flag --prot, did you mean --port?\nTry: sluice serve --help\n",
    });
    for (const args of [
      ["check", "a", "b"],
      ["serve", "--port"],
      ["serve", "extra"],
      ["schema", "--json=1"],
    ])
      expect((await here(args)).status).toBe(2);
  });

  test("has help for every command, by three ways to ask", async () => {
    const { stdout } = await here(["--help"]);
    const names = [...stdout.matchAll(/^ {2}([a-z-]+) {2,}\S/gm)].map(([, name]) => name ?? "");
    expect(names).toContain("restore");
    expect(names.length).toBeGreaterThan(15);
    const ask = async (name: string) => {
      const { status, stdout: help } = await here([name, "--help"]);
      expect([name, status, help]).toEqual([name, 0, expect.stringContaining("Usage: sluice ")]);
    };
    for (let i = 0; i < names.length; i += 6) await Promise.all(names.slice(i, i + 6).map(ask));
    const unknown = await here(["restore", "--as-it-wass", "x"]);
    expect([unknown.status, unknown.stderr]).toEqual([2, expect.stringContaining("did you mean --as-it-was?")]);
    const [one, other, third] = [await here(["keys", "--help"]), await here(["keys", "-h"]), await here(["help", "keys"])];
    expect([other.stdout, third.stdout]).toEqual([one.stdout, one.stdout]);
  }, 120_000);

  test("completes commands, actions and flags in the shells", async () => {
    for (const shell of ["bash", "zsh", "fish"]) {
      const { status, stdout } = await here(["completion", shell]);
      expect([shell, status]).toEqual([shell, 0]);
      for (const word of ["restore", "rotate", "as-it-was", "replace-shared"])
        expect([shell, stdout.includes(word)]).toEqual([shell, true]);
      expect(stdout).not.toContain("copy-database");
      const program = Bun.which(shell);
      if (program === null) continue;
      const check = Bun.spawnSync([program, "-n"], { stdin: Buffer.from(stdout) });
      expect([shell, check.exitCode, check.stderr.toString()]).toEqual([shell, 0, ""]);
    }
    expect(await here(["completion", "tcsh"])).toMatchObject({ status: 2, stderr: expect.stringContaining("bash, zsh, fish") });
    const bash = Bun.which("bash");
    if (bash === null) return;
    const { stdout } = await here(["completion", "bash"]);
    const asked = (words: string[]) =>
      Bun.spawnSync([
        bash,
        "-c",
        `${stdout}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}; _sluice; echo "\${COMPREPLY[*]}"`,
      ])
        .stdout.toString()
        .trim();
    expect([asked(["sluice", "rest"]), asked(["sluice", "keys", "ro"]), asked(["sluice", "restore", "--as"])]).toEqual([
      "restore",
      "rotate",
      "--as-it-was",
    ]);
  });

  test("asks a running gateway whether it is alive", async () => {
    await using gateway = await start();
    expect(await here(["ping", "--url", gateway.url])).toMatchObject({ status: 0, stdout: expect.stringContaining("healthy") });
    expect((await here(["ping", "--url", "http://127.0.0.1:1"])).status).toBe(1);
  });

  test("lets a flag beat the environment, and the environment the file", async () => {
    const config = { server: { port: 1 }, logging: { level: "info" } };
    await using gateway = await start({
      config,
      args: ["--data", "elsewhere"],
      env: { SLUICE_DATA: "not-here", SLUICE_LOG_LEVEL: "debug" },
    });
    expect((await fetch(`${gateway.url}/health`)).status).toBe(200);
    expect(await gateway.stop()).toBe(0);
    expect(gateway.output()).toContain("elsewhere/sluice.db");
  });
});
