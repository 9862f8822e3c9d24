import type { GrpcCall } from "../grpc/call.ts";
import { type GrpcStatus, httpStatusOf } from "../grpc/status.ts";
import type { ArrivingBody, Body } from "../http/body.ts";
import type { JudgedCertificate, ShownCertificate } from "../http/client-certificate.ts";
import { clientIp } from "../http/client-ip.ts";
import type { Fields } from "../http/fields.ts";
import type { RequestHead } from "../http/head.ts";
import type { Incoming } from "../http/incoming.ts";
import type { OddPath } from "../http/path.ts";
import type { Problem } from "../http/problem.ts";
import type { RpcCall } from "../mcp/gate.ts";
import type { Visits } from "../plugins/visit.ts";
import type { CredentialUse } from "../pools/credential.ts";
import type { ModelSpending } from "../prices/spending.ts";
import type { Trace } from "../telemetry/trace.ts";
import type { Meter } from "../tokens/meter.ts";
import type { Prompt } from "../tokens/prompt.ts";
import type { Target } from "../upstreams/upstream.ts";
import type { Redactor } from "../values/redact.ts";
import { ANONYMOUS, type Caller } from "./caller.ts";
import type { Route } from "./route.ts";
import type { Snapshot } from "./snapshot.ts";

const SANE_REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** Holds everything that has arrived of a request and is needed to send it on. */
export interface Arrival {
  readonly head: RequestHead;
  readonly body: ArrivingBody | null;
  /** The peer's address: its connection's own, or the one that its balancer's PROXY line says; `UNIX_PEER` on a Unix socket. */
  readonly ip: string;
  /** True when a PROXY line stood before the connection: then a balancer has made it. */
  readonly hasProxyLine: boolean;
  readonly isTls: boolean;
  /** The certificate that the client has shown in the handshake; left out or `null`: none, or there was none to show. */
  readonly certificate?: ShownCertificate | JudgedCertificate | null;
  readonly isAborted: boolean;
  /** True when another proxy has the request, and asks about it without its body. */
  readonly isDescribed?: true;
  onAbort: (() => void) | null;
  /** Passes an interim answer on; missing where nobody waits for one. */
  interim?(status: number, reason: string, head: string): void;
}

/** Holds what the log, traces, metrics and events tell of an exchange. Nobody decides by it. */
export class Notes {
  /** Sluice's own answer to a request that did not come through. */
  refusal: Problem | null = null;
  /** The trouble with the backend, or with the service that was asked, for the log alone. */
  trouble: string | null = null;
  /** How the service that was asked whether the request may pass stopped it, or did not decide; `null`: it let it pass, or none was asked. */
  authorize: "refused" | "failed" | null = null;
  /** The caller whose key was shown and is known, but refused. */
  refusedCaller: Caller | null = null;
  /** The cache's part in the answer; `null`: none. */
  cache: "hit" | "miss" | "stale" | "revalidated" | "bypass" | null = null;
  /** True when the backend was asked, or would have been. */
  isForwarded = false;
  /** True when a limit or a quota refused the request. */
  isLimited = false;
  /** The tool that a message of the Model Context Protocol means to call, whether it may or not; `null`: none. */
  tool: string | null = null;
  /** The status that a call of gRPC ended with; `null`: it has none yet, or is no such call. */
  grpcStatus: GrpcStatus | null = null;
}

/** Listens to the gates of a request that is only asked about: each tells its findings. */
export interface Asker {
  /** Takes one finding. `passed`: `null` where that can't be said. */
  tell(step: string, detail: string, passed: boolean | null): void;
}

/** Holds one request on its way through: what is known and decided of it. */
export class Exchange<A extends Arrival = Incoming> {
  /** The client's `X-Request-ID` when it is sane, else a UUIDv7. */
  readonly id: string;
  /** The caller's address: the peer's, or the one that trusted proxies name; "" where a proxy asks about a request and names none. */
  readonly ip: string;
  /** The snapshot's `miss` until a route takes the request. */
  route: Route;
  /** The trace; `null`: tracing is off, or the caller does not record. */
  trace: Trace | null = null;
  /** The caller, who is somebody or `ANONYMOUS`. */
  caller: Caller = ANONYMOUS;
  /** The secret of Sluice's own key that says who calls: of a key that was rotated lately there are two. "": something else does. */
  secret = "";
  /** The lower-case name of the field that carried the caller's credential; "" where none did. */
  carriedIn = "";
  /** True when the Authorization field holds a key of Sluice's, which is not forwarded. */
  dropsAuthorization = false;
  /** The address that a proxy names as its caller without being trusted; `null`: there is no such proxy. */
  hiddenCaller: string | null = null;
  /** What the request takes from each limit; `null`: the route's cost. */
  cost: number | null = null;
  /** What limits may count it by besides what it shows; `null`: nothing. */
  tags: Readonly<Record<string, string>> | null = null;
  /** Fields for the backend that the service has given which was asked whether the request may pass; `null`: none was asked, or gave any. */
  granted: Fields | null = null;
  /** Milliseconds for which the guard blocks the address; a credential may pass all the same. */
  blockedFor = 0;
  /** The limits' header lines, ready for the response. */
  limitHead = "";
  /** The route's header lines for every answer: those of its rules, and CORS. */
  routeHead = "";
  /** The header lines that tell which model has answered, and what that cost. */
  modelHead = "";
  /** The header lines that tell the cache's part in the answer. */
  cacheHead = "";
  target: Target | null = null;
  /** The number of times that the request was sent. */
  attempts = 0;
  /** The answer's status; 0 while there is none. */
  status = 0;
  /** The body in the place of the one that arrives, where it was read beforehand: the same bytes. */
  held: Body | null = null;
  /** What is known of a call of gRPC; `null`: the request is none, or its route's backends speak HTTP/1.1. */
  grpc: GrpcCall | null = null;
  /** The body as it is sent, where it was read for what it costs. */
  prompt: Prompt | null = null;
  /** What plug-ins keep of the request; `null`: its route has none. */
  visits: Visits | null = null;
  /** The key of a pool that the request is sent with. */
  credential: CredentialUse | null = null;
  /** Reads from the response how much it cost. */
  meter: Meter | null = null;
  /** The units of attempts by other models, which were given up; `null`: none has told, or shown, any. */
  lostUnits: number | null = null;
  /** The model that the caller names; `null`: none was read. */
  model: string | null = null;
  /** The model that answers, as its upstream calls it; `null`: none was asked. */
  modelUsed: string | null = null;
  /** The tool that the caller calls by the Model Context Protocol, and may call; `null`: none. */
  tool: string | null = null;
  /** What is known of the message that it brings by the Model Context Protocol; `null`: none was read. */
  rpc: RpcCall | null = null;
  /** What the call costs in money; `null`: it is no call of a model, or nothing is priced. */
  spending: ModelSpending | null = null;
  /**
   * Hears what would become of a request that is only asked about: gates tell it, and charge, count and change nothing. `null`: the request
   * is meant.
   */
  readonly asker: Asker | null;
  readonly notes = new Notes();
  private endings: (() => void)[] | null = null;
  private hasEnded = false;

  constructor(
    readonly incoming: A,
    /** The configuration that this request began with, and ends with. */
    readonly snapshot: Snapshot,
    /** The path as it is forwarded, with the route's prefix. */
    public path: string,
    /** The query as it is forwarded. */
    public query: string,
    /** The `clock.now()` when the head had arrived. */
    readonly startedAt: number,
    /** The path's other readings; `null`: backends can read it in one way only. */
    readonly odd: OddPath | null = null,
    asker: Asker | null = null,
  ) {
    const { fields } = incoming.head;
    this.id = requestId(fields.get("x-request-id"), snapshot.redactor);
    this.ip = clientIp(incoming.ip, fields.joined("x-forwarded-for"), snapshot.trustedProxies);
    this.route = snapshot.miss;
    this.asker = asker;
    if (snapshot.tracer !== null && asker === null) this.trace = snapshot.tracer.begin(fields.joined("traceparent"));
  }

  /**
   * Registers work for the moment when the answer is out, or its caller gone: last in, first out. Does it at once where that is so already.
   */
  onEnded(work: () => void): void {
    if (this.hasEnded) work();
    else if (this.endings === null) this.endings = [work];
    else this.endings.push(work);
  }

  /** Does the work that was registered by `onEnded`, once. */
  end(): void {
    this.hasEnded = true;
    this.endSince(0);
  }

  /** Notes the status that a call of gRPC ends with: it counts as the HTTP status that stands for it. */
  endedWith(status: GrpcStatus): void {
    this.notes.grpcStatus = status;
    if (this.status === 200) this.status = httpStatusOf(status);
  }

  /** The request's body, for whoever reads it next; `null`: there is none. */
  get body(): Body | null {
    return this.held ?? this.incoming.body;
  }

  /** How much is registered by `onEnded` now: what `endSince` takes. */
  get pendingEndings(): number {
    return this.endings?.length ?? 0;
  }

  /** Does early, once, what was registered after `pendingEndings` was `since`: what it was for is given up, and the exchange goes on. */
  endSince(since: number): void {
    const { endings } = this;
    if (endings !== null) while (endings.length > since) endings.pop()?.();
  }

  /** True when the request can't be answered any more: the caller has left, or has an answer. */
  get isOver(): boolean {
    return this.hasEnded || this.incoming.isAborted;
  }

  /**
   * The units that the response said it cost; of a stream that said nothing, those that have passed. `null` when there is nothing to go by.
   */
  get units(): number | null {
    const { meter, lostUnits } = this;
    // What is kept was paid for.
    if (meter === null) return this.notes.cache === "hit" || this.notes.cache === "stale" ? 0 : lostUnits;
    const units = meter.reported ?? (meter.passed === null ? null : meter.passed + (this.prompt?.input ?? 0));
    return lostUnits === null ? units : (units ?? 0) + lostUnits;
  }

  /** The model that is told of the call: the one that answered, else the one that the caller names; "": none. */
  get calledModel(): string {
    return this.modelUsed ?? this.model ?? "";
  }

  /** The nano-dollars that the call has cost; where nobody has said, those that were reserved for it. */
  get money(): number {
    const { spending } = this;
    return spending === null ? 0 : (spending.cost() ?? spending.reserve ?? 0);
  }

  /**
   * Gives the same request without a caller who waits for the answer, for responses that are fetched in the background. Whoever makes it
   * ends it.
   */
  detached(now: number): Exchange<Arrival> {
    const { head, ip, hasProxyLine, isTls } = this.incoming;
    // A HEAD may have named a range, which means nothing then.
    const fields = head.fields.without("range", "if-range");
    const arrival: Arrival = {
      head: { ...head, method: "GET", fields },
      body: null,
      ip,
      hasProxyLine,
      isTls,
      isAborted: false,
      onAbort: null,
    };
    const detached = new Exchange(arrival, this.snapshot, this.path, this.query, now, this.odd);
    detached.route = this.route;
    detached.caller = this.caller;
    detached.carriedIn = this.carriedIn;
    detached.dropsAuthorization = this.dropsAuthorization;
    detached.cost = this.cost;
    detached.tags = this.tags;
    detached.granted = this.granted;
    detached.trace = this.trace?.detached() ?? null;
    return detached;
  }

  /** The path that routes are matched by. */
  get match(): string {
    return this.odd === null ? this.path : this.odd.match;
  }

  /** The caller whose key was shown and is known, good or not. */
  get holder(): Caller {
    return this.notes.refusedCaller ?? this.caller;
  }
}

/** Gives the caller's id where it is sane, else a UUIDv7; one that looks like a key would end up in logs. */
export const requestId = (given: string | null, redactor: Redactor): string =>
  given !== null && SANE_REQUEST_ID.test(given) && !redactor.isSecret(given) ? given : Bun.randomUUIDv7();
