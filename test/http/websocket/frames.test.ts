import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MessageBounds } from "../../../src/http/websocket/bounds.ts";
import { CLOSE, CONTINUATION, closeFrame, type FrameHead, FrameReader, PING, PONG, TEXT } from "../../../src/http/websocket/frames.ts";
import { frameOf } from "../../support/frames.ts";

const anyFrame = fc.record({
  opcode: fc.constantFrom(0, 1, 2, 8, 9, 10),
  isFinal: fc.boolean(),
  isMasked: fc.boolean(),
  payload: fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(...[126, 127, 65_535, 65_536].map((size) => new Uint8Array(size)))),
});

/** Cuts bytes at the given places, taken modulo what is left. */
function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const size of sizes) {
    if (at >= bytes.length) break;
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return [...pieces, bytes.subarray(at)];
}

describe("frames that pass", () => {
  test("are told each once, and come out as they came in, however they are cut", () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 200 }), (frames, sizes) => {
        const reader = new FrameReader();
        const told: FrameHead[] = [];
        const passed = cut(Buffer.concat(frames.map(frameOf)), sizes).map((piece) => reader.read(piece, (frame) => told.push(frame) > 0));
        expect(Buffer.concat(passed).equals(Buffer.concat(frames.map(frameOf)))).toBe(true);
        expect(reader.isBetween).toBe(true);
        expect(told).toEqual(
          frames.map(({ opcode, isFinal, payload }) => ({ opcode, isFinal, isExtended: false, length: payload.length })),
        );
      }),
    );
  });

  test("end before the first that is refused, even where its head came in pieces", () => {
    fc.assert(
      fc.property(
        fc.array(anyFrame, { minLength: 1, maxLength: 6 }),
        fc.nat({ max: 5 }),
        fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 100 }),
        (frames, nth, sizes) => {
          const refused = nth % frames.length;
          const reader = new FrameReader();
          let count = 0;
          let isOver = false;
          const passed: Uint8Array[] = [];
          for (const piece of cut(Buffer.concat(frames.map(frameOf)), sizes)) {
            if (isOver) break;
            passed.push(
              reader.read(piece, () => {
                isOver = count++ === refused;
                return !isOver;
              }),
            );
          }
          expect(Buffer.concat(passed).equals(Buffer.concat(frames.slice(0, refused).map(frameOf)))).toBe(true);
        },
      ),
    );
  });

  test("have lengths up to what can be counted", () => {
    const lengthOf = (bytes: number[]): number => {
      let length = -1;
      new FrameReader().read(new Uint8Array([0x82, 0x7f, ...bytes]), (frame) => {
        length = frame.length;
        return false;
      });
      return length;
    };
    expect(lengthOf([0, 0, 0, 1, 0, 0, 0, 0])).toBe(2 ** 32);
    expect(lengthOf([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])).toBe(Number.POSITIVE_INFINITY);
  });

  test("a Close frame can be read by whom it is for", () => {
    for (const masked of [false, true]) {
      const frame = closeFrame(1009, "message too large", masked);
      const at = masked ? 6 : 2;
      const payload = frame.subarray(at).map((byte, i) => (masked ? byte ^ (frame[2 + (i % 4)] as number) : byte));
      expect([frame[0], (frame[1] as number) & 0x80, Buffer.from(payload.subarray(2)).toString()]).toEqual([
        0x88,
        masked ? 0x80 : 0,
        "message too large",
      ]);
      expect(Buffer.from(payload).readUInt16BE()).toBe(1009);
    }
  });
});

describe("what a client may send", () => {
  const frame = (opcode: number, length: number, isFinal = true, isExtended = false): FrameHead => ({
    opcode,
    length,
    isFinal,
    isExtended,
  });
  const bounds = (maxMessage: number, perSecond: number) => new MessageBounds({ maxMessage, perSecond }, 0);

  test("is a message up to the bound, all its fragments together", () => {
    const of = bounds(10, Number.POSITIVE_INFINITY);
    expect(of.judge(frame(TEXT, 10), 0)).toBeNull();
    expect(of.judge(frame(TEXT, 4, false), 0)).toBeNull();
    expect(of.judge(frame(PING, 125), 0)).toBeNull();
    expect(of.judge(frame(CONTINUATION, 6, false), 0)).toBeNull();
    expect(of.judge(frame(CONTINUATION, 0, true), 0)).toBeNull();
    expect(of.judge(frame(TEXT, 4, false), 0)).toBeNull();
    expect(of.judge(frame(CONTINUATION, 7), 0)?.code).toBe(1009);
    expect(bounds(10, 1).judge(frame(TEXT, 11), 0)?.code).toBe(1009);
  });

  test("keeps to the protocol where that is what is measured by", () => {
    const refused: [FrameHead[], number][] = [
      [[frame(CONTINUATION, 1)], 1],
      [[frame(TEXT, 1, false), frame(TEXT, 1)], 2],
      [[frame(PING, 126)], 1],
      [[frame(PING, 1, false)], 1],
      [[frame(TEXT, 1, true, true)], 1],
    ];
    for (const [frames, count] of refused) {
      const of = bounds(10, Number.POSITIVE_INFINITY);
      const codes = frames.map((each) => of.judge(each, 0)?.code ?? null);
      expect(codes.slice(0, count)).toEqual([...Array(count - 1).fill(null), 1002]);
    }
    // What is compressed is passed on where only their number counts.
    expect(bounds(Number.POSITIVE_INFINITY, 1).judge(frame(TEXT, 1, true, true), 0)).toBeNull();
  });

  test("is so many messages and pings a second, with a second's worth at once", () => {
    const of = bounds(100, 4);
    for (let i = 0; i < 3; i++) expect(of.judge(frame(TEXT, 1), 0)).toBeNull();
    expect(of.judge(frame(PING, 1), 0)).toBeNull();
    expect(of.judge(frame(TEXT, 1), 100)?.code).toBe(1008);
    expect(of.judge(frame(TEXT, 1), 300)).toBeNull();
    expect(of.judge(frame(PING, 1), 300)?.code).toBe(1008);
    // Fragments are one message.
    const large = bounds(Number.POSITIVE_INFINITY, 1);
    expect(large.judge(frame(TEXT, 1, false), 0)).toBeNull();
    for (let i = 0; i < 20; i++) expect(large.judge(frame(CONTINUATION, 126, false), 0)).toBeNull();
    expect(large.judge(frame(CONTINUATION, 0, true), 0)).toBeNull();
  });

  test("is no flood of frames that are no messages", () => {
    const fragments = bounds(100, 3);
    expect(fragments.judge(frame(TEXT, 1, false), 0)).toBeNull();
    for (const length of [0, 1]) expect(fragments.judge(frame(CONTINUATION, length, false), 0)).toBeNull();
    expect(fragments.judge(frame(CONTINUATION, 0, false), 0)?.code).toBe(1008);

    // A pong that answers the backend's ping is free, and so is a Close.
    const pongs = bounds(100, 2);
    for (let i = 0; i < 5; i++) {
      pongs.pinged();
      expect(pongs.judge(frame(PONG, 4), 0)).toBeNull();
    }
    for (let i = 0; i < 2; i++) expect(pongs.judge(frame(PONG, 0), 0)).toBeNull();
    expect(pongs.judge(frame(PONG, 0), 0)?.code).toBe(1008);
    expect(pongs.judge(frame(CLOSE, 2), 0)).toBeNull();
    // Who never answers pings has no more than a few pongs to spare.
    const silent = bounds(100, 1);
    for (let i = 0; i < 1000; i++) silent.pinged();
    const passed = Array.from({ length: 100 }, () => silent.judge(frame(PONG, 0), 0)).filter((each) => each === null).length;
    expect(passed).toBe(17);
  });
});
