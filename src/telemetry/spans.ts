import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { MAX_CALLED_NAME } from "../values/called-name.ts";
import { NANO } from "../values/money.ts";
import { METHODS } from "./route-metrics.ts";
import type { Attributes, Step } from "./trace.ts";

/** Describes a span as OpenTelemetry has them. Times in milliseconds since 1970. */
export interface Span {
  readonly name: string;
  readonly kind: "server" | "internal" | "client";
  readonly traceId: string;
  readonly spanId: string;
  /** The parent's id; `null`: the trace begins with this span. */
  readonly parentId: string | null;
  /** True when the parent is of another process. */
  readonly isParentRemote: boolean;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly attributes: Attributes;
  readonly isError: boolean;
}

/** Gives the method as spans name it; a caller may send any word (OpenTelemetry's conventions for HTTP). */
export const spanMethod = (method: string): string => (METHODS.includes(method) ? method : "_OTHER");

/** Gives what is told of the model and the tool that were called, by OpenTelemetry's names where it has some. */
function calledIn({ model, modelUsed, tool, spending, money, snapshot }: Exchange<Arrival>): Attributes {
  const attributes: Attributes = {};
  const name = (attribute: string, called: string | null): void => {
    if (called !== null) attributes[attribute] = snapshot.redactor.clean(called.slice(0, MAX_CALLED_NAME));
  };
  name("gen_ai.request.model", model);
  name("gen_ai.response.model", modelUsed);
  name("gen_ai.tool.name", tool);
  if (spending !== null) attributes["sluice.cost_usd"] = money / NANO;
  return attributes;
}

/**
 * Gives the spans of a request that has ended, its own first. `elapsed` in milliseconds; `wallNow` is when it ended, in milliseconds since
 * 1970.
 */
export function spansOf(exchange: Exchange<Arrival>, elapsed: number, wallNow: number): Span[] {
  const { trace, route, holder } = exchange;
  if (trace === null) return [];
  const endedAt = exchange.startedAt + elapsed;
  const offset = wallNow - endedAt;
  trace.end(endedAt);
  const method = spanMethod(exchange.incoming.head.method);
  const attributes: Attributes = {
    "http.request.method": method,
    "http.response.status_code": exchange.status,
    "url.path": exchange.snapshot.redactor.clean(exchange.path),
    "url.scheme": exchange.incoming.isTls ? "https" : "http",
    "client.address": exchange.ip,
    "sluice.request_id": exchange.id,
  };
  const hasRoute = route !== exchange.snapshot.miss;
  if (hasRoute) {
    attributes["http.route"] = route.path;
    attributes["sluice.route"] = route.name;
  }
  if (holder.via !== "none") {
    attributes["sluice.consumer"] = holder.consumer.id;
    attributes["sluice.tier"] = holder.consumer.tier;
    if (holder.via === "key") attributes["sluice.key_id"] = holder.id;
  }
  if (exchange.incoming.isAborted) attributes["sluice.aborted"] = true;
  if (exchange.notes.cache !== null) attributes["sluice.cache"] = exchange.notes.cache;
  if (exchange.notes.refusal !== null) attributes["sluice.code"] = exchange.notes.refusal.code;
  if (exchange.notes.grpcStatus !== null) attributes["rpc.grpc.status_code"] = exchange.notes.grpcStatus;
  Object.assign(attributes, calledIn(exchange));
  const isError = exchange.status >= 500;
  if (isError) attributes["error.type"] = exchange.notes.refusal?.code ?? String(exchange.status);
  const { traceId, spanId } = trace;
  const own: Span = {
    name: hasRoute ? `${method} ${route.path}` : method,
    kind: "server",
    traceId,
    spanId,
    parentId: trace.parentId,
    isParentRemote: trace.parentId !== null,
    startedAt: exchange.startedAt + offset,
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
