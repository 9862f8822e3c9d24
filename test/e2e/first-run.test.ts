import { describe, expect, test } from "bun:test";
import { folder, type Running, run, start } from "../support/process.ts";
import { until } from "../support/until.ts";

/** What a start is made of that knows no token of its own. */
const options = (cwd: string, config: object = {}) => ({
  cwd,
  config: { server: { host: "127.0.0.1" }, ...config },
  env: { SLUICE_ADMIN_TOKEN: "" },
});

const LINK = /(https?:\/\/[^/\s]+)\/console#start=([0-9A-Za-z]{40})\n/;

const post = async ({ url }: Pick<Running, "url">, body: object, headers: Record<string, string> = {}) => {
  const answer = await fetch(`${url}/admin/session`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  return { status: answer.status, cookie: answer.headers.get("set-cookie")?.split(";", 1)[0] ?? "" };
};
const who = async ({ url }: Pick<Running, "url">, cookie: string) => (await fetch(`${url}/admin/session`, { headers: { cookie } })).status;

const isFirstRun = async ({ url }: Pick<Running, "url">) =>
  ((await (await fetch(`${url}/admin/session/options`)).json()) as { firstRun: boolean }).firstRun;

describe("a start", () => {
  test("prints a link that signs in, once, until an admin token was used; a new first token ends its sessions", async () => {
    using home = folder();
    let cookie = "";
    let token = "";
    {
      await using gateway = await start(options(home.path, { server: { host: "127.0.0.1", workers: 2 } }));
      await until(() => LINK.test(gateway.output()));
      const [, at, link = ""] = LINK.exec(gateway.output()) ?? [];
      token = /slat_\w+/.exec(gateway.output())?.[0] ?? "";
      expect([at, link]).toEqual([gateway.url, expect.stringMatching(/./)]);
      // Not for a browser that comes by another name, without TLS.
      expect((await post(gateway, { link }, { host: "gateway.example.com" })).status).toBe(403);
      const begun = await Promise.all([post(gateway, { link }), post(gateway, { link }), post(gateway, { link })]);
      expect(begun.map(({ status }) => status).sort()).toEqual([201, 401, 401]);
      cookie = begun.find(({ status }) => status === 201)?.cookie ?? "";
      expect(await Promise.all([1, 2, 3, 4].map(() => who(gateway, cookie)))).toEqual([200, 200, 200, 200]);
      await gateway.stop();
    }
    {
      // A session outlives a restart, and nobody has used a token.
      await using gateway = await start(options(home.path));
      await until(() => LINK.test(gateway.output()));
      expect(await isFirstRun(gateway)).toBe(true);
      expect(await who(gateway, cookie)).toBe(200);
      expect((await post(gateway, { token })).status).toBe(201);
      expect(await isFirstRun(gateway)).toBe(false);
      expect((await run(["admin", "reset-token"], { cwd: home.path })).status).toBe(0);
      await until(async () => (await who(gateway, cookie)) === 401);
      await gateway.stop();
    }
  });
});
