import { type Subprocess, spawn } from "bun";

/** What a flaky backend does with one request. */
export type Deed = { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string } | "reset";

/** One request that arrived whole. */
export interface Arrived {
  readonly method: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

/** A backend over plain sockets that may break off without an answer. */
export function flaky(decide: (request: Arrived, index: number) => Deed | Promise<Deed>, port = 0) {
  const seen: Arrived[] = [];
  const sockets = new Set<Bun.Socket<{ text: string }>>();
  const listener = Bun.listen<{ text: string }>({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (socket) => {
        socket.data = { text: "" };
        sockets.add(socket);
      },
      close: (socket) => void sockets.delete(socket),
      data: async (socket, bytes) => {
        socket.data.text += bytes.toString("latin1");
        for (;;) {
          const { text } = socket.data;
          const end = text.indexOf("\r\n\r\n");
          if (end < 0) return;
          const [line = "", ...fields] = text.slice(0, end).split("\r\n");
          const headers = Object.fromEntries(
            fields.map((field) => [field.slice(0, field.indexOf(":")).toLowerCase(), field.slice(field.indexOf(":") + 1).trim()]),
          );
          const length = Number(headers["content-length"] ?? 0);
          if (text.length < end + 4 + length) return;
          socket.data.text = text.slice(end + 4 + length);
          const [method = "", path = ""] = line.split(" ");
          const request = { method, path, headers, body: text.slice(end + 4, end + 4 + length) };
          seen.push(request);
          const deed = await decide(request, seen.length - 1);
          if (deed === "reset") {
            socket.terminate();
            return;
          }
          const { status, body = "" } = deed;
          const lines = Object.entries(deed.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
          const hasBody = method !== "HEAD" && status !== 304 && status !== 204;
          const length2 = status === 304 || status === 204 ? "" : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
          socket.write(`HTTP/1.1 ${status} Status\r\n${lines.join("")}${length2}\r\n${hasBody ? body : ""}`);
        }
      },
    },
  });
  return {
    url: `http://127.0.0.1:${listener.port}`,
    port: listener.port,
    seen,
    [Symbol.dispose]: () => {
      listener.stop(true);
      for (const socket of sockets) socket.terminate();
    },
  };
}

/** Numbers from 0 up to 1, the same ones in each run (Park and Miller's generator). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

/** A backend in a process of its own, for SIGKILL. */
export async function victim(port = 0): Promise<{ port: number; url: string; kill(): Promise<void> }> {
  const child: Subprocess<"ignore", "pipe", "inherit"> = spawn([process.execPath, `${import.meta.dir}/victim.ts`, String(port)], {
    stdout: "pipe",
  });
  const { value } = await child.stdout.getReader().read();
  const taken = Number(new TextDecoder().decode(value));
  return {
    port: taken,
    url: `http://127.0.0.1:${taken}`,
    kill: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

/** Runs `work` `times` times, `concurrency` at once. */
export async function inParallel(times: number, concurrency: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (next < times) await work(next++);
    }),
  );
}

/** Repeats `work` on so many strands until it is stopped; `stop` waits for the last one. */
export function underLoad(concurrency: number, work: () => Promise<void>): { stop(): Promise<void> } {
  let isOver = false;
  const strands = Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (!isOver) await work();
    }),
  );
  return {
    stop: async () => {
      isOver = true;
      await strands;
    },
  };
}
