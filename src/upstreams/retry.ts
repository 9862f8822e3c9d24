import { nameOf, statusOfHttp } from "../grpc/status.ts";
import type { FailureKind } from "../http/client.ts";
import { isIdempotent } from "../http/methods.ts";
import type { FailedOutcome, GrpcOutcome } from "./upstream.ts";

/** Says how an attempt went: its answer's status, the one that a call of gRPC ended with, or why there was none. */
export type Why = number | GrpcOutcome | FailureKind;

/** Says when a request is sent again. Times in milliseconds. */
export interface RetryPolicy {
  /** How often a request is sent at most, the first time included. */
  readonly attempts: number;
  readonly baseDelay: number;
  readonly maxDelay: number;
  readonly factor: number;
  readonly jitter: boolean;
  /** How long one attempt may take; `null`: as long as the route's timeout leaves. */
  readonly attemptTimeout: number | null;
  /** The outcomes with which a call of gRPC is sent again. */
  readonly on: ReadonlySet<GrpcOutcome>;
}

/**
 * Tells how long to wait before the retry that follows attempt `attempt` (from 1), in milliseconds. Exponential, capped, with full jitter: evenly between 0 and the cap, which
 * spreads callers that failed together best (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). `retryAfter`: what the upstream asked for, obeyed up to
 * `maxDelay`; `null` when it asked for nothing. `random` gives numbers from 0 up to 1.
 */
export function retryDelay(policy: RetryPolicy, attempt: number, retryAfter: number | null, random: () => number): number {
  if (retryAfter !== null) return Math.min(retryAfter, policy.maxDelay);
  const max = Math.min(policy.maxDelay, policy.baseDelay * policy.factor ** (attempt - 1));
  return policy.jitter ? random() * max : max;
}

/** The longest wait before the only target is asked again after it could not be reached for the first time, in milliseconds. */
const SOON = 100;

/** Tells the same as `retryDelay`, by how the attempt went: `why` is its answer's status, or why there was none. */
export function delayBefore(policy: RetryPolicy, attempt: number, why: Why, retryAfter: number | null, random: () => number): number {
  const delay = retryDelay(policy, attempt, retryAfter, random);
  // A refused connection costs the backend nothing, and the first time it is most often a restart: it is soon asked again.
  return why === "connect" && attempt === 1 ? Math.min(delay, random() * SOON) : delay;
}

/** Tells whether a status says that another attempt may do better (RFC 9110 §15.6). */
const isRetryable = (status: number): boolean => status === 502 || status === 503 || status === 504;

/** Tells what a failure says of the target; `null` for what is the caller's doing or the gateway's own want. */
export function outcomeOf(kind: FailureKind): FailedOutcome | null {
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

/** Holds an attempt that did not do, and what decides whether the request is sent again. */
export interface Setback {
  readonly why: Why;
  readonly method: string;
  /** It carries an Idempotency-Key: its sender says that it may be sent again. */
  readonly hasKey: boolean;
  /** Its body can be sent again. */
  readonly isRepeatable: boolean;
  /** The backend has said that it did not look at it. */
  readonly isUnprocessed?: boolean;
  /** For a call of gRPC, the outcomes with which it may be sent again; `null`: it is none. */
  readonly on?: ReadonlySet<GrpcOutcome> | null;
}

/** Tells whether a request may be sent again, and another attempt may do better. */
export function mayBeRepeated({ why, method, hasKey, isRepeatable, isUnprocessed = false, on = null }: Setback): boolean {
  // A connection that was never made has brought nothing to anybody, and taken nothing of the body.
  if (why === "connect") return true;
  if (!isRepeatable) return false;
  if (isUnprocessed) return true;
  if (on !== null) {
    const outcome = grpcOutcomeOf(why);
    if (outcome !== null && on.has(outcome)) return true;
  }
  if (isGrpcOutcome(why) || !(hasKey || isIdempotent(method))) return false;
  return typeof why === "number" ? isRetryable(why) : outcomeOf(why) !== null;
}

const isGrpcOutcome = (why: Why): why is GrpcOutcome => typeof why === "string" && why.startsWith("grpc:");

/** Gives the outcome of a call as its caller would see it; `null`: the backend has no part in it. */
function grpcOutcomeOf(why: Why): GrpcOutcome | null {
  if (isGrpcOutcome(why)) return why;
  if (typeof why === "number") return `grpc:${nameOf(statusOfHttp(why))}`;
  const outcome = outcomeOf(why);
  return outcome === null ? null : outcome === "timeout" ? "grpc:DEADLINE_EXCEEDED" : "grpc:UNAVAILABLE";
}

/** Each request earns so much of a retry. */
const EARNED = 0.2;
/** Retries that a route may make before it has earned any, and the most it can save up. */
const AT_START = 10;
const AT_MOST = 100;

/**
 * Keeps a route's retries under 20 % of its requests, so that a backend in trouble is not flooded with repetitions (https://finagle.github.io/blog/2016/02/08/retry-budgets/).
 * A new route may make ten; a busy one saves up a hundred, for the moment in which one of its targets dies.
 */
export class RetryBudget {
  private balance = AT_START;

  /** Earns for a request that begins. */
  earn(): void {
    if (this.balance < AT_MOST) this.balance += EARNED;
  }

  /** Pays for a retry. False when there is too little for it. */
  spend(): boolean {
    // Fifths don't add up exactly in binary.
    if (this.balance < 1 - 1e-9) return false;
    this.balance -= 1;
    return true;
  }
}
