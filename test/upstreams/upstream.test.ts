import { describe, expect, test } from "bun:test";
import { fillIn } from "../../src/schema/fill-in.ts";
import { UpstreamConfig } from "../../src/upstreams/settings.ts";
import { type Target, Upstream } from "../../src/upstreams/upstream.ts";
import { FakeClock } from "../support/clock.ts";

const A = "http://a:1";
const B = "http://b:1";

/** An upstream with a clock that stands still until it is moved, and what its breakers told. */
function upstreamOf(urls: readonly string[], breaker: object | null = {}) {
  const clock = new FakeClock(0);
  const config = fillIn(UpstreamConfig, { targets: urls.map((url) => ({ url })), breaker }).value as UpstreamConfig;
  const told: string[] = [];
  const upstream = new Upstream("u", config, clock, (_name, { url }, from, to, cause) => told.push(`${url} ${from} ${to} ${cause}`));
  const targetOf = (url: string): Target => upstream.targets.find((each) => each.url === url) as Target;
  return {
    upstream,
    clock,
    told,
    targetOf,
    /** Sends one request; gives the target's URL, or null when there was none. */
    ask: (outcome: number | "connect" | "timeout" | "reset" | "none"): string | null => {
      const target = upstream.choose(0, []);
      if (target === null) return null;
      const ticket = upstream.begin(target);
      target.state.inFlight--;
      if (outcome === "none") upstream.withdrawn(target, ticket);
      else if (typeof outcome === "string" || upstream.isFailing(outcome)) upstream.failed(target, ticket, outcome);
      else upstream.succeeded(target, ticket);
      return target.url;
    },
    breakBy: (url: string, times = 5) => {
      for (let i = 0; i < times; i++) {
        const target = targetOf(url);
        target.state.inFlight++;
        upstream.failed(target, target.state.breaker.epoch, 503);
      }
    },
  };
}

describe("what counts as a failure of a target", () => {
  test("by default is what says that it is ill: no connection, timeouts, resets, 502, 503 and 504", () => {
    for (const outcome of ["connect", "timeout", "reset", 502, 503, 504] as const) {
      const { ask, targetOf } = upstreamOf([A]);
      for (let i = 0; i < 5; i++) ask(outcome);
      expect(targetOf(A).state.breaker.state).toBe("open");
    }
    for (const outcome of [200, 404, 429, 500, 501, 505, 599, "none"] as const) {
      const { ask, targetOf } = upstreamOf([A]);
      for (let i = 0; i < 100; i++) ask(outcome);
      expect(targetOf(A).state.breaker.state).toBe("closed");
    }
  });

  test("is what failures names, single statuses and whole classes", () => {
    const opens = (failures: string[], outcome: number | "connect" | "timeout" | "reset"): boolean => {
      const { ask, targetOf } = upstreamOf([A], { failures });
      for (let i = 0; i < 5; i++) ask(outcome);
      return targetOf(A).state.breaker.state === "open";
    };
    expect([opens(["500"], 500), opens(["500"], 501), opens(["500"], 503), opens(["500"], "connect")]).toEqual([true, false, false, false]);
    expect([opens(["5xx"], 500), opens(["5xx"], 501), opens(["5xx"], 599), opens(["5xx"], 499)]).toEqual([true, true, true, false]);
    expect([opens(["timeout", "429"], "timeout"), opens(["timeout", "429"], 429), opens(["timeout", "429"], "reset")]).toEqual([
      true,
      true,
      false,
    ]);
  });
});

describe("an upstream without a target left", () => {
  test("gives the one that is open for longest a probe each second, one request and not a stampede", () => {
    const { clock, ask, breakBy, told, upstream } = upstreamOf([A, B], { recoveryTimeout: "60s" });
    breakBy(A);
    clock.time += 300;
    breakBy(B);
    expect(ask(200)).toBeNull();
    expect(upstream.whyNot()).toEqual({ code: "circuitOpen", retryIn: 700 });
    clock.time += 700;
    told.length = 0;
    const asked = Array.from({ length: 50 }, () => ask(503));
    expect(asked.filter((url) => url !== null)).toEqual([A]);
    expect(told).toEqual([`${A} open half-open last-resort`, `${A} half-open open probe`]);
    // A's probe failed just now: B is open for longer.
    clock.time += 999;
    expect(ask(200)).toBeNull();
    clock.time += 1;
    expect([ask(503), ask(503)]).toEqual([B, null]);
    clock.time += 1000;
    expect([ask(200), ask(200), ask(200)]).toEqual([A, A, A]);
    expect(told.at(-1)).toBe(`${A} half-open closed probe`);
  });

  test("finds a single target that is back after a short outage within a second, whatever the recovery time says", () => {
    const { clock, ask, breakBy } = upstreamOf([A], { recoveryTimeout: "60s", successThreshold: 1 });
    breakBy(A);
    clock.time += 1000;
    expect(ask(200)).toBe(A);
    expect(ask(200)).toBe(A);
  });

  test("leaves one alone that a person has cut off, and one that health checks found ill", () => {
    const { clock, ask, upstream, targetOf, breakBy } = upstreamOf([A, B]);
    upstream.setBreaker(targetOf(A), "open");
    upstream.setHealthy(targetOf(B), false);
    breakBy(B);
    clock.time += 3_600_000;
    expect(ask(200)).toBeNull();
  });

  test("asks for no probe before its time while another target is left", () => {
    const { clock, ask, breakBy } = upstreamOf([A, B], { recoveryTimeout: "60s" });
    breakBy(A);
    clock.time += 59_999;
    expect(new Set(Array.from({ length: 20 }, () => ask(200)))).toEqual(new Set([B]));
    clock.time += 1;
    expect(new Set(Array.from({ length: 20 }, () => ask(200)))).toEqual(new Set([A, B]));
  });
});

test("a request that was given up, or that the gateway could not send, says nothing of the target", () => {
  const { clock, ask, targetOf, breakBy } = upstreamOf([A]);
  breakBy(A);
  clock.time += 1000;
  expect(ask("none")).toBe(A);
  expect(targetOf(A).state.breaker).toMatchObject({ state: "half-open", isProbing: false, failedProbes: 0 });
});
