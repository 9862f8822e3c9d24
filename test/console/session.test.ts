import { afterEach, expect, test } from "bun:test";
import { me, signIn } from "../../src/console/page/session.ts";

const { fetch: real } = globalThis;
afterEach(() => {
  globalThis.fetch = real;
});

test("a session that another instance does not know yet is asked for once more, right after the sign-in", async () => {
  let looks = 0;
  const who = { name: "env", role: "admin", via: "session", expiresAt: null, version: "1" };
  await using instances = Bun.serve({
    ...{ hostname: "127.0.0.1", port: 0 },
    fetch: ({ method }) =>
      method === "POST" ? Response.json(who, { status: 201 }) : looks++ === 0 ? new Response(null, { status: 401 }) : Response.json(who),
  });
  // A page's addresses are those of its origin.
  globalThis.fetch = Object.assign((path: string, init?: RequestInit) => real(new URL(path, instances.url), init), real) as typeof fetch;
  await signIn({ token: "a-token" });
  expect([me.value?.name, looks]).toEqual(["env", 2]);
});
