import type { Exchange } from "../exchange/exchange.ts";
import { METHODS } from "./metrics.ts";
import type { Attributes, Step } from "./trace.ts";

/** A span as OpenTelemetry has them. Times in milliseconds since 1970. */
export interface Span {
  readonly name: string;
  readonly kind: "server" | "internal" | "client";
  readonly traceId: string;
  readonly spanId: string;
  /** `null`: the trace begins with it. */
  readonly parentId: string | null;
  /** The parent is of another process. */
  readonly isParentRemote: boolean;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly attributes: Attributes;
  readonly isError: boolean;
}

/** What a span says of a method; a caller may send any word (OpenTelemetry's conventions for HTTP). */
export const spanMethod = (method: string): string => (METHODS.includes(method) ? method : "_OTHER");

/** The spans of a request that has ended, its own first. `elapsed` in milliseconds; `wallNow` is when it ended, in milliseconds since 1970. */
export function spansOf(x: Exchange, elapsed: number, wallNow: number): Span[] {
  const { trace, endpoint, holder } = x;
  if (trace === null) return [];
  const endedAt = x.startedAt + elapsed;
  const offset = wallNow - endedAt;
  trace.end(endedAt);
  const method = spanMethod(x.incoming.head.method);
  const attributes: Attributes = {
    "http.request.method": method,
    "http.response.status_code": x.status,
    "url.path": x.generation.redactor.clean(x.path),
    "url.scheme": x.incoming.isTls ? "https" : "http",
    "client.address": x.ip,
    "sluice.request_id": x.id,
  };
  if (endpoint !== null) {
    attributes["http.route"] = endpoint.path;
    attributes["sluice.route"] = endpoint.name;
  }
  if (holder !== null) {
    attributes["sluice.consumer"] = holder.consumer.id;
    attributes["sluice.tier"] = holder.consumer.tier;
    attributes["sluice.key_id"] = holder.id;
  }
  if (x.incoming.isAborted) attributes["sluice.aborted"] = true;
  if (x.cache !== null) attributes["sluice.cache"] = x.cache;
  if (x.refusal !== null) attributes["sluice.code"] = x.refusal.code;
  const isError = x.status >= 500;
  if (isError) attributes["error.type"] = x.refusal?.code ?? String(x.status);
  const { traceId, spanId } = trace;
  const own: Span = {
    name: endpoint === null ? method : `${method} ${endpoint.path}`,
    kind: "server",
    traceId,
    spanId,
    parentId: trace.parentId,
    isParentRemote: trace.parentId !== null,
    startedAt: x.startedAt + offset,
    endedAt: endedAt + offset,
    attributes,
    isError,
  };
  const child = (step: Step): Span => ({
    name: step.name,
    kind: step.isAttempt ? "client" : "internal",
    traceId,
    spanId: step.spanId,
    parentId: spanId,
    isParentRemote: false,
    startedAt: step.startedAt + offset,
    endedAt: (step.endedAt ?? endedAt) + offset,
    attributes: step.attributes,
    isError: step.isError,
  });
  return [own, ...trace.steps.map(child)];
}
