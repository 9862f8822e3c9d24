import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { VERSION } from "../version.ts";
import type { Span } from "./spans.ts";

export interface OtlpOptions {
  /** The collector's base URL, to which `/v1/traces` is added, or the whole URL. */
  readonly endpoint: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly serviceName: string;
  /** A name that tells this process from others of the same service. */
  readonly instance: string;
  /** Milliseconds for one export, its repetitions included. */
  readonly timeout: number;
}

/** Sends one batch; rejects when the collector did not take it. */
export type SendSpans = (spans: readonly Span[]) => Promise<void>;

const KINDS = { internal: 0, server: 1, client: 2 } as const;
const SCOPE = { name: "sluice", version: VERSION };
const ERROR = { code: 2 };
const UNSET = { code: 0 };
const SAMPLED = 1;

/** Makes the official exporter over OTLP/HTTP with JSON. It has a file of its own, which is loaded when somebody wants traces. */
export function otlpSender({ endpoint, headers, serviceName, instance, timeout }: OtlpOptions): {
  send: SendSpans;
  close(): Promise<void>;
} {
  const exporter = new OTLPTraceExporter({ url: tracesUrl(endpoint), headers: { ...headers }, timeoutMillis: timeout });
  const resource = resourceFromAttributes({
    "service.name": serviceName,
    "service.version": VERSION,
    "service.instance.id": instance,
  });
  const readable = (span: Span): ReadableSpan => {
    const { traceId, spanId, parentId } = span;
    return {
      name: span.name,
      kind: KINDS[span.kind],
      spanContext: () => ({ traceId, spanId, traceFlags: SAMPLED }),
      ...(parentId === null
        ? {}
        : { parentSpanContext: { traceId, spanId: parentId, traceFlags: SAMPLED, isRemote: span.isParentRemote } }),
      startTime: hrTime(span.startedAt),
      endTime: hrTime(span.endedAt),
      duration: hrTime(span.endedAt - span.startedAt),
      status: span.isError ? ERROR : UNSET,
      attributes: span.attributes,
      links: [],
      events: [],
      ended: true,
      resource,
      instrumentationScope: SCOPE,
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
    };
  };
  return {
    send: (spans) =>
      new Promise((resolve, reject) => {
        exporter.export(spans.map(readable), ({ code, error }) => {
          if (code === 0) resolve();
          else reject(error ?? new Error("the collector did not take them"));
        });
      }),
    close: () => exporter.shutdown(),
  };
}

export function tracesUrl(endpoint: string): string {
  const url = new URL(endpoint);
  if (!url.pathname.endsWith("/v1/traces")) url.pathname = `${url.pathname.replace(/\/$/, "")}/v1/traces`;
  return url.href;
}

/** Gives seconds and nanoseconds. */
function hrTime(milliseconds: number): [number, number] {
  const seconds = Math.floor(milliseconds / 1000);
  return [seconds, Math.round((milliseconds - seconds * 1000) * 1e6)];
}
