import { describe, expect, test } from "bun:test";
import { serving } from "../support/serving.ts";

const TOKEN = "an-admin-token-0123456789";
const TRUSTING = { host: "127.0.0.1", drainTimeout: "0s", trustedProxies: ["127.0.0.1"] };
const REFUSED = {
  status: 403,
  code: "forbidden",
  detail: "What takes an admin token can't be used from your address: admin.allowFrom in the gateway's configuration does not name it.",
};

/** A gateway whose peer is a trusted proxy, so that a question can come from anywhere. `from` "": of this machine's own. */
function gateway(more: object = {}) {
  const it = serving({ server: TRUSTING, admin: { allowFrom: ["10.0.0.0/8", "2001:db8::/32"] }, ...more });
  const ask = async (
    path: string,
    from: string,
    { token = TOKEN, port = it.port, ...init }: RequestInit & { token?: string; port?: number } = {},
  ) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      ...init,
      headers: {
        ...(from === "" ? {} : { "x-forwarded-for": from }),
        ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
      },
    });
    const text = await answer.text();
    return { status: answer.status, text, json: answer.headers.get("content-type")?.includes("json") ? JSON.parse(text) : null };
  };
  return { ...it, ask, [Symbol.asyncDispose]: () => it.stop() };
}

describe("admin.allowFrom", () => {
  test("lets nobody from elsewhere use the admin API or see its documentation, whatever they show, and says by what", async () => {
    await using it = gateway();
    for (const path of ["/admin", "/admin/keys", "/admin/nothing", "/%61dmin/keys", "/swagger", "/swagger/json"])
      for (const from of ["203.0.113.9", "2001:db9::1", ""]) {
        const { status, json } = await it.ask(path, from);
        expect([path, from, status, json]).toEqual([path, from, 403, expect.objectContaining(REFUSED)]);
      }
    for (const from of ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7"]) {
      expect([(await it.ask("/admin/keys", from)).status, (await it.ask("/swagger", from, { token: "" })).status]).toEqual([200, 200]);
      expect((await it.ask("/admin/keys", from, { token: "" })).json.code).toBe("keyMissing");
    }
    // What needs no token is everybody's as before.
    for (const path of ["/health", "/ready", "/docs"]) expect([path, (await it.ask(path, "203.0.113.9")).status]).toEqual([path, 200]);
  });

  test("has no token looked up that comes from elsewhere: wrong ones count towards no block, and no body is too large", async () => {
    await using it = gateway();
    for (let i = 0; i < 20; i++) expect((await it.ask("/admin/keys", "203.0.113.9", { token: `wrong-${i}` })).json.code).toBe("forbidden");
    for (let i = 0; i < 20; i++) expect((await it.ask("/metrics", "203.0.113.9", { token: `wrong-${i}` })).json.code).toBe("forbidden");
    for (let i = 0; i < 20; i++) await it.ask("/ready", "203.0.113.9", { token: `wrong-${i}` });
    expect((await it.ask("/admin/blocks", "10.1.2.3")).json.items).toEqual([]);
    const large = await it.ask("/admin/consumers", "203.0.113.9", { method: "POST", body: "x".repeat(3_000_000) });
    expect(large.json.code).toBe("forbidden");
    // From where they are looked up, they count.
    for (let i = 0; i < 10; i++) await it.ask("/admin/keys", "10.9.9.9", { token: `wrong-${i}` });
    expect((await it.ask("/admin/blocks", "10.1.2.3")).json.items).toMatchObject([{ ip: "10.9.9.9" }]);
  });

  test("is asked wherever a token opens something, but not of programs on this machine that read the metrics", async () => {
    await using it = gateway();
    for (const path of ["/metrics", "/_metrics"]) {
      expect((await it.ask(path, "203.0.113.9")).json).toMatchObject(REFUSED);
      expect([(await it.ask(path, "10.1.2.3")).status, (await it.ask(path, "10.1.2.3", { token: "" })).status]).toEqual([200, 401]);
      expect((await it.ask(path, "", { token: "" })).status).toBe(200);
    }
    const [inside, outside] = [await it.ask("/ready", "10.1.2.3"), await it.ask("/ready", "203.0.113.9")];
    expect([inside.json.upstreams, outside.json.upstreams, outside.status]).toEqual([{}, undefined, 200]);
  });

  test("holds on the admin API's own listener as on the main port", async () => {
    const probe = Bun.serve({ port: 0, fetch: () => new Response() });
    const { port = 0 } = probe;
    await probe.stop(true);
    await using it = gateway({ admin: { listen: { port }, allowFrom: ["10.0.0.0/8"] } });
    const { adminPort } = it;
    for (const path of ["/admin/keys", "/nothing", "/swagger", "/metrics"])
      expect([path, (await it.ask(path, "203.0.113.9", { port: adminPort })).json.code]).toEqual([path, "forbidden"]);
    expect((await it.ask("/admin/keys", "10.1.2.3", { port: adminPort })).status).toBe(200);
    expect((await it.ask("/health", "203.0.113.9", { port: adminPort })).status).toBe(200);
  });

  test("is told of to who asks what would become of a request", async () => {
    await using it = gateway();
    const walked = async (ip: string) => {
      const answer = await fetch(`${it.url}/admin/explain/request`, {
        method: "POST",
        headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json", "x-forwarded-for": "10.1.2.3" },
        body: JSON.stringify({ method: "GET", target: "/admin/keys", ip }),
      });
      return (await answer.json()) as { steps: { detail: string }[]; refusal: object | null };
    };
    const refused = await walked("203.0.113.9");
    expect(refused.refusal).toEqual({ status: 403, code: "forbidden" });
    expect(refused.steps.at(-1)?.detail).toBe("203.0.113.9 is not among the addresses that admin.allowFrom names");
    expect((await walked("10.1.2.3")).refusal).toBeNull();
  });
});
