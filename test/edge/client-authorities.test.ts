import { afterAll, beforeAll, expect } from "bun:test";
import { X509Certificate } from "node:crypto";
import fc from "fast-check";
import { Authorities } from "../../src/edge/clients/authorities.ts";
import { callerName } from "../../src/edge/clients/caller-name.ts";
import { readCertificate } from "../../src/edge/clients/certificate.ts";
import { nameOf } from "../../src/edge/clients/names.ts";
import { readRevocationList } from "../../src/edge/clients/revocations.ts";
import { DerFault } from "../../src/edge/der.ts";
import { authorities, type Authorities as Made, type Pair } from "../support/authority.ts";
import { having } from "../support/programs.ts";

const { describe, test } = having("openssl");

let made: Made;
beforeAll(() => {
  made = authorities();
});
afterAll(() => made[Symbol.dispose]());

const derOf = (pem: string): Buffer => Buffer.from(pem.replace(/-----[^-]+-----/g, ""), "base64");
const NOW = Date.UTC(2026, 10, 21);
const judgedBy = (pem: string, chain: readonly string[], fault: string | null = null) =>
  Authorities.read(pem).judge({ chain: chain.map(derOf), fault }, NOW);

/** Writes one element of DER. */
const element = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const size = content.length < 128 ? [content.length] : [0x82, content.length >> 8, content.length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
};
const CN = Buffer.from([0x06, 3, 0x55, 0x04, 0x03]);
const nameWith = (...values: readonly Buffer[]): Buffer => element(0x30, ...values.map((value) => element(0x31, element(0x30, CN, value))));

describe("authorities", () => {
  test.each(["", "rsa:2048", "rsa-pss", "ed25519"])("take lists that they have signed, with keys of every kind (%p)", (kind) => {
    const root = made.authority("/CN=Root", kind);
    const [alice, bob] = [root.sign(), root.sign({ subject: "/CN=bob" })] as [Pair, Pair];
    root.revoke(bob);
    const pem = root.cert + root.list();
    expect(judgedBy(pem, [alice.cert, root.cert])).toMatchObject({
      fault: null,
      endsAt: Date.parse(new X509Certificate(root.cert).validTo),
    });
    expect(judgedBy(pem, [bob.cert, root.cert])).toMatchObject({ fault: "revoked" });
    expect(judgedBy(root.cert, [bob.cert, root.cert])).toMatchObject({ fault: null });
  });

  test("take no list that was changed on its way", () => {
    const root = made.authority("/CN=Root");
    const alice = root.sign();
    root.revoke(alice);
    const der = derOf(root.list());
    const at = der.indexOf(Buffer.from(readCertificate(derOf(alice.cert)).serial, "hex"));
    der[at + 5] = (der[at + 5] as number) ^ 1;
    const pem = `-----BEGIN X509 CRL-----\n${der.toString("base64")}\n-----END X509 CRL-----\n`;
    expect(() => Authorities.read(root.cert + pem)).toThrow("not signed by the certificate of CN=Root beside it");
  });

  test("take a certificate of the same name for no other's, nor one that only claims to be signed by them", () => {
    const [root, other] = [made.authority("/CN=Root"), made.authority("/CN=Root")];
    const forged = other.sign();
    expect(judgedBy(root.cert, [forged.cert])).toMatchObject({ fault: "untrusted" });
    expect(judgedBy(root.cert, [forged.cert, other.cert])).toMatchObject({ fault: "untrusted" });
    // What comes behind one that is not signed by it means nothing.
    expect(judgedBy(root.cert, [forged.cert, root.cert])).toMatchObject({ fault: "untrusted" });
    expect(judgedBy(root.cert + other.cert, [forged.cert])).toMatchObject({ fault: null });
  });

  test("believe what TLS has found", () => {
    const root = made.authority("/CN=Root");
    const alice = root.sign();
    for (const [said, fault] of [
      ["CERT_HAS_EXPIRED", "expired"],
      ["CERT_NOT_YET_VALID", "early"],
      ["INVALID_PURPOSE", "unsuitable"],
      ["SOMETHING_NEW", "untrusted"],
    ] as const)
      expect(judgedBy(root.cert, [alice.cert], said)).toMatchObject({ fault });
  });
});

describe("what is read of a certificate", () => {
  test("is what OpenSSL reads of it", () => {
    const root = made.authority("/O=Acme & Söhne/CN=Root");
    for (const wanted of [
      { subject: "/C=DE/O=Acme/OU=A/OU=B/CN=alice", extensions: ["subjectAltName=DNS:a.test,URI:urn:a,email:a@a.test,IP:127.0.0.1"] },
      { subject: "/CN=Zoë 中文", until: "20490101000000Z" },
      { subject: "/CN=later", from: "20510101000000Z", until: "22000101000000Z" },
    ]) {
      const { cert } = root.sign(wanted);
      const read = readCertificate(derOf(cert));
      const x509 = new X509Certificate(cert);
      expect([read.startsAt, read.endsAt]).toEqual([Date.parse(x509.validFrom), Date.parse(x509.validTo)]);
      expect(read.serial).toBe(BigInt(`0x${x509.serialNumber}`).toString(16).padStart(read.serial.length, "0"));
      expect(read.fingerprint).toBe(x509.fingerprint256.replaceAll(":", "").toLowerCase());
      expect(read.issuer.text).toBe("CN=Root, O=Acme & Söhne");
      expect(read.subject.commonName).toBe(/CN=(.+)/.exec(x509.subject)?.[1] ?? "");
    }
  });

  test("is a fault where it is no certificate or no list, whatever it is", () => {
    const root = made.authority("/CN=Root");
    const [certificate, list] = [derOf(root.cert), derOf(root.list())];
    const readable = (read: (der: Uint8Array) => unknown, der: Uint8Array): boolean => {
      try {
        read(der);
        return true;
      } catch (error) {
        expect(error).toBeInstanceOf(DerFault);
        return false;
      }
    };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => !readable(readCertificate, bytes) && !readable(readRevocationList, bytes)),
    );
    for (const [read, der] of [
      [readCertificate, certificate],
      [readRevocationList, list],
    ] as const) {
      // One byte that is another, or less of it.
      fc.assert(
        fc.property(fc.nat({ max: der.length - 1 }), fc.nat({ max: 255 }), (at, byte) => {
          const other = Uint8Array.from(der);
          other[at] = byte;
          readable(read, other);
          expect(readable(read, der.subarray(0, at))).toBe(false);
        }),
        { numRuns: 2000 },
      );
    }
  });

  test("are names that are the same however they are written", () => {
    const utf8 = nameOf(nameWith(element(0x0c, Buffer.from("Root  CA "))));
    for (const other of [
      element(0x13, Buffer.from("root ca")),
      element(0x14, Buffer.from("ROOT CA")),
      element(0x1e, Buffer.from("Root CA", "utf16le").swap16()),
    ])
      expect(nameOf(nameWith(other)).id).toBe(utf8.id);
    expect(nameOf(nameWith(element(0x0c, Buffer.from("Root")), element(0x0c, Buffer.from("CA")))).id).not.toBe(utf8.id);
  });
});

describe("the name of a caller", () => {
  const by = (value: Buffer) => callerName({ ...BLANK, subject: nameOf(nameWith(value)) }, "subject.CN");
  const BLANK = {
    ...{ fingerprint: "", serial: "", startsAt: 0, endsAt: 0, others: { uri: [], dns: [], email: [] } },
    issuer: nameOf(nameWith()),
  };

  test("can stand in a header, and no two common names are one", () => {
    const seen = new Map<string, string>();
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: "binary", maxLength: 20 }), fc.string({ maxLength: 20 }), fc.stringMatching(/^[a% 0-9"]{1,4}$/)),
        (text) => {
          const name = by(element(0x0c, Buffer.from(text)));
          if (name === null) return;
          expect(name).toMatch(/^[!#-[\]-~]{1,128}$/);
          expect(decodeURIComponent(name)).toBe(text);
          expect(seen.get(name) ?? text).toBe(text);
          seen.set(name, text);
        },
      ),
      { numRuns: 5000 },
    );
  });

  test("is none where control characters, or bytes that are no text, stand in it", () => {
    for (const bytes of ["alice\0.evil", "a\r\nX-Consumer-ID: root", "a\u2028b", ""])
      expect(by(element(0x0c, Buffer.from(bytes)))).toBeNull();
    expect(by(element(0x0c, Buffer.from([0xff, 0xfe])))).toBeNull();
    expect(by(element(0x13, Buffer.from([0x61, 0xe4])))).toBeNull();
    expect(by(element(0x02, Buffer.from([1])))).toBeNull();
  });
});
