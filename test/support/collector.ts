/** A span as it arrived over OTLP/HTTP. */
export interface Received {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code?: number };
  readonly attributes: Record<string, unknown>;
}

/** A collector of traces on a free port. */
export interface Collector {
  readonly url: string;
  readonly spans: Received[];
  /** The bodies and the header fields as they came. */
  readonly raw: string[];
  readonly headers: Record<string, string>[];
  /** Resolves when so many spans have come. */
  has(count: number): Promise<void>;
  [Symbol.dispose](): void;
}

export function collector(): Collector {
  const spans: Received[] = [];
  const raw: string[] = [];
  const headers: Record<string, string>[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    development: false,
    fetch: async (request) => {
      const text = await request.text();
      raw.push(text);
      headers.push(request.headers.toJSON() as Record<string, string>);
      const { resourceSpans } = JSON.parse(text);
      for (const { scopeSpans } of resourceSpans)
        for (const { spans: some } of scopeSpans)
          for (const span of some)
            spans.push({
              ...span,
              attributes: Object.fromEntries(
                span.attributes.map(({ key, value }: { key: string; value: object }) => [key, Object.values(value)[0]]),
              ),
            });
      return new URL(request.url).pathname === "/v1/traces" ? Response.json({}) : new Response("no such place", { status: 404 });
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    spans,
    raw,
    headers,
    has: async (count) => {
      while (spans.length < count) await Bun.sleep(10);
    },
    [Symbol.dispose]: () => void server.stop(true),
  };
}
