import { describe, expect, test } from "bun:test";
import { createSecureServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { framedMessage } from "../../src/grpc/messages.ts";
import { grpcServer, webCall } from "../support/grpc.ts";
import { serving } from "../support/serving.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../support/tls.ts";
import { until } from "../support/until.ts";
import { http2Server } from "../support/upstream-h2.ts";

const route = (more: object = {}) => ({ path: "/a.B", upstream: "b", stripPrefix: false, auth: "none", retry: null, ...more });

describe("a backend of gRPC", () => {
  test("that says UNAVAILABLE is cut off, and one that says NOT_FOUND is not", async () => {
    let status = 5;
    let asked = 0;
    using backend = await grpcServer((call) => {
      asked++;
      if (asked % 2 === 0) call.refuse(status);
      else call.end(status);
    });
    const gateway = serving({
      upstreams: { b: { targets: [{ url: `http://127.0.0.1:${backend.port}` }], protocol: "grpc", breaker: { failureThreshold: 4 } } },
      routes: [route()],
    });
    try {
      for (let i = 0; i < 10; i++) expect((await webCall(`${gateway.url}/a.B/C`, [])).status).toBe("5");
      status = 14;
      for (let i = 0; i < 6; i++) expect((await webCall(`${gateway.url}/a.B/C`, [])).status).toBe("14");
      expect(asked).toBe(14);
    } finally {
      await gateway.stop();
    }
  });

  test("is asked by the health protocol, for a service by name", async () => {
    let serving1 = 1;
    const names: string[] = [];
    using backend = await grpcServer(async (call) => {
      if (call.headers[":path"] !== "/grpc.health.v1.Health/Check") {
        call.end(0);
        return;
      }
      names.push(...(await call.heard));
      call.say(String.fromCharCode(8, serving1));
      call.end(0);
    });
    const healthCheck = { interval: "100ms", timeout: "5s", unhealthyAfter: 1, healthyAfter: 1, service: "a.B" };
    const gateway = serving({
      upstreams: { b: { targets: [{ url: `http://127.0.0.1:${backend.port}` }], protocol: "grpc", healthCheck } },
      routes: [route()],
    });
    try {
      await until(() => names.length > 0);
      expect(names[0]).toBe("\n\x03a.B");
      const healthy = async () => JSON.stringify(await (await gateway.admin("GET", "/admin/breakers")).json());
      serving1 = 2;
      await until(async () => (await webCall(`${gateway.url}/a.B/C`, [])).status === "14");
      expect(await healthy()).toContain('"healthy":false');
      serving1 = 1;
      await until(async () => (await webCall(`${gateway.url}/a.B/C`, [])).status === "0");
    } finally {
      await gateway.stop();
    }
  });

  test("over TLS must offer HTTP/2 and be known", async () => {
    const answer = (stream: ServerHttp2Stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(framedMessage(Buffer.from("x")));
    };
    const server = createSecureServer({ cert: CERTIFICATE, key: PRIVATE_KEY });
    server.on("stream", answer);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    const { port } = server.address() as AddressInfo;
    const gateway = serving({ upstreams: { b: { targets: [{ url: `https://127.0.0.1:${port}` }], protocol: "grpc" } }, routes: [route()] });
    try {
      // Nobody has signed its certificate.
      expect((await webCall(`${gateway.url}/a.B/C`, [])).status).toBe("14");
    } finally {
      await gateway.stop();
      server.close();
    }
  });
});

describe("a backend of HTTP/2", () => {
  test("is asked, checked and cached as any other", async () => {
    const paths: string[] = [];
    using backend = await http2Server((stream, headers) => {
      paths.push(String(headers[":path"]));
      stream.respond({ ":status": 200, "content-type": "text/plain", "cache-control": "max-age=60" });
      stream.end("hello");
    });
    const gateway = serving({
      upstreams: {
        b: { targets: [{ url: `http://127.0.0.1:${backend.port}/base` }], protocol: "h2c", healthCheck: { path: "/up", interval: "1h" } },
      },
      routes: [{ path: "/x", upstream: "b", auth: "none", cache: {} }],
    });
    try {
      await until(() => paths.includes("/base/up"));
      for (let i = 0; i < 2; i++) expect(await (await fetch(`${gateway.url}/x/y?z`)).text()).toBe("hello");
      expect(paths).toEqual(["/base/up", "/base/y?z"]);
    } finally {
      await gateway.stop();
    }
  });

  test("need not be one where a WebSocket is wanted", async () => {
    using backend = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("no", { status: 400 })),
      websocket: { message: (socket, text) => void socket.send(`<${text}>`) },
    });
    const gateway = serving({
      upstreams: { b: { targets: [{ url: `http://127.0.0.1:${backend.port}` }], protocol: "h2c" } },
      routes: [{ path: "/x", upstream: "b", auth: "none" }],
    });
    try {
      const socket = new WebSocket(`ws://127.0.0.1:${gateway.port}/x`);
      const answer = await new Promise((resolve, reject) => {
        socket.onopen = () => socket.send("a");
        socket.onmessage = ({ data }) => resolve(data);
        socket.onerror = reject;
      });
      expect(answer).toBe("<a>");
      socket.close();
    } finally {
      await gateway.stop();
    }
  });
});

describe("the settings of what a backend speaks", () => {
  test.each([
    [{ protocol: "h2", targets: [{ url: "http://a" }] }, "h2c"],
    [{ protocol: "h2c", targets: [{ url: "https://a" }] }, "h2"],
    [{ protocol: "h2c", targets: [{ url: "http://a" }], healthCheck: { service: "a.B" } }, "grpc"],
    [{ protocol: "spdy", targets: [{ url: "http://a" }] }, "h2c"],
    [{ protocol: "grpc", targets: [{ url: "http://a" }], breaker: { failures: ["grpc:NOPE"] } }, "grpc:UNAVAILABLE"],
  ])("%j is a fault", (upstream, hint) => {
    expect(() => serving({ upstreams: { u: upstream } })).toThrow(hint);
  });
});
