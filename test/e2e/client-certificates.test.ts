import { afterAll, beforeAll, expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Authorities, askWith, authorities, type Pair, type TestAuthority } from "../support/authority.ts";
import { type Backend, backend } from "../support/backend.ts";
import { ADMIN_TOKEN, type Folder, folder, run, start } from "../support/process.ts";
import { having } from "../support/programs.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../support/tls.ts";

const { describe, test } = having("openssl");

let own: Authorities;
let root: TestAuthority;
let alice: Pair;
let bob: Pair;
let behind: Backend;
beforeAll(() => {
  own = authorities();
  root = own.authority("/CN=Root");
  alice = root.sign({ subject: "/CN=alice" });
  bob = root.sign({ subject: "/CN=bob" });
  root.revoke(bob);
  behind = backend();
});
afterAll(() => {
  own[Symbol.dispose]();
  behind[Symbol.dispose]();
});

/** A folder with the files that a gateway serves TLS by. */
function home(authority = root.cert + root.list()): Folder {
  const made = folder();
  for (const [name, text] of Object.entries({ "cert.pem": CERTIFICATE, "key.pem": PRIVATE_KEY, "clients.pem": authority }))
    writeFileSync(join(made.path, name), text);
  return made;
}

const configOf = (clients: object = {}, server: object = {}) => ({
  server: { tls: { cert: "cert.pem", key: "key.pem", clientCertificates: { ca: "clients.pem", ...clients } }, ...server },
  tiers: { anonymous: { limits: [] }, free: { limits: [{ algorithm: "fixed-window", limit: 50, window: "1h" }] } },
  routes: [{ path: "/a", upstream: behind.url }],
  selfService: {},
});

const asAdmin = { authorization: `Bearer ${ADMIN_TOKEN}` };

describe("client certificates", () => {
  test.each([1, 2])(
    "say who calls a gateway of %d workers, also where another process answers",
    async (workers) => {
      using files = home();
      await using gateway = await start({ cwd: files.path, config: configOf({}, { workers }), tls: CERTIFICATE });
      const ask = (pair: Pair | null, path: string, headers = {}) => askWith(gateway.port, pair, path, headers);
      for (let i = 0; i < 4; i++) {
        expect((await ask(alice, "/a/x")).status).toBe(200);
        expect(behind.seen.at(-1)?.headers["x-consumer-id"]).toBe("certificate:alice");
        expect((await ask(alice, "/api/v1/me")).json).toMatchObject({ consumer: "certificate:alice", tier: "free" });
        expect((await ask(bob, "/a/x")).json).toMatchObject({ status: 401, code: "certificateInvalid" });
        expect((await ask(bob, "/api/v1/me")).json).toMatchObject({ status: 401, code: "certificateInvalid" });
        expect((await ask(null, "/a/x")).json).toMatchObject({ code: "keyMissing" });
      }
      // All count together.
      expect((await ask(alice, "/a/x")).headers["x-ratelimit-remaining"]).toBe("45");
      const explained = await ask(null, "/admin/explain?consumer=certificate:alice", asAdmin);
      expect(explained.json).toMatchObject({ consumer: "certificate:alice", tier: "free", anonymous: false, allowed: true });
      const metrics = await fetch(`${gateway.url}/metrics`, { headers: asAdmin, tls: { ca: CERTIFICATE } });
      const text = await metrics.text();
      expect(text).toContain('sluice_client_certificates_total{outcome="held"} 9');
      expect(text).toContain('sluice_client_certificates_total{outcome="revoked"} 8');
      await gateway.stop();
      const line = gateway
        .output()
        .split("\n")
        .find((each) => each.includes('"certificateInvalid"') && each.includes('"/a/x"'));
      expect(JSON.parse(line ?? "{}").error).toMatch(/^the certificate of CN=bob \(serial [0-9a-f]+\): it is revoked by CN=Root$/);
    },
    60_000,
  );

  test("are checked with their authorities by name", async () => {
    using files = home();
    writeFileSync(join(files.path, "config.json"), JSON.stringify(configOf()));
    const checked = await run(["check"], { cwd: files.path });
    expect([checked.status, checked.stdout]).toEqual([0, expect.stringContaining("clients.pem: 1 revoked\n")]);
    expect(checked.stdout).toContain("clients.pem: takes clients' certificates signed by CN=Root, until ");
  });

  test.each([
    ["is not there", null, "clients.pem can't be read: there is no such file"],
    ["holds no certificate", "nothing\n", "clients.pem holds no certificate in PEM format"],
    [
      "holds a key",
      PRIVATE_KEY,
      "clients.pem holds EC PRIVATE KEY as its block 1: only certificates and revocation lists (X509 CRL) belong there",
    ],
    ["ends in the middle", `${CERTIFICATE}-----BEGIN X509 CRL-----\nMIIB\n`, "clients.pem is cut off, or not whole, behind its block 1"],
    [
      "is damaged",
      "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
      "clients.pem can't be read at its block 1: it has an element of unknown length",
    ],
  ])("are not taken by a file that %s: the start and the check say so", async (_what, text, says) => {
    using files = home(text ?? "");
    if (text === null) await Bun.file(join(files.path, "clients.pem")).delete();
    writeFileSync(join(files.path, "config.json"), JSON.stringify(configOf(), null, 2));
    for (const command of [["check"], ["serve"]]) {
      const { status, stdout, stderr } = await run(command, { cwd: files.path });
      expect([status, stdout + stderr]).toEqual([1, expect.stringMatching(/config\.json:\d+:\d+ server\.tls\.clientCertificates\.ca: /)]);
      expect(stdout + stderr).toContain(says);
    }
  });

  test("have faults for lists that nobody can check, and warnings for old ones", async () => {
    const between = root.authority("/CN=Between");
    const forged = own.authority("/CN=Root");
    for (const [text, says] of [
      [root.cert + between.list(), "holds a revocation list of CN=Between, but not the certificate of CN=Between: add it"],
      [root.cert + forged.list(), "holds a revocation list that is not signed by the certificate of CN=Root beside it"],
      [root.cert + root.list("20210101000000Z"), "warning: the revocation list of CN=Root was good until 2021-01-01"],
    ] as const) {
      using files = home(text);
      writeFileSync(join(files.path, "config.json"), JSON.stringify(configOf()));
      const { status, stdout } = await run(["check"], { cwd: files.path });
      expect([status, stdout]).toEqual([says.startsWith("warning") ? 0 : 1, expect.stringContaining(says)]);
    }
  });

  test("need a tier that there is", async () => {
    using files = home();
    writeFileSync(join(files.path, "config.json"), JSON.stringify(configOf({ tier: "fre" })));
    expect((await run(["check"], { cwd: files.path })).stdout).toContain(
      'server.tls.clientCertificates.tier: there is no tier "fre", did you mean "free"?',
    );
  });
});
