import { describe, expect, test } from "bun:test";
import { isAddress, unixFault, unixTargetOf } from "../../src/upstreams/unix-target.ts";

describe("the address of a Unix socket", () => {
  test("has the socket's path, and a base path behind another colon", () => {
    expect(unixTargetOf("unix:/run/app.sock")).toEqual({ socket: "/run/app.sock", basePath: "" });
    expect(unixTargetOf("unix:/run/app.sock:/v1/")).toEqual({ socket: "/run/app.sock", basePath: "/v1" });
    expect(unixTargetOf("unix:/run/app.sock:/a/../b")).toEqual({ socket: "/run/app.sock", basePath: "/b" });
    for (const text of ["unix:/run/app.sock", "unix:/run/app.sock:/v1"]) expect([unixFault(text), isAddress(text)]).toEqual([null, true]);
    expect(unixTargetOf("http://users:8001")).toBeNull();
  });

  test("must be whole, plain and short enough", () => {
    expect(unixFault("unix://run/app.sock")).toContain('write "unix:/run/app.sock"');
    for (const text of ["unix:app.sock", "unix:/run/app.sock:", "unix:/run/app.sock:v1", "unix:/run/app.sock:/v1?x", "unix:@name"])
      expect(unixFault(text)).toContain("must be the whole path");
    for (const text of ["unix:/run/../app.sock", "unix:/run/./app.sock", "unix:/run//app.sock", "unix:/run/", "unix:/"])
      expect(unixFault(text)).toContain("without empty");
    expect(unixFault("unix:/run/ä.sock")).toContain("printable ASCII");
    expect(unixFault(`unix:/${"x".repeat(102)}`)).toBeNull();
    expect(unixFault(`unix:/${"x".repeat(103)}`)).toContain("at most 103 characters");
  });
});
