import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import { configWarnings } from "../../src/config/warnings.ts";
import { importPrices } from "../../src/imports/prices.ts";
import { PriceBook } from "../../src/prices/book.ts";
import { faultLines } from "../../src/schema/faults.ts";
import { folder, run, start } from "../support/process.ts";
import { serving } from "../support/serving.ts";
import { until } from "../support/until.ts";

const faultsOf = (config: object): string[] => {
  const loaded = loadConfig(JSON.stringify(config), {});
  return "faults" in loaded ? loaded.faults.map(({ path, message }) => `${path.join(".")} ${message}`) : [];
};
const warningsOf = (config: object): string[] => {
  const loaded = loadConfig(JSON.stringify(config), {});
  if ("faults" in loaded) throw new Error(faultLines(null, loaded.faults).join("\n"));
  return configWarnings(loaded.config, loaded.given, "127.0.0.1", 0).map(({ path, message }) => `${path.join(".")}: ${message}`);
};

describe("prices in the configuration", () => {
  test("may be text or numbers, and what is none is named", () => {
    expect(faultsOf({ prices: { m: { input: "1.25", output: 10, over: [{ context: 200_000, input: 0.000_000_001 }] } } })).toEqual([]);
    expect(faultsOf({ prices: { m: { input: "1,25" } } })[0]).toStartWith('prices.m.input must be dollars such as "1.25" or 1.25');
    expect(faultsOf({ prices: { m: { input: "-1" } } })).toHaveLength(1);
    expect(faultsOf({ prices: { m: { input: 1, outptu: 2 } } })[0]).toContain('did you mean "output"?');
    expect(faultsOf({ prices: { m: { maxOutput: 5 } } })[0]).toContain("has no price");
    expect(faultsOf({ prices: { m: { input: 1, over: [{ context: 5 }, { context: 5 }] } } })[0]).toContain("stands here twice");
    expect(faultsOf({ prices: { "a b*": { input: 1 } } })).toEqual([
      "prices.a b* is not a name: use a model's name of 1 to 256 characters without blanks, or a pattern in which * stands for any characters",
    ]);
    expect(faultsOf({ unpriced: "free" })[0]).toContain('must be one of "deny", "zero"');
  });

  test("are missed where money is counted, wherever that is", () => {
    const usd = { algorithm: "fixed-window", limit: "1", window: "1h", cost: "usd" };
    const config = {
      tiers: { a: { limits: [usd], quota: { limit: "5", period: "day", cost: "usd" } } },
      consumers: [
        {
          id: "c",
          tier: "a",
          limits: [usd],
          keys: [{ key: "a-key-of-a-caller-0123", limits: [usd] }],
          metadata: { cost: "usd", limit: 1 },
        },
      ],
      pools: { p: { keys: [{ id: "k", budgets: [{ cost: "usd", limit: "5", window: "1d" }] }] } },
      routes: [{ path: "/x", upstream: "http://127.0.0.1:1", usage: "auto", limits: [usd] }],
    };
    const places = [
      "tiers.a.limits.0.cost",
      "tiers.a.quota.cost",
      "consumers.0.limits.0.cost",
      "consumers.0.keys.0.limits.0.cost",
      "pools.p.keys.0.budgets.0.cost",
      "routes.0.limits.0.cost",
    ];
    const told = (more: object) => warningsOf({ ...config, ...more }).filter((line) => line.includes("counts money"));
    expect(told({}).map((line) => line.split(":")[0] ?? "")).toEqual(places);
    expect(told({ prices: { "*": { input: 1 } } })).toEqual([]);
  });

  test("are warned of where a pattern never holds", () => {
    const told = warningsOf({
      prices: { "gpt-5*": { input: 1 }, "*gpt-5*": { input: 2 }, "gpt-5-mini*": { input: 3 }, "gpt-5": { input: 4 } },
    });
    expect(told.filter((line) => line.includes("never holds"))).toEqual([
      'prices.gpt-5*: never holds: "*gpt-5*" is longer, and matches all that it matches',
    ]);
  });
});

describe("prices without one of the answer", () => {
  const told = (prices: object) => warningsOf({ prices }).filter((line) => line.includes("answers cost nothing"));

  test("are warned of, since whoever forgets it gives answers away", () => {
    const forgotten = 'says nothing of "output", so that answers cost nothing: if that is meant, say "output": "0"';
    expect(told({ "gpt-5*": { input: "1.25" } })).toEqual([`prices.gpt-5*: ${forgotten}`]);
    expect(told({ a: { input: 1, output: 2 }, b: { input: 1 }, c: { cacheRead: 1 } })).toEqual([
      `prices.b: ${forgotten}, and so for 1 more`,
    ]);
  });

  test("are not where it is said, or calls are not paid by tokens", () => {
    const sound = { second: "0.0001" };
    expect(told({ "text-embedding-*": { input: 1, output: 0 }, whisper: sound, search: { request: 1 }, i: { outputImage: 4 } })).toEqual(
      [],
    );
  });
});

describe("prices in a file", () => {
  test("are faults of the configuration where they can't be used, with their line", () => {
    using place = folder();
    const book = new PriceBook(join(place.path, "config.json"));
    const examine = (text: string | null) => {
      if (text !== null) writeFileSync(join(place.path, "models.json"), text);
      const { faults, warnings } = book.examine({ prices: "./models.json", unpriced: "deny" });
      return [...faults, ...warnings].map(({ path, message }) => `${path.join(".")}: ${message}`).join("\n");
    };
    expect(examine(null)).toStartWith("prices: models.json can't be read: ");
    expect(examine("")).toBe("prices: models.json is empty");
    expect(examine('{\n  "m": { "input": "1" ')).toMatch(/^prices: models\.json:2:\d+: a } is missing$/);
    expect(examine('{\n  "m": {\n    "input": "x" }\n}')).toStartWith(
      'prices: models.json:3:14 m.input: must be dollars such as "1.25" or 1.25',
    );
    expect(examine("[]")).toStartWith("prices: models.json:1:1: must be an object");
    expect(examine('{ "m": { "input": 1 }, "m": { "input": 2 } }')).toBe("prices: models.json:1:8 m: stands here twice");
    expect(examine('// in dollars\n{ "m*": { "input": 1 }, "*m*": { "input": 2 }, }')).toStartWith(
      'prices: models.json ["m*"]: never holds',
    );
    expect(book.isChanged()).toBe(false);
    writeFileSync(join(place.path, "models.json"), '{ "other": { "input": 1 } }');
    expect(book.isChanged()).toBe(true);
  });

  test("come into force when the file changes, and those before stay while it is broken", async () => {
    using place = folder();
    const file = join(place.path, "models.json");
    writeFileSync(file, '{ "m": { "input": 1 } }');
    await using gateway = await start({ cwd: place.path, config: { prices: "./models.json" } });
    const priceOf = async (model: string) =>
      ((await (await gateway.admin("GET", `/admin/prices?model=${model}`)).json()) as { source: string; items: object[] }).items;
    expect(await priceOf("m")).toEqual([{ pattern: "m", input: 1 }]);
    // What is hardly meant in it is told as of the configuration itself, at the start and then.
    const toldOf = (name: string) => gateway.output().includes(`models.json ${name}: says nothing of`);
    await until(() => toldOf("m"));
    writeFileSync(file, '{ "m": { "input": "2", "output": 0 }, "n*": { "output": 3 }, "x": { "input": 1 } }');
    await until(async () => (await priceOf("nm")).length === 1);
    expect(await priceOf("m")).toEqual([{ pattern: "m", input: "2", output: 0 }]);
    await until(() => toldOf("x"));
    writeFileSync(file, '{ "m": { "input": "two" } }');
    await until(() => gateway.output().includes("m.input: must be dollars"));
    expect(await priceOf("m")).toEqual([{ pattern: "m", input: "2", output: 0 }]);
  });

  test("keep a gateway from starting while it can't be used", async () => {
    using place = folder();
    const starting = start({ cwd: place.path, config: { prices: "./none.json" } });
    expect(await starting.catch((error: Error) => error.message)).toContain("prices: none.json can't be read");
  });
});

test("the admin API lists prices page by page, and the one that holds for a model", async () => {
  const gateway = serving({ prices: { b: { input: 1 }, "a*": { output: "2" }, c: { second: 3, maxOutput: 9 } }, unpriced: "zero" });
  try {
    const list = async (query: string) => (await (await gateway.admin("GET", `/admin/prices${query}`)).json()) as { nextCursor: string };
    const first = await list("?limit=2");
    expect(first).toEqual({
      unpriced: "zero",
      source: "inline",
      items: [
        { pattern: "a*", output: "2" },
        { pattern: "b", input: 1 },
      ],
      nextCursor: expect.any(String),
    } as never);
    expect(await list(`?cursor=${first.nextCursor}`)).toMatchObject({
      items: [{ pattern: "c", second: 3, maxOutput: 9 }],
      nextCursor: null,
    });
    expect(await list("?model=abc")).toMatchObject({ items: [{ pattern: "a*" }] });
    expect(await list("?model=d")).toMatchObject({ items: [] });
  } finally {
    await gateway.stop();
  }
});

describe("a list of prices that others keep", () => {
  const litellm = {
    sample_spec: { litellm_provider: "one of", input_cost_per_token: 0 },
    "gpt-5": {
      litellm_provider: "openai",
      mode: "chat",
      input_cost_per_token: 1.25e-6,
      output_cost_per_token: 1e-5,
      cache_read_input_token_cost: 1.25e-7,
      input_cost_per_token_above_272k_tokens: 2.5e-6,
      max_output_tokens: 128_000,
    },
    "whisper-1": { litellm_provider: "openai", mode: "audio_transcription", input_cost_per_second: 0.0001 },
    "dall-e-3": { litellm_provider: "openai", mode: "image_generation", output_cost_per_image: 0.04 },
    "azure/gpt-5": { litellm_provider: "azure", mode: "chat", input_cost_per_token: 2e-6, output_cost_per_token: 0 },
  };
  const modelsDev = {
    resold: { id: "resold", models: { "gpt-5": { id: "gpt-5", cost: { input: 9, output: 9 } } } },
    openai: {
      id: "openai",
      models: {
        "gpt-5": {
          id: "gpt-5",
          cost: { input: 1.25, output: 10, cache_read: 0.125, context_over_200k: { input: 2.5 } },
          limit: { context: 400_000, output: 128_000 },
        },
        free: { id: "free" },
        "gpt-6": {
          id: "gpt-6",
          cost: {
            input: 5,
            output: 30,
            context_over_200k: { input: 10 },
            tiers: [
              { input: 10, output: 45, tier: { type: "context", size: 272_000 } },
              { input: 1, tier: { type: "other", size: 1 } },
            ],
          },
        },
      },
    },
  };

  test("becomes a table that the configuration takes", async () => {
    using place = folder();
    writeFileSync(join(place.path, "list.json"), JSON.stringify(litellm));
    const { status, stdout, stderr } = await run(["prices", "import", "litellm", "list.json", "--provider", "openai"], { cwd: place.path });
    expect(JSON.parse(stdout)).toEqual({
      "gpt-5": { input: "1.25", output: "10", cacheRead: "0.125", maxOutput: 128_000, over: [{ context: 272_000, input: "2.5" }] },
      "whisper-1": { second: "0.0001" },
    });
    expect([status, stderr]).toEqual([0, "sluice: these have no price for tokens, seconds of sound or requests: dall-e-3\n"]);
    writeFileSync(join(place.path, "models.json"), stdout);
    writeFileSync(join(place.path, "config.json"), '{ "server": { "host": "127.0.0.1" }, "prices": "models.json" }');
    expect((await run(["check", "config.json"], { cwd: place.path })).stdout).toBe("config.json: valid\n");
  });

  const all = { models: [], providers: [] };

  test("may have a model at several providers: its maker's price is taken, and another where that is asked for", () => {
    const { table, notes } = importPrices("models.dev", modelsDev, { ...all, models: ["gpt-5*"] });
    expect(table).toEqual({
      "gpt-5": { input: "1.25", output: "10", cacheRead: "0.125", maxOutput: 128_000, over: [{ context: 200_000, input: "2.5" }] },
    });
    expect(notes).toEqual(["gpt-5 has several prices: that of openai is taken; name another by --provider"]);
    expect(importPrices("models.dev", modelsDev, { ...all, models: ["gpt-6"] }).table).toEqual({
      "gpt-6": { input: "5", output: "30", over: [{ context: 272_000, input: "10", output: "45" }] },
    });
    expect(importPrices("models.dev", modelsDev, { ...all, providers: ["resold"] }).table).toEqual({
      "gpt-5": { input: "9", output: "9" },
    });
  });

  test("tells of models whose answers would cost nothing, since the list has no price of their tokens that can be used", () => {
    const list = {
      odd: { litellm_provider: "x", mode: "chat", input_cost_per_token: 1e-6, output_cost_per_token: -1 },
      voice: { litellm_provider: "x", mode: "audio_speech", input_cost_per_token: 1e-6, output_cost_per_second: 1 },
      embedding: { litellm_provider: "x", mode: "embedding", input_cost_per_token: 1e-6, output_cost_per_token: 0 },
    };
    expect(importPrices("litellm", list, all).notes).toEqual([
      "of these the list has no price for the tokens of answers, which cost nothing as it is: odd, voice",
    ]);
  });

  test("is refused where it is none", () => {
    expect(() => importPrices("litellm", [], all)).toThrow("this is no list of litellm: an object of its models is expected");
    expect(() => importPrices("litellm", {}, all)).toThrow("this is no list of litellm: no model is found in it");
    expect(() => importPrices("models.dev", litellm, all)).toThrow("this is no list of models.dev: no model is found in it");
    expect(importPrices("litellm", litellm, { ...all, models: ["x"] }).table).toEqual({});
  });
});
