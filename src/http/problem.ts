import { dollarsOf } from "../values/money.ts";
import { withoutKeys } from "../values/redact.ts";
import type { RpcTold } from "./rpc-refusal.ts";

/** The status and title of every error that Sluice makes, by its code. The codes are part of the contract with users. */
export const CODES = {
  badRequest: { status: 400, title: "Bad request" },
  keyMissing: { status: 401, title: "No API key" },
  keyMalformed: { status: 401, title: "Malformed API key" },
  keyInvalid: { status: 401, title: "Unknown API key" },
  keyExpired: { status: 401, title: "Expired API key" },
  keyRevoked: { status: 401, title: "Revoked API key" },
  tokenInvalid: { status: 401, title: "Invalid token" },
  tokenExpired: { status: 401, title: "Expired token" },
  issuerUnknown: { status: 401, title: "Unknown issuer" },
  certificateInvalid: { status: 401, title: "Invalid client certificate" },
  forbidden: { status: 403, title: "Not allowed" },
  modelUnknown: { status: 403, title: "No such model" },
  modelUnpriced: { status: 403, title: "The model has no price" },
  toolUnknown: { status: 403, title: "No such tool" },
  routeNotFound: { status: 404, title: "No such route" },
  notFound: { status: 404, title: "No such record" },
  methodNotAllowed: { status: 405, title: "Method not allowed" },
  requestTimeout: { status: 408, title: "Too slow" },
  conflict: { status: 409, title: "Conflict" },
  preconditionFailed: { status: 412, title: "Changed since it was read" },
  bodyTooLarge: { status: 413, title: "Body too large" },
  costTooHigh: { status: 413, title: "Request costs too much" },
  unsupportedMediaType: { status: 415, title: "Not JSON" },
  expectationFailed: { status: 417, title: "Unknown expectation" },
  validationFailed: { status: 422, title: "Invalid input" },
  rateLimited: { status: 429, title: "Too many requests" },
  quotaExceeded: { status: 429, title: "Quota used up" },
  poolExhausted: { status: 429, title: "No key of the pool is left" },
  ipBlocked: { status: 429, title: "This address is blocked" },
  headersTooLarge: { status: 431, title: "Headers too large" },
  tooManyReaders: { status: 429, title: "Too many readers" },
  internal: { status: 500, title: "Internal error" },
  pluginFailed: { status: 500, title: "A plug-in failed" },
  notImplemented: { status: 501, title: "Not implemented" },
  upstreamFailed: { status: 502, title: "The backend failed" },
  noModelAnswered: { status: 502, title: "No model answered" },
  circuitOpen: { status: 503, title: "The backend is cut off for now" },
  noHealthyTarget: { status: 503, title: "No backend available" },
  authorizeFailed: { status: 503, title: "Nobody could say whether this is allowed" },
  backlogFull: { status: 503, title: "Too much waits to be applied" },
  queueUnavailable: { status: 503, title: "Nothing can be written at the moment" },
  storageReadOnly: { status: 503, title: "Changes can't be stored at the moment" },
  outOfDescriptors: { status: 503, title: "The gateway has no connection to spare" },
  draining: { status: 503, title: "Shutting down" },
  keeperUnavailable: { status: 503, title: "A part of the gateway is starting again" },
  keysUnavailable: { status: 503, title: "Keys can't be checked" },
  issuerUnavailable: { status: 503, title: "Tokens can't be checked" },
  limiterUnavailable: { status: 503, title: "Limits can't be checked" },
  notCached: { status: 504, title: "Nothing is kept for this request" },
  upstreamTimeout: { status: 504, title: "The backend did not answer in time" },
  versionNotSupported: { status: 505, title: "HTTP version not supported" },
} as const;

export type ProblemCode = keyof typeof CODES;

/**
 * Gives what the types of problems without a registered one begin with; their codes follow. `base`: `problemBase` of the configuration. Its
 * path ends with a slash, whether it is written or not; a query or a fragment stays as it is.
 *
 * @example
 * typesFrom("https://errors.example.com") + "keyMissing"; // "https://errors.example.com/keyMissing"
 */
export function typesFrom(base: string | null): string {
  if (base === null) return "urn:sluice:problem:";
  return base.endsWith("/") || /[?#]/.test(base) ? base : `${base}/`;
}

/** The registered type of a 429 (draft-ietf-httpapi-ratelimit-headers, "Problem Types"). */
const QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/** The registered type of a 429 that a NORMAL system would not have given. */
const REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/** The registered type of a 429 for a caller who behaves like an attacker. */
export const ABNORMAL_USAGE = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";

/** A year in seconds, for an address that is blocked until further notice: Retry-After wants a number. */
const LONGEST_WAIT = 31_536_000;

/** Makes the refusal of a blocked address. `blockedFor` in milliseconds, infinite for until further notice. */
export function ipBlocked(blockedFor: number): Problem {
  const detail =
    "Your address is blocked for now: too many invalid keys came from it, or the operator blocked it. Wait, or ask the operator.";
  return passing("ipBlocked", detail, Math.min(LONGEST_WAIT, secondsOf(blockedFor)), { type: ABNORMAL_USAGE });
}

/** Makes the refusal of a call of a model without a price, where a limit or a budget in money applies. */
export const modelUnpriced = (model: string): Problem =>
  problem(
    "modelUnpriced",
    model === ""
      ? "What you may use is counted in money, and nobody can tell which model this calls: send JSON or a form that names one, of 16 MB at most and without Content-Encoding."
      : `The model ${JSON.stringify(model.slice(0, 256))} has no price here, and what you may use is counted in money: use another model, or ask the operator for its price.`,
  );

/**
 * Makes the refusal of a request for which no key of a pool is left. `retryIn` in milliseconds; infinite when no key ever holds its cost in
 * tokens and nano-dollars (`null` or infinite: it has none), which no waiting changes.
 */
export function poolExhausted(retryIn: number, tokens: number, usd: number | null): Problem {
  if (Number.isFinite(retryIn))
    return passing("poolExhausted", "All API keys have reached their rate limits. Please try again later.", secondsOf(retryIn));
  const money = usd === null || !Number.isFinite(usd) ? "" : ` and may cost ${dollarsOf(usd)} dollars`;
  return problem("costTooHigh", `This request takes ${tokens} tokens${money}, more than any key of the pool holds: make it smaller.`);
}

/** Makes the refusal of a request for which no target of a route can be asked. `retryIn` in milliseconds. */
export function unavailable(code: "circuitOpen" | "noHealthyTarget", retryIn: number): Problem {
  const retryAfter = secondsOf(retryIn);
  const detail =
    code === "circuitOpen"
      ? `The backend has failed too often and is not asked for now; try again in ${retryAfter} seconds.`
      : "This route has no healthy backend at the moment; try again later.";
  return passing(code, detail, retryAfter);
}

/** Seconds after which a caller may come again whose key, or whose record, could not be read. */
export const READABLE_AGAIN = 5;

/** The refusal of a caller of whom nobody can say who it is, since the database can't be read. */
export const KEYS_UNAVAILABLE: Problem = passing(
  "keysUnavailable",
  `API keys can't be checked at the moment; try again in ${READABLE_AGAIN} seconds.`,
  READABLE_AGAIN,
);

/** Makes the refusal of a body of more than `max` bytes. */
export const bodyTooLarge = (max: number): Problem => problem("bodyTooLarge", `The body must not be larger than ${max} bytes.`);

/** The refusal of a body that did not come. */
export const TOO_SLOW: Problem = problem(
  "requestTimeout",
  "The request's body did not arrive in time: send it faster, or in smaller parts.",
);

/** Gives whole seconds, at least 1, after which to come again. */
export const secondsOf = (milliseconds: number): number => Math.max(1, Math.ceil(milliseconds / 1000));

/** Describes one error on its way to the caller, as RFC 9457 does. */
export interface Problem {
  readonly status: number;
  readonly code: ProblemCode;
  /** All members of the body but those that the edge adds: `requestId`, and `type` where none is registered. */
  readonly members: Readonly<Record<string, unknown>>;
  /** Further header fields: `Allow`, `Retry-After`, `WWW-Authenticate`. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** As what clients of JSON-RPC are told of it, where their protocol has a form of its own for that. */
  readonly rpc?: RpcTold;
}

/**
 * Makes a problem by its code. `detail` is one sentence for the caller that says what to do; it must hold no secret and no backend's
 * address. `members` are added to the body, `headers` to the response.
 *
 * @example
 * problem("forbidden", "This key may not use this route.").status; // 403
 */
export function problem(
  code: ProblemCode,
  detail: string,
  members: Readonly<Record<string, unknown>> = {},
  headers: readonly (readonly [string, string])[] = [],
): Problem {
  const { status, title } = CODES[code];
  const registered = status === 429 && code !== "tooManyReaders" ? { type: QUOTA_EXCEEDED } : {};
  return { status, code, members: { ...registered, title, status, detail, code, ...members }, headers };
}

/** Makes a problem that may be over in `retryAfter` seconds: its body and `Retry-After` (RFC 9110, section 10.2.3) say so. */
export function passing(code: ProblemCode, detail: string, retryAfter: number, members: Readonly<Record<string, unknown>> = {}): Problem {
  return problem(code, detail, { retryAfter, ...members }, [["Retry-After", String(retryAfter)]]);
}

/** Describes one limit that denied a request, for the caller. */
export interface ViolatedPolicy {
  readonly name: string;
  readonly scope: string;
  readonly limit: number;
  readonly used: number;
  /** What the request would have taken of a limit in money. Left out for others. */
  readonly asked?: number;
  /** The unit of these numbers: of a limit in money, dollars. */
  readonly unit: "requests" | "units" | "usd";
  /** When it lets requests through again, as ISO 8601. */
  readonly reset: string;
}

/** Makes the refusal of a request that limits deny, the first of them in `violated`. `isReduced`: a NORMAL system would have let it through. */
export function limited(
  code: "rateLimited" | "quotaExceeded",
  detail: string,
  retryAfter: number,
  isReduced: boolean,
  violated: readonly ViolatedPolicy[],
): Problem {
  const { status, title } = CODES[code];
  const type = isReduced ? REDUCED_CAPACITY : QUOTA_EXCEEDED;
  return {
    status,
    code,
    // In one piece: a flood brings many.
    members: { type, title, status, detail, code, retryAfter, limit: violated[0]?.limit, violatedPolicies: violated },
    headers: [["Retry-After", String(retryAfter)]],
  };
}

/** Gives the same problem under another status, for whoever understands few of them. */
export const toldAs = (status: number, refusal: Problem): Problem =>
  status === refusal.status ? refusal : { ...refusal, status, members: { ...refusal.members, status } };

/** Gives the name that providers of language models have for an error of this status. */
const providersType = (status: number): string =>
  status === 401
    ? "authentication_error"
    : status === 403
      ? "permission_error"
      : status === 429
        ? "rate_limit_error"
        : status === 503
          ? "overloaded_error"
          : status >= 500
            ? "api_error"
            : "invalid_request_error";

/**
 * Adds to a problem the members that clients of language models' providers read: they show `error.message`, and tell errors apart by
 * `error.type` and `error.code`.
 */
export const forModelClients = (refusal: Problem): Problem => ({
  ...refusal,
  members: { ...refusal.members, error: { message: refusal.members.detail, type: providersType(refusal.status), code: refusal.code } },
});

/** The beginning of the bodies of problems that are told again and again, with the `types` that it was written for; `null`: it is not written yet. */
const beginnings = new WeakMap<Problem, { readonly types: string; readonly text: string } | null>();

/** Has the body of a problem written once, but for the request's id: for one that is the same for everybody. Gives the same problem. */
export function standing(refusal: Problem): Problem {
  beginnings.set(refusal, null);
  return refusal;
}

/**
 * Writes the body's text. It may quote what a caller sent, but never a key. `requestId`: as `requestId` of the exchange takes and makes it;
 * `types`: see `typesFrom`.
 */
export function problemBody(refusal: Problem, requestId: string, types: string): string {
  const known = beginnings.get(refusal);
  if (known !== undefined) return `${(known?.types === types ? known : beginningOf(refusal, types)).text}${requestId}"}`;
  const { code, members } = refusal;
  return withoutKeys(JSON.stringify({ type: types + code, ...members, requestId }));
}

function beginningOf(refusal: Problem, types: string): { readonly types: string; readonly text: string } {
  const { code, members } = refusal;
  const beginning = { types, text: withoutKeys(JSON.stringify({ type: types + code, ...members, requestId: "" })).slice(0, -'"}'.length) };
  beginnings.set(refusal, beginning);
  return beginning;
}

/** The refusal of what one process does for all, while that process is not there. */
export const KEEPER_UNAVAILABLE: Problem = passing(
  "keeperUnavailable",
  "The part of the gateway that answers this is starting again: send the request again in a second.",
  1,
);
