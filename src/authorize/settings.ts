import { type Static, Type } from "@sinclair/typebox";
import { NameFilter } from "../http/name-filter.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { Duration, Shape } from "../schema/fields.ts";
import { timeFaults } from "../schema/rules.ts";
import { addressFault } from "../upstreams/settings.ts";

/** A field's name as every server reads it: of other characters some make `-`, so that two names would be one. */
const PLAIN_NAME = "^[A-Za-z0-9-]{1,128}$";

const Names = (description: string, more: object) =>
  Type.Array(Type.String({ pattern: PLAIN_NAME, expects: "a header's name of letters, digits and -" }), {
    maxItems: 32,
    description,
    ...more,
  });

export const AuthorizeConfig = Shape(
  {
    url: Type.String({
      maxLength: 2048,
      description: "Where it is asked, by GET: http or https, with a path and a query if need be.",
      examples: ["http://127.0.0.1:4180/oauth2/auth"],
    }),
    headers: Names(
      "Fields of the request that it gets, as the caller sent them. A key of Sluice's is never among them, wherever it stands, nor what else Sluice does not forward of what shows who calls.",
      { default: ["Authorization", "Cookie"] },
    ),
    upstreamHeaders: Names(
      "Fields of its 2xx that the backend gets. They are removed from every caller's request, in whatever spelling a backend could take for them.",
      { default: ["X-User"] },
    ),
    timeout: Duration("How long its answer may take, from the connection to the last byte that the caller is given.", { default: "1s" }),
    onError: Type.Union([Type.Literal("deny"), Type.Literal("allow")], {
      default: "deny",
      description:
        "What becomes of requests when it answers 5xx, or not in time, or can't be reached. deny: 503 authorizeFailed. allow: they go on without its fields. Denied by default: what nobody has allowed must not pass.",
    }),
    cacheFor: Type.Union([Duration("A duration."), Type.Null()], {
      default: null,
      description:
        "How long its 2xx and 403 are kept for the same question: same route, method, host, path with query, caller, address and named headers. null: each request asks, so that what is withdrawn is withdrawn at once.",
      expects: 'a duration such as "30s", or null',
    }),
  },
  "Asks another service whether a request may pass.",
);
export type AuthorizeConfig = Static<typeof AuthorizeConfig>;

/** Fields that a route has rules for besides: who sets one of them sets it alone. */
export interface OtherFields {
  readonly headers: { readonly request: { readonly set: Readonly<Record<string, string>> } };
  readonly credential: { readonly header: string } | null;
}

/** Knows the fields that are never a caller's, or only a trusted proxy's. */
const GENERAL = new NameFilter([]);

/** Gives the faults of a route's authorize that the schema can't express. Paths begin with `at`. */
export function authorizeFaults(authorize: AuthorizeConfig, { headers, credential }: OtherFields, at: Path): Fault[] {
  const faults: Fault[] = [];
  const say = (path: Path, message: string) => faults.push({ path: [...at, ...path], message });
  const address = addressFault(authorize.url) ?? (authorize.url.includes("#") ? 'must not hold "#"' : null);
  if (address !== null) say(["url"], address);
  for (const [i, name] of authorize.headers.entries())
    if (GENERAL.of(name.toLowerCase()) !== "always") say(["headers", i], "is Sluice's own to send: the service gets what Sluice knows");
  const set = new Set(Object.keys(headers.request.set).map((name) => name.toLowerCase()));
  for (const [i, name] of authorize.upstreamHeaders.entries()) {
    const lower = name.toLowerCase();
    if (GENERAL.of(lower) === "never") say(["upstreamHeaders", i], "is Sluice's own to set");
    else if (set.has(lower)) say(["upstreamHeaders", i], "is set by headers.request.set already");
    else if (credential?.header.toLowerCase() === lower) say(["upstreamHeaders", i], "is set by credential already");
  }
  for (const field of ["timeout", "cacheFor"] as const) {
    const duration = authorize[field];
    if (duration !== null) faults.push(...timeFaults(duration, [...at, field]));
  }
  return faults;
}
