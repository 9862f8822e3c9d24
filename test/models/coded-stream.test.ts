import { expect, test } from "bun:test";
import { fakeModel } from "../support/fake-model.ts";
import { serving } from "../support/serving.ts";

test("a stream that comes compressed, which was not asked for, goes on as it is and costs no other attempt", async () => {
  const packed = Bun.gzipSync(Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"hello"}}]}\n\ndata: [DONE]\n\n'));
  using last = await fakeModel();
  const packing = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => {
      const pieces = [packed.subarray(0, 20), packed.subarray(20)];
      const body = new ReadableStream({
        pull: async (controller) => {
          // Else Bun would make one piece of both.
          await new Promise(setImmediate);
          const piece = pieces.shift();
          if (piece === undefined) controller.close();
          else controller.enqueue(piece);
        },
      });
      return new Response(body, { headers: { "content-type": "text/event-stream", "content-encoding": "gzip" } });
    },
  });
  const upstream = `http://127.0.0.1:${packing.port}`;
  for (const prices of [{}, { "*": { input: "1", output: "1" } }]) {
    const gateway = serving({
      prices,
      tiers: { anonymous: { limits: [] } },
      models: {
        smart: {
          try: [
            { upstream, model: "packed" },
            { upstream: last.url, model: "last", fallback: true },
          ],
        },
      },
      routes: [{ name: "llm", path: "/v1", upstream, models: ["smart"], auth: "none" }],
    });
    const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"model":"smart","stream":true,"messages":[]}',
    });
    expect([answer.status, answer.headers.get("x-model-used")]).toEqual([200, "packed"]);
    expect(await answer.text()).toContain("hello");
    await gateway.stop();
  }
  expect(last.seen).toEqual([]);
  await packing.stop(true);
});
