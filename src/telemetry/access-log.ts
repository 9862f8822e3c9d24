import type { Clock } from "../clock.ts";
import type { Exchange } from "../proxy/exchange.ts";

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

/**
 * One line for each request, written when its answer is out. The query is left out: it may hold secrets. The line is put together by hand, as the logger would have
 * written it: that takes a quarter of the time, and every request pays for it.
 */
export class AccessLog {
  private second = -1;
  private prefix = "";

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
    const { holder, trace, refusal, trouble } = x;
    const { redactor } = x.generation;
    this.write(
      `{"level":"${isFailure ? "error" : "info"}","time":"${this.time()}","requestId":"${x.id}","method":${quoted(redactor.clean(x.incoming.head.method))},"path":${quoted(redactor.clean(x.path))},"status":${x.status},"latencyMs":${Math.round(latency * 1000) / 1000},"route":${quoted(x.endpoint?.name)},"consumer":${quoted(holder?.consumer.id)},"tier":${quoted(holder?.consumer.tier)},"keyId":${quoted(holder?.id)},"ip":${quoted(x.ip)},"upstream":${quoted(x.target?.url)},"attempts":${x.attempts},"cache":${quoted(x.cache)}${refusal === null ? "" : `,"code":"${refusal.code}"`}${trouble === null ? "" : `,"error":${quoted(redactor.clean(trouble))}`}${x.incoming.isAborted ? ',"aborted":true' : ""}${trace === null ? "" : `,"traceId":"${trace.traceId}"`},"msg":"request"}\n`,
    );
  }

  /** The time, its part above the millisecond made once a second. */
  private time(): string {
    const now = Math.floor(this.parts.clock.wall());
    const second = Math.floor(now / 1000);
    if (second !== this.second) {
      this.second = second;
      this.prefix = new Date(now).toISOString().slice(0, 20);
    }
    return `${this.prefix}${String(now - second * 1000).padStart(3, "0")}Z`;
  }
}

function quoted(text: string | null | undefined): string {
  if (text === null || text === undefined) return "null";
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}
