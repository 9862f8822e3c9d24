import { describe, expect, test } from "bun:test";
import { Remembered } from "../../src/issuers/remembered.ts";

describe("what is remembered", () => {
  test("is there until its time is over", () => {
    const remembered = new Remembered<string>(10);
    remembered.put("a", "A", 100, 0);
    expect(remembered.get("a", 99)).toBe("A");
    expect(remembered.get("a", 100)).toBeNull();
    expect(remembered.size).toBe(0);
    remembered.put("b", "B", 100, 100);
    expect(remembered.size).toBe(0);
  });

  test("is there no longer when the clock is set back", () => {
    const remembered = new Remembered<string>(10);
    remembered.put("a", "A", 1100, 1000);
    expect(remembered.get("a", 999)).toBeNull();
    expect(remembered.size).toBe(0);
  });

  test("never is more than there is room for", () => {
    const remembered = new Remembered<number>(100);
    for (let i = 0; i < 10_000; i++) {
      remembered.put(String(i), i, 1000, 0);
      expect(remembered.size).toBeLessThanOrEqual(100);
      expect(remembered.get(String(i), 0)).toBe(i);
    }
  });

  test("stays longer when it is asked for, and what nobody asks for goes first", () => {
    const remembered = new Remembered<number>(10);
    for (let i = 0; i < 10; i++) remembered.put(`old ${i}`, i, 1000, 0);
    for (let i = 0; i < 100; i++) {
      expect(remembered.get("old 3", 0)).toBe(3);
      remembered.put(`new ${i}`, i, 1000, 0);
    }
    expect(remembered.get("old 4", 0)).toBeNull();
  });

  test("makes room at once also when all of it is asked for", () => {
    const remembered = new Remembered<number>(5000);
    for (let i = 0; i < 5000; i++) remembered.put(String(i), i, 1000, 0);
    for (let i = 0; i < 5000; i++) remembered.get(String(i), 0);
    remembered.put("one more", 1, 1000, 0);
    expect(remembered.size).toBe(5000);
    expect(remembered.get("one more", 0)).toBe(1);
  });

  test("is forgotten where it is not so any more", () => {
    const remembered = new Remembered<number>(10);
    for (let i = 0; i < 6; i++) remembered.put(String(i), i, 1000, 0);
    remembered.forget((value) => value % 2 === 0);
    expect([0, 1, 2, 3, 4, 5].filter((i) => remembered.get(String(i), 0) !== null)).toEqual([1, 3, 5]);
  });
});
