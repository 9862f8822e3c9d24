import { describe, expect, test } from "bun:test";
import type { Body, Sink } from "../../src/http/body.ts";
import { Prices } from "../../src/prices/prices.ts";
import { ModelSpending } from "../../src/prices/spending.ts";
import { PricedStream } from "../../src/prices/stream.ts";
import { unread } from "../../src/tokens/prompt.ts";

const EVENT = 'data: {"x":1}\n\n';

/** A stream of events before which a reservation of two tokens stands; each event is one, and whether there is more is said later. */
function growing() {
  let push: Sink | null = null;
  const upstream = { resumed: 0, cancelled: 0 };
  const source: Body = {
    length: -1,
    start: (sink) => {
      push = sink;
    },
    resume: () => upstream.resumed++,
    cancel: () => upstream.cancelled++,
  };
  const answers: PromiseWithResolvers<boolean>[] = [];
  const prices = new Prices({ m: { output: "1", maxOutput: 2 } }, false);
  const spending = new ModelSpending({ ...unread(null, 0, "/v1/chat/completions"), isStream: true }, "m", ["m"], prices);
  spending.grow = () => {
    const answer = Promise.withResolvers<boolean>();
    answers.push(answer);
    return answer.promise;
  };
  let events = 0;
  const stream = new PricedStream(source, {
    spending,
    api: "chat",
    events: () => events,
    passed: () => events,
    trailersOf: (trailers) => trailers,
    onSpent: () => {},
  });
  const got = { text: "", ended: false, failed: false };
  stream.start({
    write: (bytes) => {
      got.text += Buffer.from(bytes).toString();
      return true;
    },
    end: () => {
      got.ended = true;
    },
    fail: () => {
      got.failed = true;
    },
  });
  const sink = push as Sink | null;
  if (sink === null) throw new Error("the stream was not begun");
  const write = (text = EVENT): boolean => {
    const fits = sink.write(Buffer.from(text));
    // It is counted as it goes by.
    events++;
    return fits;
  };
  return { write, sink, got, upstream, stream, answers, settle: () => new Promise<void>((resolve) => setImmediate(resolve)) };
}

describe("a stream whose reservation takes a while to grow", () => {
  test("waits, and its source with it, and goes on with all that came meanwhile", async () => {
    const { write, got, upstream, stream, answers, settle } = growing();
    expect([write(), write(), write()]).toEqual([true, true, true]);
    expect(write()).toBe(false);
    expect([got.text, answers.length]).toEqual([EVENT.repeat(3), 1]);
    expect(write()).toBe(false);
    stream.resume();
    expect(upstream.resumed).toBe(0);
    answers[0]?.resolve(true);
    await settle();
    expect([got.text, upstream.resumed]).toEqual([EVENT.repeat(5), 1]);
    // It holds 1024 more.
    for (let i = 0; i < 1000; i++) expect(write()).toBe(true);
    expect(answers).toHaveLength(1);
  });

  test("ends with an error where there is no more, or nobody can be asked, without what came meanwhile", async () => {
    for (const answer of [false, new Error("gone")]) {
      const { write, sink, got, upstream, answers, settle } = growing();
      for (let i = 0; i < 4; i++) write();
      write('data: {"half');
      if (answer instanceof Error) answers[0]?.reject(answer);
      else answers[0]?.resolve(answer);
      await settle();
      expect(got.text).toStartWith(`${EVENT.repeat(3)}data: {"error":{"message":"The budget was used up`);
      expect([got.ended, upstream.cancelled]).toEqual([true, 1]);
      const { text } = got;
      expect(sink.write(Buffer.from(EVENT))).toBe(true);
      sink.end();
      expect(got.text).toBe(text);
    }
  });

  test("ends or breaks off as its source does, once it is known", async () => {
    const ending = growing();
    for (let i = 0; i < 4; i++) ending.write();
    ending.sink.end();
    expect(ending.got.ended).toBe(false);
    ending.answers[0]?.resolve(true);
    await ending.settle();
    expect([ending.got.text, ending.got.ended]).toEqual([EVENT.repeat(4), true]);

    const breaking = growing();
    breaking.write();
    breaking.write('data: {"half');
    breaking.sink.fail(new Error("broken"));
    expect([breaking.got.text, breaking.got.failed]).toEqual([EVENT, true]);
  });

  test("does nothing more when its caller has left meanwhile", async () => {
    const { write, got, upstream, stream, answers, settle } = growing();
    for (let i = 0; i < 4; i++) write();
    stream.cancel();
    answers[0]?.resolve(true);
    await settle();
    expect([got.text, upstream.resumed, upstream.cancelled]).toEqual([EVENT.repeat(3), 0, 1]);
  });
});
