import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { folder, type Running, start } from "../support/process.ts";
import { redisServer } from "../support/redis.ts";

const KEYS = { ann: "a-key-for-activities-ann-01", bob: "a-key-for-activities-bob-01" };
const CONFIG = {
  logging: { accessLog: false },
  tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
  consumers: Object.entries(KEYS).map(([id, key]) => ({ id, tier: "plain", keys: [key] })),
  activities: {},
};
const insert = (id: number) => ({ operation: "insert", table: "t", colNames: ["id"], colTypes: ["INTEGER"], colValues: [id] });

interface Sent {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function send(gateway: { url: string }, idempotencyKey: string, ids: readonly number[], apiKey = KEYS.ann): Promise<Sent> {
  const answer = await fetch(`${gateway.url}/api/activities`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": apiKey, "idempotency-key": idempotencyKey },
    body: JSON.stringify({ activities: ids.map(insert) }),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

/** Gives the rows of the table when nothing waits any more. */
async function rowsOf(gateway: Running, file = join(gateway.folder, "data/activities.db")): Promise<number[]> {
  for (;;) {
    const state = (await (await gateway.admin("GET", "/admin/activities")).json()) as { backlog: { activities: number } };
    if (state.backlog.activities === 0) break;
    await Bun.sleep(10);
  }
  using database = new Database(file, { readonly: true });
  return (database.query("SELECT id FROM t ORDER BY rowid").all() as { id: number }[]).map(({ id }) => id);
}

describe("an Idempotency-Key", () => {
  test("makes a batch take effect once, however often it is sent; another body under it is refused, another caller's is another's", async () => {
    using home = folder();
    await using gateway = await start({ config: CONFIG, cwd: home.path });
    const first = await send(gateway, "order-1", [1, 2]);
    expect(first).toEqual({ status: 202, body: { message: "ok", id: expect.any(String), accepted: 2 } });
    expect(await send(gateway, "order-1", [1, 2])).toEqual(first);
    const parallel = await Promise.all(Array.from({ length: 20 }, () => send(gateway, "order-2", [3])));
    expect(new Set(parallel.map(({ status, body }) => `${status} ${body.id}`)).size).toBe(1);
    expect(await send(gateway, "order-1", [1])).toMatchObject({
      status: 422,
      body: { code: "validationFailed", detail: "This Idempotency-Key was used for another batch: take a new one." },
    });
    expect((await send(gateway, "order-1", [4], KEYS.bob)).status).toBe(202);
    expect(await send(gateway, "", [5])).toMatchObject({ status: 400, body: { detail: "Idempotency-Key must have 1 to 255 characters." } });
    expect((await send(gateway, "x".repeat(256), [5])).status).toBe(400);
    expect((await send(gateway, "x".repeat(255), [5])).status).toBe(202);
    expect(await rowsOf(gateway)).toEqual([1, 2, 3, 4, 5]);
    // What was refused was not put under the key.
    const bad = await fetch(`${gateway.url}/api/activities`, {
      method: "POST",
      headers: { "x-api-key": KEYS.ann, "idempotency-key": "order-3" },
      body: "{}",
    });
    expect([bad.status, (await send(gateway, "order-3", [6])).status]).toEqual([422, 202]);
    await gateway.stop();
    await using known = await start({ config: CONFIG, cwd: home.path });
    expect(await send(known, "order-1", [1, 2])).toEqual(first);
    expect(await rowsOf(known)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("makes it safe to send again what was lost when the gateway was killed", async () => {
    using home = folder();
    let gateway = await start({ config: CONFIG, cwd: home.path });
    let isOver = false;
    let sent = 0;
    const user = async (which: number): Promise<void> => {
      for (let i = 0; !isOver || i === 0; i++) {
        const id = which * 100_000 + i;
        for (;;) {
          const answer = await send(gateway, `batch ${id}`, [id, id + 50_000]).catch(() => null);
          if (answer?.status === 202) break;
          await Bun.sleep(10);
        }
        sent++;
      }
    };
    const users = Promise.all([1, 2, 3, 4, 5, 6].map(user));
    for (let kills = 0; kills < 5; kills++) {
      await Bun.sleep(200);
      await gateway.stop("SIGKILL");
      gateway = await start({ config: CONFIG, cwd: home.path });
    }
    isOver = true;
    await users;
    const rows = await rowsOf(gateway);
    expect([rows.length, new Set(rows).size]).toEqual([2 * sent, 2 * sent]);
    await gateway[Symbol.asyncDispose]();
  }, 60_000);

  test("is known to all instances that share a queue in Redis", async () => {
    await using redis = await redisServer();
    const config = { ...CONFIG, redis: { url: redis.url, timeout: "500ms" } };
    await using one = await start({ config });
    await using two = await start({ config: { ...config, activities: { path: join(one.folder, "data/activities.db") } } });
    const first = await send(one, "order-1", [1, 2]);
    expect(first.status).toBe(202);
    expect(await send(two, "order-1", [1, 2])).toEqual(first);
    expect((await send(two, "order-1", [3])).status).toBe(422);
    expect(await rowsOf(one)).toEqual([1, 2]);
  });
});
