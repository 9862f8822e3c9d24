import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { algorithmsWith } from "../../src/limits/algorithms/registry.ts";
import { denying, limitHeaders, retryAfterSeconds, violatedPolicies } from "../../src/limits/headers.ts";
import { Limiter } from "../../src/limits/limiter.ts";
import { MemoryStore } from "../../src/limits/memory/store.ts";
import { CountPersistence, type SavedCount } from "../../src/limits/persistence.ts";
import { compilePolicies, termsOf } from "../../src/limits/policy.ts";
import type { LimitConfig } from "../../src/limits/settings.ts";
import { ipSubject, subjectOf } from "../../src/limits/subject.ts";
import { FakeClock } from "../support/clock.ts";
import { anyLimitOf, limiting, limitOf, traces, WINDOWED } from "../support/limits.ts";

describe("several limits together", () => {
  test("are charged all or not at all", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...algorithmsWith()), fc.integer({ min: 1, max: 6 })), {
          minLength: 2,
          maxLength: 4,
        }),
        traces,
        (kinds, trace) => {
          const it = limiting(...kinds.map(([algorithm, limit], i) => anyLimitOf(algorithm, limit, "1s", { name: `l${i}` })));
          for (const { wait, cost } of trace) {
            it.clock.time += wait;
            const before = it.inspect().map((reading) => reading.used);
            const verdict = it.admit(cost);
            const after = it.inspect().map((reading) => reading.used);
            // What is in flight are exchanges, whatever they cost.
            const charges = it.policies().map(({ counting }) => (counting.holds ? 1 : cost));
            expect(after).toEqual(verdict.allowed ? before.map((used, i) => used + (charges[i] as number)) : before);
            expect(verdict.allowed).toBe(verdict.readings.every((reading) => !reading.denied));
          }
        },
      ),
    );
  });

  test("say before they are charged what they would decide, and stay as they were", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...algorithmsWith()), fc.integer({ min: 1, max: 6 })), { minLength: 1, maxLength: 3 }),
        traces,
        fc.boolean(),
        (kinds, trace, isDegraded) => {
          const it = limiting(...kinds.map(([algorithm, limit], i) => anyLimitOf(algorithm, limit, "1s", { name: `l${i}`, degraded: 2 })));
          it.state.isDegraded = isDegraded;
          const subjects = it.policies().map(() => "a");
          for (const { wait, cost } of trace) {
            it.clock.time += wait;
            const before = it.inspect();
            const foreseen = it.limiter.inspect(it.policies(), subjects, cost);
            expect(it.inspect()).toEqual(before);
            const verdict = it.admit(cost);
            expect(foreseen.map(({ denied }) => denied)).toEqual(verdict.readings.map(({ denied }) => denied));
            // The refusal of a look is that of a charge.
            if (!verdict.allowed) expect(foreseen).toEqual([...verdict.readings]);
          }
        },
      ),
    );
  });

  test("may each have a cost of their own", () => {
    const it = limiting(limitOf("fixed-window", 10, "1s", { name: "one", cost: 3 }), limitOf("fixed-window", 10, "1s", { name: "two" }));
    it.admit(2);
    expect(it.inspect().map((reading) => reading.used)).toEqual([3, 2]);
  });

  test("in shadow count and report but never deny", () => {
    const it = limiting(limitOf("fixed-window", 1, "1m", { name: "trial", shadow: true }), limitOf("fixed-window", 5, "1m"));
    it.admit();
    const verdict = it.admit();
    expect(verdict.allowed).toBe(true);
    expect(verdict.readings.map((reading) => [reading.policy.name, reading.used, reading.denied])).toEqual([
      ["trial", 1, true],
      ["per-minute", 2, false],
    ]);
    expect(limitHeaders(verdict.readings, it.clock.wall())).toStartWith('X-RateLimit-Shadow: "trial";denied\r\nX-RateLimit-Limit: 5\r\n');
  });
});

describe("the number in force", () => {
  test("is burst while NORMAL and degraded while DEGRADED, and what was counted is carried over", () => {
    for (const algorithm of ["fixed-window", "sliding-window", "sliding-log"] as const) {
      const it = limiting(limitOf(algorithm, 10, "1m", { burst: 20, degraded: 2 }));
      for (let i = 0; i < 5; i++) it.admit();
      expect(it.inspect()[0]).toMatchObject({ limit: 20, used: 5, remaining: 15 });
      it.state.isDegraded = true;
      expect(it.inspect()[0]).toMatchObject({ limit: 2, used: 5, remaining: 0 });
      expect(it.admit().allowed).toBe(false);
      it.state.isDegraded = false;
      expect(it.inspect()[0]).toMatchObject({ limit: 20, used: 5, remaining: 15 });
    }
  });

  test("of a token bucket in DEGRADED is both its rate and what it holds", () => {
    const it = limiting(limitOf("token-bucket", 60, "1m", { burst: 100, degraded: 6 }));
    it.state.isDegraded = true;
    for (let i = 0; i < 6; i++) expect(it.admit().allowed).toBe(true);
    expect(it.admit()).toMatchObject({ allowed: false, readings: [{ limit: 6, retryIn: 10_000 }] });
  });

  test("may change while it runs: what was counted stays, unless the window or the algorithm changed", () => {
    const it = limiting(limitOf("fixed-window", 3, "1m"));
    for (let i = 0; i < 3; i++) it.admit();
    it.reconfigure(limitOf("fixed-window", 5, "1m", { burst: 6, degraded: 1, cost: 1, shadow: false }));
    expect(it.inspect()[0]).toMatchObject({ used: 3, remaining: 3 });
    it.reconfigure(limitOf("fixed-window", 5, "2m", { name: "per-minute" }));
    expect(it.inspect()[0]).toMatchObject({ used: 0 });
  });

  test("of 0 while DEGRADED sheds everything", () => {
    for (const algorithm of WINDOWED) {
      const it = limiting(limitOf(algorithm, 5, "1s", { degraded: 0 }));
      it.state.isDegraded = true;
      expect(it.admit()).toMatchObject({ allowed: false, readings: [{ retryIn: 1000, remaining: 0 }] });
    }
  });
});

describe("memory", () => {
  test("is bounded: over it the least recently used subject is forgotten first", () => {
    const clock = new FakeClock();
    const store = new MemoryStore(1000);
    const limiter = new Limiter({ store, clock, isDegraded: () => false });
    const [policy] = compilePolicies([limitOf("fixed-window", 5, "1h")], { kind: "tier", name: "t" });
    if (policy === undefined) throw new Error("no policy");
    const use = (subject: string) => limiter.admit([policy], [subject], 1);
    for (let i = 0; i < 1000; i++) use(`s${i}`);
    use("s0");
    for (let i = 0; i < 10; i++) use(`new${i}`);
    expect(store.size).toBe(1000);
    const used = (subject: string) => limiter.inspect([policy], [subject])[0]?.used;
    expect(used("s0")).toBe(2);
    expect(Array.from({ length: 12 }, (_, i) => used(`s${i + 1}`))).toEqual([...Array<number>(10).fill(0), 1, 1]);
  });

  test("behaves as a plain list of subjects in the order of their use would", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(12), { maxLength: 200 }), (uses) => {
        const store = new MemoryStore(5);
        const limiter = new Limiter({ store, clock: new FakeClock(), isDegraded: () => false });
        const policies = compilePolicies([limitOf("fixed-window", 1000, "1h")], { kind: "tier", name: "t" });
        const model = new Map<string, number>();
        for (const use of uses) {
          const subject = String(use);
          const count = (model.get(subject) ?? 0) + 1;
          model.delete(subject);
          model.set(subject, count);
          if (model.size > 5) model.delete(model.keys().next().value ?? "");
          limiter.admit(policies, [subject], 1);
          for (let i = 0; i <= 12; i++) expect(limiter.inspect(policies, [String(i)])[0]?.used).toBe(model.get(String(i)) ?? 0);
        }
      }),
      { numRuns: 30 },
    );
  });

  test("is given back by subjects that are idle, but not by those with something in flight", () => {
    const it = limiting(
      limitOf("sliding-window", 5, "1s"),
      limitOf("sliding-log", 5, "1s", { name: "log" }),
      limitOf("token-bucket", 5, "1s", { name: "bucket" }),
      { algorithm: "concurrency", limit: 5 },
    );
    const verdict = it.admit();
    it.admit(1, "b");
    expect(it.store.size).toBe(8);
    it.clock.time += 3000;
    it.limiter.sweep();
    expect(it.store.size).toBe(2);
    it.limiter.release(verdict);
    it.limiter.sweep();
    expect(it.inspect("a")[3]?.used).toBe(0);
    expect(it.inspect("b")[3]?.used).toBe(1);
  });
});

describe("counts of an hour and more", () => {
  test.each(WINDOWED.map((algorithm) => [algorithm]))("survive a restart: %s", (algorithm) => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(900_000), { minLength: 1, maxLength: 20 }),
        fc.nat(4_000_000),
        fc.integer({ min: -5000, max: 5000 }),
        (waits, pause, ahead) => {
          const saved = new Map<string, SavedCount>();
          const counts = {
            remove: () => {},
            prune: () => {},
            find: () => null,
            load: () => saved.values(),
            save: (changed: readonly SavedCount[]) => {
              for (const count of changed) saved.set(count.policy + count.subject, count);
            },
          };
          const policies = compilePolicies([limitOf(algorithm, 8, "1h"), limitOf(algorithm, 8, "1m")], { kind: "tier", name: "t" });
          const clock = new FakeClock();
          const process = () => {
            const store = new MemoryStore();
            const persistence = new CountPersistence({ store, counts, clock });
            persistence.restore();
            return { limiter: new Limiter({ store, clock, isDegraded: () => false }), persistence };
          };
          const first = process();
          for (const wait of waits) {
            clock.time += wait;
            first.limiter.admit(policies, ["a", "a"], 1);
          }
          first.persistence.flush();
          // Another process has another monotonic clock, and the same wall clock.
          const wall = clock.wall();
          const before = () => first.limiter.inspect(policies, ["a", "a"])[0];
          clock.time += pause;
          const expected = before();
          clock.time += ahead;
          clock.ahead = wall + pause - clock.time;
          const second = process();
          expect(second.limiter.inspect(policies, ["a", "a"])[0]).toEqual(expected as NonNullable<typeof expected>);
          second.limiter.reset(policies, ["a", "a"]);
          second.persistence.flush();
          expect(process().limiter.inspect(policies, ["a", "a"])[0]?.used).toBe(0);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe("headers", () => {
  test("name every limit, and the one that is closest to its end", () => {
    const it = limiting(limitOf("fixed-window", 20, "1m"), limitOf("fixed-window", 1000, "1d"), { algorithm: "concurrency", limit: 5 });
    it.clock.time += 250;
    const { readings } = it.admit();
    expect(limitHeaders(readings, 1_800_000_000_250)).toBe(
      'X-RateLimit-Limit: 20\r\nX-RateLimit-Remaining: 19\r\nX-RateLimit-Reset: 1800000061\r\nRateLimit-Policy: "per-minute";q=20;w=60, "per-day";q=1000;w=86400, "concurrency";q=5;qu="concurrent-requests"\r\nRateLimit: "per-minute";r=19;t=60, "per-day";r=999;t=86400, "concurrency";r=4\r\n',
    );
  });

  test("quote names as structured fields want it, and are none without limits", () => {
    const it = limiting(limitOf("fixed-window", 1, "1s", { name: 'a "b" \\' }));
    expect(limitHeaders(it.admit().readings, 0)).toContain('RateLimit-Policy: "a \\"b\\" \\\\";q=1;w=1\r\n');
    expect(limitHeaders([], 0)).toBe("");
  });

  test("ask to wait for whole seconds, at least one, never less than the denying limit's t", () => {
    fc.assert(
      fc.property(fc.constantFrom(...WINDOWED), fc.integer({ min: 1, max: 5 }), traces, (algorithm, limit, trace) => {
        const it = limiting(limitOf(algorithm, limit, "1s"));
        for (const { wait, cost } of trace) {
          it.clock.time += wait;
          const verdict = it.admit(cost);
          if (verdict.allowed) continue;
          const retryAfter = retryAfterSeconds(denying(verdict));
          const t = Number(/RateLimit: .*;t=(\d+)/.exec(limitHeaders(verdict.readings, 0))?.[1]);
          expect(Number.isInteger(retryAfter) && retryAfter >= Math.max(1, t)).toBe(true);
        }
      }),
    );
  });

  test("of a denial are followed by every limit that denied", () => {
    const it = limiting(limitOf("fixed-window", 1, "1m"), limitOf("fixed-window", 1, "1h"), limitOf("fixed-window", 9, "1d"));
    it.admit();
    expect(violatedPolicies(denying(it.admit()), it.clock.wall())).toEqual([
      {
        name: "per-minute",
        scope: "tier test",
        unit: "requests",
        limit: 1,
        used: 1,
        reset: new Date(it.clock.time + 60_000).toISOString(),
      },
      {
        name: "per-hour",
        scope: "tier test",
        unit: "requests",
        limit: 1,
        used: 1,
        reset: new Date(it.clock.time + 3_600_000).toISOString(),
      },
    ]);
  });
});

describe("whom a limit counts", () => {
  const caller = {
    consumerId: "acme",
    keyId: "k1",
    ip: "203.0.113.7",
    route: "users",
    model: "gpt-5",
    tool: "search",
    header: (name: string) => (name === "X-Tenant" ? "blue" : null),
    tag: (name: string) => (name === "team" ? "red" : null),
  };
  const subject = (by: LimitConfig["by"], who = caller) => {
    const [policy] = compilePolicies([limitOf("fixed-window", 1, "1s", by === undefined ? {} : { by })], { kind: "route", name: "users" });
    return policy === undefined ? "" : subjectOf(policy, who);
  };

  test("is what `by` says", () => {
    expect([
      subject(undefined),
      subject("consumer"),
      subject("key"),
      subject("ip"),
      subject("route"),
      subject("global"),
      subject("header:X-Tenant"),
      subject("tag:team"),
      subject("model"),
      subject("tool"),
      subject(["ip", "route"]),
    ]).toEqual(["acme", "acme", "k1", "[203.0.113.7]", "users", "", "blue", "red", "gpt-5", "search", '["[203.0.113.7]","users"]']);
    // Callers make names up: long ones are counted under their hash, and those of a usual length as they are.
    const model = "a".repeat(128);
    expect(subject("model", { ...caller, model })).toBe(model);
    expect(subject("model", { ...caller, model: `${model}b` })).toMatch(/^#[0-9a-f]{32}$/);
  });

  test("is the address for callers without a key, one /64 for IPv6, and no consumer can be called like one", () => {
    const nobody = { ...caller, consumerId: null as unknown as string, keyId: null as unknown as string };
    expect([subject(undefined, nobody), subject("key", nobody)]).toEqual(["[203.0.113.7]", "[203.0.113.7]"]);
    expect(ipSubject("2001:db8:1:2:3:4:5:6")).toBe(ipSubject("2001:db8:1:2::1"));
    expect(ipSubject("2001:db8:1:3::1")).not.toBe(ipSubject("2001:db8:1:2::1"));
    expect(ipSubject("::ffff:203.0.113.7")).toBe("[203.0.113.7]");
  });

  test("has numbers that are in force by the system's status", () => {
    const [policy] = compilePolicies([limitOf("fixed-window", 10, "1s", { burst: 20, degraded: 2 })], { kind: "tier", name: "t" });
    if (policy) expect([termsOf(policy, false).limit, termsOf(policy, true).limit]).toEqual([20, 2]);
  });
});

test("a dear request is one of those in flight all the same", () => {
  const { admit } = limiting({ algorithm: "concurrency", limit: 2 }, limitOf("fixed-window", 100));
  expect([admit(5).allowed, admit(5).allowed, admit(5).allowed]).toEqual([true, true, false]);
  const { admit: weighed } = limiting({ algorithm: "concurrency", limit: 2, cost: 2 });
  expect([weighed().allowed, weighed().allowed]).toEqual([true, false]);
});

test("two limits of one name in one answer are told apart by the owner of the second", () => {
  const { limiter } = limiting();
  const perMinute = [limitOf("fixed-window", 5, "1m")];
  const policies = [
    ...compilePolicies(perMinute, { kind: "tier", name: "pro" }),
    ...compilePolicies(perMinute, { kind: "route", name: "shop" }),
  ];
  const { readings } = limiter.admit(policies, ["a", "a"], 1);
  expect(limitHeaders(readings, 0)).toContain(
    'RateLimit-Policy: "per-minute";q=5;w=60, "route shop: per-minute";q=5;w=60\r\nRateLimit: "per-minute";r=4;t=60, "route shop: per-minute";r=4;t=60\r\n',
  );
});
