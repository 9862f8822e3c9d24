// What it costs to record a request: CPU time of metrics, usage, access log and traces, each by itself and on and off in one run. `bun test/bench/telemetry.ts`

import { EventHub } from "../../src/events/hub.ts";
import type { Exchange } from "../../src/exchange/exchange.ts";
import { Denials } from "../../src/explain/denials.ts";
import { Recorder } from "../../src/observers/recorder.ts";
import { openStorage } from "../../src/storage/open.ts";
import { Log } from "../../src/telemetry/log.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { Output } from "../../src/telemetry/output.ts";
import { spansOf } from "../../src/telemetry/spans.ts";
import { Tracer } from "../../src/telemetry/trace.ts";
import { Tracing } from "../../src/telemetry/tracing.ts";
import { Usage } from "../../src/usage/usage.ts";
import { systemClock as clock } from "../../src/values/clock.ts";
import { Redactor } from "../../src/values/redact.ts";

const TIMES = 1_000_000;
const nowhere = Bun.file("/dev/null").writer();
const output = new Output({ write: (text) => nowhere.write(text), flush: () => nowhere.flush() });
const log = new Log(
  { output, clock, random: Math.random, redactor: new Redactor(), level: undefined },
  { level: "info", format: "json", accessLog: true, accessLogSample: 1 },
);
const metrics = new Metrics();
const usage = new Usage({ storage: openStorage(":memory:"), clock, hasRecord: () => true });
const current: { accessLog: typeof log.accessLog } = { accessLog: null };
const recorder = new Recorder({
  clock,
  metrics,
  events: new EventHub({ now: Date.now, random: Math.random }),
  denials: new Denials(),
  tracing: new Tracing({ instance: "", random: Math.random, onChange: () => {}, onFault: () => {} }),
  log: null,
  labelOf: (model) => model,
  accessLog: () => current.accessLog,
});
const key = { via: "key", id: "key_01a1fc13a81f75409df063fa429c3263", consumer: { id: "acme", tier: "pro" } };
const endpoint = { name: "users", path: "/api/users", metrics: metrics.of("users") };
const exchange = (trace: unknown = null): Exchange =>
  ({
    id: "01a1fc13-44bd-70f4-8168-12a6e58117b4",
    incoming: { head: { method: "GET" }, isTls: false, isAborted: false },
    path: "/api/users/7",
    status: 200,
    startedAt: clock.now(),
    route: endpoint,
    caller: key,
    holder: key,
    ip: "192.0.2.1",
    target: { url: "http://127.0.0.1:3000", host: "127.0.0.1:3000" },
    attempts: 1,
    trace,
    ...{ model: null, modelUsed: null, tool: null, spending: null, money: 0 },
    notes: { cache: null, refusal: null, authorize: null, trouble: null, grpcStatus: null },
    snapshot: { redactor: new Redactor(), miss: null },
  }) as unknown as Exchange;
const [bare, logged] = [exchange(), exchange()];
const target = { url: "http://127.0.0.1:3000", host: "127.0.0.1:3000" } as never;
const tracer = new Tracer({ sample: 1, random: Math.random });

async function measure(name: string, work: (i: number) => void): Promise<number> {
  for (let i = 0; i < TIMES / 5; i++) work(i);
  await Bun.sleep(30);
  const before = process.cpuUsage();
  for (let i = 0; i < TIMES; i++) {
    work(i);
    // As the timers do, every second of 20,000 requests.
    if (i % 20_000 === 0) {
      usage.flush();
      await Bun.sleep(0);
    }
  }
  await output.end(1000);
  const { user, system } = process.cpuUsage(before);
  const each = (user + system) / TIMES;
  console.log(`${name.padEnd(44)}${each.toFixed(3).padStart(8)} µs`);
  return each;
}

for (let round = 0; round < 2; round++) {
  const off = await measure("nothing", () => {});
  await measure("metrics", (i) => recorder.note(bare, i % 50));
  await measure("usage", () => usage.note("users", key as never, 200, false, 0, 0, "", ""));
  current.accessLog = log.accessLog;
  const on = await measure("metrics, usage, access log", (i) => {
    usage.note("users", key as never, 200, false, 0, 0, "", "");
    recorder.note(logged, i % 50);
  });
  current.accessLog = null;
  await measure("a trace of four spans, up to the exporter", (i) => {
    const trace = tracer.begin(null);
    trace?.enter("identify", i);
    trace?.leave(i);
    trace?.enter("limits", i);
    trace?.leave(i, { "sluice.allowed": true });
    trace?.sends("users", target, 1, "GET", i);
    trace?.answered(200, null, i);
    spansOf(exchange(trace), i, i);
  });
  console.log(`${"on, without off".padEnd(44)}${(on - off).toFixed(3).padStart(8)} µs`);
}
process.exit(0);
