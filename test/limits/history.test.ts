import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Limiter, type Verdict } from "../../src/limits/limiter.ts";
import { MemoryStore } from "../../src/limits/memory/store.ts";
import { CountPersistence, type SavedCount } from "../../src/limits/persistence.ts";
import { compilePolicies } from "../../src/limits/policy.ts";
import { FakeClock } from "../support/clock.ts";
import { limiting, limitOf, traces, WINDOWED } from "../support/limits.ts";

const WINDOW = 1000;
const HOUR = 3_600_000;

/** What a caller and the system do: waits, requests, changes of status, and now and then a sweep. */
const histories = fc.array(
  fc.record({
    wait: fc.oneof(fc.constant(0), fc.nat(700), fc.nat(3000)),
    cost: fc.integer({ min: 1, max: 5 }),
    isDegraded: fc.boolean(),
    sweep: fc.boolean(),
  }),
  { minLength: 1, maxLength: 60 },
);

describe.each(WINDOWED.map((algorithm) => [algorithm]))("%s, whatever the system's status", (algorithm) => {
  const configs = fc
    .record({ limit: fc.integer({ min: 1, max: 6 }), burst: fc.integer({ min: 1, max: 12 }), degraded: fc.nat(8) })
    .map(({ limit, burst, degraded }) => limitOf(algorithm, limit, "1s", { burst, degraded }));

  test("answers the same whether idle subjects were dropped or not", () => {
    fc.assert(
      fc.property(configs, histories, (config, history) => {
        const swept = limiting(config);
        const kept = limiting(config);
        for (const { wait, cost, isDegraded, sweep } of history) {
          for (const each of [swept, kept]) {
            each.clock.time += wait;
            each.state.isDegraded = isDegraded;
          }
          if (sweep) swept.limiter.sweep();
          expect(swept.admit(cost).readings).toMatchObject(kept.admit(cost).readings.map(({ policy: _, ...reading }) => reading));
        }
      }),
      { numRuns: 300 },
    );
  });

  test("answers the same after a denied request as without it, also to a caller never seen before", () => {
    fc.assert(
      fc.property(configs, histories, fc.nat(60), (config, history, when) => {
        const asked = limiting(config);
        const silent = limiting(config);
        for (const [i, { wait, cost, isDegraded }] of history.entries()) {
          for (const each of [asked, silent]) {
            each.clock.time += wait;
            each.state.isDegraded = isDegraded;
          }
          if (i === when % history.length) expect(asked.admit(1000).allowed).toBe(false);
          else expect(asked.admit(cost)).toEqual({ ...silent.admit(cost), readings: expect.any(Array) });
          expect(asked.inspect().map(({ used, remaining }) => [used, remaining])).toEqual(
            silent.inspect().map(({ used, remaining }) => [used, remaining]),
          );
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("a token bucket", () => {
  test("is not filled by a sweep while DEGRADED", () => {
    const it = limiting(limitOf("token-bucket", 5, "1s", { burst: 100, degraded: 1 }));
    for (let i = 0; i < 100; i++) it.admit();
    it.state.isDegraded = true;
    it.clock.time += 1500;
    it.limiter.sweep();
    it.state.isDegraded = false;
    expect(it.inspect()[0]?.remaining).toBe(7);
  });

  test("starts full for a caller who was shed while DEGRADED", () => {
    const it = limiting(limitOf("token-bucket", 60, "1m", { degraded: 0 }));
    it.state.isDegraded = true;
    expect(it.admit().allowed).toBe(false);
    it.state.isDegraded = false;
    expect(it.inspect()[0]?.remaining).toBe(60);
  });
});

describe("a sliding window", () => {
  test("lets through at most the limit in every window of its grid, and at most twice as much in any span", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), traces, (limit, trace) => {
        const it = limiting(limitOf("sliding-window", limit));
        let start = Number.NEGATIVE_INFINITY;
        let used = 0;
        let last = 0;
        const grants: { at: number; cost: number }[] = [];
        for (const { wait, cost } of trace) {
          it.clock.time += wait;
          const at = it.clock.time;
          if (!it.admit(cost).allowed) continue;
          const passed = Math.floor((at - start) / WINDOW);
          if (passed > 0) {
            start = passed === 1 && last > 0 ? start + WINDOW : at;
            used = 0;
          }
          used += cost;
          last = used;
          expect(used).toBeLessThanOrEqual(limit);
          grants.push({ at, cost });
          const inSpan = grants.filter((grant) => grant.at > at - WINDOW).reduce((sum, grant) => sum + grant.cost, 0);
          expect(inSpan).toBeLessThanOrEqual(2 * limit);
        }
      }),
    );
  });

  test("reaches twice the limit when a caller waits for the end of one window", () => {
    const it = limiting(limitOf("sliding-window", 2));
    const granted = [0, 1999, 0, 1, 500].map((wait) => {
      it.clock.time += wait;
      return it.admit().allowed;
    });
    expect(granted).toEqual([true, true, true, true, true]);
  });
});

describe("subjects in memory", () => {
  test("that hold an exchange are never forgotten, however many others come", () => {
    const store = new MemoryStore(3);
    const limiter = new Limiter({ store, clock: new FakeClock(), isDegraded: () => false });
    const policies = compilePolicies([{ algorithm: "concurrency", limit: 1 }], { kind: "tier", name: "t" });
    const open: Verdict[] = ["a", "b", "c", "d"].map((subject) => limiter.admit(policies, [subject], 1));
    expect(store.size).toBe(4);
    expect(["a", "b", "c", "d"].map((subject) => limiter.admit(policies, [subject], 1).allowed)).toEqual([false, false, false, false]);
    for (const verdict of open) limiter.release(verdict);
    for (const subject of ["e", "f"]) limiter.release(limiter.admit(policies, [subject], 1));
    expect(limiter.admit(policies, ["a"], 1).allowed).toBe(true);
  });

  test("stay within the bound and keep the order of their use while idle ones are swept", () => {
    const step = fc.record({ subject: fc.nat(9), wait: fc.nat(600), sweep: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const clock = new FakeClock();
        const store = new MemoryStore(4);
        const limiter = new Limiter({ store, clock, isDegraded: () => false });
        const policies = compilePolicies([limitOf("fixed-window", 1000)], { kind: "tier", name: "t" });
        const model = new Map<string, { start: number; used: number }>();
        for (const { subject, wait, sweep } of steps) {
          clock.time += wait;
          if (sweep) {
            limiter.sweep();
            for (const [name, { start }] of model) if (start + WINDOW <= clock.time) model.delete(name);
            expect(store.size).toBeLessThanOrEqual(4);
          }
          const name = String(subject);
          const seen = model.get(name);
          if (seen === undefined && model.size >= 4) model.delete(model.keys().next().value ?? "");
          model.delete(name);
          const isOpen = seen !== undefined && seen.start + WINDOW > clock.time;
          model.set(name, isOpen ? { start: seen.start, used: seen.used + 1 } : { start: clock.time, used: 1 });
          limiter.admit(policies, [name], 1);
          for (const [each, { start, used }] of model)
            expect(limiter.inspect(policies, [each])[0]?.used).toBe(start + WINDOW > clock.time ? used : 0);
        }
      }),
    );
  });
});

describe("counts over a restart", () => {
  /** What several processes write one after another. */
  function machine(algorithm: (typeof WINDOWED)[number], maxSubjects = 1000) {
    const saved: SavedCount[] = [];
    const disk = { isFull: false };
    const counts = {
      remove: () => {},
      prune: () => {},
      find: (policy: string, subject: string) =>
        saved.findLast((count) => count.policy === policy && count.subject === subject)?.state ?? null,
      load: () => new Map(saved.map((count) => [`${count.policy} ${count.subject}`, count])).values(),
      save: (changed: readonly SavedCount[]) => {
        if (disk.isFull) throw new Error("disk full");
        saved.push(...changed);
      },
    };
    const policies = compilePolicies([limitOf(algorithm, 5, "1h")], { kind: "tier", name: "t" });
    return (clock: FakeClock) => {
      const store = new MemoryStore(maxSubjects);
      const limiter = new Limiter({ store, clock, isDegraded: () => false });
      const persistence = new CountPersistence({ store, counts, clock });
      persistence.restore();
      return {
        disk,
        flush: () => persistence.flush(),
        use: (subject = "a") => limiter.admit(policies, [subject], 1).allowed,
        remaining: (subject = "a") => limiter.inspect(policies, [subject])[0]?.remaining,
        reset: (subject = "a") => limiter.reset(policies, [subject]),
      };
    };
  }

  test.each(WINDOWED.map((algorithm) => [algorithm]))(
    "are kept by %s when the wall clock was set back, for two windows at most",
    (algorithm) => {
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 1e11 }), fc.integer({ min: -1e9, max: 1e9 }), (back, monotonic) => {
          const start = machine(algorithm);
          const clock = new FakeClock();
          const before = start(clock);
          for (let i = 0; i < 5; i++) before.use();
          before.flush();
          const wall = clock.wall() - back;
          const later = new FakeClock(wall + monotonic, -monotonic);
          const after = start(later);
          expect(after.remaining()).toBe(0);
          expect(after.use()).toBe(false);
          later.time += 2 * HOUR;
          expect(after.remaining()).toBe(5);
        }),
      );
    },
  );

  test.each(WINDOWED.map((algorithm) => [algorithm]))(
    "are the same under %s whether memory has room for all subjects or for a few, however newcomers come between",
    (algorithm) => {
      const step = fc.record({ subject: fc.nat(5), wait: fc.nat(900_000), flush: fc.boolean(), full: fc.boolean(), newcomers: fc.nat(4) });
      fc.assert(
        fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
          const clock = new FakeClock();
          const roomy = machine(algorithm)(clock);
          const tight = machine(algorithm, 3)(clock);
          let next = 0;
          for (const { subject, wait, flush, full, newcomers } of steps) {
            clock.time += wait;
            for (let i = 0; i < newcomers; i++) tight.use(`newcomer ${next++}`);
            tight.disk.isFull = full;
            try {
              if (flush) tight.flush();
            } catch (error) {
              expect(String(error)).toContain("disk full");
            }
            expect(tight.remaining(`s${subject}`)).toBe(roomy.remaining(`s${subject}`));
            expect(tight.use(`s${subject}`)).toBe(roomy.use(`s${subject}`));
          }
        }),
        { numRuns: 200 },
      );
    },
  );

  test.each(WINDOWED.map((algorithm) => [algorithm]))("are aged by %s as far as the wall clock went forward", (algorithm) => {
    fc.assert(
      fc.property(fc.nat(3 * HOUR), fc.integer({ min: -1e9, max: 1e9 }), (forward, monotonic) => {
        const start = machine(algorithm);
        const clock = new FakeClock();
        const before = start(clock);
        for (let i = 0; i < 5; i++) before.use();
        before.flush();
        const after = start(new FakeClock(clock.time + forward + monotonic, -monotonic));
        clock.time += forward;
        expect(after.remaining()).toBe(before.remaining());
      }),
    );
  });

  test("are written with the next flush when one fails", () => {
    const start = machine("fixed-window");
    const before = start(new FakeClock());
    before.use();
    before.disk.isFull = true;
    expect(before.flush).toThrow("disk full");
    before.disk.isFull = false;
    before.flush();
    expect(start(new FakeClock()).remaining()).toBe(4);
  });

  test("do not come back after a reset, even of a subject that memory had no room for", () => {
    const start = machine("fixed-window", 1);
    const before = start(new FakeClock());
    before.use("a");
    before.flush();
    before.use("b");
    before.reset("a");
    before.flush();
    expect(start(new FakeClock()).remaining("a")).toBe(5);
  });
});
