/**
 * A provider of language models that keeps exact books: for each request it notes what it has billed, by prices of its own, however the answer
 * ended. It speaks OpenAI's chat completions and responses and Anthropic's messages, with or without streams. What it reports, and how it
 * counts, depends on the model that is named.
 */

/** Ways in which models count and report. */
export const MODELS = {
  /** Reports all that it bills. */
  exact: {},
  /** Had three quarters of each request kept already. */
  cached: { cached: 0.75 },
  /** Thinks for a third of its answer, unseen. */
  thinking: { reasoning: 1 / 3 },
  /** Finds half as many tokens more in a request as its text has by four bytes a token. */
  dense: { density: 1.5 },
  /** Reports nothing, asked or not, and sends one token in each event. */
  silent: { reports: "nothing" },
  /** Reports nothing, and sends more tokens than events. */
  lumpy: { reports: "nothing", perEvent: 1.25 },
  /** Costs nothing, and says so. */
  zero: { reports: "zero" },
  /** Keeps half of each request for the next ones, by the interface that tells so. */
  keeping: { kept: 0.5 },
  /** Breaks its streams off in the middle. */
  broken: { ends: "broken" },
  /** Ends its streams in the middle as if they were over. */
  short: { ends: "early" },
  /** Answers with an error, and bills nothing. */
  failing: { ends: "failed" },
  /** Begins to answer, and says nothing until its caller leaves. */
  stalling: { ends: "never" },
} as const satisfies Record<string, Habits>;
export type BilledModel = keyof typeof MODELS;

interface Habits {
  readonly cached?: number;
  readonly kept?: number;
  readonly reasoning?: number;
  /** Tokens of a request for each that its text has by four bytes a token. */
  readonly density?: number;
  readonly reports?: "nothing" | "zero";
  /** Tokens in each event, on average. */
  readonly perEvent?: number;
  readonly ends?: "broken" | "early" | "failed" | "never";
}

/** Nano-dollars for a token: of the request, of its parts that were or are kept, of the answer, and of thoughts. */
export const PRICES = { input: 4000, cached: 1000, kept: 5000, output: 60_000, reasoning: 90_000 };
/** The same in dollars for a million, as Sluice's configuration has them; and the tokens of an answer whose request sets no bound. */
export const MAX_OUTPUT = 60;
export const PRICE = { input: "4", output: "60", cacheRead: "1", cacheWrite: "5", reasoning: "90", maxOutput: MAX_OUTPUT };

/** Holds what was billed for one request. */
export interface Bill {
  /** What the caller has named the request. */
  readonly id: string;
  readonly model: BilledModel;
  /** What is to be reserved for it, in nano-dollars, by its text at four bytes a token and by its bound. */
  readonly reserve: number;
  /** What of it is for the request itself; and whether it may grow, since the request sets no bound. */
  readonly asked: number;
  readonly mayGrow: boolean;
  /** Nano-dollars that it has cost by now. */
  cost: number;
  /** The events with text that were sent. */
  events: number;
  end: "open" | "complete" | "early" | "broken" | "failed" | "cancelled";
}

export interface BillingProvider {
  readonly url: string;
  /** One for each request that was taken, the oldest first. */
  readonly bills: Bill[];
  /** Answers that are not over. */
  readonly open: number;
  [Symbol.dispose](): void;
}

type Json = Record<string, unknown>;

/** Says what one request asks, and what it costs. */
interface Call {
  readonly bill: Bill;
  readonly habits: Habits;
  readonly input: number;
  readonly cached: number;
  readonly kept: number;
  readonly reasoning: number;
  /** Nano-dollars for each token of thoughts. */
  readonly perThought: number;
  /** Tokens that are seen. */
  readonly output: number;
}

const MILLISECONDS_BETWEEN_EVENTS = 4;

export function billingProvider(): BillingProvider {
  const bills: Bill[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    development: false,
    idleTimeout: 0,
    fetch: async (request) => {
      const body = (await request.json()) as Json;
      const api = apiOf(new URL(request.url).pathname);
      const call = callOf(request, body, api);
      bills.push(call.bill);
      if (call.habits.ends === "failed") {
        call.bill.end = "failed";
        return Response.json({ error: { message: "The server had an error", type: "api_error" } }, { status: 500 });
      }
      if (body.stream === true) return streamed(call, api, body);
      return call.habits.ends === "never" ? stalled(call, request.signal) : whole(call, api);
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    bills,
    get open() {
      return bills.filter(({ end }) => end === "open").length;
    },
    [Symbol.dispose]: () => void server.stop(true),
  };
}

type Api = "chat" | "responses" | "messages";

function apiOf(path: string): Api {
  const api = (["messages", "responses"] as const).find((name) => path.endsWith(`/${name}`));
  return api ?? "chat";
}

function callOf(request: Request, body: Json, api: Api): Call {
  const model = body.model as BilledModel;
  const habits: Habits = MODELS[model];
  const estimate = Math.ceil(textBytes(body) / 4);
  const input = Math.ceil(estimate * (habits.density ?? 0.8));
  const bound = (body.max_tokens ?? body.max_completion_tokens ?? body.max_output_tokens) as number | undefined;
  const id = request.headers.get("x-request-id") ?? "";
  // Answers are of any length that their bounds allow; without one they may be longer than anybody reckons with.
  const size = Number(Bun.hash(id) % 1000n) / 1000;
  const most = bound ?? 3 * MAX_OUTPUT;
  const tokens = Math.max(1, Math.ceil(most * (0.4 + 0.6 * size)));
  const reasoning = Math.floor(tokens * (habits.reasoning ?? 0));
  // A model that thinks has its thoughts' price reserved for all of the answer.
  const dearest = Math.max(PRICES.reasoning, PRICES.output);
  const asked = estimate * PRICES.input;
  const bill: Bill = {
    ...{ id, model, cost: 0, events: 0, end: "open" },
    ...{ asked, reserve: asked + (bound ?? MAX_OUTPUT) * dearest, mayGrow: bound === undefined },
  };
  // Anthropic's interface does not tell thoughts from the rest of an answer, in its reports and in its prices.
  const perThought = api === "messages" ? PRICES.output : PRICES.reasoning;
  const kept = api === "messages" ? Math.floor(input * (habits.kept ?? 0)) : 0;
  return { bill, habits, input, kept, reasoning, perThought, cached: Math.floor(input * (habits.cached ?? 0)), output: tokens - reasoning };
}

/** Gives the bytes of all texts. */
function textBytes(value: unknown): number {
  if (typeof value === "string") return Buffer.byteLength(value);
  return typeof value === "object" && value !== null ? Object.values(value).reduce((sum: number, each) => sum + textBytes(each), 0) : 0;
}

/** Gives what a call costs of which so many tokens were seen. */
function costOf({ habits, input, cached, kept, reasoning, perThought }: Call, seen: number): number {
  if (habits.reports === "zero") return 0;
  const asked = (input - cached - kept) * PRICES.input + cached * PRICES.cached + kept * PRICES.kept;
  return asked + reasoning * perThought + seen * PRICES.output;
}

/** Gives what an answer reports, as its interface has it; `null`: nothing. */
function usageOf({ habits, input, cached, kept, reasoning, output }: Call, api: Api): Json | null {
  if (habits.reports === "nothing") return null;
  const isZero = habits.reports === "zero";
  const [asked, read, written, thought, answered] = isZero ? [0, 0, 0, 0, 0] : [input, cached, kept, reasoning, output + reasoning];
  if (api === "messages")
    return {
      ...{ input_tokens: asked - read - written, cache_read_input_tokens: read, cache_creation_input_tokens: written },
      output_tokens: answered,
    };
  if (api === "responses")
    return {
      ...{ input_tokens: asked, input_tokens_details: { cached_tokens: read } },
      ...{ output_tokens: answered, output_tokens_details: { reasoning_tokens: thought }, total_tokens: asked + answered },
    };
  return {
    ...{ prompt_tokens: asked, prompt_tokens_details: { cached_tokens: read } },
    ...{ completion_tokens: answered, completion_tokens_details: { reasoning_tokens: thought }, total_tokens: asked + answered },
  };
}

const textFrom = (from: number, to: number): string => Array.from({ length: to - from }, (_, i) => `word${from + i} `).join("");

/** Answers in one piece. */
function whole(call: Call, api: Api): Response {
  const { bill, output } = call;
  bill.cost = costOf(call, output);
  bill.end = "complete";
  const usage = usageOf(call, api);
  const told = usage === null ? {} : { usage };
  const text = textFrom(0, output);
  if (api === "messages") return Response.json({ ...message("end_turn"), content: [{ type: "text", text }], ...told });
  if (api === "responses") return Response.json({ ...response("completed", [item("completed", text)]), ...told });
  const choice = { index: 0, message: { role: "assistant", content: text }, logprobs: null, finish_reason: "stop" };
  return Response.json({ ...completion("chat.completion"), choices: [choice], ...told });
}

/** Never answers. */
async function stalled(call: Call, left: AbortSignal): Promise<Response> {
  call.bill.cost = costOf(call, 0);
  await new Promise((resolve) => left.addEventListener("abort", resolve));
  call.bill.end = "cancelled";
  return new Response(null, { status: 499 });
}

/** Answers event by event, and bills each as it is sent. */
function streamed(call: Call, api: Api, body: Json): Response {
  const { bill, habits, output } = call;
  const perEvent = habits.perEvent ?? 1;
  const events = Math.ceil(output / perEvent);
  const breaksAt = habits.ends === undefined ? Number.POSITIVE_INFINITY : Math.floor(events / 2);
  const { before, each, after } = EVENTS[api](call, (body.stream_options as Json | undefined)?.include_usage === true);
  const seenAt = (event: number): number => Math.min(output, Math.round(event * perEvent));
  let at = -1;
  const stream = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      at++;
      // All that a request asks is billed when its answer begins.
      if (at === 0) {
        bill.cost = costOf(call, 0);
        controller.enqueue(Buffer.from(before));
        return;
      }
      do await Bun.sleep(MILLISECONDS_BETWEEN_EVENTS);
      while (habits.ends === "never" && bill.end === "open");
      if (bill.end !== "open") return;
      if (at > breaksAt) {
        bill.end = habits.ends === "early" ? "early" : "broken";
        if (habits.ends === "early") controller.close();
        else controller.error(new Error("the provider breaks off"));
      } else if (at <= events) {
        bill.cost = costOf(call, seenAt(at));
        bill.events = at;
        controller.enqueue(Buffer.from(each(textFrom(seenAt(at - 1), seenAt(at)))));
      } else {
        bill.end = "complete";
        controller.enqueue(Buffer.from(after));
        controller.close();
      }
    },
    cancel: () => {
      if (bill.end === "open") bill.end = "cancelled";
    },
  });
  return new Response(stream, { headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" } });
}

interface Events {
  readonly before: string;
  readonly each: (text: string) => string;
  readonly after: string;
}

const CREATED = 1_760_000_000;
const completion = (object: string): Json => ({ id: "chatcmpl-1", object, created: CREATED, model: "m" });
const message = (stop: string | null): Json => ({
  ...{ id: "msg_1", type: "message", role: "assistant", model: "m", content: [], stop_reason: stop, stop_sequence: null },
});
const item = (status: string, text: string | null): Json => ({
  ...{ id: "item_1", type: "message", status, role: "assistant" },
  content: text === null ? [] : [{ type: "output_text", text, annotations: [], logprobs: [] }],
});
const response = (status: string, output: readonly Json[]): Json => ({
  ...{ id: "resp_1", object: "response", created_at: CREATED, status, error: null, incomplete_details: null, instructions: null },
  ...{ model: "m", output, parallel_tool_calls: true, temperature: 1, tool_choice: "auto", tools: [], top_p: 1, metadata: {} },
});
const named = (event: Json): string => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;

/** The events of each interface, around and with the text. */
const EVENTS: Record<Api, (call: Call, isAsked: boolean) => Events> = {
  chat: (call, isAsked) => {
    const usage = usageOf(call, "chat");
    const chunk = (choices: readonly Json[], more: Json = {}): string =>
      `data: ${JSON.stringify({ ...completion("chat.completion.chunk"), choices, ...more })}\n\n`;
    const piece = (delta: Json, finish: string | null = null): Json[] => [{ index: 0, delta, logprobs: null, finish_reason: finish }];
    return {
      before: chunk(piece({ role: "assistant", content: "" })),
      each: (content) => chunk(piece({ content })),
      after: `${chunk(piece({}, "stop"))}${isAsked && usage !== null ? chunk([], { usage }) : ""}data: [DONE]\n\n`,
    };
  },
  responses: (call) => {
    const usage = usageOf(call, "responses");
    const at = { item_id: "item_1", output_index: 0, content_index: 0 };
    let number = 0;
    const event = (type: string, more: Json): string => named({ type, sequence_number: number++, ...more });
    return {
      before: `${event("response.created", { response: response("in_progress", []) })}${event("response.output_item.added", { output_index: 0, item: item("in_progress", null) })}${event("response.content_part.added", { ...at, part: { type: "output_text", text: "", annotations: [] } })}`,
      each: (delta) => event("response.output_text.delta", { ...at, delta, logprobs: [] }),
      after: event("response.completed", {
        response: { ...response("completed", [item("completed", "")]), ...(usage === null ? {} : { usage }) },
      }),
    };
  },
  messages: (call) => {
    const usage = usageOf(call, "messages");
    // What a request costs stands at the beginning, where nothing is answered yet.
    const begun = usage === null ? {} : { usage: { ...usage, output_tokens: 0 } };
    const ended = usage === null ? {} : { usage: { output_tokens: usage.output_tokens } };
    return {
      before: `${named({ type: "message_start", message: { ...message(null), ...begun } })}${named({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } })}`,
      each: (text) => named({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } }),
      after: `${named({ type: "content_block_stop", index: 0 })}${named({ type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, ...ended })}${named({ type: "message_stop" })}`,
    };
  },
};
