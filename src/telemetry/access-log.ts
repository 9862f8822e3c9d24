import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Clock } from "../values/clock.ts";
import { RequestLine } from "./request-line.ts";

export interface AccessLogDeps {
  readonly clock: Clock;
  /** Gives random numbers from 0 up to 1. */
  readonly random: () => number;
  /** The share of requests below 400 that get a line, 0 to 1; all others get one. */
  readonly sample: number;
  /** True when only requests that failed get lines: the log's level is above info. */
  readonly isOfFailures: boolean;
}

/** Writes one line for each request when its answer is out, as the logger would have written it. */
export class AccessLog {
  private readonly line = new RequestLine();
  private second = -1;
  private prefix = "";

  constructor(
    private readonly write: (line: string) => void,
    private readonly deps: AccessLogDeps,
  ) {}

  /** Writes a request's line. `latency`: milliseconds from the head's arrival to the answer's last byte. */
  note(exchange: Exchange<Arrival>, latency: number): void {
    const { sample, random, isOfFailures } = this.deps;
    const isFailure = exchange.status >= 500;
    if (isOfFailures && !isFailure) return;
    if (sample < 1 && exchange.status < 400 && random() >= sample) return;
    const now = Math.floor(this.deps.clock.wall());
    this.write(
      `${isFailure ? '{"level":"error","time":"' : '{"level":"info","time":"'}${this.upToSecond(now)}${thousandths(now)}Z",${this.line.fields(exchange, latency)},"msg":"request"}\n`,
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
}

const thousandths = (now: number): string => String(now % 1000).padStart(3, "0");
