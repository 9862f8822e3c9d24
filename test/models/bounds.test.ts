import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { type FakeModel, fakeModel } from "../support/fake-model.ts";
import { serving } from "../support/serving.ts";

const FREE = "a-key-that-is-free-0123456789";
const KEY_BOUND = "a-key-that-is-bound-0123456789";
const CONSUMER_BOUND = "a-key-whose-consumer-is-bound-01";
const BOTH_BOUND = "a-key-bound-as-its-consumer-is-0";

let provider: FakeModel;
let gateway: ReturnType<typeof serving>;

beforeAll(async () => {
  provider = await fakeModel();
  gateway = serving({
    tiers: { plain: { limits: [] } },
    authz: {},
    consumers: [
      { id: "acme", tier: "plain", keys: [FREE, { key: KEY_BOUND, models: ["smart", "gpt-5*"] }] },
      { id: "poor", tier: "plain", models: ["gpt-*", "smart"], keys: [CONSUMER_BOUND, { key: BOTH_BOUND, models: ["*-mini", "smart"] }] },
    ],
    pools: {
      first: { keys: [{ id: "one", secret: "sk-first", limit: 1000, window: "1h" }] },
      small: { keys: [{ id: "small", secret: "sk-small", limit: 1, window: "1h" }] },
    },
    models: {
      smart: { try: [{ upstream: provider.url, model: "model-1", pool: "first", header: "x-api-key" }] },
      secret: { try: [{ upstream: provider.url, model: "model-2" }] },
      broke: {
        try: [
          { upstream: provider.url, model: "model-1", pool: "small" },
          { upstream: provider.url, model: "model-2", fallback: true },
        ],
      },
    },
    routes: [
      { name: "llm", path: "/v1", upstream: provider.url, stripPrefix: false, models: ["smart", "broke", "gpt-5*", "gpt-4", "claude-4"] },
      { name: "any", path: "/any", upstream: provider.url, models: ["*"] },
      { name: "keyed", path: "/keyed", upstream: provider.url, credential: { pool: "first" } },
      { name: "plain", path: "/plain", upstream: provider.url },
      { name: "azure", path: "/openai/deployments", upstream: provider.url, stripPrefix: false, credential: { pool: "first" } },
    ],
  });
});

afterAll(async () => {
  await gateway.stop();
  provider[Symbol.dispose]();
});

const post = async (path: string, key: string, body: string | FormData | Uint8Array, headers: Record<string, string> = {}) => {
  const answer = await fetch(`${gateway.url}${path}`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${key}`,
      ...(typeof body === "string" ? { "content-type": "application/json" } : {}),
      ...headers,
    },
    body,
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, json: text.startsWith("{") ? JSON.parse(text) : {} };
};
const naming = (model: unknown) => JSON.stringify({ model, messages: [] });
const CHAT = "/v1/chat/completions";

describe("a model may be named", () => {
  test.each([
    [FREE, "gpt-5-mini", 200],
    [FREE, "gpt-4", 200],
    [FREE, "smart", 200],
    [FREE, "gpt-4o", 403],
    [FREE, "secret", 403],
    [FREE, "GPT-4", 403],
    [KEY_BOUND, "gpt-5-mini", 200],
    [KEY_BOUND, "smart", 200],
    [KEY_BOUND, "gpt-4", 403],
    [CONSUMER_BOUND, "gpt-4", 200],
    [CONSUMER_BOUND, "claude-4", 403],
    [BOTH_BOUND, "gpt-5-mini", 200],
    [BOTH_BOUND, "gpt-5", 403],
  ])("by %s: %s is %i", async (key, model, status) => {
    const { status: got, json } = await post(CHAT, key, naming(model));
    expect(got).toBe(status);
    if (status === 403) expect(json).toMatchObject({ code: "modelUnknown", error: { code: "modelUnknown" } });
  });

  test("by a pattern only where no other can stand in its name, which some proxies take apart", async () => {
    for (const key of [FREE, KEY_BOUND])
      for (const gap of [",", " ", "\n", "\u0000", "\u00a0", "\u200b"])
        expect((await post(CHAT, key, naming(`gpt-5${gap}secret`))).json.code).toBe("modelUnknown");
    expect((await post("/any/chat/completions", KEY_BOUND, naming("gpt-5,secret"))).json.code).toBe("modelUnknown");
    expect((await post("/any/chat/completions", FREE, naming("gpt-5,secret"))).status).toBe(200);
  });

  test("by a bound key on every route that calls models, and on others as it likes", async () => {
    expect((await post("/keyed/chat/completions", KEY_BOUND, naming("gpt-4"))).json.code).toBe("modelUnknown");
    expect((await post("/keyed/chat/completions", KEY_BOUND, naming("gpt-5"))).status).toBe(200);
    expect((await post("/any/chat/completions", KEY_BOUND, naming("gpt-4"))).json.code).toBe("modelUnknown");
    expect((await post("/plain/chat/completions", KEY_BOUND, naming("gpt-4"))).status).toBe(200);
  });
});

describe("a body is refused", () => {
  test.each([
    ['{"model":"gpt-4","model":"gpt-4o"}', 400],
    ['{"model":"gpt-4","Model":"gpt-4o"}', 400],
    ['{"MODEL":"gpt-4o"}', 400],
    ['{"mod\\u0065l":"gpt-4o"}', 400],
    ['{"model":["gpt-4"]}', 400],
    ['{"model":""}', 400],
    ["{}", 400],
    ["[]", 400],
    ["not JSON", 400],
    ['{"model":"gpt-4","models":["gpt-4o"]}', 403],
    ['{"model":"gpt-4","models":["gpt-4","smart"]}', 403],
    ['{"model":"gpt-4","models":[{"model":"gpt-4o"}]}', 403],
    ['{"model":"gpt-4","model\\u0073":["gpt-4o"]}', 400],
    ['{"model":"gpt-4","Models":["gpt-4o"]}', 400],
    ['{"model":"gpt-4","models":["gpt-4o"],"models":["gpt-4"]}', 400],
    ['{"model":"gpt-4","fallbacks":["gpt-4o"]}', 403],
    ['{"model":"gpt-4","fallbacks":[{"gpt-4":["gpt-4o"]}]}', 403],
    ['{"model":"gpt-4","tools":[{"type":"function","name":"model"},{"type":"image_generation","model":"gpt-4o"}]}', 403],
    ['{"model":"gpt-4","tools":[{"type":"advisor","mod\\u0065l":"gpt-4o"}]}', 403],
    ['{"model":"gpt-4","session":{"model":"gpt-4o"}}', 403],
    ['{"model":"gpt-4","requests":[{"params":{"model":"gpt-4o"}}]}', 403],
  ])("%s: %i", async (body, status) => {
    const seen = provider.seen.length;
    expect((await post(CHAT, FREE, body)).status).toBe(status);
    expect(provider.seen.length).toBe(seen);
  });

  test("where the model's name is longer than any is, which would be remembered, counted by and logged", async () => {
    expect((await post("/any/chat/completions", FREE, naming("m".repeat(256)))).status).toBe(200);
    const { status, json } = await post("/any/chat/completions", FREE, naming("m".repeat(257)));
    expect([status, json.detail]).toEqual([400, "The name of the model is longer than 256 characters."]);
  });

  test("where nobody can tell what it says", async () => {
    const packed = Bun.gzipSync(Buffer.from(naming("gpt-4o")));
    expect((await post(CHAT, FREE, packed, { "content-type": "application/json", "content-encoding": "gzip" })).json.code).toBe(
      "badRequest",
    );
    expect((await post("/any/chat/completions", FREE, packed, { "content-encoding": "gzip" })).json.code).toBe("badRequest");
    expect((await post("/keyed/chat/completions", KEY_BOUND, packed, { "content-encoding": "gzip" })).json.code).toBe("badRequest");
    expect((await post("/any/chat/completions", FREE, "{")).status).toBe(400);
  });

  test("unless any model may be called, and it is no JSON", async () => {
    expect((await post("/any/files", FREE, Buffer.from("bytes"), { "content-type": "application/octet-stream" })).status).toBe(200);
    expect((await post("/any/files", KEY_BOUND, Buffer.from("bytes"), { "content-type": "application/octet-stream" })).status).toBe(400);
    expect((await post("/any/chat/completions", FREE, "{}")).status).toBe(200);
  });

  test("as a form, by the same rules; and a virtual model can't be named in one, nor in a query", async () => {
    const form = (...models: string[]) => {
      const data = new FormData();
      for (const model of models) data.append("model", model);
      data.append("file", new Blob(["sound"]), "a.mp3");
      return data;
    };
    expect((await post("/v1/audio/transcriptions", FREE, form("gpt-4"))).status).toBe(200);
    expect((await post("/v1/audio/transcriptions", FREE, form("gpt-4o"))).json.code).toBe("modelUnknown");
    expect((await post("/v1/audio/transcriptions", FREE, form("gpt-4", "gpt-4o"))).status).toBe(400);
    expect((await post("/v1/audio/transcriptions", FREE, form())).status).toBe(400);
    expect((await post("/v1/audio/transcriptions", FREE, form("smart"))).json.code).toBe("modelUnknown");
    expect((await post(`${CHAT}?model=gpt-4o`, FREE, naming("gpt-4"))).json.code).toBe("modelUnknown");
    expect((await post(`${CHAT}?model=smart`, FREE, naming("gpt-4"))).json.code).toBe("modelUnknown");
    expect((await post(`${CHAT}?model=gpt-4`, FREE, naming("gpt-4"))).status).toBe(200);
  });
});

test("a model is found where providers read it beside the body", async () => {
  const code = async (path: string, key = FREE, body = naming("gpt-4")) => (await post(path, key, body)).json.code ?? null;
  expect(await code("/v1/openai/deployments/gpt-4o/chat/completions")).toBe("modelUnknown");
  expect(await code("/v1/openai/deployments/gpt%2D4o/chat/completions")).toBe("modelUnknown");
  expect(await code("/v1/models/gpt-4o:generateContent")).toBe("modelUnknown");
  expect(await code(`${CHAT}?deployment=gpt-4o`)).toBe("modelUnknown");
  expect(await code("/v1/openai/deployments/gpt-4/chat/completions")).toBeNull();
  expect(await code("/v1/openai/deployments;a/gpt-4o/chat/completions")).toBe("modelUnknown");
  expect(await code("/v1/openai/deploy%6Dents/gpt-4o/chat/completions")).toBe("modelUnknown");
  expect(await code("/openai/deployments/gpt-4o/chat/completions", KEY_BOUND, naming("gpt-5"))).toBe("modelUnknown");
  expect(await code("/openai/deployments/gpt-5/chat/completions", KEY_BOUND, naming("gpt-5"))).toBeNull();
  expect(await code(`${CHAT}?Model=gpt-4o`)).toBe("modelUnknown");
  // Azure has another interface there, whose model stands in the body.
  expect(await code("/v1/models/chat/completions")).toBeNull();
  // Named there, it need not stand in the body.
  expect(await code("/v1/openai/deployments/gpt-4/chat/completions", FREE, "{}")).toBeNull();
  expect(await code("/keyed/engines/gpt-4/completions", KEY_BOUND, naming("gpt-5"))).toBe("modelUnknown");
  const socket = (path: string, key: string) => ({ path, key });
  for (const { path, key } of [
    socket("/v1/realtime", FREE),
    socket("/v1/realtime?model=gpt-4o", FREE),
    socket("/keyed/realtime", KEY_BOUND),
    // Each message names its own.
    socket("/v1/responses?model=gpt-4", FREE),
  ]) {
    const asked = { authorization: `Bearer ${key}`, connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" };
    const answer = await fetch(`${gateway.url}${path}`, { headers: { ...asked, "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" } });
    expect([path, [400, 403].includes(answer.status)]).toEqual([path, true]);
  }
});

test("tools that ask no other model, or one that may be called, are let through", async () => {
  const parameters = { type: "object", properties: { model: { type: "string" }, models: {} } };
  const tools = [
    { type: "function", function: { name: "model", parameters } },
    { type: "image_generation", model: "gpt-5-image" },
  ];
  expect((await post(CHAT, FREE, JSON.stringify({ model: "gpt-4", messages: [{ role: "user", content: "models" }], tools }))).status).toBe(
    200,
  );
});

test("a batch may name models that its caller may call, in its own body", async () => {
  const batch = (...models: string[]) => JSON.stringify({ requests: models.map((model) => ({ custom_id: model, params: { model } })) });
  const to = (path: string, key: string, body: string) => post(path, key, body);
  expect((await to("/v1/messages/batches", FREE, batch("gpt-4", "claude-4"))).status).toBe(200);
  expect((await to("/v1/messages/batches", FREE, batch("gpt-4", "gpt-4o"))).json.code).toBe("modelUnknown");
  expect((await to("/v1/messages/batches", FREE, batch("smart"))).json.code).toBe("modelUnknown");
  // Google has one model for all of them.
  expect((await to("/v1/models/gpt-4:batchGenerateContent", FREE, '{"batch":{}}')).status).toBe(200);
  expect((await to("/v1/models/gpt-4o:batchGenerateContent", FREE, '{"batch":{}}')).json.code).toBe("modelUnknown");
  // Nobody sees what stands in the file.
  expect((await to("/v1/batches", FREE, '{"model":"gpt-4","input_file_id":"file-1"}')).status).toBe(400);
  expect((await to("/keyed/batches", FREE, '{"input_file_id":"file-1"}')).status).toBe(200);
});

test("a proxy that asks without the body is told no where it matters which model that names", async () => {
  const asked = async (key: string, uri: string, method = "POST") => {
    const headers = {
      authorization: `Bearer ${key}`,
      "x-forwarded-method": method,
      "x-forwarded-uri": uri,
      "x-forwarded-for": "203.0.113.7",
    };
    return (await fetch(`${gateway.url}/authz`, { headers })).status;
  };
  expect(await asked(FREE, CHAT)).toBe(403);
  expect(await asked(FREE, `${CHAT}?model=gpt-4`)).toBe(403);
  expect(await asked(FREE, "/v1/openai/deployments/gpt-4/chat/completions")).toBe(200);
  expect(await asked(FREE, "/v1/files", "GET")).toBe(200);
  expect(await asked(KEY_BOUND, "/keyed/chat/completions")).toBe(403);
  expect(await asked(FREE, "/keyed/chat/completions")).toBe(200);
});

describe("each attempt has its own credential", () => {
  const last = () => provider.seen.at(-1)?.headers;

  test("in its own field; and none where it names no pool", async () => {
    const { headers } = await post(CHAT, FREE, naming("smart"), { "x-api-key": FREE });
    expect([headers.get("x-model-used"), last()?.get("x-api-key"), last()?.get("authorization")]).toEqual([
      "model-1",
      "sk-first",
      undefined,
    ]);
    await post("/any/chat/completions", FREE, naming("secret"));
    expect([last()?.get("x-api-key"), last()?.get("authorization")]).toEqual([undefined, undefined]);
  });

  test("and is passed over where its pool holds no such request", async () => {
    const { status, headers } = await post(
      CHAT,
      FREE,
      JSON.stringify({ model: "broke", messages: [{ content: "a text of some length" }] }),
    );
    expect([status, headers.get("x-model-used")]).toEqual([200, "model-2"]);
    expect(last()?.get("authorization")).toBeUndefined();
  });
});

describe("whoever asks what would become of a request", () => {
  const walked = async (model: string | undefined, key = FREE, target = CHAT, method = "POST") => {
    const question = { method, target, model, headers: [`Authorization: Bearer ${key}`] };
    const { steps, refusal } = (await (await gateway.admin("POST", "/admin/explain/request", question)).json()) as {
      steps: { step: string; passed: boolean | null; detail: string }[];
      refusal: { code: string } | null;
    };
    return { refusal: refusal?.code ?? null, told: steps.slice(-2).map(({ step, passed, detail }) => [step, passed, detail]) };
  };

  test("learns who would be asked, and in which order", async () => {
    const { refusal, told } = await walked("broke");
    expect(refusal).toBeNull();
    expect(told).toEqual([
      ["attempt", true, `model-1 at ${provider.url} with a key of small, with the weight 1`],
      ["attempt", true, `model-2 at ${provider.url}, after the others`],
    ]);
    expect((await walked(undefined, FREE, "/v1/models", "GET")).told.at(-1)).toEqual([
      "models",
      true,
      "Sluice itself lists the models that the caller may call",
    ]);
  });

  test("learns which model may not be called", async () => {
    expect((await walked("gpt-4o")).refusal).toBe("modelUnknown");
    expect((await walked("gpt-4", KEY_BOUND)).refusal).toBe("modelUnknown");
    expect((await walked("gpt-4")).refusal).toBeNull();
    const explained = async (query: string) =>
      ((await (await gateway.admin("GET", `/admin/explain?${query}`)).json()) as { refusal: { code: string } | null }).refusal?.code ??
      null;
    expect(await explained("consumer=poor&route=llm&model=claude-4")).toBe("modelUnknown");
    expect(await explained("consumer=poor&route=llm&model=gpt-4")).toBeNull();
    expect(await explained("consumer=poor&route=plain&model=claude-4")).toBeNull();
  });
});

describe("the list of models", () => {
  const list = async (path: string, key: string) => {
    const answer = await fetch(`${gateway.url}${path}`, { headers: { authorization: `Bearer ${key}` } });
    return { status: answer.status, json: (await answer.json()) as { data: { id: string }[] } };
  };
  const idsAt = async (path: string, key: string) => (await list(path, key)).json.data.map(({ id }) => id);

  test("has what the caller may call, and asks no upstream", async () => {
    const seen = provider.seen.length;
    expect(await idsAt("/v1/models", FREE)).toEqual(["smart", "broke", "gpt-4", "claude-4"]);
    expect(await idsAt("/v1/models", KEY_BOUND)).toEqual(["smart"]);
    expect(await idsAt("/v1/models", CONSUMER_BOUND)).toEqual(["smart", "gpt-4"]);
    expect(await idsAt("/any/models", FREE)).toEqual(["smart", "secret", "broke"]);
    expect(await idsAt("/any/v1/models", KEY_BOUND)).toEqual(["smart"]);
    expect(provider.seen.length).toBe(seen);
    expect((await list("/v1/models/gpt-4", KEY_BOUND)).status).toBe(404);
    expect((await fetch(`${gateway.url}/v1/models`)).status).toBe(401);
    // A route that names no models has no such list.
    expect((await list("/plain/models", FREE)).json.data).toBeUndefined();
  });

  test("is read by the official clients", async () => {
    const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: FREE, maxRetries: 0 });
    const ids: string[] = [];
    for await (const { id } of openai.models.list()) ids.push(id);
    expect(ids).toEqual(["smart", "broke", "gpt-4", "claude-4"]);
    expect((await openai.models.retrieve("smart")).id).toBe("smart");
    const anthropic = new Anthropic({ baseURL: `${gateway.url}/any`, apiKey: FREE, maxRetries: 0 });
    const names: string[] = [];
    for await (const { display_name } of anthropic.models.list()) names.push(display_name);
    expect(names).toEqual(["smart", "secret", "broke"]);
  });
});
