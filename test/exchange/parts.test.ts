import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isMiss, type Routable, Router } from "../../src/exchange/router.ts";
import { clientIp } from "../../src/http/client-ip.ts";
import { parameter, parseTarget, withoutParameter } from "../../src/http/path.ts";
import { CidrSet } from "../../src/values/ip.ts";

const path = (target: string) => {
  const parsed = parseTarget(target);
  return typeof parsed === "string" ? null : parsed.path;
};

describe("a request target", () => {
  test("has its dot segments resolved and its unreserved characters decoded", () => {
    const pairs: [string, string | null][] = [
      ["/a/./b/../c", "/a/c"],
      ["/../../a", "/a"],
      ["/a/..", "/"],
      ["/a/.", "/a/"],
      ["/a/%2e%2E/b", "/b"],
      ["/a/.hidden/..b", "/a/.hidden/..b"],
      ["/%7euser/%41", "/~user/A"],
      ["/a%20b%C3%A9", "/a%20b%C3%A9"],
      ["//a//b", "/a/b"],
      ["//", "/"],
      ["/a//", "/a/"],
      ["/a//../b", "/b"],
      ["/a/b;x=1/;", null],
      ["/a;v=1/b;w", "/a;v=1/b;w"],
      ["/a/..;/b", null],
      ["/a/.;x/b", null],
      ["/a/%2e%2e;/b", null],
      ["/a/..%3b/b", null],
      ["/;x/a", null],
      ["/a%2f..%2fb", null],
      ["/a%252fb", "/a%252fb"],
      ["http://host:80/a/../b", "/b"],
      ["https://host", "/"],
      ["/a%2fb", "/a%2fb"],
      ["/a%5Cb", null],
      ["/a\\b", null],
      ["/a%00", null],
      ["/a%", null],
      ["/a%zz", null],
      ["*", null],
      ["host:443", null],
      ["ftp://host/a", null],
      ["/a#b", null],
    ];
    for (const [target, expected] of pairs) expect([target, path(target)]).toEqual([target, expected]);
  });

  test("keeps its query as it was sent", () => {
    expect(parseTarget("/a?x=/../%2f%zz'\"?&y")).toEqual({ path: "/a", query: "?x=/../%2f%zz'\"?&y", odd: null });
  });

  test("normalised twice is what it was normalised once, and never leaves its root", () => {
    const segment = fc.constantFrom("a", "b%20", ".", "..", "%2e", "%2E%2e", "", ".a", "%61");
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 8 }), (segments) => {
        const once = path(`/${segments.join("/")}`);
        expect(once).not.toBeNull();
        expect(path(once ?? "")).toBe(once);
        expect(`${once}/`).not.toMatch(/\/\.{1,2}\//);
        expect(once).toStartWith("/");
      }),
    );
  });

  test("gives and loses one parameter of its query", () => {
    expect(parameter("?a=1&key=s%20ecret&b", "key")).toBe("s ecret");
    expect(parameter("?keys=1", "key")).toBeNull();
    expect(withoutParameter("?a=%zz&key=1&b=2&key=3", "key")).toBe("?a=%zz&b=2");
    expect(withoutParameter("?key=1", "key")).toBe("");
  });
});

describe("the router", () => {
  const names = (routes: (Partial<Routable> & { path: string })[]) => {
    const router = new Router(routes.map((each) => ({ hosts: [], methods: [], ...each })));
    return (target: string, host = "h", method = "GET") => {
      const found = router.find(host, method, target);
      return isMiss(found) ? found.allow : found.path;
    };
  };

  test("takes the longest prefix that ends at a segment border", () => {
    const find = names([{ path: "/api" }, { path: "/api/users" }, { path: "/api/users/admin/" }]);
    expect(
      ["/api/users", "/api/users/", "/api/users/7", "/api/users2", "/api/users/admin", "/apis", "/"].map((each) => find(each)),
    ).toEqual(["/api/users", "/api/users", "/api/users", "/api", "/api/users/admin/", null, null]);
  });

  test("looks at hosts first: an exact one, then the longest wildcard, then any", () => {
    const find = names([
      { path: "/any" },
      { path: "/wild", hosts: ["*.example.com"] },
      { path: "/wilder", hosts: ["*.a.example.com"] },
      { path: "/exact", hosts: ["b.a.example.com"] },
      { path: "/", hosts: ["only.example.com"] },
    ]);
    expect(find("/exact", "B.A.example.com:8080")).toBe("/exact");
    expect(find("/wilder", "c.a.example.com")).toBe("/wilder");
    expect(find("/wild", "c.a.example.com")).toBe("/wild");
    expect(find("/any", "b.a.example.com")).toBe("/any");
    expect(find("/any", "only.example.com")).toBe("/");
    expect(find("/wild", "example.com")).toBeNull();
    expect(find("/any", "[::1]:80")).toBe("/any");
  });

  test("knows which methods a path takes; HEAD follows GET", () => {
    const find = names([
      { path: "/a", methods: ["GET"] },
      { path: "/a", methods: ["POST", "PUT"] },
    ]);
    expect(find("/a", "h", "HEAD")).toBe("/a");
    expect(find("/a", "h", "DELETE")).toEqual(["GET", "HEAD", "POST", "PUT"]);
  });

  test("finds what a search through all routes would find", () => {
    const part = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 4 }).map((parts) => `/${parts.join("/")}`);
    fc.assert(
      fc.property(fc.uniqueArray(part, { maxLength: 10 }), part, (paths, target) => {
        const expected =
          paths.filter((each) => each === "/" || target === each || target.startsWith(`${each}/`)).sort((a, b) => b.length - a.length)[0] ??
          null;
        expect(names(paths.map((each) => ({ path: each })))(target)).toBe(expected);
      }),
    );
  });
});

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
