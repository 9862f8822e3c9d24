import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ChunkedDecoder, encodeChunk, FramingFault, LAST_CHUNK, LengthDecoder } from "../../src/http/framing.ts";

/** Feeds a stream in pieces cut at `cuts` and gives what came out, and how many bytes were used. */
function decode(decoder: ChunkedDecoder | LengthDecoder, stream: Buffer, cuts: number[]): { body: Buffer; used: number } {
  const parts: Uint8Array[] = [];
  const borders = [...new Set(cuts.map((cut) => cut % (stream.length + 1)))].sort((a, b) => a - b);
  let used = 0;
  let from = 0;
  for (const to of [...borders, stream.length]) {
    if (decoder.done) break;
    used = from + decoder.decode(stream.subarray(from, to), 0, (part) => parts.push(Buffer.from(part)));
    from = to;
  }
  return { body: Buffer.concat(parts), used };
}

const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 8 });
const cuts = fc.array(fc.nat(5000), { maxLength: 12 });

describe("a chunked body", () => {
  test("comes out whole however the network cuts it, and leaves what follows it", () => {
    fc.assert(
      fc.property(chunks, cuts, fc.uint8Array({ maxLength: 40 }), (bodies, cutAt, next) => {
        const message = Buffer.concat([...bodies.map(encodeChunk), LAST_CHUNK]);
        const decoder = new ChunkedDecoder();
        const { body, used } = decode(decoder, Buffer.concat([message, next]), cutAt);
        expect(decoder.done).toBe(true);
        expect(used).toBe(message.length);
        expect(body.equals(Buffer.concat(bodies))).toBe(true);
      }),
    );
  });

  test("goes on in one piece where its small chunks come in one, and large chunks by themselves", () => {
    const piecesOf = (...bodies: string[]) => {
      const pieces: string[] = [];
      const stream = Buffer.concat([...bodies.map((body) => encodeChunk(Buffer.from(body))), LAST_CHUNK]);
      new ChunkedDecoder().decode(stream, 0, (part) => pieces.push(Buffer.from(part).toString()));
      return pieces;
    };
    const large = "x".repeat(16_384);
    expect(piecesOf("data: 1\n\n", "data: 2\n\n", "data: 3\n\n")).toEqual(["data: 1\n\ndata: 2\n\ndata: 3\n\n"]);
    expect(piecesOf("a", "b", large, "c", large, large)).toEqual(["ab", large, "c", large, large]);
  });

  test("gives what came before a fault", () => {
    const pieces: string[] = [];
    const stream = Buffer.from("1\r\na\r\n1\r\nb\r\nno size");
    expect(() => new ChunkedDecoder().decode(stream, 0, (part) => pieces.push(part.toString()))).toThrow(FramingFault);
    expect(pieces).toEqual(["ab"]);
  });

  test("may carry extensions, which are dropped, and trailers, which are kept", () => {
    fc.assert(
      fc.property(cuts, (cutAt) => {
        const decoder = new ChunkedDecoder();
        const { body } = decode(decoder, Buffer.from('3;name="value"\r\nabc\r\n0\r\nDigest:  x \r\nMore: y:z\r\n\r\n'), cutAt);
        expect(body.toString()).toBe("abc");
        expect(decoder.done).toBe(true);
        expect([decoder.trailers?.names, decoder.trailers?.values]).toEqual([
          ["Digest", "More"],
          ["x", "y:z"],
        ]);
      }),
    );
  });

  test("has no trailers that frame or route a message, authenticate, or say what only a gateway may say", () => {
    const names = [
      ...["Content-Length", "Transfer-Encoding", "Host", "Authorization", "Set-Cookie", "Content-Type", "Cache-Control", "Trailer"],
      ...["X-Consumer-ID", "X_Consumer_Tier", "x-forwarded-for", "X_Forwarded_Host", "X-Api-Key", "X-Request-ID", "X-Real-IP", "Forwarded"],
    ];
    const decoder = new ChunkedDecoder();
    decode(decoder, Buffer.from(`0\r\n${names.map((name) => `${name}: 1\r\n`).join("")}\r\n`), []);
    expect([decoder.done, decoder.trailers]).toEqual([true, null]);
  });

  test.each([
    ["no size", "\r\nabc\r\n"],
    ["a size that is not hexadecimal", "g\r\nabc\r\n"],
    ["a sign", "+3\r\nabc\r\n"],
    ["a prefix", "0x3\r\nabc\r\n"],
    ["a bare LF after the size", "3\nabc\r\n0\r\n\r\n"],
    ["a chunk longer than its size", "3\r\nabcd\r\n0\r\n\r\n"],
    ["a bare LF after the data", "3\r\nabc\n0\r\n\r\n"],
    ["a size out of range", "ffffffffffffffff\r\n"],
    ["a bare LF in an extension", "3;a\nabc\r\n"],
    ["a bare LF in a trailer", "0\r\nA: b\n\r\n"],
    ["a trailer without a colon", "0\r\nabc\r\n\r\n"],
    ["a space before a trailer's colon", "0\r\nA : b\r\n\r\n"],
    ["a control character in a trailer", "0\r\nA: b\0c\r\n\r\n"],
    ["an endless extension", `3;${"a".repeat(5000)}`],
    ["endless trailers", `0\r\n${"A: b\r\n".repeat(4000)}`],
  ])("with %s is refused", (_what, text) => {
    const decoder = new ChunkedDecoder();
    expect(() => decoder.decode(Buffer.from(text), 0, () => {})).toThrow(FramingFault);
  });
});

test("a body with a length takes exactly that many bytes, however the network cuts it", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 500 }), fc.uint8Array({ maxLength: 50 }), cuts, (body, next, cutAt) => {
      const decoder = new LengthDecoder(body.length);
      const out = decode(decoder, Buffer.concat([body, next]), cutAt);
      expect(decoder.done).toBe(true);
      expect(out.body.equals(body)).toBe(true);
      expect(out.used).toBe(body.length);
    }),
  );
});
