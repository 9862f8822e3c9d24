import { describe, expect, test } from "bun:test";
import { type LineSink, Output } from "../../src/telemetry/output.ts";

/** What is written to, taking no more until it is told to. */
class Pipe implements LineSink {
  text = "";
  isFull = false;
  isGone = false;
  private waiting: (() => void) | null = null;

  write(text: string): void {
    if (this.isGone) throw new Error("EPIPE");
    this.text += text;
  }

  flush(): number | Promise<number> {
    if (!this.isFull) return 0;
    const { promise, resolve } = Promise.withResolvers<number>();
    this.waiting = () => resolve(0);
    return promise;
  }

  take(): void {
    this.isFull = false;
    this.waiting?.();
  }
}

const MEGABYTE = `${"x".repeat(1024 * 1024 - 1)}\n`;

describe("the log's way to stdout", () => {
  test("lines are written in batches, in order", async () => {
    const pipe = new Pipe();
    const output = new Output(pipe);
    output.write("one\n", "events");
    output.write("two\n", "requests");
    expect(pipe.text).toBe("");
    await output.end(1000);
    expect(pipe.text).toBe("one\ntwo\n");
  });

  test("a reader that takes nothing is not waited for: what finds no room is counted, and said when there is room again", async () => {
    const pipe = new Pipe();
    pipe.isFull = true;
    const output = new Output(pipe);
    const told: number[] = [];
    output.onCaughtUp = (dropped) => {
      told.push(dropped);
      output.write(`dropped ${dropped}\n`, "events");
    };
    // The first goes to the pipe, three fill what requests may have, the rest finds no room; events have some left.
    for (let i = 0; i < 7; i++) output.write(MEGABYTE, "requests");
    output.write("an event\n", "events");
    for (let i = 0; i < 2; i++) output.write(MEGABYTE, "events");
    expect(output.dropped).toEqual({ requests: 3, events: 2 });
    pipe.take();
    await output.end(1000);
    expect(told).toEqual([5]);
    expect(pipe.text.length).toBe(4 * 1024 * 1024 + "an event\ndropped 5\n".length);
    expect(pipe.text.endsWith("an event\ndropped 5\n")).toBe(true);
    output.write("later\n", "events");
    await output.end(1000);
    expect(told).toEqual([5]);
  });

  test("a reader that has gone loses lines, and the gateway goes on", async () => {
    const pipe = new Pipe();
    pipe.isGone = true;
    const output = new Output(pipe);
    output.write("lost\n", "events");
    output.write("lost\n", "requests");
    await output.end(1000);
    expect(output.dropped).toEqual({ requests: 1, events: 1 });
    pipe.isGone = false;
    output.write("heard\n", "events");
    await output.end(1000);
    expect(pipe.text).toBe("heard\n");
  });

  test("a reader that goes while it is written to is not told of its own loss for ever", async () => {
    let flushes = 0;
    const output = new Output({
      write: () => {},
      flush: () => {
        flushes++;
        return Promise.reject(new Error("EPIPE"));
      },
    });
    output.onCaughtUp = () => output.write("dropped\n", "events");
    output.write("one\n", "events");
    await output.end(1000);
    await Bun.sleep(5);
    expect([flushes, output.dropped.events]).toEqual([1, 1]);
  });

  test("a reader that has gone may show in the writing as well as in the flush", async () => {
    const output = new Output({ write: () => Promise.reject(new Error("EPIPE")), flush: () => 0 });
    for (let i = 0; i < 3; i++) {
      output.write("lost\n", "requests");
      await output.end(1000);
    }
    expect(output.dropped.requests).toBe(3);
  });

  test("an end does not wait for ever", async () => {
    const pipe = new Pipe();
    pipe.isFull = true;
    const output = new Output(pipe);
    output.write("one\n", "events");
    await output.end(1);
    expect(pipe.text).toBe("one\n");
  });
});
