import { expect, test } from "bun:test";
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { clearStale, listenAt } from "../../src/http/unix-socket.ts";
import { folder } from "../support/process.ts";
import { echo, server } from "../support/relay.ts";

const listening = (path: string, { mode = 0o660, mayReplace = false } = {}) => {
  const { listener, leave } = listenAt({ path, mode, mayReplace }, (own) =>
    Bun.listen({ unix: own, socket: { open: (socket) => void socket.end("hello"), data: () => {} } }),
  );
  return {
    leave,
    [Symbol.dispose]: () => {
      leave();
      listener.stop(true);
    },
  };
};

test("a path is taken with its rights, by one alone, and left as it was found", async () => {
  using home = folder();
  const path = join(home.path, "s");
  {
    using _first = listening(path, { mode: 0o606 });
    expect(statSync(path).mode & 0o777).toBe(0o606);
    expect(() => listening(path)).toThrow("EEXIST");
    expect(readdirSync(home.path)).toEqual(["s"]);
    expect(await clearStale(path, false)).toContain("is taken");
    expect(await clearStale(path, true)).toBeNull();
  }
  expect(readdirSync(home.path)).toEqual([]);
});

test("who takes a path over keeps it when the one before leaves", () => {
  using home = folder();
  const path = join(home.path, "s");
  const first = listening(path);
  using _second = listening(path, { mayReplace: true });
  first[Symbol.dispose]();
  expect(existsSync(path)).toBe(true);
});

test("what nobody listens at is removed, but no other file", async () => {
  using home = folder();
  const path = join(home.path, "s");
  expect(await clearStale(path, false)).toBeNull();
  // A server that ends without removing its file.
  const dead = Bun.spawn([
    process.execPath,
    "-e",
    `Bun.listen({ unix: ${JSON.stringify(path)}, socket: { data() {} } }); process.kill(process.pid, "SIGKILL")`,
  ]);
  await dead.exited;
  expect(existsSync(path)).toBe(true);
  expect(await clearStale(path, false)).toBeNull();
  expect(existsSync(path)).toBe(false);
  writeFileSync(path, "precious");
  for (const mayReplace of [true, false]) expect(await clearStale(path, mayReplace)).toContain("is no socket");
  expect(existsSync(path)).toBe(true);
});

test("a start that fails for want of the folder leaves nothing", () => {
  using home = folder();
  expect(() => listening(join(home.path, "none", "s"))).toThrow();
  expect(readdirSync(home.path)).toEqual([]);
});

test("a server on a path goes on with what had come before it left, and takes nothing more", async () => {
  using home = folder();
  const path = join(home.path, "s");
  const it = server(echo, {}, { unix: { path, mode: 0o600, mayReplace: false } });
  const ask = () => fetch("http://h/a", { unix: path } as RequestInit);
  expect((await ask()).status).toBe(200);
  const asked = ask();
  // Its connection is in the queue, or taken.
  await new Promise((resolve) => setImmediate(resolve));
  await Promise.all([it.close(1000), asked.then(({ status }) => expect(status).toBe(200))]);
  expect(existsSync(path)).toBe(false);
});
