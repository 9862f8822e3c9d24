import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type BreakerPolicy,
  enter,
  fail,
  followAnother,
  letsThrough,
  newBreaker,
  reopensIn,
  setByHand,
  succeed,
  vouchFor,
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
    vouch: (began = it.now) => vouchFor(it.breaker, began, it.now, tell),
    applyRemoteChanges: (said: { state: "open" | "closed"; isHeld?: boolean; isByHand?: boolean; failedProbes?: number; since?: number }) =>
      followAnother(it.breaker, { isHeld: false, isByHand: false, failedProbes: 0, since: it.now, ...said }, tell),
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

  test("without a fixed time stays open for 1 s, and twice as long after each failed probe, up to 60 s; once closed it begins anew", () => {
    const { it, ok, bad, allows, reopensIn } = breaking({ recoveryTimeout: null });
    for (let i = 0; i < 3; i++) bad();
    const waits: number[] = [];
    for (let i = 0; i < 9; i++) {
      const wait = reopensIn();
      waits.push(wait);
      it.now += wait - 1;
      expect(allows()).toBe(false);
      it.now += 1;
      expect(allows()).toBe(true);
      bad();
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    it.now += 60_000;
    ok();
    ok();
    expect(it.breaker.state).toBe("closed");
    for (let i = 0; i < 3; i++) bad();
    expect(reopensIn()).toBe(1000);
  });

  test("lets a probe through at once when a health check passes, and one good probe closes it", () => {
    const { it, ok, bad, vouch, allows } = breaking();
    for (let i = 0; i < 3; i++) bad();
    it.now = 100;
    vouch();
    expect([it.breaker.state, allows()]).toEqual(["half-open", true]);
    ok();
    expect(it.breaker.state).toBe("closed");
    expect(it.told).toEqual(["closed open failures", "open half-open health", "half-open closed probe"]);
  });

  test("does not believe a health check that began before it opened, and opens again when the probe that one led to fails", () => {
    const { it, bad, vouch, allows } = breaking();
    it.now = 100;
    for (let i = 0; i < 3; i++) bad();
    it.now = 150;
    vouch(99);
    expect(allows()).toBe(false);
    vouch(100);
    bad();
    expect([it.breaker.state, allows(), it.breaker.isVouchedFor]).toEqual(["open", false, false]);
  });

  test("that a person opened is moved by no health check and by no other instance's probe, only by a person anywhere", () => {
    const { it, bad, hand, vouch, applyRemoteChanges } = breaking();
    for (let i = 0; i < 3; i++) bad();
    hand("open");
    expect(it.told).toEqual(["closed open failures", "open open admin"]);
    vouch();
    expect(applyRemoteChanges({ state: "closed" })).toBe(false);
    expect([it.breaker.state, it.breaker.isHeld]).toEqual(["open", true]);
    expect(applyRemoteChanges({ state: "closed", isByHand: true })).toBe(true);
    expect([it.breaker.state, it.breaker.isHeld]).toEqual(["closed", false]);
  });

  test("waits as long as another instance that has seen more probes fail", () => {
    const { it, bad, applyRemoteChanges, reopensIn } = breaking({ recoveryTimeout: null });
    for (let i = 0; i < 3; i++) bad();
    it.now = 500;
    applyRemoteChanges({ state: "open", failedProbes: 3 });
    expect(reopensIn()).toBe(8000);
  });

  test("never opens for good: whatever happens, one that no person holds lets a probe through within 60 s, and a closing brings the first time back", () => {
    const step = fc.record({ wait: fc.nat(90_000), act: fc.constantFrom("ok", "bad", "withdraw", "vouch", "follow") });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const { it, enter, ok, bad, none, vouch, applyRemoteChanges, allows, reopensIn } = breaking({ recoveryTimeout: null });
        for (const { wait, act } of steps) {
          it.now += wait;
          if (act === "vouch") vouch();
          else if (act === "follow") applyRemoteChanges({ state: "open", failedProbes: wait % 40 });
          else if (allows()) {
            const ticket = enter();
            if (act === "ok") ok(ticket);
            else if (act === "bad") bad(ticket);
            else none(ticket);
          }
          expect(reopensIn()).toBeLessThanOrEqual(60_000);
          if (it.breaker.state === "closed") expect(it.breaker.failedProbes).toBe(0);
          // Nothing is under way: nothing may hold a place.
          expect(it.breaker.isProbing).toBe(false);
        }
        it.now += 60_000;
        expect(allows()).toBe(true);
      }),
    );
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
