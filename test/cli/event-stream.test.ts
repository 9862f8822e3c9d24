import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { eventsIn } from "../../src/cli/event-stream.ts";
import { lineOf } from "../../src/cli/logs.ts";

describe("a stream of events", () => {
  test("gives each event whole, however its bytes are cut", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ text: fc.string({ unit: "grapheme" }), isBeat: fc.boolean() })),
        fc.integer({ min: 1, max: 7 }),
        async (events, size) => {
          const whole = events.map(({ text, isBeat }) => (isBeat ? ":\n\n" : `event: request\ndata: ${JSON.stringify(text)}\n\n`)).join("");
          const bytes = new TextEncoder().encode(whole);
          const stream = new ReadableStream<Uint8Array>({
            start: (controller) => {
              for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.subarray(at, at + size));
              controller.close();
            },
          });
          const read: unknown[] = [];
          for await (const data of eventsIn(stream)) read.push(JSON.parse(data));
          expect(read).toEqual(events.filter(({ isBeat }) => !isBeat).map(({ text }) => text));
        },
      ),
      { numRuns: 100 },
    );
  });

  test("is shown as the log shows it", () => {
    const at = "2026-11-29T14:09:18.123Z";
    const request = {
      type: "request",
      at,
      requestId: "r1",
      method: "GET",
      path: "/api/users/x",
      status: 401,
      latencyMs: 0.3,
      code: "keyMissing",
      ip: "127.0.0.1",
    };
    expect(lineOf(JSON.stringify(request), false)).toBe("14:09:18 401 GET /api/users/x 0.3ms keyMissing 127.0.0.1 r1\n");
    expect(lineOf(JSON.stringify({ ...request, skipped: 7 }), false)).toStartWith("… 7 more\n14:09:18 401 ");
    expect(lineOf(JSON.stringify({ type: "redis", at, up: false, why: "gone" }), false)).toBe("14:09:18 WARN  redis up=false why=gone\n");
  });
});
