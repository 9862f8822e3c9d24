import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { WholeEvents } from "../../src/tokens/whole-events.ts";

/** Gives what goes on of a text that comes in pieces, and what is left at its end. */
function cut(pieces: readonly string[]): { passed: string[]; rest: string; gap: string } {
  const events = new WholeEvents();
  const passed = pieces.flatMap((piece) => {
    const bytes = events.take(Buffer.from(piece));
    return bytes === null ? [] : [Buffer.from(bytes).toString()];
  });
  return { passed, rest: Buffer.from(events.rest() ?? []).toString(), gap: events.gap };
}

describe("a stream of events that is cut into whole ones", () => {
  test.each(["\n\n", "\r\n\r\n", "\r\r", "\n\r\n"])("knows their ends: %j", (border) => {
    const text = `data: 1${border}`;
    expect(cut([text])).toEqual({ passed: [text], rest: "", gap: "" });
    expect(cut([`${text}data: 2`])).toEqual({ passed: [text], rest: "data: 2", gap: "" });
    expect(cut(["da", "ta: 1", border])).toEqual({ passed: [text], rest: "", gap: "" });
  });

  test("passes all bytes in their order, and nothing but whole events, however it is split", () => {
    const border = fc.constantFrom("\n\n", "\r\n\r\n");
    const event = fc.tuple(fc.constantFrom("data: 1", "event: x\ndata: 22", ": keep-alive"), border).map(([text, end]) => text + end);
    fc.assert(
      fc.property(fc.array(event, { maxLength: 8 }), fc.constantFrom("", "data: half"), fc.array(fc.nat(40)), (whole, half, places) => {
        const text = whole.join("") + half;
        const cuts = [...new Set(places.map((place) => Math.min(place, text.length)))].sort((a, b) => a - b);
        const pieces = [0, ...cuts].map((from, i) => text.slice(from, cuts[i] ?? text.length)).filter((piece) => piece !== "");
        const { passed, rest } = cut(pieces);
        expect(passed.join("") + rest).toBe(text);
        for (const part of passed) expect(part).toMatch(/(\n\n|\n\r\n)$/);
      }),
    );
  });

  test("holds no event that is larger than 64 KiB, and says that one is open", () => {
    const large = `data: ${"x".repeat(70_000)}`;
    const events = new WholeEvents();
    expect(events.take(Buffer.from(large))?.length).toBe(large.length);
    expect(events.gap).toBe("\n\n");
    expect(Buffer.from(events.take(Buffer.from("y\n\ndata: 2")) ?? []).toString()).toBe("y\n\n");
    expect([events.gap, Buffer.from(events.rest() ?? []).toString()]).toEqual(["", "data: 2"]);
  });
});
