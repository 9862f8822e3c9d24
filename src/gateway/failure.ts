import type { Failure } from "../exchange/dispatcher.ts";
import { MalformedBase64 } from "../grpc/web.ts";
import { TooLarge, TooSlow } from "../http/body.ts";
import { UpstreamFailure } from "../http/client.ts";
import { bodyTooLarge, modelUnpriced, type Problem, passing, poolExhausted, problem, TOO_SLOW, unavailable } from "../http/problem.ts";
import { Refused } from "../http/refused.ts";
import { LimiterUnavailable } from "../limits/limiter.ts";
import { CredentialRefused, ModelUnpriced, PoolExhausted, PoolMissing } from "../pools/credential.ts";
import { NoTarget } from "../upstreams/no-target.ts";

/** Gives the refusal for an error on a request's way, and tells whether the error is a fault of Sluice's own. */
export function failureOf(error: unknown): Failure {
  const refusal = expected(error);
  if (refusal !== null) return { refusal, isFault: false };
  if (error instanceof PoolMissing) {
    const detail = "This route has no credential for its backend at the moment; tell whoever runs it.";
    return { refusal: passing("noHealthyTarget", detail, 5), isFault: true };
  }
  return {
    refusal: problem("internal", "Something went wrong in the gateway; report the request id to whoever runs it."),
    isFault: true,
  };
}

function expected(error: unknown): Problem | null {
  if (error instanceof Refused) return error.problem;
  if (error instanceof NoTarget) return unavailable(error.why.code, error.why.retryIn);
  if (error instanceof LimiterUnavailable)
    return passing("limiterUnavailable", "Limits can't be checked at the moment; try again in a second.", 1);
  if (error instanceof PoolExhausted) return poolExhausted(error.retryIn, error.cost.tokens, error.cost.usd);
  if (error instanceof ModelUnpriced) return modelUnpriced(error.model);
  if (error instanceof CredentialRefused)
    return problem(
      "forbidden",
      "The backend refused this request with the key of this gateway: check what you ask for, and the headers that you send.",
    );
  if (error instanceof TooLarge) return bodyTooLarge(error.max);
  if (error instanceof TooSlow) return TOO_SLOW;
  return error instanceof UpstreamFailure ? ofUpstream(error) : null;
}

function ofUpstream({ kind, cause }: UpstreamFailure): Problem {
  if (cause instanceof TooLarge) return bodyTooLarge(cause.max);
  if (cause instanceof MalformedBase64)
    return problem(
      "badRequest",
      "The body must be base64, since its type is application/grpc-web-text: send it so, or as application/grpc-web.",
    );
  if (kind === "descriptors")
    return passing("outOfDescriptors", "The gateway has no connection to the backend to spare at the moment; try again in a second.", 1);
  if (kind === "request") return TOO_SLOW;
  if (kind === "timeout") return problem("upstreamTimeout", "The backend did not answer in time; try again later.");
  return problem("upstreamFailed", "The backend could not be reached or broke off; try again later.");
}
