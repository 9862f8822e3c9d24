// The official clients of three generations, against the official servers of two, through a gateway.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Client as NewClient, StreamableHTTPClientTransport as NewTransport } from "@modelcontextprotocol/client";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CreateMessageRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { Client as OldClient } from "mcp-sdk-2025/client/index.js";
import { StreamableHTTPClientTransport as OldTransport } from "mcp-sdk-2025/client/streamableHttp.js";
import { everythingServer, type ToolServer, toolServer } from "../../support/mcp.ts";
import { serving } from "../../support/serving.ts";

const KEY = "an-agents-key-0123456789abcdef";
const ME = { name: "test", version: "1.0.0" };
const requestInit = { headers: { authorization: `Bearer ${KEY}` } };

/** What the tests do with a client of any generation. */
interface Connected {
  readonly version: () => string | undefined;
  readonly list: () => Promise<string[]>;
  readonly call: (name: string, args?: Record<string, unknown>) => Promise<object>;
  /** Calls a tool that tells how far it is; gives how often it did. */
  readonly progress: (name: string, args: Record<string, unknown>) => Promise<number>;
  readonly close: () => Promise<void>;
}

const CLIENTS: Record<string, (url: URL) => Promise<Connected>> = {
  "of 2026-07-28": async (url) => {
    const client = new NewClient(ME, { versionNegotiation: { mode: "auto" } });
    await client.connect(new NewTransport(url, { requestInit }));
    return {
      version: () => client.getNegotiatedProtocolVersion(),
      list: async () => (await client.listTools()).tools.map(({ name }) => name),
      call: (name, args = {}) => client.callTool({ name, arguments: args }),
      progress: async (name, args) => {
        let told = 0;
        await client.callTool({ name, arguments: args }, { onprogress: () => void told++ });
        return told;
      },
      close: () => client.close(),
    };
  },
  "of 2025-11-25": async (url) => {
    const client = new Client(ME);
    const transport = new StreamableHTTPClientTransport(url, { requestInit });
    await client.connect(transport);
    return {
      version: () => transport.protocolVersion,
      list: async () => (await client.listTools()).tools.map(({ name }) => name),
      call: (name, args = {}) => client.callTool({ name, arguments: args }),
      progress: async (name, args) => {
        let told = 0;
        await client.callTool({ name, arguments: args }, undefined, { onprogress: () => void told++ });
        return told;
      },
      close: async () => {
        await transport.terminateSession();
        await client.close();
      },
    };
  },
  "of 2025-03-26": async (url) => {
    const client = new OldClient(ME);
    const transport = new OldTransport(url, { requestInit });
    await client.connect(transport);
    return {
      version: () => "2025-03-26",
      list: async () => (await client.listTools()).tools.map(({ name }) => name),
      call: (name, args = {}) => client.callTool({ name, arguments: args }),
      progress: async (name, args) => {
        let told = 0;
        await client.callTool({ name, arguments: args }, undefined, { onprogress: () => void told++ });
        return told;
      },
      close: async () => {
        await transport.terminateSession();
        await client.close();
      },
    };
  },
};

let everything: Awaited<ReturnType<typeof everythingServer>>;
let tools: ToolServer;
let running: ReturnType<typeof serving>;

beforeAll(async () => {
  everything = await everythingServer();
  tools = toolServer();
  const each = (name: string, upstream: string, mcp: object, limits: object[] = []) => ({
    ...{ name, path: `/${name}`, upstream, mcp, limits },
  });
  running = serving({
    tiers: { team: { limits: [] } },
    consumers: [{ id: "agent", tier: "team", keys: [KEY] }],
    routes: [
      each("everything", everything.url, { tools: { include: ["echo", "get-sum", "trigger-long-*"], exclude: ["get-*"] } }),
      each("asking", everything.url, { tools: { include: ["trigger-*"] } }),
      each("tools", tools.url, { tools: { include: ["search", "get_time", "drop_table"], exclude: ["drop_*"] } }),
      each("limited", tools.url, {}, [{ name: "calls", algorithm: "fixed-window", limit: 2, window: "1h", by: ["consumer", "tool"] }]),
    ],
  });
});
afterAll(async () => {
  await running.stop();
  tools[Symbol.dispose]();
  await everything[Symbol.asyncDispose]();
});

const at = (path: string): URL => new URL(`${running.url}/${path}`);

for (const [name, connect] of Object.entries(CLIENTS))
  describe(`the official client ${name}`, () => {
    test("works with a server with sessions: it sees and calls the tools that it may", async () => {
      const client = await connect(at("everything"));
      expect((await client.list()).sort()).toEqual(["echo", "trigger-long-running-operation"]);
      expect(await client.call("echo", { message: "hello" })).toMatchObject({ content: [{ type: "text", text: "Echo: hello" }] });
      const refused = await client.call("get-sum", { a: 1, b: 2 }).catch((error: unknown) => error);
      expect(refused).toMatchObject({ code: -32602, message: expect.stringContaining('Unknown tool: "get-sum"') });
      expect(await client.progress("trigger-long-running-operation", { duration: 0.2, steps: 4 })).toBeGreaterThanOrEqual(3);
      await client.close();
    });

    test("works with a server of the newest version", async () => {
      const client = await connect(at("tools"));
      if (name.includes("2026")) expect(client.version()).toBe("2026-07-28");
      expect((await client.list()).sort()).toEqual(["get_time", "search"]);
      expect(await client.call("search", { text: "é" })).toMatchObject({ content: [{ text: '{"text":"é"}' }] });
      const refused = await client.call("drop_table").catch((error: unknown) => error);
      expect(refused).toMatchObject({ code: -32602 });
      await client.close();
      expect(tools.calls).not.toContain("drop_table");
    });

    test("is told when a limit by tool is used up, and goes on with other tools", async () => {
      running.clock.advance(3_600_000);
      const client = await connect(at("limited"));
      await client.call("search");
      await client.call("search");
      const limited = await client.call("search").catch((error: unknown) => error);
      expect(String(limited)).toContain("Too many requests");
      await client.call("write_file");
      await client.close();
    });
  });

test("a server with sessions asks its client back through the gateway", async () => {
  const client = new Client(ME, { capabilities: { sampling: {} } });
  client.setRequestHandler(CreateMessageRequestSchema, async () => ({
    ...{ model: "none", role: "assistant", content: { type: "text", text: "sampled here" } },
  }));
  const transport = new StreamableHTTPClientTransport(at("asking"), { requestInit });
  await client.connect(transport);
  const answer = await client.callTool({ name: "trigger-sampling-request", arguments: { prompt: "anything" } });
  expect(JSON.stringify(answer)).toContain("sampled here");
  await transport.terminateSession();
  await client.close();
});

test("by the transport of 2024-11-05 lists that come by the stream are taken apart as well", async () => {
  await using server = await everythingServer("sse");
  const old = serving({
    tiers: { team: { limits: [] } },
    consumers: [{ id: "agent", tier: "team", keys: [KEY] }],
    routes: [{ path: "/", upstream: new URL(server.url).origin, mcp: { tools: { include: ["echo"] } } }],
  });
  const client = new Client(ME);
  const withKey = (input: string | URL, init?: RequestInit) =>
    fetch(input, { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), ...requestInit.headers } });
  await client.connect(new SSEClientTransport(new URL(`${old.url}/sse`), { requestInit, fetch: withKey }));
  expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(["echo"]);
  expect(await client.callTool({ name: "echo", arguments: { message: "a" } })).toMatchObject({ content: [{ text: "Echo: a" }] });
  await expect(client.callTool({ name: "get-sum", arguments: { a: 1, b: 2 } })).rejects.toThrow();
  await client.close();
  await old.stop();
});
