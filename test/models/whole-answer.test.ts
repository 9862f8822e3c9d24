import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { fakeModel } from "../support/fake-model.ts";
import { CALLER } from "../support/model-gateway.ts";
import { type Running, start } from "../support/process.ts";

/** What the provider answers with status 200, by the model that is asked for. */
const ANSWERS: Readonly<Record<string, string>> = {
  limited: '{"error":{"message":"too many","type":"rate_limit_error"}}',
  status: ' { "error" : { "message": "busy", "code": 503 } }',
  unknown: '{"error":"something broke"}',
  messages: '{"type":"error","error":{"type":"overloaded_error","message":"busy"},"request_id":"r"}',
  wrong: '{"error":{"message":"no such field","type":"invalid_request_error"}}',
  empty: "",
  blank: " \n",
  beside: '{"error":{"message":"a part failed"},"choices":[]}',
  none: '{"error":null}',
};

let gateway: Running;
let provider: ReturnType<typeof Bun.serve>;
let fine: Awaited<ReturnType<typeof fakeModel>>;

beforeAll(async () => {
  fine = await fakeModel();
  provider = Bun.serve({
    port: 0,
    fetch: async (request) => {
      const body = (await request.json()) as { model: string; slow?: boolean };
      const bytes = Buffer.from(ANSWERS[body.model] ?? "");
      const headers = { "content-type": "application/json" };
      if (body.slow !== true) return new Response(bytes, { headers });
      const pieces = async function* () {
        for (const byte of bytes) yield Buffer.from([byte]);
      };
      return new Response(pieces(), { headers });
    },
  });
  const last = { upstream: fine.url, model: "last", fallback: true };
  const first = (model: string) => ({ upstream: provider.url.origin, model });
  const models = Object.keys(ANSWERS).flatMap((name) => [
    [name, { try: [first(name), last] }],
    [`strict-${name}`, { try: [first(name), last], on: ["timeout"] }],
  ]);
  gateway = await start({
    config: {
      tiers: { plain: { limits: [] } },
      consumers: [{ id: "acme", tier: "plain", keys: [CALLER] }],
      models: Object.fromEntries(models),
      routes: [{ name: "llm", path: "/", upstream: fine.url, stripPrefix: false, models: ["*"] }],
    },
  });
});

afterAll(async () => {
  await gateway.stop();
  await provider.stop(true);
  fine[Symbol.dispose]();
});

const ask = (model: string, slow: boolean) =>
  fetch(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${CALLER}`, "content-type": "application/json" },
    body: JSON.stringify({ model, slow, messages: [] }),
  });

describe.each([false, true])("an answer in one piece under status 200, in many parts: %p,", (slow) => {
  test.each(["limited", "status", "unknown", "messages", "empty", "blank"])(
    "is no answer where it is an error or says nothing: %s",
    async (model) => {
      const answer = await ask(model, slow);
      expect([answer.status, answer.headers.get("x-model-used")]).toEqual([200, "last"]);
    },
  );

  test.each(["wrong", "beside", "none"])("is one where no other attempt helps, or there is more in it: %s", async (model) => {
    const answer = await ask(model, slow);
    expect([answer.headers.get("x-model-used"), await answer.text()]).toEqual([model, ANSWERS[model] as string]);
  });

  test.each(Object.keys(ANSWERS))("goes on as it is where its outcome is not named: %s", async (model) => {
    const answer = await ask(`strict-${model}`, slow);
    expect([answer.status, answer.headers.get("x-model-used"), await answer.text()]).toEqual([200, model, ANSWERS[model] as string]);
  });
});
