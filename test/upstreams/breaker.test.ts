import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type BreakerPolicy,
  enter,
  fail,
  letsThrough,
  newBreaker,
  reopensIn,
  setByHand,
  succeed,
  withdraw,
} from "../../src/upstreams/breaker.ts";

const POLICY: BreakerPolicy = {
  failureThreshold: 3,
  recoveryTimeout: 1000,
  successThreshold: 2,
  failureRatio: null,
  window: 10_000,
  minimumRequests: 10,
};

/** A breaker with its clock, and what it told. */
function breaking(policy: Partial<BreakerPolicy> = {}) {
  const all = { ...POLICY, ...policy };
  const it = { now: 0, breaker: newBreaker(0), told: [] as string[] };
  const tell = (from: string, to: string, cause: string) => it.told.push(`${from} ${to} ${cause}`);
  return {
    it,
    allows: () => letsThrough(it.breaker, all, it.now),
    enter: () => enter(it.breaker, it.now, tell),
    ok: (ticket = enter(it.breaker, it.now, tell)) => succeed(it.breaker, all, ticket, { now: () => it.now }, tell),
    bad: (ticket = enter(it.breaker, it.now, tell)) => fail(it.breaker, all, ticket, it.now, tell),
    none: (ticket: number) => withdraw(it.breaker, ticket),
    hand: (state: "open" | "closed") => setByHand(it.breaker, state, it.now, tell),
    reopensIn: () => reopensIn(it.breaker, all, it.now),
  };
}

describe("a breaker", () => {
  test("opens after so many failures in a row; a success in between begins the row anew", () => {
    const { it, ok, bad, allows } = breaking();
    bad();
    bad();
    ok();
    bad();
    bad();
    expect([it.breaker.state, allows()]).toEqual(["closed", true]);
    bad();
    expect([it.breaker.state, allows()]).toEqual(["open", false]);
    expect(it.told).toEqual(["closed open failures"]);
  });

  test("lets one probe through after its time, one after the other, and closes after enough of them", () => {
    const { it, ok, bad, allows, enter, reopensIn } = breaking();
    for (let i = 0; i < 3; i++) bad();
    it.now = 999;
    expect([allows(), reopensIn()]).toEqual([false, 1]);
    it.now = 1000;
    expect(allows()).toBe(true);
    const first = enter();
    expect([it.breaker.state, allows()]).toEqual(["half-open", false]);
    ok(first);
    expect(allows()).toBe(true);
    ok();
    expect(it.breaker.state).toBe("closed");
    expect(it.told).toEqual(["closed open failures", "open half-open recovery", "half-open closed probe"]);
  });

  test("opens again when a probe fails, for the whole time", () => {
    const { it, bad, ok, allows } = breaking();
    for (let i = 0; i < 3; i++) bad();
    it.now = 1000;
    ok();
    bad();
    expect([it.breaker.state, allows()]).toEqual(["open", false]);
    it.now = 1999;
    expect(allows()).toBe(false);
    it.now = 2000;
    expect(allows()).toBe(true);
  });

  test("is not told by requests of an earlier state, and a probe that was given up makes room for the next", () => {
    const { it, enter, ok, bad, none, allows } = breaking();
    const early = enter();
    const late = enter();
    for (let i = 0; i < 3; i++) bad();
    ok(early);
    expect(it.breaker.state).toBe("open");
    it.now = 1000;
    const probe = enter();
    bad(late);
    expect(it.breaker.state).toBe("half-open");
    none(probe);
    expect(allows()).toBe(true);
  });

  test("opens at a share of failures, but not on a handful of requests", () => {
    const { it, ok, bad } = breaking({ failureThreshold: 100, failureRatio: 0.5 });
    for (let i = 0; i < 4; i++) {
      ok();
      bad();
    }
    expect(it.breaker.state).toBe("closed");
    ok();
    bad();
    expect(it.breaker.state).toBe("open");
    expect(it.told).toEqual(["closed open ratio"]);
  });

  test("forgets failures that are older than the window", () => {
    const { it, ok, bad } = breaking({ failureThreshold: 100, failureRatio: 0.5 });
    for (let i = 0; i < 9; i++) bad();
    it.now = 11_000;
    for (let i = 0; i < 11; i++) ok();
    bad();
    expect(it.breaker.state).toBe("closed");
  });

  test("that a person opened stays open until a person closes it", () => {
    const { it, hand, allows, ok } = breaking();
    hand("open");
    it.now = 1e9;
    expect([allows(), it.breaker.state]).toEqual([false, "open"]);
    hand("closed");
    ok();
    expect([allows(), it.breaker.state]).toEqual([true, "closed"]);
    expect(it.told).toEqual(["closed open admin", "open closed admin"]);
  });

  test("never has two probes under way, never closes without enough successes, always opens in time", () => {
    const step = fc.record({ wait: fc.nat(1500), act: fc.constantFrom("begin", "ok", "bad", "withdraw") });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const { it, enter, ok, bad, none, allows } = breaking();
        const open: { ticket: number; isProbe: boolean }[] = [];
        let row = 0;
        for (const { wait, act } of steps) {
          it.now += wait;
          const before = it.breaker.state;
          if (act === "begin") {
            if (!allows()) continue;
            open.push({ ticket: enter(), isProbe: it.breaker.state === "half-open" });
            continue;
          }
          const request = open.shift();
          if (request === undefined) continue;
          const counts = request.ticket === it.breaker.epoch;
          if (act === "withdraw") none(request.ticket);
          else if (act === "ok") ok(request.ticket);
          else bad(request.ticket);
          if (counts && before === "closed") row = act === "bad" ? row + 1 : act === "ok" ? 0 : row;
          if (it.breaker.state !== "closed") row = 0;
          expect(row).toBeLessThan(POLICY.failureThreshold);
          const probes = open.filter(({ isProbe, ticket }) => isProbe && ticket === it.breaker.epoch).length;
          expect(probes).toBeLessThanOrEqual(1);
          if (before === "half-open" && it.breaker.state === "closed") expect(it.told.at(-1)).toBe("half-open closed probe");
        }
      }),
    );
  });
});
