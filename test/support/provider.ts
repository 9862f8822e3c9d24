/** A language model's provider with OpenAI's interface, on a free port. */
export interface Provider {
  readonly url: string;
  /** What arrived, oldest first. */
  readonly seen: { key: string; path: string; body: Record<string, unknown>; headers: Record<string, string> }[];
  /** How keys are refused: by key, until it is deleted. */
  readonly refuse: Map<string, { status: number; headers?: Record<string, string> }>;
  /** The header for which requests are refused, whatever their key. */
  refuseFor: { readonly header: string; readonly status: number } | null;
  /** Bodies as they arrived. */
  readonly raw: string[];
  /** Answers to /v1/kept wait while this is set. */
  hold: boolean;
  /** Streams that the gateway gave up. */
  readonly cancelled: () => number;
  [Symbol.dispose](): void;
}

interface Asked {
  readonly stream?: boolean;
  readonly stream_options?: { include_usage?: boolean };
  /** What the answer says it cost; left out: nothing. */
  readonly total?: number;
  /** How many words it streams, and the milliseconds between them. */
  readonly words?: number;
  readonly every?: number;
  readonly wait?: number;
}

export function provider(): Provider {
  const seen: Provider["seen"] = [];
  const refuse: Provider["refuse"] = new Map();
  const raw: string[] = [];
  const state: { hold: boolean; refuseFor: Provider["refuseFor"] } = { hold: false, refuseFor: null };
  let cancelled = 0;
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    development: false,
    idleTimeout: 0,
    fetch: async (request) => {
      const key = (request.headers.get("authorization") ?? request.headers.get("x-api-key") ?? "").replace("Bearer ", "");
      const text = await request.text();
      const asked = (text === "" ? {} : JSON.parse(text)) as Asked;
      seen.push({
        key,
        path: new URL(request.url).pathname,
        body: asked as Record<string, unknown>,
        headers: request.headers.toJSON() as Record<string, string>,
      });
      raw.push(text);
      const { refuseFor } = state;
      const refusal = refuseFor !== null && request.headers.has(refuseFor.header) ? { ...refuseFor, headers: {} } : refuse.get(key);
      if (refusal !== undefined)
        return Response.json(
          { error: { message: `Incorrect API key provided: ${key}` } },
          { status: refusal.status, headers: refusal.headers ?? {} },
        );
      if (new URL(request.url).pathname === "/v1/kept") {
        while (state.hold) await Bun.sleep(5);
        // Its end comes later than its head.
        const parts = ['{"usage":', '{"total_tokens":7}}'];
        return new Response(
          new ReadableStream({
            pull: async (controller) => {
              controller.enqueue(Buffer.from(parts.shift() ?? ""));
              await Bun.sleep(20);
              if (parts.length === 0) controller.close();
            },
          }),
          { headers: { "content-type": "application/json", "cache-control": "max-age=1, stale-while-revalidate=60" } },
        );
      }
      if (asked.wait !== undefined) await Bun.sleep(asked.wait);
      const usage = asked.total === undefined ? undefined : { prompt_tokens: 1, total_tokens: asked.total };
      if (asked.stream !== true) return Response.json({ choices: [{ message: { content: "hello" } }], usage });
      return new Response(
        new ReadableStream({
          start: async (controller) => {
            const send = (data: string) => controller.enqueue(Buffer.from(`data: ${data}\n\n`));
            try {
              for (let i = 0; i < (asked.words ?? 3); i++) {
                send(JSON.stringify({ choices: [{ delta: { content: `word ${i}` } }], usage: null }));
                if (asked.every !== undefined) await Bun.sleep(asked.every);
              }
              if (asked.stream_options?.include_usage === true && usage !== undefined) send(JSON.stringify({ choices: [], usage }));
              send("[DONE]");
              controller.close();
            } catch {
              // The gateway has left.
            }
          },
          cancel: () => void cancelled++,
        }),
        { headers: { "content-type": "text/event-stream" } },
      );
    },
  });
  return Object.assign(state, {
    raw,
    url: `http://127.0.0.1:${server.port}`,
    seen,
    refuse,
    cancelled: () => cancelled,
    [Symbol.dispose]: () => void server.stop(true),
  });
}
