import { type GrpcStatus, type GrpcStatusName, nameOf } from "../grpc/status.ts";
import { type Origin, type OwnTls, originOf, unixOrigin } from "../http/client.ts";
import type { Heard, TargetSignal } from "../shared/signals.ts";
import type { Clock } from "../values/clock.ts";
import { parseDuration } from "../values/units.ts";
import { type Balancer, balancerOf } from "./balancer.ts";
import {
  type Breaker,
  type BreakerCause,
  type BreakerPolicy,
  type BreakerState,
  enter,
  type Followed,
  fail,
  followAnother,
  letsThrough,
  newBreaker,
  reopensIn,
  setByHand,
  succeed,
  type Tell,
  vouchFor,
  withdraw,
} from "./breaker.ts";
import type { UpstreamConfig } from "./settings.ts";
import { unixTargetOf } from "./unix-target.ts";

/** Holds what is known of a target while it serves; it outlives a change of the configuration. */
export interface TargetState {
  readonly breaker: Breaker;
  /** The number of exchanges under way. */
  inFlight: number;
  /** The verdict of health checks; true without any. */
  isHealthy: boolean;
  /** True when a health check has passed since the start. */
  hasPassed: boolean;
  /** The time at which it came back after having been out, for the slow start; `-Infinity` when it never was out. */
  backSince: number;
}

/** Describes one backend address, parsed once, and its state. */
export interface Target {
  readonly url: string;
  readonly origin: Origin;
  /** The value of the Host field. */
  readonly host: string;
  /** The path that is put before every forwarded path, without a slash at its end. */
  readonly basePath: string;
  readonly weight: number;
  readonly state: TargetState;
  readonly inFlight: number;
  /** Called when its breaker changes. */
  readonly tell: Tell;
}

/** Names what a consistent hash is made of: the key (the address without one), the address, or a header. */
export type HashOn = { readonly kind: "key" | "ip" } | { readonly kind: "header"; readonly name: string };

/** Says why no target can take a request. */
export interface Unavailable {
  readonly code: "circuitOpen" | "noHealthyTarget";
  /** Milliseconds until that may change. */
  readonly retryIn: number;
}

export interface HealthCheckPolicy {
  readonly path: string;
  /** Milliseconds. */
  readonly interval: number;
  readonly timeout: number;
  readonly unhealthyAfter: number;
  readonly healthyAfter: number;
  /** The service that is asked about by gRPC; `null`: the path is asked for. */
  readonly service: string | null;
}

/** Says how a target failed: a status that counts as a failure, or the reason why there was no answer. */
export type FailedOutcome = number | "connect" | "timeout" | "reset" | GrpcOutcome;

/** Names a status that a call of gRPC ended with, as a configuration does. */
export type GrpcOutcome = `grpc:${GrpcStatusName}`;

/** Learns of a breaker's change of state, after it. */
export type OnBreaker = (upstream: string, target: Target, from: BreakerState, to: BreakerState, cause: BreakerCause) => void;

/** Milliseconds between two early probes where no other target is left. */
const LAST_RESORT_EVERY = 1000;

/** The smallest share of its weight that a target gets when it has just come back. */
const SLOWEST = 0.1;

/** Holds the targets that serve a route and their state, and chooses which of them is next. */
export class Upstream {
  readonly targets: readonly Target[];
  /** True when its targets speak HTTP/2, and whether that is gRPC alone. */
  readonly speaksHttp2: boolean;
  readonly isGrpc: boolean;
  /** Milliseconds. */
  readonly connectTimeout: number;
  readonly breakerPolicy: BreakerPolicy;
  readonly healthCheck: HealthCheckPolicy | null;
  readonly hashOn: HashOn | null;
  private readonly slowStart: number;
  private readonly balance: Balancer<Target>;
  /** By status: 1 where an answer counts as a failure of the target. */
  private readonly failing: Uint8Array;
  private readonly failsOn: ReadonlySet<string>;
  private now = 0;
  /** The time at which a target got an early probe. */
  private lastResortAt = Number.NEGATIVE_INFINITY;
  private isLastResort = false;
  private tried: readonly Target[] = [];
  /** Functions to be called once when no target is left: those that wait for a retry need wait no longer. */
  private readonly waiting = new Set<() => void>();

  /**
   * Takes as `before` the upstream of this name in the previous configuration, whose targets' state goes on. `tls`: what stands in its files
   * for https targets; `null`: it names none.
   */
  constructor(
    readonly name: string,
    config: UpstreamConfig,
    private readonly clock: Clock,
    onBreaker: OnBreaker,
    before?: Upstream,
    tls: OwnTls | null = null,
  ) {
    this.speaksHttp2 = config.protocol !== "http/1.1";
    this.isGrpc = config.protocol === "grpc";
    this.targets = config.targets.map(({ url, weight }) => {
      const state = before?.targets.find((target) => target.url === url)?.state ?? newState(clock.now());
      const target: Target = compileTarget({ url, weight, tls, http2: this.speaksHttp2, state }, (from, to, cause) => {
        if (to === "closed") state.backSince = clock.now();
        onBreaker(name, target, from, to, cause);
        if (to === "open") this.wakeWhenUnavailable();
      });
      return target;
    });
    this.connectTimeout = parseDuration(config.connectTimeout);
    this.breakerPolicy = compileBreaker(config.breaker);
    this.failsOn = new Set(config.breaker?.failures ?? []);
    this.failing = failingStatuses(this.failsOn);
    if (before !== undefined) this.lastResortAt = before.lastResortAt;
    this.healthCheck = compileHealthCheck(config.healthCheck, this.isGrpc);
    // Without checks nobody would find out that it is well again.
    if (this.healthCheck === null) for (const { state } of this.targets) state.isHealthy = true;
    this.hashOn = config.balance === "consistent-hash" ? compileHashOn(config.hashOn ?? "key") : null;
    this.slowStart = config.slowStart === null ? 0 : parseDuration(config.slowStart);
    this.balance = balancerOf(config.balance, this.targets);
  }

  /**
   * Chooses the target for a request, if possible one that was not tried yet; gives `null` when none can take it (`whyNot` says why).
   * `begin` must follow in the same turn.
   */
  choose(hash: number, tried: readonly Target[]): Target | null {
    this.now = this.clock.now();
    this.tried = tried;
    this.isLastResort = false;
    const fresh = this.balance(hash, this.isFresh, this.weightOf);
    if (fresh !== null) return fresh;
    return (tried.length === 0 ? null : this.balance(hash, this.isAvailable, this.weightOf)) ?? this.lastResort();
  }

  /** Tells whether any target could take a request now. */
  get hasTarget(): boolean {
    this.now = this.clock.now();
    return this.targets.some(this.isAvailable);
  }

  /**
   * Tells whether a target could take a request now, and, where there are health checks, is known to be there: before the first of them
   * nobody knows.
   */
  get isReady(): boolean {
    this.now = this.clock.now();
    return this.targets.some((target) => this.isAvailable(target) && (this.healthCheck === null || target.state.hasPassed));
  }

  /** Tells whether a target that is not among `tried` could take a request now. */
  hasFresh(tried: readonly Target[]): boolean {
    this.now = this.clock.now();
    this.tried = tried;
    return this.targets.some(this.isFresh);
  }

  /** Tells whether an answer of this status says that the target is ill. */
  isFailing(status: number): boolean {
    return this.failing[status] === 1;
  }

  /** Tells whether a call that ended with this status says that the target is ill. */
  isFailingCall(status: GrpcStatus): boolean {
    return this.failsOn.has(`grpc:${nameOf(status)}`);
  }

  whyNot(): Unavailable {
    const now = this.clock.now();
    const open = this.targets.filter(({ state }) => state.isHealthy && state.breaker.state !== "closed");
    if (open.length === 0) return { code: "noHealthyTarget", retryIn: this.healthCheck?.interval ?? 5000 };
    return { code: "circuitOpen", retryIn: Math.min(...open.map((target) => this.probeIn(target, now))) };
  }

  /** Gives the milliseconds until an open target gets a probe, where that is known; 0 for any other. */
  probeIn(target: Target, now: number): number {
    const wait = reopensIn(target.state.breaker, this.breakerPolicy, now);
    return wait === 0 || this.hasTarget || this.openLongest() !== target
      ? wait
      : Math.min(wait, Math.max(0, this.lastResortFrom(target) - now));
  }

  /**
   * Counts a request that goes to `target`, which `choose` has just given. Gives the ticket that `succeeded`, `failed` or `withdrawn`
   * wants.
   */
  begin(target: Target): number {
    target.state.inFlight++;
    return enter(target.state.breaker, this.now, target.tell, this.isLastResort ? "last-resort" : "recovery");
  }

  succeeded(target: Target, ticket: number): void {
    succeed(target.state.breaker, this.breakerPolicy, ticket, this.clock, target.tell);
  }

  /**
   * Notes that a request got no answer, or one whose status says that the target is ill. Only an outcome that `failures` names counts; any
   * other says nothing of the target.
   */
  failed(target: Target, ticket: number, outcome: FailedOutcome): void {
    const { breaker } = target.state;
    if (typeof outcome === "number" || this.failsOn.has(outcome)) fail(breaker, this.breakerPolicy, ticket, this.clock.now(), target.tell);
    else withdraw(breaker, ticket);
  }

  /** Notes that a request was given up before it told anything of the target. */
  withdrawn(target: Target, ticket: number): void {
    withdraw(target.state.breaker, ticket);
  }

  setBreaker(target: Target, state: "open" | "closed"): void {
    setByHand(target.state.breaker, state, this.clock.now(), target.tell);
  }

  /** Notes that a health check, which began at `began`, found the target well. */
  vouchFor(target: Target, began: number): void {
    target.state.hasPassed = true;
    vouchFor(target.state.breaker, began, this.clock.now(), target.tell);
  }

  /**
   * Follows another instance (`shared`), or another process of this gateway, that has opened or closed its breaker for the target of this
   * URL.
   */
  followBreaker(url: string, said: Followed, cause: "shared" | "process"): Heard {
    const target = this.targetOf(url);
    if (target === undefined) return "unknown";
    return followAnother(target.state.breaker, said, target.tell, cause) ? "followed" : "held";
  }

  /** Notes what another process of this gateway has found out about a target by a health check; `null`: it does not know the target. */
  followCheck({ url, isHealthy, hasPassed, began }: TargetSignal): { readonly target: Target; readonly isChange: boolean } | null {
    const target = this.targetOf(url);
    if (target === undefined) return null;
    if (hasPassed) target.state.hasPassed = true;
    if (began !== null) vouchFor(target.state.breaker, began, this.clock.now(), target.tell, "process");
    return { target, isChange: this.healthCheck !== null && this.setHealthy(target, isHealthy) };
  }

  private targetOf(url: string): Target | undefined {
    return this.targets.find((each) => each.url === url);
  }

  /** Notes what health checks say of the target. Gives true when that is a change. */
  setHealthy(target: Target, isHealthy: boolean): boolean {
    if (target.state.isHealthy === isHealthy) return false;
    target.state.isHealthy = isHealthy;
    if (isHealthy) target.state.backSince = this.clock.now();
    else this.wakeWhenUnavailable();
    return true;
  }

  /** Calls `wake` once when no target can take a request any more. The function that it gives takes that back. */
  onUnavailable(wake: () => void): () => void {
    this.waiting.add(wake);
    return () => this.waiting.delete(wake);
  }

  /**
   * Gives, once a second where no target is left, the one that has been open for longest. One request finds out whether it is well, and the
   * others are refused.
   */
  private lastResort(): Target | null {
    const longest = this.openLongest();
    if (longest === null || this.now < this.lastResortFrom(longest)) return null;
    this.lastResortAt = this.now;
    this.isLastResort = true;
    return longest;
  }

  private lastResortFrom({ state }: Target): number {
    return Math.max(this.lastResortAt, state.breaker.since) + LAST_RESORT_EVERY;
  }

  /**
   * Gives the target that its breaker has kept out for longest; targets that a person or a health check has taken out are not among them.
   */
  private openLongest(): Target | null {
    let longest: Target | null = null;
    for (const target of this.targets) {
      const { breaker, isHealthy } = target.state;
      if (!isHealthy || breaker.state !== "open" || breaker.isHeld) continue;
      if (longest === null || breaker.since < longest.state.breaker.since) longest = target;
    }
    return longest;
  }

  private wakeWhenUnavailable(): void {
    if (this.waiting.size === 0 || this.hasTarget) return;
    const waiting = [...this.waiting];
    this.waiting.clear();
    for (const wake of waiting) wake();
  }

  private readonly isAvailable = ({ state }: Target): boolean =>
    state.isHealthy && letsThrough(state.breaker, this.breakerPolicy, this.now);

  private readonly isFresh = (target: Target): boolean => !this.tried.includes(target) && this.isAvailable(target);

  private readonly weightOf = ({ weight, state }: Target): number => {
    const backFor = this.now - state.backSince;
    return backFor >= this.slowStart ? weight : weight * Math.max(SLOWEST, backFor / this.slowStart);
  };
}

/** Holds what a target is made of. */
interface TargetMaterial {
  readonly url: string;
  readonly weight: number;
  readonly tls: OwnTls | null;
  readonly http2: boolean;
  readonly state: TargetState;
}

function compileTarget({ url, weight, tls, http2, state }: TargetMaterial, tell: Tell): Target {
  const place = placeOf(url, tls);
  return {
    url,
    ...place,
    origin: { ...place.origin, http2 },
    weight,
    state,
    tell,
    get inFlight() {
      return state.inFlight;
    },
  };
}

function placeOf(url: string, tls: OwnTls | null): Pick<Target, "origin" | "host" | "basePath"> {
  const unix = unixTargetOf(url);
  // What stands in Host then nothing says: this is what nginx and curl send.
  if (unix !== null) return { origin: unixOrigin(unix.socket), host: "localhost", basePath: unix.basePath };
  const { protocol, hostname, port, host, pathname } = new URL(url);
  const isTls = protocol === "https:";
  return {
    origin: originOf(hostname.replace(/^\[|\]$/g, ""), Number(port) || (isTls ? 443 : 80), isTls, isTls ? tls : null),
    host,
    basePath: pathname.replace(/\/$/, ""),
  };
}

const newState = (now: number): TargetState => ({
  breaker: newBreaker(now),
  inFlight: 0,
  isHealthy: true,
  hasPassed: false,
  backSince: Number.NEGATIVE_INFINITY,
});

function compileBreaker(config: UpstreamConfig["breaker"]): BreakerPolicy {
  return {
    failureThreshold: config?.failureThreshold ?? Number.POSITIVE_INFINITY,
    recoveryTimeout: config === null ? 0 : config.recoveryTimeout === null ? null : parseDuration(config.recoveryTimeout),
    successThreshold: config?.successThreshold ?? 1,
    failureRatio: config?.failureRatio ?? null,
    window: config === null ? 0 : parseDuration(config.window),
    minimumRequests: config?.minimumRequests ?? 0,
  };
}

/** Makes the table of failing statuses: one byte for each status that a response may have. */
function failingStatuses(failures: ReadonlySet<string>): Uint8Array {
  const failing = new Uint8Array(1000);
  for (const each of failures) {
    if (/^\d{3}$/.test(each)) failing[Number(each)] = 1;
    else if (/^\dxx$/.test(each)) failing.fill(1, Number(each[0]) * 100, Number(each[0]) * 100 + 100);
  }
  return failing;
}

const compileHealthCheck = (config: UpstreamConfig["healthCheck"], isGrpc: boolean): HealthCheckPolicy | null =>
  config === null
    ? null
    : {
        ...config,
        interval: parseDuration(config.interval),
        timeout: parseDuration(config.timeout),
        service: isGrpc ? config.service : null,
      };

const compileHashOn = (text: string): HashOn =>
  text === "ip" ? { kind: "ip" } : text === "key" ? { kind: "key" } : { kind: "header", name: text.slice("header:".length).toLowerCase() };
