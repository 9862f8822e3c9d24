import { Cluster, Redis, type RedisOptions } from "ioredis";
import type { Clock } from "../clock.ts";
import type { RedisConfig } from "../config/schema.ts";
import { parseDuration } from "../config/units.ts";

/** Redis can't be asked now: it is gone, or slower than its timeout. */
export class RedisDown extends Error {}

export type RedisClient = Redis | Cluster;

export interface RedisLinkParts {
  readonly config: RedisConfig;
  readonly clock: Clock;
  /** Called once when it is lost, and once when it is back. */
  readonly onChange: (isUp: boolean, why: string) => void;
}

/** A probe every so many milliseconds while it is away. */
const PROBE_EVERY = 250;
/** Good answers in a row that bring it back: one may be luck. */
const PROBES_TO_TRUST = 2;
/** Failed probes in a row after which the connection is made anew. */
const RECONNECT_AFTER = 8;

/**
 * The connection to Redis, with a breaker of its own: the first command that takes longer than the timeout, or a connection that closes, and Redis is not asked any more until probes
 * in the background find it well. So nobody waits for it for longer than the timeout, however many wait.
 */
export class RedisLink {
  readonly client: RedisClient;
  /** Milliseconds. */
  readonly timeout: number;
  readonly isCluster: boolean;
  isUp = false;
  private wasEverUp = false;
  private readonly waiting = new Set<(error: Error) => void>();
  private readonly prober: Timer;
  private goodProbes = 0;
  private badProbes = 0;
  private isProbing = false;
  private isClosed = false;
  private readonly firstTry = Promise.withResolvers<void>();
  /** Resolves when it is known for the first time whether Redis is there. */
  readonly tried = this.firstTry.promise;

  constructor(private readonly parts: RedisLinkParts) {
    const { config } = parts;
    this.timeout = parseDuration(config.timeout);
    this.isCluster = config.cluster.length > 0;
    this.client = connect(config);
    // Without a listener it would throw; what it says is told once, by the breaker.
    this.client.on("error", () => {});
    this.client.on("ready", () => this.probe());
    this.client.on("close", () => this.lost("the connection was closed"));
    this.client.connect().catch(() => {});
    this.prober = setInterval(() => this.probe(), PROBE_EVERY);
    this.probe();
  }

  get clock(): Clock {
    return this.parts.clock;
  }

  get prefix(): string {
    return this.parts.config.prefix;
  }

  /** What `work` gives, or `RedisDown` as soon as it takes longer than the timeout or Redis is found to be gone. */
  run<T>(work: (client: RedisClient) => Promise<T>, timeout = this.timeout): Promise<T> {
    if (!this.isUp) return Promise.reject(new RedisDown("Redis is away"));
    return this.within(work, timeout);
  }

  private within<T>(work: (client: RedisClient) => Promise<T>, timeout: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let isDone = false;
      const fail = (error: Error): void => {
        if (isDone) return;
        isDone = true;
        clearTimeout(timer);
        this.waiting.delete(fail);
        reject(error);
      };
      const timer = setTimeout(() => {
        // This process may be what was late: what has arrived meanwhile is read first.
        setImmediate(() => {
          if (isDone) return;
          fail(new RedisDown(`Redis took longer than ${timeout} ms`));
          this.lost(`it took longer than ${timeout} ms`);
        });
      }, timeout);
      this.waiting.add(fail);
      work(this.client).then(
        (value) => {
          if (isDone) return;
          isDone = true;
          clearTimeout(timer);
          this.waiting.delete(fail);
          resolve(value);
        },
        (error: Error) => {
          // One node of a cluster that is gone leaves the others: what was for it goes without.
          if (this.isCluster) {
            fail(isRefusal(error) && !isAway(error) ? error : new RedisDown(error.message));
            return;
          }
          // What Redis refuses for the command's sake, such as a wrong type, is no reason to leave it.
          if (!isRefusal(error) || isAway(error)) this.lost(error.message);
          fail(isRefusal(error) && this.isUp ? error : new RedisDown(error.message));
        },
      );
    });
  }

  private lost(why: string): void {
    this.goodProbes = 0;
    this.firstTry.resolve();
    if (!this.isUp) return;
    this.isUp = false;
    // Who waits must not wait each for its own timeout.
    for (const fail of [...this.waiting]) fail(new RedisDown(`Redis was lost: ${why}`));
    if (!this.isClosed) this.parts.onChange(false, why);
  }

  private probe(): void {
    if (this.isUp || this.isProbing || this.isClosed) return;
    if (this.client.status !== "ready") {
      // ioredis connects again by itself.
      if (this.client.status === "end") this.client.connect().catch(() => {});
      return;
    }
    this.isProbing = true;
    this.within((client) => client.set(`${this.prefix}:probe`, "1", "PX", 60_000), this.timeout).then(
      () => {
        this.isProbing = false;
        this.badProbes = 0;
        this.goodProbes++;
        if (this.goodProbes >= (this.wasEverUp ? PROBES_TO_TRUST : 1)) this.back();
        else this.probe();
      },
      () => {
        this.isProbing = false;
        this.goodProbes = 0;
        // A connection that nothing comes by any more looks as if it were there: another one may do.
        if (++this.badProbes % RECONNECT_AFTER === 0) this.client.disconnect(true);
      },
    );
  }

  private back(): void {
    if (this.isUp || this.isClosed) return;
    this.isUp = true;
    this.wasEverUp = true;
    this.firstTry.resolve();
    this.parts.onChange(true, "");
  }

  close(): void {
    this.isClosed = true;
    clearInterval(this.prober);
    this.client.disconnect();
  }
}

/** An answer of Redis that is an error, unlike a connection's fault. */
const isRefusal = (error: Error): boolean => error.name === "ReplyError";

/** Refusals that say that Redis can't do its work at the moment. */
const isAway = (error: Error): boolean =>
  /^(NOPERM|NOAUTH|WRONGPASS|READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|OOM|MISCONF|NOREPLICAS)/.test(error.message);

function connect(config: RedisConfig): RedisClient {
  const { url, sentinel, cluster } = config;
  const parsed = new URL(url);
  const options: RedisOptions = {
    lazyConnect: true,
    // No auto-pipelining: what comes together goes in one call already (see RedisLimiter), and that is cheaper.
    // What can't be sent now is refused now.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: 5000,
    retryStrategy: (attempt) => Math.min(1000, 50 * 2 ** Math.min(attempt, 5)),
    ...(parsed.username === "" ? {} : { username: decodeURIComponent(parsed.username) }),
    ...(parsed.password === "" ? {} : { password: decodeURIComponent(parsed.password) }),
    ...(parsed.protocol === "rediss:" ? { tls: {} } : {}),
  };
  const nodeOf = (text: string, port: number) => {
    const node = new URL(`redis://${text}`);
    return { host: node.hostname.replace(/^\[|\]$/g, ""), port: Number(node.port) || port };
  };
  if (cluster.length > 0)
    return new Cluster([nodeOf(parsed.host, 6379), ...cluster.map((node) => nodeOf(node, 6379))], {
      lazyConnect: true,
      enableOfflineQueue: false,
      clusterRetryStrategy: (attempt) => Math.min(1000, 50 * 2 ** Math.min(attempt, 5)),
      slotsRefreshTimeout: 2000,
      slotsRefreshInterval: 5000,
      redisOptions: options,
    });
  const db = Number(parsed.pathname.slice(1)) || 0;
  if (sentinel !== null)
    return new Redis({
      ...options,
      db,
      name: sentinel.name,
      sentinels: sentinel.nodes.map((node) => nodeOf(node, 26_379)),
      ...(sentinel.password === null ? {} : { sentinelPassword: sentinel.password }),
      sentinelRetryStrategy: (attempt) => Math.min(1000, 50 * attempt),
      failoverDetector: true,
    });
  const { host, port } = nodeOf(parsed.host, 6379);
  return new Redis({ ...options, db, host, port });
}
