import { describe, expect, jest, test } from "bun:test";
import { openScope } from "../../src/gateway/scope.ts";

describe("a scope", () => {
  const faults: unknown[] = [];
  const open = () => {
    faults.length = 0;
    return openScope((error) => faults.push(error));
  };

  test("closes last in, first out, each when the one before is closed", async () => {
    const scope = open();
    const seen: string[] = [];
    scope.defer(() => seen.push("ground"));
    scope.defer(async () => {
      seen.push("link begins");
      await Bun.sleep(5);
      seen.push("link ends");
    });
    scope.defer(() => seen.push("listener"));
    await scope.close();
    expect(seen).toEqual(["listener", "link begins", "link ends", "ground"]);
  });

  test("tells of a closing that fails, which holds up no other", async () => {
    const scope = open();
    const seen: string[] = [];
    scope.defer(() => seen.push("first"));
    scope.defer(() => {
      throw new Error("thrown");
    });
    scope.defer(() => Promise.reject(new Error("rejected")));
    scope.defer(() => seen.push("last"));
    await scope.close();
    expect(seen).toEqual(["last", "first"]);
    expect(faults.map(String)).toEqual(["Error: rejected", "Error: thrown"]);
  });

  test("closes what is opened while it closes", async () => {
    const scope = open();
    const seen: string[] = [];
    scope.defer(() => {
      scope.defer(() => seen.push("opened late"));
    });
    await scope.close();
    expect(seen).toEqual(["opened late"]);
  });

  test("closes once: a second call waits for the first", async () => {
    const scope = open();
    const gate = Promise.withResolvers<void>();
    let closings = 0;
    scope.defer(() => {
      closings++;
      return gate.promise;
    });
    const first = scope.close();
    let isClosed = false;
    const second = scope.close().then(() => {
      isClosed = true;
    });
    await Bun.sleep(1);
    expect(isClosed).toBe(false);
    gate.resolve();
    await Promise.all([first, second]);
    expect(closings).toBe(1);
  });

  test("does timed work until it is closed, also after a fault, of which it tells", async () => {
    jest.useFakeTimers();
    try {
      const scope = open();
      let turns = 0;
      scope.every(1000, () => {
        if (++turns === 1) throw new Error("the first turn");
      });
      scope.every(1000, () => Promise.reject(new Error("each turn")));
      jest.advanceTimersByTime(2000);
      await Promise.resolve();
      expect(turns).toBe(2);
      expect(faults.map(String).sort()).toEqual(["Error: each turn", "Error: each turn", "Error: the first turn"]);
      await scope.close();
      jest.advanceTimersByTime(10_000);
      expect(turns).toBe(2);
    } finally {
      jest.useRealTimers();
    }
  });
});
