import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { kindOf, timeoutOf } from "../../src/grpc/call.ts";
import { healthFault, healthQuestion } from "../../src/grpc/health.ts";
import { decodeMessage, encodeMessage } from "../../src/grpc/message.ts";
import { BoundedMessages, framedMessage, MessageReader, oneMessage } from "../../src/grpc/messages.ts";
import { bytesField, message, numberField, readNumber } from "../../src/grpc/protobuf.ts";
import { GRPC_STATUSES, httpStatusOf, nameOf, readStatus, statusOf, statusOfHttp, statusOfRefusal } from "../../src/grpc/status.ts";
import { grpcTypeOf, MalformedBase64, WebRequest, webTypeOf } from "../../src/grpc/web.ts";
import { type Body, collect, TooLarge } from "../../src/http/body.ts";
import { Fields } from "../../src/http/fields.ts";
import { CODES } from "../../src/http/problem.ts";

/** A body that comes in these pieces. */
const inPieces = (pieces: readonly Uint8Array[]): Body & { isCancelled: boolean } => ({
  length: -1,
  isCancelled: false,
  start(sink) {
    for (const piece of pieces) sink.write(piece);
    sink.end();
  },
  resume() {},
  cancel() {
    this.isCancelled = true;
  },
});

/** Cuts bytes at these places. */
function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const ends = [...at.map((each) => each % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
}

describe("a call's head", () => {
  test("tells how its caller speaks", () => {
    const kinds = [
      "application/grpc",
      "application/grpc+proto",
      "Application/GRPC; a=b",
      "application/grpc-web",
      "application/grpc-web+json",
      "application/grpc-web-text+proto",
    ];
    expect(kinds.map(kindOf)).toEqual(["grpc", "grpc", "grpc", "web", "web", "web-text"]);
    expect(
      [
        null,
        "",
        "application/json",
        "application/grpc2",
        "application/grpcish",
        "application/grpc-websocket",
        "text/plain; application/grpc",
      ].map(kindOf),
    ).toEqual(Array(7).fill(null));
    expect(grpcTypeOf("application/grpc-web-text+proto")).toBe("application/grpc+proto");
    expect(webTypeOf("application/grpc+proto", "web-text")).toBe("application/grpc-web-text+proto");
    expect(webTypeOf("application/grpc", "web")).toBe("application/grpc-web");
  });

  test("tells how long it may take", () => {
    expect(["1H", "2M", "3S", "40m", "5000u", "6000000n", "99999999S"].map(timeoutOf)).toEqual([
      3_600_000, 120_000, 3000, 40, 5, 6, 99_999_999_000,
    ]);
    expect([null, "", "5", "S", "-1S", "1.5S", "123456789S", "1s"].map(timeoutOf)).toEqual(Array(8).fill(null));
  });
});

describe("a status", () => {
  test("has a name, and an HTTP status that stands for it", () => {
    for (const [status, name] of GRPC_STATUSES.entries()) {
      expect(nameOf(statusOf(name))).toBe(name);
      expect(readStatus(String(status))).toBe(status);
      expect(httpStatusOf(status)).toBeGreaterThan(199);
    }
    expect([readStatus(null), readStatus("x"), readStatus(""), nameOf(99), httpStatusOf(99)]).toEqual([null, 2, 2, "UNKNOWN", 500]);
    expect([200, 400, 401, 404, 429, 503, 418].map(statusOfHttp).map(nameOf)).toEqual([
      "UNKNOWN",
      "INTERNAL",
      "UNAUTHENTICATED",
      "UNIMPLEMENTED",
      "UNAVAILABLE",
      "UNAVAILABLE",
      "UNKNOWN",
    ]);
  });

  test("there is for each refusal", () => {
    for (const { status } of Object.values(CODES)) expect(nameOf(statusOfRefusal({ status }))).not.toBe("UNKNOWN");
    expect([401, 403, 429, 502, 503, 504].map((status) => nameOf(statusOfRefusal({ status })))).toEqual([
      "UNAUTHENTICATED",
      "PERMISSION_DENIED",
      "RESOURCE_EXHAUSTED",
      "UNAVAILABLE",
      "UNAVAILABLE",
      "DEADLINE_EXCEEDED",
    ]);
  });

  test("has a text that travels as ASCII", () => {
    expect(encodeMessage("50 % – ä")).toBe("50 %25 %E2%80%93 %C3%A4");
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        expect(encodeMessage(text)).toMatch(/^[ -~]*$/);
        expect(decodeMessage(encodeMessage(text))).toBe(text);
      }),
    );
  });
});

describe("messages", () => {
  test("are found however their bytes come", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 10 }), (texts, at) => {
        const reader = new MessageReader();
        for (const piece of cut(Buffer.concat(texts.map(framedMessage)), at)) reader.read(piece);
        expect(reader.largest).toBe(Math.max(0, ...texts.map(({ length }) => length)));
      }),
    );
  });

  test("above the bound break the call off", async () => {
    const source = inPieces([framedMessage(Buffer.alloc(10)), framedMessage(Buffer.alloc(11))]);
    expect(await collect(new BoundedMessages(source, 10), 1000).catch((error: unknown) => error)).toBeInstanceOf(TooLarge);
    expect(source.isCancelled).toBe(true);
    expect((await collect(new BoundedMessages(inPieces([framedMessage(Buffer.alloc(10))]), 10), 1000)).length).toBe(15);
  });

  test("of a browser in base64 are the same bytes, in whatever pieces", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 30 }), { maxLength: 5 }),
        fc.array(fc.nat(), { maxLength: 6 }),
        async (texts, at) => {
          const encoded = Buffer.from(texts.map((text) => Buffer.from(text).toString("base64")).join(""));
          const decoded = await collect(new WebRequest(inPieces(cut(encoded, at))), 10_000);
          expect(Buffer.from(decoded)).toEqual(Buffer.concat(texts));
        },
      ),
    );
    for (const bad of ["AAA", "A===", "####", "AA=A"])
      expect(await collect(new WebRequest(inPieces([Buffer.from(bad)])), 100).catch((error: unknown) => error)).toBeInstanceOf(
        MalformedBase64,
      );
  });
});

describe("Protocol Buffers", () => {
  test("numbers are read where they stand", () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 31 }), fc.string(), (value, text) => {
        const bytes = message(bytesField(2, text), numberField(1, value));
        expect(readNumber(bytes, 1)).toBe(value);
      }),
    );
    expect(readNumber(Buffer.from([0x08]), 1)).toBe(null);
    expect(readNumber(Buffer.from([0x12, 0x05, 0x61]), 1)).toBe(null);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 30 }), (bytes) => void readNumber(bytes, 1)));
  });
});

describe("the health of a service", () => {
  const answer = (bytes: Uint8Array, fields: Record<string, string> = { "grpc-status": "0" }) => ({
    status: 200,
    reason: "",
    fields: new Fields(Object.keys(fields), Object.keys(fields), Object.values(fields)),
    connection: "",
    length: -1,
    body: framedMessage(bytes),
    tunnel: null,
  });

  test("is what it says", async () => {
    expect(await healthFault(answer(Buffer.from([8, 1])))).toBe(null);
    expect(await healthFault(answer(Buffer.from([8, 2])))).toContain("NOT_SERVING");
    expect(await healthFault(answer(Buffer.from([])))).toContain("UNKNOWN");
    expect(await healthFault(answer(Buffer.from([]), { "grpc-status": "12", "grpc-message": "no%20such" }))).toContain(
      "UNIMPLEMENTED: no such",
    );
    expect(await healthFault({ ...answer(Buffer.from([8, 1])), status: 503, body: null })).toContain("503");
    expect(healthQuestion("a.B").length).toBe(5 + 5);
    expect(oneMessage(framedMessage(Buffer.from("x")))).toEqual(Buffer.from("x"));
  });
});
