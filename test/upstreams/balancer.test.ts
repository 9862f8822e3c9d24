import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Balanced,
  type Balancer,
  balancerOf,
  consistentHash,
  hashOf,
  leastRequests,
  roundRobin,
} from "../../src/upstreams/balancer.ts";

interface Fake extends Balanced {
  inFlight: number;
}
const target = (url: string, weight = 1): Fake => ({ url, weight, inFlight: 0 });
const always = () => true;
const weightOf = ({ weight }: Balanced) => weight;
const pick = (balance: Balancer<Fake>, hash = 0, isAvailable: (target: Fake) => boolean = always) =>
  balance(hash, isAvailable, weightOf)?.url ?? null;
const weightsOf = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 6 });

describe("round-robin", () => {
  test("gives each target its weight in every round, without runs", () => {
    const next = roundRobin([target("a", 5), target("b"), target("c")]);
    expect(Array.from({ length: 14 }, () => pick(next)).join("")).toBe("aabacaaaabacaa");
    fc.assert(
      fc.property(weightsOf, (weights) => {
        const turn = roundRobin(weights.map((weight, i) => target(String(i), weight)));
        const counts = weights.map(() => 0);
        for (let i = 0; i < weights.reduce((a, b) => a + b); i++) {
          const at = Number(pick(turn));
          counts[at] = (counts[at] ?? 0) + 1;
        }
        expect(counts).toEqual(weights);
      }),
    );
  });

  test("shares the load of a target that is out among the others, by their weights", () => {
    const next = roundRobin([target("a", 2), target("b", 1), target("c", 5)]);
    const picked = Array.from({ length: 30 }, () => pick(next, 0, ({ url }) => url !== "c"));
    expect(picked.filter((url) => url === "a").length).toBe(20);
    expect(picked.filter((url) => url === "b").length).toBe(10);
  });
});

describe("least-requests", () => {
  test("takes the target with the fewest under way for its weight, and never waits for a slow one", () => {
    const [a, b, c] = [target("a", 1), target("b", 1), target("c", 3)];
    const next = leastRequests([a, b, c]);
    for (let i = 0; i < 10; i++) {
      const url = pick(next);
      for (const each of [a, b, c]) if (each.url === url) each.inFlight++;
    }
    expect([a.inFlight, b.inFlight, c.inFlight]).toEqual([2, 2, 6]);
    a.inFlight = 100;
    for (let i = 0; i < 10; i++) expect(pick(next)).not.toBe("a");
  });

  test("takes equals in turn", () => {
    const next = leastRequests([target("a"), target("b"), target("c")]);
    expect(Array.from({ length: 6 }, () => pick(next)).join("")).toBe("abcabc");
  });
});

describe("consistent-hash", () => {
  const callers = Array.from({ length: 4000 }, (_, i) => hashOf(`key_${i}`));

  test("gives the same caller the same target, and each target its share by weight", () => {
    const next = consistentHash([target("http://a", 1), target("http://b", 1), target("http://c", 2)]);
    const counts: Record<string, number> = {};
    for (const caller of callers) {
      const url = pick(next, caller) ?? "";
      expect(pick(next, caller)).toBe(url);
      counts[url] = (counts[url] ?? 0) + 1;
    }
    expect(counts["http://a"]).toBeWithin(850, 1150);
    expect(counts["http://b"]).toBeWithin(850, 1150);
    expect(counts["http://c"]).toBeWithin(1850, 2150);
  });

  test("moves the callers of a target that goes, and nobody else", () => {
    const next = consistentHash([target("http://a"), target("http://b"), target("http://c")]);
    for (const caller of callers) {
      const before = pick(next, caller);
      const after = pick(next, caller, ({ url }) => url !== "http://b");
      if (before !== "http://b") expect(after).toBe(before);
      else expect(after).not.toBe("http://b");
    }
  });
});

test("every way of balancing gives only available targets, and null when there is none", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("round-robin" as const, "least-requests" as const, "consistent-hash" as const),
      weightsOf,
      fc.array(fc.tuple(fc.nat(), fc.array(fc.boolean(), { minLength: 6, maxLength: 6 })), { maxLength: 50 }),
      (balance, weights, calls) => {
        const targets = weights.map((weight, i) => target(`http://${i}`, weight));
        const next = balancerOf(balance, targets);
        for (const [hash, up] of calls) {
          const available = new Set(targets.filter((_, i) => up[i]).map(({ url }) => url));
          const url = pick(next, hash, (each) => available.has(each.url));
          if (available.size === 0) expect(url).toBeNull();
          else expect(available.has(url ?? "")).toBe(true);
        }
      },
    ),
  );
});
