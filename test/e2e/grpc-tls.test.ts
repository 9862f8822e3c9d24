import { expect } from "bun:test";
import { createSecureServer, type Http2SecureServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { framedMessage } from "../../src/grpc/messages.ts";
import { authority, type Issued } from "../support/backend-authority.ts";
import { webCall } from "../support/grpc.ts";
import { folder, start } from "../support/process.ts";
import { having } from "../support/programs.ts";

const { describe, test } = having("openssl");

/** A service over TLS that answers with the name in the certificate that it was shown. */
async function secureService({ cert, key }: Issued, ca: string, protocols = ["h2"]): Promise<{ port: number } & Disposable> {
  const server: Http2SecureServer = createSecureServer({
    cert,
    key,
    ca,
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: protocols,
  });
  server.on("stream", (stream: ServerHttp2Stream) => {
    const socket = stream.session?.socket as TLSSocket | undefined;
    const { subject } = (socket?.getPeerCertificate() ?? {}) as { subject?: { CN?: string } };
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(framedMessage(Buffer.from(subject?.CN ?? "nobody")));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return { port: (server.address() as AddressInfo).port, [Symbol.dispose]: () => void server.close() };
}

describe("a service over TLS", () => {
  test("is called by HTTP/2, checked by the upstream's authority, and shown its certificate", async () => {
    using home = folder();
    const ca = authority(home.path);
    using behind = await secureService(ca.issue("backend", "DNS:backend.internal"), ca.cert);
    ca.issue("gateway", "DNS:gateway");
    const tls = { ca: "ca.pem", cert: "gateway.pem", key: "gateway.key", serverName: "backend.internal" };
    const upstream = (own: object | null) => ({
      targets: [{ url: `https://127.0.0.1:${behind.port}` }],
      protocol: "grpc",
      breaker: null,
      tls: own,
    });
    const route = (name: string) => ({ path: `/${name}.S`, upstream: name, stripPrefix: false, auth: "none" });
    await using gateway = await start({
      cwd: home.path,
      config: {
        upstreams: { own: upstream(tls), none: upstream(null) },
        tiers: { anonymous: { limits: [] } },
        routes: [route("own"), route("none")],
      },
    });
    expect(await webCall(`${gateway.url}/own.S/M`, [])).toMatchObject({ status: "0", messages: ["gateway"] });
    expect((await webCall(`${gateway.url}/none.S/M`, [])).status).toBe("14");
  });
});
