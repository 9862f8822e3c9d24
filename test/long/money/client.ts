// The official clients for JavaScript, in the hands of callers who want all that they can get: `bun client.ts TASK`, a JSON of `Task`. Prints
// one line of JSON for each call, as `Call` has it.
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { streamText } from "ai";
import OpenAI from "openai";
import type { Call, Task } from "./calls.ts";
import { Chances } from "./chances.ts";

const task = JSON.parse(Bun.argv[2] ?? "") as Task;
const { bases, key, models, streams, refusals, name } = task;
const chances = new Chances(task.seed);

interface Wish {
  readonly id: string;
  readonly base: string;
  readonly model: string;
  readonly content: string;
  /** The most tokens; `null`: no bound is set. */
  readonly bound: number | null;
  /** The events after which the caller leaves. */
  readonly leavesAfter: number;
  /** The events that have come. */
  events: number;
}

/** Reads a stream to its end, or to where the caller leaves. */
async function read(wish: Wish, stream: AsyncIterable<unknown>, leave: () => void): Promise<void> {
  for await (const _event of stream) {
    wish.events++;
    if (wish.events < wish.leavesAfter) continue;
    leave();
    return;
  }
}

const openaiOf = (base: string) => new OpenAI({ baseURL: `${base}/v1`, apiKey: key, maxRetries: 0 });
const CLIENTS = new Map(
  bases.map((base) => [
    base,
    { openai: openaiOf(base), anthropic: new Anthropic({ baseURL: `${base}/anthropic`, apiKey: key, maxRetries: 0 }) },
  ]),
);
const clientsOf = ({ base }: Wish) => {
  const clients = CLIENTS.get(base);
  if (clients === undefined) throw new Error(`no client for ${base}`);
  return clients;
};

/** The calls that are made. */
const KINDS: readonly ((wish: Wish) => Promise<void>)[] = [
  async (wish) => {
    const { model, content, bound } = wish;
    const stream = await clientsOf(wish).openai.chat.completions.create(
      { model, messages: [{ role: "user", content }], stream: true, ...(bound === null ? {} : { max_completion_tokens: bound }) },
      { headers: { "x-request-id": wish.id } },
    );
    await read(wish, stream, () => stream.controller.abort());
  },
  async (wish) => {
    const { model, content, bound } = wish;
    const stream = await clientsOf(wish).openai.responses.create(
      { model, input: content, stream: true, ...(bound === null ? {} : { max_output_tokens: bound }) },
      { headers: { "x-request-id": wish.id } },
    );
    await read(wish, stream, () => stream.controller.abort());
  },
  async (wish) => {
    const { model, content, bound } = wish;
    const stream = await clientsOf(wish).anthropic.messages.create(
      { model, max_tokens: bound ?? 80, messages: [{ role: "user", content }], stream: true },
      { headers: { "x-request-id": wish.id } },
    );
    await read(wish, stream, () => stream.controller.abort());
  },
  async (wish) => {
    const { model, content, bound } = wish;
    const leaving = new AbortController();
    const provider = createOpenAI({ baseURL: `${wish.base}/v1`, apiKey: key });
    let fault: unknown = null;
    const { textStream } = streamText({
      ...{ model: provider.chat(model), prompt: content, maxRetries: 0, headers: { "x-request-id": wish.id } },
      ...(bound === null ? {} : { maxOutputTokens: bound }),
      abortSignal: leaving.signal,
      onError: ({ error }) => {
        fault = error;
      },
    });
    await read(wish, textStream, () => leaving.abort());
    if (fault !== null) throw fault;
  },
  async (wish) => {
    const { model, content, bound } = wish;
    await clientsOf(wish).openai.chat.completions.create(
      { model, messages: [{ role: "user", content }], ...(bound === null ? {} : { max_completion_tokens: bound }) },
      { headers: { "x-request-id": wish.id } },
    );
  },
];

/** Gives the status of a refusal; 0: the call has failed without one. */
function statusOf(error: unknown): number {
  const { status, statusCode } = error as { status?: number; statusCode?: number };
  return status ?? statusCode ?? 0;
}

const calls: Call[] = [];

/** Makes one call, and notes what came of it. Gives the status. */
async function callOnce(id: string): Promise<number> {
  const leaves = chances.happens(0.25);
  const wish: Wish = {
    ...{ id, base: chances.oneOf(bases), model: chances.oneOf(models), content: "tell me more. ".repeat(1 + chances.below(20)) },
    ...{
      bound: chances.happens(0.75) ? 20 + chances.below(60) : null,
      leavesAfter: leaves ? 1 + chances.below(15) : Number.POSITIVE_INFINITY,
    },
    events: 0,
  };
  const kind = chances.oneOf(KINDS);
  const note = (status: number, fault?: unknown): number => {
    const { model, events, leavesAfter } = wish;
    const told = fault === undefined ? {} : { fault: String(fault).slice(0, 300) };
    calls.push({ id, model, status, events, left: events >= leavesAfter, ...told });
    return status;
  };
  return kind(wish).then(
    () => note(200),
    (error: unknown) => note(statusOf(error), error),
  );
}

await Promise.all(
  Array.from({ length: streams }, async (_, caller) => {
    let refused = 0;
    // Nothing is left when it is refused again and again, also after others have given back what they did not need.
    for (let n = 0; refused < refusals && n < task.most; n++) {
      const status = await callOnce(`${name}-${caller}-${n}`);
      refused = status === 429 ? refused + 1 : 0;
      if (status !== 200) await Bun.sleep(20 + chances.below(200));
    }
  }),
);
console.log(calls.map((call) => JSON.stringify(call)).join("\n"));
process.exit(0);
