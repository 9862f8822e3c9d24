import { describe, expect, test } from "bun:test";
import { Client, ClientCredentialsProvider, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { startIssuer } from "../support/issuer.ts";
import { toolServer } from "../support/mcp.ts";
import { serving } from "../support/serving.ts";
import { type TestIssuer, testIssuer } from "../support/token-issuer.ts";

/** A gateway before a server whose callers have tokens of an issuer for it: the admin API makes both, when the gateway's address is known. */
async function gateway(upstream: string, issuer: string, scopes: object = {}, more: object = {}) {
  const running = serving({
    tiers: { free: { limits: [] } },
    anonymousTier: "free",
    admin: { upstreamAllow: ["127.0.0.0/8"] },
    consumers: [{ id: "machine", tier: "free", keys: ["a-machines-key-0123456789"] }],
  });
  const resource = `${running.url}/mcp`;
  const made = async (path: string, body: object) => {
    const answer = await running.admin("POST", path, body);
    if (answer.status !== 201) throw new Error(await answer.text());
  };
  await made("/admin/issuers", { name: "main", issuer, audience: [resource], tier: { default: "free" } });
  await made("/admin/routes", { name: "tools", path: "/mcp", upstream, stripPrefix: false, mcp: { resource, scopes }, ...more });
  return { ...running, resource, [Symbol.asyncDispose]: () => running.stop() };
}

const call = (name: string, headers: Record<string, string>) => ({
  method: "POST",
  headers: { "content-type": "application/json", accept: "application/json, text/event-stream", ...headers },
  body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: {} } }),
});
const bearer = async (issuer: TestIssuer, aud: string, scope?: string) => ({
  authorization: `Bearer ${await issuer.token({ claims: { aud, ...(scope === undefined ? {} : { scope }) } })}`,
});

describe("a protected server", () => {
  test("tells clients without a token, and those with too few scopes, which issuer to ask for which", async () => {
    using server = toolServer();
    using issuer = await testIssuer();
    await using running = await gateway(
      server.url,
      issuer.url,
      { "write_*": ["mcp:write"], "drop_*": ["mcp:write", "mcp:admin"] },
      { scopes: ["mcp:use"] },
    );
    const metadata = `${running.url}/.well-known/oauth-protected-resource/mcp`;
    const without = await fetch(running.resource, call("search", {}));
    expect(without.status).toBe(401);
    expect(without.headers.get("www-authenticate")).toBe(`Bearer realm="sluice", resource_metadata="${metadata}", scope="mcp:use"`);
    expect(await without.json()).toMatchObject({ jsonrpc: "2.0", code: "keyMissing", error: { code: 401, message: expect.any(String) } });
    const bad = await fetch(
      running.resource,
      call("search", { authorization: `Bearer ${await issuer.token({ claims: { aud: "other" } })}` }),
    );
    expect(bad.headers.get("www-authenticate")).toContain(`error="invalid_token"`);
    expect(bad.headers.get("www-authenticate")).toContain(`, resource_metadata="${metadata}"`);

    const published = await fetch(metadata);
    expect(published.headers.get("access-control-allow-origin")).toBe("*");
    expect(await published.json()).toEqual({
      resource: running.resource,
      authorization_servers: [issuer.url],
      scopes_supported: ["mcp:use", "mcp:write", "mcp:admin"],
      bearer_methods_supported: ["header"],
      resource_name: "tools",
    });
    expect((await fetch(metadata, { method: "OPTIONS" })).status).toBe(204);
    expect((await fetch(metadata, { method: "POST" })).status).toBe(405);

    const some = await bearer(issuer, running.resource, "mcp:use");
    expect((await fetch(running.resource, call("search", some))).status).toBe(200);
    const lacking = await fetch(running.resource, call("drop_table", some));
    expect(lacking.status).toBe(403);
    expect(lacking.headers.get("www-authenticate")).toBe(
      `Bearer error="insufficient_scope", scope="mcp:write mcp:admin", resource_metadata="${metadata}"`,
    );
    expect(await lacking.json()).toMatchObject({ jsonrpc: "2.0", id: 1, code: "forbidden", error: { code: 403 } });
    const all = await bearer(issuer, running.resource, "mcp:use mcp:write mcp:admin");
    expect((await fetch(running.resource, call("drop_table", all))).status).toBe(200);
    expect(server.calls).toEqual(["search", "drop_table"]);
    // The token is for the gateway, and the server behind it does not get it.
    expect(server.seen.some(({ headers }) => headers.authorization !== undefined)).toBe(false);
  });

  test("asks callers without a key to log in when a tool needs scopes, where others are open to everybody", async () => {
    using server = toolServer();
    using issuer = await testIssuer();
    await using running = await gateway(server.url, issuer.url, { "write_*": ["mcp:write"] }, { auth: "optional" });
    expect((await fetch(running.resource, call("search", {}))).status).toBe(200);
    const asked = await fetch(running.resource, call("write_file", {}));
    expect(asked.status).toBe(401);
    expect(asked.headers.get("www-authenticate")).toBe(
      `Bearer realm="sluice", scope="mcp:write", resource_metadata="${running.url}/.well-known/oauth-protected-resource/mcp"`,
    );
    expect((await fetch(running.resource, call("write_file", await bearer(issuer, running.resource, "mcp:write")))).status).toBe(200);
  });

  test("publishes nothing where only keys are taken, and leaves other resources' metadata to routes", async () => {
    using server = toolServer();
    using issuer = await testIssuer();
    await using running = await gateway(server.url, issuer.url);
    const below = "/.well-known/oauth-protected-resource/elsewhere";
    expect((await fetch(running.url + below)).status).toBe(404);
    using other = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("the backend's own") });
    await running.admin("POST", "/admin/routes", {
      name: "all",
      path: "/",
      auth: "none",
      upstream: `http://127.0.0.1:${other.port}`,
      stripPrefix: false,
    });
    expect(await (await fetch(running.url + below)).text()).toBe("the backend's own");
    const published = `${running.url}/.well-known/oauth-protected-resource/mcp`;
    expect((await fetch(published)).headers.get("content-type")).toBe("application/json");
    await running.admin("DELETE", "/admin/issuers/main");
    expect(await (await fetch(published)).text()).toBe("the backend's own");
    const without = await fetch(running.resource, call("search", {}));
    expect(without.headers.get("www-authenticate")).toBe('Bearer realm="sluice"');
  });

  test("is found by the official client, which gets a token by itself, and one with more scopes when a tool needs them", async () => {
    using server = toolServer();
    await using issuer = await startIssuer();
    await using running = await gateway(server.url, issuer.url, { "write_*": ["orders:write"] }, { scopes: ["orders:read"] });
    const provider = new ClientCredentialsProvider({
      clientId: "shop",
      clientSecret: "a-client-secret-0123456789",
      expectedIssuer: issuer.url,
    });
    const client = new Client({ name: "test", version: "1.0.0" }, { versionNegotiation: { mode: "auto" } });
    await client.connect(new StreamableHTTPClientTransport(new URL(running.resource), { authProvider: provider }));
    // The challenge asks for what every caller needs, and no more.
    expect((await client.listTools()).tools.map(({ name }) => name).sort()).toEqual(["drop_table", "get_time", "search"]);
    expect(await client.callTool({ name: "search", arguments: { text: "a" } })).toMatchObject({ content: [{ text: '{"text":"a"}' }] });
    expect(await client.callTool({ name: "write_file", arguments: { text: "b" } })).toMatchObject({ content: [{ text: '{"text":"b"}' }] });
    expect(server.calls).toEqual(["search", "write_file"]);
    expect((await issuer.counts()).tokens).toBe(2);
    await client.close();
  });
});
