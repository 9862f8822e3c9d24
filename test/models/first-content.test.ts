import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FirstContent, type Shown } from "../../src/models/first-content.ts";

const data = (value: unknown) => `data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`;
const typed = (value: { type: string } & Record<string, unknown>) => `event: ${value.type}\n${data(value)}`;
const chunk = (delta: object, finish: string | null = null) =>
  data({ object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] });

/** Feeds a stream in pieces, and gives what it shows and after how many characters. */
function look(text: string, size = text.length): { shown: Shown; at: number } {
  const first = new FirstContent();
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) {
    const shown = first.feed(bytes.subarray(at, at + size));
    if (shown !== "nothing") return { shown, at };
  }
  return { shown: "nothing", at: bytes.length };
}

const EMPTY: Record<string, string> = {
  "comments and blank lines": ": keep-alive\n\n:\n\n\n\n: OPENROUTER PROCESSING\n\n",
  "a role alone": chunk({ role: "assistant", content: "" }) + chunk({ role: "assistant", content: null, tool_calls: [] }),
  "a filter's result before the first choice": data({ object: "chat.completion.chunk", choices: [], prompt_filter_results: [{}] }),
  "the begin of a message": typed({ type: "message_start", message: { content: [] } }) + typed({ type: "ping" }),
  "an empty block": typed({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } }),
  "an empty piece": typed({ type: "content_block_delta", delta: { type: "input_json_delta", partial_json: "" } }),
  "the begin of a response":
    typed({ type: "response.created", response: { error: null } }) +
    typed({ type: "response.in_progress" }) +
    typed({ type: "response.output_item.added", item: { type: "message", content: [] } }) +
    typed({ type: "response.content_part.added", part: { type: "output_text", text: "" } }) +
    typed({ type: "response.output_text.delta", delta: "" }),
};

const CONTENT: Record<string, string> = {
  "a word": chunk({ content: "Hello" }),
  "a space": chunk({ content: " " }),
  "a thought": chunk({ reasoning_content: "Hm" }),
  "a call of a tool": chunk({ tool_calls: [{ index: 0, function: { name: "f" } }] }),
  "an end without a word": chunk({}, "content_filter"),
  "a word of the older completions": data({ object: "text_completion", choices: [{ text: "Hello", finish_reason: null }] }),
  "the end": data("[DONE]"),
  "a piece of a message": typed({ type: "content_block_delta", delta: { type: "text_delta", text: "Hello" } }),
  "a thought of a message": typed({ type: "content_block_delta", delta: { type: "thinking_delta", thinking: "Hm" } }),
  "a tool's block": typed({ type: "content_block_start", content_block: { type: "tool_use", id: "t", name: "f", input: {} } }),
  "the end of a message": typed({ type: "message_delta", delta: { stop_reason: "end_turn" } }),
  "a piece of a response": typed({ type: "response.output_text.delta", delta: "Hello" }),
  "a tool's item": typed({ type: "response.output_item.added", item: { type: "function_call", name: "f" } }),
  "the end of a response": typed({ type: "response.completed", response: { error: null } }),
  "a format that nobody knows": data({ candidates: [{ content: {} }] }),
  "no JSON at all": data("Hello"),
};

const ERRORS: [string, string, number][] = [
  ["an error of chat completions", data({ error: { message: "no", type: "server_error", code: null } }), 500],
  ["too many requests", data({ error: { type: "requests", code: "rate_limit_exceeded" } }), 429],
  ["a gateway's number", data({ error: { code: 502, message: "no" }, choices: [] }), 502],
  ["an overloaded provider", typed({ type: "error", error: { type: "overloaded_error" } }), 529],
  ["a bad request", typed({ type: "error", error: { type: "invalid_request_error" } }), 400],
  ["a response that failed", typed({ type: "response.failed", response: { error: { code: "rate_limit_exceeded" } } }), 429],
  ["an error of responses", typed({ type: "error", code: "ERR_SOMETHING", message: "no" }), 500],
  ["a text under the name of an error", "event: error\ndata: broken\n\n", 500],
];

describe("a stream has nothing to read so far with", () => {
  test.each(Object.entries(EMPTY))("%s", (_, text) => expect(look(text).shown).toBe("nothing"));
});

describe("a stream has something to read with", () => {
  test.each(Object.entries(CONTENT))("%s", (_, text) => expect(look(Object.values(EMPTY).join("") + text).shown).toBe("content"));
});

describe("a stream fails with", () => {
  test.each(ERRORS)("%s", (_, text, status) => expect(look(text).shown).toBe(status));
});

test("an event counts when it is whole, however it is cut into pieces and its lines end", () => {
  const before = Object.values(EMPTY).join("");
  fc.assert(
    fc.property(
      fc.constantFrom(...Object.values(CONTENT)),
      fc.constantFrom("\n", "\r\n", "\r"),
      fc.integer({ min: 1, max: 50 }),
      (event, end, size) => {
        const text = `\ufeff${before}${event}`.replaceAll("\n", end);
        const { shown, at } = look(text, size);
        expect(shown).toBe("content");
        // Not before the last line of the event: its end is in the piece in which that is seen.
        expect(at + size).toBeGreaterThanOrEqual(Buffer.byteLength(text) - end.length);
      },
    ),
  );
});
