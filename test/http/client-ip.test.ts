import { expect, test } from "bun:test";
import { clientIp } from "../../src/http/client-ip.ts";
import { CidrSet } from "../../src/values/ip.ts";

test("the caller's address is the rightmost that is not trusted, and the peer's when the peer is not", () => {
  const trusted = new CidrSet(["10.0.0.0/8", "::1"]);
  const cases: [string, string | null, string][] = [
    ["203.0.113.1", "1.1.1.1", "203.0.113.1"],
    ["10.0.0.1", null, "10.0.0.1"],
    ["10.0.0.1", "1.1.1.1", "1.1.1.1"],
    ["10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.9", "1.1.1.1"],
    ["10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"],
    ["10.0.0.1", "6.6.6.6, unknown, 10.0.0.9", "10.0.0.9"],
    ["::1", "1.1.1.1:4711", "1.1.1.1"],
    ["::1", "[2001:DB8::1]:4711", "2001:db8::1"],
    ["10.0.0.1", "", "10.0.0.1"],
  ];
  for (const [peer, chain, expected] of cases) expect([chain, clientIp(peer, chain, trusted)]).toEqual([chain, expected]);
});
