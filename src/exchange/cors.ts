import type { Fields } from "../http/fields.ts";
import { date } from "../http/reply.ts";
import { parseDuration } from "../values/units.ts";
import type { Answerer } from "./line.ts";
import type { CorsConfig } from "./settings.ts";

/** Says what pages of other origins may do with a route (the Fetch standard's CORS protocol), with its header lines made beforehand. */
export interface Cors {
  /** Lower-case origins, or `null` for any. */
  readonly origins: ReadonlySet<string> | null;
  readonly credentials: boolean;
  readonly maxAge: string;
  /** The value of Access-Control-Allow-Methods; "" allows the method that is asked for. */
  readonly methods: string;
  /** The value of Access-Control-Expose-Headers. */
  readonly exposed: string;
}

/** The header fields that a page may read besides the few that it always may: those that Sluice sets. */
const EXPOSED =
  "X-Request-ID, X-Process-Time, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, RateLimit, RateLimit-Policy, Retry-After, X-Cost, X-Model-Used";

/** Those in which a refused call of gRPC has its status. */
const EXPOSED_OF_CALLS = "Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin";

/** Compiles what pages of other origins may do. `hasCalls`: they may call gRPC. */
export function compileCors(config: CorsConfig, methods: readonly string[], hasCalls = false): Cors {
  return {
    origins: config.origins.includes("*") ? null : new Set(config.origins.map((origin) => origin.toLowerCase())),
    credentials: config.credentials,
    exposed: hasCalls ? `${EXPOSED}, ${EXPOSED_OF_CALLS}` : EXPOSED,
    maxAge: String(Math.floor(parseDuration(config.maxAge) / 1000)),
    methods: methods.includes("GET") && !methods.includes("HEAD") ? [...methods, "HEAD"].join(", ") : methods.join(", "),
  };
}

/**
 * Gives the method that a preflight asks for, or `null` for any other request. A preflight asks what a page may send: OPTIONS with an
 * origin and the method in question.
 */
export function preflightMethod(method: string, fields: Fields): string | null {
  return method === "OPTIONS" && fields.get("origin") !== null ? fields.get("access-control-request-method") : null;
}

/** Gives the header lines of an actual response. Other origins get none, so that the browser keeps the response from the page. */
export function corsHead(cors: Cors, origin: string | null): string {
  const allowed = allowedOrigin(cors, origin);
  return allowed === "" ? VARY : `${allowed}Access-Control-Expose-Headers: ${cors.exposed}\r\n${VARY}`;
}

/** Gives the header lines of the answer to a preflight. */
function preflightHead(cors: Cors, fields: Fields): string {
  const allowed = allowedOrigin(cors, fields.get("origin"));
  if (allowed === "") return VARY_PREFLIGHT;
  const asked = fields.joined("access-control-request-headers");
  return (
    `${allowed}Access-Control-Allow-Methods: ${cors.methods || fields.get("access-control-request-method")}\r\n` +
    `${asked === null ? "" : `Access-Control-Allow-Headers: ${asked}\r\n`}Access-Control-Max-Age: ${cors.maxAge}\r\n${VARY_PREFLIGHT}`
  );
}

/** Answers a preflight. */
export const preflightAnswerer =
  (cors: Cors): Answerer =>
  ({ incoming }) => ({
    kind: "reply",
    reply: { status: 204, reason: "No Content", head: date() + preflightHead(cors, incoming.head.fields), body: null, length: -1 },
  });

// Caches must not give one origin's answer to another.
const VARY = "Vary: Origin\r\n";
const VARY_PREFLIGHT = "Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n";

function allowedOrigin(cors: Cors, origin: string | null): string {
  if (origin === null) return "";
  if (cors.origins === null) return "Access-Control-Allow-Origin: *\r\n";
  if (!cors.origins.has(origin.toLowerCase())) return "";
  return `Access-Control-Allow-Origin: ${origin}\r\n${cors.credentials ? "Access-Control-Allow-Credentials: true\r\n" : ""}`;
}
