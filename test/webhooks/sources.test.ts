// What occurrences mean for webhooks, of those that are hard to bring about.
import { expect, test } from "bun:test";
import { Value } from "@sinclair/typebox/value";
import type { HealthState } from "../../src/health/health.ts";
import { openStorage } from "../../src/storage/open.ts";
import { type Occurrence, Occurrences } from "../../src/telemetry/occurrences.ts";
import { Deliveries } from "../../src/webhooks/deliveries.ts";
import { EVENT_TYPES } from "../../src/webhooks/event-types.ts";
import { type WebhookEvent, WebhookEvents } from "../../src/webhooks/events.ts";
import { ofKeeper } from "../../src/webhooks/sources.ts";
import { SinkWatch } from "../../src/webhooks/watches.ts";
import { FakeClock, START } from "../support/clock.ts";

/** What is told of these occurrences, in their order. */
function toldOf(...all: readonly Occurrence[]): WebhookEvent[] {
  const told: WebhookEvent[] = [];
  const occurrences = new Occurrences();
  occurrences.subscribe(ofKeeper({ clock: new FakeClock(), file: null, tell: (event) => told.push(event) }));
  for (const each of all) occurrences.emit(each);
  for (const { type, data } of told) expect([type, Value.Check(EVENT_TYPES[type].data, { instance: "x", ...data })]).toEqual([type, true]);
  return told;
}

const failing = (why: string | null): Occurrence => ({ type: "certificateFailing", name: "example.com", why, nextAt: START });

test("a certificate is told when it fails, not at each try, and when another takes its place", () => {
  const ordered: Occurrence = { type: "certificateOrdered", host: "example.com", endsAt: START, renewsAt: START };
  const replaced: Occurrence = { type: "certificateReplaced", place: "cert.pem", names: ["a.example.com"], endsAt: START };
  const told = toldOf(failing("refused"), failing("refused"), failing("away"), failing(null), ordered, failing("refused"), replaced);
  expect(told.map(({ type }) => type)).toEqual([
    ...["certificate.failing", "certificate.failing", "certificate.renewed", "certificate.failing", "certificate.renewed"],
  ] as never);
});

test("the end of a status' time has one name on all instances, and what another has decided is not told", () => {
  const normal: HealthState = { status: "NORMAL", since: START, by: "ttl", reason: null, until: null, changes: 2 };
  const degraded: HealthState = { status: "DEGRADED", since: START, by: "ops", reason: "slow", until: START + 1000, changes: 1 };
  const [own, ended, ...others] = toldOf(
    { type: "health", before: normal, after: degraded, origin: "here" },
    { type: "health", before: degraded, after: normal, origin: "here" },
    { type: "health", before: degraded, after: normal, origin: "instance" },
  );
  expect([own?.shared, ended?.shared?.name, others]).toEqual([undefined, `health:${START + 1000}`, []]);
});

test("a sink that is far behind is told once, and again only after it had caught up", async () => {
  const storage = openStorage(":memory:");
  const clock = new FakeClock();
  let lag = 0;
  const told: WebhookEvent[] = [];
  const hook = { name: "a", url: "", secret: "", events: ["sink.lagging"], enabled: true, isFromApi: false };
  const deliveries = new Deliveries(storage);
  const events = new WebhookEvents({ deliveries, clock, instance: "x", webhooks: () => [hook], count: () => {}, emit: () => {} });
  const stats = async () => ({ sinks: [{ name: "sqlite", state: "following", waiting: 7, lag }] });
  // No more of the thread's answer is read.
  const activities = () => ({ stats }) as never;
  const watch = new SinkWatch({ clock, events, activities, tell: (event) => told.push(event) });
  for (const next of [0, 599_000, 601_000, 700_000, 0, 900_000]) {
    lag = next;
    await watch.look();
  }
  expect(told.map(({ data }) => (data as { lag: number }).lag)).toEqual([601, 900]);
  for (const event of told) events.put(event);
  // Within an hour it is told once.
  expect(deliveries.waiting("a")).toBe(1);
  storage.close();
});
