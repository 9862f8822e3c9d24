import { expect } from "bun:test";
import { renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CertificateSource, ServedCertificate, TlsInForce } from "../../src/edge/certificates.ts";
import { TlsConfig } from "../../src/edge/settings.ts";
import { CertificateStore } from "../../src/edge/store.ts";
import { withDefaults } from "../../src/schema/defaults.ts";
import { type Certified, certified } from "../support/certificates.ts";
import { type Folder, folder } from "../support/process.ts";
import { having } from "../support/programs.ts";

const { test } = having("openssl");

/** A store over files in a folder, with all that it has told. */
function opened(home: Folder, tls: object, last: TlsInForce | null = null) {
  const told: string[] = [];
  const settings = withDefaults(TlsConfig, tls) as TlsConfig;
  const store = new CertificateStore(settings, last, {
    // Late enough for each state of a file to be a settled one.
    wall: () => Date.now() + 60_000,
    onChange: ({ certificates }) => told.push(`serves ${certificates.map(({ names }) => names[0]).join(" ")}`),
    onTrouble: (file, why) =>
      told.push(`${file.slice(home.path.length + 1)}: ${why === null ? "well" : why.replaceAll(`${home.path}/`, "")}`),
  });
  return { store, take: () => told.splice(0), prepare: (next: object) => store.prepare(withDefaults(TlsConfig, next) as TlsConfig) };
}

function put(home: Folder, name: string, { cert, key }: Certified): { cert: string; key: string } {
  const files = { cert: join(home.path, `${name}.pem`), key: join(home.path, `${name}.key`) };
  writeFileSync(files.cert, cert);
  writeFileSync(files.key, key);
  return files;
}

test("what is put into the place of a file is served at the next look", async () => {
  using home = folder();
  const files = put(home, "own", certified(["a.test"]));
  const { store, take } = opened(home, files);
  expect(store.inForce.certificates.map(({ names }) => names)).toEqual([["a.test"]]);
  await store.look();
  expect(take()).toEqual([]);
  put(home, "own", certified(["b.test"]));
  await store.look();
  expect(take()).toEqual(["serves b.test"]);
});

test("a link that leads elsewhere is followed", async () => {
  using home = folder();
  for (const [version, name] of [
    ["1", "a.test"],
    ["2", "b.test"],
  ] as const)
    put(home, version, certified([name]));
  const files = { cert: join(home.path, "live.pem"), key: join(home.path, "live.key") };
  const lead = (version: string): void => {
    for (const [link, ending] of [
      [files.cert, "pem"],
      [files.key, "key"],
    ] as const) {
      symlinkSync(join(home.path, `${version}.${ending}`), `${link}.new`);
      renameSync(`${link}.new`, link);
    }
  };
  lead("1");
  const { store, take } = opened(home, files);
  await store.look();
  lead("2");
  await store.look();
  expect(take()).toEqual(["serves b.test"]);
});

test("a broken file leaves the last good one serving, and is told of once it stays so", async () => {
  using home = folder();
  const files = put(home, "own", certified(["a.test"]));
  const { store, take } = opened(home, files);
  await store.look();
  writeFileSync(files.key, certified(["b.test"]).key);
  await store.look();
  // Whoever renews may be between the two files.
  expect(take()).toEqual([]);
  await store.look();
  expect(take()).toEqual(["own.pem: own.key is not the key of the certificate in own.pem", "serves a.test"]);
  await store.look();
  expect(take()).toEqual([]);
  expect(store.standings).toMatchObject([{ names: ["a.test"], trouble: expect.stringContaining("is not the key") }]);
  rmSync(files.cert);
  await store.look(true);
  expect(take()).toEqual(["own.pem: own.pem can't be read: there is no such file", "serves a.test"]);
  put(home, "own", certified(["c.test"]));
  await store.look();
  expect(take()).toEqual(["own.pem: well", "serves c.test"]);
  expect(store.standings).toMatchObject([{ names: ["c.test"], trouble: null, troubledSince: null }]);
});

test("a process that begins while a file is broken serves what was in force", async () => {
  using home = folder();
  const [own, other] = [put(home, "own", certified(["a.test"])), put(home, "other", certified(["b.test"]))];
  const ca = join(home.path, "ca.pem");
  const root = certified([], 90, "/CN=root");
  writeFileSync(ca, root.cert);
  const tls = { ...own, certificates: [other], clientCertificates: { ca, require: true } };
  const before = opened(home, tls).store.inForce;
  expect(before.clients).toEqual({ pem: root.cert, require: true, consumer: "subject.CN", tier: "free" });
  for (const file of [own.key, other.cert, ca]) writeFileSync(file, "broken");
  const { store, take } = opened(home, tls, JSON.parse(JSON.stringify(before)));
  expect(store.inForce).toEqual(before);
  expect(take().length).toBe(3);
  // One that has nothing to fall back on asks for certificates all the same: nobody comes in.
  expect(opened(home, tls).store.inForce).toEqual({
    certificates: [],
    clients: { pem: "", require: true, consumer: "subject.CN", tier: "free" },
  });
});

test("another configuration is refused for files that never were well, and not for one that has broken meanwhile", async () => {
  using home = folder();
  const [own, other] = [put(home, "own", certified(["a.test"])), put(home, "other", certified(["b.test"]))];
  const { store, take, prepare } = opened(home, own);
  const missing = { cert: join(home.path, "none.pem"), key: other.key };
  const bad = await prepare({
    ...own,
    certificates: [other, missing, { cert: other.cert, key: own.cert }],
    clientCertificates: { ca: own.key },
  });
  expect(bad.faults.map(({ path }) => path.join("."))).toEqual([
    "server.tls.certificates.1.cert",
    "server.tls.certificates.2.key",
    "server.tls.clientCertificates.ca",
  ]);
  expect(store.inForce.certificates.length).toBe(1);
  writeFileSync(own.key, "broken");
  const good = await prepare({ ...own, certificates: [other] });
  expect([good.faults, take()]).toEqual([[], []]);
  good.enter();
  expect(store.inForce.certificates.map(({ names }) => names[0])).toEqual(["a.test", "b.test"]);
  expect(take()).toEqual(["own.pem: own.key holds no private key without a password in PEM format", "serves a.test b.test"]);
  (await prepare(other)).enter();
  expect(take()).toEqual(["own.pem: well", "serves b.test"]);
});

test("of many certificates each has its turn", async () => {
  using home = folder();
  const [one, other] = [certified(["a.test"]), certified(["b.test"])];
  const all = Array.from({ length: 120 }, (_, i) => put(home, String(i), one));
  const { store, take } = opened(home, { certificates: all });
  for (let i = 0; i < 3; i++) await store.look();
  expect(take()).toEqual([]);
  put(home, "119", other);
  for (let i = 0; i < 3; i++) await store.look();
  expect(take().length).toBe(1);
  expect(store.inForce.certificates.map(({ names }) => names[0]).indexOf("b.test")).toBe(119);
});

test("what a refused configuration has found of files that are in force is told by the next look at all", async () => {
  using home = folder();
  const own = put(home, "own", certified(["a.test"]));
  const { store, take, prepare } = opened(home, own);
  put(home, "own", certified(["b.test"]));
  const { faults } = await prepare({ ...own, certificates: [{ cert: "none.pem", key: "none.key" }] });
  expect([faults.length, take()]).toEqual([1, []]);
  await store.look(true);
  expect(take()).toEqual(["serves b.test"]);
});

test("what another source has is served behind the files, from when it has it", async () => {
  using home = folder();
  const { store, take } = opened(home, put(home, "own", certified(["a.test"])));
  const source: CertificateSource & { certificates: readonly ServedCertificate[] } = { certificates: [], onChange: null };
  store.use(source);
  expect(take()).toEqual([]);
  const { cert, key } = certified(["b.test"]);
  source.certificates = [{ names: ["b.test"], cert, key, source: "acme", place: "b.test", endsAt: 1 }];
  source.onChange?.();
  expect(take()).toEqual(["serves a.test b.test"]);
  expect(store.standings).toMatchObject([{ source: "file" }, { source: "acme", place: "b.test", names: ["b.test"], trouble: null }]);
});
