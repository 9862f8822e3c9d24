import { expect, test } from "bun:test";
import fc from "fast-check";
import { encodeChunk } from "../../src/http/framing.ts";
import { Outgoing, type RawSocket } from "../../src/http/outgoing.ts";

/** A socket that takes what the test lets it take. */
class Slow implements Pick<RawSocket, "write"> {
  sent = "";
  writes = 0;
  isClosed = false;
  constructor(private room: number) {}

  write(bytes: Uint8Array, offset = 0, length = bytes.length - offset): number {
    this.writes++;
    if (this.isClosed) return -1;
    const taken = Math.min(this.room, length);
    this.room -= taken;
    this.sent += Buffer.from(bytes.buffer, bytes.byteOffset + offset, taken).toString("latin1");
    return taken;
  }

  takes(more: number): void {
    this.room += more;
  }
}

const pair = (room: number) => {
  const socket = new Slow(room);
  return { socket, out: new Outgoing(socket as unknown as RawSocket), expected: "" };
};

/** A text that shows where it was written. */
const textOf = (nth: number, size: number): string => `<${nth}>`.padEnd(size, "abcdefghij");

const SOCKETS = 8;
const size = fc.oneof(fc.integer({ min: 4, max: 300 }), fc.integer({ min: 10_000, max: 90_000 }));
const which = fc.nat(SOCKETS - 1);
const step = fc.oneof(
  fc.record({ do: fc.constantFrom("bytes" as const, "head" as const, "chunk" as const), which, size }),
  fc.record({
    do: fc.constant("message" as const),
    which,
    size: fc.constant(4),
    body: fc.oneof(size, fc.constant(0)),
    isText: fc.boolean(),
  }),
  fc.record({ do: fc.constantFrom("send" as const, "reads" as const, "drained" as const, "turn" as const), which, size }),
);

test("all that is written to a socket arrives whole and in its order, however much the kernel takes and whoever else writes meanwhile", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 100, size: "max" }),
      fc.array(fc.nat(120_000), { minLength: SOCKETS, maxLength: SOCKETS }),
      async (steps, rooms) => {
        const all = rooms.map(pair);
        for (const [n, each] of steps.entries()) {
          const it = all[each.which] as ReturnType<typeof pair>;
          switch (each.do) {
            case "chunk": {
              const bytes = Buffer.from(textOf(n, each.size));
              it.expected += encodeChunk(bytes).toString("latin1");
              it.out.writeChunk(bytes);
              break;
            }
            case "bytes":
            case "head": {
              const text = textOf(n, each.size);
              it.expected += text;
              if (each.do === "bytes") it.out.write(Buffer.from(text));
              else it.out.writeMessage(text, null);
              break;
            }
            case "message": {
              const [head, body] = [textOf(n, each.size), each.body === 0 ? "" : textOf(n, each.body)];
              it.expected += head + body;
              it.out.writeMessage(head, each.isText ? body : Buffer.from(body));
              break;
            }
            case "send":
              it.out.send();
              break;
            case "reads":
              // The kernel has room before the event says so.
              it.socket.takes(each.size);
              break;
            case "drained":
              it.out.flush();
              break;
            case "turn":
              await new Promise((resolve) => setImmediate(resolve));
              break;
          }
          for (const { expected, socket } of all) expect(expected.startsWith(socket.sent)).toBe(true);
          expect(it.out.pending).toBeLessThanOrEqual(it.expected.length - it.socket.sent.length);
        }
        await new Promise((resolve) => setImmediate(resolve));
        for (const { socket, out, expected } of all) {
          expect(socket.sent.length + out.pending).toBe(expected.length);
          socket.takes(10_000_000);
          expect(out.flush()).toBe(true);
          expect([socket.sent === expected, out.pending]).toEqual([true, 0]);
        }
      },
    ),
  );
});

test("messages leave at the end of the turn, those for one socket in one call", async () => {
  const [one, other] = [pair(1000), pair(1000)];
  expect([one.out.writeMessage("a", "b"), one.out.writeMessage("c", null), other.out.writeMessage("d", "e")]).toEqual([true, true, true]);
  expect([one.socket.writes, other.socket.writes]).toEqual([0, 0]);
  await new Promise((resolve) => setImmediate(resolve));
  expect([one.socket.sent, one.socket.writes, other.socket.sent, other.socket.writes]).toEqual(["abc", 1, "de", 1]);
  one.out.writeMessage("f", null);
  one.out.write(Buffer.from("g"));
  expect(one.socket.sent).toBe("abcfg");
});

test("what is written to a socket that has closed meanwhile goes nowhere, and holds up nobody else", async () => {
  const [gone, other] = [pair(1000), pair(1000)];
  gone.out.writeMessage("a", null);
  other.out.writeMessage("b", null);
  gone.socket.isClosed = true;
  await new Promise((resolve) => setImmediate(resolve));
  expect([gone.socket.sent, other.socket.sent]).toEqual(["", "b"]);
});
