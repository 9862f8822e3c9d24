// Made providers of language models and a made server of tools, for the console's demo.
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Holds a server of the demo, with its port. */
export interface Backend {
  readonly server: Server;
  readonly port: number;
}

/** Serves what `answer` gives for a body, `after` so many milliseconds. */
export async function serve(after: () => number, answer: (body: string, response: ServerResponse) => unknown): Promise<Backend> {
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    setTimeout(() => {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(answer(body, response)));
    }, after());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return { server, port: (server.address() as AddressInfo).port };
}

/** Serves chat completions, of which some are refused with 429. */
export const provider = (random: () => number, refuses: number): Promise<Backend> =>
  serve(
    () => 120 + random() * 500,
    (_, response) => {
      if (random() < refuses) {
        response.statusCode = 429;
        return { error: { message: "Rate limit reached.", type: "rate_limit_error", param: null, code: "rate_limit_exceeded" } };
      }
      const [input, output] = [300 + Math.floor(random() * 2700), 40 + Math.floor(random() * 700)];
      return {
        ...{ id: "chatcmpl-1", object: "chat.completion" },
        choices: [{ index: 0, message: { role: "assistant", content: "Hello." }, finish_reason: "stop" }],
        usage: {
          ...{ prompt_tokens: input, completion_tokens: output, total_tokens: input + output },
          prompt_tokens_details: { cached_tokens: Math.floor(input / 3) },
        },
      };
    },
  );

/** Serves calls of tools by the Model Context Protocol. */
export const toolServer = (random: () => number): Promise<Backend> =>
  serve(
    () => 15 + random() * 80,
    (body) => {
      const { id } = JSON.parse(body) as { readonly id: number };
      return { jsonrpc: "2.0", id, result: { content: [{ type: "text", text: "Done." }] } };
    },
  );

/** What models cost, in dollars for a million tokens. */
export const PRICES = {
  "gpt-5*": { input: "1.25", output: "10", cacheRead: "0.125", maxOutput: 128_000 },
  "gpt-5-mini*": { input: "0.25", output: "2", cacheRead: "0.025", maxOutput: 128_000 },
  "claude-*": { input: "3", output: "15", cacheRead: "0.30", cacheWrite: "3.75", maxOutput: 64_000 },
  "qwen3*": { input: "0.10", output: "0.40" },
};

/** Virtual models, which the upstreams `models`, `models-eu` and `models-local` answer for. */
export const MODELS = {
  smart: {
    try: [
      { upstream: "models", model: "gpt-5", pool: "models", weight: 3 },
      { upstream: "models-eu", model: "gpt-5-eu", pool: "models", weight: 1 },
      { upstream: "models-local", model: "qwen3-235b", fallback: true },
    ],
  },
  fast: {
    try: [
      { upstream: "models", model: "gpt-5-mini", pool: "models" },
      { upstream: "models-local", model: "qwen3-32b", fallback: true },
    ],
  },
};

/** The route to the server of tools, without its upstream. */
export const TOOL_ROUTE = {
  ...{ name: "documents", path: "/documents/mcp", stripPrefix: false },
  mcp: { tools: { exclude: ["*_delete"] }, cost: { search_documents: 5 } },
};

const TOOLS = ["search_documents", "search_documents", "get_document", "get_document", "list_folders", "write_document"] as const;
const NAMED = ["smart", "smart", "fast", "fast", "fast", "gpt-5-mini"] as const;

const oneOf = <T>(list: readonly T[], random: () => number): T => list[Math.floor(random() * list.length)] as T;

/** Gives the body of a call of a model. */
export const chatBody = (random: () => number): object => ({
  model: oneOf(NAMED, random),
  messages: [{ role: "user", content: "What is in this month's report?" }],
  max_tokens: 800,
});

/** Gives the body of a call of a tool. */
export const toolBody = (random: () => number): object => ({
  ...{ jsonrpc: "2.0", id: 1, method: "tools/call" },
  params: { name: oneOf(TOOLS, random), arguments: {} },
});
