import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { freePort } from "./process.ts";

/** A real redis-server of the test's own, with nothing on the disk. */
export interface RedisServer {
  readonly port: number;
  readonly url: string;
  /** For the test to look, and to meddle. */
  readonly client: Redis;
  signal(signal: NodeJS.Signals): void;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts an empty one in its place. */
  restart(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a redis-server. `args`: more of its options. Another takes a free port, or the one that a cluster needs beside it, now and then: it
 * is tried again then. Fails where there is no redis-server: .ci/run installs one.
 */
export async function redisServer(args: readonly string[] = [], port?: number): Promise<RedisServer> {
  for (let left = 5; port === undefined && left > 1; left--) {
    try {
      return await serverAt(freePort(), args);
    } catch (error) {
      if (!(error instanceof Ended)) throw error;
    }
  }
  return serverAt(port ?? freePort(), args);
}

/** Says that the server has ended where it should have begun. */
class Ended extends Error {}

async function serverAt(port: number, args: readonly string[]): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-redis-"));
  const launch = () =>
    Bun.spawn(
      ["redis-server", "--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder, ...args],
      {
        stdout: "ignore",
        stderr: "ignore",
      },
    );
  let child = launch();
  const client = new Redis({ port, host: "127.0.0.1", lazyConnect: true, retryStrategy: () => 20, maxRetriesPerRequest: null });
  client.on("error", () => {});
  const answers = async (): Promise<void> => {
    for (;;) {
      const answer = await Promise.race([client.ping().catch(() => ""), child.exited]);
      if (answer === "PONG") return;
      if (child.exitCode !== null) throw new Ended(`redis-server ended with ${child.exitCode}`);
      await Bun.sleep(10);
    }
  };
  client.connect().catch(() => {});
  try {
    await answers();
  } catch (error) {
    client.disconnect();
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    client,
    signal: (signal) => child.kill(signal),
    kill: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
    restart: async () => {
      child.kill("SIGKILL");
      await child.exited;
      child = launch();
      await answers();
    },
    [Symbol.asyncDispose]: async () => {
      client.disconnect();
      child.kill("SIGKILL");
      await child.exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A connection to Redis that can be made slow. */
export interface SlowPath {
  readonly url: string;
  /** Milliseconds that everything takes longer, each way. */
  delay: number;
  /** Nothing comes by the connections that there are any more, and nobody is told. */
  mute(): void;
  [Symbol.dispose](): void;
}

export function slowPath(to: { readonly port: number }): SlowPath {
  interface Pair {
    isMute?: boolean;
    other: Bun.Socket<Pair> | null;
    early: Buffer[];
  }
  const open = new Set<Bun.Socket<Pair>>();
  const path = { delay: 0 };
  const pass = (socket: Bun.Socket<Pair>, bytes: Buffer): void => {
    if (socket.data.isMute) return;
    const copy = Buffer.from(bytes);
    const go = (): void => {
      const { other, early } = socket.data;
      if (other === null) early.push(copy);
      else other.write(copy);
    };
    if (path.delay === 0) go();
    else setTimeout(go, path.delay);
  };
  const handlers: Bun.SocketHandler<Pair> = {
    data: pass,
    close: (socket) => {
      open.delete(socket);
      socket.data.other?.end();
    },
    error: () => {},
  };
  const listener = Bun.listen<Pair>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      ...handlers,
      open: (socket) => {
        socket.data = { other: null, early: [] };
        open.add(socket);
        Bun.connect<Pair>({ hostname: "127.0.0.1", port: to.port, data: { other: socket, early: [] }, socket: handlers }).then(
          (far) => {
            open.add(far);
            socket.data.other = far;
            for (const bytes of socket.data.early) far.write(bytes);
          },
          () => socket.end(),
        );
      },
    },
  });
  return Object.assign(path, {
    url: `redis://127.0.0.1:${listener.port}`,
    mute: () => {
      for (const socket of open) socket.data.isMute = true;
    },
    [Symbol.dispose]: () => {
      listener.stop(true);
      for (const socket of open) socket.end();
    },
  });
}
