import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Body, Sink } from "../../src/http/body.ts";
import { HeldAnswer } from "../../src/models/held-answer.ts";

const LAST = "event: error\ndata: {}\n\n";
const AFTERWARDS = { lastWords: () => Buffer.from(LAST), onBroken: () => {} };

/** A body that gives these pieces, no more at once than are taken, and ends or breaks off. */
function source(pieces: readonly string[], isBroken: boolean): Body {
  let left = pieces.map((piece) => Buffer.from(piece));
  let sink: Sink | null = null;
  const push = (): void => {
    while (left.length > 0) {
      const [piece = Buffer.alloc(0), ...rest] = left;
      left = rest;
      if (sink?.write(piece) === false) return;
    }
    const end = sink;
    sink = null;
    if (isBroken) end?.fail(new Error("broken"));
    else end?.end();
  };
  return {
    length: -1,
    start: (taker) => {
      sink = taker;
      push();
    },
    resume: push,
    cancel: () => {
      sink = null;
    },
  };
}

/** Reads an answer to its end; `null`: it broke off. */
const read = (body: Body): Promise<string | null> =>
  new Promise((resolve) => {
    let text = "";
    body.start({
      write: (bytes) => {
        text += Buffer.from(bytes).toString("latin1");
        return true;
      },
      end: () => resolve(text),
      fail: () => resolve(null),
    });
  });

const events = fc.array(
  fc.constantFrom(
    ": alive\n\n",
    'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
    'event: ping\ndata: {"type":"ping"}\r\n\r\n',
    "data: [DONE]\n\n",
  ),
  { minLength: 1, maxLength: 8 },
);
const cut = (text: string, size: number): string[] => text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];

test("a stream goes on byte by byte as it came, however it is cut", async () => {
  await fc.assert(
    fc.asyncProperty(events, fc.integer({ min: 1, max: 40 }), async (list, size) => {
      const text = list.join("");
      const held = new HeldAnswer(source(cut(text, size), false), true, AFTERWARDS);
      const hasContent = list.some((event) => event.startsWith("data"));
      expect(await held.verdict).toBe(hasContent ? null : "connect");
      if (hasContent) expect(await read(held)).toBe(text);
    }),
  );
});

test("a stream that breaks off ends behind its last whole event with an error", async () => {
  await fc.assert(
    fc.asyncProperty(events, fc.integer({ min: 1, max: 40 }), async (list, size) => {
      const whole = `data: {"choices":[{"delta":{"content":"first"}}]}\n\n${list.join("")}`;
      const held = new HeldAnswer(source(cut(`${whole}data: {"half`, size), true), true, AFTERWARDS);
      expect(await held.verdict).toBeNull();
      expect(await read(held)).toBe(`${whole}${LAST}`);
    }),
  );
});

test("a stream that says nothing in 64 KB goes on as it is", async () => {
  const text = ": alive\n\n".repeat(10_000);
  const held = new HeldAnswer(source(cut(text, 1000), false), true, AFTERWARDS);
  expect(await held.verdict).toBeNull();
  expect(await read(held)).toBe(text);
});

test("an answer in one piece is held until it is whole, up to 64 KB, and a larger one breaks off as it came", async () => {
  const verdictOf = (length: number, isBroken: boolean) =>
    new HeldAnswer(source(cut("x".repeat(length), 1000), isBroken), false, AFTERWARDS);
  expect(await verdictOf(60_000, true).verdict).toBe("connect");
  expect(await verdictOf(60_000, false).verdict).toBeNull();
  const large = verdictOf(100_000, true);
  expect(await large.verdict).toBeNull();
  expect(await read(large)).toBeNull();
});
