import { expect, test } from "bun:test";
import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { authorityName, FolderStore } from "../../../src/edge/acme/store.ts";
import { lockAlone } from "../../../src/storage/lock.ts";
import { folder } from "../../support/process.ts";

const LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory";

const open = (path: string, directory = LETS_ENCRYPT): FolderStore => new FolderStore(path, directory, (file) => lockAlone(file, 0));

test("everything is for its owner alone, and nothing is left half-written", () => {
  using place = folder();
  const store = open(join(place.path, "acme"));
  store.keepCertificate("api.example.com", "pem");
  store.keepCertificate("2001:db8::7", "another");
  store.keepAccount({ key: "key", url: null, email: null });
  store.keepTries("api.example.com", { failures: 1, since: 1, why: "so", failedAt: 1, nextAt: 2 });
  const own = join(place.path, "acme", "acme-v02.api.letsencrypt.org-directory");
  expect(readdirSync(own).sort()).toEqual(["2001_db8__7.pem", "account.json", "api.example.com.failed.json", "api.example.com.pem"]);
  for (const name of readdirSync(own)) expect(statSync(join(own, name)).mode & 0o777).toBe(0o600);
  for (const path of [own, join(place.path, "acme")]) expect(statSync(path).mode & 0o777).toBe(0o700);
  expect(store.certificate("api.example.com")).toBe("pem");
  expect(store.certificate("2001:db8::7")).toBe("another");
  expect(store.account()).toEqual({ key: "key", url: null, email: null });
  store.keepTries("api.example.com", null);
  expect(store.tries("api.example.com")).toBeNull();
});

test("what another authority gave is found beside, and its account is not ours", () => {
  using place = folder();
  const before = open(place.path, "https://ca.example/one");
  before.keepCertificate("api.example.com", "theirs");
  before.keepAccount({ key: "key", url: null, email: null });
  const store = open(place.path);
  expect(store.certificate("api.example.com")).toBeNull();
  expect(store.others("api.example.com")).toEqual(["theirs"]);
  expect(store.account()).toBeNull();
});

test("files that were damaged are not there", () => {
  using place = folder();
  const store = open(place.path);
  store.keepAccount({ key: "key", url: null, email: null });
  store.keepTries("h", { failures: 1, since: 1, why: "so", failedAt: 1, nextAt: 2 });
  const own = join(place.path, authorityName(LETS_ENCRYPT));
  for (const text of ["", "{", "null", "[]", '{"key":7}', '{"failures":"x"}']) {
    for (const name of ["account.json", "h.failed.json"]) writeFileSync(join(own, name), text);
    expect(store.account()).toBeNull();
    expect(store.tries("h")).toBeNull();
  }
});

test("one process has the turn at a time, and what a killed one showed is gone", () => {
  using place = folder();
  const one = open(place.path);
  const two = open(place.path);
  const turn = one.turn();
  expect(two.turn()).toBeNull();
  one.keepProof("token", "answer");
  expect(two.proof("token")).toBe("answer");
  // It is under way: another start takes nothing away.
  open(place.path);
  expect(two.proof("token")).toBe("answer");
  turn?.close();
  open(place.path);
  expect(two.proof("token")).toBeNull();
});

test("a name as long as names may be has a file as well", () => {
  using place = folder();
  const store = open(place.path);
  const [one, two] = ["a", "b"].map((end) => `${`${"x".repeat(60)}.`.repeat(4)}${end.repeat(9)}`);
  store.keepCertificate(one ?? "", "one");
  store.keepCertificate(two ?? "", "two");
  expect([store.certificate(one ?? ""), store.certificate(two ?? "")]).toEqual(["one", "two"]);
});

test("a folder that can't be written is no reason not to start", () => {
  using place = folder();
  writeFileSync(join(place.path, "acme"), "a file");
  const store = open(join(place.path, "acme"));
  expect(store.certificate("api.example.com")).toBeNull();
  expect(() => store.keepCertificate("api.example.com", "pem")).toThrow();
});

test("an authority's folder says which one it is, whatever its URL", () => {
  expect(authorityName(LETS_ENCRYPT)).toBe("acme-v02.api.letsencrypt.org-directory");
  expect(authorityName("https://[::1]:14000/dir")).toBe("1-14000-dir");
  expect(authorityName("https://ca.example/../../etc")).toBe("ca.example-..-..-etc");
});
