import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AUTO_USAGE, Meter } from "../../src/tokens/meter.ts";
import type { ModelApi } from "../../src/tokens/prompt.ts";

const TEXT = "Forty bytes of text that are ten tokens, ";
const sse = (...events: readonly object[]) => events.map((it) => `data: ${JSON.stringify(it)}\n\n`).join("");
const meterOf = (text: string, api: ModelApi = "chat"): Meter => {
  const meter = new Meter(AUTO_USAGE, true, false, api);
  meter.feed(Buffer.from(text));
  return meter;
};
const passed = (text: string, api: ModelApi = "chat"): number | null => meterOf(text, api).passed;

const chunk = (delta: object, more: object = {}) => ({ id: "chatcmpl-1", choices: [{ index: 0, delta, finish_reason: null, ...more }] });
const tokens = Math.ceil((8 * TEXT.length) / 4);
const eight = <T>(event: T): T[] => new Array<T>(8).fill(event);

describe("What has passed of a stream whose events have many tokens each", () => {
  test("is told by its text, in each interface, and what is repeated or stands around it does not count", () => {
    const created = { type: "response.created", response: { instructions: TEXT.repeat(99), text: { format: { type: "text" } } } };
    const delta = { type: "response.output_text.delta", item_id: "msg_1", delta: TEXT, logprobs: [], obfuscation: "x".repeat(99) };
    const done = { type: "response.output_text.done", text: TEXT.repeat(8) };
    expect(passed(sse(created, ...eight(delta), done), "responses")).toBe(tokens);

    const start = { type: "message_start", message: { content: [], usage: { input_tokens: 9, output_tokens: 1 } } };
    const block = (type: string, field: string) => ({ type: "content_block_delta", index: 0, delta: { type, [field]: TEXT } });
    const ofMessages = [
      ...eight(block("text_delta", "text")),
      ...eight(block("thinking_delta", "thinking")),
      ...eight(block("input_json_delta", "partial_json")),
    ];
    const signature = { type: "content_block_delta", index: 0, delta: { type: "signature_delta", signature: "x".repeat(4000) } };
    const messages = meterOf(sse(start, { type: "ping" }, ...ofMessages, signature), "messages");
    expect([messages.passed, messages.events]).toEqual([3 * tokens, 27]);
    // The caller left before the provider said how many.
    expect(messages.reported).toBe(9 + 3 * tokens);

    const logprobs = { logprobs: { content: [{ token: "x", logprob: -1, top_logprobs: [{ token: "x".repeat(999) }] }] } };
    const ofChat = [
      chunk({ role: "assistant", content: "" }),
      ...eight(chunk({ content: "", reasoning_content: TEXT })),
      ...eight(chunk({ content: TEXT }, logprobs)),
      ...eight(chunk({ tool_calls: [{ index: 0, function: { arguments: TEXT } }] })),
    ];
    expect(passed(sse(...ofChat))).toBe(3 * tokens);
    expect(passed(sse(...eight({ choices: [{ index: 0, text: TEXT }] })))).toBe(tokens);
    expect(passed('data: {"candidates": [{"content": {"parts": [{"text": "123456789"}]}}]}\n\n', "other")).toBe(3);
  });

  test("is never less than its events, and escapes count as what they stand for", () => {
    expect(passed(sse(...eight(chunk({ content: "a" }))))).toBe(8);
    expect(passed(sse(...eight({ type: "ping" })))).toBe(8);
    expect(passed("data: [DONE]\n\n")).toBe(0);
    expect(passed(`data: {"choices":[{"delta":{"content":"${"\\u4f60".repeat(4)}${'\\n\\"'.repeat(4)}"}}]}\n\n`)).toBe(5);
    // A text that looks like a field is none.
    expect(passed(sse(chunk({ content: `"content":"` })))).toBe(3);
  });

  test("counts all texts of an event that has several", () => {
    const call = (index: number) => ({ index, function: { name: "f", arguments: TEXT.repeat(8) } });
    expect(passed(sse(chunk({ content: TEXT.repeat(8), tool_calls: [call(0), call(1)] })))).toBe(3 * tokens);
  });

  test("is the same wherever the stream is cut, but for a field's name that is", () => {
    const text = sse(...eight(chunk({ content: `${TEXT}"\\` })));
    const whole = (8 * (TEXT.length + 2)) / 4;
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 12 }), (cuts) => {
        const meter = new Meter(AUTO_USAGE, true, false, "chat");
        const places = [0, ...cuts.filter((cut) => !isInName(text, cut)).sort((a, b) => a - b), text.length];
        for (let i = 1; i < places.length; i++) meter.feed(Buffer.from(text.slice(places[i - 1], places[i])));
        expect(meter.passed).toBe(Math.ceil(whole));
      }),
    );
  });
});

/** Tells whether a cut is within `"content":"`. */
function isInName(text: string, cut: number): boolean {
  const at = text.lastIndexOf('"content":"', cut);
  return at >= 0 && cut > at && cut < at + '"content":"'.length;
}
