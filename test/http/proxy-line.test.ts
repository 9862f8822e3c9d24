import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type ProxyLine, proxyLineIn } from "../../src/http/proxy-line.ts";
import { formatIp } from "../../src/values/ip.ts";
import { proxyV2 } from "../support/proxy-line.ts";

const v1 = (text: string) => Buffer.from(`${text}\r\n`, "latin1");
const found = (bytes: Buffer): ProxyLine => {
  const line = proxyLineIn(bytes);
  if (typeof line === "string") throw new Error(line);
  return line;
};

describe("a PROXY line of version 1", () => {
  test.each([
    ["PROXY TCP4 192.0.2.1 198.51.100.1 56324 443", "192.0.2.1"],
    ["PROXY TCP6 2001:DB8::0:1 2001:db8::2 56324 443", "2001:db8::1"],
    ["PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 56324 443", "192.0.2.1"],
    ["PROXY TCP4 0.0.0.0 255.255.255.255 0 65535", "0.0.0.0"],
    ["PROXY UNKNOWN", null],
    ["PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535", null],
  ])("names the client: %s", (text, source) => {
    expect(proxyLineIn(v1(text))).toEqual({ length: text.length + 2, source });
  });

  test.each([
    "PROXY",
    "PROXY ",
    "PROXY TCP5 192.0.2.1 198.51.100.1 1 2",
    "PROXY TCP4 2001:db8::1 2001:db8::2 1 2",
    "PROXY TCP6 192.0.2.1 198.51.100.1 1 2",
    "PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2",
    "PROXY TCP4 192.0.2.01 198.51.100.1 1 2",
    "PROXY TCP4 192.0.2.1  198.51.100.1 1 2",
    "PROXY TCP4 192.0.2.1 198.51.100.1 1",
    "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3",
    "PROXY TCP4 192.0.2.1 198.51.100.1 01 2",
    "PROXY TCP4 192.0.2.1 198.51.100.1 1 65536",
    "PROXY TCP4 192.0.2.1 198.51.100.1 -1 2",
    "PROXY TCP4 192.0.2.1 nobody 1 2",
    "PROXY tcp4 192.0.2.1 198.51.100.1 1 2",
    `PROXY UNKNOWN ${"x".repeat(107)}`,
  ])("is none where it has a fault: %s", (text) => {
    expect(["malformed", "absent"]).toContain(proxyLineIn(v1(text)) as string);
  });

  test("has at most 107 bytes", () => {
    const longest = v1(`PROXY UNKNOWN ${"x".repeat(107 - 16)}`);
    expect(found(longest).length).toBe(107);
    expect(proxyLineIn(Buffer.from(`PROXY UNKNOWN ${"x".repeat(92)}`))).toBe("incomplete");
    expect(proxyLineIn(Buffer.from(`PROXY UNKNOWN ${"x".repeat(93)}`))).toBe("malformed");
  });
});

describe("a PROXY line of version 2", () => {
  test("names any client, wherever it is cut, and whatever follows", () => {
    const address = fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }));
    fc.assert(
      fc.property(address, fc.uint8Array({ maxLength: 100 }), fc.uint8Array({ maxLength: 30 }), fc.nat(), (source, more, rest, at) => {
        const line = proxyV2({ source, more });
        const whole = Buffer.concat([line, rest]);
        // An IPv4-mapped one is written as the IPv4 address that it is.
        const isMapped = source.length === 16 && source.subarray(0, 12).toHex() === "00000000000000000000ffff";
        expect(proxyLineIn(whole)).toEqual({ length: line.length, source: formatIp(isMapped ? source.subarray(12) : source) });
        const cut = line.subarray(0, at % line.length);
        expect(proxyLineIn(cut)).toBe("incomplete");
      }),
    );
  });

  test("of the balancer itself, or of a client without an address, names nobody", () => {
    expect(found(proxyV2({ command: 0 })).source).toBeNull();
    expect(found(proxyV2({ command: 0, source: new Uint8Array([192, 0, 2, 1]) })).source).toBeNull();
    expect(found(proxyV2({ family: 0 })).source).toBeNull();
    expect(found(proxyV2({ family: 3, more: new Uint8Array(216) })).source).toBeNull();
  });

  test("is none where it has a fault", () => {
    expect(proxyLineIn(proxyV2({ version: 1 }))).toBe("malformed");
    expect(proxyLineIn(proxyV2({ command: 2 }))).toBe("malformed");
    expect(proxyLineIn(proxyV2({ family: 4 }))).toBe("malformed");
    // Too short for its addresses, and longer than any balancer's.
    expect(proxyLineIn(proxyV2({ family: 1, more: new Uint8Array(11) }))).toBe("malformed");
    expect(proxyLineIn(proxyV2({ family: 2, more: new Uint8Array(35) }))).toBe("malformed");
    expect(proxyLineIn(proxyV2({ source: new Uint8Array(4), more: new Uint8Array(5000) }))).toBe("malformed");
  });
});

test("what is no PROXY line is known by its first bytes that differ", () => {
  expect(proxyLineIn(Buffer.from("GET / HTTP/1.1\r\n"))).toBe("absent");
  expect(proxyLineIn(Buffer.from("PUT / HTTP/1.1\r\n"))).toBe("absent");
  expect(proxyLineIn(Buffer.from([22, 3, 1]))).toBe("absent");
  expect(proxyLineIn(Buffer.from("\r\nGET"))).toBe("absent");
  expect(proxyLineIn(Buffer.from(""))).toBe("incomplete");
  expect(proxyLineIn(Buffer.from("PRO"))).toBe("incomplete");
  expect(proxyLineIn(Buffer.from("\r\n\r\n"))).toBe("incomplete");
});

test("no bytes make the reader throw, or read beyond them", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.uint8Array({ maxLength: 40 }).map((tail) => Buffer.concat([proxyV2({}).subarray(0, 12), tail])),
    fc.string({ maxLength: 120 }).map((tail) => Buffer.from(`PROXY TCP4 ${tail}`)),
  );
  fc.assert(
    fc.property(bytes, (given) => {
      const line = proxyLineIn(Buffer.from(given));
      if (typeof line !== "string") expect(line.length).toBeLessThanOrEqual(given.length);
    }),
  );
});
