import { describe, expect, test } from "bun:test";
import { folder } from "../support/process.ts";
import { admin, TOKEN } from "./harness.ts";

describe("the admin API's door", () => {
  test.each(["/admin/keys", "/admin/health", "/admin/config", "/admin/nothing", "/admin"])("%s needs a token", async (path) => {
    using gateway = admin();
    const answer = await gateway.call(path, { token: null });
    expect(answer.status).toBe(401);
    expect(answer.json.code).toBe("keyMissing");
    expect(answer.headers.get("www-authenticate")).toStartWith("Bearer ");
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
  });

  test("refuses a wrong token, also a longer and a shorter one", async () => {
    using gateway = admin();
    for (const token of ["wrong-token-0123456789", `${TOKEN}x`, TOKEN.slice(0, -1), TOKEN.toUpperCase()]) {
      const answer = await gateway.call("/admin/keys", { token });
      expect([answer.status, answer.json.code]).toEqual([401, "keyInvalid"]);
    }
  });

  test("can't be walked around by another way to write the path", async () => {
    using gateway = admin();
    for (const path of [
      "/%61dmin/keys",
      "//admin/keys",
      "/./admin/keys",
      "/swagger/../admin/keys",
      "/swagger/%2e%2e/admin/keys",
      "/admin%2fkeys",
      "/ADMIN/keys",
      "/\\admin/keys",
    ]) {
      const answer = await gateway.call(path, { token: null });
      expect([path, [401, 404].includes(answer.status)]).toEqual([path, true]);
      expect(answer.text).not.toContain("items");
    }
  });

  test("needs no token for its documentation", async () => {
    using gateway = admin();
    expect((await gateway.call("/swagger", { token: null })).status).toBe(200);
    expect((await gateway.call("/swagger/json", { token: null })).status).toBe(200);
  });

  test("every answer carries the request's id, problems within as well", async () => {
    using gateway = admin();
    const good = await gateway.call("/admin/keys", { headers: { "x-request-id": "r-1" } });
    expect(good.headers.get("x-request-id")).not.toBeNull();
    const bad = await gateway.get("/admin/keys/none");
    expect(bad.headers.get("x-request-id")).toBe(bad.json.requestId);
  });

  test("answers are not kept by caches: they may hold an API key", async () => {
    using gateway = admin();
    expect((await gateway.get("/admin/keys")).headers.get("cache-control")).toBe("no-store");
  });

  test("an unknown path is 404, a wrong method 405 with Allow", async () => {
    using gateway = admin();
    const unknown = await gateway.get("/admin/nothing");
    expect([unknown.status, unknown.json.code]).toEqual([404, "routeNotFound"]);
    const wrong = await gateway.call("/admin/keys", { method: "PUT", body: {} });
    expect([wrong.status, wrong.json.code, wrong.headers.get("allow")]).toEqual([405, "methodNotAllowed", "GET, POST"]);
    const one = await gateway.call("/admin/keys/key_1", { method: "POST", body: {} });
    expect([one.status, one.headers.get("allow")]).toEqual([405, "DELETE, GET, PATCH"]);
  });
});

describe("the admin token", () => {
  test("is made at the first start, shown once, and good after a restart", async () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    let token = "";
    {
      using gateway = admin({ path, token: "" });
      token = gateway.madeToken ?? "";
      expect(token).toMatch(/^slat_[0-9A-Za-z]{32,}$/);
      expect((await gateway.call("/admin/keys", { token })).status).toBe(200);
    }
    using gateway = admin({ path, token: "" });
    expect(gateway.madeToken).toBeNull();
    expect((await gateway.call("/admin/keys", { token })).status).toBe(200);
  });

  test("is not in the database", async () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    let token = "";
    {
      using gateway = admin({ path, token: "" });
      token = gateway.madeToken ?? "-";
    }
    expect(Buffer.from(await Bun.file(path).bytes()).includes(token)).toBe(false);
  });

  test("of the environment replaces a stored one", async () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    let made = "";
    {
      using gateway = admin({ path, token: "" });
      made = gateway.madeToken ?? "";
    }
    using gateway = admin({ path });
    expect((await gateway.call("/admin/keys", { token: made })).status).toBe(401);
    expect((await gateway.call("/admin/keys", { token: TOKEN })).status).toBe(200);
  });
});
