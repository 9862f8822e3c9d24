import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isMiss, type Routable, Router } from "../../src/exchange/router.ts";

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
