import { join } from "node:path";

const CLIENT = "shop:a-client-secret-0123456789";

/** Controls a certified issuer of tokens that runs beside the test. */
export interface Issuer {
  /** Its address, which is the `iss` of its tokens. */
  readonly url: string;
  /** Gets a token for machines; opaque ones are for introspection. */
  token(form?: "jwt" | "opaque"): Promise<string>;
  /** Makes another signing key; the last two stay in the set. */
  rotate(): Promise<void>;
  /** Lets the client "console" send browsers, which come back to `redirect` signed in as this person. */
  signsIn(redirect: string, name: string, groups: readonly string[]): Promise<void>;
  /** Tells how often it was asked for its configuration, its keys, tokens, and what tokens are worth. */
  counts(): Promise<{ discovery: number; keys: number; tokens: number; introspections: number }>;
  /** Kills it, as a crash would. */
  kill(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts npm oidc-provider on a free port, as a program of its own. */
export async function startIssuer(): Promise<Issuer> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "oidc-program.ts")], { stdout: "pipe", stderr: "ignore" });
  const reader = child.stdout.getReader();
  let printed = "";
  while (!printed.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the issuer ended with ${await child.exited}: ${printed}`);
    printed += Buffer.from(value).toString();
  }
  const url = printed.trim();
  const kill = async () => {
    child.kill("SIGKILL");
    await child.exited;
  };
  return {
    url,
    token: async (form = "jwt") => {
      const answer = await fetch(`${url}/token`, {
        method: "POST",
        headers: { authorization: `Basic ${btoa(CLIENT)}` },
        body: new URLSearchParams({ grant_type: "client_credentials", scope: "orders:read", resource: `urn:${form}` }),
      });
      const { access_token: token } = (await answer.json()) as { access_token?: string };
      if (token === undefined) throw new Error(`the issuer gave no token: ${answer.status}`);
      return token;
    },
    rotate: async () => void (await (await fetch(`${url}/rotate`, { method: "POST" })).text()),
    signsIn: async (redirect, name, groups) => {
      const query = new URLSearchParams({ redirect, as: name, groups: groups.join(",") });
      await (await fetch(`${url}/browser?${query}`, { method: "POST" })).text();
    },
    counts: async () => (await (await fetch(`${url}/counts`)).json()) as Awaited<ReturnType<Issuer["counts"]>>,
    kill,
    [Symbol.asyncDispose]: kill,
  };
}
