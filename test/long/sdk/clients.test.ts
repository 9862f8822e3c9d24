import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { CALLER, LIMITED, modelGateway, spent, spentUntil } from "../../support/model-gateway.ts";
import { type ModelProvider, modelProvider } from "../../support/model-provider.ts";
import { type Folder, folder, type Running } from "../../support/process.ts";

let home: Folder;
let upstream: ModelProvider;
let gateway: Running;
beforeAll(async () => {
  home = folder();
  // Beside what the system has installed, and gone afterwards.
  const install = Bun.spawn(
    [
      "python3",
      "-m",
      "pip",
      "install",
      "--quiet",
      "--disable-pip-version-check",
      "--target",
      home.path,
      "-r",
      `${import.meta.dir}/requirements.txt`,
    ],
    { stdout: "ignore", stderr: "pipe" },
  );
  const said = await new Response(install.stderr).text();
  if ((await install.exited) !== 0) throw new Error(`pip can't install what requirements.txt names:\n${said}`);
  upstream = modelProvider();
  gateway = await modelGateway(upstream.url);
}, 300_000);
afterAll(async () => {
  await gateway?.stop();
  upstream?.[Symbol.dispose]();
  home[Symbol.dispose]();
});

/** Runs cases of clients.py through the gateway or straight to the provider; gives their results in order. */
async function run(cases: readonly string[], through: boolean, key = through ? CALLER : "sk-own"): Promise<unknown[]> {
  const bases = through ? [`${gateway.url}/v1`, `${gateway.url}/anthropic`] : [`${upstream.url}/v1`, upstream.url];
  const child = Bun.spawn(["python3", `${import.meta.dir}/clients.py`, ...bases, key, ...cases], {
    env: { PATH: process.env.PATH ?? "", PYTHONPATH: home.path },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, faults] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(faults);
  return out
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { result: unknown }).result);
}
/** What some cases take from a pool's keys. */
async function costOf(pool: string, cases: readonly string[], wanted: number): Promise<number> {
  const before = await spent(gateway, pool);
  await run(cases, true);
  return (await spentUntil(gateway, pool, (tokens) => tokens - before === wanted)) - before;
}

describe("The providers' clients for Python", () => {
  test("get the same objects through the gateway as without it", async () => {
    const cases = [
      "chat",
      "chat streamed",
      "chat streamed with usage",
      "completions streamed",
      "responses",
      "responses streamed",
      "embeddings",
      "files",
      "messages",
      "messages streamed",
      "messages by the helper",
      "naive",
    ];
    const [through, straight] = await Promise.all([run(cases, true), run(cases, false)]);
    for (const [i, name] of cases.entries()) expect([name, through[i]]).toEqual([name, straight[i]]);
  });

  test("pay exactly what the provider reports, and uploads what the route says", async () => {
    const [chat, messages] = (await run(["chat", "messages"], false)) as [
      { usage: { total_tokens: number } },
      { usage: Record<string, number> },
    ];
    const cost = chat.usage.total_tokens;
    expect(await costOf("openai", ["chat", "chat streamed", "chat streamed with usage"], 3 * cost)).toBe(3 * cost);
    expect(await costOf("openai", ["responses", "responses streamed"], 2 * 14)).toBe(2 * 14);
    expect(await costOf("openai", ["embeddings"], 2)).toBe(2);
    expect(await costOf("openai", ["files", "large files"], 2)).toBe(2);
    expect(await costOf("openai", ["parallel"], 40 * cost)).toBe(40 * cost);
    const { usage } = messages;
    const ofMessages = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"].reduce(
      (sum, name) => sum + (usage[name] ?? 0),
      0,
    );
    expect(await costOf("anthropic", ["messages", "messages streamed", "messages by the helper"], 3 * ofMessages)).toBe(3 * ofMessages);
  });

  test("are charged for what came of a stream that they give up", async () => {
    const before = await spent(gateway, "openai");
    expect(await run(["aborted"], true)).toEqual([10]);
    const cost = (await spentUntil(gateway, "openai", (tokens) => tokens > before && tokens - before < 500)) - before;
    expect(cost).toBeWithin(20, 500);
    while (upstream.cancelled() === 0) await Bun.sleep(5);
  });

  test("show the messages of the gateway's own errors", async () => {
    const unknown = "a-key-that-nobody-has-0123";
    expect(await run(["refused", "refused messages"], true, unknown)).toEqual([
      {
        class: "AuthenticationError",
        status: 401,
        text: expect.stringContaining("This API key is not known"),
        code: "keyInvalid",
        type: "authentication_error",
      },
      { class: "AuthenticationError", status: 401, text: expect.stringContaining("This API key is not known") },
    ]);
    await run(["chat"], true, LIMITED);
    expect(await run(["refused", "refused messages"], true, LIMITED)).toEqual([
      {
        class: "RateLimitError",
        status: 429,
        text: expect.stringContaining("Too many requests: wait"),
        code: "rateLimited",
        type: "rate_limit_error",
      },
      { class: "RateLimitError", status: 429, text: expect.stringContaining("Too many requests: wait") },
    ]);
    expect(await run(["too much", "bad model"], true)).toEqual([
      {
        class: "APIStatusError",
        status: 413,
        text: expect.stringContaining("make it smaller"),
        code: "costTooHigh",
        type: "invalid_request_error",
      },
      {
        class: "BadRequestError",
        status: 400,
        text: expect.stringContaining("bad model given"),
        code: "model_not_found",
        type: "invalid_request_error",
      },
    ]);
  });
});
