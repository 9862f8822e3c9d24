import type { Clock } from "../../values/clock.ts";
import type { Call, Origin, PooledClient, UpstreamClient, UpstreamRequest } from "../client.ts";
import { Http2Exchange } from "./exchange.ts";
import { Http2Session } from "./session.ts";

/** Milliseconds that a connection without requests is kept. */
const IDLE_FOR = 60_000;
/** The exactness of timeouts, in milliseconds. */
const TICK = 25;

/** What is known of names and descriptors, together with the connections of HTTP/1.1. */
export type Names = Pick<PooledClient, "addresses" | "descriptors" | "ledTo" | "lastAddress" | "lacksDescriptors">;

/** Sends requests over HTTP/2 (RFC 9113): over TLS by ALPN, else with prior knowledge. Requests to one target share connections. */
export class Http2Client implements UpstreamClient {
  /** Requests under way. */
  readonly active = new Set<Http2Exchange>();
  /** The connections by the key of their target. */
  readonly sessions = new Map<string, Set<Http2Session>>();
  /** `clock.now()` at the last tick or request. */
  now: number;
  private readonly ticker: Timer;
  private readonly forget: () => void;

  constructor(
    private readonly clock: Clock,
    readonly names: Names,
    /** Tells of a fault of our own. */
    readonly onFault: (error: unknown) => void = () => {},
  ) {
    this.now = clock.now();
    this.forget = names.descriptors.holdsIdle(() => this.closeIdle());
    this.ticker = setInterval(() => this.tick(), TICK);
    this.ticker.unref();
  }

  send(origin: Origin, request: UpstreamRequest): Call {
    this.now = this.clock.now();
    const exchange = new Http2Exchange(this, request);
    const session = request.reuse === "new" ? undefined : this.sessionWithRoom(origin);
    this.active.add(exchange);
    if (session !== undefined) session.take(exchange);
    else this.connect(origin, exchange);
    return exchange;
  }

  private connect(origin: Origin, exchange: Http2Exchange): void {
    const { descriptors } = this.names;
    if (descriptors.isShort && !descriptors.makeRoom()) {
      exchange.broke(this.names.lacksDescriptors());
      return;
    }
    const session = new Http2Session(this, origin);
    let sessions = this.sessions.get(origin.key);
    if (sessions === undefined) {
      sessions = new Set();
      this.sessions.set(origin.key, sessions);
    }
    sessions.add(session);
    session.take(exchange);
    session.connect();
  }

  /** Gives the first connection that has room: so that those which are not needed any more fall idle. */
  private sessionWithRoom(origin: Origin): Http2Session | undefined {
    for (const session of this.sessions.get(origin.key) ?? []) if (session.hasRoom && session.isSurelyOpen) return session;
    return undefined;
  }

  /** Forgets a connection that is closed. */
  left(session: Http2Session): void {
    const sessions = this.sessions.get(session.origin.key);
    if (sessions?.delete(session) === true && sessions.size === 0) this.sessions.delete(session.origin.key);
  }

  /** Closes the connection that has been idle for longest. False when no connection is idle. */
  private closeIdle(): boolean {
    let longest: Http2Session | undefined;
    for (const sessions of this.sessions.values())
      for (const session of sessions)
        if (session.exchanges.size === 0 && (longest === undefined || session.idleSince < longest.idleSince)) longest = session;
    longest?.close();
    return longest !== undefined;
  }

  close(): void {
    this.forget();
    clearInterval(this.ticker);
    for (const sessions of [...this.sessions.values()]) for (const session of [...sessions]) session.close();
  }

  private tick(): void {
    this.now = this.clock.now();
    for (const exchange of this.active) exchange.checkDeadline(this.now);
    for (const sessions of this.sessions.values()) for (const session of sessions) if (session.isOver(IDLE_FOR)) session.close();
  }
}
