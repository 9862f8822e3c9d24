import type { Clock } from "../clock.ts";
import type { Guard } from "../guard/guard.ts";
import type { KeyEntry, KeyRefusal, KeyRegistry } from "../keys/registry.ts";
import type { Exchange } from "./exchange.ts";
import { parameter, withoutParameter } from "./path.ts";
import { type Problem, type ProblemCode, problem } from "./problem.ts";
import type { Route } from "./route.ts";

/** What decides who may use a route. */
export type Entrance = Pick<Route, "auth" | "name" | "tiers" | "scopes">;

export interface IdentifyParts {
  readonly keys: KeyRegistry;
  readonly guard: Guard;
  readonly clock: Clock;
}

/** Finds out who calls: takes the key out of the request and looks it up. Gives the refusal of a caller who may not come in. */
export function identify(x: Exchange, route: Entrance, { keys, guard, clock }: IdentifyParts): Problem | null {
  if (route.auth === "none") return null;
  const secret = showKey(x);
  if (secret === null) {
    if (route.auth === "optional") return null;
    return unauthorized("keyMissing", `Send your API key in the ${x.generation.identity.headerName} header.`);
  }
  const now = clock.wall();
  const found = keys.find(secret, now);
  if (found === "keyInvalid") guard.strike(x.ip);
  if (typeof found === "string") {
    // Whose it is, is worth knowing: nobody asks more often why they were refused.
    if (found !== "keyInvalid") x.refusedKey = keys.known(secret);
    return unauthorized(found, REFUSED_KEY[found]);
  }
  x.key = found;
  if (found.expiresAt - now < EXPIRES_SOON) x.routeHead += `X-Key-Expires: ${new Date(found.expiresAt).toISOString()}\r\n`;
  keys.touch(found, now);
  return mayUse(found, route, x.ip);
}

/** Callers are told of their key's end for its last seven days. */
const EXPIRES_SOON = 7 * 86_400_000;

const REFUSED_KEY: Record<KeyRefusal, string> = {
  keyInvalid: "This API key is not known; check it for typing errors.",
  keyExpired: "This API key has expired; ask for a new one.",
  keyRevoked: "This API key is revoked or disabled; ask for a new one.",
};

const unauthorized = (code: ProblemCode, detail: string): Problem =>
  problem(code, detail, {}, [["WWW-Authenticate", 'Bearer realm="sluice"']]);

/** Takes the key out of the request, from the first place that holds one: the header, the bearer token, the query parameter. */
function showKey(x: Exchange): string | null {
  const { identity } = x.generation;
  const { fields } = x.incoming.head;
  const header = fields.joined(identity.header);
  if (header !== null && header !== "") {
    x.keyField = identity.header;
    return header;
  }
  if (identity.bearer) {
    const authorization = fields.get("authorization");
    if (authorization !== null && authorization.length > 7 && authorization.slice(0, 7).toLowerCase() === "bearer ") {
      x.keyField = "authorization";
      return authorization.slice(7).trim();
    }
  }
  if (identity.query !== null && x.query !== "") {
    const value = parameter(x.query, identity.query);
    if (value !== null) {
      x.query = withoutParameter(x.query, identity.query);
      return value;
    }
  }
  return null;
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
