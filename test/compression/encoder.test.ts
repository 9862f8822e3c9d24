import { expect, test } from "bun:test";
import { gunzipSync } from "node:zlib";
import { EncodedBody, hasRoom } from "../../src/compression/encoder.ts";
import type { Body, Sink } from "../../src/http/body.ts";
import { until } from "../support/until.ts";

/** A body whose sink the test is, and a sink that keeps what it gets. */
function ends() {
  const state = { isCancelled: false, failure: null as Error | null, isEnded: false, pieces: [] as Uint8Array[] };
  let into: Sink | null = null;
  const body: Body = {
    length: -1,
    start: (sink) => {
      into = sink;
    },
    resume: () => {},
    cancel: () => {
      state.isCancelled = true;
    },
  };
  const sink: Sink = {
    write: (bytes) => state.pieces.push(bytes) > 0,
    end: () => {
      state.isEnded = true;
    },
    fail: (reason) => {
      state.failure = reason;
    },
  };
  return { body, sink, state, source: () => into as unknown as Sink };
}

test("a body that breaks off breaks off compressed, and is never taken for a whole one", async () => {
  const { body, sink, state, source } = ends();
  new EncodedBody(body, "gzip").start(sink);
  source().write(Buffer.from("the first part"));
  await until(() => state.pieces.length > 0);
  source().fail(new Error("gone"));
  expect([state.failure?.message, state.isEnded]).toEqual(["gone", false]);
  // Nothing comes behind it.
  const count = state.pieces.length;
  source().end();
  await Bun.sleep(50);
  expect([state.pieces.length, state.isEnded]).toEqual([count, false]);
});

test("only so many streams are compressed at a time, and each gives its place back however it ends", async () => {
  const begun: (() => void)[] = [];
  while (hasRoom()) {
    const { body, sink, state, source } = ends();
    const encoded = new EncodedBody(body, "gzip");
    encoded.start(sink);
    const way = begun.length % 3;
    begun.push(() => (way === 0 ? encoded.cancel() : way === 1 ? source().fail(new Error("gone")) : source().end()));
    if (way === 0) begun.push(() => expect(state.isCancelled).toBe(true));
  }
  expect(hasRoom()).toBe(false);
  for (const end of begun) end();
  await until(hasRoom);
  const { body, sink, state, source } = ends();
  new EncodedBody(body, "gzip").start(sink);
  source().write(Buffer.from("again"));
  source().end();
  await until(() => state.isEnded);
  expect(gunzipSync(Buffer.concat(state.pieces)).toString()).toBe("again");
});
