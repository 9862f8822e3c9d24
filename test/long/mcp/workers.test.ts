// Calls of tools with several processes: what they count is one picture.
import { expect, test } from "bun:test";
import { toolServer } from "../../support/mcp.ts";
import { ADMIN_TOKEN, freePort, start } from "../../support/process.ts";
import { until } from "../../support/until.ts";

const KEY = "an-agents-key-0123456789abcdef";

test("workers count calls of tools together, and each publishes the metadata of the server", async () => {
  using server = toolServer();
  const port = freePort();
  const resource = `http://127.0.0.1:${port}/mcp`;
  await using running = await start({
    port,
    config: {
      server: { workers: 2 },
      tiers: { team: { limits: [] } },
      consumers: [{ id: "agent", tier: "team", keys: [KEY] }],
      issuers: {
        main: { issuer: "http://127.0.0.1:9/", jwks: "http://127.0.0.1:9/jwks", audience: [resource], tier: { default: "team" } },
      },
      routes: [
        {
          ...{ name: "tools", path: "/mcp", upstream: server.url, mcp: { tools: { include: ["search"] }, resource } },
          limits: [{ name: "each", algorithm: "fixed-window", limit: 20, window: "1h", by: "tool" }],
        },
      ],
    },
  });
  const call = async () => {
    const answer = await fetch(`${running.url}/mcp`, {
      method: "POST",
      // A connection of its own, so that both workers get some.
      headers: { "content-type": "application/json", accept: "application/json, text/event-stream", "x-api-key": KEY, connection: "close" },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "search", arguments: {} } }),
    });
    await answer.text();
    return answer.status;
  };
  const statuses = await Promise.all(Array.from({ length: 30 }, call));
  expect(statuses.filter((status) => status === 200)).toHaveLength(20);
  expect(statuses.filter((status) => status === 429)).toHaveLength(10);
  expect(server.calls).toHaveLength(20);
  const counted = async () => {
    const answer = await fetch(`${running.url}/metrics`, { headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
    const text = await answer.text();
    return ["answered", "limited"].map((outcome) =>
      Number(new RegExp(`^sluice_mcp_calls_total\\{route="tools",tool="search",outcome="${outcome}"\\} (\\d+)$`, "m").exec(text)?.[1]),
    );
  };
  await until(async () => (await counted()).join() === "20,10");
  const asked = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const path = "/.well-known/oauth-protected-resource/mcp";
      return (await (await fetch(running.url + path, { headers: { connection: "close" } })).json()) as { resource: string };
    }),
  );
  expect(asked.map((each) => each.resource)).toEqual(Array(6).fill(resource));
});
