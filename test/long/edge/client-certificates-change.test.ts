import { afterAll, beforeAll, expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Authorities, askWith, authorities, type Pair, type TestAuthority } from "../../support/authority.ts";
import { type Backend, backend } from "../../support/backend.ts";
import { folder, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../../support/tls.ts";
import { until } from "../../support/until.ts";

const { describe, test } = having("openssl");

let own: Authorities;
let root: TestAuthority;
let other: TestAuthority;
let between: TestAuthority;
/** Revokes Carol's. */
let list: string;
let behind: Backend;
const pairs: Record<"alice" | "bob" | "carol", Pair> = {} as never;
beforeAll(() => {
  own = authorities();
  root = own.authority("/CN=Root");
  other = own.authority("/CN=Other");
  between = root.authority("/CN=Between");
  pairs.alice = root.sign({ subject: "/CN=alice" });
  pairs.bob = other.sign({ subject: "/CN=bob" });
  pairs.carol = between.sign({ subject: "/CN=carol" });
  between.revoke(pairs.carol);
  list = between.list();
  behind = backend();
});
afterAll(() => {
  own[Symbol.dispose]();
  behind[Symbol.dispose]();
});

describe("a gateway that asks for client certificates", () => {
  test.each([
    [1, true],
    [2, true],
    [1, false],
    [2, false],
  ])(
    "of %d workers (required: %p) goes on asking when its certificates and its authorities change",
    async (workers, require) => {
      using files = folder();
      const write = (name: string, text: string) => writeFileSync(join(files.path, name), text);
      const named = own.authority("/CN=named.test");
      for (const [name, text] of Object.entries({ "cert.pem": CERTIFICATE, "key.pem": PRIVATE_KEY, "clients.pem": root.cert }))
        write(name, text);
      write("named.pem", named.cert);
      write("named.key", named.key);
      const config = {
        server: {
          workers,
          tls: {
            certificates: [
              { cert: "cert.pem", key: "key.pem" },
              { cert: "named.pem", key: "named.key" },
            ],
            clientCertificates: { ca: "clients.pem", require },
          },
        },
        admin: { listen: { host: "127.0.0.1", port: 0 } },
        tiers: { anonymous: { limits: [] }, free: { limits: [] } },
        routes: [{ path: "/a", upstream: behind.url }],
      };
      // Whoever asks whether it serves has no certificate, where one is required: the log says so then.
      const gateway = await start({ cwd: files.path, config, tls: CERTIFICATE, ...(require ? { isReady: "listening" } : {}) });
      const statusOf = async (pair: Pair | null) => (await askWith(gateway.port, pair, "/a/x")).status;
      const refused = require ? 0 : 401;
      const all = async () => [await statusOf(pairs.alice), await statusOf(pairs.bob), await statusOf(pairs.carol), await statusOf(null)];
      // Each worker hears of a change by itself.
      const settled = (wanted: readonly number[]) =>
        until(async () => {
          for (let i = 0; i < 4 * workers; i++) if (!Bun.deepEquals(await all(), wanted)) return false;
          return true;
        });
      expect(await all()).toEqual([200, refused, refused, refused]);
      // Another certificate of the gateway's own.
      const renewed = own.authority("/CN=named.test");
      write("named.key", renewed.key);
      write("named.pem", renewed.cert);
      write("clients.pem", other.cert + between.cert);
      await settled([refused, 200, 200, refused]);
      // One that can't be used leaves those before.
      write("clients.pem", `${root.cert}${list}`);
      await until(() => gateway.output().includes("but not the certificate of CN=Between"));
      expect(await all()).toEqual([refused, 200, 200, refused]);
      write("clients.pem", root.cert + between.cert + list);
      await settled([200, refused, refused, refused]);
      await gateway.stop();
    },
    60_000,
  );
});
