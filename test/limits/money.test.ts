import { describe, test } from "bun:test";
import { Limiter } from "../../src/limits/limiter.ts";
import { MemoryStore } from "../../src/limits/memory/store.ts";
import { FakeClock } from "../support/clock.ts";
import { overTable } from "../support/limits.ts";
import { holdMoney, inMoney } from "../support/money.ts";

const clock = new FakeClock(Date.UTC(2026, 0, 30, 12));
const isDegraded = () => false;

describe("a limit in money", () => {
  const kinds = inMoney(1).map(({ algorithm }, kind) => [algorithm, kind] as const);

  test.each(kinds)("of %s holds in memory, whatever is reserved, grown and settled when", async (_, kind) => {
    await holdMoney(kind, 300, async () => ({ all: [new Limiter({ store: new MemoryStore(), clock, isDegraded })], end: () => {} }));
  });

  test.each(kinds)("of %s holds in a table that several processes share, whatever is reserved, grown and settled when", async (_, kind) => {
    await holdMoney(kind, 100, async () => {
      const { region, limiter } = overTable({ clock });
      const others = [overTable({ clock, region }), overTable({ clock, region })];
      return { all: [limiter, ...others.map((other) => other.limiter)], end: () => {} };
    });
  });
});
