import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { interimHead, requestHead } from "../exchange/headers.ts";
import type { Route } from "../exchange/route.ts";
import { type Body, collect, WholeBody } from "../http/body.ts";
import { callerLeft, type Reuse, type UpstreamFailure, type UpstreamRequest } from "../http/client.ts";
import { isIdempotent } from "../http/methods.ts";
import { MAX_KEPT, ReplayBody } from "../http/replay-body.ts";
import type { KeepsTrailer } from "../http/trailers.ts";
import { hashOf } from "./balancer.ts";
import { forwardedPath } from "./forwarded-path.ts";
import type { Turn } from "./forwarder.ts";
import type { Target, Upstream } from "./upstream.ts";

const NONE: readonly Target[] = [];

/** Holds what is the same for all attempts of one request, worked out once, and which targets have failed it. */
export class Sending {
  /** `clock.now()` by which a response must have begun. */
  readonly deadline: number;
  readonly body: Body | null;
  /** Of what the caller is told apart by; 0 where the upstream's balance does not ask. */
  readonly hash: number;
  /** The targets that have failed it. */
  tried = NONE;
  /** Milliseconds that a call of gRPC may take, as its caller has said; `null`: any. */
  private readonly callTimeout: number | null;
  private readonly isChunked: boolean;
  private readonly onInterim: UpstreamRequest["onInterim"];
  /** The kept connection that it took had been closed: the next one is new. */
  private wasStale = false;
  /** How often another key of the pool was taken for one that the upstream limits: these are no retries. */
  keyChanges = 0;

  /** Takes `conditions`: header lines in place of the caller's own conditions; `null` leaves those. `gathered`: the body, where it was waited for. `now`: as of `clock.now()`. `turn`: it is one of several attempts. */
  constructor(
    readonly exchange: Exchange<Arrival>,
    readonly route: Route,
    readonly upstream: Upstream,
    private readonly conditions: string | null,
    gathered: Body | null,
    now: number,
    readonly turn: Turn | null = null,
  ) {
    const { prompt, incoming } = exchange;
    this.callTimeout = exchange.grpc?.timeout ?? null;
    const callEnds = this.callTimeout === null ? Number.POSITIVE_INFINITY : exchange.startedAt + this.callTimeout;
    this.deadline = Math.min(now + (turn?.within ?? route.timeout), callEnds);
    this.body = gathered ?? (prompt === null ? bodyOf(exchange, route.retry !== null && route.retry.attempts > 1) : prompt.body);
    this.isChunked = prompt === null ? incoming.head.framing === "chunked" || exchange.grpc !== null : prompt.length < 0;
    this.hash = upstream.hashOn === null ? 0 : hashOf(subjectOf(exchange, upstream));
    this.onInterim = incoming.interim === undefined ? null : interimFor(exchange, route);
  }

  /** Makes the request for a target at which an attempt has begun. `now`: as of `clock.now()`. */
  requestTo(target: Target, now: number): UpstreamRequest {
    const { exchange, route, upstream, body } = this;
    const { method, upgrade } = exchange.incoming.head;
    const left = this.deadline - now;
    return {
      method,
      head: requestHead(exchange, route, target, forwardedPath(exchange, route, target), this.conditions),
      body,
      chunked: this.isChunked,
      upgrade: upgrade === "websocket",
      connectTimeout: Math.min(upstream.connectTimeout, left),
      timeout: this.turn === null ? Math.min(route.retry?.attemptTimeout ?? left, left) : left,
      deadline: this.callLeft(now),
      // A call may be silent for as long as its caller likes.
      bodyTimeout: exchange.grpc === null ? route.timeout : Number.POSITIVE_INFINITY,
      reuse: this.wasStale ? "new" : target.origin.http2 === true ? "any" : reuseOf(method, body, target),
      onInterim: this.onInterim,
      keepsTrailer: this.isChunked ? trailersFor(exchange, route) : null,
    };
  }

  /** Gives the milliseconds that a call of gRPC may still take; `null`: any. `now`: as of `clock.now()`. */
  callLeft(now: number): number | null {
    return this.callTimeout === null ? null : Math.max(0, this.exchange.startedAt + this.callTimeout - now);
  }

  /** Tells whether the request can be sent again, as far as its body goes. */
  get isRepeatable(): boolean {
    return isRepeatable(this.body);
  }

  /** Takes back an attempt that was none, since its connection had been closed while it was idle: the next one makes a new connection. False where it is a failure like any other. */
  takesNewConnection({ isStale, isUnprocessed }: UpstreamFailure): boolean {
    const { exchange } = this;
    // A new connection can't be stale, so this ends.
    if (!isStale || exchange.isOver || !this.isRepeatable) return false;
    if (!isUnprocessed && !isIdempotent(exchange.incoming.head.method)) return false;
    this.wasStale = true;
    exchange.attempts--;
    return true;
  }
}

/** Tells whether a body can be sent again, whatever was sent of it. */
export const isRepeatable = (body: Body | null): boolean =>
  body === null || body instanceof WholeBody || (body instanceof ReplayBody && body.isKept);

/** A body of at most this many bytes is waited for before a connection to the backend is taken, where it did not come with the head: slow callers hold up none. */
const MAX_GATHERED = 16_384;

/** Tells whether the body is waited for, since it is small and was not sent with the head. */
export function isSmallAndOnItsWay({ held, incoming: { body, head } }: Exchange<Arrival>): boolean {
  return held === null && body !== null && head.framing === "length" && head.contentLength <= MAX_GATHERED && !body.isComplete;
}

/** Waits for a small body. Rejects when it breaks off, or its caller leaves. */
export async function gather(exchange: Exchange<Arrival>): Promise<Body | null> {
  const { body } = exchange.incoming;
  if (body === null) return null;
  const bytes = await collect(body, MAX_GATHERED);
  if (exchange.isOver) throw callerLeft();
  return new WholeBody(bytes);
}

/** Gives the request's body, in a form that can be sent again where it is small enough. */
function bodyOf(exchange: Exchange<Arrival>, mayRetry: boolean): Body | null {
  const { body } = exchange;
  if (body === null || !mayRetry || body instanceof WholeBody) return body;
  return exchange.incoming.head.contentLength > MAX_KEPT ? body : new ReplayBody(body);
}

/**
 * Tells which connection a request may go by. What can be sent again takes any; of the rest, what is large takes a new one, for which it makes up, and the others one of which the kernel
 * knows no close. Over TLS a new connection costs too much for that.
 */
function reuseOf(method: string, body: Body | null, { origin }: Target): Reuse {
  if (isIdempotent(method) && isRepeatable(body) && (body === null || body.length >= 0)) return "any";
  return body !== null && body.length > MAX_KEPT && !origin.tls ? "new" : "checked";
}

/** Passes a target's interim answers on to the caller, with the fields that a full answer would have from it. */
const interimFor =
  (exchange: Exchange<Arrival>, route: Route): NonNullable<UpstreamRequest["onInterim"]> =>
  (status, reason, fields, connection) =>
    exchange.incoming.interim?.(status, reason, interimHead(route, fields, connection));

/** Tells which trailers of a request go on: what would go on as a field of its head, whoever sent it, and no key. */
function trailersFor(exchange: Exchange<Arrival>, { requestNames }: Route): KeepsTrailer {
  const { header } = exchange.snapshot.identity;
  return (lower) => lower !== header && requestNames.of(lower) === "always";
}

/** Gives what a consistent hash is made of. */
function subjectOf(exchange: Exchange<Arrival>, { hashOn }: Upstream): string {
  if (hashOn?.kind === "header") return exchange.incoming.head.fields.joined(hashOn.name) ?? exchange.ip;
  return hashOn?.kind === "key" && exchange.caller.via !== "none" ? exchange.caller.id : exchange.ip;
}
