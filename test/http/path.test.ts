import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parameter, parseTarget, withoutParameter } from "../../src/http/path.ts";

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
