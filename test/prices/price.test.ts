import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Price } from "../../src/prices/price.ts";
import { Prices } from "../../src/prices/prices.ts";
import { type Figures, NO_FIGURES } from "../../src/tokens/figures.ts";
import { unread } from "../../src/tokens/prompt.ts";
import { MAX_NANO } from "../../src/values/money.ts";

const used = (some: Partial<Figures>): Figures => ({ ...NO_FIGURES, ...some });

describe("a price", () => {
  const dear = {
    input: "1.25",
    output: 10,
    cacheRead: "0.125",
    cacheWrite: "1.5625",
    cacheWriteHour: "2.5",
    reasoning: "12",
    inputAudio: "40",
    outputAudio: "80",
    inputImage: "5",
    outputImage: "30",
    second: "0.0001",
    request: "0.01",
  };

  test.each(Object.entries({ input: 1250, output: 10_000, cacheRead: 125, cacheWrite: 1562.5, cacheWriteHour: 2500, reasoning: 12_000 }))(
    "has each kind of tokens cost its own: %s",
    (kind, nano) => {
      expect(new Price({ ...dear, request: "0" }).cost(used({ [kind]: 2000 }))).toBe(nano * 2000);
    },
  );

  test("counts sound, pictures, seconds and the request itself", () => {
    const price = new Price(dear);
    const figures = used({ inputAudio: 1, outputAudio: 1, inputImage: 1, outputImage: 1, seconds: 2.5 });
    expect(price.cost(figures)).toBe(40_000 + 80_000 + 5000 + 30_000 + 250_000 + 10_000_000);
  });

  test("costs what its neighbour costs where a kind is left out", () => {
    const price = new Price({ input: "1", output: "2" });
    const request = used({ input: 1, cacheRead: 1, cacheWrite: 1, cacheWriteHour: 1, inputAudio: 1, inputImage: 1 });
    expect(price.cost(request)).toBe(6000);
    expect(price.cost(used({ output: 1, reasoning: 1, outputAudio: 1, outputImage: 1 }))).toBe(8000);
    expect(new Price({ input: "1", outputImage: "3" }).cost(used({ output: 1 }))).toBe(3000);
    expect(new Price({ second: "0.1" }).cost(used({ input: 5, seconds: 1 }))).toBe(100_000_000);
  });

  test("is another one beyond a length of the request, which counts what was cached as well", () => {
    const over = [
      { context: 200, input: "3", output: "4" },
      { context: 1000, input: "5" },
    ];
    const price = new Price({ input: "1", output: "2", cacheRead: "0.5", over });
    expect(price.cost(used({ input: 200, output: 1 }))).toBe(200_000 + 2000);
    expect(price.cost(used({ input: 150, cacheRead: 51, output: 1 }))).toBe(450_000 + 25_500 + 4000);
    expect(price.cost(used({ input: 1001, output: 1 }))).toBe(5_005_000 + 2000);
  });

  test("rounds a part of a nano-dollar up, once for all kinds", () => {
    expect(new Price({ input: "0.0000005", output: "0.0000005" }).cost(used({ input: 1, output: 1 }))).toBe(1);
    expect(new Price({ input: "0.0000005" }).cost(used({ input: 2_000_000 }))).toBe(1000);
    expect(new Price({ input: 0.000_000_5 }).cost(used({ input: 2_000_000 }))).toBe(1000);
  });

  test("is reserved for the dearest that an answer may bring", () => {
    const reserved = (price: object) =>
      new Price({ output: "1", maxOutput: 1000, ...price }).reserve(unread(null, 0, "/v1/chat/completions"));
    expect(reserved({})).toBe(1e6);
    for (const kind of ["reasoning", "outputAudio", "outputImage"]) {
      expect(reserved({ [kind]: "8" })).toBe(8e6);
      expect(reserved({ [kind]: "0.5" })).toBe(1e6);
    }
  });

  test("is exact, whatever the price and the tokens", () => {
    const nano = fc.integer({ min: 0, max: 999_999_999_999 });
    const count = fc.integer({ min: 0, max: 100_000_000 });
    fc.assert(
      fc.property(nano, nano, count, count, (input, output, asked, answered) => {
        const dollars = (rate: number) => `${Math.floor(rate / 1e9)}.${String(rate % 1e9).padStart(9, "0")}`;
        const exact = BigInt(input) * BigInt(asked) + BigInt(output) * BigInt(answered);
        const rounded = (exact + 999_999n) / 1_000_000n;
        const cost = new Price({ input: dollars(input), output: dollars(output) }).cost(used({ input: asked, output: answered }));
        expect(BigInt(cost)).toBe(rounded > BigInt(MAX_NANO) ? BigInt(MAX_NANO) : rounded);
      }),
    );
  });
});

describe("the table of prices", () => {
  const prices = new Prices(
    { "gpt-5": { input: "1" }, "gpt-5*": { input: "2" }, "gpt-5-mini*": { input: "3" }, "*": { input: "4" }, "*/gpt-*-x": { input: "5" } },
    false,
  );
  const inputOf = (model: string) => prices.of(model)?.config.input;

  test("prefers the exact name, then the longest pattern", () => {
    expect(["gpt-5", "gpt-5-pro", "gpt-5-mini-2027", "else", "a/gpt-6-x"].map(inputOf)).toEqual(["1", "2", "3", "4", "5"]);
  });

  test("has no price for a name that nothing matches, however many names are asked for", () => {
    const few = new Prices({ "a*": { input: "1" } }, false);
    for (let i = 0; i < 5000; i++) expect(few.of(`b${i}`)).toBeNull();
    expect(few.of("abc")?.config.input).toBe("1");
  });
});
