import { describe, expect, test } from "bun:test";
import { loadConfig } from "../../src/config/load.ts";

const load = (authorize: object, route: object = {}, more: object = {}) =>
  loadConfig(
    JSON.stringify({
      routes: [{ path: "/a", upstream: "http://127.0.0.1:1", authorize: { url: "http://127.0.0.1:1", ...authorize }, ...route }],
      ...more,
    }),
    {},
  );
const faults = (...args: Parameters<typeof load>): string[] => {
  const loaded = load(...args);
  return "faults" in loaded ? loaded.faults.map(({ path, message }) => `${path.slice(3).join(".")}: ${message}`) : [];
};

describe("a route's authorize", () => {
  test("has the defaults that the documentation names", () => {
    const loaded = load({});
    if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
    expect(loaded.config.routes[0]?.authorize).toEqual({
      url: "http://127.0.0.1:1",
      headers: ["Authorization", "Cookie"],
      upstreamHeaders: ["X-User"],
      timeout: "1s",
      onError: "deny",
      cacheFor: null,
    });
  });

  test("names a URL, which may have a query", () => {
    expect(faults({ url: "https://id.test/oauth2/auth?allowed_groups=a" })).toEqual([]);
    expect(faults({ url: "id.test/may" })[0]).toStartWith("url: must be a URL, which begins with http:// or https://");
    expect(faults({ url: "ftp://id.test" })[0]).toStartWith("url: must be a URL");
    expect(faults({ url: "http://a:b@id.test" })).toEqual(["url: must not hold a user name or password"]);
    expect(faults({ url: "http://id.test/#a" })).toEqual(['url: must not hold "#"']);
  });

  test("shows no field that is Sluice's own, and sets none that something else sets", () => {
    expect(faults({ headers: ["X-Forwarded-For", "X-Consumer-ID", "Host", "Connection", "X-Real-IP", "Accept"] })).toEqual(
      [0, 1, 2, 3, 4].map((i) => `headers.${i}: is Sluice's own to send: the service gets what Sluice knows`),
    );
    expect(faults({ upstreamHeaders: ["X-Forwarded-User", "Authorization", "X-Consumer-Tier", "Content-Length", "X-Request-ID"] })).toEqual(
      [2, 3, 4].map((i) => `upstreamHeaders.${i}: is Sluice's own to set`),
    );
    const headers = { request: { set: { "x-user": "me" } } };
    expect(faults({}, { headers })).toEqual(["upstreamHeaders.0: is set by headers.request.set already"]);
    const pools = { p: { keys: [{ id: "one", limit: 1, window: "1m" }] } };
    const credential = { pool: "p" };
    expect(faults({ upstreamHeaders: ["authorization"] }, { credential }, { pools })).toEqual([
      "upstreamHeaders.0: is set by credential already",
    ]);
    // Some servers read the two as one.
    expect(faults({ upstreamHeaders: ["X_User"] })).toEqual([
      expect.stringContaining("upstreamHeaders.0: must be a header's name of letters"),
    ]);
  });

  test("has times from 1 ms to a day", () => {
    expect(faults({ timeout: "0s", cacheFor: "25h" })).toEqual(["timeout: must be from 1ms to 24h", "cacheFor: must be from 1ms to 24h"]);
  });
});
