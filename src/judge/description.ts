import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { namedClient, UNKNOWN_ADDRESS } from "../http/client-ip.ts";
import { Fields, isToken } from "../http/fields.ts";
import { isHost, isTarget } from "../http/head.ts";
import { type CidrSet, normaliseIp } from "../values/ip.ts";

/** The parts of a request that a proxy describes by fields of its own. */
type Part = "method" | "target" | "host" | "scheme";

/**
 * The fields that describe a request: those that Traefik and Caddy send, and those that are usual with nginx. X-Original-URL may be a whole
 * URL.
 */
const DESCRIBING: ReadonlyMap<string, Part> = new Map([
  ["x-forwarded-method", "method"],
  ["x-forwarded-uri", "target"],
  ["x-forwarded-host", "host"],
  ["x-forwarded-proto", "scheme"],
  ["x-original-method", "method"],
  ["x-original-uri", "target"],
  ["x-original-url", "target"],
  ["x-original-host", "host"],
  ["x-original-proto", "scheme"],
]);

/** Further fields that are the proxy's own, or speak of its connection to Sluice. */
const OF_PROXY: ReadonlySet<string> = new Set([
  ...["forwarded", "x-real-ip", "host", "x-request-id"],
  ...["connection", "keep-alive", "content-length", "transfer-encoding", "te", "trailer", "expect"],
]);
const OF_PROXY_BEGINS: readonly string[] = ["x-forwarded-", "x-original-"];

/** Splits an absolute URL into its scheme, its host and the rest. */
const URL_PARTS = /^(https?):\/\/([^/?#]*)(.*)$/is;

/** Names the missing part, for whoever configures the proxy. */
const MISSING = {
  method: "No header names the request's method: let your proxy send X-Forwarded-Method or X-Original-Method.",
  target: "No header names the request's path: let your proxy send X-Forwarded-Uri or X-Original-URI.",
};

/** Holds a request that a proxy has described, as if it had arrived itself. */
export interface Description {
  readonly arrival: Arrival;
  /** The request target, not parsed yet. */
  readonly target: string;
}

/**
 * Reads the request that a proxy asks about; gives a sentence for whoever configures the proxy where it is not described, or in two ways.
 * At the path itself, fields describe it. Below the path it is described by the rest of the path, with the method and the Host that are
 * there: so Envoy asks.
 *
 * The fields that describe it, and those of the proxy's own, are not among the request's. Its address is the one that a trusted proxy
 * would name, "" where nobody names one.
 */
export function describe(exchange: Exchange, ownPath: string): Description | string {
  const { incoming } = exchange;
  const told = toldBy(incoming.head.fields);
  if (typeof told === "string") return told;
  const { parts } = told;
  if (exchange.path !== ownPath) {
    const target = targetBelow(incoming.head.target, ownPath);
    if (target === null) return `Ask at ${ownPath}, or below it by the path as your proxy has got it.`;
    if (parts.target !== null || parts.method !== null)
      return `The request is described by the path below ${ownPath}, and by headers: let your proxy ask at ${ownPath}, or not send them.`;
    return arrived(exchange, told, { ...parts, method: incoming.head.method, target, host: incoming.head.host });
  }
  if (parts.method === null) return MISSING.method;
  if (parts.target === null) return MISSING.target;
  const { method, target, scheme } = parts;
  return arrived(exchange, told, { method, target, scheme, host: parts.host ?? incoming.head.host });
}

type Parts = Readonly<Record<Part, string | null>>;

interface Told {
  readonly parts: Parts;
  /** The fields that the caller has sent. */
  readonly fields: Fields;
}

/** Takes the fields that describe a request from those that belong to it; gives a sentence where two of them say different things. */
function toldBy(all: Fields): Told | string {
  const fields = new Fields();
  const parts: Record<Part, string | null> = { method: null, target: null, host: null, scheme: null };
  // Of a request without a Host nginx and Caddy name none, so that one of the other kind is the caller's.
  const namesNoHost = !!all.get("x-forwarded-uri") && !all.get("x-forwarded-host");
  for (let i = 0; i < all.lower.length; i++) {
    const lower = all.lower[i] as string;
    const value = all.values[i] as string;
    const part = DESCRIBING.get(lower);
    if (part === undefined) {
      if (!isOfProxy(lower)) fields.add(all.names[i] as string, lower, value);
      continue;
    }
    const url = part === "target" ? URL_PARTS.exec(value) : null;
    const host = part === "host" ? value : (url?.[2] ?? "");
    const isClear = url === null ? put(parts, part, value) : put(parts, "target", url[3] || "/") && put(parts, "host", host);
    // A field that the proxy does not set is the caller's, who could describe another request by it.
    if (!isClear || (host !== "" && namesNoHost && lower.startsWith("x-original-")))
      return `${all.names[i]} says something else than another header about the request: let your proxy set one kind of them, and remove the other.`;
    if (url !== null) parts.scheme ??= url[1] as string;
  }
  return { parts, fields };
}

/** Notes a part of the description; gives false where it was told differently before. A scheme decides nothing: the first one counts. */
function put(parts: Record<Part, string | null>, part: Part, value: string): boolean {
  if (value === "" || (part === "scheme" && parts.scheme !== null)) return true;
  const isClear = parts[part] === null || parts[part] === value;
  parts[part] = value;
  return isClear;
}

const isOfProxy = (lower: string): boolean => OF_PROXY.has(lower) || OF_PROXY_BEGINS.some((begin) => lower.startsWith(begin));

/** Gives what stands below Sluice's own path, as it was sent; `null` where that is written in another way. */
const targetBelow = (target: string, ownPath: string): string | null =>
  target.startsWith(`${ownPath}/`) ? target.slice(ownPath.length) : null;

/** Makes the request that is described. */
function arrived(
  { incoming, id, snapshot }: Exchange,
  { fields }: Told,
  { method, target, host, scheme }: Parts & { readonly method: string; readonly target: string },
): Description | string {
  if (!isToken(method)) return "The method that a header describes is malformed.";
  if (!isTarget(target)) return "The path that a header describes is malformed.";
  if (host !== null && !isHost(host)) return "The host that a header describes is malformed: it must be one name or address.";
  // The same id here and there: the answer, the log and the backend speak of one request.
  fields.add("X-Request-ID", "x-request-id", id);
  if (host !== null) fields.add("Host", "host", host);
  const head: Arrival["head"] = {
    ...incoming.head,
    ...{ method, target, fields, host: host ?? "" },
    ...{ framing: "none", contentLength: -1, connection: "", expectsContinue: false },
  };
  const arrival: Arrival = {
    ...{ head, body: null, onAbort: null, isDescribed: true },
    ip: callerOf(incoming.head.fields, incoming.ip, snapshot.trustedProxies),
    hasProxyLine: incoming.hasProxyLine,
    isTls: scheme !== null && /^(?:https|wss)\b/i.test(scheme),
    get isAborted() {
      return incoming.isAborted;
    },
  };
  return { arrival, target };
}

/**
 * Gives the caller's address as a proxy tells it that is trusted for this: the one that X-Forwarded-For names, or X-Real-IP where there is
 * no such field; "" where none does.
 */
function callerOf(fields: Fields, peer: string, trusted: CidrSet): string {
  const trail = fields.joined("x-forwarded-for");
  if (trail !== null) return namedClient(trail, trusted, peer) ?? UNKNOWN_ADDRESS;
  const real = fields.get("x-real-ip");
  return real === null ? UNKNOWN_ADDRESS : (normaliseIp(real) ?? UNKNOWN_ADDRESS);
}
