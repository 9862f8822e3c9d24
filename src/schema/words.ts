import type { TObject, TSchema } from "@sinclair/typebox";
import { nearest } from "./faults.ts";

/**
 * The words that other gateways and proxies use for Sluice's fields, and what each may mean here, best guess first. In small letters
 * without `-` and `_`.
 */
const FOREIGN: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    upstreams: "services backends clusters servicegroups",
    routes: "apis locations rules paths proxies",
    consumers: "clients users customers apps applications accounts",
    tiers: "plans usageplans products packages",
    server: "listen listener listeners entrypoints listenaddress bind",
    upstream: "backend service proxypass proxyto target to destination backendref",
    targets: "servers nodes endpoints loadbalancer addresses urls backends",
    url: "address host uri server endpoint target",
    path: "uri url prefix pathprefix location match paths uris listenpath route pattern",
    stripPrefix: "strippath rewrite striplistenpath prefixrewrite",
    addPrefix: "addpath pathprefixadd prependpath uriprefix",
    respond: "return redirect redirectto staticresponse fixedresponse directresponse maintenance",
    hosts: "domains servername domain hostname hostnames",
    methods: "verbs method",
    auth: "authentication authenticated requireauth security",
    authorize: "forwardauth authrequest extauthz externalauth externalauthorization authorization authorizer",
    upstreamHeaders: "authresponseheaders copyheaders allowedupstreamheaders responseheaders",
    limits: "ratelimit ratelimits ratelimiting throttle throttling rate quotas",
    limit: "max requests rate count permits average maxrequests calls",
    window: "per period interval duration seconds unit timewindow timeunit every",
    ttl: "maxage expires expiry cachettl cachetime validity defaultttl duration",
    retry: "retries retrypolicy",
    attempts: "retries maxattempts numretries maxretries tries times",
    timeout: "readtimeout proxyreadtimeout requesttimeout responsetimeout",
    connectTimeout: "proxyconnecttimeout dialtimeout connectiontimeout",
    healthCheck: "healthchecks health active activehealthcheck",
    breaker: "circuitbreaker circuitbreakers outlierdetection",
    balance: "loadbalancing loadbalance algorithm lbpolicy policy strategy lb",
    keys: "apikeys key keyauth credentials tokens apikey",
    key: "apikey value token",
    id: "username consumer user",
    tier: "plan group product usageplan",
    scopes: "permissions roles scope claims acl",
    expiresAt: "expires expiry expiration expiresin validuntil ttl",
    redis: "store sharedstorage",
    logging: "log logs logger accesslog",
    telemetry: "tracing otel opentelemetry traces observability",
    otlp: "tracing otel opentelemetry",
    tls: "ssl https certificate certificates",
    cert: "certificate crt chain certfile certpath",
    ips: "iprestriction ipallowlist ipwhitelist ipfilter allowlist whitelist addresses",
    allow: "allowlist whitelist sourcerange permit",
    deny: "denylist blacklist blocklist block",
    trustedProxies: "realip trustedips setrealipfrom trustproxy forwardedheaders trusteddownstream",
    proxyProtocol: "sendproxy acceptproxy useproxyprotocol proxyproto",
    unix: "socket unixsocket uds socketpath",
    redirect: "httpsredirect redirecttohttps forcehttps sslredirect forcessl httptohttps",
    maxBodySize: "clientmaxbodysize bodylimit maxrequestsize maxbody",
    burst: "capacity burstsize",
    weight: "weights",
    storage: "database db data persistence",
    activities: "ingestion ingest",
    webhooks: "hooks notifications callbacks notify",
    issuers: "jwt oidc oauth oauth2 openid jwks",
  }).reduce<[string, string[]][]>((all, [ours, theirs]) => {
    for (const word of theirs.split(" ")) {
      const known = all.find(([other]) => other === word);
      if (known === undefined) all.push([word, [ours]]);
      else known[1].push(ours);
    }
    return all;
  }, []),
);

/** Settings that have no field of their own at the top of the file, and where each belongs. */
const ELSEWHERE: ReadonlyMap<string, string> = new Map(
  (
    [
      [
        "ratelimit ratelimits ratelimiting throttle throttling quota quotas",
        'limits belong to a tier, a consumer, a key or a route: "tiers": { "free": { "limits": [ … ] } }',
      ],
      [
        "plugins middleware middlewares filters policies",
        "what a plug-in does elsewhere are fields of the route here: auth, limits, cache, cors, headers",
      ],
    ] as const
  ).flatMap(([theirs, where]) => theirs.split(" ").map((word) => [word, where] as const)),
);

const plain = (name: string): string => name.toLowerCase().replace(/[-_]/g, "");

/** Gives a hint for an unknown field of an object, such as `did you mean "routes"?`, or `null` when nothing is near. */
export function hintFor(schema: TSchema, name: string): string | null {
  const properties = (schema as TObject).properties as Record<string, TSchema>;
  const meant = ourWord(schema, name);
  if (Object.hasOwn(properties, "routes") && Object.hasOwn(properties, "upstreams")) {
    const elsewhere = ELSEWHERE.get(plain(name));
    // At the top, "limits" is something else.
    if (elsewhere !== undefined && (meant === null || meant === "limits")) return elsewhere;
  }
  if (meant !== null) return `did you mean ${JSON.stringify(meant)}?`;
  const within = Object.entries(properties).filter(([, child]) => Object.hasOwn(propertiesOf(child), name));
  return within.length === 0 || within.length > 3 ? null : `did you mean ${within.map(([outer]) => `${outer}.${name}`).join(" or ")}?`;
}

/** Gives the field that an unknown one was most likely meant to be; `null` when nothing is near. */
export function ourWord(schema: TSchema, name: string): string | null {
  const known = Object.keys((schema as TObject).properties);
  const same = known.find((each) => plain(each) === plain(name));
  return same ?? FOREIGN.get(plain(name))?.find((word) => known.includes(word)) ?? nearest(name, known);
}

const propertiesOf = ({ properties, anyOf }: TSchema): Record<string, TSchema> =>
  properties ?? (anyOf as TSchema[] | undefined)?.find((variant) => variant.properties !== undefined)?.properties ?? {};
