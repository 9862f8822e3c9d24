import { describe, expect, test } from "bun:test";
import { EventForwarder, readWorkers } from "../../src/events/forwarding.ts";
import { type EventFilter, EventHub, MAX_A_SECOND, MAX_READERS } from "../../src/events/hub.ts";
import type { Bus } from "../../src/shared/bus.ts";
import { FakeClock } from "../support/clock.ts";

const ALL: EventFilter = { types: [], route: null, consumer: null, status: null, sample: 1 };

function listening(filter: Partial<EventFilter> = {}, random = 0.5) {
  const clock = new FakeClock(Date.parse("2026-11-21T10:00:00Z"));
  const hub = new EventHub({ now: clock.wall, random: () => random });
  const seen: string[] = [];
  const state = { isSlow: false, isEnded: false };
  const leave = hub.add(
    {
      filter: { ...ALL, ...filter },
      send: (text) => {
        if (!state.isSlow) seen.push(text);
        return !state.isSlow;
      },
      end: () => {
        state.isEnded = true;
      },
    },
    () => true,
  );
  return { hub, seen, state, leave, clock };
}
const request = (status: number, route = "users", consumer: string | null = "acme") => ({ route, consumer, status });

describe("events", () => {
  test("are told as Server-Sent Events, with their time", () => {
    const { hub, seen, leave } = listening();
    hub.publish("breaker", {}, () => ({ target: "http://a", to: "open" }));
    expect(seen).toEqual(['event: breaker\ndata: {"type":"breaker","at":"2026-11-21T10:00:00.000Z","target":"http://a","to":"open"}\n\n']);
    leave();
    expect(hub.isIdle).toBe(true);
  });

  test("are made for nobody when nobody wants them", () => {
    const { hub, leave } = listening({ types: ["breaker"] });
    hub.publish("request", request(200), () => {
      throw new Error("made in vain");
    });
    leave();
    hub.publish("breaker", {}, () => {
      throw new Error("made in vain");
    });
  });

  test("are chosen by type, route, consumer and status", () => {
    const count = (filter: Partial<EventFilter>) => {
      const { hub, seen, leave } = listening(filter);
      for (const status of [200, 404, 429, 503]) hub.publish("request", request(status), () => ({}));
      hub.publish("request", request(200, "shop", null), () => ({}));
      hub.publish("limit", request(0), () => ({}));
      hub.publish("change", {}, () => ({}));
      leave();
      return seen.length;
    };
    expect(count({})).toBe(7);
    expect(count({ types: ["limit", "change"] })).toBe(2);
    expect(count({ route: "users" })).toBe(5);
    expect(count({ consumer: "acme", types: ["request"] })).toBe(4);
    expect(count({ status: 4 })).toBe(2);
    expect(count({ status: 429 })).toBe(1);
  });

  test("of requests are sampled and bounded, and say how many were left out", () => {
    const { hub, seen, clock, leave } = listening();
    for (let i = 0; i < MAX_A_SECOND + 50; i++) hub.publish("request", request(200), () => ({}));
    expect(seen.length).toBe(MAX_A_SECOND);
    clock.time += 1000;
    hub.publish("request", request(200), () => ({}));
    expect(seen.at(-1)).toContain('"skipped":50');
    hub.publish("request", request(200), () => ({}));
    expect(seen.at(-1)).not.toContain("skipped");
    leave();
    const sampled = listening({ sample: 0.5 });
    sampled.hub.publish("request", request(200), () => ({}));
    expect(sampled.seen).toEqual([]);
    sampled.leave();
  });

  test("drop a reader that is too slow, and end with the gateway", () => {
    const { hub, state } = listening();
    state.isSlow = true;
    hub.publish("change", {}, () => ({}));
    expect([hub.isIdle, hub.dropped, state.isEnded]).toEqual([true, 1, false]);
    const others = Array.from({ length: MAX_READERS }, () => ({ isEnded: false }));
    for (const each of others) hub.add({ filter: ALL, send: () => true, end: () => Object.assign(each, { isEnded: true }) }, () => true);
    expect(hub.isFull).toBe(true);
    hub.close();
    expect([hub.isIdle, others.every(({ isEnded }) => isEnded)]).toEqual([true, true]);
  });
});

test("what happens in a worker reaches the keeper's readers who want it, within the same bound, and with what was left out", async () => {
  const { hub, seen, leave } = listening({ types: ["request"] });
  const other = new EventHub({ now: () => Date.parse("2026-11-21T10:00:00Z"), random: () => 0.5 });
  const [keeper, worker] = busPair();
  readWorkers(hub, keeper);
  new EventForwarder(other, worker);
  await Bun.sleep(0);
  expect(other.isIdle).toBe(false);
  for (let n = 0; n < MAX_A_SECOND + 5; n++) other.publish("request", request(200), () => ({ n }));
  other.publish("breaker", {}, () => ({}));
  while (seen.length < MAX_A_SECOND) await Bun.sleep(5);
  expect(seen[0]).toBe('event: request\ndata: {"type":"request","at":"2026-11-21T10:00:00.000Z","n":0}\n\n');
  expect(seen).toHaveLength(MAX_A_SECOND);
  leave();
  expect(other.isIdle).toBe(true);
  // A reader that comes later is followed as well.
  const late = listening();
  readWorkers(late.hub, keeper);
  expect(other.isIdle).toBe(true);
  const gone = late.hub.add({ filter: ALL, send: () => true, end: () => {} }, () => true);
  expect(other.isIdle).toBe(false);
  gone();
  late.leave();
  expect(other.isIdle).toBe(true);
});

/** Gives the buses of a keeper and a worker that hear each other at once. */
function busPair(): [Bus, Bus] {
  const hearers: [Map<string, (what: never, from: string) => unknown>, Map<string, (what: never, from: string) => unknown>] = [
    new Map(),
    new Map(),
  ];
  const answerers = new Map<string, (what: never, from: string) => unknown>();
  const busOf = (at: 0 | 1): Bus => ({
    ...{ role: at === 0 ? "keeper" : "worker", self: at === 0 ? "keeper" : "1" },
    tell: (topic, what) => void hearers[at === 0 ? 1 : 0].get(topic)?.(what as never, ""),
    hear: (topic, hearer) => void hearers[at].set(topic, hearer as never),
    askAll: async () => [],
    askKeeper: async <T>(topic: string, what: unknown) => (await answerers.get(topic)?.(what as never, "1")) as T,
    answer: (topic, answerer) => void answerers.set(topic, answerer as never),
  });
  return [busOf(0), busOf(1)];
}
