import { CellBook } from "../shared/cell-book.ts";
import type { Exemplar } from "./merging.ts";
import type { Counter } from "./metrics.ts";
import type { Trace } from "./trace.ts";

/** Upper bounds of latencies in milliseconds. */
export const BUCKETS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000];
/** Methods that have a label of their own: a caller may send any word. */
export const METHODS: readonly string[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
const OTHER = METHODS.length;
export const STATUSES = 600;

/** The first parts of the keys of cells; the rest are the labels' values. */
export const REQUESTS = "http_requests_total";
export const LATENCY = "http_request_latency_ms";
/** The cells of a route's latency: requests by latency, each in the first bucket that holds it; the rest; their sum; 1 for callers' requests. */
export const SUM = BUCKETS.length + 1;
export const IS_TRAFFIC = SUM + 1;
const LATENCY_CELLS = IS_TRAFFIC + 1;

/** Counts one route's requests: numbers in arrays, so that a request costs three additions and no look-up of labels. */
export class RouteMetrics {
  /** Requests by method and status. */
  private readonly requests = new Map<number, Float64Array>();
  private readonly latency: Float64Array;
  /** The last traced request of each bucket. */
  readonly exemplars: (Exemplar | undefined)[] = [];

  constructor(
    readonly route: string,
    private readonly book: CellBook = new CellBook(null),
    private readonly closedWebSockets: Counter | null = null,
  ) {
    this.latency = book.of(JSON.stringify([LATENCY, route]), LATENCY_CELLS);
  }

  /** Says that callers' requests are counted here, which are another number than those of probes and scrapers. */
  isOfTraffic(): void {
    this.latency[IS_TRAFFIC] = 1;
  }

  /** Tells a count of 0 for this method and status until there are requests: a counter that begins at 1 shows Prometheus no increase. */
  expect(method: string, status: number): void {
    this.begin(METHODS.indexOf(method), status);
  }

  /** Counts one request that has ended. `latency` in milliseconds. */
  observe(method: string, status: number, latency: number, trace: Trace | null): void {
    const found = METHODS.indexOf(method);
    const at = found < 0 ? OTHER : found;
    const requests = this.requests.get(at * STATUSES + status) ?? this.begin(at, status);
    (requests[0] as number)++;
    // A connection that has left HTTP lasts as long as it likes.
    if (status === 101) return;
    let bucket = 0;
    while (bucket < BUCKETS.length && latency > (BUCKETS[bucket] as number)) bucket++;
    (this.latency[bucket] as number)++;
    (this.latency[SUM] as number) += latency;
    if (trace?.isSampled === true)
      this.exemplars[bucket] = { labelSet: { trace_id: trace.traceId }, value: latency, timestamp: Date.now() / 1000 };
  }

  /** Counts a WebSocket that was closed since its caller went beyond the route's bounds. `code`: that of the Close frame. */
  closedWebSocket(code: number): void {
    this.closedWebSockets?.add({ route: this.route, code: String(code) });
  }

  private begin(at: number, status: number): Float64Array {
    const cells = this.book.of(JSON.stringify([REQUESTS, this.route, METHODS[at] ?? "other", String(status)]), 1);
    this.requests.set(at * STATUSES + status, cells);
    return cells;
  }
}
