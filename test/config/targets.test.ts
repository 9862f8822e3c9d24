import { expect, test } from "bun:test";
import { loadConfig } from "../../src/config/load.ts";

const faultsOf = (config: object): string[] => {
  const loaded = loadConfig(JSON.stringify({ tiers: { anonymous: { limits: [] } }, ...config }), {});
  return "faults" in loaded ? loaded.faults.map(({ path, message }) => `${path.join(".")} ${message}`) : [];
};

test("a Unix socket that is written otherwise is told how to write it", () => {
  const of = (upstream: string): string => faultsOf({ routes: [{ path: "/", upstream }] }).join();
  for (const upstream of ["/run/app.sock", "http://unix:/run/app.sock", "http://unix:/run/app.sock:", "unix://run/app.sock"])
    expect(of(upstream)).toContain('write "unix:/run/app.sock"');
  expect(of("unix:app.sock")).toContain("must be the whole path of a Unix socket");
  expect(of("unix:/run/app.sock")).toBe("");
  expect(faultsOf({ upstreams: { u: { targets: [{ url: "/run/app.sock" }] } } }).join()).toContain('write "unix:/run/app.sock"');
});

test("tls is for https targets, and a certificate goes with its key", () => {
  const of = (url: string, tls: object): string[] => faultsOf({ upstreams: { u: { targets: [{ url }], tls } } });
  expect(of("http://h", { ca: "ca.pem" })).toEqual(["upstreams.u.tls is for https targets, and this upstream has none"]);
  expect(of("https://h", { key: "key.pem" })).toEqual([expect.stringContaining("upstreams.u.tls.cert is required beside key")]);
  expect(of("https://h", { cert: "cert.pem", key: "key.pem", serverName: "backend.internal" })).toEqual([]);
});
