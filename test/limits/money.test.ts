import { describe, test } from "bun:test";
import { Limiter } from "../../src/limits/limiter.ts";
import { MemoryStore } from "../../src/limits/memory/store.ts";
import { FakeClock } from "../support/clock.ts";
import { overTable } from "../support/limits.ts";
import { holdMoney, inMoney, settleLate } from "../support/money.ts";

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

  // A bucket has no windows.
  test.each(kinds.filter(([name]) => name !== "token-bucket"))(
    "of %s is not given what is settled after the window in which it was reserved",
    async (_, kind) => {
      const wait = (milliseconds: number) => {
        clock.time += milliseconds;
      };
      await settleLate(kind, new Limiter({ store: new MemoryStore(), clock, isDegraded }), wait);
      await settleLate(kind, overTable({ clock }).limiter, wait);
    },
  );
});
