import type { Exchange } from "../exchange/exchange.ts";
import type { Route } from "../exchange/route.ts";
import type { Snapshot } from "../exchange/snapshot.ts";
import type { Guard } from "../guard/guard.ts";
import { withoutPort } from "../http/client-ip.ts";
import { parameter, withoutParameter } from "../http/path.ts";
import { ipBlocked, type Problem, type ProblemCode, problem } from "../http/problem.ts";
import type { KeyEntry, KeyRefusal, KeyRegistry } from "../keys/registry.ts";
import type { Clock } from "../values/clock.ts";
import { type CidrSet, isPrivate, normaliseIp } from "../values/ip.ts";
import { isMade, isPlausible } from "../values/key-format.ts";

/** What decides who may use a route. */
export type Entrance = Pick<Route, "auth" | "name" | "tiers" | "scopes">;

/** The fields of a request in which a key may stand, and those that proxies set. */
export interface KeyFields {
  /** The first field of this name, in small letters. */
  get(lower: string): string | null;
  /** All fields of this name as one. */
  joined(lower: string): string | null;
}

/** What of a request holds its key, and what is noted of it when it is taken out. */
export interface KeyCarrier {
  readonly snapshot: Pick<Snapshot, "identity">;
  readonly incoming: { readonly head: { readonly fields: KeyFields } };
  query: string;
  keyField: string;
  dropsAuthorization: boolean;
}

export interface IdentifyDeps {
  readonly keys: KeyRegistry;
  readonly guard: Guard;
  readonly clock: Clock;
}

/**
 * Finds out who calls, and from where: takes the key out of the request and looks it up. Gives the refusal of a caller who may not come in.
 * `Guard.lets` says what passes while the address is blocked.
 */
export function identify(exchange: Exchange, route: Entrance, { keys, guard, clock }: IdentifyDeps): Problem | null {
  const { ip, incoming, snapshot } = exchange;
  const hidden = hiddenCaller(incoming.ip, incoming.head.fields, snapshot.trustedProxies);
  if (hidden !== null) guard.sawProxy(ip);
  const blockedFor = guard.blockedFor(ip);
  const shown = takeKeys(exchange, keys, route.auth !== "none");
  const secret = route.auth === "none" ? null : shown;
  if (blockedFor > 0 && !guard.lets(ip, secret, hidden)) return ipBlocked(blockedFor);
  if (secret === null) {
    if (route.auth !== "required") return null;
    return unauthorized(exchange, "keyMissing", `Send your API key in the ${snapshot.identity.headerName} header.`);
  }
  const now = clock.wall();
  const found = keys.find(secret, now);
  if (typeof found === "string") {
    if (blockedFor > 0) {
      // No guess is told from another.
      if (hidden !== null && found === "keyInvalid") guard.tried(ip, secret, hidden);
      return ipBlocked(blockedFor);
    }
    if (found === "keyInvalid") guard.strike(ip);
    // Whose it is, is worth knowing: nobody asks more often why they were refused.
    if (found !== "keyInvalid" && found !== "keyMalformed") exchange.refusedKey = keys.known(secret);
    return unauthorized(exchange, found, REFUSED_KEY[found]);
  }
  exchange.key = found;
  if (found.expiresAt - now < EXPIRES_SOON) exchange.routeHead += `X-Key-Expires: ${new Date(found.expiresAt).toISOString()}\r\n`;
  keys.touch(found, now);
  guard.accepted(exchange.ip, secret, found, now);
  return mayUse(found, route, exchange.ip);
}

/**
 * For whom a proxy on this machine or in its network asks that `server.trustedProxies` does not name; `null` where there is none. All of its callers have its address.
 * The last address of X-Forwarded-For is the one that the proxy itself has seen; "" when it says none.
 */
export function hiddenCaller(peer: string, fields: KeyFields, trusted: CidrSet): string | null {
  if (!isPrivate(peer)) return null;
  const trail = fields.joined("x-forwarded-for");
  if ((trail === null && fields.get("forwarded") === null) || trusted.has(peer)) return null;
  if (trail === null) return "";
  return normaliseIp(withoutPort(trail.slice(trail.lastIndexOf(",") + 1).trim())) ?? "";
}

/** Callers are told of their key's end for its last seven days. */
const EXPIRES_SOON = 7 * 86_400_000;

const REFUSED_KEY: Record<KeyRefusal, string> = {
  keyMalformed: "This is not a whole API key: it is mistyped or cut off. Copy it again.",
  keyInvalid: "This API key is not known; check it for typing errors.",
  keyExpired: "This API key has expired; ask for a new one.",
  keyRevoked: "This API key is revoked or disabled; ask for a new one.",
};

const BEARER = ["WWW-Authenticate", 'Bearer realm="sluice"'] as const;
/** Without it git and its like never send what they know. */
const BASIC = ["WWW-Authenticate", 'Basic realm="sluice", charset="UTF-8"'] as const;

const unauthorized = (exchange: Exchange, code: ProblemCode, detail: string): Problem =>
  problem(code, detail, {}, exchange.snapshot.identity.basic ? [BEARER, BASIC] : [BEARER]);

/**
 * Takes every key of Sluice's out of the request: none is the backend's business. The one that counts comes from the first place that holds one: the header, the bearer token, the query parameter.
 * `isAsked`: whether a bearer token by itself is a key; where it is not, or is a second one, it is the backend's own unless Sluice knows it.
 */
export function takeKeys(carrier: KeyCarrier, keys: KeyRegistry, isAsked: boolean): string | null {
  const { identity } = carrier.snapshot;
  const { fields } = carrier.incoming.head;
  let secret: string | null = null;
  const header = fields.joined(identity.header);
  if (header !== null && header !== "") {
    carrier.keyField = identity.header;
    secret = header;
  }
  if (identity.bearer || identity.basic) {
    const authorization = fields.get("authorization");
    const shown = authorization === null ? null : shownIn(authorization, identity);
    if (shown !== null) {
      if (secret === null && isAsked) {
        carrier.keyField = "authorization";
        secret = shown;
        carrier.dropsAuthorization = true;
      } else carrier.dropsAuthorization = isMade(shown) || (isPlausible(shown) && keys.known(shown) !== null);
    }
  }
  if (identity.query !== null && carrier.query !== "") {
    const value = parameter(carrier.query, identity.query);
    if (value !== null) {
      carrier.query = withoutParameter(carrier.query, identity.query);
      secret ??= value;
    }
  }
  return secret;
}

/** What an Authorization field holds that may be a key: the bearer token, or the password (RFC 7617), whoever the user; `null` when there is none. */
function shownIn(authorization: string, { bearer, basic }: Snapshot["identity"]): string | null {
  const space = authorization.indexOf(" ");
  // Nearly every scheme is neither: no need to look closer.
  if (space !== 6 && space !== 5) return null;
  const scheme = authorization.slice(0, space).toLowerCase();
  const rest = authorization.slice(space + 1).trim();
  if (bearer && scheme === "bearer") return rest === "" ? null : rest;
  if (!basic || scheme !== "basic") return null;
  const pair = Buffer.from(rest, "base64").toString("latin1");
  const colon = pair.indexOf(":");
  return colon < 0 || colon === pair.length - 1 ? null : pair.slice(colon + 1);
}

/** Why a key may not be used on a route from an address; `null` when it may. */
export function mayUse(key: KeyEntry, route: Entrance, ip: string): Problem | null {
  if (route.tiers.length > 0 && !route.tiers.includes(key.consumer.tier)) {
    return problem("forbidden", `This route is for ${route.tiers.join(", ")}; your tier is ${key.consumer.tier}.`);
  }
  const missing = route.scopes.filter((scope) => !key.scopes.includes(scope));
  if (missing.length > 0) return problem("forbidden", `This API key lacks the scope ${missing.join(", ")}.`);
  if (key.routes.length > 0 && !key.routes.includes(route.name)) return problem("forbidden", "This API key may not use this route.");
  if (key.ips !== null && !key.ips.has(ip)) return problem("forbidden", "This API key may not be used from your address.");
  return null;
}
