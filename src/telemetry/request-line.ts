import type { Caller } from "../exchange/caller.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Route } from "../exchange/route.ts";
import { nameOf } from "../grpc/status.ts";
import type { Target } from "../upstreams/upstream.ts";
import { MAX_CALLED_NAME } from "../values/called-name.ts";
import { NANO } from "../values/money.ts";
import { printable } from "../values/redact.ts";
import { inThousandths } from "../values/thousandths.ts";

/** Matches text that stands in JSON as it is. */
const PLAIN = /^[ !#-[\]-~]*$/;
const NO_ROUTE = ',"route":null';
const NO_CALLER = ',"consumer":null,"tier":null,"keyId":null,"ip":"';
const NO_TARGET = '","upstream":null,"attempts":';

/**
 * Writes what is told of a request that has ended, as fields of a JSON object: in the log, and to those who follow the events. The query is
 * left out: it may hold secrets. The text is put together by hand, from parts that are the same for many requests: that takes a quarter of
 * the logger's time, and every request pays for it.
 */
export class RequestLine {
  private readonly routes = new WeakMap<Route, string>();
  private readonly targets = new WeakMap<Target, string>();
  private readonly callers = new WeakMap<Caller, { readonly tier: string; readonly text: string }>();

  /** Gives the fields of one request. `latency`: milliseconds from the head's arrival to the answer's last byte. */
  fields(exchange: Exchange<Arrival>, latency: number): string {
    const { route, holder, target, trace } = exchange;
    const { refusal, trouble, cache, authorize, grpcStatus } = exchange.notes;
    const { redactor, miss } = exchange.snapshot;
    let more = "";
    if (grpcStatus !== null) more += `,"grpcStatus":"${nameOf(grpcStatus)}"`;
    more += this.called(exchange);
    if (refusal !== null) more += `,"code":"${refusal.code}"`;
    if (authorize !== null) more += `,"authorize":"${authorize}"`;
    if (trouble !== null) more += `,"error":${quoted(redactor.clean(trouble))}`;
    if (exchange.incoming.isAborted) more += ',"aborted":true';
    if (trace !== null) more += `,"traceId":"${trace.traceId}"`;
    return `"requestId":"${exchange.id}","method":${quoted(redactor.clean(exchange.incoming.head.method))},"path":${quoted(redactor.clean(exchange.path))},"status":${exchange.status},"latencyMs":${inThousandths(latency)}${route === miss ? NO_ROUTE : this.route(route)}${holder.via === "none" ? NO_CALLER : this.caller(holder)}${exchange.ip}${target === null ? NO_TARGET : this.upstream(target)}${exchange.attempts},"cache":${cache === null ? "null" : `"${cache}"`}${more}`;
  }

  /** Names the model and the tool that were called, with what that has cost; "" for requests that call none. */
  private called({ model, modelUsed, tool: allowed, spending, money, notes, snapshot }: Exchange<Arrival>): string {
    // Which one was refused is worth knowing as well.
    const tool = allowed ?? notes.tool;
    if (model === null && tool === null && spending === null) return "";
    const named = (field: string, name: string | null): string =>
      name === null ? "" : `,"${field}":${quoted(snapshot.redactor.clean(name.slice(0, MAX_CALLED_NAME)))}`;
    const used = modelUsed === model ? null : modelUsed;
    const cost = spending === null ? "" : `,"cost":${money / NANO},"unit":"usd"`;
    return named("model", model) + named("modelUsed", used) + named("tool", tool) + cost;
  }

  private route(route: Route): string {
    let text = this.routes.get(route);
    if (text === undefined) {
      text = `,"route":${quoted(route.name)}`;
      this.routes.set(route, text);
    }
    return text;
  }

  private upstream(target: Target): string {
    let text = this.targets.get(target);
    if (text === undefined) {
      text = `","upstream":${quoted(target.url)},"attempts":`;
      this.targets.set(target, text);
    }
    return text;
  }

  private caller(caller: Caller): string {
    const { id, tier } = caller.consumer;
    let known = this.callers.get(caller);
    // A consumer's tier may change.
    if (known === undefined || known.tier !== tier) {
      known = {
        tier,
        text: `,"consumer":${quoted(id)},"tier":${quoted(tier)},"keyId":${caller.via === "key" ? quoted(caller.id) : "null"},"ip":"`,
      };
      this.callers.set(caller, known);
    }
    return known.text;
  }
}

const quoted = (text: string): string => (PLAIN.test(text) ? `"${text}"` : printable(JSON.stringify(text)));
