import type { ArrivingBody } from "../http/body.ts";
import { clientIp } from "../http/client-ip.ts";
import type { RequestHead } from "../http/head.ts";
import type { OddPath } from "../http/path.ts";
import type { Problem } from "../http/problem.ts";
import type { Incoming } from "../http/server.ts";
import type { KeyEntry } from "../keys/registry.ts";
import type { Verdict } from "../limits/limiter.ts";
import type { CredentialUse } from "../pools/credential.ts";
import type { RouteMetrics } from "../telemetry/metrics.ts";
import type { Trace } from "../telemetry/trace.ts";
import type { Meter } from "../tokens/meter.ts";
import { letGo, type Prompt } from "../tokens/prompt.ts";
import type { Target } from "../upstreams/upstream.ts";
import type { Redactor } from "../values/redact.ts";
import type { Route } from "./route.ts";
import type { Snapshot } from "./snapshot.ts";

const SANE_REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** What has arrived of a request: all that is needed to send it on. */
export interface Arrival {
  readonly head: RequestHead;
  readonly body: ArrivingBody | null;
  /** The peer's address. */
  readonly ip: string;
  readonly isTls: boolean;
  readonly isAborted: boolean;
  onAbort: (() => void) | null;
  /** Passes an interim answer on; missing where nobody waits for one. */
  interim?(status: number, reason: string, head: string): void;
}

/** What requests are told apart by where they are counted. */
export interface Endpoint {
  readonly name: string;
  readonly path: string;
  /** What is counted of its requests. */
  readonly metrics: RouteMetrics;
}

/** One request on its way through, and all that is known about it. */
export class Exchange<A extends Arrival = Incoming> {
  /** The client's `X-Request-ID` when it is sane, else a UUIDv7. */
  readonly id: string;
  /** The caller's address: the peer's, or what trusted proxies say. */
  readonly ip: string;
  route: Route | null = null;
  /** What of Sluice itself it is for, where that is no route. */
  ownEndpoint: Endpoint | null = null;
  /** `null`: tracing is off, or its caller does not record. */
  trace: Trace | null = null;
  /** Sluice's own answer to a request that did not come through. */
  refusal: Problem | null = null;
  /** What went wrong with the backend, for the log alone. */
  trouble: string | null = null;
  /** The key that the caller showed and that was found good. */
  key: KeyEntry | null = null;
  /** The key that the caller showed and that was known, but is not good any more. */
  refusedKey: KeyEntry | null = null;
  /** The lower-case name of the field that carried the key. */
  keyField = "";
  /** The Authorization field holds a key of Sluice's, which is not forwarded. */
  dropsAuthorization = false;
  /** The query as it will be forwarded. */
  query: string;
  verdict: Verdict | null = null;
  /** The limits' header lines, ready for the response. */
  limitHead = "";
  /** The route's header lines for every answer: what its rules set, and CORS. */
  routeHead = "";
  target: Target | null = null;
  /** The target that counts this exchange as under way until it is released. */
  busy: Target | null = null;
  /** How often the request was sent. */
  attempts = 0;
  status = 0;
  /** The backend was, or would have been, asked. */
  isForwarded = false;
  /** Refused by a limit or a quota. */
  isLimited = false;
  /** The body as it is sent, where it was read beforehand. */
  prompt: Prompt | null = null;
  /** The key of a pool that it is sent with. */
  credential: CredentialUse | null = null;
  /** Reads what the response says it cost. */
  meter: Meter | null = null;
  /** What the cache had to do with it, and the header lines that say so. */
  cache: "hit" | "miss" | "stale" | "revalidated" | "bypass" | null = null;
  cacheHead = "";

  constructor(
    readonly incoming: A,
    /** The configuration that this request began with, and ends with. */
    readonly snapshot: Snapshot,
    /** As it is forwarded, with the route's prefix. */
    public path: string,
    query: string,
    /** `clock.now()` when the head had arrived. */
    readonly startedAt: number,
    /** `null`: backends can read the path in one way only. */
    readonly odd: OddPath | null = null,
  ) {
    this.query = query;
    const { fields } = incoming.head;
    this.id = requestId(fields.get("x-request-id"), snapshot.redactor);
    this.ip = clientIp(incoming.ip, fields.joined("x-forwarded-for"), snapshot.trustedProxies);
    if (snapshot.tracer !== null) this.trace = snapshot.tracer.begin(fields.joined("traceparent"));
  }

  /** The answer is out: its target has one exchange less under way, and what its credential was used for is known. */
  release(): void {
    if (this.busy !== null) this.busy.state.inFlight--;
    this.busy = null;
    this.credential?.settle();
    if (this.prompt !== null) letGo(this.prompt);
  }

  /** What the response said it cost; of a stream that said nothing, what has passed of it. `null` when there is nothing to go by. */
  get units(): number | null {
    const { meter } = this;
    // What is kept was paid for.
    if (meter === null) return this.cache === "hit" || this.cache === "stale" ? 0 : null;
    return meter.reported ?? (meter.passed === null ? null : meter.passed + (this.prompt?.input ?? 0));
  }

  /** The same request without a caller who waits for the answer: for what is fetched in the background. */
  detached(now: number): Exchange<Arrival> {
    const { head, ip, isTls } = this.incoming;
    // A HEAD may have named a range, which means nothing then.
    const fields = head.fields.without("range", "if-range");
    const arrival: Arrival = { head: { ...head, method: "GET", fields }, body: null, ip, isTls, isAborted: false, onAbort: null };
    const detached = new Exchange(arrival, this.snapshot, this.path, this.query, now, this.odd);
    detached.route = this.route;
    detached.key = this.key;
    detached.keyField = this.keyField;
    detached.dropsAuthorization = this.dropsAuthorization;
    detached.trace = this.trace?.detached() ?? null;
    return detached;
  }

  /** What routes are matched by. */
  get match(): string {
    return this.odd === null ? this.path : this.odd.match;
  }

  get endpoint(): Endpoint | null {
    return this.route ?? this.ownEndpoint;
  }

  /** Whose key the caller showed, good or not. */
  get holder(): KeyEntry | null {
    return this.key ?? this.refusedKey;
  }
}

/** The caller's id where it is sane; one that looks like a key would end up in logs. */
export const requestId = (given: string | null, redactor: Redactor): string =>
  given !== null && SANE_REQUEST_ID.test(given) && !redactor.isSecret(given) ? given : Bun.randomUUIDv7();
