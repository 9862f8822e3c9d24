import { expect } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { type Backend, backend } from "../../support/backend.ts";
import { type Certified, certified } from "../../support/certificates.ts";
import { folder, start } from "../../support/process.ts";
import { startAll } from "../../support/processes.ts";
import { having } from "../../support/programs.ts";

const { describe, test } = having("openssl");

function put(path: string, name: string, { cert, key }: Certified): void {
  for (const [ending, text] of [
    ["pem", cert],
    ["key", key],
  ] as const) {
    writeFileSync(join(path, `${name}.${ending}.new`), text);
    renameSync(join(path, `${name}.${ending}.new`), join(path, `${name}.${ending}`));
  }
}

/** Makes one connection and asks once. Gives the name of the certificate; rejects where the answer is not whole. */
function asked(port: number, servername: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let shown = "";
  let text = "";
  const socket = connect({ host: "127.0.0.1", port, servername, rejectUnauthorized: false });
  socket.on("secureConnect", () => {
    shown = socket.getPeerCertificate().subject.CN as string;
    socket.write("GET /bytes HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  });
  socket.on("data", (bytes) => {
    text += bytes.toString("latin1");
  });
  socket.on("error", reject);
  socket.on("close", () => (/^HTTP\/1\.1 200 /.test(text) ? resolve(shown) : reject(new Error(`closed early: ${text.slice(0, 80)}`))));
  return promise;
}

/** Asks 500 times a second, over a connection each, for so many milliseconds. */
async function underLoad(port: number, names: readonly string[], milliseconds: number) {
  const shown = new Map<string, number>();
  const failures: string[] = [];
  const all: Promise<void>[] = [];
  const begin = performance.now();
  for (let sent = 0; performance.now() - begin < milliseconds; await Bun.sleep(10))
    // As many as are due, and no more than a machine that is late can have open.
    for (let due = Math.min((performance.now() - begin) / 2 - sent, 50); due >= 1; due--, sent++)
      all.push(
        asked(port, names[sent % names.length] ?? "").then(
          (name) => void shown.set(name, (shown.get(name) ?? 0) + 1),
          (error: unknown) => void failures.push(String(error)),
        ),
      );
  await Promise.all(all);
  return { count: all.length, shown, failures };
}

for (const workers of [1, 2])
  describe(`certificates, with ${workers === 1 ? "one process" : "workers"}`, () => {
    test("are exchanged under 500 new connections a second without a failed handshake or a cut answer", async () => {
      using home = folder();
      using behind: Backend = backend();
      const own = ["a1.test", "a2.test"].map((name) => certified([name, "a.test"]));
      const other = ["b1.test", "b2.test"].map((name) => certified([name, "b.test"]));
      const exchange = (turn: number): void => {
        put(home.path, "own", own[turn % 2] as Certified);
        put(home.path, "other", other[turn % 2] as Certified);
      };
      exchange(0);
      const config = {
        server: { workers, tls: { cert: "own.pem", key: "own.key", certificates: [{ cert: "other.pem", key: "other.key" }] } },
        logging: { accessLog: false },
        tiers: { anonymous: { limits: [] } },
        routes: [{ path: "/", upstream: behind.url, auth: "none" }],
      };
      await using gateway = await (workers === 1 ? start : startAll)({ cwd: home.path, config, tls: true });
      // Held all the while: what is open goes on.
      const held = connect({ host: "127.0.0.1", port: gateway.port, rejectUnauthorized: false });
      await new Promise((resolve) => held.once("secureConnect", resolve));
      let turns = 0;
      const exchanging = setInterval(() => {
        exchange(++turns);
        process.kill(gateway.pid, "SIGHUP");
      }, 500);
      const { count, shown, failures } = await underLoad(gateway.port, ["a.test", "b.test"], 10_000);
      clearInterval(exchanging);
      expect(failures).toEqual([]);
      expect([...shown.values()].reduce((sum, each) => sum + each, 0)).toBe(count);
      expect([...shown.keys()].sort()).toEqual(["a1.test", "a2.test", "b1.test", "b2.test"]);
      held.write("GET /health HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
      const answer = await new Promise<Buffer>((resolve) => held.once("data", resolve));
      expect(answer.toString("latin1")).toStartWith("HTTP/1.1 200");
      held.destroy();
    });
  });
