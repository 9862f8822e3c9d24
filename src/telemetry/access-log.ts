import type { Clock } from "../clock.ts";
import type { KeyEntry } from "../keys/registry.ts";
import type { Endpoint, Exchange } from "../proxy/exchange.ts";
import type { Target } from "../upstreams/upstream.ts";

export interface AccessLogParts {
  readonly clock: Clock;
  /** Numbers from 0 up to 1. */
  readonly random: () => number;
  /** The share of requests below 400 that get a line, 0 to 1; all others get one. */
  readonly sample: number;
  /** Only requests that failed get lines: the log's level is above info. */
  readonly isOfFailures: boolean;
}

/** Text that stands in JSON as it is. */
const PLAIN = /^[ !#-[\]-~]*$/;
const NO_ROUTE = ',"route":null';
const NO_CALLER = ',"consumer":null,"tier":null,"keyId":null,"ip":"';
const NO_TARGET = '","upstream":null,"attempts":';
/** Shorter than any secret: most methods, and many a path. */
const SHORTEST_SECRET = 8;

/**
 * One line for each request, written when its answer is out. The query is left out: it may hold secrets. The line is put together by hand, as the logger would have
 * written it, from parts that are the same for many: that takes a quarter of the time, and every request pays for it.
 */
export class AccessLog {
  private second = -1;
  private prefix = "";
  private readonly routes = new WeakMap<Endpoint, string>();
  private readonly targets = new WeakMap<Target, string>();
  private readonly callers = new WeakMap<KeyEntry, { readonly tier: string; readonly text: string }>();

  constructor(
    private readonly write: (line: string) => void,
    private readonly parts: AccessLogParts,
  ) {}

  /** `latency` in milliseconds, from the head's arrival to the answer's last byte. */
  note(x: Exchange, latency: number): void {
    const { sample, random, isOfFailures } = this.parts;
    const isFailure = x.status >= 500;
    if (isOfFailures && !isFailure) return;
    if (sample < 1 && x.status < 400 && random() >= sample) return;
    const { endpoint, holder, target, refusal, trace, trouble } = x;
    const { redactor } = x.generation;
    const clean = (text: string): string => quoted(text.length < SHORTEST_SECRET ? text : redactor.clean(text));
    let more = "";
    if (refusal !== null) more += `,"code":"${refusal.code}"`;
    if (trouble !== null) more += `,"error":${clean(trouble)}`;
    if (x.incoming.isAborted) more += ',"aborted":true';
    if (trace !== null) more += `,"traceId":"${trace.traceId}"`;
    const now = Math.floor(this.parts.clock.wall());
    this.write(
      `${isFailure ? '{"level":"error","time":"' : '{"level":"info","time":"'}${this.upToSecond(now)}${thousandths(now)}Z","requestId":"${x.id}","method":${clean(x.incoming.head.method)},"path":${clean(x.path)},"status":${x.status},"latencyMs":${Math.round(latency * 1000) / 1000}${endpoint === null ? NO_ROUTE : this.route(endpoint)}${holder === null ? NO_CALLER : this.caller(holder)}${x.ip}${target === null ? NO_TARGET : this.upstream(target)}${x.attempts},"cache":${x.cache === null ? "null" : `"${x.cache}"`}${more},"msg":"request"}\n`,
    );
  }

  private upToSecond(now: number): string {
    const second = Math.floor(now / 1000);
    if (second !== this.second) {
      this.second = second;
      this.prefix = new Date(now).toISOString().slice(0, 20);
    }
    return this.prefix;
  }

  private route(endpoint: Endpoint): string {
    let text = this.routes.get(endpoint);
    if (text === undefined) {
      text = `,"route":${quoted(endpoint.name)}`;
      this.routes.set(endpoint, text);
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

  private caller(key: KeyEntry): string {
    const { id, tier } = key.consumer;
    let known = this.callers.get(key);
    // A consumer's tier may change.
    if (known === undefined || known.tier !== tier) {
      known = { tier, text: `,"consumer":${quoted(id)},"tier":${quoted(tier)},"keyId":${quoted(key.id)},"ip":"` };
      this.callers.set(key, known);
    }
    return known.text;
  }
}

const quoted = (text: string): string => (PLAIN.test(text) ? `"${text}"` : JSON.stringify(text));

function thousandths(now: number): string {
  const rest = now % 1000;
  return rest < 10 ? `00${rest}` : rest < 100 ? `0${rest}` : String(rest);
}
