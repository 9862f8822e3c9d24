import { Cluster, Command, Redis, type RedisOptions } from "ioredis";
import type { Clock } from "../values/clock.ts";
import { parseDuration } from "../values/units.ts";
import type { RedisConfig } from "./settings.ts";

/** Says that Redis can't be asked now: it is gone, or too slow. */
export class RedisDown extends Error {}

export type RedisClient = Redis | Cluster;

export interface RedisLinkDeps {
  readonly config: RedisConfig;
  readonly clock: Clock;
  /** Tells that Redis is lost, or is back; called once for each. */
  readonly onChange: (isUp: boolean, why: string) => void;
}

/** Milliseconds between two probes while Redis is away. */
const PROBE_EVERY = 250;
/** Good answers in a row that bring Redis back: one may be luck. */
const PROBES_TO_TRUST = 2;
/** Milliseconds that the first probe may take before an instance begins without Redis. */
const FIRST_PATIENCE = 1000;
/** Failed probes in a row after which the connection is made anew. */
const RECONNECT_AFTER = 8;
/**
 * Times in a row that Redis may be late before it counts as lost. Two may be the machine's fault: a process that waits for its turn on a
 * busy core is late by tens of milliseconds.
 */
const LATE_TO_LOSE = 3;
/** Milliseconds between two measurements of how late this process's own timers are. */
const LAG_EVERY = 25;
/** The share of a measured lateness that remains at the next measurement: a lateness counts for about a second. */
const LAG_FADES = 0.9;
/**
 * Milliseconds that are added to the timeout for each millisecond that our own timers are late: an answer waits for this process twice and
 * for Redis' process once, which shares the machine or another busy one.
 */
const PER_LAG = 4;
/** The most milliseconds that are added for lateness. */
const MAX_FOR_LAG = 500;

/** Waits for one answer of Redis, up to `patience` milliseconds. */
class Wait {
  isOver = false;
  private readonly since = performance.now();
  private timer: Timer | undefined;

  constructor(
    /** All that wait: this one is among them until it is over. */
    private readonly all: Set<Wait>,
    /** Told each time that the answer is late; `isLost`: it will not be waited for any longer. */
    private readonly onLate: (isLost: boolean) => void,
    private readonly reject: (error: Error) => void,
    private readonly patience: number,
    private readonly lateAfter: number,
  ) {
    this.arm();
    all.add(this);
  }

  /** Tells whether `lateAfter` milliseconds have gone by. */
  get isLate(): boolean {
    return performance.now() - this.since >= this.lateAfter;
  }

  /** Ends the waiting: there is an answer. */
  end(): void {
    this.isOver = true;
    clearTimeout(this.timer);
    this.all.delete(this);
  }

  /** Ends it without an answer; does nothing where it is over. */
  fail(error: Error): void {
    if (this.isOver) return;
    this.end();
    this.reject(error);
  }

  private arm(): void {
    const left = this.patience - (performance.now() - this.since);
    // This process may be what was late: what has arrived meanwhile is read first.
    this.timer = setTimeout(() => setImmediate(() => this.look()), Math.max(1, Math.min(this.lateAfter, left)));
  }

  private look(): void {
    if (this.isOver) return;
    const waited = performance.now() - this.since;
    if (waited >= this.lateAfter) this.onLate(this.lateAfter >= this.patience);
    if (this.isOver) return;
    if (waited >= this.patience) this.fail(new RedisDown(`Redis took longer than ${Math.round(this.patience)} ms`));
    else this.arm();
  }
}

/**
 * Keeps the connection to Redis, with a breaker of its own. A late answer is waited for; when Redis was late three times in a row, or the
 * connection closes, Redis is not asked any more until probes in the background find it well. So nobody waits for longer than `patience`,
 * however many wait, and one slow answer does not make an instance count by itself.
 */
export class RedisLink {
  readonly client: RedisClient;
  /** Milliseconds after which an answer is late while this process itself is not. */
  readonly timeout: number;
  readonly isCluster: boolean;
  isUp = false;
  private wasEverUp = false;
  private readonly waiting = new Set<Wait>();
  private readonly prober: Timer;
  private goodProbes = 0;
  private badProbes = 0;
  private isProbing = false;
  private isClosed = false;
  private readonly lagMeter: Timer;
  /** The lateness of our own timers in milliseconds; it fades within a second. */
  private lag = 0;
  /** The times in a row that Redis was late, and when it was last. Real time, as timers are. */
  private lates = 0;
  private lateAt = Number.NEGATIVE_INFINITY;
  /** The connection's last error that said why it can't be made. */
  trouble: string | null = null;
  /** The number of late answers and of losses since the start. */
  readonly counts = { late: 0, lost: 0 };
  private readonly firstTry = Promise.withResolvers<void>();
  /** Resolves when it is first known whether Redis is there. */
  readonly tried = this.firstTry.promise;

  constructor(private readonly deps: RedisLinkDeps) {
    const { config } = deps;
    this.timeout = parseDuration(config.timeout);
    this.isCluster = config.cluster.length > 0;
    this.client = connect(config);
    // Without a listener it would throw; what it says is told once, by the breaker.
    this.client.on("error", (error: Error) => {
      this.trouble = error.message;
    });
    this.client.on("ready", () => this.probe());
    this.client.on("close", () => this.lost("the connection was closed"));
    this.client.connect().catch(() => {});
    this.prober = setInterval(() => this.probe(), PROBE_EVERY);
    let looked = performance.now();
    this.lagMeter = setInterval(() => {
      const now = performance.now();
      this.lag = Math.max(now - looked - LAG_EVERY, this.lag * LAG_FADES);
      looked = now;
    }, LAG_EVERY);
    this.lagMeter.unref();
    this.probe();
  }

  /** Milliseconds after which an answer is late: the timeout, and more while this process itself waits for its turn. */
  private get allowance(): number {
    return this.timeout + Math.min(MAX_FOR_LAG, this.lag * PER_LAG);
  }

  /** Milliseconds that a request waits for Redis at most. */
  get patience(): number {
    return this.allowance * LATE_TO_LOSE;
  }

  get clock(): Clock {
    return this.deps.clock;
  }

  get prefix(): string {
    return this.deps.config.prefix;
  }

  /**
   * Gives the result of `work`. Rejects with `RedisDown` when there is no answer within `patience` milliseconds, or as soon as Redis is
   * lost. A late answer counts against Redis.
   */
  run<T>(work: (client: RedisClient) => Promise<T>, patience = this.patience): Promise<T> {
    return this.isUp ? this.within(work, patience, this.allowance) : Promise.reject(new RedisDown("Redis is away"));
  }

  /**
   * Gives the result of `work` that may take longer than a request may wait, such as work on many records. No answer counts as late before
   * `patience` milliseconds are over; then Redis is lost.
   */
  runLong<T>(work: (client: RedisClient) => Promise<T>, patience: number): Promise<T> {
    return this.isUp ? this.within(work, patience, patience) : Promise.reject(new RedisDown("Redis is away"));
  }

  /**
   * Runs `work` with two bounds: after `lateAfter` milliseconds, and each time again, the answer counts as late; after `patience` it is
   * given up.
   */
  private within<T>(work: (client: RedisClient) => Promise<T>, patience: number, lateAfter: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const wait = new Wait(this.waiting, this.late, reject, patience, lateAfter);
      work(this.client).then(
        (value) => {
          if (wait.isOver) return;
          wait.end();
          if (!wait.isLate) this.lates = 0;
          resolve(value);
        },
        (error: Error) => {
          // One node of a cluster that is gone leaves the others: what was for it goes without.
          if (this.isCluster) {
            wait.fail(isRefusal(error) && !isAway(error) ? error : new RedisDown(error.message));
            return;
          }
          // What Redis refuses for the command's sake, such as a wrong type, is no reason to leave it.
          if (!isRefusal(error) || isAway(error)) this.lost(error.message);
          wait.fail(isRefusal(error) && this.isUp ? error : new RedisDown(error.message));
        },
      );
    });
  }

  /** Counts a late answer. Many that wait at the same time are late once: the cause that holds one up holds them all up. */
  private readonly late = (isLost: boolean): void => {
    if (!this.isUp) return;
    const now = performance.now();
    if (!isLost && now - this.lateAt < this.timeout) return;
    this.lateAt = now;
    this.counts.late++;
    if (isLost || ++this.lates >= LATE_TO_LOSE)
      this.lost(isLost ? "it does not answer" : `it was late ${LATE_TO_LOSE} times in a row: over ${this.timeout} ms`);
  };

  private lost(why: string): void {
    this.goodProbes = 0;
    this.lates = 0;
    this.firstTry.resolve();
    if (!this.isUp) return;
    this.isUp = false;
    this.counts.lost++;
    // Who waits must not wait each for its own timeout.
    for (const wait of [...this.waiting]) wait.fail(new RedisDown(`Redis was lost: ${why}`));
    if (!this.isClosed) this.deps.onChange(false, why);
  }

  private probe(): void {
    if (this.isUp || this.isProbing || this.isClosed) return;
    if (this.client.status !== "ready") {
      // ioredis connects again by itself.
      if (this.client.status === "end") this.client.connect().catch(() => {});
      return;
    }
    this.isProbing = true;
    // At the start nobody waits but the start itself, and this process is busiest: what is decided then holds until the next probe.
    const patience = this.wasEverUp ? this.allowance : Math.max(FIRST_PATIENCE, this.patience);
    this.within((client) => client.set(`${this.prefix}:probe`, "1", "PX", 60_000), patience, patience).then(
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
        this.firstTry.resolve();
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
    this.deps.onChange(true, "");
  }

  close(): void {
    this.isClosed = true;
    clearInterval(this.prober);
    clearInterval(this.lagMeter);
    this.client.disconnect();
  }
}

/** Tells whether an error is Redis' answer, unlike a fault of the connection. */
const isRefusal = (error: Error): boolean => error.name === "ReplyError";

/** Tells whether a refusal says that Redis can't do its work at the moment. */
const isAway = (error: Error): boolean =>
  /^(NOPERM|NOAUTH|WRONGPASS|READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|OOM|MISCONF|NOREPLICAS)/.test(error.message);

/**
 * Fills in the address of a cluster's node that does not know its own: Redis then says nothing in its place, which means "the one that you
 * came by", and ioredis would skip the node.
 */
function nameNodes(seeds: readonly { host: string; port: number }[]): void {
  Command.setReplyTransformer("cluster", (reply: unknown) => {
    if (!Array.isArray(reply)) return reply;
    for (const range of reply) {
      if (!Array.isArray(range)) continue;
      for (const node of range.slice(2)) {
        if (!Array.isArray(node) || (node[0] && node[0] !== "?")) continue;
        node[0] = (seeds.find(({ port }) => port === node[1]) ?? seeds[0])?.host;
      }
    }
    return reply;
  });
}

function connect(config: RedisConfig): RedisClient {
  const { url, sentinel, cluster } = config;
  const parsed = new URL(url ?? "redis://localhost");
  const options: RedisOptions = {
    lazyConnect: true,
    // No auto-pipelining: what comes together goes in one call already (see Batches), and that is cheaper.
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
  if (cluster.length > 0) {
    const seeds = [...(url === undefined ? [] : [parsed.host]), ...cluster].map((node) => nodeOf(node, 6379));
    nameNodes(seeds);
    return new Cluster(seeds, {
      lazyConnect: true,
      enableOfflineQueue: false,
      clusterRetryStrategy: (attempt) => Math.min(1000, 50 * 2 ** Math.min(attempt, 5)),
      slotsRefreshTimeout: 2000,
      slotsRefreshInterval: 5000,
      redisOptions: options,
    });
  }
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
