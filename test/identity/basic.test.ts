import { expect } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { folder } from "../support/process.ts";
import { having } from "../support/programs.ts";
import { serving } from "../support/serving.ts";

const KEY = "a-declared-key-0123456789";

having("git").test("git clones through a gateway with a key as its password, which its server never sees", async () => {
  using place = folder();
  const git = async (...args: string[]) => {
    const child = Bun.spawn(["git", "-c", "user.name=a", "-c", "user.email=a@example.com", ...args], {
      cwd: place.path,
      env: { PATH: process.env.PATH, HOME: place.path, GIT_CONFIG_NOSYSTEM: "1", GIT_TERMINAL_PROMPT: "0", LC_ALL: "C" },
      stdout: "ignore",
      stderr: "pipe",
    });
    return { stderr: await new Response(child.stderr).text(), status: await child.exited };
  };
  mkdirSync(join(place.path, "work"));
  writeFileSync(join(place.path, "work", "hello.txt"), "hello\n");
  for (const args of [
    ["init", "-q", "-b", "main", "work"],
    ["-C", "work", "add", "."],
    ["-C", "work", "commit", "-q", "-m", "first"],
    ["clone", "-q", "--bare", "work", "served.git"],
    ["-C", "served.git", "update-server-info"],
  ])
    expect([args, await git(...args)]).toEqual([args, { stderr: "", status: 0 }]);
  const seen: (string | null)[] = [];
  await using behind = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    // To clients that ask so, a repository is a folder of files.
    fetch: async (request) => {
      seen.push(request.headers.get("authorization"));
      const file = Bun.file(join(place.path, new URL(request.url).pathname));
      return (await file.exists()) ? new Response(file) : new Response(null, { status: 404 });
    },
  });
  const gateway = serving({
    identity: { basic: true },
    tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
    consumers: [{ id: "alice", tier: "plain", keys: [KEY] }],
    routes: [{ path: "/git", upstream: `http://127.0.0.1:${behind.port}` }],
  });
  const clone = (userinfo: string, to: string) => git("clone", "-q", `http://${userinfo}127.0.0.1:${gateway.port}/git/served.git`, to);
  // git asks without the password that it knows, and shows it when the refusal asks for one.
  expect(await clone(`alice:${KEY}@`, "cloned")).toEqual({ stderr: "", status: 0 });
  expect(readFileSync(join(place.path, "cloned", "hello.txt"), "utf8")).toBe("hello\n");
  expect([seen.length > 0, seen.filter((authorization) => authorization !== null)]).toEqual([true, []]);
  const before = seen.length;
  expect((await clone("alice:nobody-has-this-key-0123@", "wrong")).stderr).toContain("Authentication failed");
  expect((await clone("", "none")).stderr).toContain("could not read Username");
  expect(seen.length).toBe(before);
  await gateway.stop();
});
