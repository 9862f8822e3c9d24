import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { folder, type Running, start } from "../support/process.ts";
import { until } from "../support/until.ts";

/** A backend on a Unix socket, which tells what it was asked. */
const onSocket = (path: string) =>
  Bun.serve({
    unix: path,
    fetch: (request, server) =>
      server.upgrade(request, { data: undefined })
        ? undefined
        : Response.json({ url: new URL(request.url).pathname, host: request.headers.get("host") }),
    websocket: { message: (socket, message) => void socket.send(message) },
  });

const base = { tiers: { anonymous: { limits: [] } }, logging: { accessLog: false } };

describe("a target that is a Unix socket", () => {
  test("serves requests, WebSockets and health checks, with a base path and without", async () => {
    using home = folder();
    const socket = join(home.path, "app.sock");
    const config = {
      ...base,
      upstreams: { app: { targets: [{ url: `unix:${socket}:/v1` }], breaker: null, healthCheck: { path: "/well", interval: "50ms" } } },
      routes: [
        { path: "/app", upstream: "app", auth: "none" },
        { path: "/plain", upstream: `unix:${socket}`, auth: "none" },
      ],
    };
    await using gateway = await start({ cwd: home.path, config });
    // Nobody is there yet.
    expect((await fetch(`${gateway.url}/plain/x`)).status).toBe(502);
    const behind = onSocket(socket);
    try {
      await until(async () => (await fetch(`${gateway.url}/app/x`)).status === 200);
      expect(await (await fetch(`${gateway.url}/app/x`)).json()).toEqual({ url: "/v1/x", host: "localhost" });
      expect(await (await fetch(`${gateway.url}/plain/x`)).json()).toEqual({ url: "/x", host: "localhost" });
      const client = new WebSocket(`${gateway.url.replace("http", "ws")}/plain/ws`);
      const { promise, resolve } = Promise.withResolvers<unknown>();
      client.onopen = () => client.send("hello");
      client.onmessage = ({ data }) => resolve(data);
      expect(await promise).toBe("hello");
      client.close();
      const told = await gateway.admin("POST", "/admin/explain/request", { method: "GET", target: "/app/x" });
      expect(await told.text()).toContain(`unix:${socket}:/v1/x`);
    } finally {
      await behind.stop(true);
    }
  });

  test("is made by the admin API only where upstreamAllow lists it", async () => {
    using home = folder();
    let count = 0;
    const admin = { upstreamAllow: ["unix:/run/one.sock", "unix:/run/apps/*", "*.internal"] };
    const made = (gateway: Running, url: string) => gateway.admin("POST", "/admin/upstreams", { name: `u${count++}`, targets: [{ url }] });
    await using strict = await start({ cwd: home.path, config: base });
    const refused = await made(strict, "unix:/run/one.sock");
    expect([refused.status, await refused.text()]).toEqual([422, expect.stringContaining("where admin.upstreamAllow lists it")]);
    await using gateway = await start({ config: { ...base, admin } });
    const allowed = async (url: string): Promise<boolean> => (await made(gateway, url)).status === 201;
    expect(await allowed("unix:/run/one.sock")).toBe(true);
    expect(await allowed("unix:/run/one.sock:/base")).toBe(true);
    expect(await allowed("unix:/run/apps/two.sock")).toBe(true);
    for (const url of ["unix:/run/two.sock", "unix:/run/apps/more/two.sock", "unix:/run/apps/../two.sock", "unix:/run/apps"])
      expect(await allowed(url)).toBe(false);
    const route = (upstream: string) => gateway.admin("POST", "/admin/routes", { path: "/made", upstream });
    expect((await route("unix:/run/two.sock")).status).toBe(422);
    expect((await route("unix:/run/one.sock")).status).toBe(201);
  });
});
