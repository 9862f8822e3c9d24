import { dlopen } from "bun:ffi";
import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { folder, start } from "../support/process.ts";

/** What systemd does: takes datagrams at a Unix socket. */
function listener(path: string) {
  const { symbols } = dlopen("libc.so.6", {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
    recv: { args: ["i32", "ptr", "usize", "i32"], returns: "i64" },
    close: { args: ["i32"], returns: "i32" },
  });
  const address = Buffer.concat([Buffer.from([1, 0]), Buffer.from(path), Buffer.from([0])]);
  const socket = symbols.socket(1, 2, 0);
  expect(symbols.bind(socket, address, address.length)).toBe(0);
  const buffer = Buffer.alloc(256);
  return {
    /** The next message. */
    next: async (): Promise<string> => {
      for (;;) {
        // MSG_DONTWAIT
        const length = Number(symbols.recv(socket, buffer, buffer.length, 0x40));
        if (length > 0) return buffer.toString("utf8", 0, length);
        await Bun.sleep(5);
      }
    },
    [Symbol.dispose]: () => {
      symbols.close(socket);
      rmSync(path, { force: true });
    },
  };
}

if (process.platform === "linux") {
  test("systemd is told when requests are served, and when it stops", async () => {
    using home = folder();
    const path = join(home.path, "notify");
    using systemd = listener(path);
    await using gateway = await start({ config: {}, env: { NOTIFY_SOCKET: path } });
    expect(await systemd.next()).toBe("READY=1");
    const stopped = gateway.stop();
    expect(await systemd.next()).toBe("STOPPING=1");
    expect(await stopped).toBe(0);
  });

  test("a gateway that can't tell systemd serves all the same, and logs why", async () => {
    using home = folder();
    await using gateway = await start({ config: {}, env: { NOTIFY_SOCKET: join(home.path, "nobody") } });
    while (!gateway.output().includes("systemd could not be told")) await Bun.sleep(10);
  });
}
