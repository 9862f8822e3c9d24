import { SQLiteError } from "bun:sqlite";
import { Elysia, type ValidationError } from "elysia";
import type { Activities } from "../activities/activities.ts";
import { activitiesAdmin } from "../activities/admin.ts";
import { auditAdmin } from "../audit/admin.ts";
import type { Audit } from "../audit/audit.ts";
import { backupAdmin } from "../backups/admin.ts";
import { type CacheView, cacheAdmin } from "../cache/admin.ts";
import { consumersAdmin } from "../consumers/admin.ts";
import type { Consumers } from "../consumers/consumers.ts";
import { eventsAdmin } from "../events/admin.ts";
import type { EventHub } from "../events/hub.ts";
import { type ExplainAdminDeps, explainAdmin } from "../explain/admin.ts";
import { blocksAdmin } from "../guard/admin.ts";
import type { Guard } from "../guard/guard.ts";
import { healthAdmin } from "../health/admin.ts";
import type { SystemHealth } from "../health/health.ts";
import type { Warnings } from "../health/warnings.ts";
import { checkBody } from "../http/json-bounds.ts";
import { ipBlocked, type Problem, passing, problem, problemBody } from "../http/problem.ts";
import { INTERNAL, invalid, Refused, TOKEN_MISSING, TOKEN_UNKNOWN } from "../http/refused.ts";
import { keysAdmin } from "../keys/admin.ts";
import type { Keys } from "../keys/keys.ts";
import { type LimitsAdminDeps, limitsAdmin } from "../limits/admin.ts";
import { PoolState, poolsAdmin } from "../pools/admin.ts";
import type { Pools } from "../pools/pools.ts";
import { PoolConfig } from "../pools/settings.ts";
import { documentsAdmin } from "../records/admin.ts";
import type { Documents } from "../records/documents.ts";
import { WriteConflict } from "../records/replication.ts";
import { RedisDown } from "../redis/link.ts";
import { RouteConfig } from "../routes/settings.ts";
import { schemaFaults } from "../schema/faults.ts";
import type { Unwritable } from "../storage/writability.ts";
import type { Log } from "../telemetry/log.ts";
import { logAdmin } from "../telemetry/log-admin.ts";
import { type StatsDeps, statsAdmin } from "../telemetry/stats.ts";
import { TierConfig } from "../tiers/settings.ts";
import { breakersAdmin } from "../upstreams/admin.ts";
import type { Upstreams } from "../upstreams/registry.ts";
import { UpstreamConfig } from "../upstreams/settings.ts";
import { usageAdmin } from "../usage/admin.ts";
import type { Usage } from "../usage/usage.ts";
import { type ConfigView, configAdmin } from "./config.ts";
import { openApiDocument } from "./document.ts";
import type { IdempotentAnswers } from "./idempotency.ts";
import { swagger } from "./swagger.ts";
import { type AdminToken, type AdminTokens, bearerOf, mayDo, tokensAdmin } from "./tokens.ts";

export interface AdminDeps extends LimitsAdminDeps {
  readonly tokens: AdminTokens;
  readonly answers: IdempotentAnswers;
  readonly guard: Guard;
  readonly audit: Audit;
  readonly usage: Usage;
  readonly databasePath: string;
  readonly health: SystemHealth;
  readonly components: () => Record<string, string>;
  readonly warnings: Warnings;
  readonly consumers: Consumers;
  readonly keys: Keys;
  readonly tiers: Documents<TierConfig>;
  readonly routes: Documents<RouteConfig>;
  readonly upstreams: Documents<UpstreamConfig>;
  readonly pools: Pools;
  readonly poolDocuments: Documents<PoolConfig>;
  /** What is left to each key of a pool. */
  readonly poolState: (name: string) => unknown;
  /** `null` while there are none. */
  readonly activities: () => Activities | null;
  readonly balanced: Upstreams;
  readonly events: EventHub;
  readonly explain: ExplainAdminDeps;
  readonly stats: StatsDeps;
  /** `null`: nothing is logged. */
  readonly log: Log | null;
  readonly cache: CacheView;
  readonly config: ConfigView;
  /** Takes over what other processes on the same database have changed. */
  readonly catchUp: () => void;
  /** Why nothing can be stored, where an error says so; `null` for any other error. */
  readonly unwritable: (error: unknown) => Unwritable | null;
  /** Runs a change of records so that all instances that share them agree; `null` where there is one alone. */
  readonly write: ((work: () => Promise<Response>) => Promise<Response>) | null;
  /** Logs a fault of Sluice's own. */
  readonly onFault: (error: unknown, requestId: string) => void;
}

/** The admin API and its documentation, as one function from a request to a response. */
export function createAdmin(deps: AdminDeps): (request: Request, requestId: string, ip?: string) => Promise<Response> {
  const app = new Elysia({ normalize: false, aot: true })
    .onError(({ error, code, request }) => {
      const requestId = request.headers.get("x-request-id") ?? "";
      const unwritable = deps.unwritable(error);
      const found =
        code === "NOT_FOUND"
          ? notHere(methodsOf(new URL(request.url).pathname))
          : unwritable === null
            ? problemOf(error, code)
            : readOnly(unwritable);
      if (found.status === 500) deps.onFault(error, requestId);
      return toResponse(found, requestId);
    })
    .use(swagger((): object => openApiDocument(app)))
    .group("/admin", (admin) =>
      admin
        .use(healthAdmin(deps.health, deps.components, deps.audit, deps.warnings))
        .use(consumersAdmin(deps.consumers, deps.keys))
        .use(keysAdmin(deps.keys))
        .use(documentsAdmin(deps.tiers, { plural: "tiers", singular: "tier", schema: TierConfig, isNamedWithin: false }))
        .use(documentsAdmin(deps.routes, { plural: "routes", singular: "route", schema: RouteConfig, isNamedWithin: true }))
        .use(documentsAdmin(deps.upstreams, { plural: "upstreams", singular: "upstream", schema: UpstreamConfig, isNamedWithin: false }))
        .use(
          documentsAdmin(deps.poolDocuments, {
            plural: "pools",
            singular: "pool",
            schema: PoolConfig,
            isNamedWithin: false,
            refresh: () => deps.pools.refresh(),
            more: { schema: { state: PoolState }, of: (name) => ({ state: deps.poolState(name) }) },
          }),
        )
        .use(poolsAdmin(deps.pools, deps.audit))
        .use(breakersAdmin(deps.balanced, deps.clock, deps.audit))
        .use(cacheAdmin(deps.cache, deps.audit))
        .use(blocksAdmin(deps.guard, deps.audit))
        .use(activitiesAdmin(deps.activities, deps.audit))
        .use(auditAdmin(deps.audit))
        .use(usageAdmin(deps.usage, deps.clock))
        .use(tokensAdmin(deps.tokens))
        .use(backupAdmin(deps.databasePath, deps.audit))
        .use(limitsAdmin(deps))
        .use(explainAdmin(deps.explain))
        .use(statsAdmin(deps.stats))
        .use(logAdmin(deps.log, deps.audit))
        .use(eventsAdmin(deps.events, (authorization) => deps.tokens.isShownIn(authorization)))
        .use(configAdmin(deps.config)),
    );

  // Elysia answers 404 where only the method is wrong.
  const endpoints = app.routes.map(({ method, path }) => ({
    method,
    isExact: !path.includes(":"),
    pattern: new RegExp(`^${path.replace(/\/$/, "").replace(/:[^/]+/g, "[^/]+")}/?$`),
  }));
  const methodsOf = (path: string): string[] => {
    const found = endpoints.filter(({ pattern }) => pattern.test(path));
    // A path that is an endpoint's own word for word, such as keys/import, is no record's.
    const exact = found.filter(({ isExact }) => isExact);
    return [...new Set((exact.length > 0 ? exact : found).map(({ method }) => method))].sort();
  };

  return async (request, requestId, ip = "") => {
    const { pathname } = new URL(request.url);
    const isOpen = pathname === "/swagger" || pathname.startsWith("/swagger/");
    deps.catchUp();
    const response = isOpen ? await app.handle(request) : await guarded(deps, app, request, pathname, requestId, ip);
    response.headers.set("X-Request-ID", requestId);
    response.headers.set("X-Content-Type-Options", "nosniff");
    // An answer may hold an API key; the documentation's files say for themselves how long they keep.
    if (!isOpen) response.headers.set("Cache-Control", "no-store");
    return response;
  };
}

/** What instances share by way of their databases. */
const SHARED = /^\/admin\/(consumers|keys|tiers|routes|upstreams|pools|blocks|tokens)(\/|$)/;

/** The token that an Authorization field shows, or why it is refused. Who holds one may always come in: somebody has to lift a block. */
export function tokenOf(
  { tokens, guard }: Pick<AdminDeps, "tokens" | "guard">,
  authorization: string | null,
  ip: string,
): AdminToken | Problem {
  const token = bearerOf(authorization);
  const found = token === null ? null : tokens.find(token);
  if (found !== null) return found;
  const blockedFor = guard.blockedFor(ip);
  if (blockedFor > 0) return ipBlocked(blockedFor);
  if (token === null) return TOKEN_MISSING;
  guard.strike(ip);
  return TOKEN_UNKNOWN;
}

/** Everything but the documentation: a token first, then the answer, which an Idempotency-Key may repeat. */
async function guarded(
  deps: AdminDeps,
  app: { handle(request: Request): Promise<Response> },
  request: Request,
  path: string,
  requestId: string,
  ip: string,
): Promise<Response> {
  const authorization = request.headers.get("authorization");
  const token = bearerOf(authorization);
  const found = tokenOf(deps, authorization, ip);
  if ("code" in found) return toResponse(found, requestId);
  deps.tokens.touch(found);
  if (!mayDo(found.role, request.method, path))
    return toResponse(problem("forbidden", `This takes a token with more rights than ${found.role}.`), requestId);

  const actor = { name: found.name, ip, requestId };
  const { write } = deps;
  const isShared = write !== null && request.method !== "GET" && request.method !== "HEAD" && SHARED.test(path);
  const act = (request: Request): Promise<Response> => deps.audit.as(actor, () => app.handle(request));
  const handle = (request: Request): Promise<Response> => (isShared ? write(() => act(request)) : act(request));
  // A copy of the database is no answer to keep in the database.
  const mayRepeat = request.method === "POST" && !path.startsWith("/admin/backup");
  const key = mayRepeat ? request.headers.get("idempotency-key") : null;
  const again = (body: string | null): Request => new Request(request.url, { method: request.method, headers: request.headers, body });
  try {
    const body = request.body === null ? null : await request.text();
    if (body !== null) checkBody(body, path);
    if (key === null) return await handle(body === null ? request : again(body));
    const identified = deps.answers.identify(key, token as string, request.method, path, body ?? "");
    // A repetition that comes while the first is still at work waits for it, or both would make a record.
    const once = async (): Promise<Response> => {
      const before = await deps.answers.find(identified);
      if (before !== null)
        return new Response(before.body, {
          status: before.status,
          headers: [...before.headers, ["Idempotent-Replayed", "true"]] as [string, string][],
        });
      const response = await act(again(body));
      const text = await response.text();
      const headers = [...response.headers].filter(([name]) => ["content-type", "location", "etag"].includes(name));
      // A refusal changed nothing: the corrected request may use the same key.
      if (response.ok) await deps.answers.keep(identified, { status: response.status, headers, body: text });
      return new Response(text, { status: response.status, headers: response.headers });
    };
    // The look for an answer is within the turn of the change: the same request may be on its way to another instance.
    return await deps.answers.oneAtATime(identified, () => (isShared ? write(once) : once()));
  } catch (error) {
    if (error instanceof Refused) return toResponse(error.problem, requestId);
    if (error instanceof RedisDown) return toResponse(REDIS_AWAY, requestId);
    const unwritable = deps.unwritable(error);
    if (unwritable !== null) return toResponse(readOnly(unwritable), requestId);
    if (error instanceof WriteConflict)
      return toResponse(
        problem("conflict", "Another instance changed something at the same moment: read it again and repeat your change."),
        requestId,
      );
    throw error;
  }
}

function problemOf(error: unknown, code: string | number): Problem {
  if (error instanceof Refused) return error.problem;
  // Elysia words its refusal with the value that it refuses, and trips over an object with a field called toString.
  if (error instanceof TypeError && error.stack?.includes("mapValueError"))
    return invalid([{ path: [], message: "has an object where text or a number is expected" }]).problem;
  if (error instanceof RedisDown) return REDIS_AWAY;
  // Another process on the same database was faster by a moment.
  if (isTaken(error)) return problem("conflict", "There is such a record already: change it, or choose another name.");
  switch (code) {
    case "VALIDATION":
      // An answer of ours that is not what its schema says is a fault of ours.
      return (error as ValidationError).type === "response" ? INTERNAL : validationProblem(error as ValidationError);
    case "PARSE":
      return problem("badRequest", "The body is not JSON, or its Content-Type is not application/json.");
    case "INVALID_COOKIE_SIGNATURE":
      return problem("badRequest", "The cookie is malformed.");
    default:
      return INTERNAL;
  }
}

function isTaken(error: unknown): boolean {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return cause instanceof SQLiteError && (cause.code === "SQLITE_CONSTRAINT_PRIMARYKEY" || cause.code === "SQLITE_CONSTRAINT_UNIQUE");
}

const REDIS_AWAY = passing(
  "limiterUnavailable",
  "Redis is away, and nothing that instances share can be changed without it: try again in a second.",
  1,
);

/** Seconds after which a change may be tried again that could not be stored. */
const READ_ONLY_FOR = 10;

const readOnly = ({ isDamaged }: Unwritable): Problem =>
  passing(
    "storageReadOnly",
    isDamaged
      ? "Nothing was changed: the gateway's database is damaged. Stop the gateway and restore a backup with `sluice restore FILE`."
      : "Nothing was changed: the disk of the gateway's database is full or can't be written. Make room there, then send it again.",
    READ_ONLY_FOR,
  );

function notHere(methods: readonly string[]): Problem {
  if (methods.length === 0) return problem("routeNotFound", "The admin API has nothing here; /swagger lists what there is.");
  const allow = methods.join(", ");
  return problem("methodNotAllowed", `This takes ${allow}.`, {}, [["Allow", allow]]);
}

/** Elysia's own texts name one fault at a time and know no near names. */
function validationProblem(error: ValidationError): Problem {
  const { schema } = error.validator as unknown as { schema?: Parameters<typeof schemaFaults>[0] };
  const faults = schema === undefined ? [] : schemaFaults(schema, error.value);
  return invalid(faults.length > 0 ? faults : [{ path: [], message: "is not what is expected here" }]).problem;
}

function toResponse(refusal: Problem, requestId: string): Response {
  return new Response(problemBody(refusal, requestId), {
    status: refusal.status,
    headers: [["Content-Type", "application/problem+json"], ["Cache-Control", "no-store"], ...refusal.headers] as [string, string][],
  });
}
