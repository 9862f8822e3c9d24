import { expect } from "bun:test";
import fc from "fast-check";
import { judgeAuthorities, judgePair } from "../../src/edge/judge.ts";
import { certified, certifiedBy, keyAs } from "../support/certificates.ts";
import { having } from "../support/programs.ts";

const { test } = having("openssl");

const FILES = { cert: "cert.pem", key: "key.pem" };
const faultsOf = (cert: string | Error, key: string | Error) =>
  judgePair(FILES, { cert, key }).faults.map(({ field, message }) => `${field}: ${message}`);

test("a certificate and its key are served, with all names and without whatever else stands in the files", () => {
  const { cert, key } = certified(["API.test", "*.api.test"]);
  const { served, notes } = judgePair(FILES, { cert: `Bag Attributes\n${cert}\n${key}`, key: `# mine\n${cert}${key}` });
  expect(served).toMatchObject({ names: ["api.test", "*.api.test"], source: "file", place: "cert.pem" });
  expect([served?.cert.includes("PRIVATE"), served?.key.includes("CERTIFICATE"), notes]).toEqual([false, false, []]);
  expect(served?.endsAt).toBeGreaterThan(Date.now());
  expect(faultsOf(cert, keyAs("old", key))).toEqual([]);
});

test("what can't be served is said, with the file that is to blame", () => {
  const [a, b] = [certified(["a.test"]), certified(["b.test"])];
  const missing = Object.assign(new Error("ENOENT: no such file"), { code: "ENOENT" });
  expect(faultsOf(a.cert, b.key)).toEqual(["key: key.pem is not the key of the certificate in cert.pem"]);
  expect(faultsOf(missing, missing)).toEqual([
    "cert: cert.pem can't be read: there is no such file",
    "key: key.pem can't be read: there is no such file",
  ]);
  expect(faultsOf(a.key, a.cert)).toEqual([
    "cert: cert.pem holds no certificate in PEM format",
    "key: key.pem holds no private key without a password in PEM format",
  ]);
  expect(faultsOf(a.cert, keyAs("encrypted", a.key))).toEqual([expect.stringContaining("holds a private key with a password")]);
  expect(faultsOf(a.cert.replace(/\n.{40}/, "\n"), a.key)).toEqual(["cert: cert.pem can't be read at its certificate 1"]);
  // Served without what is behind it, many clients would refuse it.
  expect(faultsOf(a.cert + b.cert.replace(/\n.{40}/, "\n"), a.key)).toEqual(["cert: cert.pem can't be read at its certificate 2"]);
  expect(faultsOf(a.cert + b.cert.slice(0, 200), a.key)).toEqual(["cert: cert.pem is cut off, or not whole: a block in it has no end"]);
});

test("a chain begins with the certificate of the key, and its order is looked at", () => {
  const root = certified([], 90, "/CN=root");
  const [leaf, other] = [certifiedBy(root, ["a.test"]), certified(["b.test"])];
  const notesOf = (cert: string) => judgePair(FILES, { cert, key: leaf.key }).notes.map(({ message }) => message);
  expect(notesOf(leaf.cert + root.cert)).toEqual([]);
  expect(notesOf(leaf.cert + other.cert)).toEqual([expect.stringContaining("certificate 1 in cert.pem is not signed by number 2")]);
  expect(faultsOf(root.cert + leaf.cert, leaf.key)).toEqual([
    "cert: cert.pem begins with another certificate: the one of the key is number 2 in it, and belongs first",
  ]);
  expect(faultsOf(root.cert, leaf.key)).toEqual([
    "cert: cert.pem holds certificates of authorities alone: the one of the key in key.pem is missing",
  ]);
});

test("no text makes the judge throw", () => {
  const { cert, key } = certified(["a.test"]);
  const piece = fc.constantFrom(
    cert,
    key,
    cert.slice(0, 200),
    key.slice(30),
    "-----BEGIN CERTIFICATE-----",
    "-----END PRIVATE KEY-----\n",
    "\0",
    "AAAA\n",
  );
  const text = fc.array(fc.oneof(piece, fc.string()), { maxLength: 5 }).map((pieces) => pieces.join(""));
  fc.assert(
    fc.property(text, text, (one, two) => {
      const { served, faults } = judgePair(FILES, { cert: one, key: two });
      expect(served === null).toBe(faults.length > 0);
    }),
  );
});

test("authorities are certificates and revocation lists, and no key", () => {
  const { cert, key } = certified([], 90, "/CN=root");
  const list = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
  expect(judgeAuthorities("ca.pem", `text\n${cert}`)).toMatchObject({ pem: cert });
  for (const [text, message] of [
    [cert + key, "ca.pem holds PRIVATE KEY as its block 2: only certificates and revocation lists (X509 CRL) belong there"],
    ["", "ca.pem holds no certificate in PEM format"],
    [cert + list, "ca.pem can't be read at its block 2: it holds tag 0 in place of 48"],
    [
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
      "ca.pem can't be read at its block 1: it holds tag 0 in place of 48",
    ],
  ] as const)
    expect(judgeAuthorities("ca.pem", text)).toEqual({ message });
});
