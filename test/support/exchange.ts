import { Exchange } from "../../src/exchange/exchange.ts";
import type { Route } from "../../src/exchange/route.ts";
import { Router } from "../../src/exchange/router.ts";
import type { Snapshot } from "../../src/exchange/snapshot.ts";
import { compileRoute } from "../../src/gateway/routes.ts";
import { type ArrivingBody, type Sink, WholeBody } from "../../src/http/body.ts";
import {
  type Call,
  callerLeft,
  type FailureKind,
  type Origin,
  type UpstreamClient,
  UpstreamFailure,
  type UpstreamRequest,
  type UpstreamResponse,
} from "../../src/http/client.ts";
import { Fields } from "../../src/http/fields.ts";
import { HeadFault, parseRequestHead } from "../../src/http/head.ts";
import type { Incoming } from "../../src/http/incoming.ts";
import { typesFrom } from "../../src/http/problem.ts";
import { RouteConfig } from "../../src/routes/settings.ts";
import { fillIn } from "../../src/schema/fill-in.ts";
import { RouteMetrics } from "../../src/telemetry/route-metrics.ts";
import { UpstreamConfig } from "../../src/upstreams/settings.ts";
import { Upstream } from "../../src/upstreams/upstream.ts";
import { CidrSet } from "../../src/values/ip.ts";
import { Redactor } from "../../src/values/redact.ts";
import type { FakeClock } from "./clock.ts";

/** Compiles a route on `/r` by what a configuration says of it. */
export function routeOf(config: object = {}, upstream: Upstream | null = null): Route {
  const { value, faults } = fillIn(RouteConfig, { name: "r", path: "/r", upstream: "u", auth: "none", stripPrefix: false, ...config });
  if (faults.length > 0) throw new Error(JSON.stringify(faults));
  return compileRoute(value as RouteConfig, { upstream, metrics: new RouteMetrics("r"), credentialFields: ["x-api-key"] });
}

/** An upstream that counts its tickets. */
export class CountedUpstream extends Upstream {
  begun = 0;
  told = 0;

  static of(urls: readonly string[], clock: FakeClock, config: object = {}): CountedUpstream {
    const { value } = fillIn(UpstreamConfig, { targets: urls.map((url) => ({ url })), ...config });
    return new CountedUpstream("u", value as UpstreamConfig, clock, () => {});
  }

  override begin(...args: Parameters<Upstream["begin"]>) {
    this.begun++;
    return super.begin(...args);
  }
  override succeeded(...args: Parameters<Upstream["succeeded"]>) {
    this.told++;
    super.succeeded(...args);
  }
  override failed(...args: Parameters<Upstream["failed"]>) {
    this.told++;
    super.failed(...args);
  }
  override withdrawn(...args: Parameters<Upstream["withdrawn"]>) {
    this.told++;
    super.withdrawn(...args);
  }

  /** Exchanges under way with all targets together. */
  get inFlight(): number {
    return this.targets.reduce((sum, { state }) => sum + state.inFlight, 0);
  }
}

export interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A request on `route` that no socket has brought. */
export class FakeExchange extends Exchange<Incoming> {
  /** The caller goes away. */
  leave(): void {
    this.incoming.isAborted = true;
    this.incoming.onAbort?.();
    this.end();
  }
}

/** Makes the exchange of a request that has found its route. */
export function exchangeOn(
  route: Route,
  clock: FakeClock,
  { method = "GET", path = "/r/a", headers = {}, body }: Asked = {},
): FakeExchange {
  const length = body === undefined ? {} : { "Content-Length": String(Buffer.byteLength(body)) };
  const lines = Object.entries({ Host: "gateway.test", ...length, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = parseRequestHead(`${method} ${path} HTTP/1.1\r\n${lines.join("")}`);
  if (head instanceof HeadFault) throw new Error(head.detail);
  const arrival = {
    head,
    body: body === undefined ? null : new ArrivedBody(Buffer.from(body)),
    ip: "192.0.2.1",
    hasProxyLine: false,
    isTls: false,
    isAborted: false,
    onAbort: null,
  };
  const [bare = "", query = ""] = path.split(/(?=\?)/);
  // Answerers read what has arrived, and write nothing: there is no connection to write to.
  const exchange = new FakeExchange(arrival as unknown as Incoming, snapshotOf(route), bare, query, clock.now());
  exchange.route = route;
  return exchange;
}

/** Makes what is in force where there is nothing but this route. */
export const snapshotOf = (route: Route): Snapshot => ({
  router: new Router([route]),
  adminRouter: null,
  plainRouter: null,
  miss: route,
  hasCache: route.cache !== null,
  trustedProxies: new CidrSet([]),
  maxBodySize: 1_000_000,
  tracer: null,
  redactor: new Redactor(),
  identity: { headerName: "X-API-Key", header: "x-api-key", bearer: true, basic: false, query: null },
  resources: new Map(),
  problemTypes: typesFrom(null),
  judge: null,
});

/** A body that came with its head. */
class ArrivedBody extends WholeBody implements ArrivingBody {
  readonly isComplete = true;

  bound(): void {}

  mayRest(): void {}
}

/** Makes a backend's answer. A body as a string came with its head. */
export function responseOf(
  status = 200,
  headers: Readonly<Record<string, string>> = {},
  body: UpstreamResponse["body"] | string = null,
): UpstreamResponse {
  const fields = new Fields();
  for (const [name, value] of Object.entries(headers)) fields.add(name, name.toLowerCase(), value);
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  return { status, reason: "", fields, connection: "", length: bytes?.length ?? -1, body: bytes, tunnel: null };
}

/** A body that a test sends piece by piece. */
export class HeldBody {
  readonly length = -1;
  isCancelled = false;
  private sink: Sink | null = null;

  start(sink: Sink): void {
    this.sink = sink;
  }
  resume(): void {}
  cancel(): void {
    this.isCancelled = true;
  }
  write(text: string): void {
    this.sink?.write(Buffer.from(text));
  }
  end(): void {
    this.sink?.end();
  }
  break(): void {
    this.sink?.fail(new Error("broke off"));
  }
}

/** A call that a test answers by hand. */
export class FakeCall implements Call {
  readonly response: Promise<UpstreamResponse>;
  isSent = true;
  isOver = false;
  private readonly settle: { resolve(response: UpstreamResponse): void; reject(error: Error): void };

  constructor(
    readonly origin: Origin,
    readonly request: UpstreamRequest,
  ) {
    const { promise, resolve, reject } = Promise.withResolvers<UpstreamResponse>();
    this.response = promise;
    this.settle = { resolve, reject };
  }

  answer(...told: Parameters<typeof responseOf>): void {
    this.isOver = true;
    this.settle.resolve(responseOf(...told));
  }

  fail(kind: FailureKind, { isStale = false, wasSent = kind !== "connect" } = {}): void {
    this.isOver = true;
    const failure = new UpstreamFailure(kind, kind, wasSent);
    failure.isStale = isStale;
    this.settle.reject(failure);
  }

  break(error: Error): void {
    this.isOver = true;
    this.settle.reject(error);
  }

  abort(): void {
    this.isOver = true;
    this.settle.reject(callerLeft(true));
  }
}

/** A client without sockets. */
export class FakeClient implements UpstreamClient {
  readonly calls: FakeCall[] = [];

  send(origin: Origin, request: UpstreamRequest): FakeCall {
    const call = new FakeCall(origin, request);
    this.calls.push(call);
    return call;
  }
  close(): void {}

  /** The call that waits for an answer, once there is one. */
  async next(): Promise<FakeCall> {
    for (let i = 0; i < 50; i++) {
      const call = this.calls.at(-1);
      if (call !== undefined && !call.isOver) return call;
      await turn();
    }
    throw new Error("nobody was asked");
  }
}

/** Lets all that is ready go on. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
