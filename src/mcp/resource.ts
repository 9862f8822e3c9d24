import type { Gate, Stop } from "../exchange/line.ts";
import { RESOURCE_METADATA } from "../exchange/own-paths.ts";
import type { Problem } from "../http/problem.ts";

/** Describes a server to clients who look for a token for it. */
export interface ProtectedResource {
  /** The URL by which clients know it. */
  readonly url: string;
  /** The host of that URL, with its port where it has one of its own. */
  readonly host: string;
  /** The path at which its metadata is published. */
  readonly path: string;
  /** Its metadata (RFC 9728 §2), as JSON. */
  readonly metadata: string;
  /** The parameters that its challenges have besides. */
  readonly challenge: string;
  /** The scopes that every caller needs, as a parameter of a challenge; "": none. */
  readonly scope: string;
}

/** Says what a protected resource is made of. */
export interface ResourceParts {
  readonly resource: string | null;
  /** The name for people. */
  readonly name: string;
  /** The scopes that every caller needs. */
  readonly scopes: readonly string[];
  /** The scopes that tools need. */
  readonly toolScopes: readonly string[];
  /** The issuers whose tokens are taken, as they call themselves. */
  readonly issuers: readonly string[];
}

/** Makes the description of a protected resource; `null` where clients can get no token for it. */
export function protectedResource({ resource, name, scopes, toolScopes, issuers }: ResourceParts): ProtectedResource | null {
  // Clients look an issuer's own metadata up below its URL.
  const servers = issuers.filter((issuer) => /^https?:$/.test(URL.parse(issuer)?.protocol ?? ""));
  const url = resource === null ? null : URL.parse(resource);
  if (resource === null || url === null || servers.length === 0) return null;
  const path = RESOURCE_METADATA + url.pathname.replace(/\/$/, "");
  const supported = [...new Set([...scopes, ...toolScopes])];
  const metadata = {
    resource,
    authorization_servers: servers,
    ...(supported.length === 0 ? {} : { scopes_supported: supported }),
    bearer_methods_supported: ["header"],
    resource_name: name,
  };
  return {
    url: resource,
    host: url.host,
    path,
    metadata: JSON.stringify(metadata),
    challenge: `resource_metadata="${url.origin}${path}"`,
    scope: scopes.length === 0 ? "" : `scope="${scopes.join(" ")}"`,
  };
}

/**
 * Has a gate's challenges say where clients learn how to get a token (RFC 9728 §5.1), and with which scopes. Gives the gate itself where
 * nothing is published.
 */
export function challenging(gate: Gate, resource: ProtectedResource | null): Gate {
  if (resource === null) return gate;
  const told = (stop: Stop | null): Stop | null => (stop !== null && "code" in stop ? challenged(stop, resource) : stop);
  return (exchange) => {
    const stop = gate(exchange);
    return stop instanceof Promise ? stop.then(told) : told(stop);
  };
}

/** Gives the same refusal, its challenge with where to get a token. One that challenges nobody stays as it is. */
export function challenged(refusal: Problem, { challenge, scope }: ProtectedResource): Problem {
  if (refusal.status !== 401 && refusal.status !== 403) return refusal;
  return {
    ...refusal,
    headers: refusal.headers.map(([name, value]) => {
      if (name !== "WWW-Authenticate" || !value.startsWith("Bearer")) return [name, value];
      const parts = [value, challenge, ...(scope === "" || /\bscope="/.test(value) ? [] : [scope])];
      return [name, parts.join(", ")];
    }),
  };
}
