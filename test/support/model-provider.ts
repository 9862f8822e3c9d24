/**
 * A provider of language models on a free port, with OpenAI's interface (chat completions, completions, responses, embeddings, images, files, transcriptions, models) and Anthropic's
 * (messages), in the formats of both: what they refuse is refused, and what they add to streams is added. Same question, same answer.
 */
export interface ModelProvider {
  readonly url: string;
  /** Requests that arrived, oldest first; bodies of JSON only. */
  readonly seen: {
    method: string;
    path: string;
    key: string;
    headers: Record<string, string>;
    body: Record<string, unknown> | null;
    size: number;
  }[];
  /** How keys are refused, until it is deleted; a key that starts with `bad` is unknown. */
  readonly refuse: Map<string, { status: number; headers?: Record<string, string> }>;
  /** Streams that were given up. */
  readonly cancelled: () => number;
  [Symbol.dispose](): void;
}

type Json = Record<string, unknown>;
const CREATED = 1_760_000_000;

/** Whose organization a key belongs to, for whoever names one. */
export const ORGANIZATION = "org-of-the-pool";

export function modelProvider(): ModelProvider {
  const seen: ModelProvider["seen"] = [];
  const refuse: ModelProvider["refuse"] = new Map();
  let cancelled = 0;

  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    development: false,
    idleTimeout: 0,
    maxRequestBodySize: 64 * 1024 * 1024,
    fetch: async (request) => {
      const { pathname } = new URL(request.url);
      const isAnthropic = pathname.endsWith("/messages");
      const key = (request.headers.get("x-api-key") ?? request.headers.get("authorization") ?? "").replace("Bearer ", "");
      const bytes = await request.bytes();
      const type = request.headers.get("content-type") ?? "";
      const body = type.includes("json") && bytes.length > 0 ? (JSON.parse(Buffer.from(bytes).toString()) as Json) : null;
      seen.push({
        method: request.method,
        path: pathname,
        key,
        headers: request.headers.toJSON() as Record<string, string>,
        body,
        size: bytes.length,
      });

      const refusal = key.startsWith("bad") || key === "" ? { status: 401 } : refuse.get(key);
      if (refusal !== undefined)
        return error(
          isAnthropic,
          refusal.status,
          `Incorrect API key provided: ${key.slice(0, 6)}****.`,
          "invalid_api_key",
          refusal.headers,
        );
      const organization = request.headers.get("openai-organization");
      if (organization !== null && organization !== ORGANIZATION)
        return error(isAnthropic, 401, "OpenAI-Organization header should match organization for API key", "mismatched_organization");
      const isIn = (name: string) => pathname.endsWith(name);
      if (request.method === "GET")
        return isIn("/models")
          ? Response.json({ object: "list", data: [{ id: "m", object: "model", created: CREATED, owned_by: "us" }] })
          : error(isAnthropic, 404, "Unknown request URL", "unknown_url");

      if (isIn("/files")) {
        const file = (await new Response(bytes, { headers: { "content-type": type } }).formData()).get("file") as File;
        return Response.json({
          id: "file-1",
          object: "file",
          bytes: file.size,
          created_at: CREATED,
          filename: file.name,
          purpose: "batch",
        });
      }
      if (isIn("/audio/transcriptions"))
        return Response.json({
          text: "hello",
          usage: { type: "tokens", input_tokens: 14, output_tokens: 31, total_tokens: 45, input_token_details: { audio_tokens: 14 } },
        });
      if (body === null) return error(isAnthropic, 400, "We could not parse the JSON body of your request.", null);
      if (body.model === "unknown") return error(isAnthropic, 400, "bad model given", "model_not_found");
      if (body.model === "broken") return error(isAnthropic, 500, "The server had an error", null);
      // What an interface does not know it refuses, as the real ones do.
      if (body.stream_options !== undefined) {
        if (isAnthropic) return error(true, 400, "stream_options: Extra inputs are not permitted", null);
        if (isIn("/responses") && (body.stream_options as Json).include_usage !== undefined)
          return error(false, 400, "Unknown parameter: 'stream_options.include_usage'.", "unknown_parameter");
        if (!isIn("/completions") && !isIn("/responses"))
          return error(false, 400, "Unknown parameter: 'stream_options'.", "unknown_parameter");
        if (body.stream !== true)
          return error(false, 400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", null);
      }
      if (isAnthropic && request.headers.get("anthropic-version") === null)
        return error(true, 400, "anthropic-version: header is required", null);

      const asked = textOf(body);
      const words = Array.from(
        { length: typeof body.max_tokens === "number" ? Math.min(body.max_tokens, 2000) : 12 },
        (_, i) => `${["grüße", 'say "usage": null,', "word"][i % 3]}${i} `,
      );
      const every = body.model === "slow" ? 5 : 0;
      const [input, output] = [Math.ceil(asked.length / 4), words.length];
      const stream = (events: Iterable<string>) => streamOf(events, every, () => cancelled++);

      if (isIn("/embeddings"))
        return Response.json({
          object: "list",
          data: [{ object: "embedding", index: 0, embedding: [0.25, -0.5] }],
          model: "m",
          usage: { prompt_tokens: input, total_tokens: input },
        });
      if (isIn("/images/generations"))
        return Response.json({
          created: CREATED,
          data: [{ b64_json: "AAAA" }],
          usage: { input_tokens: input, output_tokens: 40, total_tokens: input + 40 },
        });
      if (isAnthropic) {
        const cache = { cache_creation_input_tokens: 3, cache_read_input_tokens: 20 };
        const message = {
          id: "msg_1",
          type: "message",
          role: "assistant",
          model: "m",
          content: [] as Json[],
          stop_reason: null as string | null,
          stop_sequence: null,
        };
        if (body.stream !== true)
          return Response.json({
            ...message,
            content: [{ type: "text", text: words.join("") }],
            stop_reason: "end_turn",
            usage: { input_tokens: input, ...cache, output_tokens: output },
          });
        return stream(
          [
            { type: "message_start", message: { ...message, usage: { input_tokens: input, ...cache, output_tokens: 1 } } },
            { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
            { type: "ping" },
            ...words.map((text) => ({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } })),
            { type: "content_block_stop", index: 0 },
            { type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: output } },
            { type: "message_stop" },
          ].map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`),
        );
      }
      if (isIn("/responses")) {
        const usage = {
          input_tokens: input,
          input_tokens_details: { cached_tokens: 0 },
          output_tokens: output,
          output_tokens_details: { reasoning_tokens: 0 },
          total_tokens: input + output,
        };
        const item = (text: string | null) => ({
          id: "item_1",
          type: "message",
          status: text === null ? "in_progress" : "completed",
          role: "assistant",
          content: text === null ? [] : [{ type: "output_text", text, annotations: [], logprobs: [] }],
        });
        const response = (status: string, text: string | null) => ({
          id: "resp_1",
          object: "response",
          created_at: CREATED,
          status,
          error: null,
          incomplete_details: null,
          instructions: null,
          model: "m",
          output: text === null ? [] : [item(text)],
          parallel_tool_calls: true,
          temperature: 1,
          tool_choice: "auto",
          tools: [],
          top_p: 1,
          metadata: {},
          usage: status === "completed" ? usage : null,
        });
        const text = words.join("");
        if (body.stream !== true) return Response.json(response("completed", text));
        const at = { item_id: "item_1", output_index: 0, content_index: 0 };
        return stream(
          [
            { type: "response.created", response: response("in_progress", null) },
            { type: "response.output_item.added", output_index: 0, item: item(null) },
            { type: "response.content_part.added", ...at, part: { type: "output_text", text: "", annotations: [] } },
            ...words.map((delta) => ({ type: "response.output_text.delta", ...at, delta, logprobs: [] })),
            { type: "response.output_text.done", ...at, text, logprobs: [] },
            { type: "response.content_part.done", ...at, part: { type: "output_text", text, annotations: [] } },
            { type: "response.output_item.done", output_index: 0, item: item(text) },
            { type: "response.completed", response: response("completed", text) },
          ].map((event, i) => `event: ${event.type}\ndata: ${JSON.stringify({ ...event, sequence_number: i })}\n\n`),
        );
      }
      if (!isIn("/completions")) return error(false, 404, `Unknown request URL: POST ${pathname}`, "unknown_url");
      const isChat = isIn("/chat/completions");
      const usage = {
        prompt_tokens: input,
        completion_tokens: output,
        total_tokens: input + output,
        prompt_tokens_details: { cached_tokens: 0 },
      };
      const head = (object: string) => ({ id: "chatcmpl-1", object, created: CREATED, model: "m", system_fingerprint: "fp_1" });
      if (body.stream !== true)
        return Response.json({
          ...head(isChat ? "chat.completion" : "text_completion"),
          choices: [
            {
              index: 0,
              ...(isChat ? { message: { role: "assistant", content: words.join("") } } : { text: words.join("") }),
              logprobs: null,
              finish_reason: "stop",
            },
          ],
          usage,
        });
      const includes = (body.stream_options as Json | undefined)?.include_usage === true;
      const chunk = (choices: Json[], own: Json | null = null) =>
        `data: ${JSON.stringify({ ...head(isChat ? "chat.completion.chunk" : "text_completion"), choices, ...(includes ? { usage: own } : {}) })}\n\n`;
      const piece = (delta: Json, finish: string | null = null) => [
        { index: 0, ...(isChat ? { delta } : { text: delta.content ?? "" }), logprobs: null, finish_reason: finish },
      ];
      return stream([
        chunk(piece({ role: "assistant", content: "" })),
        ...words.map((content) => chunk(piece({ content }))),
        chunk(piece({}, "stop")),
        ...(includes ? [chunk([], usage)] : []),
        "data: [DONE]\n\n",
      ]);
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    seen,
    refuse,
    cancelled: () => cancelled,
    [Symbol.dispose]: () => void server.stop(true),
  };
}

function error(isAnthropic: boolean, status: number, message: string, code: string | null, headers: Record<string, string> = {}): Response {
  const type =
    status === 401 ? "authentication_error" : status === 429 ? "rate_limit_error" : status >= 500 ? "api_error" : "invalid_request_error";
  return Response.json(isAnthropic ? { type: "error", error: { type, message } } : { error: { message, type, param: null, code } }, {
    status,
    headers,
  });
}

/** All texts that were asked. */
function textOf(body: Json): string {
  const said = body.messages ?? body.prompt ?? body.input ?? "";
  // A picture is no text.
  return typeof said === "string" ? said : JSON.stringify(said).replace(/data:[^"]*/g, "");
}

function streamOf(events: Iterable<string>, every: number, onCancel: () => void): Response {
  const rest = events[Symbol.iterator]();
  return new Response(
    new ReadableStream({
      pull: async (controller) => {
        if (every > 0) await Bun.sleep(every);
        const { done, value } = rest.next();
        if (done) controller.close();
        else controller.enqueue(Buffer.from(value));
      },
      cancel: onCancel,
    }),
    { headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" } },
  );
}
