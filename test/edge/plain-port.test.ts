import { describe, expect, test } from "bun:test";
import { HostSet } from "../../src/edge/host-set.ts";
import { isChallenge, PlainPort } from "../../src/edge/plain-port.ts";

describe("a set of certificates' names", () => {
  const hosts = new HostSet(["api.example.com", "*.Example.org", "192.0.2.1", "2001:DB8::1"]);

  test.each([
    "api.example.com",
    "API.example.COM:8080",
    "api.example.com.",
    "a.example.org",
    "192.0.2.1",
    "192.0.2.1:80",
    "[2001:db8::1]",
    "[2001:db8:0::1]:8080",
  ])("holds %s", (host) => expect(hosts.has(host)).toBe(true));

  test.each([
    "",
    "example.com",
    "b.api.example.com",
    "example.org",
    ".example.org",
    "a.b.example.org",
    "192.0.2.2",
    "[2001:db8::2]",
    "2.0.2.1",
  ])("does not hold %j", (host) => expect(hosts.has(host)).toBe(false));

  test("takes a star for no part of an address", () => expect(new HostSet(["*.0.2.1"]).has("192.0.2.1")).toBe(false));
});

describe("the plain port sends to https", () => {
  const locationOf = (plain: number, tls: number, host: string, target = "/a?b=1") => {
    const port = new PlainPort();
    port.serve(["a.test", "::1"]);
    port.listensOn(plain, tls);
    return port.locationOf(host, target);
  };

  test.each([
    // At its own ports.
    [80, 443, "a.test", "https://a.test/a?b=1"],
    [80, 8443, "a.test", "https://a.test:8443/a?b=1"],
    [8080, 8443, "A.test:8080", "https://A.test:8443/a?b=1"],
    [8080, 443, "a.test:8080", "https://a.test/a?b=1"],
    [8080, 8443, "[::1]:8080", "https://[::1]:8443/a?b=1"],
    // Behind others, which lead 80 and 443 here.
    [8080, 8443, "a.test", "https://a.test/a?b=1"],
  ])("from %d, where it is at %d, what was asked of %s", (plain, tls, host, location) =>
    expect(locationOf(plain, tls, host)).toBe(location),
  );

  test("whatever form the target has, and as it was written", () => {
    const of = (target: string) => locationOf(80, 443, "a.test", target);
    expect(of("http://a.test/x%2Fy/../z?q#")).toBe("https://a.test/x%2Fy/../z?q#");
    expect(of("http://a.test")).toBe("https://a.test/");
    expect(of("http://a.test?q")).toBe("https://a.test/?q");
    expect(of("*")).toBe("https://a.test/*");
    // The host is ours, whatever the path looks like.
    expect(of("//evil.test/x")).toBe("https://a.test//evil.test/x");
  });

  test("no host that nobody could call by https", () => {
    expect(locationOf(80, 443, "b.test")).toBeNull();
    expect(locationOf(80, 443, "")).toBeNull();
    expect(new PlainPort().locationOf("a.test", "/")).toBeNull();
  });
});

test("an authority's question is known by its whole path", () => {
  expect(isChallenge("/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0")).toBe(true);
  for (const other of [
    "/",
    "/.well-known/acme-challenge/",
    "/.well-known/acme-challenge/a/b",
    "/.well-known/acme-challenge/../a",
    "/.well-known/acme-challenge/a?b",
  ])
    expect(isChallenge(other)).toBe(false);
});
