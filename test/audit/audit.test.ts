import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { Audit } from "../../src/audit/audit.ts";
import { openStorage } from "../../src/storage/open.ts";
import { admin, TOKEN } from "../admin/harness.ts";
import { FakeClock } from "../support/clock.ts";
import { folder, start } from "../support/process.ts";

const auditing = (path = ":memory:") => {
  const storage = openStorage(path);
  const clock = new FakeClock();
  return { storage, clock, audit: new Audit({ storage, clock }), [Symbol.dispose]: () => storage.close() };
};
const note = (audit: Audit, n: number) =>
  audit.note({ action: "test.note", subject: `thing ${n}`, before: { n: n - 1 }, after: { n, text: "what it is now" } });

describe("the audit's chain", () => {
  test("names the row in which any byte was changed", () => {
    using it = auditing();
    for (let i = 0; i < 20; i++) it.audit.as({ name: "ops", ip: "203.0.113.9", requestId: `r${i}` }, () => note(it.audit, i));
    expect(it.audit.verify()).toEqual({ rows: 20, broken: null });
    const columns = ["id", "at", "actor", "ip", "action", "subject", "before", "after", "request_id", "hash"];
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.constantFrom(...columns), fc.nat(), (seq, column, at) => {
        const { client } = it.storage;
        const { value } = client.query(`SELECT ${column} AS value FROM audit WHERE seq = ?1`).get(seq) as { value: string | number };
        const place = at % String(value).length;
        const changed =
          typeof value === "number" ? value + 1 : `${value.slice(0, place)}${value[place] === "x" ? "y" : "x"}${value.slice(place + 1)}`;
        client.query(`UPDATE audit SET ${column} = ?1 WHERE seq = ?2`).run(changed, seq);
        expect(it.audit.verify().broken?.seq).toBe(seq);
        client.query(`UPDATE audit SET ${column} = ?1 WHERE seq = ?2`).run(value, seq);
        expect(it.audit.verify().broken).toBeNull();
      }),
      { numRuns: 300 },
    );
  });

  test("finds rows that were taken out, put in or exchanged, and an end that was cut off", () => {
    const spoilt: [string, number][] = [
      ["DELETE FROM audit WHERE seq = 7", 7],
      ["DELETE FROM audit WHERE seq > 15", 16],
      ["UPDATE audit SET seq = 21 WHERE seq = 7", 7],
      ["INSERT INTO audit SELECT 21, id, at, actor, ip, action, subject, before, after, request_id, hash FROM audit WHERE seq = 20", 21],
      ["UPDATE audit SET actor = subject, subject = actor WHERE seq = 9", 9],
      ["DELETE FROM audit_chain", 1],
    ];
    for (const [sql, seq] of spoilt) {
      using it = auditing();
      for (let i = 0; i < 20; i++) note(it.audit, i);
      it.storage.client.run(sql);
      expect([sql, it.audit.verify().broken?.seq]).toEqual([sql, seq]);
    }
  });

  test("can still be verified when old rows were dropped, and finds what is changed then", () => {
    using it = auditing();
    for (let i = 0; i < 20; i++) {
      note(it.audit, i);
      it.clock.time += 1000;
    }
    expect(it.audit.prune(it.clock.time - 5500)).toBe(15);
    expect(it.audit.verify()).toEqual({ rows: 5, broken: null });
    note(it.audit, 21);
    expect(it.audit.verify()).toEqual({ rows: 6, broken: null });
    it.storage.client.run("UPDATE audit SET subject = 'x' WHERE seq = 17");
    expect(it.audit.verify().broken?.seq).toBe(17);
    expect(it.audit.prune(it.clock.time + 1)).toBe(6);
    expect(it.audit.verify()).toEqual({ rows: 0, broken: null });
    note(it.audit, 22);
    expect(it.audit.verify()).toEqual({ rows: 1, broken: null });
  });

  test("of 20,000 rows is verified whole", () => {
    using it = auditing();
    it.storage.client.transaction(() => {
      for (let i = 0; i < 20_000; i++) note(it.audit, i);
    })();
    const from = performance.now();
    expect(it.audit.verify()).toEqual({ rows: 20_000, broken: null });
    console.log(`20,000 audit rows verified in ${Math.round(performance.now() - from)} ms`);
  });

  test("has a change and its row together or neither", () => {
    using it = auditing();
    expect(() =>
      it.audit.change({ action: "test.fail", subject: "x" }, () => {
        it.storage.client.run("INSERT INTO blocks VALUES ('10.0.0.1', '', '', 0, NULL)");
        throw new Error("it did not work");
      }),
    ).toThrow("it did not work");
    expect(it.storage.client.query("SELECT count(*) AS n FROM blocks").get()).toEqual({ n: 0 });
    expect(it.audit.verify()).toEqual({ rows: 0, broken: null });
  });

  test("survives kill -9 in the middle of changes: each is there with its row, or neither is", async () => {
    using home = folder();
    const gateway = await start({ cwd: home.path, config: {} });
    let sent = 0;
    const strands = Array.from({ length: 8 }, async () => {
      try {
        for (;;) {
          const id = `c${sent++}`;
          const answer = await gateway.admin("POST", "/admin/consumers", { id, tier: "free" });
          if (answer.status !== 201) throw new Error(String(answer.status));
        }
      } catch {}
    });
    while (sent < 500) await Bun.sleep(2);
    await gateway.stop("SIGKILL");
    await Promise.all(strands);
    await using again = await start({ cwd: home.path });
    const verified = (await (await again.admin("GET", "/admin/audit/verify")).json()) as { valid: boolean };
    expect(verified.valid).toBe(true);
    using database = new Database(join(home.path, "data", "sluice.db"));
    const consumers = database.query<{ id: string }, []>("SELECT id FROM consumers ORDER BY id").all();
    const rows = database
      .query<{ id: string }, []>("SELECT substr(subject, 10) AS id FROM audit WHERE action = 'consumer.create' ORDER BY id")
      .all();
    expect(consumers.length).toBeGreaterThan(400);
    expect(rows.map(({ id }) => id).sort()).toEqual(consumers.map(({ id }) => id).sort());
  });
});

describe("the admin API", () => {
  test("writes down every change, with who, from where, before and after, and no secret", async () => {
    using gateway = admin();
    await gateway.post("/admin/tiers", { name: "gold", limits: [] });
    await gateway.post("/admin/consumers", { id: "acme", tier: "gold" });
    const made = (await gateway.post("/admin/keys", { consumer: "acme", name: "first" })).json as { id: string; key: string };
    const rotated = (await gateway.post(`/admin/keys/${made.id}/rotate`, {})).json as { key: string };
    await gateway.patch(`/admin/keys/${made.id}`, { name: "second" });
    await gateway.remove(`/admin/keys/${made.id}`);
    await gateway.post("/admin/keys/import", { keys: [{ consumer: "acme", key: "an-imported-key-0123" }] });
    await gateway.post("/admin/health", { status: "DEGRADED", reason: "a test" });
    await gateway.post("/admin/blocks", { ip: "203.0.113.0/24", ttl: "1m" });
    await gateway.remove("/admin/blocks/203.0.113.0%2F24");
    const token = (await gateway.post("/admin/tokens", { name: "ci", role: "viewer" })).json as { id: string; token: string };
    await gateway.remove(`/admin/tokens/${token.id}`);
    await gateway.remove("/admin/cache");
    await gateway.remove("/admin/limits/acme");
    await gateway.remove("/admin/consumers/acme?force=true");
    await gateway.remove("/admin/tiers/gold");
    // What is refused changes nothing and is not written down.
    await gateway.post("/admin/consumers", { id: "nobody", tier: "none" });

    const { json, text } = await gateway.get("/admin/audit?limit=100");
    const items = (
      json.items as { action: string; actor: string; subject: string; requestId: string; before: unknown; after: unknown }[]
    ).reverse();
    expect(items.map(({ action }) => action)).toEqual([
      "tier.create",
      "consumer.create",
      "key.create",
      "key.rotate",
      "key.update",
      "key.revoke",
      "key.import",
      "health.set",
      "block.create",
      "block.delete",
      "token.create",
      "token.revoke",
      "cache.purge",
      "limits.reset",
      "consumer.delete",
      "tier.delete",
    ]);
    expect(new Set(items.map(({ actor }) => actor))).toEqual(new Set(["env"]));
    expect(items[4]).toMatchObject({ subject: `key ${made.id}`, before: { name: "first" }, after: { name: "second" } });
    expect(items.every(({ requestId }) => /^request-\d+$/.test(requestId))).toBe(true);
    for (const secret of [made.key, rotated.key, token.token, TOKEN, "an-imported-key-0123"]) expect(text).not.toContain(secret);
    expect((await gateway.get("/admin/audit/verify")).json).toEqual({ valid: true, rows: items.length, broken: null });
    expect((await gateway.get("/admin/audit?action=key.rotate")).json.items).toHaveLength(1);
    expect((await gateway.get("/admin/audit?subject=consumer%20acme")).json.items).toHaveLength(3);
    expect((await gateway.get("/admin/audit?from=2000-01-01T00:00:00Z&to=2000-01-02T00:00:00Z")).json.items).toEqual([]);
    expect((await gateway.get("/admin/audit?from=yesterday")).status).toBe(422);
    const first = (await gateway.get("/admin/audit?limit=10")).json;
    const second = (await gateway.get(`/admin/audit?limit=10&cursor=${first.nextCursor}`)).json;
    expect([...first.items, ...second.items].map(({ seq }: { seq: number }) => seq)).toEqual(Array.from({ length: 16 }, (_, i) => 16 - i));
    const lines = (await gateway.get("/admin/audit/export")).text.trimEnd().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { seq: number }).seq)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
  });

  test("has tokens with roles, each an actor of its own, shown once and revoked at once", async () => {
    using gateway = admin();
    const make = async (name: string, role: string) =>
      (await gateway.post("/admin/tokens", { name, role })).json as { id: string; token: string };
    const [viewer, operator, other] = [await make("eve", "viewer"), await make("ops", "operator"), await make("root", "admin")];
    const status = async (token: string, method: string, target: string, body?: unknown) =>
      (await gateway.call(target, { method, token, ...(body === undefined ? {} : { body }) })).status;
    const consumer = { id: "c1", tier: "free" };
    expect(await status(viewer.token, "GET", "/admin/consumers")).toBe(200);
    expect(await status(viewer.token, "POST", "/admin/consumers", consumer)).toBe(403);
    expect(await status(viewer.token, "POST", "/admin/health", { status: "NORMAL" })).toBe(403);
    expect(await status(operator.token, "POST", "/admin/health", { status: "DEGRADED" })).toBe(200);
    expect(await status(operator.token, "DELETE", "/admin/cache")).toBe(200);
    expect(await status(operator.token, "POST", "/admin/consumers", consumer)).toBe(403);
    expect(await status(operator.token, "POST", "/admin/tokens", { name: "more", role: "admin" })).toBe(403);
    expect(await status(other.token, "POST", "/admin/consumers", consumer)).toBe(201);
    expect((await gateway.get("/admin/audit?actor=ops")).json.items.map(({ action }: { action: string }) => action)).toEqual([
      "cache.purge",
      "health.set",
    ]);
    expect((await gateway.get("/admin/health")).json.by).toBe("ops");
    const listed = await gateway.get("/admin/tokens");
    expect(listed.json.items.map(({ name, role }: { name: string; role: string }) => `${name} ${role}`).sort()).toEqual([
      "env admin",
      "eve viewer",
      "ops operator",
      "root admin",
    ]);
    expect(listed.text).not.toContain(viewer.token);
    expect((await gateway.post("/admin/tokens", { name: "eve", role: "viewer" })).status).toBe(409);
    expect((await gateway.remove("/admin/tokens/env")).status).toBe(409);
    expect((await gateway.remove(`/admin/tokens/${viewer.id}`)).status).toBe(204);
    expect(await status(viewer.token, "GET", "/admin/consumers")).toBe(401);
  });
});
