import { describe, expect, test } from "bun:test";
import { CellBook } from "../../src/shared/cell-book.ts";
import { CellFolder } from "../../src/shared/cell-folder.ts";
import { CellSums } from "../../src/shared/cell-sums.ts";
import { merged } from "../../src/telemetry/merging.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { counter, gauge, single } from "../../src/values/family.ts";
import { folder } from "../support/process.ts";

const of = (value: number, labels: Record<string, string> = {}) => ({ labels, value });

test("metrics of states are added up, or the greatest, the least, the workers' or the keeper's alone, for each of their labels", () => {
  const told = [[of(1, { a: "x" })], [of(2, { a: "x" }), of(5, { a: "y" })], [of(3, { a: "x" }), of(Number.NaN, { a: "y" })]];
  expect(merged("sum", told)).toEqual([of(6, { a: "x" }), of(5, { a: "y" })]);
  expect(merged("max", told)).toEqual([of(3, { a: "x" }), of(5, { a: "y" })]);
  expect(merged("min", told)).toEqual([of(1, { a: "x" }), of(5, { a: "y" })]);
  expect(merged("workers", told)).toEqual([of(5, { a: "x" }), of(5, { a: "y" })]);
  expect(merged("keeper", told)).toEqual([of(1, { a: "x" })]);
});

describe("the keeper's metrics", () => {
  /** A keeper and two workers that count in one folder. */
  function processes(database: string) {
    const cells = new CellFolder(database);
    const writers = ["1", "2", "keeper"].map((name) => cells.writer("run", name));
    const [first, second] = writers
      .slice(0, 2)
      .map((writer, i) => new Metrics({ book: new CellBook(writer), self: String(i + 1), sums: null, ask: async () => [] })) as [
      Metrics,
      Metrics,
    ];
    const keeper = new Metrics({
      ...{ book: new CellBook(writers[2] ?? null), self: "keeper", sums: new CellSums(cells, "run") },
      // Over the bus it is JSON.
      ask: async () => JSON.parse(JSON.stringify(await Promise.all([first.told(), second.told()]))),
    });
    return { first, second, keeper, close: () => writers.forEach((writer) => void writer.close()) };
  }
  const samplesOf = (text: string): Map<string, string> =>
    new Map(
      text
        .split("\n")
        .flatMap((line) => (line.startsWith("#") ? [] : [[line.slice(0, line.lastIndexOf(" ")), line.slice(line.lastIndexOf(" ") + 1)]])),
    );

  test("tell the sums of all, with latencies and exemplars, what is counted elsewhere, and of states what stands for all", async () => {
    using root = folder();
    const { first, second, keeper, close } = processes(`${root.path}/sluice.db`);
    const state = { spans: 2, open: 4 };
    for (const [i, metrics] of [first, second, keeper].entries())
      metrics.show([
        counter("spans_total", "Spans.", () => single(i === 0 ? state.spans : 1)),
        gauge("connections", "Connections.", () => single(i === 2 ? 100 : state.open), "workers"),
        gauge("queue", "Queue.", () => single(i)),
      ]);
    first.of("users").observe("GET", 200, 3, null);
    first.of("users").observe("GET", 200, 3000, { isSampled: true, traceId: "0af7651916cd43dd8448eb211c80319c" } as never);
    second.of("users").observe("POST", 503, 7, null);
    second.retries.add({ route: "users" }, 3);
    first.retries.add({ route: "users" });
    const samples = samplesOf((await keeper.text(null)).body);
    const wanted: Record<string, string> = {
      'http_requests_total{route="users",method="GET",status="200"}': "2",
      'http_requests_total{route="users",method="POST",status="503"}': "1",
      'http_request_latency_ms_bucket{route="users",le="10"}': "2",
      'http_request_latency_ms_sum{route="users"}': "3010",
      'sluice_upstream_retries_total{route="users"}': "4",
      spans_total: "4",
      connections: "8",
      queue: "2",
    };
    for (const [name, value] of Object.entries(wanted)) expect([name, samples.get(name)]).toEqual([name, value]);
    expect((await keeper.text("application/openmetrics-text")).body).toContain('# {trace_id="0af7651916cd43dd8448eb211c80319c"} 3000');
    expect(keeper.byRoute()).toMatchObject([{ name: "users", requests: 3, serverErrors: 1 }]);
    // It is asked twice, and counts once; what begins anew is added to what there was.
    state.spans = 1;
    expect(samplesOf((await keeper.text(null)).body).get("spans_total")).toBe("5");
    expect([first.ownRequests, second.ownRequests, keeper.ownRequests]).toEqual([2, 1, 0]);
    close();
  });

  test("lose nothing of a worker that has no room for files", async () => {
    using root = folder();
    const { first, keeper, close } = processes(`${root.path}/sluice.db`);
    close();
    const crowded = new Metrics({
      ...{ book: new CellBook(new CellFolder(`${root.path}/missing/\0/sluice.db`).writer("run", "3")), self: "3", sums: null },
      ask: async () => [],
    });
    crowded.of("users").observe("GET", 200, 3, null);
    first.of("users").observe("GET", 200, 3, null);
    expect(crowded.byRoute()).toMatchObject([{ requests: 1 }]);
    const { counts } = await crowded.told();
    expect(counts.find(([key]) => key.startsWith('["http_requests_total","users"'))?.[1]).toEqual([1]);
    expect(keeper.byRoute()).toMatchObject([{ requests: 1 }]);
  });
});
