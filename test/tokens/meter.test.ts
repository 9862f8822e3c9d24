import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Sink } from "../../src/http/body.ts";
import { AUTO_USAGE, Meter, usageByPaths } from "../../src/tokens/meter.ts";

const sse = (...events: readonly unknown[]) => events.map((it) => `data: ${typeof it === "string" ? it : JSON.stringify(it)}\n\n`).join("");
const named = (...events: readonly { type: string }[]) => events.map((it) => `event: ${it.type}\ndata: ${JSON.stringify(it)}\n\n`).join("");

function read(text: string, isEvents: boolean): number | null {
  const meter = new Meter(AUTO_USAGE, isEvents);
  meter.feed(Buffer.from(text));
  return meter.reported;
}

describe('The usage "auto"', () => {
  test("reads chat completions, responses, messages and embeddings", () => {
    const json = (value: unknown) => read(JSON.stringify(value), false);
    expect(
      json({
        choices: [{}],
        usage: { prompt_tokens: 10, completion_tokens: 32, total_tokens: 42, prompt_tokens_details: { cached_tokens: 8 } },
      }),
    ).toBe(42);
    expect(
      json({
        object: "response",
        usage: { input_tokens: 5, input_tokens_details: { cached_tokens: 3 }, output_tokens: 7, total_tokens: 12 },
      }),
    ).toBe(12);
    expect(
      json({
        type: "message",
        usage: {
          input_tokens: 10,
          cache_creation_input_tokens: 100,
          cache_read_input_tokens: 1000,
          output_tokens: 20,
          cache_creation: { ephemeral_5m_input_tokens: 100 },
        },
      }),
    ).toBe(1130);
    expect(json({ object: "list", data: [{ embedding: [0.5, 1e-3] }], usage: { prompt_tokens: 3, total_tokens: 3 } })).toBe(3);
    expect(json({ usage: { prompt_tokens: 3, completion_tokens: 4 } })).toBe(7);
    expect(json({ usage: { total_tokens: 0 } })).toBe(0);
    expect(json({ text: "hello", usage: { type: "duration", seconds: 9 } })).toBe(null);
    expect(json({ output: [{ usage: { total_tokens: 9 } }], metadata: { usage: { total_tokens: 9 } } })).toBe(null);
  });

  test("reads the streams of each, in which the last event counts that says so", () => {
    expect(
      read(sse({ choices: [{ delta: {} }], usage: null }, { choices: [], usage: { prompt_tokens: 1, total_tokens: 77 } }, "[DONE]"), true),
    ).toBe(77);
    expect(
      read(
        named(
          { type: "response.created", response: { usage: null } } as { type: string },
          { type: "response.output_text.delta", delta: "x" } as { type: string },
          { type: "response.completed", response: { usage: { input_tokens: 5, output_tokens: 7, total_tokens: 12 } } } as { type: string },
        ),
        true,
      ),
    ).toBe(12);
    const start = { type: "message_start", message: { usage: { input_tokens: 50, cache_read_input_tokens: 7, output_tokens: 1 } } };
    const delta = { type: "content_block_delta", delta: { text: "x" } };
    expect(
      read(
        named(start, delta, { type: "message_delta", usage: { output_tokens: 27 } } as { type: string }, { type: "message_stop" }),
        true,
      ),
    ).toBe(84);
    // Broken off: what has passed counts, one token an event.
    expect(read(named(start, delta, delta, delta), true)).toBe(61);
  });
});

describe("The usage that the caller did not ask for", () => {
  const extra = { id: "c", choices: [], usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } };
  const chunk = (content: string, more: object = {}) => ({ id: "c", choices: [{ index: 0, delta: { content } }], ...more });

  /** Passes a stream on in pieces that end at these places. */
  function passed(text: string, cuts: readonly number[] = []): { text: string; pieces: string[]; total: number | null } {
    const meter = new Meter(AUTO_USAGE, true, true);
    const out: Buffer[] = [];
    const pieces: string[] = [];
    const sink: Sink = { write: (bytes) => out.push(Buffer.from(bytes)) > 0, end: () => {}, fail: () => {} };
    const bytes = Buffer.from(text);
    const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
    for (let i = 1; i < places.length; i++) {
      const before = out.length;
      meter.sieve(bytes.subarray(places[i - 1], places[i]), sink);
      pieces.push(Buffer.concat(out.slice(before)).toString());
    }
    meter.endSieve(sink);
    return { text: Buffer.concat(out).toString(), pieces, total: meter.reported };
  }

  test("is counted, and the stream goes on as it would have been, wherever it is cut and whatever its lines end with", () => {
    const asked = [
      ": OPENROUTER PROCESSING",
      "",
      `data: ${JSON.stringify({ id: "a", choices: [], prompt_filter_results: [], usage: null })}`,
      "",
      `data: ${JSON.stringify(chunk('say "usage": null, "choices": []', { usage: null }))}`,
      "",
      `data:${JSON.stringify({ usage: null, ...chunk("ü ") })}`,
      "",
      "id: 4",
      "event: message",
      `data: ${JSON.stringify(chunk("usage"), null, 1).replaceAll("\n", "\ndata: ")}`,
      "",
      `data: ${JSON.stringify(chunk("last", { usage: { total_tokens: 2 } }))}`,
      ": in between",
      "",
      `data: ${JSON.stringify(extra)}`,
      "",
      "data: [DONE]",
      "",
      "",
    ];
    const plain = asked.filter(
      (line, i) => !(line.includes('"choices":[],"usage":{') || (line === "" && asked[i - 1]?.includes('"choices":[],"usage":{'))),
    );
    for (const end of ["\n", "\r\n", "\r"]) {
      const wanted = plain.join(end).replaceAll(',"usage":null', "").replaceAll('"usage":null,', "");
      fc.assert(
        fc.property(fc.array(fc.nat(), { maxLength: 14 }), (cuts) => {
          const it = passed(asked.join(end), cuts);
          expect(it.text).toBe(wanted);
          expect(it.total).toBe(3);
        }),
        { numRuns: 400 },
      );
      // Byte by byte.
      const text = asked.join(end);
      expect(passed(text, [...Buffer.from(text).keys()]).text).toBe(wanted);
    }
  });

  test("is what JSON.parse would find, whatever the events are", () => {
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: "small" },
        fc.constantFrom(null, true, 7, "usage", '"usage":null}', "usage\\"),
        fc.array(tie("any"), { maxLength: 2 }),
        fc.dictionary(fc.constantFrom("usage", "choices", "total_tokens", "x"), tie("any"), { maxKeys: 3 }),
      ),
    })).any;
    const event = fc.dictionary(fc.constantFrom("usage", "choices", "id", "x"), value, { maxKeys: 4 }) as fc.Arbitrary<
      Record<string, unknown>
    >;
    const isObject = (it: unknown) => typeof it === "object" && it !== null && !Array.isArray(it);
    const wanted = (it: Record<string, unknown>): Record<string, unknown> | null => {
      if (isObject(it.usage) && Array.isArray(it.choices) && it.choices.length === 0) return null;
      // With several fields of the name it stays as it is.
      if (it.usage !== null || JSON.stringify(it).split(/(?<!\\)"usage":/).length !== 2) return it;
      const { usage: _, ...rest } = it;
      return rest;
    };
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 5 }),
        fc.constantFrom(undefined, 1),
        fc.array(fc.nat(), { maxLength: 8 }),
        (events, space, cuts) => {
          const text = events.map((it) => `data: ${JSON.stringify(it, null, space).replaceAll("\n", "\ndata: ")}\n\n`).join("");
          const parsed = passed(text, cuts)
            .text.split("\n\n")
            .slice(0, -1)
            .map((it) => JSON.parse(it.replaceAll(/^data: /gm, "")));
          const kept = events.map((it) => (space === undefined ? wanted(it) : wanted(it) === null ? null : it)).filter((it) => it !== null);
          // Of what stands on several lines a null may stay.
          const told = space === undefined ? parsed : parsed.map((it, i) => (kept[i]?.usage === null ? { ...it, usage: null } : it));
          expect(told).toEqual(kept as Record<string, unknown>[]);
        },
      ),
      { numRuns: 3000 },
    );
  });

  test("does not make other events wait: each goes on in the piece that completes its JSON, comments and what is not JSON at once", () => {
    const first = `data: ${JSON.stringify(chunk("a"))}`;
    const text = `${first}\n\n: ping\ndata: [DONE]\n\n`;
    expect(passed(text, [first.length]).pieces[0]).toBe(first);
    expect(passed(text, [first.length - 1]).pieces).toEqual(["", `${first}\n\n: ping\ndata: [DONE]\n\n`]);
    expect(passed(text, [first.length + 9]).pieces[0]).toBe(`${first}\n\n: ping\n`);
    expect(passed("data: [DO").pieces).toEqual(["data: [DO"]);
  });

  test("is left out of a stream that ends without an empty line, and a large event is not held back", () => {
    expect(passed(`data: ${JSON.stringify(extra)}`).text).toBe("");
    expect(passed(`data: ${JSON.stringify(extra)}\n`).text).toBe("");
    expect(passed('data: {"choices":[').text).toBe('data: {"choices":[');
    const large = `data: ${JSON.stringify(chunk("x".repeat(200_000)))}\n\n`;
    const it = passed(large, [100_000, 150_000]);
    expect([it.text === large, it.pieces[0]?.length]).toEqual([true, 100_000]);
  });

  test("that is null is left out though padding stands behind it, and an event that ends with a piece is read all the same", () => {
    const padded = (more: object) => `data: ${JSON.stringify(chunk("a", { ...more, obfuscation: "aB3" }))}\n\n`;
    expect(passed(padded({ usage: null })).text).toBe(padded({}));
    const nested = `data: ${JSON.stringify({ choices: [{ usage: null }], obfuscation: "aB3" })}\n\n`;
    expect(passed(nested).text).toBe(nested);
    const line = 'data: {"usage":7}';
    expect(passed(`${line}\n\n`, [line.length]).text).toBe(`${line}\n\n`);
  });

  test("is told by explicit paths as well", () => {
    expect(usageByPaths([["usage", "total_tokens"]]).isOpenAi).toBe(true);
    expect(
      usageByPaths([
        ["usage", "a"],
        ["usage", "b"],
      ]).isOpenAi,
    ).toBe(false);
    const meter = new Meter(usageByPaths([["a"], ["b", "c"], ["a"]]), false);
    meter.feed(Buffer.from('{"a":1.2,"b":{"c":40}}'));
    expect(meter.reported).toBe(42);
  });
});
