// People sign in to the console by a certified issuer (npm oidc-provider), as a browser does it.
import { expect, test } from "bun:test";
import { startIssuer } from "../../support/issuer.ts";
import { type Running, start } from "../../support/process.ts";

/** Follows redirects as a browser does, with the cookies of each host, until it is at the console. Gives the last address. */
class Browser {
  private readonly jar = new Map<string, Map<string, string>>();

  cookieOf(url: string): string {
    return [...(this.jar.get(new URL(url).host) ?? [])].map(([name, value]) => `${name}=${value}`).join("; ");
  }

  async go(from: string): Promise<string> {
    for (let url = from, steps = 0; steps < 12; steps++) {
      if (new URL(url).pathname === "/console") return url;
      const answer = await fetch(url, { redirect: "manual", headers: { cookie: this.cookieOf(url) } });
      const { host } = new URL(url);
      const cookies = this.jar.get(host) ?? new Map<string, string>();
      this.jar.set(host, cookies);
      for (const line of answer.headers.getSetCookie()) {
        const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
        if (/; ?max-age=0|expires=Thu, 01 Jan 1970/i.test(line) || value === "") cookies.delete(name);
        else cookies.set(name, value);
      }
      const location = answer.headers.get("location");
      if (location === null) throw new Error(`${url} answered ${answer.status}: ${await answer.text()}`);
      url = new URL(location, url).href;
    }
    throw new Error("it went round and round");
  }
}

const whoIs = async ({ url }: Running, browser: Browser): Promise<unknown> =>
  (await fetch(`${url}/admin/session`, { headers: { cookie: browser.cookieOf(url) } })).json();

test.each([1, 2])("people sign in by an issuer and get the role that their groups have, with %d workers", async (workers) => {
  await using issuer = await startIssuer();
  await using gateway = await start({
    config: {
      server: { host: "127.0.0.1", workers },
      issuers: { main: { issuer: issuer.url, audience: ["api"] } },
      admin: {
        issuer: "main",
        clientId: "console",
        clientSecret: "a-console-secret-0123456789",
        roles: { claim: "groups", map: { "platform-team": "admin", support: "viewer" } },
      },
    },
  });
  const callback = `${gateway.url}/admin/session/callback`;
  const begin = `${gateway.url}/admin/session/start`;
  const options = (await (await fetch(`${gateway.url}/admin/session/options`)).json()) as object;
  expect(options).toMatchObject({ issuer: { name: "main", start: "/admin/session/start" } });

  await issuer.signsIn(callback, "alice", ["staff", "support", "platform-team"]);
  const alice = new Browser();
  expect(await alice.go(begin)).toBe(`${gateway.url}/console`);
  expect(await whoIs(gateway, alice)).toMatchObject({ name: "main:alice", role: "admin", via: "session" });

  await issuer.signsIn(callback, "bob", ["support"]);
  const bob = new Browser();
  expect(await bob.go(begin)).toBe(`${gateway.url}/console`);
  expect(await whoIs(gateway, bob)).toMatchObject({ name: "main:bob", role: "viewer" });
  expect(await whoIs(gateway, alice)).toMatchObject({ name: "main:alice", role: "admin" });

  await issuer.signsIn(callback, "eve", ["sales"]);
  const eve = new Browser();
  expect(decodeURIComponent(await eve.go(begin))).toContain("#error=main knows you, but nothing that it says of you gives a role here");
  expect(await whoIs(gateway, eve)).toMatchObject({ status: 401 });

  const audit = (await (await gateway.admin("GET", "/admin/audit?action=session.begin")).json()) as { items: { actor: string }[] };
  expect(audit.items.map(({ actor }) => actor)).toEqual(["main:bob", "main:alice"]);
});
