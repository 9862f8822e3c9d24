import { describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { certificateRequest } from "../../../src/edge/acme/csr.ts";
import { certificateId } from "../../../src/edge/acme/held.ts";
import { newKey } from "../../../src/edge/acme/jws.ts";
import { OCTET_STRING, objectIdentifier, read, write } from "../../../src/edge/der.ts";
import { folder } from "../../support/process.ts";
import { having } from "../../support/programs.ts";
import { CERTIFICATE } from "../../support/tls.ts";

describe("DER", () => {
  test("what is written is read again, however long it is", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 70_000, size: "max" }), { maxLength: 4 }), (contents) => {
        const bytes = Buffer.concat(contents.map((content) => write(OCTET_STRING, content)));
        expect(read(bytes).map(({ tag, content }) => [tag, Buffer.from(content)])).toEqual(
          contents.map((content) => [OCTET_STRING, Buffer.from(content)]),
        );
      }),
      { numRuns: 50 },
    );
  });

  test("whatever else is read gives elements or a RangeError, never more than there is", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          for (const { content } of read(bytes)) expect(content.length).toBeLessThanOrEqual(bytes.length);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("object identifiers are written as X.690 says", () => {
    expect(objectIdentifier("1.2.840.113549.1.9.14").toString("hex")).toBe("06092a864886f70d01090e");
    expect(objectIdentifier("2.5.29.17").toString("hex")).toBe("0603551d11");
  });
});

const { test: withOpenssl } = having("openssl");

withOpenssl("a request is one for OpenSSL, with its name and signature", () => {
  using place = folder();
  for (const [host, name] of [
    ["api.example.com", "DNS:api.example.com"],
    ["192.0.2.7", "IP Address:192.0.2.7"],
    ["2001:db8::7", "IP Address:2001:DB8:0:0:0:0:0:7"],
  ] as const) {
    const file = join(place.path, "request.der");
    writeFileSync(file, certificateRequest(host, newKey()));
    const { stdout, stderr } = Bun.spawnSync(["openssl", "req", "-in", file, "-inform", "DER", "-verify", "-noout", "-text"]);
    expect(stderr.toString()).toContain("verify OK");
    expect(stdout.toString()).toContain(name);
    expect(stdout.toString()).toContain("X509v3 Subject Alternative Name: critical");
  }
});

test("a certificate is named to its authority by the key that signed it and its number, as RFC 9773 §4.1 says", () => {
  const { raw, serialNumber } = new X509Certificate(CERTIFICATE);
  // The same certificate signed itself: its key's identifier stands in the text of tls.ts.
  const keyId = Buffer.from("bb66f052f4f7f90a9d6f2f9fe2ed2a567997da55", "hex");
  expect(certificateId(raw)).toBe(`${keyId.toString("base64url")}.${Buffer.from(serialNumber, "hex").toString("base64url")}`);
  expect(certificateId(Buffer.from("3003020101", "hex"))).toBeNull();
});
