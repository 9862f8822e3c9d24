import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { interimHead, requestHead } from "../exchange/headers.ts";
import type { Route } from "../exchange/route.ts";
import { prefixOf } from "../exchange/router.ts";
import { type Body, collect, WholeBody } from "../http/body.ts";
import { callerLeft, discard, type Reuse, type UpstreamClient, UpstreamFailure, type UpstreamResponse } from "../http/client.ts";
import type { Fields } from "../http/fields.ts";
import { isIdempotent } from "../http/methods.ts";
import { below } from "../http/path.ts";
import { MAX_KEPT, ReplayBody } from "../http/replay-body.ts";
import { retryAfterOf } from "../http/retry-after.ts";
import { CredentialRefused, CredentialUse, credentialLine, PoolExhausted } from "../pools/credential.ts";
import type { PoolKey } from "../pools/pool.ts";
import { isDoubtful, type Pools } from "../pools/pools.ts";
import { spanMethod } from "../telemetry/spans.ts";
import { metered, meterOf } from "../tokens/meter.ts";
import { letGo, readPrompt } from "../tokens/prompt.ts";
import type { Clock } from "../values/clock.ts";
import { isJsonType } from "../values/json.ts";
import { hashOf } from "./balancer.ts";
import { isRetryable, retryDelay } from "./retry.ts";
import type { FailedOutcome, Target, Unavailable, Upstream } from "./upstream.ts";

export interface ForwarderDeps {
  readonly clock: Clock;
  readonly client: UpstreamClient;
  readonly pools: Pools;
  /** Numbers from 0 up to 1. */
  readonly random: () => number;
  /** Tells of an error that nobody waits for. */
  readonly onFault: (error: unknown) => void;
  /** An attempt failed: by its answer's status, or without one. */
  readonly onFailed: (requestId: string, upstream: string, target: Target, attempt: number, why: number | UpstreamFailure) => void;
}

/** No target can take the request now. */
export class NoTarget extends Error {
  constructor(readonly why: Unavailable) {
    super("no target is available");
  }
}

const NONE: readonly Target[] = [];
/** The longest wait before the only target is asked again after it could not be reached for the first time, in milliseconds. */
const SOON = 100;
/** How long the upstream may take to say whether it takes a key, in milliseconds. */
const PROBE_TIMEOUT = 5000;

/** Sends a request to one of an upstream's targets, and again to another where that is allowed and may help. */
export class Forwarder {
  constructor(private readonly deps: ForwarderDeps) {}

  /**
   * The upstream's answer. Its target counts as busy, and its credential's cost as reserved, until `x` releases it. Rejects with `UpstreamFailure` when the last attempt got none,
   * with `NoTarget` when there was nobody to ask, with `PoolExhausted` and `PoolMissing` when there was no credential.
   * `conditions`: the fields that stand in place of the caller's own conditions; `null` leaves those.
   */
  async send(exchange: Exchange<Arrival>, route: Route, upstream: Upstream, conditions: string | null = null): Promise<UpstreamResponse> {
    const { clock } = this.deps;
    const { retry } = route;
    exchange.onEnded(() => exchange.release());
    if (route.usage !== null || route.credential !== null) await this.prepare(exchange, route);
    // Not before the body is there: how slowly the caller sends it says nothing of the backend.
    const small = exchange.prompt === null && isSmallAndOnItsWay(exchange) ? await gather(exchange) : null;
    const deadline = clock.now() + route.timeout;
    const body = small ?? (exchange.prompt === null ? bodyOf(exchange, retry !== null && retry.attempts > 1) : exchange.prompt.body);
    const hash = upstream.hashOn === null ? 0 : hashOf(subjectOf(exchange, upstream));
    route.budget.earn();
    const { method } = exchange.incoming.head;
    const isChunked = exchange.prompt === null ? exchange.incoming.head.framing === "chunked" : exchange.prompt.length < 0;
    const onInterim = exchange.incoming.interim === undefined ? null : interimFor(exchange, route);
    let wasStale = false;
    let tried = NONE;
    for (;;) {
      const target = upstream.choose(hash, tried);
      if (target === null) throw new NoTarget(upstream.whyNot());
      const left = deadline - clock.now();
      exchange.target = target;
      exchange.attempts++;
      const ticket = upstream.begin(target);
      exchange.trace?.sends(upstream.name, target, exchange.attempts, spanMethod(exchange.incoming.head.method), clock.now());
      let failure: UpstreamFailure | null = null;
      let response: UpstreamResponse | null = null;
      const call = this.deps.client.send(target.origin, {
        method: exchange.incoming.head.method,
        head: requestHead(exchange, route, target, forwardedPath(exchange, route, target), conditions),
        body,
        chunked: isChunked,
        upgrade: exchange.incoming.head.upgrade === "websocket",
        connectTimeout: Math.min(upstream.connectTimeout, left),
        timeout: Math.min(retry?.attemptTimeout ?? left, left),
        bodyTimeout: route.timeout,
        reuse: wasStale ? "new" : reuseOf(method, body, target),
        onInterim,
        keepsTrailer: isChunked ? trailersFor(exchange, route) : null,
      });
      exchange.credential?.sent(call);
      exchange.incoming.onAbort = () => call.abort();
      if (exchange.incoming.isAborted) call.abort();
      try {
        response = await call.response;
      } catch (error) {
        if (!(error instanceof UpstreamFailure)) {
          target.state.inFlight--;
          upstream.withdrawn(target, ticket);
          throw error;
        }
        failure = error;
        exchange.trace?.answered(null, error.isStale ? "stale" : error.kind, clock.now());
        if (!error.wasSent || error.isStale) exchange.credential?.unsent();
      }
      const isRefusal = response !== null && exchange.credential?.answered(response) === true;
      if (response !== null) {
        exchange.trace?.answered(response.status, null, clock.now());
        const { status } = response;
        if (upstream.isFailing(status)) upstream.failed(target, ticket, status);
        else upstream.succeeded(target, ticket);
        if (status < 500) {
          exchange.busy = target;
          if (!isRefusal || !(await this.takesAnotherKey(exchange, route, upstream, target, body, response, deadline)))
            return this.measured(exchange, route, response);
          exchange.busy = null;
          target.state.inFlight--;
          discard(response);
          continue;
        }
        this.deps.onFailed(exchange.id, upstream.name, target, exchange.attempts, status);
      } else {
        target.state.inFlight--;
        if (failure !== null) this.deps.onFailed(exchange.id, upstream.name, target, exchange.attempts, failure);
        const outcome = failure === null || failure.isStale ? null : outcomeOf(failure);
        if (outcome === null) upstream.withdrawn(target, ticket);
        else upstream.failed(target, ticket, outcome);
        // The connection was closed while it was idle: that was no attempt. A new one takes its place, so this ends.
        if (failure?.isStale && !exchange.incoming.isAborted && isIdempotent(method) && isRepeatable(body)) {
          wasStale = true;
          exchange.attempts--;
          continue;
        }
      }

      tried = [...tried, target];
      const wait =
        retry === null || exchange.attempts >= retry.attempts
          ? null
          : this.waitBefore(exchange, route, upstream, tried, body, failure, response);
      if (wait === null || clock.now() + wait >= deadline || exchange.incoming.isAborted || !upstream.hasTarget || !route.budget.spend()) {
        if (response !== null) {
          exchange.busy = target;
          return this.measured(exchange, route, response);
        }
        // What ran out was the time for all of it, whatever the last attempt was at.
        if (failure?.kind === "connect" && clock.now() >= deadline) throw new UpstreamFailure("timeout", failure.message, false);
        throw failure;
      }
      if (response !== null) {
        target.state.inFlight--;
        discard(response);
      }
      if (wait > 0) await pause(exchange, upstream, wait);
      if (exchange.incoming.isAborted) throw callerLeft();
    }
  }

  /** Reads what the request will cost, and takes a credential for it. */
  private async prepare(exchange: Exchange<Arrival>, route: Route): Promise<void> {
    const { head, body } = exchange.incoming;
    const length = head.framing === "chunked" ? -1 : head.contentLength;
    exchange.prompt = await readPrompt(body, length, isJsonType(head.fields.mediaType), mayAskForUsage(exchange, route));
    // The exchange is over and settled: nothing may be taken for it any more.
    if (exchange.incoming.isAborted) {
      letGo(exchange.prompt);
      throw callerLeft();
    }
    if (route.credential === null) return;
    const use = await CredentialUse.begin(
      this.deps,
      exchange,
      route.name,
      route.credential,
      exchange.prompt,
      isRepeatable(exchange.prompt.body),
    );
    // The caller left while Redis was asked: the exchange is recorded already.
    if (exchange.incoming.isAborted) {
      use.settle();
      throw callerLeft();
    }
    exchange.credential = use;
  }

  /**
   * True when the request goes out again with another key than the one that the upstream refused: within the route's retries, but at once, and whatever its method, for a
   * request that was refused has done nothing. False when the answer is for the caller; throws `PoolExhausted` when that would tell the caller of keys that are not the caller's.
   */
  private async takesAnotherKey(
    exchange: Exchange<Arrival>,
    route: Route,
    upstream: Upstream,
    target: Target,
    body: Body | null,
    response: UpstreamResponse,
    deadline: number,
  ): Promise<boolean> {
    const use = exchange.credential;
    if (use === null) return false;
    const mayRepeat =
      route.retry !== null &&
      exchange.attempts < route.retry.attempts &&
      this.deps.clock.now() < deadline &&
      !exchange.incoming.isAborted &&
      isRepeatable(body) &&
      route.budget.spend();
    const ask = (key: PoolKey) => this.statusOf(exchange, route, upstream, target, key);
    try {
      const isNext =
        mayRepeat &&
        (await use.next().catch((error: unknown) => {
          if (error instanceof PoolExhausted) return null;
          throw error;
        }));
      if (isNext === true) {
        if (!exchange.incoming.isAborted) return true;
        use.settle();
        throw callerLeft();
      }
      if (mayRepeat && isNext === false && isDoubtful(response.status)) {
        use.repeated(ask, this.deps.onFault);
        // 403 is for the caller to read. What 401 and 402 say names the key, or the account.
        if (response.status === 403) return false;
        exchange.notes.trouble = `the upstream refused the request with two keys: ${response.status}`;
        throw new CredentialRefused(exchange.notes.trouble);
      }
      if (!(await use.confirmed(ask))) {
        exchange.notes.trouble = `the upstream refused the request, and is not known to refuse the key: ${response.status}`;
        throw new CredentialRefused(exchange.notes.trouble);
      }
      throw use.exhausted();
    } catch (error) {
      discard(response);
      throw error;
    }
  }

  /** Asks a target whether it takes a key: by a request of our own, in which nothing is the caller's. Gives the answer's status; `null` when there was none. */
  private async statusOf(
    exchange: Exchange<Arrival>,
    route: Route,
    upstream: Upstream,
    target: Target,
    key: PoolKey,
  ): Promise<number | null> {
    const { credential, requestRules, setsHost } = route;
    if (credential === null) return null;
    const path = target.basePath + (credential.probe ?? `${route.strip === 0 ? prefixOf(route.path) : ""}/models`);
    // Anthropic's interface asks for its version before anything else.
    const version = exchange.incoming.head.fields.get("anthropic-version");
    const lines = version !== null && /^\d{4}-\d\d-\d\d$/.test(version) ? `Anthropic-Version: ${version}\r\n` : "";
    const host = setsHost ? "" : `Host: ${target.host}\r\n`;
    const call = this.deps.client.send(target.origin, {
      method: "GET",
      head: `GET ${path} HTTP/1.1\r\n${host}${requestRules.lines}User-Agent: Sluice\r\nAccept: application/json\r\n${lines}${credentialLine(credential, key)}\r\n`,
      body: null,
      chunked: false,
      upgrade: false,
      connectTimeout: Math.min(upstream.connectTimeout, PROBE_TIMEOUT),
      timeout: PROBE_TIMEOUT,
      bodyTimeout: PROBE_TIMEOUT,
    });
    return call.response.then(
      (response) => {
        discard(response);
        return response.status;
      },
      () => null,
    );
  }

  /** The answer for the caller, its cost being read as it goes by. */
  private measured(exchange: Exchange<Arrival>, route: Route, response: UpstreamResponse): UpstreamResponse {
    if (route.usage === null || response.tunnel !== null) return response;
    exchange.meter = meterOf(response, route.usage, exchange.prompt?.asksForUsage === true);
    exchange.credential?.measure(exchange.meter);
    return exchange.meter === null ? response : metered(response, exchange.meter);
  }

  /** Milliseconds to wait before the request is sent again, or `null` when it must not be. Another target is asked at once: delays are for asking the same one again. */
  private waitBefore(
    exchange: Exchange<Arrival>,
    route: Route,
    upstream: Upstream,
    tried: readonly Target[],
    body: Body | null,
    failure: UpstreamFailure | null,
    response: UpstreamResponse | null,
  ): number | null {
    if (route.retry === null) return null;
    const { head } = exchange.incoming;
    // A connection that was never made has brought nothing to anybody, and taken nothing of the body.
    if (failure?.kind !== "connect") {
      if (!isIdempotent(head.method) && head.fields.get("idempotency-key") === null) return null;
      if (!isRepeatable(body)) return null;
      if (failure !== null && outcomeOf(failure) === null) return null;
      if (response !== null && !isRetryable(response.status)) return null;
    }
    if (upstream.hasFresh(tried)) return 0;
    const asked = response === null ? null : retryAfterOf(response.fields.get("retry-after"), this.deps.clock.wall());
    const delay = retryDelay(route.retry, exchange.attempts, asked, this.deps.random);
    // A refused connection costs the backend nothing, and the first time it is most often a restart: it is soon asked again.
    return failure?.kind === "connect" && exchange.attempts === 1 ? Math.min(delay, this.deps.random() * SOON) : delay;
  }
}

/**
 * Which connection a request may go by. What can be sent again takes any; of the rest, what is large takes a new one, for which it makes up, and the others one of which the kernel
 * knows no close. Over TLS a new connection costs too much for that.
 */
function reuseOf(method: string, body: Body | null, { origin }: Target): Reuse {
  if (isIdempotent(method) && isRepeatable(body) && (body === null || body.length >= 0)) return "any";
  return body !== null && body.length > MAX_KEPT && !origin.tls ? "new" : "checked";
}

/** Passes a target's interim answers on to the caller, with the fields that a full answer would have from it. */
const interimFor =
  (exchange: Exchange<Arrival>, route: Route) =>
  (status: number, reason: string, fields: Fields, connection: string): void =>
    exchange.incoming.interim?.(status, reason, interimHead(route, fields, connection));

/** Which trailers of a request go on: what would go on as a field of its head, whoever sent it, and no key. */
function trailersFor(exchange: Exchange<Arrival>, { requestNames }: Route): (lower: string) => boolean {
  const { header } = exchange.snapshot.identity;
  return (lower) => lower !== header && requestNames.of(lower) === "always";
}

/** Interfaces whose bodies have `messages` or `prompt` as chat completions do, and that refuse what they do not know: Anthropic's, OpenAI's for pictures and films. Ollama's own streams no events. */
const TAKES_NO_OPTIONS = /\/(?:messages|responses|images\/[a-z]+|videos|api\/(?:chat|generate))$/;

/** Whether a stream may be made to ask for its usage: where OpenAI's interface would send it. */
const mayAskForUsage = (exchange: Exchange<Arrival>, { usage }: Route): boolean =>
  usage?.isOpenAi === true && exchange.incoming.head.fields.get("anthropic-version") === null && !TAKES_NO_OPTIONS.test(exchange.path);

/** A body that can be sent again, whatever was sent of it. */
const isRepeatable = (body: Body | null): boolean =>
  body === null || body instanceof WholeBody || (body instanceof ReplayBody && body.isKept);

/** What a failure says of the target; `null` for what is the caller's doing or the gateway's own want. */
function outcomeOf({ kind }: UpstreamFailure): FailedOutcome | null {
  switch (kind) {
    case "connect":
    case "timeout":
    case "reset":
      return kind;
    case "protocol":
      return "reset";
    default:
      return null;
  }
}

/** The request's body, in a form that can be sent again where it is small enough. */
function bodyOf(exchange: Exchange<Arrival>, mayRetry: boolean): Body | null {
  const { body, head } = exchange.incoming;
  return body === null || !mayRetry || head.contentLength > MAX_KEPT ? body : new ReplayBody(body);
}

/** A body of at most this many bytes is waited for before a connection to the backend is taken, where it did not come with the head: slow callers hold up none. */
const MAX_GATHERED = 16_384;

function isSmallAndOnItsWay({ incoming: { body, head } }: Exchange<Arrival>): boolean {
  return body !== null && head.framing === "length" && head.contentLength <= MAX_GATHERED && !body.isComplete;
}

async function gather({ incoming }: Exchange<Arrival>): Promise<Body> {
  const bytes = await collect(incoming.body as Body, MAX_GATHERED);
  if (incoming.isAborted) throw callerLeft();
  return new WholeBody(bytes);
}

function subjectOf(exchange: Exchange<Arrival>, { hashOn }: Upstream): string {
  if (hashOn?.kind === "header") return exchange.incoming.head.fields.joined(hashOn.name) ?? exchange.ip;
  return hashOn?.kind === "key" && exchange.caller.via !== "none" ? exchange.caller.id : exchange.ip;
}

/** Waits for the time of a retry; less when the caller leaves, or when no target is left to try. */
function pause(exchange: Exchange<Arrival>, upstream: Upstream, milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      forget();
      exchange.incoming.onAbort = null;
      resolve();
    };
    const timer = setTimeout(wake, milliseconds);
    const forget = upstream.onUnavailable(wake);
    exchange.incoming.onAbort = wake;
  });
}

/** The path that a target gets. */
export function forwardedPath({ path, odd }: Pick<Exchange<Arrival>, "path" | "odd">, route: Route, target: Target): string {
  // As it was sent, the prefix may be longer than as it is matched.
  const rest = route.strip === 0 ? path : odd === null ? path.slice(route.strip) : below(path, route.depth);
  return rest === "" ? (target.basePath === "" ? "/" : target.basePath) : target.basePath + rest;
}
