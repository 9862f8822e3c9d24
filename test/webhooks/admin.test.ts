// The webhooks that the admin API makes, and what it tells of deliveries.
import { describe, expect, test } from "bun:test";
import { type Admin, admin, errorsOf } from "../admin/harness.ts";
import { receiver, WEBHOOK_SECRET } from "../support/receiver.ts";
import { until } from "../support/until.ts";

const SECRET = "a secret of the machine";
const hooks = (more: object = {}): Admin => admin({ secret: SECRET, ...more });
const NEW = { name: "alerts", url: "https://hooks.example.com/sluice", events: ["key.expiring"] };

describe("a webhook of the API", () => {
  test("gets a secret that is shown once, and is kept sealed", async () => {
    using gateway = hooks();
    const made = await gateway.post("/admin/webhooks", NEW);
    expect(made.status).toBe(201);
    expect(made.json.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(made.json).toMatchObject({ ...NEW, enabled: true, source: "admin", state: { waiting: 0, oldest: null, isGone: false } });
    const seen = await gateway.get("/admin/webhooks/alerts");
    expect(seen.json.secret).toBe("***");
    expect((await gateway.get("/admin/audit")).text).not.toContain(made.json.secret);
    const given = await gateway.post("/admin/webhooks", { ...NEW, name: "own", secret: WEBHOOK_SECRET });
    expect(given.json.secret).toBe("***");
    const patched = await gateway.patch("/admin/webhooks/alerts", { events: ["*"] }, { "if-match": seen.headers.get("etag") ?? "" });
    expect(patched.json).toMatchObject({ events: ["*"], secret: "***" });
    expect((await gateway.get("/admin/webhooks")).json.items.map(({ name }: { name: string }) => name)).toEqual(["alerts", "own"]);
    expect((await gateway.remove("/admin/webhooks/alerts")).status).toBe(204);
    expect((await gateway.get("/admin/webhooks/alerts")).status).toBe(404);
    expect(gateway.faults).toEqual([]);
  });

  test("has its URL's host for a name where it comes without one", async () => {
    using gateway = hooks();
    const { name: _, ...nameless } = NEW;
    const made = await gateway.post("/admin/webhooks", nameless);
    expect([made.status, made.json.name, made.headers.get("location")]).toEqual([
      201,
      "hooks.example.com",
      "/admin/webhooks/hooks.example.com",
    ]);
    expect((await gateway.post("/admin/webhooks", nameless)).status).toBe(409);
    expect(Object.keys(errorsOf(await gateway.post("/admin/webhooks", { ...nameless, url: "not a URL" })))).toEqual(["url"]);
    expect(Object.keys(errorsOf(await gateway.post("/admin/webhooks", { events: ["*"] })))).toEqual(["url"]);
  });

  test("says what is wrong with it, and names the event that was meant", async () => {
    using gateway = hooks();
    const wrong = async (change: object) => errorsOf(await gateway.post("/admin/webhooks", { ...NEW, ...change }));
    expect(await wrong({ events: ["key.expirng"] })).toEqual({
      "events[0]": 'there is no event "key.expirng", did you mean "key.expiring"?',
    });
    expect(await wrong({ events: [] })).toEqual({ events: "must have at least 1 entry" });
    expect(await wrong({ events: ["*", "*"] })).toEqual({ "events[1]": "stands here twice" });
    expect(Object.keys(await wrong({ secret: "whsec_short" }))).toEqual(["secret"]);
    expect(Object.keys(await wrong({ url: "ftp://x" }))).toEqual(["url"]);
    expect(Object.keys(await wrong({ url: "https://user:word@example.com/" }))).toEqual(["url"]);
    expect(Object.keys(await wrong({ colour: "red" }))).toEqual(["colour"]);
    using open = admin();
    expect(errorsOf(await open.post("/admin/webhooks", NEW)).secret).toContain("SLUICE_SECRET");
  });

  test("leads to the internet alone, by https", async () => {
    using gateway = hooks();
    for (const [url, why] of [
      ["http://hooks.example.com/", "must begin with https://"],
      ["https://[::ffff:7f00:1]/", "is no address of the internet"],
    ])
      expect(errorsOf(await gateway.post("/admin/webhooks", { ...NEW, url })).url).toContain(why as string);
  });

  test("may lead to what admin.upstreamAllow lists, but never to where clouds keep credentials", async () => {
    using gateway = hooks({ config: { admin: { upstreamAllow: ["10.0.0.0/8", "169.254.0.0/16"] } } });
    expect((await gateway.post("/admin/webhooks", { ...NEW, url: "https://10.1.2.3/" })).status).toBe(201);
    expect((await gateway.post("/admin/webhooks", { ...NEW, name: "other" })).status).toBe(201);
    expect((await gateway.post("/admin/webhooks", { ...NEW, name: "third", url: "https://169.254.169.254/" })).status).toBe(422);
  });

  test("changes its secret while the one before signs as well", async () => {
    using gateway = hooks();
    await gateway.post("/admin/webhooks", NEW);
    const rotated = await gateway.post("/admin/webhooks/alerts/rotate", {});
    expect(rotated.json).toMatchObject({ name: "alerts", secret: expect.stringMatching(/^whsec_/) });
    expect((await gateway.call("/admin/webhooks/alerts/rotate", { method: "POST" })).status).toBe(200);
    expect((await gateway.post("/admin/webhooks/none/rotate", {})).status).toBe(404);
  });
});

describe("deliveries", () => {
  const declared = (url: string): Admin =>
    admin({
      config: { webhooks: [{ name: "file", url, secret: WEBHOOK_SECRET, events: ["*"] }], consumers: [{ id: "acme", tier: "free" }] },
    });

  test("are listed by pages, and delivered again with the same id", async () => {
    using hook = receiver();
    using gateway = declared(hook.url);
    for (let i = 0; i < 3; i++) await gateway.post("/admin/keys", { consumer: "acme", name: `key ${i}` });
    await until(async () => (await gateway.get("/admin/webhooks/file/deliveries?state=delivered")).json.items.length === 3);
    const first = await gateway.get("/admin/webhooks/file/deliveries?limit=2");
    expect(first.json.items.map(({ body }: { body: { data: { name: string } } }) => body.data.name)).toEqual(["key 2", "key 1"]);
    const rest = await gateway.get(`/admin/webhooks/file/deliveries?limit=2&cursor=${first.json.nextCursor}`);
    expect(rest.json).toMatchObject({ items: [{ state: "delivered", status: 204, tries: 1, error: null }], nextCursor: null });
    const [{ id }] = rest.json.items;
    const again = await gateway.call(`/admin/webhooks/deliveries/${id}/redeliver`, { method: "POST" });
    expect([again.status, again.json.state]).toEqual([202, "waiting"]);
    await until(() => hook.all.length === 4);
    expect(hook.all[3]?.id).toBe(id);
    expect(hook.all[3]?.text).toBe(hook.all[0]?.text as string);
    expect((await gateway.call("/admin/webhooks/deliveries/none/redeliver", { method: "POST" })).status).toBe(404);
    expect((await gateway.get("/admin/webhooks/file/deliveries?state=lost")).status).toBe(422);
    expect((await gateway.get("/admin/webhooks/none/deliveries")).status).toBe(404);
    expect((await gateway.patch("/admin/webhooks/file", { enabled: false })).status).toBe(409);
    expect(gateway.faults).toEqual([]);
  });

  test("can be tried with a sample of each type, and the receiver's answer is told", async () => {
    using hook = receiver();
    using gateway = declared(hook.url);
    const tested = await gateway.post("/admin/webhooks/file/test", { event: "quota.100" });
    expect(tested.json).toMatchObject({ delivered: true, event: "quota.100", status: 204, answer: "", error: null });
    expect(hook.types()).toEqual(["quota.100"]);
    hook.answers(500);
    expect((await gateway.call("/admin/webhooks/file/test", { method: "POST" })).json).toMatchObject({
      ...{ delivered: false, event: "key.created", status: 500, answer: "said 500", error: "answers 500" },
    });
    expect(errorsOf(await gateway.post("/admin/webhooks/file/test", { event: "quota.90" })).event).toContain("there is no event");
    expect((await gateway.post("/admin/webhooks/none/test", {})).status).toBe(404);
  });
});
