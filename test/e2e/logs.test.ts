import { describe, expect, test } from "bun:test";
import { ADMIN_TOKEN, folder, freePort, PROGRAM, run, start } from "../support/process.ts";
import { until } from "../support/until.ts";

/** Follows a gateway's log from elsewhere; `printed` grows. */
function follow(port: number, args: readonly string[]) {
  const child = Bun.spawn([...PROGRAM, "logs", ...args], {
    env: { PATH: "/nonexistent", SLUICE_URL: `127.0.0.1:${port}`, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN },
    stdout: "pipe",
    stderr: "pipe",
  });
  const printed = { out: "", err: "" };
  const read = async (stream: ReadableStream<Uint8Array>, into: "out" | "err") => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) printed[into] += decoder.decode(chunk, { stream: true });
  };
  void read(child.stdout, "out");
  void read(child.stderr, "err");
  return {
    printed,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await child.exited;
    },
  };
}

const CONFIG = { tiers: { anonymous: { limits: [] } }, routes: [{ name: "nothing", path: "/nothing", upstream: "http://127.0.0.1:9" }] };

describe("sluice logs", () => {
  test("shows requests as they come, filtered, and goes on with a gateway that is started again", async () => {
    using home = folder();
    const port = freePort();
    await using first = await start({ cwd: home.path, config: CONFIG, port });
    await using people = follow(port, ["-f", "--status", "404"]);
    await using programs = follow(port, ["--type", "request", "--json"]);
    await until(async () => {
      await fetch(`${first.url}/missing`);
      return people.printed.out.includes("404 GET /missing") && programs.printed.out.includes("/missing");
    });
    expect(people.printed.out).toMatch(/^\d\d:\d\d:\d\d 404 GET \/missing [\d.]+ms routeNotFound 127\.0\.0\.1 /);
    expect(JSON.parse(programs.printed.out.split("\n")[0] ?? "")).toMatchObject({ type: "request", status: 404, path: "/missing" });
    await first.stop();
    await until(() => people.printed.err.includes("the gateway has gone"));
    await using again = await start({ cwd: home.path, config: CONFIG, port });
    await until(async () => {
      await fetch(`${again.url}/again`);
      return people.printed.out.includes("404 GET /again");
    });
    expect(people.printed.out).not.toContain("/health");
  });

  test("says at once that nobody is there, or that the token is wrong", async () => {
    const port = freePort();
    const env = { SLUICE_URL: `127.0.0.1:${port}`, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN };
    using home = folder();
    const nobody = await run(["logs", "-f"], { cwd: home.path, env });
    expect([nobody.status, nobody.stderr]).toEqual([1, expect.stringContaining(`nothing answers at http://127.0.0.1:${port}`)]);
    await using gateway = await start({ cwd: home.path, config: CONFIG, port });
    const wrong = await run(["logs"], { cwd: gateway.folder, env: { ...env, SLUICE_ADMIN_TOKEN: "wrong-token-0123456789" } });
    expect([wrong.status, wrong.stderr]).toEqual([1, "sluice: This is not an admin token.\n"]);
  });
});
