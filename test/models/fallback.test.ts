import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { APIS, type Api, type Behaviour, type FakeModel, fakeModel, PATHS, WORDS } from "../support/fake-model.ts";
import { CALLER } from "../support/model-gateway.ts";
import { type Running, start } from "../support/process.ts";
import { until } from "../support/until.ts";

const BEHAVIOURS = ["429", "hangs", "keepsAlive", "dies", "refusesInStream", "silent"] as const satisfies readonly Behaviour[];
const CASES = APIS.flatMap((api) => [false, true].map((stream) => [api, stream] as const));

/** A provider for each way to fail, and one that is fine. */
const bad = new Map<Behaviour, FakeModel>();
let fine: FakeModel;
let gateway: Running;

beforeAll(async () => {
  for (const behaviour of BEHAVIOURS) bad.set(behaviour, await fakeModel(behaviour));
  bad.set("slow", await fakeModel("slow"));
  fine = await fakeModel();
  const times = { firstToken: "400ms", giveUpAfter: "20s" };
  const last = { upstream: "fine", model: "model-2", fallback: true };
  gateway = await start({
    config: {
      tiers: { plain: { limits: [] } },
      consumers: [{ id: "acme", tier: "plain", keys: [CALLER] }],
      upstreams: {
        fine: { targets: [{ url: fine.url }] },
        ...Object.fromEntries([...bad].map(([name, { url }]) => [name, { targets: [{ url }], breaker: { failureThreshold: 1000 } }])),
      },
      models: {
        ...Object.fromEntries(BEHAVIOURS.map((name) => [name, { try: [{ upstream: name, model: "model-1" }, last], ...times }])),
        large: { try: [{ upstream: "429", model: "model-1" }, last], firstToken: "20s", giveUpAfter: "40s" },
        slow: { try: [{ upstream: "slow", model: "model-1" }, last], ...times },
        nobody: { try: ["429", "hangs"].map((upstream, i) => ({ upstream, model: `model-${i}`, fallback: i > 0 })), ...times },
        impatient: { try: [{ upstream: "hangs", model: "model-1" }, last], firstToken: "200ms", giveUpAfter: "200ms" },
        again: { try: [1, 2].map((n) => ({ upstream: "429", model: "model-1", fallback: n > 1 })), ...times },
        strict: { try: [{ upstream: "429", model: "model-1" }, last], on: ["5xx"], ...times },
        lazy: { try: [{ upstream: "keepsAlive", model: "model-1" }, last], firstToken: "1m", giveUpAfter: "1m" },
      },
      routes: [{ name: "llm", path: "/", upstream: "fine", stripPrefix: false, models: ["*"], timeout: "1m", maxBodySize: "32mb" }],
    },
  });
});

afterAll(async () => {
  await gateway.stop();
  for (const model of [fine, ...bad.values()]) model[Symbol.dispose]();
});

const ask = (api: Api, stream: boolean, model: string, init: RequestInit = {}) =>
  fetch(`${gateway.url}${PATHS[api]}`, {
    method: "POST",
    headers: { authorization: `Bearer ${CALLER}`, "content-type": "application/json" },
    body: JSON.stringify({ model, stream, messages: [{ role: "user", content: "Hello, model" }] }),
    ...init,
  });

/** The words of an answer, however it came. */
const wordsIn = (text: string): string => [...text.matchAll(/"(?:content|delta|text)":"([^"]*)"/g)].map(([, word]) => word).join("");

const seenBy = (behaviour: Behaviour) => bad.get(behaviour)?.seen ?? [];

describe.each(CASES)("with %s, as a stream: %p, a provider is passed over that", (api, stream) => {
  test.concurrent.each(BEHAVIOURS)("%s", async (behaviour) => {
    const answer = await ask(api, stream, behaviour);
    const text = await answer.text();
    // What has begun as it should is out, and is not asked for twice; what refuses in streams is fine without one.
    const isOut = stream ? behaviour === "dies" : behaviour === "refusesInStream";
    expect([answer.status, answer.headers.get("x-model-used")]).toEqual([200, isOut ? "model-1" : "model-2"]);
    const id = answer.headers.get("x-request-id");
    const askedBy = (seen: FakeModel["seen"]) => seen.filter(({ headers }) => headers.get("x-request-id") === id);
    expect([askedBy(seenBy(behaviour)).length, askedBy(fine.seen).length]).toEqual([1, isOut ? 0 : 1]);
    if (behaviour !== "dies" || !stream) expect(wordsIn(text)).toBe(WORDS.join(""));
    // Whoever is given up hears of it.
    await until(() => (bad.get(behaviour)?.open() ?? 0) === 0 || behaviour === "429" || behaviour === "refusesInStream");
  });
});

test.each(APIS)(
  "a stream of %s that breaks off after its first word ends with an error that its clients read, and no half event",
  async (api) => {
    const text = await (await ask(api, true, "dies")).text();
    const events = text.split("\n\n").filter((each) => each !== "");
    const values = events.map((each) => JSON.parse(each.slice(each.indexOf("data: ") + 6)));
    expect(wordsIn(text)).toBe(WORDS[0] as string);
    const last = values.at(-1);
    if (api === "chat") expect(last).toMatchObject({ error: { code: "upstreamFailed", message: expect.stringContaining("broke off") } });
    else expect([events.at(-1)?.split("\n")[0], last]).toMatchObject(["event: error", { type: "error" }]);
    expect(fine.seen.some(({ body }) => body.includes('"dies"'))).toBe(false);
  },
);

test("the official clients read what came of a stream that breaks off, and then its error", async () => {
  const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: CALLER, maxRetries: 0 });
  const anthropic = new Anthropic({ baseURL: gateway.url, apiKey: CALLER, maxRetries: 0 });
  const messages = [{ role: "user" as const, content: "Hello" }];
  const read = async (opened: Promise<AsyncIterable<unknown>>): Promise<[string, string]> => {
    let text = "";
    try {
      for await (const event of await opened) text += wordsIn(JSON.stringify(event));
      return [text, "no error"];
    } catch (error) {
      return [text, String(error)];
    }
  };
  const told = [WORDS[0], expect.stringContaining("broke off")];
  expect(await read(openai.chat.completions.create({ model: "dies", stream: true, messages }))).toEqual(told as [string, string]);
  expect(await read(openai.responses.create({ model: "dies", stream: true, input: "Hello" }))).toEqual(told as [string, string]);
  expect(await read(anthropic.messages.create({ model: "dies", max_tokens: 10, stream: true, messages }))).toEqual(
    told as [string, string],
  );
});

test("only the value of the model is changed in a body, once, wherever it stands", async () => {
  const body =
    '{ "big": 12345678901234567890, "x": 1e400,"nested":{"model":"429"}, "model" : "429" , "text":"\\u0041 \\"model\\":\\"429\\"" }';
  await (await ask("chat", false, "429", { body })).text();
  const { path, body: sent } = seenBy("429").at(-1) ?? {};
  expect([path, sent]).toEqual([PATHS.chat, body.replace('"model" : "429"', '"model" : "model-1"')]);
  expect(fine.seen.at(-1)?.body).toBe(body.replace('"model" : "429"', '"model" : "model-2"'));
});

test("where nobody answers, the caller learns what each attempt came to, and no address", async () => {
  const answer = await ask("chat", true, "nobody");
  const json = (await answer.json()) as { code: string; detail: string; retryAfter: number; attempts: object[]; error: { code: string } };
  expect([answer.status, json.code, json.error.code]).toEqual([502, "noModelAnswered", "noModelAnswered"]);
  expect(json.attempts).toEqual([
    { model: "model-0", outcome: "429" },
    { model: "model-1", outcome: "timeout" },
  ]);
  expect(JSON.stringify(json)).not.toContain("127.0.0.1");
  // One of them has said when it may be asked again.
  expect([answer.headers.get("retry-after"), json.retryAfter]).toEqual(["60", 60]);
});

test("an answer in one piece that has begun is waited for", async () => {
  const answer = await ask("chat", false, "slow");
  expect([answer.status, answer.headers.get("x-model-used"), wordsIn(await answer.text())]).toEqual([200, "model-1", WORDS.join("")]);
});

test("a body as large as the route takes is asked for again as well", async () => {
  const body = JSON.stringify({ model: "large", messages: [{ role: "user", content: "x".repeat(20_000_000) }] });
  const answer = await ask("chat", false, "large", { body });
  expect([answer.status, answer.headers.get("x-model-used")]).toEqual([200, "model-2"]);
  expect(fine.seen.at(-1)?.body.length).toBe(body.length + "model-2".length - "large".length);
});

test("a reload brings virtual models, and takes them away", async () => {
  const models = { smart: { try: [{ upstream: fine.url, model: "model-9" }] } };
  await using other = await start({
    config: {
      consumers: [{ id: "acme", tier: "free", keys: [CALLER] }],
      routes: [{ name: "llm", path: "/", upstream: fine.url, stripPrefix: false, models: ["*"] }],
    },
  });
  const file = `${other.folder}/config.json`;
  const before = (await Bun.file(file).json()) as object;
  for (const [declared, used] of [
    [{}, null],
    [models, "model-9"],
    [{}, null],
  ]) {
    await Bun.write(file, JSON.stringify({ ...before, models: declared }));
    expect((await other.admin("POST", "/admin/config/reload")).status).toBe(200);
    const answer = await fetch(`${other.url}${PATHS.chat}`, {
      method: "POST",
      headers: { authorization: `Bearer ${CALLER}`, "content-type": "application/json" },
      body: JSON.stringify({ model: "smart" }),
    });
    expect(answer.headers.get("x-model-used")).toBe(used as string | null);
  }
});

test("nobody else is asked when the time for all attempts is over", async () => {
  const answer = await ask("messages", true, "impatient");
  expect(answer.headers.get("retry-after")).toBeNull();
  expect([answer.status, ((await answer.json()) as { attempts: object[] }).attempts]).toEqual([
    502,
    [{ model: "model-1", outcome: "timeout" }],
  ]);
});

test("an outcome that is not named goes to the caller as it is", async () => {
  const answer = await ask("messages", false, "strict");
  expect([answer.status, answer.headers.get("x-model-used"), answer.headers.get("retry-after")]).toEqual([429, "model-1", "60"]);
});

test("a caller who leaves while a stream is held ends it", async () => {
  const provider = bad.get("keepsAlive");
  const leaving = new AbortController();
  const asked = ask("chat", true, "lazy", { signal: leaving.signal });
  await until(() => provider?.open() === 1);
  leaving.abort();
  expect(await asked.catch(() => "gone")).toBe("gone");
  await until(() => provider?.open() === 0);
});

test("each attempt is counted, and each that failed stands in the log and in the list of virtual models", async () => {
  await (await ask("chat", true, "429")).text();
  const metrics = await (await gateway.admin("GET", "/metrics")).text();
  expect(metrics).toMatch(/sluice_model_attempts_total\{model="429",place="1",upstream="429",used="model-1",outcome="429"\} [1-9]/);
  expect(metrics).toMatch(/sluice_model_attempts_total\{model="429",place="2",upstream="fine",used="model-2",outcome="answered"\} [1-9]/);
  expect(metrics).toContain('sluice_model_attempts_total{model="lazy",place="2",upstream="fine",used="model-2",outcome="answered"} 0');
  const { items } = (await (await gateway.admin("GET", "/admin/models")).json()) as {
    items: { name: string; try: Record<string, unknown>[] }[];
  };
  const shown = items.find(({ name }) => name === "429");
  expect(shown).toMatchObject({
    routes: ["llm"],
    on: ["429", "5xx", "timeout", "connect", "budget"],
    firstToken: "400ms",
    giveUpAfter: "20s",
    try: [
      {
        upstream: "429",
        model: "model-1",
        pool: null,
        weight: 1,
        fallback: false,
        price: null,
        answered: 0,
        lastFailure: { outcome: "429" },
      },
      { upstream: "fine", model: "model-2", fallback: true, failed: {}, lastFailure: null },
    ],
  });
  const [first, second] = shown?.try ?? [];
  expect(first?.failed).toEqual({ "429": first?.attempts });
  expect(second?.answered).toBe(second?.attempts);
  const failure = first?.lastFailure as { requestId: string } | undefined;
  expect(failure).toBeDefined();
  await until(() =>
    gateway
      .output()
      .split("\n")
      .some((line) => line.includes("a model did not answer") && line.includes(failure?.requestId ?? "")),
  );
});

test("attempts with the same upstream and model are counted apart", async () => {
  expect((await ask("chat", false, "again")).status).toBe(502);
  const { items } = (await (await gateway.admin("GET", "/admin/models")).json()) as {
    items: { name: string; try: { attempts: number; failed: object }[] }[];
  };
  const counted = items.find(({ name }) => name === "again")?.try.map(({ attempts, failed }) => [attempts, failed]);
  expect(counted).toEqual([
    [1, { "429": 1 }],
    [1, { "429": 1 }],
  ]);
});
