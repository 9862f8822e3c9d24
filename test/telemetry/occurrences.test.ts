import { expect, test } from "bun:test";
import { Occurrences } from "../../src/telemetry/occurrences.ts";

const SHORT = { type: "shortage", isShort: true } as const;

test("subscribers are told in the order in which they came, each before emit returns", () => {
  const occurrences = new Occurrences();
  const seen: string[] = [];
  occurrences.subscribe({ shortage: () => seen.push("log"), owing: () => seen.push("not this one") });
  occurrences.subscribe({ shortage: ({ isShort }) => seen.push(`counters: ${isShort}`) });
  occurrences.emit(SHORT);
  expect(seen).toEqual(["log", "counters: true"]);
});

test("what nobody has subscribed to goes by unnoticed", () => {
  const occurrences = new Occurrences();
  occurrences.emit(SHORT);
  const seen: string[] = [];
  occurrences.subscribe({ owing: () => seen.push("owing") });
  occurrences.emit(SHORT);
  expect(seen).toEqual([]);
});

test("emit may be handed on by itself", () => {
  const occurrences = new Occurrences();
  const { emit } = occurrences;
  let count = 0;
  occurrences.subscribe({ owing: () => void count++ });
  emit({ type: "owing" });
  expect(count).toBe(1);
});
