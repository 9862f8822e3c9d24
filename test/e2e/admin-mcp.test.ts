// The official clients of three generations at a gateway's own tools.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Client as Client2026, StreamableHTTPClientTransport as Transport2026 } from "@modelcontextprotocol/client";
import { Client as Client2025 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as Transport2025 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { Client as OldClient } from "mcp-sdk-2025/client/index.js";
import { StreamableHTTPClientTransport as OldTransport } from "mcp-sdk-2025/client/streamableHttp.js";
import { ADMIN_TOKEN, type Running, start } from "../support/process.ts";
import { startAll } from "../support/processes.ts";
import { until } from "../support/until.ts";

const CONFIG = {
  logging: { accessLog: false },
  admin: { mcp: true },
  tiers: { free: { limits: [{ algorithm: "sliding-window", limit: 10, window: "1m" }] } },
};
const ME = { name: "a-test", version: "1.0.0" };

/** What all three clients can do. */
interface Connected {
  listTools(): Promise<{ tools: { name: string; annotations?: { readOnlyHint?: boolean } | undefined }[] }>;
  callTool(call: { name: string; arguments: Record<string, unknown> }): Promise<unknown>;
  close(): Promise<void>;
}

const urlOf = (gateway: Running): URL => new URL(`${gateway.url}/admin/mcp`);
const shown = (token: string) => ({ requestInit: { headers: { authorization: `Bearer ${token}` } } });

const GENERATIONS: readonly (readonly [version: string, connect: (gateway: Running, token: string) => Promise<Connected>])[] = [
  [
    "2026-07-28",
    async (gateway, token) => {
      const client = new Client2026(ME, { versionNegotiation: { mode: { pin: "2026-07-28" } } });
      await client.connect(new Transport2026(urlOf(gateway), shown(token)));
      expect(client.getServerVersion()?.name).toBe("sluice");
      return client;
    },
  ],
  [
    "2026-07-28, which looks for itself what the server speaks",
    async (gateway, token) => {
      const client = new Client2026(ME, { versionNegotiation: { mode: "auto" } });
      await client.connect(new Transport2026(urlOf(gateway), shown(token)));
      expect(client.getNegotiatedProtocolVersion()).toBe("2026-07-28");
      return client;
    },
  ],
  [
    "2025-11-25",
    async (gateway, token) => {
      const client = new Client2025(ME);
      // Its own types disagree about what may be undefined.
      await client.connect(new Transport2025(urlOf(gateway), shown(token)) as Parameters<typeof client.connect>[0]);
      expect(client.getServerVersion()?.name).toBe("sluice");
      return client;
    },
  ],
  [
    "2025-03-26",
    async (gateway, token) => {
      const client = new OldClient(ME);
      await client.connect(new OldTransport(urlOf(gateway), shown(token)) as Parameters<typeof client.connect>[0]);
      expect(client.getInstructions()).toContain("Sluice");
      return client;
    },
  ],
];

/** Calls a tool, and gives the JSON of its result. */
async function use(client: Connected, name: string, args: Record<string, unknown>) {
  const { content, isError } = (await client.callTool({ name, arguments: args })) as {
    readonly content: readonly { readonly text: string }[];
    readonly isError?: boolean;
  };
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
  return { isError: isError === true, json: JSON.parse(content[0]?.text ?? "null") as any };
}

describe("a gateway of one process", () => {
  let gateway: Running;
  beforeAll(async () => {
    gateway = await start({ config: CONFIG });
  });
  afterAll(() => gateway.stop());

  test.each(GENERATIONS)("serves its tools to the official client of %s", async (version, connect) => {
    const client = await connect(gateway, ADMIN_TOKEN);
    const { tools } = await client.listTools();
    expect(tools.length).toBeGreaterThan(80);
    const id = `acme-${version.replaceAll(/\W/g, "")}`;
    expect((await use(client, "createConsumer", { body: { id, tier: "free" } })).json.id).toBe(id);
    expect((await use(client, "getConsumer", { id })).json.tier).toBe("free");
    const again = await use(client, "createConsumer", { body: { id, tier: "free" } });
    expect([again.isError, again.json.code]).toEqual([true, "conflict"]);
    await until(() => /"path":"\/admin\/mcp","status":200,[^\n]*"tool":"createConsumer"/.test(gateway.output()));
    await client.close();
  });

  test.each(GENERATIONS)("shows a viewer's token what looks, by the official client of %s", async (version, connect) => {
    const name = `viewer-${version.replaceAll(/\W/g, "")}`;
    const made = await fetch(`${gateway.url}/admin/tokens`, {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" },
      body: JSON.stringify({ name, role: "viewer" }),
    });
    const { token } = (await made.json()) as { token: string };
    const client = await connect(gateway, token);
    const { tools } = await client.listTools();
    expect(tools.filter(({ annotations }) => annotations?.readOnlyHint !== true)).toEqual([]);
    const refused = await use(client, "setHealth", { body: { status: "DEGRADED" } });
    expect([refused.isError, refused.json.code]).toEqual([true, "forbidden"]);
    await client.close();
  });
});

test("a gateway of several processes serves its tools whichever worker is asked, and what they change holds in all", async () => {
  await using gateway = await startAll({ config: { ...CONFIG, server: { workers: 2 } } });
  const [[, connect]] = GENERATIONS as [(typeof GENERATIONS)[number]];
  const client = await connect(gateway, ADMIN_TOKEN);
  for (let i = 0; i < 20; i++) {
    expect((await use(client, "createConsumer", { body: { id: `c${i}`, tier: "free" } })).isError).toBe(false);
    expect((await use(client, "getConsumer", { id: `c${i}` })).json.id).toBe(`c${i}`);
  }
  const { items } = (await use(client, "listAudit", { limit: 1 })).json;
  expect(items[0]).toMatchObject({ action: "consumer.create", ip: "127.0.0.1" });
  await client.close();
});
