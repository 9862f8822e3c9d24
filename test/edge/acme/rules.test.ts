import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadConfig } from "../../../src/config/load.ts";
import { configWarnings } from "../../../src/config/warnings.ts";
import { folder, run } from "../../support/process.ts";
import { CERTIFICATE } from "../../support/tls.ts";

const load = (acme: object, server: object = {}) => loadConfig(JSON.stringify({ server: { ...server, tls: { acme } } }), {});

/** The faults of a configuration, by their places within `acme`. */
function faultsOf(acme: object): Record<string, string> {
  const loaded = load(acme);
  return "faults" in loaded ? Object.fromEntries(loaded.faults.map(({ path, message }) => [path.slice(3).join("."), message])) : {};
}

test("names and addresses may be ordered for", () => {
  for (const host of ["api.example.com", "API.example.com", "localhost", "xn--bcher-kva.example", "192.0.2.7", "2001:db8::7", "a-1.b"])
    expect(faultsOf({ hosts: [host] })).toEqual({});
});

test("a wildcard is a fault that says what to do", () => {
  expect(faultsOf({ hosts: ["*.example.com"] })).toEqual({
    "hosts.0":
      '"*.example.com" can\'t be ordered: an authority proves no wildcard by http-01. Name each host, or get the certificate elsewhere and name its files in server.tls.certificates',
  });
});

test("what is no name is a fault with its place and, where it can be guessed, what was meant", () => {
  const cases: [string, string][] = [
    ["https://api.example.com/", 'must be a name alone, as in "api.example.com"'],
    ["api.example.com:443", "must be a name without a port: certificates are for all ports"],
    ["bücher.example", 'must be written as "xn--bcher-kva.example": certificates hold ASCII'],
    ["1.2.3", '"1.2.3" is no address'],
    ["-a.example.com", '"-a.example.com" is no name of a host, such as "api.example.com"'],
    ["a..example.com", '"a..example.com" is no name of a host, such as "api.example.com"'],
    ["api.example.com.", '"api.example.com." is no name of a host, such as "api.example.com"'],
    [`${"a".repeat(64)}.example.com`, `"${"a".repeat(64)}.example.com" is no name of a host, such as "api.example.com"`],
    ["a b.example.com", '"a b.example.com" is no name of a host, such as "api.example.com"'],
    ["../../etc/passwd", '"../../etc/passwd" is no name of a host, such as "api.example.com"'],
  ];
  for (const [host, message] of cases) expect(faultsOf({ hosts: [host] })).toEqual({ "hosts.0": message });
});

test("a host that stands there twice is a fault, in whatever spelling", () => {
  expect(faultsOf({ hosts: ["a.example.com", "A.example.com", "2001:db8::7", "2001:DB8:0::7"] })).toEqual({
    "hosts.1": '"A.example.com" stands here twice',
    "hosts.3": '"2001:DB8:0::7" stands here twice',
  });
});

test("directory, address and bound key are looked at", () => {
  const hosts = ["api.example.com"];
  expect(Object.keys(faultsOf({ hosts, directory: "http://ca.example/directory" }))).toEqual(["directory"]);
  expect(Object.keys(faultsOf({ hosts, directory: "https://me:secret@ca.example/" }))).toEqual(["directory"]);
  expect(Object.keys(faultsOf({ hosts, email: "ops" }))).toEqual(["email"]);
  expect(Object.keys(faultsOf({ hosts, eab: { kid: "k", hmacKey: "not+base64url/" } }))).toEqual(["eab.hmacKey"]);
  expect(faultsOf({ hosts, eab: { kid: "k", hmacKey: "c2VjcmV0" } })).toEqual({});
});

test("https needs no certificate files where they are ordered", () => {
  expect(faultsOf({ hosts: ["api.example.com"] })).toEqual({});
  const loaded = loadConfig(JSON.stringify({ server: { tls: {} } }), {});
  expect("faults" in loaded).toBe(true);
});

/** What `sluice check` warns of, by its place. */
function warningsOf(acme: object, server: object): Record<string, string> {
  const loaded = load(acme, server);
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  const warnings = configWarnings(loaded.config, loaded.given, loaded.config.server.host, Date.now());
  return Object.fromEntries(warnings.flatMap(({ path, message }) => (path[2] === "acme" ? [[path.slice(3).join("."), message]] : [])));
}

test("an authority that finds nobody at port 80 is warned of", () => {
  const acme = { hosts: ["api.example.com"], email: "ops@example.com" };
  expect(warningsOf(acme, { port: 80 })).toEqual({});
  expect(warningsOf(acme, { port: 8080 })).toEqual({
    "": "the authority asks http://api.example.com/ at port 80, and Sluice listens on 8080: set server.port to 80, or have port 80 lead to 8080 (a port mapping, a load balancer)",
  });
  expect(warningsOf(acme, { port: 80, host: "127.0.0.1" })[""]).toContain("can't reach this machine's own address");
});

test("check opens the file by which the authority is known", async () => {
  using place = folder();
  const check = (ca: string) => {
    const acme = { hosts: ["api.example.com"], email: "ops@example.com", ca };
    writeFileSync(join(place.path, "config.json"), JSON.stringify({ server: { port: 80, tls: { acme } }, routes: [] }, null, 2));
    return run(["check"], { cwd: place.path });
  };
  const missing = await check("none.pem");
  expect(missing.status).toBe(1);
  expect(missing.stdout).toMatch(/^config\.json:\d+:\d+ server\.tls\.acme\.ca: none\.pem can't be read: /);
  writeFileSync(join(place.path, "ca.pem"), "nothing");
  expect((await check("ca.pem")).stdout).toContain("server.tls.acme.ca: ca.pem holds no certificate in PEM format");
  writeFileSync(join(place.path, "ca.pem"), CERTIFICATE);
  expect((await check("ca.pem")).status).toBe(0);
});

test("the key of an account elsewhere is not shown", async () => {
  using place = folder();
  const hmacKey = "${EAB_KEY}";
  const acme = { hosts: ["api.example.com"], eab: { kid: "k", hmacKey } };
  writeFileSync(join(place.path, "config.json"), JSON.stringify({ server: { tls: { acme } }, routes: [] }));
  const { stdout } = await run(["check"], { cwd: place.path, env: { EAB_KEY: "!a-secret-that-is-none!" } });
  expect(stdout).toContain("server.tls.acme.eab.hmacKey");
  expect(stdout).not.toContain("a-secret-that-is-none");
});
