import type { Target } from "../upstreams/upstream.ts";

/** Holds what a span says besides its name and times. */
export type Attributes = Record<string, string | number | boolean>;

/** Describes a part of a request's way. Times in milliseconds of the clock that never runs backwards. */
export interface Step {
  readonly name: string;
  /** True for an attempt at an upstream, which is a client's span; every other step is the gateway's own. */
  readonly isAttempt: boolean;
  readonly spanId: string;
  readonly startedAt: number;
  /** `null` while it is under way. */
  endedAt: number | null;
  readonly attributes: Attributes;
  isError: boolean;
}

/** Holds what a `traceparent` field says. */
export interface TraceContext {
  readonly traceId: string;
  readonly spanId: string;
  /** One byte; its lowest bit says that the caller records. */
  readonly flags: number;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const SAMPLED = 1;
/** Flags that this version knows: recorded, and a random id. Others must not be passed on. */
const KNOWN = 3;

/**
 * Reads a `traceparent` field; `null` when it is none (W3C Trace Context, section 3.2). A later version's is read as far as this one goes.
 */
export function parseTraceparent(text: string | null): TraceContext | null {
  const found = text === null ? null : TRACEPARENT.exec(text);
  if (found === null) return null;
  const [, version = "", traceId = "", spanId = "", flags = "", more] = found;
  if (version === "ff" || (version === "00" && more !== undefined)) return null;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null;
  return { traceId, spanId, flags: Number.parseInt(flags, 16) };
}

/** Records one request's trace: where it came from, and the steps that it took. */
export class Trace {
  /** The request's own span. */
  readonly spanId = randomHex(8);
  readonly steps: Step[] = [];
  private open: Step | null = null;

  constructor(
    readonly traceId: string,
    /** The caller's span, or `null` when the trace begins here. */
    readonly parentId: string | null,
    /** True when its steps are recorded and exported. Otherwise only its ids are passed on. */
    readonly isSampled: boolean,
    private readonly flags: number,
  ) {}

  /** Makes the trace of a request that is made in this one's wake and has no spans of its own. */
  detached(): Trace {
    return new Trace(this.traceId, this.spanId, false, 0);
  }

  /** Ends all steps: an attempt still under way was given up. */
  end(now: number): void {
    if (this.open?.isAttempt === true) this.answered(null, "aborted", now);
    else this.leave(now);
  }

  /** The `traceparent` field of a request that is sent now. */
  get header(): string {
    const spanId = this.open?.isAttempt === true ? this.open.spanId : this.spanId;
    return `00-${this.traceId}-${spanId}-${this.flags.toString(16).padStart(2, "0")}`;
  }

  /** Begins a step of this name; one that is under way ends. */
  enter(name: string, now: number): void {
    if (this.isSampled) this.begin(name, false, now, {});
  }

  /** Ends the step under way. */
  leave(now: number, attributes: Attributes = {}): void {
    const { open } = this;
    if (open === null) return;
    open.endedAt = now;
    Object.assign(open.attributes, attributes);
    this.open = null;
  }

  /** Ends the step under way, which has failed. `failure`: a short word for how. */
  fail(now: number, failure: string, attributes: Attributes): void {
    if (this.open !== null) this.open.isError = true;
    this.leave(now, { ...attributes, "error.type": failure });
  }

  /** Begins the step of the `attempt`th attempt: the request is sent to a target. */
  sends(upstream: string, { url, host }: Target, attempt: number, method: string, now: number): void {
    if (!this.isSampled) return;
    const [, name = host, port] = /^(.*?)(?::(\d+))?$/.exec(host) ?? [];
    const socket = /^unix:([^:]+)/.exec(url)?.[1];
    this.begin(`${method} ${upstream}`, true, now, {
      "http.request.method": method,
      // Of a Unix socket its path, without a port (OpenTelemetry's conventions for server.address).
      "server.address": socket ?? name,
      ...(socket === undefined ? { "server.port": port === undefined ? (url.startsWith("https:") ? 443 : 80) : Number(port) } : {}),
      "sluice.upstream": upstream,
      ...(attempt > 1 ? { "http.request.resend_count": attempt - 1 } : {}),
    });
  }

  /** Ends the attempt under way: it has its answer's head, or has failed. `failure`: a short word for how. */
  answered(status: number | null, failure: string | null, now: number): void {
    const { open } = this;
    if (open === null) return;
    if (status !== null) open.attributes["http.response.status_code"] = status;
    // OpenTelemetry's conventions: for a client every 4xx and 5xx is an error.
    if (failure !== null || (status !== null && status >= 400)) {
      open.attributes["error.type"] = failure ?? String(status);
      open.isError = true;
    }
    this.leave(now);
  }

  private begin(name: string, isAttempt: boolean, now: number, attributes: Attributes): void {
    this.leave(now);
    this.open = { name, isAttempt, spanId: randomHex(8), startedAt: now, endedAt: null, attributes, isError: false };
    this.steps.push(this.open);
  }
}

export interface TracerDeps {
  /** The share of requests that are traced whose caller has not decided already, 0 to 1. */
  readonly sample: number;
  /** Gives random numbers from 0 up to 1. */
  readonly random: () => number;
}

/** Decides which requests are traced. */
export class Tracer {
  constructor(private readonly deps: TracerDeps) {}

  /**
   * Begins the trace of a request with this `traceparent` field. `null`: its caller does not record, and the field is passed on as it came.
   */
  begin(traceparent: string | null): Trace | null {
    const parent = parseTraceparent(traceparent);
    if (parent !== null)
      return (parent.flags & SAMPLED) === 0 ? null : new Trace(parent.traceId, parent.spanId, true, parent.flags & KNOWN);
    const isSampled = this.deps.random() < this.deps.sample;
    return new Trace(randomHex(16), null, isSampled, isSampled ? SAMPLED : 0);
  }
}

const POOL = Buffer.alloc(4096);
let used = POOL.length;

/** Gives random bytes as hexadecimal digits, from a supply: the system is asked for many at once. */
function randomHex(bytes: number): string {
  if (used + bytes > POOL.length) {
    crypto.getRandomValues(POOL);
    used = 0;
  }
  used += bytes;
  return POOL.toString("hex", used - bytes, used);
}
