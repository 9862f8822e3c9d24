import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { systemClock } from "../../../src/values/clock.ts";
import { BigQueryServer } from "../../support/bigquery.ts";
import { folder, freePort, type Running, run, start } from "../../support/process.ts";

const insert = (table: string, id: number) => ({ operation: "insert", table, colNames: ["id"], colTypes: ["INTEGER"], colValues: [id] });
const post = async (gateway: Running, body: unknown): Promise<number> => {
  const answer = await fetch(`${gateway.url}/api/activities`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  await answer.text();
  return answer.status;
};

interface State {
  readonly queue: { readonly kind: string; readonly trouble: string | null };
  readonly trouble: string | null;
  readonly sinks: readonly {
    name: string;
    type: string;
    state: string;
    applied: number;
    failed: number;
    waiting: number;
    lastError: { message: string } | null;
  }[];
  readonly items: readonly { id: string; error: string; state: string }[];
}
const state = async (gateway: Running, query = ""): Promise<State> =>
  (await (await gateway.admin("GET", `/admin/activities${query}`)).json()) as State;
async function until(gateway: Running, isSo: (state: State) => boolean): Promise<State> {
  for (;;) {
    const now = await state(gateway);
    if (isSo(now)) return now;
    await Bun.sleep(20);
  }
}

test("the same batches go to a warehouse and to tables here; the one that is away is told of everywhere, and gets all of it later", async () => {
  using home = folder();
  const server = await BigQueryServer.start({ clock: systemClock });
  try {
    const credentials = join(home.path, "key.json");
    await Bun.write(credentials, await server.key());
    const warehouse = {
      type: "bigquery",
      name: "warehouse",
      project: server.project,
      dataset: server.dataset,
      endpoint: server.url,
      credentials,
    };
    const config = {
      logging: { accessLog: false },
      tiers: { anonymous: { limits: [] } },
      activities: { auth: "none", sinks: [warehouse, { type: "sqlite", path: "tables.db" }], baseDelay: "50ms", maxDelay: "100ms" },
    };
    await using gateway = await start({ config, cwd: home.path });
    expect(
      await post(gateway, {
        activities: [
          insert("t", 1),
          insert("t", 2),
          { operation: "delete", table: "gone", oldValue: { colNames: ["id"], colTypes: ["INTEGER"], colValues: [1] } },
        ],
      }),
    ).toBe(202);
    expect(await post(gateway, { activities: [] })).toBe(422);
    const settled = await until(gateway, ({ sinks }) => sinks.every(({ waiting }) => waiting === 0));
    expect(settled.queue).toEqual({ kind: "embedded", trouble: null });
    expect(settled.sinks).toMatchObject([
      { name: "warehouse", type: "bigquery", delivery: "atLeastOnce", state: "following", applied: 2, failed: 1, lastError: null },
      { name: "sqlite", type: "sqlite", delivery: "once", state: "following", applied: 2, failed: 1 },
    ]);
    expect(server.rows("t").map(({ id, _op }) => [id, _op])).toEqual([
      ["1", "insert"],
      ["2", "insert"],
    ]);
    while (server.rows("activity_log").length < 4) await Bun.sleep(20);
    expect(
      server
        .rows("activity_log")
        .map(({ state }) => state)
        .sort(),
    ).toEqual(["applied", "applied", "failed", "rejected"]);
    using tables = new Database(join(home.path, "tables.db"), { readonly: true });
    expect(tables.query("SELECT id FROM t").all()).toEqual([{ id: 1 }, { id: 2 }]);
    // What failed is told for each sink.
    expect((await state(gateway)).items).toMatchObject([{ state: "failed", error: "there is no table gone" }]);
    const [failed] = (await state(gateway, "?sink=sqlite")).items;
    expect(failed).toMatchObject({ state: "failed", error: "there is no table gone" });
    const nobody = await gateway.admin("GET", "/admin/activities?sink=nobody");
    expect([nobody.status, await nobody.json()]).toMatchObject([
      404,
      { detail: 'There is no sink "nobody": there are warehouse, sqlite.' },
    ]);

    server.misbehave("tabledata.insertAll", { status: 503, reason: "backendError" }, 1_000_000);
    expect(await post(gateway, { activities: [insert("t", 3)] })).toBe(202);
    const away = await until(gateway, ({ sinks }) => sinks[0]?.state === "away");
    expect(away.sinks).toMatchObject([
      { waiting: 1, lastError: { message: expect.any(String) } },
      { waiting: 0, applied: 3 },
    ]);
    const ready = await fetch(`${gateway.url}/ready`);
    expect([ready.status, await ready.json()]).toMatchObject([
      200,
      {
        components: { queue: "ok", "sink warehouse": "away", "sink sqlite": "ok" },
        warnings: [{ code: "sinkAway", detail: expect.stringContaining("warehouse: ") }],
      },
    ]);
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
    expect(metrics).toContain('sluice_activities_sink_up{sink="warehouse"} 0');
    expect(metrics).toContain('sluice_activities_sink_waiting{sink="warehouse"} 1');
    expect(metrics).toContain('sluice_activities_sink_total{sink="sqlite",result="applied"} 3');
    server.behave();
    await until(gateway, ({ sinks }) => sinks.every(({ waiting, state }) => waiting === 0 && state === "following"));
    expect(await (await fetch(`${gateway.url}/ready`)).json()).toMatchObject({
      components: { "sink warehouse": "ok" },
      warnings: [],
    });
    expect(server.rows("t").length).toBe(3);

    // A replay goes to the sink that it is meant for.
    expect(await post(gateway, { activities: [insert("gone", 1)] })).toBe(202);
    await until(gateway, ({ sinks }) => sinks.every(({ waiting }) => waiting === 0));
    const replayed = await gateway.admin("POST", `/admin/activities/${failed?.id}/replay?sink=sqlite`);
    expect([replayed.status, await replayed.json()]).toEqual([202, { replayed: 1 }]);
    await until(gateway, ({ sinks }) => sinks.every(({ waiting }) => waiting === 0));
    expect(tables.query("SELECT id FROM gone").all()).toEqual([]);
    expect([server.rows("gone").map(({ _op }) => _op), (await state(gateway)).items.length]).toEqual([["insert"], 1]);
    expect((await gateway.admin("POST", `/admin/activities/${failed?.id}/replay?sink=nobody`)).status).toBe(404);
  } finally {
    await server[Symbol.asyncDispose]();
  }
});

test("a queue that was away from the start is told as away until it is back, whatever is refused meanwhile", async () => {
  const config = {
    logging: { accessLog: false },
    tiers: { anonymous: { limits: [] } },
    redis: { url: `redis://127.0.0.1:${freePort()}` },
    activities: { auth: "none" },
  };
  await using gateway = await start({ config });
  const queue = async () => ((await (await fetch(`${gateway.url}/ready`)).json()) as { components: { queue: string } }).components.queue;
  expect(await state(gateway)).toMatchObject({ queue: { kind: "redis", trouble: expect.stringContaining("Redis") } });
  expect([await queue(), await post(gateway, { activities: [] }), await queue()]).toEqual(["degraded", 422, "degraded"]);
  expect(await post(gateway, { activities: [insert("t", 1)] })).toBe(503);
});

test("what can't be meant of queue and sinks is told with its place", async () => {
  using home = folder();
  const told = async (activities: object): Promise<string> => {
    await Bun.write(join(home.path, "config.json"), JSON.stringify({ activities: { auth: "none", ...activities } }));
    const { stdout, stderr } = await run(["check", "config.json"], { cwd: home.path });
    return stdout + stderr;
  };
  const url = "postgres://a:b@127.0.0.1/x";
  const cases: readonly (readonly [object, string])[] = [
    [{ sinks: [] }, "activities.sinks: "],
    [{ sinks: [{ type: "mysql" }] }, 'activities.sinks[0].type: must be one of "sqlite", "postgres", "bigquery", "kafka", got "mysql"'],
    [
      { sinks: [{ type: "sqlite" }, { type: "sqlite", path: "b.db" }] },
      'activities.sinks[1]: is a second sink of the name sqlite: give it another "name"',
    ],
    [{ sinks: [{ type: "sqlite" }, { type: "sqlite", name: "b" }] }, "activities.sinks[1]: writes to the same file as another sink"],
    [{ sinks: [{ type: "sqlite", path: "data/sluice.db" }] }, "activities.sinks[0].path: leads to the gateway's own database"],
    [{ sinks: [{ type: "postgres", url, schema: "pg_x" }] }, "activities.sinks[0].schema: is PostgreSQL's own"],
    [
      {
        sinks: [
          { type: "postgres", url },
          { type: "postgres", name: "b", url },
        ],
      },
      "activities.sinks[1]: writes to the same schema as another sink",
    ],
    [{ sinks: [{ type: "postgres", url: "postgres://a:b c@/" }] }, "activities.sinks[0].url: must be a URL such as"],
    [{ sinks: [{ type: "bigquery", project: "p", dataset: "d", every: "5s" }] }, "activities.sinks[0].every: must be at least 1m"],
    [{ sinks: [{ type: "kafka", brokers: ["a"], topic: "t" }] }, "activities.sinks[0].brokers[0]: must be a host with its port"],
    [{ queue: "rabbit" }, 'activities.queue: must be "embedded", or { "kafka": { … } }, got "rabbit"'],
    [{ queue: { kafka: { brokers: ["a:1"], tls: { cert: "a.pem" } } } }, "activities.queue.kafka.tls: needs both cert and key, or neither"],
  ];
  for (const [activities, text] of cases) expect(await told(activities)).toContain(text);
  const warned = { queue: { kafka: { brokers: ["a:1"], sasl: { mechanism: "plain", username: "u", password: "p" } } } };
  await Bun.write(join(home.path, "config.json"), JSON.stringify({ activities: { auth: "none", ...warned } }));
  const check = await run(["check", "config.json"], { cwd: home.path });
  expect(check.stdout + check.stderr).toContain("activities.queue.kafka.sasl: warning: shows the password to whoever listens on the way");
});
