/** A real backend on a free port, which tells what reached it. */
export interface Backend {
  readonly url: string;
  readonly port: number;
  /** Requests that arrived, oldest first. */
  readonly seen: Seen[];
  /** Resolves when the next request is given up by the gateway. */
  aborted(): Promise<void>;
  [Symbol.dispose](): void;
}

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
}

const MEGABYTE = new Uint8Array(1_048_576).fill(120);

export function backend(): Backend {
  const seen: Seen[] = [];
  let abort = Promise.withResolvers<void>();
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    development: false,
    idleTimeout: 0,
    maxRequestBodySize: 1_000_000_000,
    fetch: async (request, self) => {
      const { pathname, search, searchParams } = new URL(request.url);
      seen.push({ method: request.method, url: pathname + search, headers: request.headers.toJSON() as Record<string, string> });
      switch (pathname) {
        case "/ws":
          return self.upgrade(request, { data: undefined, headers: { "sec-websocket-protocol": "chat" } })
            ? undefined
            : new Response("no upgrade", { status: 400 });
        case "/upload": {
          let size = 0;
          const hash = new Bun.CryptoHasher("sha256");
          for await (const chunk of request.body ?? []) {
            size += chunk.length;
            hash.update(chunk);
          }
          return Response.json({ size, sha256: hash.digest("hex") });
        }
        case "/download": {
          let left = Number(searchParams.get("mb"));
          return new Response(
            new ReadableStream({
              pull: (controller) => {
                if (left-- > 0) controller.enqueue(MEGABYTE.slice());
                else controller.close();
              },
            }),
          );
        }
        case "/events": {
          const timer = { id: null as Timer | null };
          return new Response(
            new ReadableStream({
              start: (controller) => {
                controller.enqueue(`data: ${Date.now()}\n\n`);
                timer.id = setInterval(() => controller.enqueue(`data: ${Date.now()}\n\n`), 20);
              },
              cancel: () => clearInterval(timer.id ?? undefined),
            }),
            { headers: { "content-type": "text/event-stream" } },
          );
        }
        case "/hang":
          abort = Promise.withResolvers();
          request.signal.addEventListener("abort", () => abort.resolve());
          await abort.promise;
          return new Response("late");
        case "/slow":
          await Bun.sleep(Number(searchParams.get("ms")));
          return new Response("late");
        case "/status":
          return new Response(searchParams.get("body"), { status: Number(searchParams.get("code") ?? 200) });
        case "/cookies":
          return new Response("ok", {
            headers: [
              ["set-cookie", "a=1"],
              ["set-cookie", "b=2; Path=/"],
              ["x-powered-by", "tests"],
              ["x-request-id", "the-backend's"],
            ],
          });
        case "/gzip":
          return new Response(Bun.gzipSync("compressed"), { headers: { "content-encoding": "gzip", "content-type": "text/plain" } });
        default:
          return Response.json({
            method: request.method,
            url: pathname + search,
            headers: request.headers.toJSON(),
            body: await request.text(),
          });
      }
    },
    websocket: {
      message: (socket, message) => {
        if (message === "close") socket.close(4001, "as you wish");
        else socket.send(message);
      },
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    port: server.port ?? 0,
    seen,
    aborted: () => abort.promise,
    [Symbol.dispose]: () => void server.stop(true),
  };
}
