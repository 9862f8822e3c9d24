import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { EventNumbers } from "../../src/tokens/events.ts";
import { Kind, NumbersAt, Places } from "../../src/tokens/number-at.ts";
import { without } from "../../src/tokens/stream-usage.ts";

const numberAt = (path: readonly string[]) => new NumbersAt(new Places([[path]]));

/** Feeds a text cut at these places. */
function inPieces(text: string, cuts: readonly number[], feed: (bytes: Uint8Array) => void): void {
  const bytes = Buffer.from(text);
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  for (let i = 1; i < places.length; i++) feed(bytes.subarray(places[i - 1], places[i]));
}

const at = (value: unknown, path: readonly string[]): unknown => {
  let here = value;
  for (const name of path) {
    if (typeof here !== "object" || here === null || Array.isArray(here) || !Object.hasOwn(here, name)) return undefined;
    here = (here as Record<string, unknown>)[name];
  }
  return here;
};

/** Names that are near the path's, so that what is nearly right is tried as well. */
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer(),
    fc.string(),
    fc.constantFrom('a"b\\', "usage", "\\", '"total_tokens":9', null, true, false),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom("usage", "total_tokens", "usag", "usage_", 'us"age', "x\\"), tie("value"), { maxKeys: 4 }),
  ),
}));

describe("A number in a JSON text that comes in pieces", () => {
  test("is what JSON.parse finds there, however the text is cut and indented", () => {
    fc.assert(
      fc.property(
        json.value,
        fc.constantFrom(["usage"], ["usage", "total_tokens"], ["usage", "usage", "usage"]),
        fc.constantFrom(undefined, 2, "\t"),
        fc.array(fc.nat(), { maxLength: 8 }),
        (value, path, space, cuts) => {
          const number = numberAt(path);
          inPieces(JSON.stringify(value, null, space), cuts, (bytes) => number.feed(bytes, 0, bytes.length));
          const there = at(value, path);
          expect(number.values[0] ?? null).toBe(typeof there === "number" ? (Object.is(there, -0) ? 0 : there) : null);
        },
      ),
      { numRuns: 3000 },
    );
  });

  test("is found at several places at once, with what stands there", () => {
    const kindOf = (value: unknown): Kind => {
      if (value === undefined) return Kind.Nothing;
      if (typeof value === "number") return Kind.Number;
      if (Array.isArray(value)) return value.length === 0 ? Kind.EmptyList : Kind.List;
      return typeof value === "object" && value !== null ? Kind.Object : Kind.Other;
    };
    const paths = [["usage"], ["usage", "total_tokens"], ["usag"], ["usag", "usage"], ["usage", "usage", "usag"]];
    fc.assert(
      fc.property(json.value, fc.constantFrom(undefined, 2), fc.array(fc.nat(), { maxLength: 8 }), (value, space, cuts) => {
        const numbers = new NumbersAt(new Places(paths.map((path) => [path])));
        inPieces(`${JSON.stringify(value, null, space)}\n`, cuts, (bytes) => numbers.feed(bytes, 0, bytes.length));
        expect([...numbers.kinds]).toEqual(paths.map((path) => kindOf(at(value, path))));
        expect(numbers.isClosed).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });

  test("is found behind megabytes of other things", () => {
    const number = numberAt(["usage", "total_tokens"]);
    const text = JSON.stringify({
      data: Array.from({ length: 50_000 }, (_, i) => ({ i, text: 'quoted "text" \\ ' })),
      usage: { total_tokens: 7 },
    });
    inPieces(text, [1_000_003, 65_536, 9], (bytes) => number.feed(bytes, 0, bytes.length));
    expect(number.values[0] ?? null).toBe(7);
  });
});

describe("Numbers in a stream of events", () => {
  const streamed = (text: string, cuts: readonly number[] = []) => {
    const number = numberAt(["usage", "total_tokens"]);
    const events = new EventNumbers(number, without(Buffer.from('"usage"')));
    inPieces(text, cuts, (bytes) => events.feed(bytes));
    return [number.values[0] ?? null, events.events];
  };
  const event = (value: unknown) => `data: ${JSON.stringify(value)}`;
  const lines = [
    ": a comment with data: {}",
    "event: message",
    event({ choices: [{ delta: { content: 'data: {"usage":{"total_tokens":5}}' } }], usage: null }),
    "",
    "id: 7",
    event({ choices: [], usage: { prompt_tokens: 3, total_tokens: 41 } }),
    "",
    "data: [DONE]",
    "",
    "",
  ];

  test("are read whatever the line ends are and wherever the stream is cut", () => {
    for (const end of ["\n", "\r\n", "\r"])
      fc.assert(
        fc.property(fc.array(fc.nat(), { maxLength: 12 }), (cuts) => {
          expect(streamed(lines.join(end), cuts)).toEqual([41, 2]);
        }),
      );
  });

  test("the last one counts, zero included, and an event may have several lines of data", () => {
    expect(streamed(`${event({ usage: { total_tokens: 9 } })}\n\n${event({ usage: { total_tokens: 0 } })}\n\n`)).toEqual([0, 2]);
    expect(streamed('data: {"usage":\ndata: {"total_tokens":\ndata: 12}}\n\n')).toEqual([12, 1]);
    expect(streamed('data: {"a":{}\ndata: ,"usage":{"total_tokens":13}}\n\n')).toEqual([13, 1]);
    expect(streamed('data: {"usage": {"total_tokens": 12')).toEqual([null, 1]);
  });
});
