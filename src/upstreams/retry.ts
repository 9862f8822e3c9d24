/** When a request is sent again. Times in milliseconds. */
export interface RetryPolicy {
  /** How often a request is sent at most, the first time included. */
  readonly attempts: number;
  readonly baseDelay: number;
  readonly maxDelay: number;
  readonly factor: number;
  readonly jitter: boolean;
  /** How long one attempt may take; `null`: as long as the route's timeout leaves. */
  readonly attemptTimeout: number | null;
}

/**
 * How long to wait before the retry that follows attempt `attempt` (from 1), in milliseconds. Exponential, capped, with full jitter: evenly between 0 and the cap, which
 * spreads callers that failed together best (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). `retryAfter`: what the upstream asked for, obeyed up to
 * `maxDelay`; `null` when it asked for nothing. `random` gives numbers from 0 up to 1.
 */
export function retryDelay(policy: RetryPolicy, attempt: number, retryAfter: number | null, random: () => number): number {
  if (retryAfter !== null) return Math.min(retryAfter, policy.maxDelay);
  const max = Math.min(policy.maxDelay, policy.baseDelay * policy.factor ** (attempt - 1));
  return policy.jitter ? random() * max : max;
}

/** Statuses that say that another attempt may do better (RFC 9110 §15.6). */
export const isRetryable = (status: number): boolean => status === 502 || status === 503 || status === 504;

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

  /** A request begins. */
  earn(): void {
    if (this.balance < AT_MOST) this.balance += EARNED;
  }

  /** True, and paid for, when a retry may be made. */
  spend(): boolean {
    // Fifths don't add up exactly in binary.
    if (this.balance < 1 - 1e-9) return false;
    this.balance -= 1;
    return true;
  }
}
