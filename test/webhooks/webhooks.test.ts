// What users are promised: a real gateway, a real receiver.
import { describe, expect, test } from "bun:test";
import { Webhook } from "standardwebhooks";
import { FakeClock } from "../support/clock.ts";
import { folder } from "../support/process.ts";
import { isSigned, receiver, WEBHOOK_SECRET } from "../support/receiver.ts";
import { serving } from "../support/serving.ts";
import { until } from "../support/until.ts";

const webhook = (url: string, events: readonly string[] = ["*"], more: object = {}) => ({
  name: "alerts",
  url,
  secret: WEBHOOK_SECRET,
  events,
  ...more,
});
const CONSUMERS = [{ id: "acme", tier: "free" }];

describe("a webhook of the file", () => {
  test("is told what happens, signed by Standard Webhooks", async () => {
    using hook = receiver();
    const gateway = serving({ webhooks: [webhook(hook.url)], consumers: CONSUMERS });
    const made = await gateway.admin("POST", "/admin/keys", { consumer: "acme", name: "production" });
    const { id } = (await made.json()) as { id: string };
    await gateway.admin("POST", `/admin/keys/${id}/rotate`, {});
    await gateway.admin("DELETE", `/admin/keys/${id}`);
    await gateway.admin("POST", "/admin/blocks", { ip: "203.0.113.9", reason: "tests", ttl: "15m" });
    await gateway.admin("POST", "/admin/health", { status: "DEGRADED", reason: "tests" });
    await until(() => hook.all.length === 5);
    expect(hook.types()).toEqual(["key.created", "key.rotated", "key.revoked", "block.made", "health.changed"]);
    expect(hook.all.every((each) => isSigned(each))).toBe(true);
    expect(hook.all.some((each) => isSigned(each, `whsec_${Buffer.alloc(32).toString("base64")}`))).toBe(false);
    expect(new Set(hook.all.map((each) => each.id)).size).toBe(5);
    expect(hook.all[0]?.path).toBe("/hook");
    expect(hook.all[0]?.headers["content-type"]).toBe("application/json");
    expect(hook.all[0]?.body.data).toMatchObject({ key: id, count: 1, consumer: "acme", name: "production", by: "env" });
    expect(hook.all[3]?.body.data).toMatchObject({ ip: "203.0.113.9", reason: "tests" });
    expect(hook.all[4]?.body.data).toMatchObject({ from: "NORMAL", to: "DEGRADED", reason: "tests" });
    expect(gateway.faults).toEqual([]);
    await gateway.stop();
  });

  test("gets only the types that it names, and each webhook its own copy", async () => {
    using all = receiver();
    using some = receiver();
    const gateway = serving({
      webhooks: [webhook(all.url), { url: some.url, secret: WEBHOOK_SECRET, events: ["block.made"] }],
      consumers: CONSUMERS,
    });
    await gateway.admin("POST", "/admin/keys", { consumer: "acme" });
    await gateway.admin("POST", "/admin/blocks", { ip: "203.0.113.9" });
    await until(() => all.all.length === 2 && some.all.length === 1);
    expect(some.types()).toEqual(["block.made"]);
    await gateway.stop();
  });

  test("that is down loses nothing: what failed is tried again, and holds up nothing that comes later", async () => {
    using hook = receiver();
    const clock = new FakeClock(Date.now());
    const gateway = serving({ webhooks: [webhook(hook.url)], consumers: CONSUMERS }, clock);
    hook.answers(({ body }) => new Response("not now", { status: body.data.name === "first" ? 503 : 200 }));
    for (const name of ["first", "second", "third"]) await gateway.admin("POST", "/admin/keys", { consumer: "acme", name });
    await until(() => hook.all.length === 2);
    expect(hook.all.map(({ body }) => body.data.name)).toEqual(["second", "third"]);
    const listed = async () =>
      (await (await gateway.admin("GET", "/admin/webhooks/alerts/deliveries?state=waiting")).json()) as {
        items: { id: string; tries: number; status: number; answer: string; error: string; nextAt: string }[];
      };
    const [waiting] = (await listed()).items;
    expect(waiting).toMatchObject({ tries: 1, status: 503, answer: "not now", error: "answers 503" });
    // The hour in which it is down, minute by minute.
    for (let minute = 0; minute < 60; minute++) {
      clock.advance(60_000);
      const [next] = (await listed()).items;
      if (next !== undefined && Date.parse(next.nextAt) <= clock.wall())
        await until(async () => ((await listed()).items[0]?.tries ?? 9) > next.tries);
    }
    expect((await listed()).items[0]?.tries).toBe(4);
    hook.answers(200);
    clock.advance(2 * 3_600_000 * 1.1);
    await until(() => hook.all.length === 3);
    const [, , last] = hook.all;
    expect(last?.id).toBe(waiting?.id as string);
    expect(hook.tries.filter((id) => id === waiting?.id).length).toBe(5);
    // Signed anew each time, with the time of the try.
    expect(Number(last?.headers["webhook-timestamp"])).toBe(Math.floor(clock.wall() / 1000));
    expect(new Webhook(WEBHOOK_SECRET).sign(last?.id ?? "", new Date(clock.wall()), last?.text ?? "")).toBe(
      last?.headers["webhook-signature"] ?? "",
    );
    await gateway.stop();
  });

  test("is told what waited when the gateway was stopped, in its order", async () => {
    using home = folder();
    using hook = receiver();
    const config = { webhooks: [webhook(hook.url)], consumers: CONSUMERS };
    const first = Promise.withResolvers<Response>();
    hook.answers(() => first.promise);
    const path = `${home.path}/sluice.db`;
    const one = serving(config, new FakeClock(Date.now()), path);
    for (const name of ["a", "b", "c"]) await one.admin("POST", "/admin/keys", { consumer: "acme", name });
    await until(() => hook.tries.length === 1);
    await one.stop();
    first.resolve(new Response(null, { status: 503 }));
    hook.answers(200);
    const other = serving(config, new FakeClock(Date.now()), path);
    await until(() => hook.all.length === 3);
    expect(hook.all.map(({ body }) => body.data.name)).toEqual(["a", "b", "c"]);
    // The first was under way: at least once, by the same id.
    expect(hook.tries[0]).toBe(hook.tries[1] as string);
    await other.stop();
  });

  test("whose receiver answers 410 is left alone until the file is read again", async () => {
    using hook = receiver();
    const gateway = serving({ webhooks: [webhook(hook.url)], consumers: CONSUMERS });
    hook.answers(410);
    await gateway.admin("POST", "/admin/keys", { consumer: "acme" });
    const state = async () =>
      ((await (await gateway.admin("GET", "/admin/webhooks/alerts")).json()) as { state: { isGone: boolean } }).state;
    await until(async () => (await state()).isGone);
    await gateway.admin("POST", "/admin/keys", { consumer: "acme" });
    const { warnings } = (await (await gateway.admin("GET", "/admin/health")).json()) as { warnings: { code: string }[] };
    expect(warnings.map(({ code }) => code)).toContain("webhookGone");
    expect(hook.tries.length).toBe(1);
    await gateway.stop();
  });

  test("counts a redirect as a failure, and keeps 4 KB of an answer", async () => {
    using hook = receiver();
    using other = receiver();
    const gateway = serving({ webhooks: [webhook(hook.url)], consumers: CONSUMERS });
    hook.answers(() => new Response("x".repeat(100_000), { status: 307, headers: { location: other.url } }));
    await gateway.admin("POST", "/admin/keys", { consumer: "acme" });
    const items = async () =>
      (
        (await (await gateway.admin("GET", "/admin/webhooks/alerts/deliveries")).json()) as {
          items: { error: string | null; answer: string }[];
        }
      ).items;
    await until(async () => (await items())[0]?.error !== null);
    expect((await items())[0]).toMatchObject({ error: "answers 307: redirects are not followed", answer: "x".repeat(4096) });
    expect(other.tries).toEqual([]);
    await gateway.stop();
  });
});
