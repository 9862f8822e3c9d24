import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { nearest } from "../../src/schema/faults.ts";
import { CidrSet, isCidr, normaliseIp } from "../../src/values/ip.ts";
import { parseDuration, parseSize } from "../../src/values/units.ts";

test("durations and sizes are numbers with a unit, and nothing else", () => {
  expect(["250ms", "30s", "5m", "1h", "30d"].map(parseDuration)).toEqual([250, 30_000, 300_000, 3_600_000, 2_592_000_000]);
  expect(["512b", "64kb", "10mb", "1gb"].map(parseSize)).toEqual([512, 65_536, 10_485_760, 1_073_741_824]);
  fc.assert(
    fc.property(fc.string(), (text) => {
      if (!/^\d{1,9}(ms|s|m|h|d)$/.test(text)) expect(() => parseDuration(text)).toThrow(/duration/);
      if (!/^\d{1,9}(b|kb|mb|gb)$/.test(text)) expect(() => parseSize(text)).toThrow(/size/);
    }),
  );
});

test("a misspelt name gets the nearest known one as a hint, an unlike one none", () => {
  const known = ["limits", "routes", "server", "stripPrefix"];
  expect(["limts", "route", "sever", "stripprefix", "limist", "zebra"].map((name) => nearest(name, known))).toEqual([
    "limits",
    "routes",
    "server",
    "stripPrefix",
    "limits",
    null,
  ]);
});

describe("addresses", () => {
  test("have one form", () => {
    const forms: [string, string | null][] = [
      ["192.0.2.1", "192.0.2.1"],
      ["::ffff:192.0.2.1", "192.0.2.1"],
      ["::FFFF:C000:0201", "192.0.2.1"],
      ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
      ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
      ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
      ["::", "::"],
      ["::1", "::1"],
      ["1::", "1::"],
      ["fe80::1%eth0", "fe80::1"],
      ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
      ["192.0.2.01", null],
      ["192.0.2", null],
      ["192.0.2.256", null],
      ["1:2:3:4:5:6:7", null],
      ["1::2::3", null],
      ["12345::", null],
      [":::", null],
      ["", null],
      ["localhost", null],
    ];
    for (const [text, expected] of forms) expect([text, normaliseIp(text)]).toEqual([text, expected]);
    fc.assert(fc.property(fc.ipV6(), (ip) => expect(normaliseIp(normaliseIp(ip) ?? "")).toBe(normaliseIp(ip))));
    fc.assert(fc.property(fc.ipV4(), (ip) => expect(normaliseIp(ip)).toBe(ip)));
    fc.assert(fc.property(fc.string(), (text) => void normaliseIp(text)));
  });

  test("are within a block exactly when their first bits are the block's", () => {
    const number = (ip: string) => ip.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n);
    fc.assert(
      fc.property(fc.ipV4(), fc.ipV4(), fc.integer({ min: 0, max: 32 }), (block, ip, bits) => {
        const shift = BigInt(32 - bits);
        expect(new CidrSet([`${block}/${bits}`]).has(ip)).toBe(number(block) >> shift === number(ip) >> shift);
        expect(new CidrSet([`${block}/${bits}`]).has(`::ffff:${block}`)).toBe(true);
        expect(new CidrSet([`${block}/${bits}`]).has("::1")).toBe(false);
      }),
    );
    const set = new CidrSet(["2001:db8::/33", "::1", "10.0.0.7"]);
    expect(["2001:db8:7fff::1", "2001:db8:8000::1", "::1", "::2", "10.0.0.7", "10.0.0.8", "nonsense"].map((ip) => set.has(ip))).toEqual([
      true,
      false,
      true,
      false,
      true,
      false,
      false,
    ]);
  });

  test("and blocks are told from other text", () => {
    expect(["10.0.0.0/8", "::/0", "1.2.3.4", "::ffff:10.0.0.0/104"].map(isCidr)).toEqual([true, true, true, true]);
    expect(["10.0.0.0/33", "::/129", "1.2.3.4/", "1.2.3.4/-1", "x/8", ""].map(isCidr)).toEqual([false, false, false, false, false, false]);
  });
});
