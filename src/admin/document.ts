import { toOpenAPISchema } from "@elysiajs/openapi/openapi";
import type { TSchema } from "@sinclair/typebox";
import { CacheConfig } from "../cache/settings.ts";
import { maxBodyOf } from "../http/json-bounds.ts";
import { ipBlocked, type Problem, passing, problem, problemBody, typesFrom } from "../http/problem.ts";
import { invalid, refused, TOKEN_MISSING } from "../http/refused.ts";
import { LimitConfig, QuotaConfig } from "../limits/settings.ts";
import { CredentialConfig } from "../pools/settings.ts";
import { BreakerConfig, HealthCheckConfig, RetryConfig, TargetConfig } from "../upstreams/settings.ts";
import { isObject } from "../values/json.ts";
import { VERSION } from "../version.ts";
import { OPEN_PATHS } from "./open-paths.ts";
import { OPERATIONS, type Operation, PARAMETER_EXAMPLES, TAGS } from "./operations.ts";

type Json = Record<string, unknown>;
type Methods = Record<string, OperationObject>;

interface OperationObject extends Json {
  operationId?: string;
  tags?: string[];
  parameters?: (Json & { name: string; in: string; schema?: Json })[];
  requestBody?: Json & { content: Record<string, Json> };
  responses?: Record<string, Json & { content?: Record<string, Json> }>;
}

/** Parts of the configuration that have a name in the document. */
const PARTS: readonly (readonly [name: string, schema: TSchema])[] = [
  ["Limit", LimitConfig],
  ["Quota", QuotaConfig],
  ["Target", TargetConfig],
  ["CircuitBreaker", BreakerConfig],
  ["HealthCheck", HealthCheckConfig],
  ["CachePolicy", CacheConfig],
  ["RetryPolicy", RetryConfig],
  ["Credential", CredentialConfig],
];

/** The words that JSON Schema knows (draft 2020-12): our own, which serve the reader of a fault, are left out of the document. */
const KEYWORDS = new Set(
  (
    "type enum const anyOf allOf oneOf not properties patternProperties propertyNames additionalProperties required items prefixItems minItems maxItems uniqueItems " +
    "minProperties maxProperties minLength maxLength pattern format minimum maximum exclusiveMinimum exclusiveMaximum multipleOf title description default examples $ref " +
    "contentMediaType contentEncoding readOnly writeOnly deprecated"
  ).split(" "),
);

/**
 * Gives a schema as JSON Schema has it: without words of our own, with what has a default left out of `required`. `shown` in a schema says
 * what readers see in its place.
 */
export function plainSchema(schema: unknown): Json {
  if (!isObject(schema)) return schema as unknown as Json;
  const { shown, ...own } = schema;
  const from: Json = isObject(shown) ? { ...own, ...shown } : own;
  const to: Json = {};
  for (const [key, value] of Object.entries(from)) {
    if (!KEYWORDS.has(key) || value === undefined) continue;
    // In a secret's place stands a mask, in answers and in what is sent back.
    if (key === "minLength" && from.secret === true) continue;
    if (key === "properties") to[key] = mapValues(value as Json, plainSchema);
    else if (key === "items" || key === "additionalProperties" || key === "not" || key === "propertyNames") to[key] = plainSchema(value);
    else if (Array.isArray(value) && (key === "anyOf" || key === "allOf" || key === "oneOf"))
      to[key] = value.map((each) => {
        const { default: _, ...variant } = plainSchema(each);
        return variant;
      });
    else if (key !== "patternProperties") to[key] = value;
  }
  const variants = to.anyOf as Json[] | undefined;
  if (variants?.every((variant) => variant.const !== undefined)) {
    delete to.anyOf;
    to.type = typeof variants[0]?.const;
    to.enum = variants.map((variant) => variant.const);
  } else if (variants?.length === 2 && variants[1]?.type === "null" && typeof variants[0]?.type === "string") {
    // The words around both are the ones that count, not those of the first.
    const [{ type, ...first }] = variants as [Json];
    delete to.anyOf;
    Object.assign(to, { ...first, ...to, type: [type, "null"] });
    if (Array.isArray(to.enum)) to.enum = [...to.enum, null];
  }
  // Generators of clients know additionalProperties; few know patternProperties.
  const [pattern] = Object.entries((from.patternProperties ?? {}) as Json);
  if (pattern !== undefined) {
    if (pattern[0] !== "^(.*)$") to.propertyNames = { type: "string", pattern: pattern[0] };
    to.additionalProperties = plainSchema(pattern[1]);
  }
  const { properties, required } = to as { properties?: Record<string, Json>; required?: string[] };
  if (properties !== undefined) {
    const lacking = required?.filter((name) => properties[name]?.default === undefined) ?? [];
    if (lacking.length === 0) delete to.required;
    else to.required = lacking;
    for (const [name, each] of Object.entries(properties)) properties[name] = withDefaultTold(each);
  }
  return to;
}

/**
 * Moves the default into the description: generators of clients make a field required that has one, and a patch that leaves a field out
 * leaves it as it is.
 */
function withDefaultTold({ default: given, ...schema }: Json): Json {
  if (given === undefined || typeof schema.description !== "string" || (typeof given === "object" && given !== null)) return schema;
  return { ...schema, description: `${schema.description} Default: ${JSON.stringify(given)}.` };
}

const mapValues = <T>(record: Json, change: (value: unknown) => T): Record<string, T> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));

/** Gives what tells two schemas apart: all but the words around them, in whatever order. */
function identityOf({ description: _, default: __, examples: ___, ...schema }: Json): string {
  return JSON.stringify(schema, (_name, value: unknown) =>
    isObject(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value,
  );
}

/** Tells whether a schema takes an object or null, and nothing else. */
const isNullable = ({ type }: Json): boolean => Array.isArray(type) && type.length === 2 && type[0] === "object" && type[1] === "null";

/** Keeps schemas that have a name; where one stands in the document, a reference takes its place. */
class Names {
  readonly schemas: Record<string, Json> = {};
  private readonly names = new Map<string, string>();

  /** Names a schema. The first name of a schema is the one that counts. */
  name(name: string, schema: Json): void {
    const identity = identityOf(schema);
    if (!this.names.has(identity)) this.names.set(identity, name);
  }

  /** Gives the schema with references in the place of what has a name. */
  refer(schema: Json): Json {
    if (isObject(schema) && isNullable(schema) && this.names.has(identityOf({ ...schema, type: "object" }))) {
      const { description, ...object } = schema;
      return {
        ...(description === undefined ? {} : { description }),
        anyOf: [this.refer({ ...object, type: "object" }), { type: "null" }],
      };
    }
    const name = isObject(schema) && schema.properties !== undefined ? this.names.get(identityOf(schema)) : undefined;
    if (name === undefined) return this.within(schema);
    if (this.schemas[name] === undefined) {
      this.schemas[name] = {};
      this.schemas[name] = this.within(schema);
    }
    const { description } = schema;
    return {
      $ref: `#/components/schemas/${name}`,
      ...(description === undefined || description === this.schemas[name]?.description ? {} : { description }),
    };
  }

  private within(schema: Json): Json {
    if (!isObject(schema)) return schema;
    const to: Json = { ...schema };
    if (isObject(to.properties)) to.properties = mapValues(to.properties, (each) => this.refer(each as Json));
    for (const key of ["items", "additionalProperties"]) if (isObject(to[key])) to[key] = this.refer(to[key]);
    for (const key of ["anyOf", "allOf", "oneOf"])
      if (Array.isArray(to[key])) to[key] = (to[key] as Json[]).map((each) => this.refer(each));
    return to;
  }
}

const REQUEST_ID = "01a1fdce-be85-7755-8433-50e520793303";
const example = (refusal: Problem): unknown => JSON.parse(problemBody(refusal, REQUEST_ID, typesFrom(null)));

/** Refusals that many operations have: by status, the name among the document's responses, what it means, an example. */
const REFUSALS: Readonly<Record<number, readonly [name: string, description: string, example: Problem]>> = {
  400: [
    "BadRequest",
    "The path, a header or the JSON is malformed.",
    problem("badRequest", "The body is not JSON, or its Content-Type is not application/json."),
  ],
  401: ["Unauthorized", "There is no valid token or key in the request.", TOKEN_MISSING],
  403: [
    "Forbidden",
    "The token's role, the key or the caller's address (`admin.allowFrom`) does not allow it.",
    problem("forbidden", "This takes a token with more rights than viewer."),
  ],
  404: ["NotFound", "There is no such record.", refused("notFound", 'There is no consumer "acme".').problem],
  409: [
    "Conflict",
    "It conflicts with what there is.",
    problem("conflict", 'There is a consumer "acme" already: change it, or choose another id.'),
  ],
  412: [
    "PreconditionFailed",
    "The record was changed since you read it (`If-Match`).",
    problem("preconditionFailed", "The record has changed since you read it: read it again and repeat your change."),
  ],
  413: ["BodyTooLarge", "The body is too large.", problem("bodyTooLarge", `The body must not be larger than ${maxBodyOf("")} bytes.`)],
  422: [
    "ValidationFailed",
    "The input is not valid: `errors` names every fault.",
    invalid([{ path: ["tier"], message: 'there is no tier "platin", did you mean "platinum"?' }]).problem,
  ],
  431: [
    "HeadersTooLarge",
    "The request line and the headers are larger than `server.maxHeaderSize`.",
    problem("headersTooLarge", "The request line and headers are larger than 16384 bytes."),
  ],
  429: ["TooManyRequests", "Your address is blocked, or there is a limit: come again after `Retry-After`.", ipBlocked(60_000)],
  503: [
    "Unavailable",
    "It can't be done at the moment: come again after `Retry-After`.",
    passing("limiterUnavailable", "Redis is away, and nothing that instances share can be changed without it: try again in a second.", 1),
  ],
};

const PROBLEM: Json = {
  type: "object",
  description: "An error (RFC 9457).",
  required: ["type", "title", "status", "detail", "code", "requestId"],
  properties: {
    type: {
      type: "string",
      format: "uri-reference",
      description: "What kind of problem it is: one for each code, or a registered type. `problemBase` says where they lead.",
    },
    title: { type: "string", description: "The same for each problem of the kind." },
    status: { type: "integer", description: "The response's status." },
    detail: { type: "string", description: "One sentence that says what to do." },
    code: { type: "string", description: "For programs.", examples: ["validationFailed"] },
    requestId: { type: "string", description: "As in the log and in X-Request-ID." },
    retryAfter: { type: "integer", description: "Seconds after which to come again." },
    errors: {
      type: "array",
      description: "Every fault of the input.",
      items: {
        type: "object",
        required: ["path", "message"],
        properties: {
          path: { type: "string", description: "The field; empty for the whole.", examples: ["limits[0].window"] },
          message: { type: "string", description: "What is wrong with it." },
        },
      },
    },
  },
};

const problemResponse = (description: string, refusal: Problem): Json => ({
  description,
  headers: {
    "X-Request-ID": { description: "The request's id.", schema: { type: "string" } },
    ...(refusal.status === 429 || refusal.status === 503
      ? { "Retry-After": { description: "Whole seconds after which to come again.", schema: { type: "integer", minimum: 1 } } }
      : {}),
    ...(refusal.status === 401 ? { "WWW-Authenticate": { description: "How to identify yourself.", schema: { type: "string" } } } : {}),
  },
  content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" }, example: example(refusal) } },
});

const IDEMPOTENCY_KEY = {
  name: "Idempotency-Key",
  in: "header",
  required: false,
  description: "1 to 255 characters: the same key and body give the same answer for 24 hours; another body is 422.",
  schema: { type: "string", minLength: 1, maxLength: 255 },
};
const IF_MATCH = {
  name: "If-Match",
  in: "header",
  required: false,
  description: "The record's `ETag`: 412 when it was changed since you read it.",
  schema: { type: "string", minLength: 1 },
};
const ETAG = { description: "The record's version, for `If-Match`.", schema: { type: "string" } };
const LOCATION = { description: "Where the record is.", schema: { type: "string", format: "uri-reference" } };

/** Kinds of records that have a version. */
const VERSIONED = /^\/admin\/(consumers|keys|tiers|routes|upstreams|pools|issuers|webhooks)(\/\{id\}(\/rotate)?)?$/;

/** Gives the statuses of an operation of the admin API, beside those of success, and the reason for each. */
function refusalsOf(method: string, path: string, operation: OperationObject, { refuses = {} }: Operation): Record<number, string | null> {
  const isChange = method !== "GET";
  const hasBody = operation.requestBody !== undefined;
  const hasQuery = (operation.parameters ?? []).some((each) => each.in === "query");
  const statuses: Record<number, string | null> = { 401: null, 403: null, 429: null };
  if (hasBody || method === "POST" || path.includes("{")) statuses[400] = null;
  if (isChange) statuses[503] = null;
  if (path.includes("{")) statuses[404] = null;
  if (hasBody || hasQuery || method === "POST") statuses[422] = null;
  // A query takes texts of any kind, which may be long.
  if (hasQuery) statuses[431] = null;
  if (hasBody) statuses[413] = null;
  if (isChange && method !== "POST" && VERSIONED.test(path)) statuses[412] = null;
  return { ...statuses, ...refuses };
}

type App = Parameters<typeof toOpenAPISchema>[0];

/** Gives the app as the generator sees it: with schemas in which nothing is left to change, since what it changes loses its description. */
function withPlainSchemas(app: App): App {
  const { getGlobalRoutes, getGlobalDefinitions } = app as unknown as Record<string, () => unknown>;
  const plain = (schema: unknown): unknown =>
    schema === undefined
      ? undefined
      : (schema as Json).type === undefined && (schema as Json).anyOf === undefined
        ? mapValues(schema as Json, plainSchema)
        : plainSchema(schema);
  const routes = (getGlobalRoutes?.call(app) ?? []) as { hooks?: Json }[];
  const described = routes.map(({ hooks = {}, ...route }) => {
    const { body, query, params, response } = hooks;
    return { ...route, hooks: { ...hooks, body: plain(body), query: plain(query), params: plain(params), response: plain(response) } };
  });
  return { getGlobalRoutes: () => described, getGlobalDefinitions: () => getGlobalDefinitions?.call(app) } as unknown as App;
}

/** Makes the OpenAPI document of all that `app` serves, and of what Sluice answers beside it. */
export function openApiDocument(app: App): object {
  const raw = toOpenAPISchema(withPlainSchemas(app), undefined, undefined, undefined, "3.1.2").paths as Record<string, Methods>;
  const names = new Names();
  for (const [name, schema] of PARTS) names.name(name, plainSchema(JSON.parse(JSON.stringify(schema))));

  const operations: { path: string; method: string; operation: OperationObject; words: Operation; isAdmin: boolean }[] = [];
  for (const [from, isAdmin] of [
    [raw, true],
    [OPEN_PATHS as unknown as Record<string, Methods>, false],
  ] as const)
    for (const [written, methods] of Object.entries(from))
      for (const [method, described] of Object.entries(methods)) {
        const path = written.length > 1 ? written.replace(/\/$/, "") : written;
        const operation = JSON.parse(JSON.stringify(described)) as OperationObject;
        const words = OPERATIONS[`${method.toUpperCase()} ${path}`] ?? { id: operation.operationId ?? `${method}${path}` };
        operations.push({ path, method, operation, words, isAdmin });
      }

  // Names first: where a schema stands before the operation that names it, it is the same.
  const schemaOf = (of: { content?: Record<string, Json> } | undefined): Json | undefined =>
    of?.content?.["application/json"]?.schema as Json | undefined;
  for (const { operation, words } of operations) {
    for (const content of [operation.requestBody, ...Object.values(operation.responses ?? {})])
      for (const each of Object.values(content?.content ?? {}) as Json[])
        if (each.schema !== undefined) each.schema = plainSchema(each.schema);
    const body = schemaOf(operation.requestBody);
    const answer = Object.entries(operation.responses ?? {}).find(([status]) => status.startsWith("2"))?.[1];
    const answered = schemaOf(answer);
    if (words.body !== undefined && body !== undefined) names.name(words.body, body);
    if (words.answer !== undefined && answered !== undefined) names.name(words.answer, answered);
  }

  const paths: Record<string, Methods> = {};
  const order = new Map(TAGS.map(([name], i) => [name, i]));
  const placed = operations.toSorted(
    (a, b) => (order.get(a.operation.tags?.[0] ?? "") ?? 99) - (order.get(b.operation.tags?.[0] ?? "") ?? 99),
  );
  for (const { path, method, operation, words, isAdmin } of placed) {
    paths[path] ??= {};
    paths[path][method] = finished(path, method.toUpperCase(), operation, words, isAdmin, names);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Sluice API",
      version: VERSION,
      summary: "Manages a running Sluice gateway.",
      license: { name: "MIT", identifier: "MIT" },
      description:
        "Consumers, keys, tiers, routes and upstreams of a running gateway. Every change takes effect at once. Press **Authorize** and put the admin token into `adminToken`: the one of `SLUICE_ADMIN_TOKEN`, or the one that was printed at the first start. Errors are `application/problem+json` (RFC 9457) with a `code`; lists take `?limit=` and `?cursor=`; PATCH takes a merge patch (RFC 7396) and honours `If-Match`; POST honours `Idempotency-Key` for 24 hours.",
    },
    servers: [{ url: "/", description: "This gateway" }],
    security: [{ adminToken: [] }],
    tags: TAGS.map(([name, description]) => ({ name, description })),
    paths,
    components: {
      securitySchemes: {
        adminToken: {
          type: "http",
          scheme: "bearer",
          description:
            "The admin token: SLUICE_ADMIN_TOKEN, or the one printed at the first start. For everything under /admin, and for metrics.",
        },
        consumerKey: { type: "apiKey", in: "header", name: "X-API-Key", description: "A consumer's API key. For /api/… only." },
      },
      schemas: { ...Object.fromEntries(Object.entries(names.schemas).sort(([a], [b]) => (a < b ? -1 : 1))), Problem: PROBLEM },
      responses: Object.fromEntries(
        Object.values(REFUSALS).map(([name, description, refusal]) => [name, problemResponse(description, refusal)]),
      ),
    },
  };
}

/** Gives an operation as the document has it. */
function finished(
  path: string,
  method: string,
  operation: OperationObject,
  words: Operation,
  isAdmin: boolean,
  names: Names,
): OperationObject {
  const to: OperationObject = { ...operation, operationId: words.id };
  const kind = path.split("/")[2] ?? "";
  const parameters = (operation.parameters ?? []).map(({ schema: given, ...parameter }) => {
    const { description, ...schema } = plainSchema(given ?? {});
    const sample = parameter.in === "path" ? PARAMETER_EXAMPLES[kind] : undefined;
    if (sample !== undefined) delete schema.examples;
    return {
      ...parameter,
      ...(description === undefined ? {} : { description }),
      schema,
      ...(sample === undefined ? {} : { example: sample }),
    };
  });
  if (isAdmin && method === "POST") parameters.push(IDEMPOTENCY_KEY);
  if (isAdmin && (method === "PATCH" || method === "DELETE") && VERSIONED.test(path)) parameters.push(IF_MATCH);
  if (parameters.length > 0) to.parameters = parameters as OperationObject["parameters"] & object;

  for (const content of [operation.requestBody, ...Object.values(operation.responses ?? {})])
    for (const each of Object.values(content?.content ?? {}) as Json[])
      if (each.schema !== undefined) each.schema = names.refer(each.schema as Json);
  const body = operation.requestBody?.content["application/json"];
  if (body !== undefined && words.example !== undefined) body.example = words.example;

  const responses: Record<string, Json> = { ...operation.responses };
  if (!Object.keys(responses).some((status) => status.startsWith("2"))) responses["204"] = { description: "Done." };
  for (const [status, response] of Object.entries(responses)) {
    if (/^Response for status \d+$/.test(String(response.description))) response.description = status === "201" ? "Created" : "OK";
    if (isAdmin && VERSIONED.test(path) && response.content !== undefined) {
      const headers = {
        ...(status === "201" ? { Location: LOCATION } : {}),
        ...(method === "GET" && !path.includes("{") ? {} : { ETag: ETAG }),
      };
      if (Object.keys(headers).length > 0) response.headers = headers;
    }
  }
  const refusals = isAdmin ? refusalsOf(method, path, operation, words) : ((operation["x-refuses"] ?? {}) as Record<number, string | null>);
  delete to["x-refuses"];
  for (const [status, description] of Object.entries(refusals)) {
    const [name] = REFUSALS[Number(status)] ?? [];
    // What an endpoint says itself of a status counts.
    if (name !== undefined)
      responses[status] ??= { $ref: `#/components/responses/${name}`, ...(description === null ? {} : { description }) };
  }
  to.responses = responses;
  return to;
}
