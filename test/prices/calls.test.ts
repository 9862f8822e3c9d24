import { describe, expect, test } from "bun:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { exchange } from "../support/raw.ts";
import { serving } from "../support/serving.ts";
import { until } from "../support/until.ts";

const KEY = "a-key-of-a-caller-0123";
/** A dollar for a thousand tokens, so that amounts are easy to read. */
const PRICES = { m: { input: "1000", output: "2000", cacheRead: "500", maxOutput: 20 }, "dear-*": { input: "1000", output: "5000" } };

type Answering = (body: Record<string, unknown> | null, request: Request) => Response | Promise<Response>;
type Serving = ReturnType<typeof serving>;

/** Serves a gateway with a dollar for its caller, before a provider that answers so. */
async function within(
  answer: Answering,
  work: (gateway: Serving, seen: Request[]) => Promise<void>,
  more: object = {},
  route: object = {},
) {
  const seen: Request[] = [];
  const provider = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch: async (request) => {
      seen.push(request.clone() as Request);
      const isJson = request.headers.get("content-type")?.includes("json") === true;
      return answer(isJson ? ((await request.json()) as Record<string, unknown>) : null, request);
    },
  });
  const gateway = serving({
    prices: PRICES,
    tiers: { plain: { limits: [] } },
    consumers: [
      {
        id: "acme",
        tier: "plain",
        keys: [KEY],
        limits: [{ name: "budget", algorithm: "fixed-window", limit: "1.00", window: "1h", cost: "usd" }],
      },
    ],
    routes: [{ name: "llm", path: "/v1", upstream: `http://127.0.0.1:${provider.port}`, stripPrefix: false, usage: "auto", ...route }],
    ...more,
  });
  try {
    await work(gateway, seen);
    expect(gateway.faults).toEqual([]);
  } finally {
    await gateway.stop();
    void provider.stop(true);
  }
}

const post = (gateway: Serving, path: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
  fetch(`${gateway.url}${path}`, { method: "POST", headers: { "x-api-key": KEY, "content-type": "application/json", ...headers }, body });
const chat = (gateway: Serving, body: object = {}, headers: Record<string, string> = {}) =>
  post(gateway, "/v1/chat/completions", JSON.stringify({ model: "m", max_tokens: 10, messages: [], ...body }), headers);

/** Gives the dollars that the caller has spent. */
async function spent(gateway: Serving): Promise<number> {
  const { limits } = (await (await gateway.admin("GET", "/admin/limits/acme")).json()) as { limits: { name: string; used: number }[] };
  return limits.find(({ name }) => name === "budget")?.used ?? 0;
}
const spentIs = (gateway: Serving, dollars: number) => until(async () => (await spent(gateway)) === dollars);

const json = (usage: object | null, status = 200) =>
  Response.json({ id: "x", choices: [], ...(usage === null ? {} : { usage }) }, { status });
/** Streams events, each in a piece of its own. */
function events(lines: Iterable<string>, onCancel = () => {}): Response {
  const rest = lines[Symbol.iterator]();
  const stream = new ReadableStream({
    pull: async (controller) => {
      // Else Bun would make one piece of a short one.
      await new Promise(setImmediate);
      const { done, value } = rest.next();
      if (done) controller.close();
      else controller.enqueue(Buffer.from(`${value}\n\n`));
    },
    cancel: onCancel,
  });
  return new Response(stream, { headers: { "content-type": "text/event-stream" } });
}

describe("the call of a model", () => {
  test("costs what its answer reports, each kind at its own price, and the answer tells", async () => {
    const usage = { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110, prompt_tokens_details: { cached_tokens: 80 } };
    await within(
      () => json(usage),
      async (gateway) => {
        const answer = await chat(gateway);
        // 20 at 0.001, 80 at 0.0005, 10 at 0.002.
        expect(answer.headers.get("x-cost")).toBe("0.08");
        await spentIs(gateway, 0.08);
      },
    );
  });

  test("costs nothing where the provider reports zero, or refuses it", async () => {
    await within(
      (body) => (body?.user === "refused" ? json(null, 400) : json({ prompt_tokens: 0, completion_tokens: 0 })),
      async (gateway) => {
        expect((await chat(gateway)).headers.get("x-cost")).toBe("0");
        const refused = await chat(gateway, { user: "refused" });
        expect([refused.status, refused.headers.get("x-cost")]).toEqual([400, "0"]);
        await spentIs(gateway, 0);
      },
    );
  });

  test("costs what was reserved where an answer in one piece reports nothing", async () => {
    await within(
      () => json(null),
      async (gateway) => {
        const answer = await chat(gateway);
        expect(answer.headers.get("x-cost")).toBeNull();
        // Its texts, which are one token for each four bytes, and ten tokens of an answer.
        await spentIs(gateway, 0.02 + Math.ceil("m".length / 4) / 1000);
      },
    );
  });

  test("is refused before it is sent where it may cost more than is left", async () => {
    await within(
      () => json({ prompt_tokens: 1, completion_tokens: 450 }),
      async (gateway, seen) => {
        expect((await chat(gateway, { max_tokens: 450 })).status).toBe(200);
        await spentIs(gateway, 0.901);
        const refused = await chat(gateway, { max_tokens: 100 });
        expect(refused.status).toBe(429);
        expect(await refused.json()).toMatchObject({ code: "quotaExceeded" });
        expect(seen).toHaveLength(1);
        expect((await chat(gateway, { max_tokens: 40 })).status).toBe(200);
      },
    );
  });

  test("of a model without a price is refused where money is counted, and counts as free where that is said", async () => {
    const answer = () => json({ prompt_tokens: 1, completion_tokens: 1 });
    await within(answer, async (gateway, seen) => {
      const refused = await chat(gateway, { model: "unheard-of" });
      expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([403, "modelUnpriced"]);
      expect(seen).toEqual([]);
      expect(await (await gateway.admin("GET", "/metrics")).text()).toContain('sluice_unpriced_requests_total{route="llm"} 1');
    });
    await within(
      answer,
      async (gateway) => {
        expect((await chat(gateway, { model: "unheard-of" })).status).toBe(200);
        await spentIs(gateway, 0);
      },
      { unpriced: "zero" },
    );
  });

  test("can't be hidden: a body that is encoded, names two models or none, or is no JSON, is not let through for nothing", async () => {
    await within(
      () => json({ prompt_tokens: 1, completion_tokens: 1 }),
      async (gateway, seen) => {
        const body = JSON.stringify({ model: "m", messages: [] });
        const statuses = [
          await post(gateway, "/v1/chat/completions", Bun.gzipSync(Buffer.from(body)), { "content-encoding": "gzip" }),
          await post(gateway, "/v1/chat/completions", '{"model":"m","model":"dear-1","messages":[]}'),
          await post(gateway, "/v1/chat/completions", '{"Model":"dear-1","model":"m"}'),
          await post(gateway, "/v1/chat/completions", '{"messages":[]}'),
          await post(gateway, "/v1/chat/completions/", '{"messages":[]}'),
          await post(gateway, "/v1/chat/completions", "not json"),
          await post(gateway, "/v1/else", "not json"),
        ].map(({ status }) => status);
        expect(statuses).toEqual([403, 400, 400, 403, 403, 403, 403]);
        expect(seen).toEqual([]);
        // What calls no model is not counted: files, lists, and tokens that are only counted.
        expect((await fetch(`${gateway.url}/v1/models`, { headers: { "x-api-key": KEY } })).status).toBe(200);
        expect((await post(gateway, "/v1/messages/count_tokens", body)).status).toBe(200);
        expect((await post(gateway, "/v1/files", "text", { "content-type": "text/plain" })).status).toBe(200);
        await spentIs(gateway, 0);
      },
    );
  });

  test("is of the model that its path names, where providers read it there", async () => {
    await within(
      () => json({ prompt_tokens: 1, completion_tokens: 1 }),
      async (gateway) => {
        const costs = async (path: string, body: string) => {
          const { status, headers } = await post(gateway, path, body);
          return status === 200 ? headers.get("x-cost") : status;
        };
        expect(await costs("/v1/openai/deployments/dear-1/chat/completions", '{"model":"m","max_tokens":10}')).toBe("0.006");
        expect(await costs("/v1/models/m:generateContent", '{"contents":[]}')).toBe("0.003");
        expect(await costs("/v1/models/gemini:generateContent", '{"contents":[]}')).toBe(403);
        expect(await costs("/v1/models/gemini:countTokens", '{"contents":[]}')).toBeNull();
        // What a deployment is called may have no price.
        expect(await costs("/v1/openai/deployments/ours/chat/completions", '{"model":"m","max_tokens":1}')).toBe("0.003");
        await spentIs(gateway, 0.012);
      },
    );
  });

  test("keeps what was reserved where it goes on in the background when its stream is over", async () => {
    const body = JSON.stringify({ model: "m", input: "", max_output_tokens: 100, background: true, stream: true });
    const lines = (last: object) => [`data: ${JSON.stringify({ type: "response.created" })}`, `data: ${JSON.stringify(last)}`];
    for (const [last, cost] of [
      [{ type: "response.output_text.delta", delta: "x" }, null],
      [{ type: "response.completed", response: { usage: { input_tokens: 1, output_tokens: 1 } } }, "0.003"],
    ] as const)
      await within(
        () => events(lines(last)),
        async (gateway) => {
          const told = await exchange(
            gateway.port,
            `POST /v1/responses HTTP/1.1\r\nHost: x\r\nX-API-Key: ${KEY}\r\nContent-Type: application/json\r\nTE: trailers\r\nConnection: close, TE\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
          );
          expect(/\r\nX-Cost: ([\d.]+)/.exec(told)?.[1] ?? null).toBe(cost);
          await spentIs(gateway, cost === null ? 0.201 : Number(cost));
        },
      );
  });

  test("is read whatever type its body is said to have, and however far in it begins", async () => {
    await within(
      () => json({ prompt_tokens: 1, completion_tokens: 1 }),
      async (gateway) => {
        const body = `${" \n".repeat(5000)}{"model":"m","max_tokens":1}`;
        expect((await post(gateway, "/v1/else", body, { "content-type": "text/plain" })).headers.get("x-cost")).toBe("0.003");
      },
    );
  });

  test("is refused as a batch, of which nobody knows before what it costs", async () => {
    const prices = { ...PRICES, "*": { input: "1", output: "1" } };
    await within(
      () => json(null),
      async (gateway, seen) => {
        const requests = [{ custom_id: "a", params: { model: "m", max_tokens: 1000, messages: [] } }];
        expect((await post(gateway, "/v1/messages/batches", JSON.stringify({ requests }))).status).toBe(403);
        expect((await post(gateway, "/v1/messages/batches", JSON.stringify({ model: "m", max_tokens: 1, requests }))).status).toBe(403);
        expect((await post(gateway, "/v1/batches", '{"input_file_id":"file-1"}')).status).toBe(403);
        expect((await post(gateway, "/v1/models/m:batchGenerateContent", '{"batch":{}}')).status).toBe(403);
        expect(seen).toEqual([]);
        expect((await fetch(`${gateway.url}/v1/batches`, { headers: { "x-api-key": KEY } })).status).toBe(200);
        await spentIs(gateway, 0);
      },
      { prices },
    );
  });

  test("may be a form with a file, which names its model as well", async () => {
    await within(
      () => Response.json({ text: "hello", usage: { type: "duration", seconds: 2 } }),
      async (gateway) => {
        const form = new FormData();
        form.set("file", new File([new Uint8Array(8000)], "speech.wav"));
        form.set("model", "ears");
        const answer = await fetch(`${gateway.url}/v1/audio/transcriptions`, { method: "POST", headers: { "x-api-key": KEY }, body: form });
        expect([answer.status, answer.headers.get("x-cost")]).toEqual([200, "0.2"]);
        await spentIs(gateway, 0.2);
        form.append("model", "m");
        const both = await fetch(`${gateway.url}/v1/audio/transcriptions`, { method: "POST", headers: { "x-api-key": KEY }, body: form });
        expect(both.status).toBe(403);
      },
      { prices: { ...PRICES, ears: { second: "0.1" } } },
    );
  });

  test("is not sent again where limits don't hold what the attempt before may have cost", async () => {
    let calls = 0;
    const breaking = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data: (socket) => {
          calls++;
          socket.terminate();
        },
      },
    });
    await within(
      () => json(null),
      async (gateway) => {
        // It reserves 0.80 dollars, of which nobody can tell whether they are spent.
        expect((await chat(gateway, { max_tokens: 400 }, { "idempotency-key": "one" })).status).toBe(502);
        expect(calls).toBe(1);
        await spentIs(gateway, 0.801);
        // Where they hold two attempts, it is.
        gateway.clock.advance(3_600_000);
        expect((await chat(gateway, { max_tokens: 100 }, { "idempotency-key": "two" })).status).toBe(502);
        expect(calls).toBe(3);
        await spentIs(gateway, 0.402);
      },
      {},
      { upstream: `http://127.0.0.1:${breaking.port}`, retry: { attempts: 2, baseDelay: "1ms", maxDelay: "1ms" } },
    );
    breaking.stop(true);
  });

  test("tells no cost of a model without a price, which nobody knows", async () => {
    await within(
      () => json({ prompt_tokens: 1, completion_tokens: 1 }),
      async (gateway) => {
        const cost = async (model: string) => (await chat(gateway, { model })).headers.get("x-cost");
        expect([await cost("m"), await cost("unknown")]).toEqual(["0.003", null]);
      },
      { consumers: [{ id: "acme", tier: "plain", keys: [KEY] }] },
    );
  });

  test("tells what it cost behind a stream, to whoever takes trailers", async () => {
    const lines = [
      'data: {"choices":[{"delta":{"content":"x"}}]}',
      'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}',
      "data: [DONE]",
    ];
    await within(
      () => events(lines),
      async (gateway) => {
        const body = JSON.stringify({ model: "m", max_tokens: 5, stream: true, stream_options: { include_usage: true }, messages: [] });
        const ask = (te: string) =>
          exchange(
            gateway.port,
            `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-API-Key: ${KEY}\r\nContent-Type: application/json\r\n${te}Connection: close${te === "" ? "" : ", TE"}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
          );
        const told = await ask("TE: trailers\r\n");
        expect(told).toContain("Trailer: X-Cost\r\n");
        expect(told).toEndWith("0\r\nX-Cost: 0.007\r\n\r\n");
        expect(await ask("")).not.toContain("X-Cost");
      },
    );
  });
});

describe("a pool with a budget in money", () => {
  const pools = { llm: { keys: [{ id: "k1", secret: "sk-1", cost: "usd", limit: "0.10", window: "1h" }] } };
  const route = { credential: { pool: "llm" } };
  const rich = { consumers: [{ id: "acme", tier: "plain", keys: [KEY] }], pools };

  test("holds for calls without a limit of their own, and pays for a stream that grows", async () => {
    function* endless() {
      for (;;) yield 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}';
    }
    await within(
      (body) => (body?.stream === true ? events(endless()) : json({ prompt_tokens: 0, completion_tokens: 10 })),
      async (gateway) => {
        expect((await chat(gateway)).headers.get("x-cost")).toBe("0.02");
        // Twenty tokens are reserved, and 1024 more are more than the key has.
        const text = await (await chat(gateway, { stream: true, max_tokens: undefined })).text();
        expect(text).toContain('"code":"quotaExceeded"');
        expect(text.split("data: ").length).toBeLessThan(60);
        expect((await chat(gateway, { max_tokens: 60 })).status).toBe(413);
      },
      rich,
      route,
    );
  });

  test("lets no call through where nothing has a price", async () => {
    await within(
      () => json({ prompt_tokens: 0, completion_tokens: 10 }),
      async (gateway, seen) => {
        const refused = await chat(gateway);
        expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([403, "modelUnpriced"]);
        expect(seen).toEqual([]);
      },
      { ...rich, prices: null },
      route,
    );
  });
});

describe("a stream that says not how long it may be", () => {
  /** A hundred dollars for a million tokens: a dollar holds ten thousand. */
  const prices = { endless: { input: "0", output: "100", maxOutput: 20 } };
  const cases = [
    {
      path: "/v1/chat/completions",
      event: 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}',
      last: { error: { message: expect.stringContaining("budget"), type: "rate_limit_error", code: "quotaExceeded", param: null } },
    },
    {
      path: "/v1/messages",
      event: 'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}',
      last: { type: "error", error: { type: "rate_limit_error", message: expect.stringContaining("budget") } },
    },
    {
      path: "/v1/responses",
      event: 'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"x"}',
      last: {
        type: "error",
        code: "quotaExceeded",
        message: expect.stringContaining("budget"),
        param: null,
        sequence_number: expect.any(Number),
      },
    },
  ];

  test.each(cases)("takes more as it grows, and ends with an error where there is none: $path", async ({ path, event, last }) => {
    let cancelled = 0;
    function* endless() {
      for (;;) yield event;
    }
    await within(
      () => events(endless(), () => cancelled++),
      async (gateway) => {
        const text = await (await post(gateway, path, JSON.stringify({ model: "endless", stream: true, messages: [], input: "" }))).text();
        const data = text.split("\n").filter((line) => line.startsWith("data: "));
        expect(JSON.parse(data.at(-1)?.slice(6) ?? "")).toEqual(last);
        if (path !== "/v1/chat/completions") expect(text).toContain("\n\nevent: error\ndata: {");
        expect(text).toEndWith("\n\n");
        // Twenty, and nine times 1024 more; what came in the same piece is passed on.
        expect(data.length).toBeGreaterThan(9200);
        expect(data.length).toBeLessThan(10_000);
        await until(() => cancelled === 1);
        const used = await spent(gateway);
        expect(used).toBeGreaterThan(0.9);
        expect(used).toBeLessThanOrEqual(1);
        const after = await post(
          gateway,
          path,
          JSON.stringify({ model: "endless", stream: true, max_tokens: 5000, max_output_tokens: 5000, messages: [], input: "" }),
        );
        expect(after.status).toBe(429);
      },
      { prices },
    );
  });

  test("or whose upstream does not keep to the bound that it names, pays for what has passed", async () => {
    function* endless() {
      for (;;) yield 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}';
    }
    await within(
      () => events(endless()),
      async (gateway) => {
        const text = await (await chat(gateway, { model: "endless", stream: true, max_tokens: 1 })).text();
        expect(text).toContain('"code":"quotaExceeded"');
        expect(text.split("data: ").length).toBeLessThan(10_500);
        expect(await spent(gateway)).toBeGreaterThan(0.9);
      },
      { prices },
    );
  });

  test("ends with an error that the official clients throw", async () => {
    const told: string[] = [];
    const read = async (stream: AsyncIterable<unknown>) => {
      try {
        for await (const _ of stream);
      } catch (error) {
        told.push(error instanceof Error ? error.message : String(error));
      }
    };
    function* endless(event: string) {
      for (;;) yield event;
    }
    await within(
      (_, request) => {
        const { event } = cases.find(({ path }) => request.url.endsWith(path)) ?? { event: "" };
        return events(endless(event));
      },
      async (gateway) => {
        const openai = new OpenAI({ apiKey: KEY, baseURL: `${gateway.url}/v1`, maxRetries: 0 });
        const anthropic = new Anthropic({ apiKey: KEY, baseURL: gateway.url, maxRetries: 0 });
        await read(await openai.chat.completions.create({ model: "endless", messages: [], stream: true }));
        gateway.clock.advance(3_600_000);
        await read(await openai.responses.create({ model: "endless", input: "", stream: true }));
        gateway.clock.advance(3_600_000);
        // Its types ask for a bound; others who speak its interface do not.
        const long = { model: "endless", messages: [], max_tokens: undefined } as unknown as Parameters<
          typeof anthropic.messages.create
        >[0];
        await read((await anthropic.messages.create({ ...long, stream: true })) as AsyncIterable<unknown>);
        expect(told).toHaveLength(3);
        for (const message of told) expect(message).toContain("budget");
      },
      { prices },
    );
  });

  test("costs what it reports in the end, and what has passed where its caller leaves", async () => {
    function* lines() {
      for (let i = 0; i < 100; i++) yield 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}';
      yield 'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":300}}';
      yield "data: [DONE]";
    }
    const { promise: never, resolve: release } = Promise.withResolvers<void>();
    await within(
      async (body) => {
        if (body?.user !== "leaver") return events(lines());
        const stream = new ReadableStream({
          start: async (controller) => {
            // Ten tokens each, as some providers send them.
            const event = `data: ${JSON.stringify({ choices: [{ delta: { content: "word".repeat(10) } }] })}\n\n`;
            for (let i = 0; i < 10; i++) controller.enqueue(Buffer.from(event));
            await never;
          },
        });
        return new Response(stream, { headers: { "content-type": "text/event-stream" } });
      },
      async (gateway) => {
        const body = { model: "endless", stream: true, max_tokens: undefined };
        await (await chat(gateway, body)).text();
        await spentIs(gateway, 0.03);
        const leaving = new AbortController();
        const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
          method: "POST",
          headers: { "x-api-key": KEY, "content-type": "application/json" },
          body: JSON.stringify({ ...body, user: "leaver", messages: [] }),
          signal: leaving.signal,
        });
        let text = "";
        for await (const piece of answer.body ?? []) {
          text += Buffer.from(piece).toString();
          if (text.split("data: ").length > 10) break;
        }
        leaving.abort();
        await spentIs(gateway, 0.04);
        release();
      },
      { prices },
    );
  });
});
