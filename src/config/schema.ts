import { type Static, type TObject, Type } from "@sinclair/typebox";
import { Limits, Quotas } from "../limits/settings.ts";
import { Duration, Shape } from "../schema/fields.ts";
import { SIZE_PATTERN } from "../values/units.ts";

/** The same schema with an empty object as its default: without one, TypeBox fills in no defaults inside a record's values. */
const filledIn = <T extends TObject>(schema: T): T => ({ ...schema, default: {} });

const Size = (description: string, more: object = {}) =>
  Type.String({ pattern: SIZE_PATTERN, description, expects: 'a size such as "64kb" or "10mb"', ...more });
const Name = (description: string, more: object = {}) =>
  Type.String({
    pattern: "^[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}$",
    description,
    expects: "a name of 1 to 128 letters, digits and . _ @ : / -",
    ...more,
  });

export const IDENTIFIER = "^[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}$";
const Identifier = (description: string, more: object = {}) =>
  Type.String({
    pattern: IDENTIFIER,
    description,
    expects: "1 to 128 letters, digits and . _ @ : -, beginning with a letter or digit",
    ...more,
  });

export const TierConfig = Shape(
  {
    limits: Limits("The limits of callers of this tier.", { default: [] }),
    quota: Quotas("What a consumer of this tier may use in a period of the calendar; one, or a list of them."),
  },
  "A named set of limits.",
);
export type TierConfig = Static<typeof TierConfig>;

export const TargetConfig = Shape(
  {
    url: Type.String({
      description: "Where it is: http or https, with a base path if need be.",
      examples: ["http://users-1:8001"],
      maxLength: 2048,
    }),
    weight: Type.Integer({ minimum: 1, maximum: 1000, default: 1, description: "Its share of the requests beside the others'." }),
  },
  "One backend address.",
);

export const BreakerConfig = Shape(
  {
    failureThreshold: Type.Integer({
      minimum: 1,
      maximum: 1e6,
      default: 5,
      description: "Failures in a row that open it; which outcomes are failures, failures says.",
    }),
    recoveryTimeout: Type.Union([Duration("A fixed time."), Type.Null()], {
      default: null,
      description:
        "How long it stays open before one request is let through as a probe. null: 1 s, doubled with each failed probe up to 60 s, so that a short outage stays short. A passing health check ends it at once, and where no target of the upstream is left, the one open longest gets a probe each second.",
      expects: 'a duration such as "60s", or null',
    }),
    successThreshold: Type.Integer({ minimum: 1, maximum: 1000, default: 3, description: "Successful probes in a row that close it." }),
    failureRatio: Type.Union([Type.Number({ exclusiveMinimum: 0, maximum: 1 }), Type.Null()], {
      default: null,
      description: "The share of failed requests within the window that opens it as well; null: only failures in a row count.",
      expects: "a number above 0 up to 1, or null",
    }),
    window: Duration("The span over which failureRatio is taken.", { default: "10s" }),
    minimumRequests: Type.Integer({
      minimum: 1,
      maximum: 1e6,
      default: 20,
      description: "Requests within the window below which failureRatio says nothing.",
    }),
    failures: Type.Array(
      Type.String({
        pattern: "^(connect|timeout|reset|[45][0-9][0-9]|[45]xx)$",
        expects: '"connect", "timeout", "reset", a status such as "503", or "5xx"',
      }),
      {
        minItems: 1,
        maxItems: 64,
        default: ["connect", "timeout", "reset", "502", "503", "504"],
        description:
          'Which outcomes count as failures: no connection, no answer in time, a connection that broke or did not speak HTTP, and statuses. By default what says that the backend is ill; 500 and 501, which one request can cause by itself, count only where they are named ("500", "5xx").',
      },
    ),
  },
  "A circuit breaker for each target.",
);

export const HealthCheckConfig = Shape(
  {
    path: Type.String({
      pattern: "^/[!-~]*$",
      maxLength: 1024,
      default: "/health",
      description: "What is asked for, below the target's URL. Any status from 200 to 399 is good.",
      expects: 'a path such as "/health"',
    }),
    interval: Duration("How often.", { default: "5s" }),
    timeout: Duration("How long an answer may take.", { default: "1s" }),
    unhealthyAfter: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 3,
      description: "Bad answers in a row that take the target out of use.",
    }),
    healthyAfter: Type.Integer({ minimum: 1, maximum: 100, default: 2, description: "Good answers in a row that bring it back." }),
  },
  "Asks each target whether it is well.",
);

export const UpstreamConfig = Shape(
  {
    targets: Type.Array(TargetConfig, { minItems: 1, maxItems: 256, description: "The backend's addresses." }),
    balance: Type.Union([Type.Literal("round-robin"), Type.Literal("least-requests"), Type.Literal("consistent-hash")], {
      default: "round-robin",
      description:
        "How a target is chosen. round-robin: each in turn, by weight. least-requests: the one with the fewest under way. consistent-hash: the same one for the same caller.",
    }),
    hashOn: Type.String({
      pattern: "^(key|ip|header:[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
      default: "key",
      description: "What consistent-hash tells callers apart by: their key (their address without one), their address, or a header.",
      expects: '"key", "ip" or "header:NAME"',
    }),
    connectTimeout: Duration("How long a connection may take to be made.", { default: "5s" }),
    slowStart: Duration("Over how long a target that comes back grows to its full share; 0s: at once.", { default: "0s" }),
    breaker: Type.Union([BreakerConfig, Type.Null()], {
      default: {},
      description: "Cuts off a target that fails, and lets it come back; null: never.",
    }),
    healthCheck: Type.Union([HealthCheckConfig, Type.Null()], {
      default: null,
      description: "Active health checks; null: none, the breaker alone notices failures.",
    }),
  },
  "One or more targets that serve a route.",
);
export type UpstreamConfig = Static<typeof UpstreamConfig>;

export const CacheConfig = Shape(
  {
    ttl: Type.Union([Duration("A duration."), Type.Null()], {
      default: null,
      description:
        "How long a response is fresh that does not say so itself; null: a tenth of the time since it was modified (RFC 9111 §4.2.2).",
    }),
    maxEntrySize: Size("Larger responses are not kept.", { default: "1mb" }),
    shared: Type.Boolean({
      default: false,
      description:
        "One copy for all: responses to callers with a key are for all callers. Without this and perConsumer they are kept only if they say public, must-revalidate or s-maxage (RFC 9111 §3.5).",
    }),
    perConsumer: Type.Boolean({
      default: false,
      description:
        "One copy for each consumer: responses to callers with a key are given again to the same consumer alone. Callers without a key have one copy together.",
    }),
    key: Shape(
      {
        headers: Type.Array(Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$", expects: "a header's name" }), {
          default: [],
          maxItems: 16,
          description: "Request headers that tell responses apart, beside those that a response's Vary names.",
        }),
        query: Type.Union([Type.Array(Type.String({ minLength: 1, maxLength: 128 }), { maxItems: 64 }), Type.Null()], {
          default: null,
          description:
            "The query's parameters that tell responses apart. Where the cache takes part only these are forwarded, so that no other one can change what everybody gets. null: the whole query.",
        }),
      },
      "What tells responses apart beside host and path.",
      { default: {} },
    ),
  },
  "Keeps responses to GET and HEAD and gives them again, as a shared cache by RFC 9111.",
);

export const RetryConfig = Shape(
  {
    attempts: Type.Integer({
      minimum: 1,
      maximum: 10,
      default: 3,
      description: "How often a request is sent at most, the first time included.",
    }),
    baseDelay: Duration("The longest wait before the second attempt.", { default: "1s" }),
    maxDelay: Duration("The longest wait before any attempt, also when the backend asks for more by Retry-After.", { default: "30s" }),
    factor: Type.Number({ minimum: 1, maximum: 10, default: 2, description: "What the wait grows by with each attempt." }),
    jitter: Type.Boolean({ default: true, description: "Waits a random part of the time, so that callers don't come back all at once." }),
    attemptTimeout: Type.Union([Duration("A duration."), Type.Null()], {
      default: null,
      description: "How long one attempt may take until its response begins; null: as long as the route's timeout leaves.",
    }),
  },
  "How a failed request is sent again: idempotent methods, requests with an Idempotency-Key, and connections that were never made.",
);

const FieldName = "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$";

const Path = Type.String({
  pattern: "^[^.\\s]{1,64}(\\.[^.\\s]{1,64}){0,7}$",
  description: "Names of fields from the outside in.",
  expects: 'names joined by dots such as "usage.total_tokens"',
  examples: ["usage.total_tokens"],
});
const Usage = (description: string, more: object) =>
  Type.Union([Type.Literal("auto"), Path, Type.Array(Path, { minItems: 1, maxItems: 4 }), Type.Null()], {
    description,
    expects: '"auto", a path such as "usage.total_tokens", a list of them, or null',
    ...more,
  });

export const CredentialConfig = Shape(
  {
    pool: Type.String({ minLength: 1, maxLength: 128, description: "The pool whose keys are used.", examples: ["openai"] }),
    header: Type.String({
      pattern: FieldName,
      default: "Authorization",
      description: "The field that carries the key. What the caller sends in it is dropped.",
      expects: "a header's name",
    }),
    value: Type.Optional(
      Type.String({
        pattern: "^[\\x20-\\x7e]{0,512}$",
        description:
          'The field\'s value, with {key} where the key stands. By default "Bearer {key}" for Authorization and "{key}" for others.',
        expects: "printable ASCII with {key} in it",
        examples: ["Bearer {key}"],
      }),
    ),
    cost: Type.Union(
      [
        Type.Integer({ minimum: 0, maximum: 1e12 }),
        Type.Literal("estimate"),
        Type.Literal("route"),
        Type.String({ pattern: "^header:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$" }),
      ],
      {
        default: "estimate",
        description:
          'What is reserved of a key\'s tokens before a request is sent: a number, "route" for the route\'s cost, "header:NAME" for what the caller\'s field says, or "estimate": the route\'s cost if it is more than 1, otherwise the body\'s text by four bytes a token, and max_tokens.',
        expects: 'a number, "estimate", "route" or "header:NAME"',
      },
    ),
    usage: Usage(
      'Where a response says what it cost, in JSON and in streams of events. "auto": where chat completions, responses, messages and embeddings have it (usage.total_tokens, response.usage.total_tokens, or input_tokens and output_tokens with the cache\'s tokens). Several paths are added up; null: what was reserved stays.',
      {
        default: "auto",
      },
    ),
    probe: Type.Union([Type.String({ pattern: "^/[\\x21-\\x7e]{0,1023}$" }), Type.Null()], {
      default: null,
      description:
        "Where the upstream is asked (GET, with the key and nothing of the caller's) whether it takes a key, when no other key could tell if a refusal was about the key or about the request. A path below the target's; null: the route's path with /models behind it, as OpenAI and Anthropic have it.",
      expects: "a path that begins with /, or null",
      examples: ["/v1/models"],
    }),
    drop: Type.Array(Type.String({ pattern: FieldName }), {
      default: ["OpenAI-Organization", "OpenAI-Project", "ChatGPT-Account-ID", "X-Goog-User-Project"],
      maxItems: 64,
      description:
        "Fields of callers that the upstream does not get, since they choose whose account a request is for: with the pool's keys that is not the callers' to say. To send your own, set them in headers.request.set.",
    }),
  },
  "Sends requests with a key of a pool, within its budgets.",
);

export const CorsConfig = Shape(
  {
    origins: Type.Array(
      Type.String({ pattern: "^(\\*|null|[a-z][a-z0-9+.-]*://[^/\\s]+)$", expects: 'an origin such as "https://app.example.com", or "*"' }),
      { minItems: 1, maxItems: 256, description: "Origins whose pages may read answers; * is any, without credentials." },
    ),
    credentials: Type.Boolean({ default: false, description: "Whether pages may send cookies and read the answers." }),
    maxAge: Duration("How long browsers may remember what is allowed.", { default: "10m" }),
  },
  "What pages of other origins may do with the route.",
);
export type CorsConfig = Static<typeof CorsConfig>;

const HeaderRules = (description: string) =>
  Shape(
    {
      set: Type.Record(
        Type.String({ pattern: FieldName }),
        Type.String({ pattern: "^[\\x20-\\x7e\\t\\x80-\\xff]{0,4096}$", expects: "a header's value in one line" }),
        {
          additionalProperties: false,
          default: {},
          description: "Fields that are set, whatever was there. What looks like a credential by its name is not shown again.",
          secretNames: "auth|cookie|token|secret|password|key|credential",
        },
      ),
      remove: Type.Array(Type.String({ pattern: FieldName, expects: "a header's name" }), {
        default: [],
        maxItems: 128,
        description: "Fields that are not passed on.",
      }),
    },
    description,
    { default: {} },
  );

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
    upstream: Type.String({
      minLength: 1,
      maxLength: 2048,
      description: "The name of an upstream, or a URL.",
      examples: ["users", "http://127.0.0.1:3000"],
    }),
    stripPrefix: Type.Boolean({ default: true, description: "Drops the route's path before forwarding: /api/users/7 becomes /7." }),
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
    auth: Type.Union([Type.Literal("required"), Type.Literal("optional"), Type.Literal("none")], {
      default: "required",
      description: "Whether callers need a key. Required by default: a route must not be open by oversight.",
    }),
    tiers: Type.Array(Type.String(), { default: [], maxItems: 256, description: "If not empty, only callers of these tiers." }),
    scopes: Type.Array(
      Type.String({ pattern: "^[!#-\\[\\]-~]{1,128}$", expects: "a scope: printable ASCII without spaces, quotes and backslashes" }),
      {
        default: [],
        maxItems: 64,
        description: "Scopes that the key must carry, all of them.",
      },
    ),
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
    retry: Type.Union([RetryConfig, Type.Null()], { default: {}, description: "Sends a failed request again; null: never." }),
    credential: Type.Union([CredentialConfig, Type.Null()], {
      default: null,
      description: "Puts a key of a pool into each request; null: none.",
    }),
    usage: Usage(
      "Where a response says what it cost, for limits and quotas that count usage; by default the credential's, if there is one. Such responses are asked for uncompressed.",
      { default: null },
    ),
    cors: Type.Union([CorsConfig, Type.Null()], {
      default: null,
      description: "Lets pages of other origins use the route; preflights are answered by Sluice.",
    }),
    headers: Shape(
      {
        request: HeaderRules("What the backend gets."),
        response: HeaderRules("What the caller gets; what is set is in Sluice's own answers on this route as well."),
      },
      "Rules for header fields.",
      { default: {} },
    ),
  },
  "A path prefix joined to an upstream, with rules of its own.",
);
export type RouteConfig = Static<typeof RouteConfig>;

export const PoolConfig = Shape(
  {
    strategy: Type.Union([Type.Literal("in-order"), Type.Literal("most-remaining"), Type.Literal("round-robin")], {
      default: "in-order",
      description: "Which key is handed out: the first whose budget holds the cost, the one with most left, or each in turn.",
    }),
    keys: Type.Array(
      Shape(
        {
          id: Identifier("How the key is called in logs and the admin API; handed out itself when it has no secret."),
          secret: Type.Optional(
            Type.String({
              // It stands in a header.
              pattern: "^[!-~]([ -~]{0,4094}[!-~])?$",
              expects: "printable ASCII without a line break, or spaces at its ends",
              description: 'What is handed out. Take it from the environment: "${OPENAI_KEY_1}".',
              secret: true,
            }),
          ),
          limit: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: 1e12,
              description: "Tokens in a window, which opens with the first grant.",
              examples: [1000],
            }),
          ),
          window: Type.Optional(Duration("The window of limit.", { examples: ["60s"] })),
          budgets: Type.Optional(
            Type.Array(
              Shape(
                {
                  of: Type.Union([Type.Literal("requests"), Type.Literal("tokens")], { description: "What is counted." }),
                  limit: Type.Integer({ minimum: 1, maximum: 1e12, description: "How many in a window." }),
                  window: Duration("The window, which opens with the first grant."),
                },
                "One budget.",
              ),
              { maxItems: 8, description: "Further budgets, each with its own window: all of them must hold." },
            ),
          ),
        },
        "One upstream credential.",
      ),
      { minItems: 1, maxItems: 256, description: "The credentials, in order." },
    ),
    services: Type.Record(
      Type.String({ pattern: IDENTIFIER }),
      Shape(
        { cost: Type.Integer({ minimum: 1, maximum: 1e12, description: "Tokens that one grant takes.", examples: [300] }) },
        "What may be asked for.",
      ),
      { additionalProperties: false, default: {}, description: "Services by name: what a grant for each costs." },
    ),
    auth: Type.Union([Type.Literal("required"), Type.Literal("none")], {
      default: "required",
      description: "Whether callers of /api/v1/api-key need a key. none hands credentials out to anybody: for demos only.",
    }),
  },
  "Upstream credentials that are handed out within their budgets.",
);
export type PoolConfig = Static<typeof PoolConfig>;

const Node = Type.String({ pattern: "^[A-Za-z0-9.:[\\]_-]{1,256}$", expects: 'a host, or "host:port"' });

export const RedisConfig = Shape(
  {
    url: Type.String({
      pattern: "^rediss?://[^/?#\\s]+(/\\d{0,2})?$",
      maxLength: 2048,
      description: "Where Redis is; rediss:// for TLS, with user and password if need be. Take those from the environment.",
      expects: 'a URL such as "redis://127.0.0.1:6379"',
      examples: ["redis://127.0.0.1:6379"],
      secret: true,
      isUrl: true,
    }),
    sentinel: Type.Union(
      [
        Shape(
          {
            name: Type.String({ minLength: 1, maxLength: 128, description: "What the sentinels call the master.", examples: ["mymaster"] }),
            nodes: Type.Array(Node, { minItems: 1, maxItems: 64, description: "The sentinels." }),
            password: Type.Union([Type.String({ maxLength: 1024, secret: true }), Type.Null()], {
              default: null,
              description: "The sentinels' own password.",
            }),
          },
          "Asks sentinels where the master is; user and password are the URL's.",
        ),
        Type.Null(),
      ],
      { default: null, description: "Sentinels that know the master; null: it is at the URL." },
    ),
    cluster: Type.Array(Node, {
      default: [],
      maxItems: 256,
      description: "More nodes of the cluster that the URL's is one of; empty: no cluster.",
    }),
    timeout: Duration("How long any request waits for Redis at most.", { default: "50ms" }),
    prefix: Type.String({
      pattern: "^[A-Za-z0-9_.-]{1,64}$",
      default: "sluice",
      description: "What every key begins with.",
      expects: "1 to 64 letters, digits and . _ -",
    }),
    mode: Type.Union([Type.Literal("exact"), Type.Literal("leased")], {
      default: "exact",
      description:
        "exact: Redis decides on each request. leased: instances take slices of limits for busy callers, up to a twentieth and for a second at most, and decide by themselves; never more than the limit is granted, what is left of a slice is lost. Limits of concurrency and sliding-log are always exact.",
    }),
    onFailure: Type.Union([Type.Literal("local"), Type.Literal("allow"), Type.Literal("deny")], {
      default: "local",
      description:
        "What limits do while Redis is away. local: each instance counts by itself. allow: nobody is limited. deny: limited requests get 503.",
    }),
  },
  "What several instances share.",
);
export type RedisConfig = Static<typeof RedisConfig>;

const ROUTE = RouteConfig.properties;

export const ActivitiesConfig = Shape(
  {
    endpoint: Type.String({
      pattern: "^/[A-Za-z0-9._~/-]{1,255}$",
      default: "/api/activities",
      description: "Where batches are posted.",
      expects: 'a path such as "/api/activities"',
    }),
    path: Type.Union([Type.String({ minLength: 1, maxLength: 4096 }), Type.Null()], {
      default: null,
      description: "The file of the database with the tables, the queue and the log; null: activities.db beside the database.",
    }),
    auth: ROUTE.auth,
    tiers: ROUTE.tiers,
    scopes: ROUTE.scopes,
    limits: ROUTE.limits,
    cost: ROUTE.cost,
    maxBacklog: Type.Integer({
      minimum: 1,
      maximum: 1e9,
      default: 1_000_000,
      description: "Activities that may wait to be applied; beyond it batches get 503.",
    }),
    maxBacklogSize: Size(
      "Bytes of batches that may wait to be applied, on the disk or in Redis; beyond it batches get 503. By default a million activities of usual size.",
      { default: "256mb" },
    ),
    maxSize: Type.Union([Size("A size."), Type.Null()], {
      default: null,
      description:
        "Bytes that the database with tables, queue and log may have; beyond it batches get 503, and what is refused leaves no row in the log. null: as much as the disk holds. Set it where callers need no key.",
    }),
    attempts: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 10,
      description: "How often a batch is tried while it can't be applied (no space, a lock), before its activities count as failed.",
    }),
    baseDelay: Duration("The wait before the second attempt; it doubles with each.", { default: "500ms" }),
    maxDelay: Duration("The longest wait between attempts.", { default: "1m" }),
    keepFor: Type.Union([Duration("A duration."), Type.Null()], {
      default: "30d",
      description: "How long the log of activities is kept; null: for ever.",
    }),
  },
  "Takes batches of inserts and deletes by POST, and applies them to tables, each once.",
);
export type ActivitiesConfig = Static<typeof ActivitiesConfig>;

/** Levels of the log, as in pino. */
export const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type Level = (typeof LEVELS)[number];
export const LevelName = (more: object = {}) =>
  Type.Unsafe<Level>(
    Type.Union(
      LEVELS.map((level) => Type.Literal(level)),
      { description: "The least severe lines of the log that are written.", ...more },
    ),
  );

export const OtlpConfig = Shape(
  {
    endpoint: Type.String({
      pattern: "^https?://[^\\s?#@]+$",
      maxLength: 2048,
      description: "The collector: OTLP over HTTP. /v1/traces is added to it where it is not there.",
      expects: 'a URL such as "http://localhost:4318", without user, password and query: secrets go into headers',
      secret: true,
      isUrl: true,
      examples: ["http://localhost:4318"],
    }),
    headers: Type.Record(
      Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$" }),
      Type.String({ pattern: "^[\\t -~\\u0080-\\u00ff]{0,8192}$", expects: "one line of text", secret: true }),
      {
        additionalProperties: false,
        default: {},
        description: 'Header fields for the collector. Take secrets from the environment: "Bearer ${OTLP_TOKEN}".',
      },
    ),
    sample: Type.Number({
      minimum: 0,
      maximum: 1,
      default: 1,
      description: "The share of requests that are traced. Where a caller's traceparent says whether it records, that is followed.",
      expects: "a number from 0 to 1",
      examples: [0.05],
    }),
    serviceName: Type.String({ minLength: 1, maxLength: 256, default: "sluice", description: "service.name of the traces." }),
    timeout: Duration("How long one export may take, its repetitions included.", { default: "10s" }),
  },
  "Traces to a collector by OTLP.",
);
export type OtlpConfig = Static<typeof OtlpConfig>;

const Metadata = Type.Record(Type.String({ maxLength: 128 }), Type.Unknown(), {
  description: "Anything you want to keep with the record.",
});

const KeyText = (description: string) =>
  Type.String({
    pattern: "^[!-~]{16,512}$",
    description,
    expects: "a key of 16 to 512 printable ASCII characters without spaces",
    secret: true,
  });

/** A declared key that is more than its secret. */
export const DeclaredKey = Shape(
  {
    key: KeyText('The key. Take it from the environment: "${ACME_KEY}", or give its SHA-256: "sha256:9f86…".'),
    name: Type.Optional(Type.String({ maxLength: 256, description: "A name for people." })),
    scopes: Type.Optional(
      Type.Array(ROUTE.scopes.items, { maxItems: 64, description: "Scopes that routes may ask for.", examples: [["users:read"]] }),
    ),
    routes: Type.Optional(
      Type.Array(Type.String({ maxLength: 1024 }), { maxItems: 256, description: "Names of the routes it may use; none means all." }),
    ),
    ips: Type.Optional(
      Type.Array(Type.String({ maxLength: 64 }), {
        maxItems: 256,
        description: "Addresses and blocks (CIDR) it may be used from; none means all.",
        examples: [["10.0.0.0/8"]],
      }),
    ),
    expiresAt: Type.Optional(
      Type.String({ maxLength: 64, description: "From when on it is refused. RFC 3339.", examples: ["2027-01-31T00:00:00Z"] }),
    ),
    limits: Type.Optional(Limits("Limits of this key, instead of its consumer's and tier's.")),
  },
  "A key with rules of its own.",
);
export type DeclaredKey = Static<typeof DeclaredKey>;

export const ConsumerConfig = Shape(
  {
    id: Identifier("The consumer's id, which backends get as X-Consumer-ID.", { examples: ["acme"] }),
    name: Type.Optional(Type.String({ maxLength: 256, description: "A name for people." })),
    tier: Type.String({ description: "The name of its tier.", examples: ["pro"] }),
    keys: Type.Array(Type.Union([KeyText("The key alone."), DeclaredKey]), {
      default: [],
      maxItems: 100,
      description:
        'Its keys. Take them from the environment: "${ACME_KEY}", or give their SHA-256: "sha256:9f86…". A key with scopes, routes, addresses, an expiry or limits of its own is an object: { "key": "${ACME_KEY}", "scopes": ["users:read"] }.',
    }),
    limits: Type.Optional(Limits("Limits of this consumer, instead of its tier's.")),
    quota: Quotas("A quota of this consumer, instead of its tier's."),
    metadata: Type.Optional(Metadata),
    enabled: Type.Boolean({ default: true, description: "Whether its keys are good." }),
  },
  "A person or program that calls.",
);
export type ConsumerConfig = Static<typeof ConsumerConfig>;

const Port = (description: string, more: object = {}) => Type.Integer({ minimum: 0, maximum: 65535, description, ...more });
const Nullable = <T extends TObject>(schema: T, description: string) => Type.Union([schema, Type.Null()], { default: null, description });

const Connections = (description: string) =>
  Type.Union([Type.Integer({ minimum: 1, maximum: 1e7 }), Type.Literal("auto")], {
    default: "auto",
    description,
    expects: 'a whole number from 1, or "auto"',
  });

export const ServerConfig = Shape(
  {
    host: Type.String({
      default: "0.0.0.0",
      minLength: 1,
      description: 'The address to listen on. By default all there are; with "demo": true 127.0.0.1, because the demo\'s keys are public.',
    }),
    port: Port("The port to listen on; 0 takes a free one.", { default: 8080 }),
    trustedProxies: Type.Array(Type.String({ maxLength: 64 }), {
      default: [],
      maxItems: 256,
      description: "Addresses and blocks (CIDR) whose X-Forwarded-For, -Proto and -Host are believed.",
    }),
    maxBodySize: Size("Largest request body.", { default: "10mb" }),
    maxHeaderSize: Size("Largest request head. At least 1kb, at most 1mb.", { default: "16kb" }),
    maxConnections: Connections(
      "Most connections that clients may have open; beyond it the longest idle one is closed, and where none is idle the new one. auto: two thirds of the files that the process may open, so that the others are left for backends.",
    ),
    maxConnectionsPerAddress: Connections(
      "The same for one address (one /64 of IPv6); not for trustedProxies and loopback. auto: a quarter of maxConnections, at least 1000, since many callers may share one address.",
    ),
    bodyRate: Size(
      "The least that a request's body must bring a second, averaged over 30 s after 10 s of grace, while Sluice waits for it: slower ones get 408. 0b: any.",
      { default: "1kb" },
    ),
    drainTimeout: Duration("How long requests in flight may take after SIGTERM.", { default: "10s" }),
    tls: Nullable(
      Shape(
        {
          cert: Type.String({ minLength: 1, description: "File with the certificate chain, PEM." }),
          key: Type.String({ minLength: 1, description: "File with the private key, PEM." }),
        },
        "Serve https.",
      ),
      "Serve https with these files; null serves http.",
    ),
  },
  "The listener.",
  { default: {} },
);

export const Config = Shape(
  {
    $schema: Type.Optional(Type.String({ description: "Where editors find this schema." })),
    server: ServerConfig,
    admin: Shape(
      {
        listen: Nullable(
          Shape(
            {
              host: Type.String({ default: "127.0.0.1", minLength: 1, description: "The address to listen on." }),
              port: Port("The port to listen on."),
            },
            "A listener of its own.",
          ),
          "Where /admin and /swagger are served; null: on the main port.",
        ),
        upstreamAllow: Type.Union(
          [
            Type.Array(Type.String({ maxLength: 256 }), { maxItems: 1024, examples: [["10.0.0.0/8", "*.internal.example.com"]] }),
            Type.Null(),
          ],
          {
            default: null,
            description:
              "Hosts (also *.example.com) and address blocks that upstreams made by the admin API may have; null: all but link-local addresses and clouds' metadata services.",
          },
        ),
      },
      "The admin API.",
      { default: {} },
    ),
    storage: Shape(
      {
        path: Type.String({
          default: "data/sluice.db",
          minLength: 1,
          description: "The database file; its folder is made when it is missing.",
        }),
      },
      "Where records are kept.",
      { default: {} },
    ),
    backup: Type.Union(
      [
        Shape(
          {
            every: Duration("How often a copy of the database is made: at the start if the last one is older, then again and again.", {
              default: "1d",
            }),
            keep: Type.Integer({ minimum: 1, maximum: 10_000, default: 7, description: "How many are kept; older ones are deleted." }),
            path: Type.String({
              default: "backups",
              minLength: 1,
              description:
                "The folder for them; a relative one lies in the database's folder, so that it is where the gateway may write. Another disk survives more.",
            }),
          },
          "Scheduled backups.",
        ),
        Type.Null(),
      ],
      {
        default: null,
        description: "Backups of the database that are made by themselves; null: none, since where they are kept is for you to decide.",
      },
    ),
    redis: Type.Union([RedisConfig, Type.Null()], {
      default: null,
      description: "Redis, through which several instances act as one; null: this one is alone.",
    }),
    logging: Shape(
      {
        level: LevelName({ default: "info" }),
        format: Type.Union([Type.Literal("auto"), Type.Literal("json"), Type.Literal("pretty")], {
          default: "auto",
          description:
            "json: one JSON object a line. pretty: a short line for people, in colour on a terminal (unless NO_COLOR is set). auto: pretty on a terminal, json otherwise.",
        }),
        accessLog: Type.Boolean({
          default: true,
          description: "A line for each request: at info, or at error where it was answered with 5xx.",
        }),
        accessLogSample: Type.Number({
          minimum: 0,
          maximum: 1,
          default: 1,
          description: "The share of requests with a status below 400 that get one; all others do.",
          expects: "a number from 0 to 1",
          examples: [0.01],
        }),
      },
      "The log, on stdout.",
      { default: {} },
    ),
    telemetry: Shape(
      {
        otlp: Type.Union([OtlpConfig, Type.Null()], { default: null, description: "Exports traces; null: requests are not traced." }),
      },
      "What is told to others.",
      { default: {} },
    ),
    identity: Shape(
      {
        header: Type.String({
          default: "X-API-Key",
          pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$",
          description: "The header that carries a key.",
          expects: "a header name",
        }),
        bearer: Type.Boolean({ default: true, description: "Whether Authorization: Bearer may carry one." }),
        basic: Type.Boolean({
          default: false,
          description:
            "Whether the password of Authorization: Basic may be one, with any user name: for git, pip, npm and Maven, which have no other way. Off by default: backends ask for passwords of their own.",
        }),
        query: Type.Union([Type.String({ minLength: 1, maxLength: 64 }), Type.Null()], {
          default: null,
          description: "The query parameter that may carry one. Off by default: URLs end up in logs.",
        }),
      },
      "Where a key may be.",
      { default: {} },
    ),
    guard: Type.Union(
      [
        Shape(
          {
            invalidKeyLimit: Type.Integer({
              minimum: 1,
              maximum: 10_000,
              default: 10,
              description: "So many keys or admin tokens that nobody has, from one address within the window, and it is refused.",
            }),
            window: Duration("The span in which they are counted.", { default: "5m" }),
            blockFor: Duration("How long the address is refused.", { default: "15m" }),
            ipv6Prefix: Type.Integer({
              minimum: 16,
              maximum: 128,
              default: 64,
              description: "IPv6 addresses are counted and refused by networks of this size: a subscriber has a whole one.",
            }),
            allow: Type.Array(Type.String({ maxLength: 64 }), {
              default: [],
              maxItems: 256,
              description: "Addresses and blocks (CIDR) that are never refused.",
            }),
          },
          "Refuses addresses that try out keys.",
        ),
        Type.Null(),
      ],
      { default: {}, description: "Refuses addresses that try out keys; null: none by itself, only those that the admin API names." },
    ),
    health: Shape(
      {
        auto: Type.Union(
          [
            Shape(
              {
                eventLoopLag: Type.Union([Duration("A duration."), Type.Null()], {
                  default: null,
                  description: "DEGRADED when the gateway itself is that late; null: not looked at.",
                }),
                errorRate: Type.Union([Type.Number({ exclusiveMinimum: 0, maximum: 1 }), Type.Null()], {
                  default: null,
                  description: "DEGRADED when this share of forwarded requests fails (5xx, or no answer); null: not looked at.",
                  expects: "a number above 0 up to 1, or null",
                }),
                latency: Type.Union([Duration("A duration."), Type.Null()], {
                  default: null,
                  description: "DEGRADED when forwarded requests take that long on average; null: not looked at.",
                }),
                for: Duration("How long a signal must be over its bound.", { default: "5s" }),
                recoverAfter: Duration("How long all must be below theirs before it is NORMAL again.", { default: "30s" }),
              },
              "When the system becomes DEGRADED by itself, and NORMAL again.",
            ),
            Type.Null(),
          ],
          { default: null, description: "Changes the system's status by itself; null: only people do." },
        ),
      },
      "The system's status.",
      { default: {} },
    ),
    usage: Shape(
      { keepFor: Duration("How long hours of usage are kept.", { default: "400d" }) },
      "What consumers have used, by the hour.",
      { default: {} },
    ),
    audit: Shape(
      {
        keepFor: Type.Union([Duration("A duration."), Type.Null()], {
          default: null,
          description: "How long the record of what was done is kept; null: for ever. What is left can always be verified.",
        }),
      },
      "The record of what was done.",
      { default: {} },
    ),
    limits: Shape(
      {
        maxSubjects: Type.Integer({
          minimum: 1,
          maximum: 100_000_000,
          default: 1_000_000,
          description: "How many subjects are counted at most; beyond it the least recently used goes first.",
        }),
      },
      "How limits are kept.",
      { default: {} },
    ),
    cache: Shape(
      {
        maxSize: Size("How much memory kept responses may take, over all routes; the least recently used goes first.", { default: "64mb" }),
      },
      "How responses are kept.",
      { default: {} },
    ),
    ready: Shape(
      {
        upstreams: Type.Array(Type.String({ maxLength: 128 }), {
          maxItems: 256,
          default: [],
          description:
            "Upstreams without which /ready answers 503, so that a load balancer takes this instance out of service. By default none: an instance whose backends are down still answers for itself.",
          examples: [["users"]],
        }),
      },
      "When the gateway is ready for traffic.",
      { default: {} },
    ),
    anonymousTier: Type.String({ default: "anonymous", description: "The tier of callers without a key, counted by IP." }),
    tiers: Type.Record(Type.String({ pattern: IDENTIFIER }), filledIn(TierConfig), {
      additionalProperties: false,
      description: "Named sets of limits.",
      default: {
        anonymous: { limits: [{ algorithm: "sliding-window", limit: 100, window: "1m" }] },
        free: { limits: [{ algorithm: "sliding-window", limit: 10, burst: 20, degraded: 2, window: "1m" }] },
        pro: { limits: [{ algorithm: "sliding-window", limit: 100, burst: 150, degraded: 100, window: "1m" }] },
        enterprise: { limits: [{ algorithm: "sliding-window", limit: 1000, window: "1m" }] },
      },
    }),
    upstreams: Type.Record(Type.String({ pattern: IDENTIFIER }), filledIn(UpstreamConfig), {
      additionalProperties: false,
      default: {},
      description: "Backends by name.",
    }),
    routes: Type.Array(RouteConfig, { default: [], description: "What is forwarded where." }),
    pools: Type.Record(Type.String({ pattern: IDENTIFIER }), filledIn(PoolConfig), {
      additionalProperties: false,
      default: {},
      description: "Pools of upstream credentials by name, handed out by POST /api/v1/api-key.",
    }),
    activities: Type.Union([ActivitiesConfig, Type.Null()], {
      default: null,
      description: "Validated ingestion into tables; null: off.",
    }),
    consumers: Type.Array(ConsumerConfig, { default: [], description: "Declared consumers and their keys." }),
    demo: Type.Boolean({
      default: false,
      description: "Starts a demo backend on a free loopback port and offers it as the upstreams demo and demo-downstream.",
    }),
  },
  "The configuration of Sluice.",
);
export type Config = Static<typeof Config>;

/** A declared key as an object, however it was written. */
export const declaredKey = (key: string | DeclaredKey): DeclaredKey => (typeof key === "string" ? { key } : key);
