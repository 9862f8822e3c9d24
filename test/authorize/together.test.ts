// Those who ask the same question share one, over a client without sockets: what comes when is the test's to say.
import { expect, test } from "bun:test";
import { Authorize } from "../../src/authorize/gate.ts";
import type { RouteAuthorize } from "../../src/authorize/route-authorize.ts";
import type { Stop } from "../../src/exchange/line.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import type { OccurrenceOf } from "../../src/telemetry/occurrences.ts";
import { FakeClock } from "../support/clock.ts";
import { exchangeOn, FakeClient, routeOf, turn } from "../support/exchange.ts";

function asking(authorize: object = {}) {
  const clock = new FakeClock();
  const client = new FakeClient();
  const told: (string | null)[] = [];
  const route = routeOf({ authorize: { url: "http://127.0.0.1:1/may", cacheFor: "1m", timeout: "60s", ...authorize } });
  const gates = new Authorize({
    ...{ clock, client, metrics: new Metrics() },
    emit: (occurrence) => void told.push((occurrence as OccurrenceOf<"authorize">).why),
  });
  const gate = gates.gateFor(route.name, route.authorize as RouteAuthorize);
  return {
    ...{ clock, client, told },
    /** Lets a request come to the gate. */
    come: (cookie = "") => {
      const exchange = exchangeOn(route, clock, { headers: { Cookie: cookie } });
      const stop = gate(exchange);
      return { exchange, isAtOnce: !(stop instanceof Promise), stop: Promise.resolve(stop) };
    },
  };
}
const statusOf = (stop: Stop | null): number =>
  stop === null ? 200 : "code" in stop ? stop.status : stop.kind === "forwarded" ? stop.response.status : 0;

test("one question is for all who ask the same meanwhile, and its answer needs no waiting afterwards", async () => {
  const it = asking();
  const all = [it.come(), it.come(), it.come(), it.come("other=1")];
  expect(it.client.calls).toHaveLength(2);
  it.client.calls[0]?.answer(200, { "X-User": "alice" });
  it.client.calls[1]?.answer(403);
  expect((await Promise.all(all.map(({ stop }) => stop))).map(statusOf)).toEqual([200, 200, 200, 403]);
  expect(all.map(({ exchange }) => exchange.granted?.get("x-user") ?? null)).toEqual(["alice", "alice", "alice", null]);
  const later = it.come();
  expect([later.isAtOnce, statusOf(await later.stop), later.exchange.granted?.get("x-user")]).toEqual([true, 200, "alice"]);
  expect(it.client.calls).toHaveLength(2);
});

test("who leaves holds up nobody, and the question is given up with the last of them", async () => {
  const it = asking();
  const [first, second] = [it.come(), it.come()];
  first.exchange.leave();
  expect(it.client.calls[0]?.isOver).toBe(false);
  it.client.calls[0]?.answer(200);
  expect(statusOf(await second.stop)).toBe(200);
  await first.stop;

  const [third, fourth] = [it.come("b=1"), it.come("b=1")];
  third.exchange.leave();
  fourth.exchange.leave();
  expect(it.client.calls[1]?.isOver).toBe(true);
  // Whoever comes in the same turn asks anew.
  const fifth = it.come("b=1");
  expect(it.client.calls).toHaveLength(3);
  await Promise.all([third.stop, fourth.stop]);
  it.client.calls[2]?.answer(204);
  expect(statusOf(await fifth.stop)).toBe(200);
  // Nobody was there to hear of a failure.
  expect(it.told).toEqual([]);
});

test("an answer for one alone is given to one; a failure is everybody's, and is not kept", async () => {
  const it = asking();
  const all = [it.come(), it.come(), it.come()];
  it.client.calls[0]?.answer(302, { Location: "/in", "Set-Cookie": "state=1" });
  await all[0]?.stop;
  await turn();
  expect(it.client.calls).toHaveLength(3);
  for (const call of it.client.calls.slice(1)) call.answer(401);
  expect((await Promise.all(all.map(({ stop }) => stop))).map(statusOf)).toEqual([302, 401, 401]);

  const failing = [it.come(), it.come(), it.come()];
  it.client.calls[3]?.fail("reset");
  expect((await Promise.all(failing.map(({ stop }) => stop))).map(statusOf)).toEqual([503, 503, 503]);
  expect(it.client.calls).toHaveLength(4);
  it.come();
  expect(it.client.calls).toHaveLength(5);
});

test("without cacheFor each request asks for itself", async () => {
  const it = asking({ cacheFor: null });
  const all = [it.come(), it.come()];
  it.client.calls[0]?.answer(200);
  it.client.calls[1]?.answer(403);
  expect((await Promise.all(all.map(({ stop }) => stop))).map(statusOf)).toEqual([200, 403]);
  expect(it.come().isAtOnce).toBe(false);
});

test("a connection that had been closed while it was idle is no failure; a new one that breaks is", async () => {
  const it = asking();
  const one = it.come();
  it.client.calls[0]?.fail("reset", { isStale: true });
  const again = await it.client.next();
  expect([it.client.calls.length, again.request.reuse]).toEqual([2, "new"]);
  again.fail("reset");
  expect(statusOf(await one.stop)).toBe(503);
});

test("failures are told once a minute, and that they are over", async () => {
  const it = asking({ cacheFor: null });
  const ask = async (status: number) => {
    const { stop } = it.come();
    it.client.calls.at(-1)?.answer(status);
    await stop;
    await turn();
  };
  for (const status of [500, 502, 200, 500]) await ask(status);
  expect(it.told).toEqual(["answers 500", null]);
  it.clock.time += 60_000;
  for (const status of [503, 503, 403, 200]) await ask(status);
  expect(it.told).toEqual(["answers 500", null, "answers 503", null]);
});
