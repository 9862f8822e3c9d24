import { describe, expect, test } from "bun:test";
import { folder, start } from "../support/process.ts";
import { type Provider, provider } from "../support/provider.ts";
import { serving } from "../support/serving.ts";

const KEY = "a-key-of-a-caller-0123";

/** A gateway before a provider, with a route that takes its keys from a pool. */
function configFor(upstream: string, limits: readonly number[], route: object = {}, more: object = {}) {
  return {
    tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
    consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
    pools: {
      llm: { keys: limits.map((limit, i) => ({ id: `k${i + 1}`, secret: `sk-secret-${i + 1}`, limit, window: "60s" })) },
    },
    routes: [{ name: "llm", path: "/v1", upstream, stripPrefix: false, auth: "none", credential: { pool: "llm" }, ...route }],
    ...more,
  };
}

interface KeyState {
  readonly id: string;
  readonly status: string;
  readonly until: string | null;
  readonly lastError: { status: number } | null;
  readonly remaining: number;
}
type Serving = ReturnType<typeof serving>;

const call = (gateway: { readonly url: string }, body?: object, headers: Record<string, string> = {}) =>
  fetch(`${gateway.url}/v1/chat/completions`, {
    method: body === undefined ? "GET" : "POST",
    headers: { "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
const keysOf = async (gateway: { admin(method: string, path: string): Promise<Response> }): Promise<KeyState[]> =>
  ((await (await gateway.admin("GET", "/admin/pools/llm")).json()) as { state: { keys: KeyState[] } }).state.keys;
const remaining = async (gateway: Parameters<typeof keysOf>[0]) => (await keysOf(gateway)).map((key) => key.remaining);
/** Waits until the gateway has seen the end of the exchange. */
async function until<T>(look: () => Promise<T>, isIt: (value: T) => boolean): Promise<T> {
  for (let i = 0; i < 400; i++) {
    const value = await look();
    if (isIt(value)) return value;
    await Bun.sleep(5);
  }
  return look();
}
async function within(
  limits: readonly number[],
  work: (gateway: Serving, upstream: Provider) => Promise<void>,
  route: object = {},
  more: object = {},
) {
  using upstream = provider();
  const gateway = serving(configFor(upstream.url, limits, route, more));
  try {
    await work(gateway, upstream);
    expect(gateway.faults).toEqual([]);
  } finally {
    await gateway.stop();
  }
}

describe("a route with a credential", () => {
  test("sends a key of the pool in place of what the caller sent, and counts what the answer says it cost", async () => {
    await within([1000], async (gateway, upstream) => {
      const answer = await call(
        gateway,
        { total: 120, max_tokens: 500 },
        { authorization: "Bearer the-callers-own", "accept-encoding": "gzip" },
      );
      expect([answer.status, await answer.json()]).toMatchObject([200, { usage: { total_tokens: 120 } }]);
      expect(upstream.seen[0]?.key).toBe("sk-secret-1");
      expect(upstream.seen[0]?.headers["accept-encoding"]).toBe("identity");
      expect(await remaining(gateway)).toEqual([880]);
      await call(gateway, { total: 0 });
      expect(await remaining(gateway)).toEqual([880]);
      const shown = await (await gateway.admin("GET", "/admin/pools/llm")).text();
      expect(shown).not.toContain("sk-secret");
    });
  });

  test("may carry it in another header, with another value, without reading what the answer cost", async () => {
    await within(
      [100],
      async (gateway, upstream) => {
        await call(gateway, { total: 70 });
        expect(upstream.seen[0]?.headers["x-api-key"]).toBe("Token sk-secret-1!");
        expect(await remaining(gateway)).toEqual([97]);
      },
      { cost: 3, credential: { pool: "llm", header: "X-API-Key", value: "Token {key}!", usage: null } },
    );
  });

  test("reserves before it sends: parallel calls never spend more than there is", async () => {
    await within([1000], async (gateway, upstream) => {
      const answers = await Promise.all(Array.from({ length: 5 }, () => call(gateway, { max_tokens: 300, total: 300, wait: 50 })));
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 429, 429]);
      expect(upstream.seen).toHaveLength(3);
      await Promise.all(answers.map((answer) => answer.text()));
      expect(await remaining(gateway)).toEqual([100]);
      const refused = await call(gateway, { max_tokens: 300 });
      expect(await refused.json()).toMatchObject({
        code: "poolExhausted",
        detail: "All API keys have reached their rate limits. Please try again later.",
      });
      expect(Number(refused.headers.get("retry-after"))).toBeWithin(59, 61);
      const never = await call(gateway, { max_tokens: 3000 });
      expect([never.status, never.headers.get("retry-after")]).toEqual([413, null]);
      expect(await never.json()).toMatchObject({
        code: "costTooHigh",
        detail: "This request takes 3000 tokens, more than any key of the pool holds: make it smaller.",
      });
      gateway.clock.time += 60_000;
      expect((await call(gateway, { max_tokens: 300, total: 1 })).status).toBe(200);
    });
  });

  test("takes the cost from the route, from a header, or from the body's text and max_tokens", async () => {
    const spent = async (body: object | undefined, route: object, headers: Record<string, string> = {}) => {
      let left = 0;
      await within(
        [100_000],
        async (gateway) => {
          await (await call(gateway, body, headers)).text();
          left = (await remaining(gateway))[0] ?? 0;
        },
        route,
      );
      return 100_000 - left;
    };
    const text = "x".repeat(400);
    expect(await spent({ prompt: text }, {})).toBe(100);
    expect(await spent({ prompt: text, image: `data:image/png;base64,${"A".repeat(5000)}`, max_tokens: 7, n: 3 }, {})).toBe(121);
    expect(await spent({ max_completion_tokens: 50 }, {})).toBe(50);
    expect(await spent(undefined, {})).toBe(1);
    expect(await spent({ prompt: text }, { cost: 42 })).toBe(42);
    expect(await spent({ prompt: text }, { credential: { pool: "llm", cost: 17 } })).toBe(17);
    const byHeader = { credential: { pool: "llm", cost: "header:X-Tokens" } };
    expect([
      await spent({ prompt: text }, byHeader, { "x-tokens": "9" }),
      await spent({ prompt: text }, byHeader, { "x-tokens": "-9" }),
    ]).toEqual([9, 100]);
  });

  test("counts a stream by its usage chunk, for which it asks, and passes on what the caller asked for alone", async () => {
    await within([1000], async (gateway, upstream) => {
      const answer = await call(gateway, { messages: [], stream: true, total: 77, max_tokens: 500, seed: 5 });
      const text = await answer.text();
      expect(text).toBe(`${[0, 1, 2].map((i) => `data: {"choices":[{"delta":{"content":"word ${i}"}}]}\n\n`).join("")}data: [DONE]\n\n`);
      expect(upstream.seen[0]?.body).toEqual({
        messages: [],
        stream: true,
        total: 77,
        max_tokens: 500,
        seed: 5,
        stream_options: { include_usage: true },
      });
      expect(
        await until(
          () => remaining(gateway),
          ([left]) => left === 923,
        ),
      ).toEqual([923]);
      await (await call(gateway, { prompt: "", stream: true, total: 3, stream_options: { include_usage: false, other: 1 } })).text();
      expect(upstream.seen[1]?.body.stream_options).toEqual({ include_usage: true, other: 1 });
      expect(
        await until(
          () => remaining(gateway),
          ([left]) => left === 920,
        ),
      ).toEqual([920]);
      // Who asks gets it.
      const own = await (await call(gateway, { messages: [], stream: true, total: 9, stream_options: { include_usage: true } })).text();
      expect([own.split("\n\n").length, own.includes('"total_tokens":9')]).toEqual([6, true]);
    });
  });

  test("charges a caller who leaves, or a stream that does not say, for what has passed", async () => {
    await within([1000], async (gateway, upstream) => {
      const leave = new AbortController();
      const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
        method: "POST",
        signal: leave.signal,
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ stream: true, total: 900, max_tokens: 800, words: 1000, every: 5, prompt: "x".repeat(40) }),
      });
      const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
      let got = "";
      while (got.split("data:").length < 6) got += Buffer.from((await reader.read()).value ?? []).toString();
      leave.abort();
      const [left = 0] = await until(
        () => remaining(gateway),
        ([it = 0]) => it > 900,
      );
      // Ten for the request, one for each event that came or for four bytes of their text: five at least.
      expect(1000 - left).toBeWithin(15, 60);
      await until(
        async () => upstream.cancelled(),
        (count) => count === 1,
      );
      expect(upstream.cancelled()).toBe(1);
      await (await call(gateway, { stream: true, words: 4, prompt: "x".repeat(40) })).text();
      expect(
        await until(
          () => remaining(gateway),
          ([it]) => it === left - 16,
        ),
      ).toEqual([left - 16]);
    });
  });

  test("gives back what a request that failed did not use", async () => {
    await within([1000], async (gateway, upstream) => {
      upstream.refuse.set("sk-secret-1", { status: 400 });
      expect((await call(gateway, { max_tokens: 600 })).status).toBe(400);
      expect(await remaining(gateway)).toEqual([1000]);
    });
    const gateway = serving(configFor("http://127.0.0.1:1", [1000], { retry: null }));
    expect((await call(gateway, { max_tokens: 600 })).status).toBe(502);
    expect(await remaining(gateway)).toEqual([1000]);
    await gateway.stop();
  });

  test("rests a key that the upstream limits, for as long as that says, and goes on with the next", async () => {
    await within([1000, 1000], async (gateway, upstream) => {
      upstream.refuse.set("sk-secret-1", { status: 429, headers: { "retry-after": "7", "retry-after-ms": "2500" } });
      const answer = await call(gateway, { total: 10, max_tokens: 5 });
      expect([answer.status, upstream.seen.map(({ key }) => key)]).toEqual([200, ["sk-secret-1", "sk-secret-2"]]);
      expect(upstream.seen[1]?.body).toEqual({ total: 10, max_tokens: 5 });
      await answer.text();
      expect(await keysOf(gateway)).toMatchObject([
        { id: "k1", status: "resting", remaining: 1000, lastError: { status: 429 }, until: expect.any(String) },
        { id: "k2", status: "ready", remaining: 990, until: null },
      ]);
      await call(gateway, { total: 1 });
      expect(upstream.seen.at(-1)?.key).toBe("sk-secret-2");
      upstream.refuse.set("sk-secret-2", { status: 429, headers: { "retry-after": "9" } });
      const none = await call(gateway, { total: 1 });
      // The first to come back is the first that rests.
      expect([none.status, none.headers.get("retry-after")]).toEqual([429, "3"]);
      expect(await none.json()).toMatchObject({ code: "poolExhausted", retryAfter: 3 });
      upstream.refuse.clear();
      gateway.clock.time += 2500;
      expect((await call(gateway, { total: 1 })).status).toBe(200);
      expect(upstream.seen.at(-1)?.key).toBe("sk-secret-1");
    });
  });

  test("puts a key that the upstream refuses in quarantine, and one request brings it back", async () => {
    for (const status of [401, 402, 403])
      await within([1000, 1000], async (gateway, upstream) => {
        upstream.refuse.set("sk-secret-1", { status });
        expect((await call(gateway, { total: 1 })).status).toBe(200);
        expect(await keysOf(gateway)).toMatchObject([{ status: "quarantined", lastError: { status } }, { status: "ready" }]);
        await call(gateway, { total: 1 });
        expect(upstream.seen.map(({ key }) => key.at(-1)).join("")).toBe("122");
        // Its first probe fails, and the next one is later.
        gateway.clock.time += 5000;
        expect((await call(gateway, { total: 1 })).status).toBe(200);
        gateway.clock.time += 5000;
        await call(gateway, { total: 1 });
        expect(upstream.seen.map(({ key }) => key.at(-1)).join("")).toBe("122122");
        upstream.refuse.clear();
        gateway.clock.time += 5000;
        await Promise.all([call(gateway, { total: 1, wait: 30 }), call(gateway, { total: 1, wait: 30 })]);
        expect(
          upstream.seen
            .slice(6)
            .map(({ key }) => key.at(-1))
            .sort(),
        ).toEqual(["1", "2"]);
        expect(await keysOf(gateway)).toMatchObject([{ status: "ready" }, { status: "ready" }]);
      });
  });

  test("never shows the caller what the upstream says of a key, and says when to come back", async () => {
    await within([1000], async (gateway, upstream) => {
      upstream.refuse.set("sk-secret-1", { status: 401 });
      const answer = await call(gateway, { total: 1 });
      const text = await answer.text();
      expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "5"]);
      expect(text).not.toContain("sk-secret");
      expect((await call(gateway, { total: 1 })).status).toBe(429);
      // Besides the caller's request our own, which told that it is the key.
      expect(upstream.seen.map(({ headers }) => headers["user-agent"] === "Sluice")).toEqual([false, true]);
    });
  });

  test("takes the same 403 of two keys for one about the request: both stay in use", async () => {
    await within([1000, 1000, 1000], async (gateway, upstream) => {
      for (const n of [1, 2]) upstream.refuse.set(`sk-secret-${n}`, { status: 403 });
      expect((await call(gateway, { total: 1 })).status).toBe(403);
      expect(upstream.seen).toHaveLength(2);
      expect((await keysOf(gateway)).map(({ status }) => status)).toEqual(["ready", "ready", "ready"]);
    });
  });

  test("does not take a single 403 for a verdict on the key, and shows nobody what it says", async () => {
    await within(
      [1000],
      async (gateway, upstream) => {
        upstream.refuse.set("sk-secret-1", { status: 403 });
        for (let i = 0; i < 2; i++) {
          const answer = await call(gateway, { total: 1 });
          expect([answer.status, await answer.text()]).toEqual([403, expect.not.stringContaining("sk-secret")]);
        }
        expect((await keysOf(gateway))[0]?.status).toBe("ready");
        await call(gateway, { total: 1 });
        expect((await keysOf(gateway))[0]?.status).toBe("quarantined");
        // A large body can't be sent twice, and may try the key all the same when there is no other.
        upstream.refuse.clear();
        gateway.clock.time += 5000;
        const large = { total: 1, prompt: "z".repeat(1_200_000) };
        expect((await call(gateway, large)).status).toBe(200);
        expect((await keysOf(gateway))[0]?.status).toBe("ready");
      },
      { retry: null, credential: { pool: "llm", cost: 1 } },
    );
  });

  test("takes the same 401 or 402 of two keys for one about the request as well, and shows nobody what it says", async () => {
    for (const status of [401, 402])
      await within([1000, 1000, 1000], async (gateway, upstream) => {
        for (const n of [1, 2]) upstream.refuse.set(`sk-secret-${n}`, { status });
        const answer = await call(gateway, { total: 1 });
        expect([answer.status, await answer.json()]).toEqual([
          403,
          expect.objectContaining({ code: "forbidden", error: expect.objectContaining({ type: "permission_error" }) }),
        ]);
        expect(upstream.seen).toHaveLength(2);
        expect((await keysOf(gateway)).map((key) => key.status)).toEqual(["ready", "ready", "ready"]);
      });
  });

  test("lets no caller put keys in quarantine, with one key or several, by what only the caller's request is refused for", async () => {
    for (const keys of [[1000], [1000, 1000]])
      for (const status of [401, 402, 403])
        await within(keys, async (gateway, upstream) => {
          upstream.refuseFor = { header: "x-wrong", status };
          for (let i = 0; i < 8; i++) {
            const answer = await call(gateway, { total: 1 }, { "x-wrong": "1" });
            expect(answer.status).toBe(403);
            await answer.text();
          }
          // Our own requests about a key are few, however many callers ask for them.
          expect(upstream.seen.filter(({ headers }) => headers["user-agent"] === "Sluice").length).toBeLessThanOrEqual(keys.length);
          expect((await keysOf(gateway)).map((key) => key.status)).toEqual(keys.map(() => "ready"));
          expect((await call(gateway, { total: 1 })).status).toBe(200);
        });
  });

  test("finds out that all keys are dead, when request after request gets the same refusal with two of them", async () => {
    await within([1000, 1000], async (gateway, upstream) => {
      for (const n of [1, 2]) upstream.refuse.set(`sk-secret-${n}`, { status: 401 });
      for (let i = 0; i < 3; i++) expect((await call(gateway, { total: 1 })).status).toBe(403);
      expect(
        await until(
          () => keysOf(gateway),
          (keys) => keys.every((key) => key.status === "quarantined"),
        ),
      ).toMatchObject([{ status: "quarantined" }, { status: "quarantined" }]);
      expect((await call(gateway, { total: 1 })).status).toBe(429);
    });
  });

  test("asks about a key where the route leads, or where it is told to, with nothing of the caller's", async () => {
    const asked = async (route: object, base = "") => {
      using upstream = provider();
      const gateway = serving(configFor(upstream.url + base, [1000], route));
      upstream.refuse.set("sk-secret-1", { status: 402 });
      expect((await call(gateway, { total: 1 }, { "x-mine": "1", cookie: "a=b", "anthropic-version": "2023-06-01" })).status).toBe(429);
      await gateway.stop();
      const { path, key, headers } = upstream.seen.at(-1) as Provider["seen"][0];
      expect([key, headers["x-mine"], headers.cookie, headers["anthropic-version"]]).toEqual([
        "sk-secret-1",
        undefined,
        undefined,
        "2023-06-01",
      ]);
      return path;
    };
    expect(await asked({})).toBe("/v1/models");
    expect(await asked({ stripPrefix: true }, "/base/v1")).toBe("/base/v1/models");
    expect(await asked({ credential: { pool: "llm", probe: "/me" } }, "/base")).toBe("/base/me");
  });

  test("reads large bodies of JSON for as long as there is room for them, which those that are over give back", async () => {
    await within([10_000_000], async (gateway, upstream) => {
      const text = JSON.stringify({ messages: [], stream: true, total: 5, picture: `data:image/png;base64,${"A".repeat(8_000_000)}` });
      const { port } = new URL(gateway.url);
      for (let i = 0; i < 20; i++) {
        // One that is given up before it is there.
        const socket = await Bun.connect({ hostname: "127.0.0.1", port: Number(port), socket: { data: () => {} } });
        socket.write(`POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 8000000\r\n\r\n{"a":"`);
        await Bun.sleep(5);
        socket.terminate();
        const answer = await fetch(`${gateway.url}/v1/x`, { method: "POST", body: text, headers: { "content-type": "application/json" } });
        expect((await answer.text()).length).toBeGreaterThan(10);
        const { body } = upstream.seen.at(-1) as Provider["seen"][0];
        expect([answer.status, body.stream_options]).toEqual([200, { include_usage: true }]);
        upstream.seen.length = 0;
        upstream.raw.length = 0;
      }
      const left = await until(
        () => remaining(gateway),
        ([it]) => it === 10_000_000 - 100,
      );
      expect(left).toEqual([10_000_000 - 100]);
    });
  });

  test("does not forward what chooses an account, unless the route says otherwise", async () => {
    const asked = { "OpenAI-Organization": "org-x", "openai-project": "proj-x", "X-Goog-User-Project": "p", "X-Other": "1" };
    const seen = async (route: object) => {
      let headers: Record<string, string> = {};
      await within(
        [1000],
        async (gateway, upstream) => {
          await call(gateway, { total: 1 }, asked);
          headers = upstream.seen[0]?.headers ?? {};
        },
        route,
      );
      return [headers["openai-organization"], headers["openai-project"], headers["x-goog-user-project"], headers["x-other"]];
    };
    expect(await seen({})).toEqual([undefined, undefined, undefined, "1"]);
    expect(await seen({ headers: { request: { set: { "OpenAI-Organization": "org-ours" } } } })).toEqual([
      "org-ours",
      undefined,
      undefined,
      "1",
    ]);
    expect(await seen({ credential: { pool: "llm", drop: ["X-Other"] } })).toEqual(["org-x", "proj-x", "p", undefined]);
  });

  test("asks a stream for its usage only where the interface takes that", async () => {
    await within([100_000], async (gateway, upstream) => {
      const send = async (path: string, body: object, headers: Record<string, string> = {}) => {
        const answer = await fetch(`${gateway.url}${path}`, {
          method: "POST",
          headers: { "content-type": "application/json", ...headers },
          body: JSON.stringify({ stream: true, total: 5, ...body }),
        });
        return [upstream.seen.at(-1)?.body.stream_options, (await answer.text()).includes("total_tokens")];
      };
      const ours = { include_usage: true };
      expect(await send("/v1/chat/completions", { messages: [] })).toEqual([ours, false]);
      expect(await send("/v1/completions", { prompt: "a" })).toEqual([ours, false]);
      expect(await send("/v1/chat/completions", { messages: [], stream_options: ours })).toEqual([ours, true]);
      expect(await send("/v1/responses", { input: "a" })).toEqual([undefined, false]);
      expect(await send("/v1/responses", { input: "a", prompt: { id: "p" } })).toEqual([undefined, false]);
      expect(await send("/v1/images/generations", { prompt: "a" })).toEqual([undefined, false]);
      expect(await send("/v1/messages", { messages: [] })).toEqual([undefined, false]);
      expect(await send("/v1/x", { messages: [] }, { "anthropic-version": "2023-06-01" })).toEqual([undefined, false]);
      expect(await send("/v1/x", { messages: [], anthropic_version: "bedrock-2023-05-31" })).toEqual([undefined, false]);
    });
  });

  test("charges each attempt for itself, and nothing to a caller who left before there was a connection", async () => {
    await within([1000, 1000], async (gateway, upstream) => {
      upstream.refuse.set("sk-secret-1", { status: 429, headers: { "retry-after": "60" } });
      const leave = new AbortController();
      const body = JSON.stringify({ wait: 60_000, prompt: "x".repeat(800) });
      const asked = fetch(`${gateway.url}/v1/x`, {
        method: "POST",
        body,
        signal: leave.signal,
        headers: { "content-type": "application/json" },
      }).catch(() => null);
      await until(
        async () => upstream.seen.length,
        (count) => count === 2,
      );
      leave.abort();
      await asked;
      // The request itself, which the second key sent.
      expect(
        await until(
          () => remaining(gateway),
          (left) => left[1] === 800,
        ),
      ).toEqual([1000, 800]);
    });
  });

  test("with a cache: who leaves while another fetches takes nothing, and what is fetched in the background is settled when it is there", async () => {
    await within(
      [1000],
      async (gateway, upstream) => {
        const leave = new AbortController();
        const get = (signal?: AbortSignal) => fetch(`${gateway.url}/v1/kept`, signal === undefined ? {} : { signal });
        upstream.hold = true;
        const first = get();
        await until(
          async () => upstream.seen.length,
          (count) => count === 1,
        );
        const others = Promise.allSettled(Array.from({ length: 5 }, () => get(leave.signal)));
        await Bun.sleep(50);
        leave.abort();
        await others;
        upstream.hold = false;
        await (await first).text();
        await until(
          () => remaining(gateway),
          ([left]) => left === 993,
        );
        expect([await remaining(gateway), upstream.seen.length]).toEqual([[993], 1]);
        // Stale: given at once, and fetched anew.
        gateway.clock.time += 5000;
        await (await get()).text();
        expect(
          await until(
            () => remaining(gateway),
            ([left]) => left === 986,
          ),
        ).toEqual([986]);
      },
      { cache: {}, credential: { pool: "llm", cost: 100 } },
    );
  });

  test("does not blame the backend for a caller who sends slowly", async () => {
    await within(
      [1000],
      async (gateway, upstream) => {
        const { port } = new URL(gateway.url);
        const answered: Buffer[] = [];
        const text = () => Buffer.concat(answered).toString();
        const socket = await Bun.connect({
          hostname: "127.0.0.1",
          port: Number(port),
          socket: { data: (_, bytes) => void answered.push(Buffer.from(bytes)) },
        });
        socket.write('POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"total');
        await Bun.sleep(20);
        gateway.clock.time += 5000;
        socket.write('":3}');
        while (!text().includes("total_tokens")) await Bun.sleep(5);
        expect(text()).toStartWith("HTTP/1.1 200");
        expect(upstream.seen).toHaveLength(1);
        socket.end();
      },
      { timeout: "2s" },
    );
  });

  test("takes deep nesting and numbers as they are", async () => {
    await within([1_000_000], async (gateway, upstream) => {
      const post = (body: string) =>
        fetch(`${gateway.url}/v1/x`, { method: "POST", body, headers: { "content-type": "application/json" } });
      expect((await post(`{"total":1,"deep":${"[".repeat(20_000)}${"]".repeat(20_000)}}`)).status).toBe(200);
      upstream.raw.length = 0;
      await (await post('{"prompt":"","stream":true,"seed":9007199254740993,"t":1.50,"stream_options":{"include_usage":false}}')).text();
      expect(upstream.raw[0]).toBe('{"prompt":"","stream":true,"seed":9007199254740993,"t":1.50,"stream_options":{"include_usage":true}}');
    });
  });

  test("tries again what fails behind a key that took the place of limited ones, as often as the route says", async () => {
    await within(
      [10, 10, 10],
      async (gateway, upstream) => {
        for (const n of [1, 2]) upstream.refuse.set(`sk-secret-${n}`, { status: 429, headers: { "retry-after": "60" } });
        upstream.refuse.set("sk-secret-3", { status: 503 });
        const answer = await fetch(`${gateway.url}/v1/models`);
        expect([answer.status, upstream.seen.map(({ key }) => key.at(-1))]).toEqual([503, ["1", "2", "3", "3", "3"]]);
      },
      { retry: { baseDelay: "1ms" } },
    );
  });

  test("has a key rest for a moment though the upstream says that it may come back at once", async () => {
    await within([10, 10, 10], async (gateway, upstream) => {
      for (const n of [1, 2, 3]) upstream.refuse.set(`sk-secret-${n}`, { status: 429, headers: { "retry-after": "0" } });
      for (let i = 0; i < 5; i++) expect((await call(gateway, { total: 1 })).status).toBe(429);
      expect(upstream.seen).toHaveLength(3);
    });
  });

  test("does not send twice what another key may not make better, without retries", async () => {
    await within(
      [10, 10],
      async (gateway, upstream) => {
        for (const n of [1, 2]) upstream.refuse.set(`sk-secret-${n}`, { status: 403 });
        await call(gateway, { total: 1 });
        expect(upstream.seen.filter(({ headers }) => headers["user-agent"] !== "Sluice")).toHaveLength(1);
      },
      { retry: null },
    );
  });

  test.each([
    ["with retries", {}],
    ["without any", { retry: null }],
  ])("goes on with key after key while the upstream limits them, %s, and says when the first is back", async (_, route) => {
    await within(
      [10, 10, 10, 10, 10],
      async (gateway, upstream) => {
        const limit = (n: number) => upstream.refuse.set(`sk-secret-${n}`, { status: 429, headers: { "retry-after": String(10 * n) } });
        for (const n of [1, 2, 3, 4]) limit(n);
        expect([(await call(gateway, { total: 1 })).status, upstream.seen.length]).toEqual([200, 5]);
        limit(5);
        const answer = await call(gateway, { total: 1 });
        expect([answer.status, answer.headers.get("retry-after"), upstream.seen.length]).toEqual([429, "10", 6]);
      },
      route,
    );
  });

  test("forwards large bodies unread and whole", async () => {
    await within([10_000_000], async (gateway, upstream) => {
      const prompt = "y".repeat(3_000_000);
      for (const chunked of [false, true]) {
        const bytes = Buffer.from(JSON.stringify({ prompt, total: 5 }));
        const body = chunked
          ? new ReadableStream({
              start: (controller) => {
                for (let i = 0; i < bytes.length; i += 100_000) controller.enqueue(bytes.subarray(i, i + 100_000));
                controller.close();
              },
            })
          : bytes;
        const answer = await fetch(`${gateway.url}/v1/x`, { method: "POST", body, headers: { "content-type": "application/json" } });
        expect(await answer.json()).toMatchObject({ usage: { total_tokens: 5 } });
        expect(upstream.seen.at(-1)?.body.prompt).toBe(prompt);
      }
      expect(
        await until(
          () => remaining(gateway),
          ([left]) => left === 9_999_990,
        ),
      ).toEqual([9_999_990]);
    });
  });

  test("keeps rests and what was spent over a restart", async () => {
    using upstream = provider();
    using home = folder();
    const config = configFor(upstream.url, [1000, 1000]);
    upstream.refuse.set("sk-secret-1", { status: 429, headers: { "retry-after": "60" } });
    {
      await using gateway = await start({ config, cwd: home.path });
      await (await call(gateway, { total: 100 })).text();
      await gateway.stop();
      expect(gateway.output()).toContain("the upstream limits a key: it rests");
      expect(gateway.output()).not.toContain("sk-secret");
    }
    await using gateway = await start({ config, cwd: home.path });
    expect(await keysOf(gateway)).toMatchObject([
      { status: "resting", lastError: { status: 429 } },
      { status: "ready", remaining: 900 },
    ]);
    await call(gateway, { total: 1 });
    expect(upstream.seen.map(({ key }) => key.at(-1)).join("")).toBe("122");
  });

  test("uses a new secret at once, also over a restart, and a key that was reset", async () => {
    using upstream = provider();
    using home = folder();
    const config = configFor(upstream.url, [1000]);
    upstream.refuse.set("sk-secret-1", { status: 401 });
    {
      await using gateway = await start({ config, cwd: home.path });
      expect((await call(gateway, { total: 1 })).status).toBe(429);
      expect((await gateway.admin("POST", "/admin/pools/llm/reset?key=k9")).status).toBe(404);
      expect((await gateway.admin("POST", "/admin/pools/llm/reset")).status).toBe(204);
      expect((await keysOf(gateway))[0]?.status).toBe("ready");
      await call(gateway, { total: 1 });
      expect((await keysOf(gateway))[0]?.status).toBe("quarantined");
      await gateway.stop();
    }
    const renewed = { ...config, pools: { llm: { keys: [{ id: "k1", secret: "sk-new", limit: 1000, window: "60s" }] } } };
    await using gateway = await start({ config: renewed, cwd: home.path });
    expect([(await keysOf(gateway))[0]?.status, (await call(gateway, { total: 1 })).status]).toEqual(["ready", 200]);
  });

  test("of a pool that was read, changed and sent back keeps its secret", async () => {
    using upstream = provider();
    await using gateway = await start({ config: configFor(upstream.url, [10]), env: { SLUICE_SECRET: "a-secret-for-the-test" } });
    const key = { id: "a", secret: "sk-real", limit: 100, window: "1m" };
    expect((await gateway.admin("POST", "/admin/pools", { name: "mine", keys: [{ ...key, secret: "***" }] })).status).toBe(422);
    await gateway.admin("POST", "/admin/pools", { name: "mine", keys: [key] });
    await gateway.admin("POST", "/admin/routes", { path: "/v1/mine", upstream: upstream.url, auth: "none", credential: { pool: "mine" } });
    const { keys } = (await (await gateway.admin("GET", "/admin/pools/mine")).json()) as { keys: object[] };
    expect((await gateway.admin("PATCH", "/admin/pools/mine", { keys: [{ ...keys[0], limit: 500 }] })).status).toBe(200);
    await fetch(`${gateway.url}/v1/mine`, { method: "POST", body: "{}" });
    expect(upstream.seen.at(-1)?.key).toBe("sk-real");
    expect((await gateway.admin("PATCH", "/admin/pools/mine", { keys: [{ ...keys[0], id: "other" }] })).status).toBe(422);
  });

  test("is refused where its pool is missing or its value holds no key, and its pool can't be deleted under it", async () => {
    using upstream = provider();
    await using gateway = await start({ config: configFor(upstream.url, [10]) });
    const made = (credential: object) => gateway.admin("POST", "/admin/routes", { path: "/other", upstream: upstream.url, credential });
    expect(await (await made({ pool: "lm" })).json()).toMatchObject({
      errors: [{ path: "credential.pool", message: 'there is no pool "lm", did you mean "llm"?' }],
    });
    expect(await (await made({ pool: "llm", value: "Bearer" })).json()).toMatchObject({ errors: [{ path: "credential.value" }] });
    expect(await (await made({ pool: "llm", header: "Host" })).json()).toMatchObject({ errors: [{ path: "credential.header" }] });
    expect(
      await (
        await gateway.admin("POST", "/admin/pools", { name: "mine", keys: [{ id: "a", secret: "a\r\nX-Evil: 1", limit: 5, window: "1m" }] })
      ).json(),
    ).toMatchObject({
      errors: [{ path: "keys[0].secret", message: expect.stringContaining("without a line break") }],
    });
    await gateway.admin("POST", "/admin/pools", { name: "mine", keys: [{ id: "a", limit: 5, window: "1m" }] });
    expect((await made({ pool: "mine" })).status).toBe(201);
    expect(await (await gateway.admin("DELETE", "/admin/pools/mine")).json()).toMatchObject({ status: 409 });
  });
});

describe("limits that count usage", () => {
  const tiers = (limits: object[], quota: object | null = null) => ({
    tiers: { anonymous: { limits: [] }, plain: { limits, quota } },
    routes: [],
  });
  const asAcme = { "x-api-key": KEY };

  test("count what answers report: a tier may have so many tokens", async () => {
    for (const algorithm of ["fixed-window", "sliding-window", "sliding-log", "token-bucket", "gcra"]) {
      using upstream = provider();
      const gateway = serving({
        ...tiers([{ algorithm, limit: 1000, window: "1d", cost: "usage" }]),
        consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
        routes: [{ path: "/v1", upstream: upstream.url, usage: "usage.total_tokens" }],
      });
      const left = async (body: object) => {
        const answer = await call(gateway, body, asAcme);
        await answer.text();
        return answer.status === 200 ? Number(answer.headers.get("x-ratelimit-remaining")) : answer.status;
      };
      // The number in an answer's head is from before its cost is known.
      expect([algorithm, await left({ total: 400 }), await left({ messages: [], stream: true, total: 500 })]).toEqual([
        algorithm,
        999,
        599,
      ]);
      expect([await left({ total: 0 }), await left({ total: 300 }), await left({ total: 1 })]).toEqual([99, 99, 429]);
      const usage = (await (await gateway.admin("GET", "/admin/usage?consumer=acme")).json()) as { items: { tokens: number }[] };
      expect(usage.items.reduce((sum, row) => sum + row.tokens, 0)).toBe(1200);
      await gateway.stop();
    }
  });

  test("are quotas as well, and an answer that reports nothing costs what the route costs", async () => {
    using upstream = provider();
    const gateway = serving({
      ...tiers([], { limit: 50, period: "month", cost: "usage" }),
      consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
      routes: [{ path: "/v1", upstream: upstream.url, usage: ["usage.prompt_tokens", "usage.total_tokens"], cost: 2 }],
    });
    const statuses = [];
    for (const body of [{}, { total: 46 }, {}, {}]) statuses.push((await call(gateway, body, asAcme)).status);
    expect(statuses).toEqual([200, 200, 429, 429]);
    await gateway.stop();
  });
});
