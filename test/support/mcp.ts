import { join } from "node:path";
import { createMcpHandler, fromJsonSchema, McpServer } from "@modelcontextprotocol/server";

/** The tools of the test's own server. */
export const TOOLS = ["drop_table", "get_time", "search", "write_file"];

/** A server of the Model Context Protocol on a free port, by the official library: of 2026-07-28, and without sessions of older versions. */
export interface ToolServer {
  readonly url: string;
  /** The calls that reached it, oldest first. */
  readonly calls: string[];
  /** The requests that reached it, oldest first. */
  readonly seen: { readonly method: string; readonly headers: Record<string, string>; readonly body: string }[];
  [Symbol.dispose](): void;
}

/** Starts it. `responseMode`: whether it answers in JSON where it can, or always by streams of events. */
export function toolServer(responseMode: "auto" | "sse" = "auto"): ToolServer {
  const calls: string[] = [];
  const seen: ToolServer["seen"] = [];
  const handler = createMcpHandler(
    () => {
      const server = new McpServer({ name: "tools", version: "1.0.0" });
      for (const name of TOOLS)
        server.registerTool(
          name,
          { description: `The tool ${name}`, inputSchema: fromJsonSchema({ type: "object", properties: { text: { type: "string" } } }) },
          async (given) => {
            calls.push(name);
            return { content: [{ type: "text", text: JSON.stringify(given) }] };
          },
        );
      return server;
    },
    { responseMode },
  );
  const listener = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    development: false,
    idleTimeout: 0,
    fetch: async (request) => {
      const body = await request.clone().text();
      seen.push({ method: request.method, headers: request.headers.toJSON() as Record<string, string>, body });
      return handler.fetch(request);
    },
  });
  return { url: `http://127.0.0.1:${listener.port}/mcp`, calls, seen, [Symbol.dispose]: () => void listener.stop(true) };
}

/** A server of anything on a free port that answers as it is told. */
export function answering(answer: (request: Request, body: string) => Response | Promise<Response>) {
  const bodies: string[] = [];
  const listener = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    development: false,
    idleTimeout: 0,
    fetch: async (request) => {
      const body = await request.text();
      bodies.push(body);
      return answer(request, body);
    },
  });
  return { url: `http://127.0.0.1:${listener.port}`, bodies, [Symbol.dispose]: () => void listener.stop(true) };
}

/**
 * Starts the official reference server (npm server-everything, of versions with sessions) as a program of its own. `transport`: that of
 * 2025-03-26 and later, or of 2024-11-05.
 */
export async function everythingServer(transport: "streamableHttp" | "sse" = "streamableHttp") {
  const probe = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
  const { port } = probe;
  await probe.stop(true);
  const program = join(import.meta.dir, "../../node_modules/@modelcontextprotocol/server-everything/dist/index.js");
  const child = Bun.spawn([process.execPath, program, transport], {
    env: { ...process.env, PORT: String(port) },
    stdout: "ignore",
    stderr: "ignore",
  });
  const origin = `http://127.0.0.1:${port}`;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`);
    const answer = await fetch(origin).catch(() => null);
    if (answer !== null) {
      await answer.text();
      break;
    }
    await Bun.sleep(20);
  }
  return {
    url: transport === "sse" ? `${origin}/sse` : `${origin}/mcp`,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
