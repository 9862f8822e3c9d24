import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Body, Sink } from "../../src/http/body.ts";
import { collect } from "../../src/http/body.ts";
import { HeldBody } from "../../src/http/held-body.ts";

/** A body that is pushed by hand, as a socket does. */
class Pushed implements Body {
  readonly length = -1;
  isPaused = false;
  isCancelled = false;
  sink: Sink | null = null;

  start(sink: Sink): void {
    this.sink = sink;
  }
  push(...parts: number[]): void {
    if (this.sink?.write(Uint8Array.from(parts)) === false) this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  cancel(): void {
    this.isCancelled = true;
  }
}

describe("a body that is held", () => {
  test("is there as a whole where it is small, and goes on once more", async () => {
    const source = new Pushed();
    const held = new HeldBody(source, 10);
    source.push(1, 2);
    source.push(3);
    source.sink?.end();
    expect([...((await held.whole) ?? [])]).toEqual([1, 2, 3]);
    expect([...(await collect(held, 100))]).toEqual([1, 2, 3]);
  });

  test("goes on from its beginning where it is too large, and its sender waits meanwhile", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 10 }),
        fc.nat(20),
        async (parts, max) => {
          const source = new Pushed();
          const held = new HeldBody(source, max);
          const size = parts.reduce((sum, part) => sum + part.length, 0);
          let sent = 0;
          while (sent < parts.length && !source.isPaused) source.push(...(parts[sent++] ?? []));
          if (sent < parts.length || size > max) {
            expect(await held.whole).toBeNull();
            expect(source.isPaused).toBe(true);
          }
          const rest = collect(held, 1000);
          expect(source.isPaused).toBe(false);
          while (sent < parts.length) source.push(...(parts[sent++] ?? []));
          source.sink?.end();
          expect([...(await rest)]).toEqual(parts.flatMap((part) => [...part]));
        },
      ),
    );
  });

  test("that goes on before it has ended is not there as a whole", async () => {
    const source = new Pushed();
    const held = new HeldBody(source, 10);
    source.push(1);
    const rest = collect(held, 100);
    source.push(2);
    source.sink?.end();
    expect(await held.whole).toBeNull();
    expect([...(await rest)]).toEqual([1, 2]);
  });

  test("says so to both sides when it breaks off, and gives up its source when nobody wants it", async () => {
    const source = new Pushed();
    const held = new HeldBody(source, 10);
    source.sink?.fail(new Error("broke off"));
    expect(held.whole).rejects.toThrow("broke off");
    expect(collect(held, 10)).rejects.toThrow("broke off");
    const other = new Pushed();
    const unwanted = new HeldBody(other, 10);
    unwanted.cancel();
    expect(other.isCancelled).toBe(true);
    expect(await unwanted.whole).toBeNull();
  });

  test("is held only as far as there is room", async () => {
    const source = new Pushed();
    let taken = 0;
    const held = new HeldBody(source, 100, (bytes) => {
      taken += bytes;
      return taken <= 3;
    });
    source.push(1, 2, 3);
    source.push(4);
    expect(await held.whole).toBeNull();
    expect(source.isPaused).toBe(true);
  });
});
