import { createServer, type Socket } from "node:net";

/** A real service that is asked whether requests may pass. It decides as a test says, and tells what it was asked. */
export interface Authorizer {
  readonly url: string;
  /** What it was asked, oldest first. */
  readonly seen: { readonly method: string; readonly url: string; readonly headers: Record<string, string>; readonly body: string }[];
  /** How it decides; changed by tests. */
  decide: (request: Request) => Response | Promise<Response>;
  [Symbol.dispose](): void;
}

export function authorizer(decide: Authorizer["decide"] = () => new Response("fine")): Authorizer {
  const seen: Authorizer["seen"] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    development: false,
    idleTimeout: 0,
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url);
      const headers = request.headers.toJSON() as Record<string, string>;
      seen.push({ method: request.method, url: pathname + search, headers, body: await request.text() });
      return it.decide(request);
    },
  });
  const it: Authorizer = {
    url: `http://127.0.0.1:${server.port}`,
    seen,
    decide,
    [Symbol.dispose]: () => void server.stop(true),
  };
  return it;
}

/** A service that answers each request with these bytes, whatever they are; `after`: what becomes of the connection then. */
export async function rawAuthorizer(bytes: string, after: "closes" | "stays" | "resets") {
  let asked = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", () => {
      asked++;
      if (after === "resets") socket.resetAndDestroy();
      else if (after === "closes") socket.end(bytes, "latin1");
      else socket.write(bytes, "latin1");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    get asked() {
      return asked;
    },
    /** The number of connections that it got. */
    get connections() {
      return sockets.size;
    },
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
