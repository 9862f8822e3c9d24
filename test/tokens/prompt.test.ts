import { describe, expect, test } from "bun:test";
import { WholeBody } from "../../src/http/body.ts";
import { type Prompt, readPrompt } from "../../src/tokens/prompt.ts";

function prompt(body: object, path = "/v1/chat/completions"): Prompt | Promise<Prompt> {
  const bytes = Buffer.from(JSON.stringify(body));
  const hints = { path, mediaType: "application/json", form: null, mayAsk: false, max: 1e6, findsModel: false };
  return readPrompt(new WholeBody(bytes), bytes.length, hints);
}
const allowed = async (body: object, path?: string): Promise<number | null> => {
  const { hasLimit, output } = await prompt(body, path);
  return hasLimit ? output : null;
};

describe("what a request may cost", () => {
  test("is bound by the fields that its interface reads alone", async () => {
    expect(await allowed({ messages: [], max_tokens: 5 })).toBe(5);
    expect(await allowed({ messages: [], max_tokens: 5, max_completion_tokens: 7 })).toBe(7);
    // A server that takes what it does not know would go on without a bound.
    expect(await allowed({ messages: [], max_output_tokens: 1 })).toBe(null);
    expect(await allowed({ input: "", max_output_tokens: 5 }, "/v1/responses")).toBe(5);
    expect(await allowed({ input: "", max_tokens: 1 }, "/v1/responses")).toBe(null);
    expect(await allowed({ messages: [], max_tokens: 5 }, "/v1/messages")).toBe(5);
    expect(await allowed({ messages: [], max_completion_tokens: 1 }, "/v1/messages")).toBe(null);
    expect(await allowed({ max_output_tokens: 1, max_tokens: 9 }, "/own")).toBe(9);
  });

  test("counts the answers that servers read, also in a text, and of too many as many as there may be", async () => {
    const answers = async (n: unknown) => (await prompt({ messages: [], n })).answers;
    expect([await answers(undefined), await answers(4), await answers("4"), await answers(5000), await answers("many")]).toEqual([
      1, 4, 4, 1000, 1,
    ]);
    expect((await prompt({ prompt: "", n: 2, best_of: 20 }, "/v1/completions")).answers).toBe(20);
    expect(await allowed({ messages: [], max_tokens: 5, n: "4" })).toBe(20);
  });

  test("counts a text that begins as the address of a file does, and no file", async () => {
    const text = `data: ${"word ".repeat(1000)}`;
    const file = `data:image/png;base64,${"A".repeat(5000)}`;
    const of = async (content: unknown) => (await prompt({ messages: [{ role: "user", content }] })).input;
    expect(await of(text)).toBeGreaterThan(1250);
    expect(await of([{ type: "text", text: file }])).toBeGreaterThan(1250);
    expect((await prompt({ input: [text, text] }, "/v1/embeddings")).input).toBeGreaterThan(2500);
    expect(await of([{ type: "image_url", image_url: { url: file } }])).toBeLessThan(20);
    expect(await of([{ type: "input_image", image_url: file }])).toBeLessThan(20);
    expect(await of([{ type: "file", file: { filename: "a.pdf", file_data: file } }])).toBeLessThan(20);
    expect((await prompt({ prompt: "", images: [file, file] }, "/v1/images/edits")).input).toBeLessThan(20);
  });
});
