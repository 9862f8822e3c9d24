import { describe, expect } from "bun:test";
import { SQL } from "bun";
import { type KafkaBroker, startKafka } from "../../support/kafka.ts";
import { postgresServer } from "../../support/postgres.ts";
import { folder, type Running, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";

const { test } = having("java", "mvn", "postgres");

const configOf = (broker: KafkaBroker, url: string, more: object = {}) => ({
  logging: { level: "warn", accessLog: false },
  tiers: { anonymous: { limits: [] } },
  activities: {
    auth: "none",
    queue: { kafka: { brokers: [broker.address] } },
    sinks: [{ type: "postgres", url }],
    baseDelay: "100ms",
    maxDelay: "1s",
    ...more,
  },
});

const lists = (id: number, name: string) => ({ colNames: ["id", "name"], colTypes: ["INTEGER", "TEXT"], colValues: [id, name] });

/** Posts a batch under a key again and again until it is accepted. Gives the number of times that it was sent. */
async function accepted(urlNow: () => string, key: string, activities: readonly object[]): Promise<number> {
  const body = JSON.stringify({ activities });
  for (let times = 1; ; times++) {
    const answer = await fetch(`${urlNow()}/api/activities`, {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": key },
      body,
      signal: AbortSignal.timeout(15_000),
    }).catch(() => null);
    await answer?.text().catch(() => "");
    if (answer?.status === 202) return times;
    if (answer !== null && answer.status < 500) throw new Error(`answered ${answer.status}`);
    await Bun.sleep(100);
  }
}

interface State {
  readonly queue: { readonly kind: string; readonly trouble: string | null };
  readonly sinks: readonly { readonly waiting: number; readonly state: string }[];
}
const stateOf = async (gateway: Running): Promise<State> => (await (await gateway.admin("GET", "/admin/activities")).json()) as State;

/** Waits until nothing waits. What waits in Kafka is counted once a second: it must be so for longer. */
async function settled(gateway: Running): Promise<void> {
  for (let since = Number.POSITIVE_INFINITY; performance.now() - since < 1500; await Bun.sleep(100)) {
    const state = await stateOf(gateway).catch(() => null);
    const isSo = state?.queue?.trouble === null && state.sinks.every(({ waiting, state }) => waiting === 0 && state === "following");
    since = isSo ? Math.min(since, performance.now()) : Number.POSITIVE_INFINITY;
  }
}

/** One table's activities, as they are sent and as they must be in the end. */
class Source {
  readonly rows = new Map<number, string>();
  /** The activities in the order in which they were accepted: of an insert the row's id, of a delete its negative. */
  readonly order: number[] = [];
  private next = 1;

  constructor(readonly table: string) {}

  batch(size: number): object[] {
    return Array.from({ length: size }, () => {
      const [old] = this.next % 3 === 0 ? this.rows : [];
      if (old !== undefined) {
        this.rows.delete(old[0]);
        this.order.push(-old[0]);
        this.next++;
        return { operation: "delete", table: this.table, oldValue: lists(...old) };
      }
      const id = this.next++;
      this.rows.set(id, `row ${id}`);
      this.order.push(id);
      return { operation: "insert", table: this.table, ...lists(id, `row ${id}`) };
    });
  }
}

async function expectExactly(sources: readonly Source[], url: string): Promise<void> {
  const sql = new SQL({ url, max: 1 });
  try {
    for (const { table, rows, order } of sources) {
      const found = (await sql.unsafe(`SELECT id, name FROM ${table} ORDER BY id`)) as { id: string; name: string }[];
      expect([table, found.map(({ id, name }) => [Number(id), name])]).toEqual([table, [...rows].sort(([a], [b]) => a - b)]);
      const log = (await sql`
        SELECT payload::text AS payload FROM activity_log WHERE payload::jsonb ->> 'table' = ${table} AND NOT is_error ORDER BY seq`) as {
        payload: string;
      }[];
      const inOrder = log.map(({ payload }) => {
        const { operation, colValues, oldValue } = JSON.parse(payload) as {
          operation: string;
          colValues: [number];
          oldValue: { colValues: [number] };
        };
        return operation === "insert" ? colValues[0] : -oldValue.colValues[0];
      });
      expect([table, inOrder.length, inOrder]).toEqual([table, order.length, order]);
    }
    const [total] = (await sql`SELECT count(*)::int AS count, count(*) FILTER (WHERE is_error)::int AS errors FROM activity_log`) as {
      count: number;
      errors: number;
    }[];
    expect(total).toEqual({ count: sources.reduce((sum, { order }) => sum + order.length, 0), errors: 0 });
  } finally {
    await sql.close();
  }
}

describe("activities with Kafka as the queue and PostgreSQL as the sink", () => {
  test("are in the table once and in order, all that were accepted and nothing else, whatever is killed", async () => {
    await using broker = await startKafka();
    await using postgres = await postgresServer();
    using home = folder();
    let gateway = await start({ config: configOf(broker, postgres.url), cwd: home.path });
    try {
      const sources = Array.from({ length: 10 }, (_, i) => new Source(`table_${i}`));
      const BATCH = 200;
      const BATCHES = 100;
      let done = 0;
      let again = 0;
      const sending = Promise.all(
        sources.map(async (source) => {
          for (let i = 0; i < BATCHES; i++) {
            again += (await accepted(() => gateway.url, `${source.table} ${i}`, source.batch(BATCH))) - 1;
            done++;
          }
        }),
      );
      const until = async (share: number): Promise<void> => {
        while (done < share * sources.length * BATCHES) await Bun.sleep(10);
      };
      const killBroker = async (): Promise<void> => {
        await broker.kill();
        await Bun.sleep(1000);
        await broker.start();
      };
      const killGateway = async (): Promise<void> => {
        await gateway.stop("SIGKILL");
        gateway = await start({ config: configOf(broker, postgres.url), cwd: home.path });
      };
      const stopPostgres = async (): Promise<void> => {
        await postgres.stop();
        await Bun.sleep(2000);
        await postgres.start();
      };
      const harm = [
        killGateway,
        killBroker,
        killGateway,
        stopPostgres,
        killBroker,
        killGateway,
        stopPostgres,
        killGateway,
        killBroker,
        killGateway,
      ];
      for (const [i, act] of harm.entries()) {
        await until((i + 1) / (harm.length + 1));
        await act();
      }
      await sending;
      await settled(gateway);
      expect(sources.reduce((sum, { order }) => sum + order.length, 0)).toBe(200_000);
      expect(again).toBeGreaterThan(0);
      await expectExactly(sources, postgres.url);
    } finally {
      await gateway[Symbol.asyncDispose]();
    }
  }, 600_000);

  test("go on within ten seconds when one of two instances is killed, and none is applied twice", async () => {
    await using broker = await startKafka();
    await using postgres = await postgresServer();
    await using one = await start({ config: configOf(broker, postgres.url) });
    await using two = await start({ config: configOf(broker, postgres.url) });
    const sources = Array.from({ length: 24 }, (_, i) => new Source(`shared_${i}`));
    let round = 0;
    const post = async (to: Running): Promise<void> => {
      round++;
      await Promise.all(sources.map((source) => accepted(() => to.url, `${source.table} ${round}`, source.batch(50))));
    };
    const hasApplied = async (each: Running): Promise<boolean> =>
      ((await (await each.admin("GET", "/admin/activities")).json()) as { applied: number }).applied > 0;
    // Until both have their part of the partitions: the group is shared out again when the second one has joined it.
    do {
      for (const to of [one, two, one, two]) await post(to);
      await settled(one);
    } while (!(await hasApplied(one)) || !(await hasApplied(two)));
    const killed = one.stop("SIGKILL");
    await post(two);
    await killed;
    // What was accepted when one had died is in the tables ten seconds later.
    const dead = performance.now();
    await using sql = new SQL({ url: postgres.url, max: 1 });
    const isThere = async (): Promise<boolean> => {
      const [{ count }] = (await sql`SELECT count(*)::int AS count FROM activity_log`) as [{ count: number }];
      return count === sources.reduce((sum, { order }) => sum + order.length, 0);
    };
    while (!(await isThere())) await Bun.sleep(50);
    expect(performance.now() - dead).toBeLessThan(10_000);
    for (let i = 0; i < 5; i++) await post(two);
    await settled(two);
    await expectExactly(sources, postgres.url);
  }, 300_000);

  test("are refused while the broker is away at the start, and taken when it is there; PostgreSQL may come later still", async () => {
    await using broker = await startKafka();
    await using postgres = await postgresServer();
    await broker.stop();
    await postgres.stop();
    await using gateway = await start({ config: configOf(broker, postgres.url) });
    const refused = await fetch(`${gateway.url}/api/activities`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ activities: new Source("late").batch(1) }),
    });
    expect([refused.status, refused.headers.get("retry-after") !== null, await refused.json()]).toMatchObject([
      503,
      true,
      { code: "queueUnavailable" },
    ]);
    const ready = (await (await fetch(`${gateway.url}/ready`)).json()) as { components: Record<string, string> };
    expect([(await fetch(`${gateway.url}/ready`)).status, ready.components.queue]).toEqual([200, "degraded"]);
    await broker.start();
    const source = new Source("late");
    await accepted(() => gateway.url, "first", source.batch(500));
    for (;;) {
      const { sinks } = await stateOf(gateway);
      if (sinks[0]?.state === "away") break;
      await Bun.sleep(50);
    }
    const away = (await (await gateway.admin("GET", "/admin/activities")).json()) as object;
    expect(away).toMatchObject({ items: [], itemsTrouble: expect.stringContaining("PostgreSQL at 127.0.0.1") });
    const now = (await (await fetch(`${gateway.url}/ready`)).json()) as { components: Record<string, string> };
    expect(now.components).toMatchObject({ queue: "ok", "sink postgres": "away" });
    expect(await (await fetch(`${gateway.url}/metrics`)).text()).toContain('sluice_activities_sink_up{sink="postgres"} 0');
    await postgres.start();
    await settled(gateway);
    await expectExactly([source], postgres.url);
  }, 300_000);
});
