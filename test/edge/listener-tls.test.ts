import { expect } from "bun:test";
import type { ServedCertificate, TlsInForce } from "../../src/edge/certificates.ts";
import { judgePair } from "../../src/edge/judge.ts";
import { ListenerTls } from "../../src/edge/listener-tls.ts";
import { HttpServer } from "../../src/http/server.ts";
import { type Certified, certified, certifiedBy, shownBy } from "../support/certificates.ts";
import { having } from "../support/programs.ts";

const { test } = having("openssl");

const served = (pair: Certified): ServedCertificate => judgePair({ cert: "cert.pem", key: "key.pem" }, pair).served as ServedCertificate;
const FIELD = { consumer: "subject.CN", tier: "free" } as const;

/** A server that speaks TLS by what `put` says. */
function serving(first: TlsInForce, choosesByName = true) {
  const tls = new ListenerTls();
  const put = (next: TlsInForce, minVersion: "1.2" | "1.3" = "1.2"): number => {
    tls.follow(next, { minVersion }, choosesByName);
    server?.renewTls();
    return tls.version;
  };
  let server: HttpServer | null = null;
  put(first);
  const faults: unknown[] = [];
  server = new HttpServer({
    ...{ hostname: "127.0.0.1", port: 0, tls, limits: { maxHeaderSize: 16_384, maxBodySize: 1000, bodyRate: 0 }, handle: () => {} },
    ...{ refuse: () => ({ status: 400, reason: "", head: "", body: null, length: -1 }), onFault: (fault) => faults.push(fault) },
  });
  const { port } = server;
  const stop = server;
  return { port, put, faults, [Symbol.asyncDispose]: () => stop.close(0) };
}

/** Makes a handshake and waits until it holds on both sides: with TLS 1.3 a client learns of a refusal only afterwards. */
const admitted = async (port: number, options: object): Promise<boolean> =>
  await shownBy(port, "a.test", { ...options, maxVersion: "TLSv1.2" }).then(
    () => true,
    () => false,
  );

test("a listener begins anew for its own certificate, and not for one that is chosen by name", async () => {
  const [a, b, c] = [certified(["a.test"]), certified(["b.test"]), certified(["c.test", "b.test"])].map(served) as [
    ServedCertificate,
    ServedCertificate,
    ServedCertificate,
  ];
  await using server = serving({ certificates: [a, b], clients: null });
  const { port, put } = server;
  const version = put({ certificates: [a, b], clients: null });
  expect(await shownBy(port, "b.test")).toBe("b.test");
  expect(put({ certificates: [a, c], clients: null })).toBe(version);
  expect(await shownBy(port, "b.test")).toBe("c.test");
  expect(put({ certificates: [b, c], clients: null })).not.toBe(version);
  expect([await shownBy(port, null), await shownBy(port, "c.test")]).toEqual(["b.test", "c.test"]);
  put({ certificates: [b, c], clients: null }, "1.3");
  expect(await admitted(port, {})).toBe(false);
  expect(server.faults).toEqual([]);
});

test("where none can be chosen by name the first serves all", async () => {
  const [a, b] = [served(certified(["a.test"])), served(certified(["b.test"]))];
  await using server = serving({ certificates: [a, b], clients: null }, false);
  expect(await shownBy(server.port, "b.test")).toBe("a.test");
});

test("before there is a certificate each handshake is refused, and none when there is one", async () => {
  await using server = serving({ certificates: [], clients: null });
  const { port, put } = server;
  expect([await admitted(port, {}), await shownBy(port, null).catch(() => "refused")]).toEqual([false, "refused"]);
  put({ certificates: [served(certified(["a.test"]))], clients: null });
  expect(await shownBy(port, null)).toBe("a.test");
});

test("who must show a certificate must after each exchange, by name and without; by no authority nobody comes in", async () => {
  const root = certified([], 90, "/CN=root");
  const alice = certifiedBy(root, ["alice.test"]);
  const clients = { pem: root.cert, require: true, ...FIELD };
  const [a, b] = [served(certified(["a.test"])), served(certified(["b.test"]))];
  await using server = serving({ certificates: [a, b], clients });
  const { port, put } = server;
  const isRight = async () => [await admitted(port, alice), await admitted(port, {})];
  expect(await isRight()).toEqual([true, false]);
  for (const certificates of [[b, a], [a], [b]]) {
    put({ certificates, clients });
    expect(await isRight()).toEqual([true, false]);
  }
  put({ certificates: [a, b], clients: { ...clients, pem: "" } });
  expect(await isRight()).toEqual([false, false]);
  put({ certificates: [a, b], clients: { ...clients, pem: "", require: false } });
  expect([await admitted(port, {}), server.faults]).toEqual([false, []]);
  put({ certificates: [a, b], clients: { ...clients, require: false } });
  expect([await admitted(port, {}), server.faults]).toEqual([true, []]);
});
