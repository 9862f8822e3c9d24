import { type Static, Type } from "@sinclair/typebox";
import { AuthorizeConfig, authorizeFaults } from "../authorize/settings.ts";
import { CacheConfig, cacheFaults } from "../cache/settings.ts";
import { cacheWarning } from "../cache/warning.ts";
import { CompressConfig, compressFaults } from "../compression/settings.ts";
import type { Config } from "../config/schema.ts";
import type { Known, Section } from "../config/section.ts";
import { isReserved } from "../exchange/own-paths.ts";
import { RespondConfig, respondFaults } from "../exchange/respond-settings.ts";
import { isModelRoute } from "../exchange/route.ts";
import { CorsConfig, corsFaults, HeadersConfig, headerFaults, WebSocketConfig } from "../exchange/settings.ts";
import { IpsConfig, ipsFaults, ipsWarnings } from "../guard/ips.ts";
import { ACCESS, accessFaults, accessWarnings } from "../identity/access.ts";
import { Limits, limitFaults, moneyFaults } from "../limits/settings.ts";
import { McpField, mcpFaults, mcpWarnings } from "../mcp/settings.ts";
import { Plugins, pluginFaults } from "../plugins/settings.ts";
import { CredentialConfig, credentialFaults } from "../pools/settings.ts";
import { placesOfCallers } from "../prices/money-places.ts";
import { withDefaults } from "../schema/defaults.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { Duration, ModelNames, Name, Nullable, Shape, Size } from "../schema/fields.ts";
import { timeFaults } from "../schema/rules.ts";
import { UsageField } from "../tokens/settings.ts";
import { RetryConfig, retryFaults, upstreamNameFault } from "../upstreams/settings.ts";
import { sameRoutes } from "./overlap.ts";
import { pathFault, prefixFault } from "./path.ts";

/** The names of routes that the admin API makes: those that the schema takes, and paths. */
export const ROUTE_NAMES = {
  pattern: "^([A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}|/[!-~]{0,127})$",
  expects: "a name of 1 to 128 letters, digits and . _ @ : / -, or the route's path",
  faults: () => [],
};

export const RouteConfig = Shape(
  {
    name: Type.Optional(Name("How it is called in logs, metrics and the admin API. By default the path.")),
    path: Type.String({ maxLength: 1024, description: "The path prefix it takes; it ends at a segment border.", examples: ["/api/users"] }),
    methods: Type.Array(Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Z-]{1,32}$", expects: "a method in capitals such as GET" }), {
      default: [],
      maxItems: 32,
      description: "The methods it takes; none means all. HEAD follows GET.",
    }),
    hosts: Type.Array(
      Type.String({
        pattern: "^(\\*\\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,252})$|^\\[[0-9A-Fa-f:.]+\\]$",
        expects: 'a host name, or "*.example.com"',
      }),
      {
        default: [],
        maxItems: 256,
        description: "The hosts it answers for; none means any. *.example.com takes every name below example.com.",
      },
    ),
    upstream: Type.Union([Type.String({ minLength: 1, maxLength: 2048 }), Type.Null()], {
      default: null,
      description: "The name of an upstream, a URL, or a Unix socket. A route has one, or respond.",
      examples: ["users", "http://127.0.0.1:3000", "unix:/run/app.sock"],
    }),
    respond: Nullable(
      RespondConfig,
      "What Sluice answers by itself, in an upstream's place: for maintenance, redirects, and paths that are gone. All else holds as on any route: who may call, limits, CORS. null: the upstream answers.",
    ),
    stripPrefix: Type.Boolean({ default: true, description: "Drops the route's path before forwarding: /api/users/7 becomes /7." }),
    addPrefix: Type.Union([Type.String({ maxLength: 1024 }), Type.Null()], {
      default: null,
      description:
        "What is put before the path that is forwarded, behind the target's own base path: with /v2, /api/users/7 becomes /v2/7, and without stripPrefix /v2/api/users/7. null: nothing.",
      examples: ["/v2"],
    }),
    host: Type.Union([Type.Literal("target"), Type.Literal("preserve")], {
      default: "target",
      description:
        "Which Host the backend gets: the target's own, or preserve: the caller's, for virtual hosts and signed requests (SigV4). The caller's is always in X-Forwarded-Host.",
    }),
    encodedSlashes: Type.Union([Type.Literal("refuse"), Type.Literal("pass")], {
      default: "refuse",
      description:
        "What becomes of %2F in a path. refuse: 400, since many backends decode it into a border that no route was matched by. pass: it is an ordinary character, for npm and GitLab; a path that would belong to another route once decoded is still 400.",
    }),
    slashes: Type.Union([Type.Literal("merge"), Type.Literal("keep")], {
      default: "merge",
      description:
        "What becomes of empty segments below the path. merge: // is forwarded as /, as most backends read it anyway. keep: they are forwarded, for S3; which route takes a request is decided by the merged path all the same.",
    }),
    ips: Nullable(
      IpsConfig,
      "Whose requests it takes, by address, before anybody looks at a key: others get 403 and are charged nothing. null: everybody's. Preflights, which reach no backend, are answered all the same.",
    ),
    ...ACCESS,
    authorize: Type.Union([AuthorizeConfig, Type.Null()], {
      default: null,
      description:
        "Asks a service of yours whether a request may pass, after the caller is known. Limits are looked at before it is asked, and charged after. null: nobody is asked.",
    }),
    limits: Limits("Limits of this route, besides the caller's own.", { default: [] }),
    cost: Type.Integer({ minimum: 0, maximum: 1e9, default: 1, description: "What one request takes from each limit." }),
    timeout: Duration(
      "How long an exchange may take until its response begins, and how long the response may then be silent. Streams of events may be silent for longer.",
      { default: "30s" },
    ),
    maxBodySize: Type.Union([Size("A size."), Type.Null()], {
      default: null,
      description: "Largest request body; null: server.maxBodySize.",
      expects: 'a size such as "64kb" or "10mb", or null',
    }),
    bodyRate: Type.Union([Size("A size."), Type.Null()], {
      default: null,
      description:
        "The least that a request's body must bring a second; null: server.bodyRate. 0b: any, for bodies that are sent while they come into being.",
      expects: 'a size such as "1kb", or null',
    }),
    cache: Type.Union([CacheConfig, Type.Null()], {
      default: null,
      description: "Keeps responses; null: every request goes to the backend.",
    }),
    compress: Type.Union([CompressConfig, Type.Null()], {
      default: null,
      description:
        "Compresses responses that are not compressed yet, on their way out; what is kept stays whole. null: never. Off by default: the size of a compressed response can give away a secret in it to someone who can put text beside it (BREACH).",
    }),
    websocket: Type.Union([WebSocketConfig, Type.Null()], {
      default: null,
      description: "Bounds what callers send over WebSockets; null: anything passes.",
    }),
    retry: Type.Union([RetryConfig, Type.Null()], { default: {}, description: "Sends a failed request again; null: never." }),
    credential: Type.Union([CredentialConfig, Type.Null()], {
      default: null,
      description: "Puts a key of a pool into each request; null: none.",
    }),
    usage: UsageField(
      "Where a response says what it cost, for limits and quotas that count usage; by default the credential's, if there is one. Such responses are asked for uncompressed.",
      { default: null },
    ),
    models: ModelNames(
      'The models that callers may name, virtual ones of "models" among them; "*" means any. Bodies are read for it, and refused where they are unreadable. Empty: bodies are not read for it, and no virtual model can be named.',
      {
        default: [],
      },
    ),
    mcp: McpField,
    cors: Type.Union([CorsConfig, Type.Null()], {
      default: null,
      description: "Lets pages of other origins use the route; preflights are answered by Sluice.",
    }),
    headers: HeadersConfig,
    plugins: Plugins("Plug-ins of this route, asked after those of all routes. A route that the admin API makes has none of its own."),
  },
  "A path prefix joined to an upstream, with rules of its own.",
);
export type RouteConfig = Static<typeof RouteConfig>;

/** Tells whether a route's requests are calls of models, which may cost money. */
const costsMoney = ({ models, ...route }: RouteConfig): boolean => isModelRoute({ ...route, models: models.length === 0 ? null : models });

/** Gives the faults of a route that the schema can't express. Paths begin with `at`. */
export function routeFaults(route: RouteConfig, known: Known, at: Path = []): Fault[] {
  const faults = limitFaults(route.limits, [...at, "limits"]);
  if (!costsMoney(route))
    faults.push(
      ...moneyFaults(
        route.limits,
        [...at, "limits"],
        route.mcp === null
          ? "only calls of models cost money; say by models, credential or usage that this route has some"
          : "only calls of models cost money, and mcp says that this route's are calls of tools",
      ),
    );
  const say = (field: keyof RouteConfig, message: string) => faults.push({ path: [...at, field], message });
  const path = pathFault(route.path);
  if (path !== null) say("path", path);
  else if (isReserved(route.path, known)) say("path", "is served by Sluice itself, so that this route would never be reached");
  faults.push(...answererFaults(route, known, at));
  const prefix = route.addPrefix === null ? null : prefixFault(route.addPrefix);
  if (prefix !== null) say("addPrefix", prefix);
  if (route.ips !== null) faults.push(...ipsFaults(route.ips, [...at, "ips"]));
  faults.push(...accessFaults(route, known, at), ...timeFaults(route.timeout, [...at, "timeout"]));
  if (route.authorize !== null) faults.push(...authorizeFaults(route.authorize, route, [...at, "authorize"]));
  if (route.cache !== null) faults.push(...cacheFaults(route.cache, [...at, "cache"]));
  if (route.compress !== null) faults.push(...compressFaults(route.headers, at));
  if (route.retry !== null) faults.push(...retryFaults(route.retry, [...at, "retry"]));
  if (route.credential !== null) faults.push(...credentialFaults(route.credential, known, [...at, "credential"]));
  if (route.mcp !== null) faults.push(...mcpFaults(route.mcp, route, at));
  if (route.cors !== null) faults.push(...corsFaults(route.cors, [...at, "cors"]));
  faults.push(...headerFaults(route.headers, [...at, "headers"]), ...pluginFaults(route.plugins, [...at, "plugins"]));
  return faults;
}

/** Gives the faults of what answers a route's requests: an upstream or an answer of its own, one of them, and what goes with each. */
function answererFaults(route: RouteConfig, known: Known, at: Path): Fault[] {
  const { upstream, respond } = route;
  if (respond === null) {
    const message = upstream === null ? 'is required, or "respond" in its place' : upstreamNameFault(upstream, known.upstreams);
    return message === null ? [] : [{ path: [...at, "upstream"], message }];
  }
  const faults = respondFaults(respond, [...at, "respond"]);
  if (upstream !== null)
    faults.push({ path: [...at, "respond"], message: "stands beside upstream: a route has one of them", isOfName: true });
  else
    for (const field of FORWARDING)
      if (!Bun.deepEquals(route[field], fieldDefault(field)))
        faults.push({ path: [...at, field], message: "means nothing beside respond: nothing is forwarded", isOfName: true });
  if (route.headers.request.remove.length > 0 || Object.keys(route.headers.request.set).length > 0)
    faults.push({ path: [...at, "headers", "request"], message: "means nothing beside respond: nothing is forwarded", isOfName: true });
  return faults;
}

/** The fields that are about what is forwarded. */
const FORWARDING = [
  "stripPrefix",
  "addPrefix",
  "host",
  "slashes",
  "timeout",
  "cache",
  "websocket",
  "retry",
  "credential",
  "usage",
  "models",
  "mcp",
] as const satisfies readonly (keyof RouteConfig)[];

const fieldDefault = (field: (typeof FORWARDING)[number]): unknown => withDefaults(RouteConfig.properties[field], undefined);

/** Tells that a route would strip what a server of gRPC knows its calls by: the full name of a service has dots. */
const strippedService = ({ path, stripPrefix }: RouteConfig): string | null =>
  stripPrefix && /\.[^/]+\/?$/.test(path)
    ? 'is stripped before the call is forwarded, so that the backend knows no such method: set "stripPrefix": false'
    : null;

/** Gives a warning for each limit and quota of callers that counts money, where no route has calls that cost any. */
function moneyWithoutCalls({ prices, routes, ...callers }: Config): Fault[] {
  // All other routes may be the admin API's.
  if (prices === null || routes.length === 0 || routes.some(costsMoney)) return [];
  const message = "counts money, and no route of this file has calls of models: say by models, credential or usage which has some";
  return placesOfCallers(callers).map((path) => ({ path, message }));
}

const schema = Type.Array(RouteConfig, { default: [], description: "What is forwarded where." });

export const routesSection: Section<"routes", typeof schema> = {
  name: "routes",
  schema,
  faults: (routes, known) => [
    ...routes.flatMap((route, i) => routeFaults(route, known, ["routes", i])),
    ...sameRoutes(routes).map((fault) => ({ ...fault, path: ["routes", ...fault.path] })),
  ],
  warnings: (routes, { config }) => [
    ...moneyWithoutCalls(config),
    ...routes.flatMap(({ ips }, i) => (ips === null ? [] : ipsWarnings(ips, ["routes", i, "ips"]))),
    ...routes.flatMap((route, i) => accessWarnings(config, route, route.name ?? route.path, ["routes", i])),
    ...routes.flatMap((route, i) => {
      const message = config.upstreams[route.upstream ?? ""]?.protocol === "grpc" ? strippedService(route) : null;
      return message === null ? [] : [{ path: ["routes", i, "path"], message }];
    }),
    ...routes.flatMap(({ models, methods }, i) =>
      models.length === 0 || methods.length === 0 || methods.includes("GET")
        ? []
        : [{ path: ["routes", i, "methods"], message: "leaves out GET, by which clients ask which models there are" }],
    ),
    ...routes.flatMap((route, i) => (route.mcp === null ? [] : mcpWarnings(route.mcp, route, config.issuers, ["routes", i, "mcp"]))),
    ...routes.flatMap((route, i) => {
      const message = cacheWarning(route);
      return message === null ? [] : [{ path: ["routes", i, "cache"], message }];
    }),
  ],
};
