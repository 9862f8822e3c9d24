import { describe, expect, test } from "bun:test";
import { loadConfig } from "../../src/config/load.ts";
import { Config } from "../../src/config/schema.ts";
import { masked, secretsIn } from "../../src/schema/secrets.ts";
import { admin } from "../admin/harness.ts";

const CONFIG = {
  redis: { url: "redis://me:pass@wo%20rd@10.0.0.1:6379/0", sentinel: { name: "m", nodes: ["a:1"], password: "of-the-sentinels" } },
  telemetry: { otlp: { endpoint: "http://c:4318", headers: { "x-token": "of-the-collector" } } },
  consumers: [{ id: "acme", tier: "free", keys: ["scheme://a-consumers-key-0123", { key: "an-object-with-a-key-0123", scopes: ["a"] }] }],
  pools: { llm: { keys: [{ id: "k1", secret: "https://hooks.example.com/a-path", limit: 1, window: "1h" }], services: {} } },
  routes: [
    {
      name: "shop",
      path: "/shop",
      upstream: "http://127.0.0.1:1",
      headers: { request: { set: { Authorization: "Basic b2s6b2s=", "X-Env": "prod" } } },
    },
  ],
};
const SECRETS = [
  "pass@wo",
  "of-the-sentinels",
  "of-the-collector",
  "a-consumers-key",
  "an-object-with-a-key",
  "hooks.example.com",
  "b2s6b2s",
];

describe("secrets of the configuration", () => {
  test("are all known, and none is shown", async () => {
    const loaded = loadConfig(JSON.stringify(CONFIG), {});
    if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
    expect(secretsIn(Config, loaded.config)).toEqual(
      expect.arrayContaining([
        "pass@wo%20rd",
        "of-the-sentinels",
        "of-the-collector",
        "scheme://a-consumers-key-0123",
        "an-object-with-a-key-0123",
        "https://hooks.example.com/a-path",
        "Basic b2s6b2s=",
      ]),
    );
    const text = JSON.stringify(masked(Config, loaded.config));
    for (const secret of SECRETS) expect([secret, text.includes(secret)]).toEqual([secret, false]);
    for (const rest of ["redis://***@10.0.0.1:6379/0", '"X-Env":"prod"', '"X-API-Key"', "http://c:4318"]) expect(text).toContain(rest);
    const { redis, ...alone } = CONFIG;
    using gateway = admin({ config: alone });
    const shown =
      (await gateway.get("/admin/config")).text + (await gateway.get("/admin/routes")).text + (await gateway.get("/admin/pools")).text;
    for (const secret of SECRETS) expect([secret, shown.includes(secret)]).toEqual([secret, false]);
    expect(redis.url).toContain("pass@wo");
  });

  test("are not quoted in what is said of a fault", () => {
    const faulty = {
      telemetry: { otlp: { endpoint: "http://u:hunter2pass@h" } },
      routes: [{ path: "/", upstream: "http://127.0.0.1:1", headers: { request: { set: { Authorization: "Bearer hunter2€" } } } }],
    };
    const loaded = loadConfig(JSON.stringify(faulty), {});
    const text = JSON.stringify("faults" in loaded ? loaded.faults : []);
    expect([text.includes("endpoint"), text.includes("Authorization"), text.includes("hunter2")]).toEqual([true, true, false]);
  });

  test("of a route stay when what was shown is sent back, and must be sent where there are none", async () => {
    using gateway = admin();
    const route = (set: object) => ({ name: "shop", path: "/shop", upstream: "http://127.0.0.1:1", headers: { request: { set } } });
    expect((await gateway.post("/admin/routes", route({ Authorization: "***" }))).status).toBe(422);
    expect((await gateway.post("/admin/routes", route({ Authorization: "Basic b2s6b2s=", "X-Env": "prod" }))).status).toBe(201);
    const { headers } = (await gateway.get("/admin/routes/shop")).json;
    expect(headers.request.set).toEqual({ Authorization: "***", "X-Env": "prod" });
    headers.request.set["X-Env"] = "test";
    expect((await gateway.patch("/admin/routes/shop", { headers })).json.headers.request.set).toEqual({
      Authorization: "***",
      "X-Env": "test",
    });
    expect((await gateway.patch("/admin/routes/shop", { headers: { request: { set: { "X-Token": "***" } } } })).status).toBe(422);
    expect((await gateway.get("/admin/audit")).text).not.toContain("b2s6b2s");
  });
});
