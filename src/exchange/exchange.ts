import type { ArrivingBody } from "../http/body.ts";
import { clientIp } from "../http/client-ip.ts";
import type { RequestHead } from "../http/head.ts";
import type { OddPath } from "../http/path.ts";
import type { Problem } from "../http/problem.ts";
import type { Incoming } from "../http/server.ts";
import type { Verdict } from "../limits/limiter.ts";
import type { CredentialUse } from "../pools/credential.ts";
import type { Trace } from "../telemetry/trace.ts";
import type { Meter } from "../tokens/meter.ts";
import { letGo, type Prompt } from "../tokens/prompt.ts";
import type { Target } from "../upstreams/upstream.ts";
import type { Redactor } from "../values/redact.ts";
import { ANONYMOUS, type Caller } from "./caller.ts";
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

/** What the log, traces, metrics and events tell of an exchange. Nobody decides by it. */
export class Notes {
  /** Sluice's own answer to a request that did not come through. */
  refusal: Problem | null = null;
  /** What went wrong with the backend, for the log alone. */
  trouble: string | null = null;
  /** Who was known by the key that was shown, but is refused. */
  refusedCaller: Caller | null = null;
  /** What the cache had to do with it. */
  cache: "hit" | "miss" | "stale" | "revalidated" | "bypass" | null = null;
  /** The backend was, or would have been, asked. */
  isForwarded = false;
  /** Refused by a limit or a quota. */
  isLimited = false;
}

/** Listens to the gates of a request that is only asked about: what each has found. */
export interface Asker {
  /** `passed`: `null` where that can't be said. */
  tell(step: string, detail: string, passed: boolean | null): void;
}

/** One request on its way through: what is known and decided of it. */
export class Exchange<A extends Arrival = Incoming> {
  /** The client's `X-Request-ID` when it is sane, else a UUIDv7. */
  readonly id: string;
  /** The caller's address: the peer's, or what trusted proxies say. */
  readonly ip: string;
  /** The snapshot's `miss` until a route takes the request. */
  route: Route;
  /** `null`: tracing is off, or its caller does not record. */
  trace: Trace | null = null;
  /** Who calls. */
  caller: Caller = ANONYMOUS;
  /** The lower-case name of the field that carried what shows who calls; "" where none did. */
  carriedIn = "";
  /** The Authorization field holds a key of Sluice's, which is not forwarded. */
  dropsAuthorization = false;
  /** Whom a proxy names that is not trusted as its caller; `null`: there is no such proxy. */
  hiddenCaller: string | null = null;
  /** Milliseconds for which the guard blocks the address, unless what it shows passes all the same. */
  blockedFor = 0;
  verdict: Verdict | null = null;
  /** The limits' header lines, ready for the response. */
  limitHead = "";
  /** The route's header lines for every answer: what its rules set, and CORS. */
  routeHead = "";
  /** The header lines that say what the cache had to do with it. */
  cacheHead = "";
  target: Target | null = null;
  /** How often the request was sent. */
  attempts = 0;
  /** The answer's; 0 while there is none. */
  status = 0;
  /** The body as it is sent, where it was read beforehand. */
  prompt: Prompt | null = null;
  /** The key of a pool that it is sent with. */
  credential: CredentialUse | null = null;
  /** Reads what the response says it cost. */
  meter: Meter | null = null;
  /** `null`: the request is meant. Otherwise it is only asked what would become of it: gates tell, and charge, count and change nothing. */
  readonly asker: Asker | null;
  readonly notes = new Notes();
  /** The target that counts this exchange as under way until it is released. */
  busy: Target | null = null;
  private endings: (() => void)[] | null = null;
  private hasEnded = false;

  constructor(
    readonly incoming: A,
    /** The configuration that this request began with, and ends with. */
    readonly snapshot: Snapshot,
    /** As it is forwarded, with the route's prefix. */
    public path: string,
    /** The query as it will be forwarded. */
    public query: string,
    /** `clock.now()` when the head had arrived. */
    readonly startedAt: number,
    /** `null`: backends can read the path in one way only. */
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

  /** Registers what must be done when the answer is out, or its caller gone: last in, first out. At once where that is so already. */
  onEnded(work: () => void): void {
    if (this.hasEnded) work();
    else if (this.endings === null) this.endings = [work];
    else this.endings.push(work);
  }

  /** Does what was registered by `onEnded`, once. */
  end(): void {
    this.hasEnded = true;
    const { endings } = this;
    this.endings = null;
    if (endings !== null) for (let i = endings.length - 1; i >= 0; i--) (endings[i] as () => void)();
  }

  /** What it holds of a backend is free again: its target has one exchange less under way, and what its credential was used for is known. */
  release(): void {
    if (this.busy !== null) this.busy.state.inFlight--;
    this.busy = null;
    this.credential?.settle();
    if (this.prompt !== null) letGo(this.prompt);
  }

  /** True when nothing can be answered any more: the caller has left, or has an answer. */
  get isOver(): boolean {
    return this.hasEnded || this.incoming.isAborted;
  }

  /** What the response said it cost; of a stream that said nothing, what has passed of it. `null` when there is nothing to go by. */
  get units(): number | null {
    const { meter } = this;
    // What is kept was paid for.
    if (meter === null) return this.notes.cache === "hit" || this.notes.cache === "stale" ? 0 : null;
    return meter.reported ?? (meter.passed === null ? null : meter.passed + (this.prompt?.input ?? 0));
  }

  /** Gives the same request without a caller who waits for the answer: for what is fetched in the background. Whoever makes it ends it. */
  detached(now: number): Exchange<Arrival> {
    const { head, ip, isTls } = this.incoming;
    // A HEAD may have named a range, which means nothing then.
    const fields = head.fields.without("range", "if-range");
    const arrival: Arrival = { head: { ...head, method: "GET", fields }, body: null, ip, isTls, isAborted: false, onAbort: null };
    const detached = new Exchange(arrival, this.snapshot, this.path, this.query, now, this.odd);
    detached.route = this.route;
    detached.caller = this.caller;
    detached.carriedIn = this.carriedIn;
    detached.dropsAuthorization = this.dropsAuthorization;
    detached.trace = this.trace?.detached() ?? null;
    return detached;
  }

  /** What routes are matched by. */
  get match(): string {
    return this.odd === null ? this.path : this.odd.match;
  }

  /** Who showed a key that is known, good or not. */
  get holder(): Caller {
    return this.notes.refusedCaller ?? this.caller;
  }
}

/** Gives the caller's id where it is sane, else a UUIDv7; one that looks like a key would end up in logs. */
export const requestId = (given: string | null, redactor: Redactor): string =>
  given !== null && SANE_REQUEST_ID.test(given) && !redactor.isSecret(given) ? given : Bun.randomUUIDv7();
