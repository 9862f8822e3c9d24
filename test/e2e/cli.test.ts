import { describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { folder, run, start } from "../support/process.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../support/tls.ts";

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

  test("finds config.json, config.yaml or config.yml, in this order, and tells which it passes over", async () => {
    using home = folder();
    writeFileSync(join(home.path, "config.yml"), "demo: true\n");
    expect(await run(["check"], { cwd: home.path })).toMatchObject({ status: 0, stdout: "config.yml: valid\n", stderr: "" });
    writeFileSync(join(home.path, "config.yaml"), "server:\n  prt: 1\n");
    expect(await run(["check"], { cwd: home.path })).toMatchObject({
      status: 1,
      stdout: 'config.yaml:2:3 server.prt: unknown field "prt", did you mean "port"?\n',
    });
    writeFileSync(join(home.path, "config.json"), '{ "demo": true }');
    expect(await run(["check"], { cwd: home.path })).toMatchObject({
      status: 0,
      stdout: "config.json: valid\n",
      stderr: expect.stringMatching(/config\.yaml:1:1 is not read: config\.json comes first.*\n.*config\.yml:1:1 is not read/),
    });
  });

  test("imports another program's configuration: what it prints, check takes", async () => {
    using home = folder();
    writeFileSync(
      join(home.path, "site.conf"),
      "server {\n  location /api/ { proxy_pass http://127.0.0.1:9/v2/; }\n  location ~ x$ { return 200; }\n}\n",
    );
    const made = await run(["import", "nginx", "site.conf"], { cwd: home.path });
    expect(made).toMatchObject({ status: 0, stderr: expect.stringMatching(/^site\.conf:3: location ~ x\$ is a pattern[^\n]*\n$/) });
    expect(JSON.parse(made.stdout).routes).toEqual([{ path: "/api", upstream: "127.0.0.1-9", addPrefix: "/v2", auth: "none" }]);
    const yaml = await run(["import", "nginx", "site.conf", "--yaml"], { cwd: home.path });
    writeFileSync(join(home.path, "config.yaml"), yaml.stdout);
    expect(await run(["check"], { cwd: home.path })).toMatchObject({ status: 0, stdout: expect.stringContaining("config.yaml: valid") });
    expect(await run(["import", "kong", "site.conf"], { cwd: home.path })).toMatchObject({
      status: 1,
      stdout: "",
      stderr: expect.stringMatching(/^site\.conf:\d: /),
    });
    expect(await run(["import", "nginx", "none.conf"], { cwd: home.path })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("can't be read"),
    });
    for (const wrong of [["import"], ["import", "caddy", "x"], ["import", "kong"]])
      expect(await run(wrong, { cwd: home.path })).toMatchObject({ status: 2, stdout: "" });
  });

  test("checks the files of TLS, and tells what a certificate is for and until when", async () => {
    using home = folder();
    const check = async (more: object, ...args: string[]) => {
      writeFileSync(join(home.path, "config.json"), JSON.stringify({ server: { tls: { cert: "cert.pem", key: "key.pem", ...more } } }));
      return await run(["check", ...args], { cwd: home.path });
    };
    expect(await check({})).toMatchObject({
      status: 1,
      stdout:
        "config.json:1:26 server.tls.cert: cert.pem can't be read: there is no such file\nconfig.json:1:43 server.tls.key: key.pem can't be read: there is no such file\n",
    });
    writeFileSync(join(home.path, "cert.pem"), CERTIFICATE);
    writeFileSync(join(home.path, "key.pem"), PRIVATE_KEY);
    writeFileSync(
      join(home.path, "other.pem"),
      generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }),
    );
    expect(await check({}, "--strict")).toMatchObject({
      status: 0,
      stdout: "cert.pem: a certificate for localhost, 127.0.0.1, until 2126-10-28\nconfig.json: valid\n",
    });
    expect((await check({ key: "other.pem" })).stdout).toEndWith(
      "server.tls.key: other.pem is not the key of the certificate in cert.pem\n",
    );
    expect((await check({ key: "cert.pem" })).stdout).toEndWith(
      "server.tls.key: cert.pem holds no private key without a password in PEM format\n",
    );
    expect((await check({ cert: "key.pem" })).stdout).toEndWith("server.tls.cert: key.pem holds no certificate in PEM format\n");
    expect((await run(["serve"], { cwd: home.path })).stderr).toContain("config.json:1:26 server.tls.cert: key.pem holds no certificate");
  });

  test("warns of what is hardly meant, and refuses it with --strict", async () => {
    using home = folder();
    const config = {
      routes: [{ path: "/a", upstream: "http://h", scopes: ["users:read"] }],
      consumers: [{ id: "a", tier: "pro", keys: ["a-declared-key-0123456789"] }],
    };
    writeFileSync(join(home.path, "config.json"), JSON.stringify(config));
    const message = 'no declared key has "users:read", so that all get 403 here: write a key as { "key": "…", "scopes": ["users:read"] }';
    const env = { SLUICE_HOST: "127.0.0.1" };
    expect(await run(["check"], { cwd: home.path, env })).toMatchObject({
      status: 0,
      stdout: `config.json:1:56 routes[0].scopes: warning: ${message}\nconfig.json: valid, with 1 warning\n`,
    });
    expect(await run(["check", "--strict"], { cwd: home.path, env })).toMatchObject({
      status: 1,
      stdout: `config.json:1:56 routes[0].scopes: ${message}\n`,
    });
    expect((await run(["check"], { cwd: home.path })).stdout).toContain(
      "admin: warning: the admin API can be reached on 0.0.0.0 without TLS",
    );
    await using gateway = await start({ cwd: home.path });
    while (!gateway.output().includes("configuration: config.json:1:56 routes[0].scopes: no declared key has")) await Bun.sleep(10);
    expect(gateway.output()).not.toContain("without TLS");
    expect((await gateway.admin("POST", "/admin/config/reload")).status).toBe(200);
    while (gateway.output().split("no declared key has").length < 3) await Bun.sleep(10);
  });

  test("prints the configuration's schema and the admin API's document", async () => {
    const schema = JSON.parse((await here(["schema"])).stdout);
    expect(schema.$schema).toContain("2020-12");
    expect(schema.properties.server.properties.port).toMatchObject({ type: "integer", default: 8080, description: expect.any(String) });
    const document = JSON.parse((await here(["openapi"])).stdout);
    expect(document.openapi).toStartWith("3.");
    expect(Object.keys(document.paths)).toContain("/admin/keys/{id}/rotate");
    for (const path of Object.keys(document.paths))
      expect(path).toMatch(
        /^\/(admin\/|api\/(v1\/(api-key|me(\/(rotate|keys(\/\{id\}(\/rotate)?)?))?)|activities)$|v1\/keys\/verify$|_?(health|metrics)$|ready$)/,
      );
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

  test("asks one that speaks https as well, whatever name its certificate is for", async () => {
    using home = folder();
    for (const [name, text] of [
      ["cert.pem", CERTIFICATE],
      ["key.pem", PRIVATE_KEY],
    ] as const)
      writeFileSync(join(home.path, name), text);
    await using gateway = await start({
      cwd: home.path,
      config: { server: { tls: { cert: "cert.pem", key: "key.pem" } } },
      tls: CERTIFICATE,
    });
    const places: Record<string, string>[] = [{ SLUICE_PORT: String(gateway.port) }, { SLUICE_URL: `https://127.0.0.1:${gateway.port}` }];
    for (const env of places)
      expect(await here(["ping"], {}, env)).toMatchObject({ status: 0, stdout: expect.stringContaining("healthy") });
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
