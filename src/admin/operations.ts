/** Holds what the API document tells of an operation beside what its endpoint says itself. */
export interface Operation {
  readonly id: string;
  /** A body that the endpoint accepts on a fresh gateway: as small as can be. */
  readonly example?: unknown;
  /** The names of its body and of its answer among the document's schemas. */
  readonly body?: string;
  readonly answer?: string;
  /** The reasons why it refuses, by status, besides those that every operation of its kind may give. */
  readonly refuses?: Readonly<Record<number, string>>;
  /** False for what assistants have no use for: what only browsers need. */
  readonly isTool?: false;
  /** True when it only adds something, or does something once more: nothing that there was is lost, nobody is refused by it, and nobody gets rights over the gateway. */
  readonly adds?: true;
  /** The field of its answer that holds a secret which is shown there and nowhere else. */
  readonly shownOnce?: string;
}

const MANAGED = "It is declared in config.json, and only changed there.";

/** Gives the five operations of a kind of record. */
const records = (
  plural: string,
  name: string,
  examples: { readonly create: object; readonly update: object },
  refuses: { readonly create: string; readonly remove: string },
  more: Pick<Operation, "shownOnce"> & { readonly adds?: false } = {},
): Record<string, Operation> => ({
  [`GET /admin/${plural}`]: { id: `list${name}s`, answer: `${name}Page` },
  [`POST /admin/${plural}`]: {
    id: `create${name}`,
    ...(more.adds === false ? {} : { adds: true }),
    ...(more.shownOnce === undefined ? {} : { shownOnce: more.shownOnce }),
    body: `New${name}`,
    answer: name,
    example: examples.create,
    refuses: { 409: refuses.create },
  },
  [`GET /admin/${plural}/{id}`]: { id: `get${name}`, answer: name },
  [`PATCH /admin/${plural}/{id}`]: {
    id: `update${name}`,
    body: `${name}Patch`,
    answer: name,
    example: examples.update,
    refuses: { 409: `${MANAGED} Or it was changed at the same moment.` },
  },
  [`DELETE /admin/${plural}/{id}`]: { id: `delete${name}`, refuses: { 409: refuses.remove } },
});

const taken = (what: string): string => `There is such a ${what} already.`;

/**
 * The operations of the document by method and path. The examples work in this order on a gateway with activities and nothing else of its
 * own; each may be sent as it stands, as Swagger UI prefills it.
 */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  ...records(
    "tiers",
    "Tier",
    {
      create: { name: "gold", limits: [{ algorithm: "sliding-window", limit: 1000, window: "1m" }] },
      update: {
        limits: [
          { algorithm: "sliding-window", limit: 2000, window: "1m" },
          { name: "trial", algorithm: "sliding-window", limit: 500, window: "1m", shadow: true },
        ],
      },
    },
    { create: taken("tier"), remove: `Consumers have it or routes name it: change them first, or use \`force\`. Or: ${MANAGED}` },
  ),
  ...records(
    "consumers",
    "Consumer",
    { create: { id: "acme", tier: "free" }, update: { tier: "pro" } },
    { create: taken("consumer"), remove: `It has keys: use \`force\`, or disable it. Or: ${MANAGED}` },
  ),
  "POST /admin/consumers/{id}/link": {
    id: "createConsumerLink",
    shownOnce: "url",
    adds: true,
    body: "NewConsumerLink",
    answer: "ConsumerLink",
    example: { ttl: "30m" },
    refuses: { 409: "`selfService` is turned off, a route stands at `/my`, the consumer is disabled, or `selfService.url` is needed." },
  },
  "GET /admin/keys": { id: "listKeys", answer: "KeyPage" },
  "POST /admin/keys": {
    id: "createKey",
    shownOnce: "key",
    adds: true,
    body: "NewKey",
    answer: "KeyWithSecret",
    example: { consumer: "acme" },
    refuses: { 409: taken("key") },
  },
  "POST /admin/keys/import": {
    id: "importKeys",
    adds: true,
    body: "KeyImport",
    answer: "ImportedKeys",
    example: { keys: [{ consumer: "acme", hash: "5c2b1f9b2a2e4d0f0c7f4a8ad8f2f3b6b9d1e0a7c4835f6e1d2c3b4a59687f70" }] },
    refuses: { 409: "One of the keys is there already: nothing was imported." },
  },
  // Before the other rotation, whose grace period is longer than its holder has to wait for.
  "POST /api/v1/me/rotate": { id: "rotateMyKey", answer: "RotatedKey", example: {} },
  "GET /api/v1/me/keys": { id: "listMyKeys", answer: "MyKeys" },
  "POST /api/v1/me/keys": { id: "createMyKey", body: "NewMyKey", answer: "MyNewKey", example: { name: "laptop" } },
  "DELETE /api/v1/me/keys/{id}": { id: "revokeMyKey" },
  "POST /api/v1/me/keys/{id}/rotate": { id: "rotateOneOfMyKeys", answer: "RotatedKey", example: {} },
  "GET /admin/keys/{id}": { id: "getKey", answer: "Key" },
  "PATCH /admin/keys/{id}": {
    id: "updateKey",
    body: "KeyPatch",
    answer: "Key",
    example: { name: "production" },
    refuses: { 409: `${MANAGED} Or it was changed at the same moment.` },
  },
  "DELETE /admin/keys/{id}": { id: "revokeKey", refuses: { 409: MANAGED } },
  "POST /admin/keys/{id}/rotate": {
    id: "rotateKey",
    shownOnce: "key",
    body: "Rotation",
    answer: "KeyWithSecret",
    example: { gracePeriod: "24h" },
    refuses: { 409: `The key is revoked. Or: ${MANAGED}` },
  },
  ...records(
    "upstreams",
    "Upstream",
    { create: { name: "users", targets: [{ url: "http://127.0.0.1:8001" }] }, update: { connectTimeout: "2s" } },
    { create: taken("upstream"), remove: `Routes use it: change them first, or use \`force\`. Or: ${MANAGED}` },
  ),
  ...records(
    "routes",
    "Route",
    { create: { name: "users", path: "/api/users", upstream: "users" }, update: { timeout: "10s" } },
    { create: taken("route"), remove: MANAGED },
    // One with a longer path takes the requests of another.
    { adds: false },
  ),
  ...records(
    "pools",
    "Pool",
    {
      create: {
        name: "models",
        keys: [{ id: "key_1", limit: 1000, window: "60s" }],
        services: { service_1: { cost: 300 } },
      },
      update: { strategy: "round-robin" },
    },
    { create: taken("pool"), remove: `Routes use it: change them first, or use \`force\`. Or: ${MANAGED}` },
  ),
  "POST /admin/pools/{id}/reset": { id: "resetPool" },
  ...records(
    "issuers",
    "Issuer",
    {
      create: { name: "main", issuer: "https://id.example.com/realms/app", audience: ["api"] },
      update: { tier: { claim: "plan", map: { gold: "pro" } } },
    },
    { create: taken("issuer"), remove: `Routes name it: change them first, or use \`force\`. Or: ${MANAGED}` },
  ),
  ...records(
    "webhooks",
    "Webhook",
    {
      create: { name: "alerts", url: "https://hooks.example.com/sluice", events: ["key.expiring", "quota.100"] },
      update: { events: ["key.expiring", "quota.80", "quota.100"] },
    },
    { create: taken("webhook"), remove: MANAGED },
    { shownOnce: "secret" },
  ),
  "GET /admin/webhooks/{id}/deliveries": { id: "listDeliveries", answer: "DeliveryPage" },
  "POST /admin/webhooks/{id}/test": {
    id: "testWebhook",
    adds: true,
    body: "WebhookTest",
    answer: "WebhookTestResult",
    example: { event: "key.expiring" },
  },
  "POST /admin/webhooks/{id}/rotate": {
    id: "rotateWebhookSecret",
    shownOnce: "secret",
    body: "WebhookSecretRotation",
    answer: "WebhookSecret",
    example: { keepOld: true },
    refuses: { 409: MANAGED },
  },
  "POST /admin/webhooks/deliveries/{id}/redeliver": {
    id: "redeliver",
    adds: true,
    answer: "Delivery",
    refuses: { 409: "Its webhook is not enabled." },
  },
  "POST /api/v1/api-key": { id: "takeApiKey", body: "ApiKeyRequest", answer: "ApiKey", example: { type: "service_1" } },
  "POST /v1/keys/verify": {
    id: "verifyKey",
    body: "KeyToVerify",
    answer: "VerifiedKey",
    example: { key: "what-a-caller-has-shown" },
  },
  "GET /api/v1/me": { id: "getMe", answer: "Me" },
  "POST /api/activities": {
    id: "postActivities",
    body: "ActivityBatch",
    answer: "AcceptedBatch",
    example: {
      activities: [{ operation: "insert", table: "visits", colNames: ["page"], colTypes: ["TEXT"], colValues: ["/"] }],
    },
  },
  "GET /admin/limits/{consumer}": { id: "getLimits", answer: "ConsumerLimits" },
  "DELETE /admin/limits/{consumer}": { id: "resetLimits" },
  "GET /admin/shadow": { id: "getShadowReport", answer: "ShadowReport" },
  "POST /admin/shadow/arm": {
    id: "armLimit",
    body: "LimitToArm",
    answer: "ArmedLimit",
    example: { owner: "tier gold", limit: "trial" },
    refuses: {
      404: "There is no such owner, or it has no such limit.",
      409: `It is not in shadow. Or: ${MANAGED} Or it was changed at the same moment.`,
    },
  },
  "POST /admin/explain/request": {
    id: "explainRequest",
    body: "RequestToExplain",
    answer: "ExplainedRequest",
    example: { method: "GET", target: "/api/users/7" },
  },
  "POST /admin/explain/find": { id: "findWhatToExplain", body: "TextToFind", answer: "FoundToExplain", example: { text: "acme" } },
  "GET /admin/explain/refusals": { id: "listRefusals", answer: "RefusalList" },
  "GET /admin/explain": { id: "explain", answer: "Explanation", refuses: { 404: "There is no such consumer, key or route." } },
  "GET /admin/health": { id: "getHealth", answer: "SystemHealth" },
  "POST /admin/health": {
    id: "setHealth",
    body: "NewSystemStatus",
    answer: "SystemHealth",
    example: { status: "DEGRADED", reason: "the database is slow", ttl: "1m" },
  },
  "GET /admin/models": { id: "listModels", answer: "VirtualModelList" },
  "GET /admin/breakers": { id: "listBreakers", answer: "BreakerList" },
  "POST /admin/breakers/{target}/open": { id: "openBreaker", answer: "BreakerList" },
  "POST /admin/breakers/{target}/close": { id: "closeBreaker", adds: true, answer: "BreakerList" },
  "GET /admin/cache": { id: "getCache", answer: "CacheStatistics" },
  "DELETE /admin/cache": { id: "purgeCache", answer: "PurgedResponses" },
  "GET /admin/blocks": { id: "listBlocks", answer: "BlockPage" },
  "POST /admin/blocks": { id: "createBlock", body: "NewBlock", answer: "Block", example: { ip: "203.0.113.9", ttl: "15m" } },
  "DELETE /admin/blocks/{ip}": { id: "deleteBlock", refuses: { 422: "This is no address." } },
  "GET /admin/activities": { id: "getActivities", answer: "ActivityQueue", refuses: { 404: "Activities are off." } },
  "POST /admin/activities/{id}/replay": {
    id: "replayActivity",
    adds: true,
    answer: "ReplayedActivities",
    refuses: { 404: "There is no such activity, or activities are off.", 409: "Nothing of it failed, or it can't be replayed." },
  },
  "GET /admin/usage": { id: "getUsage", answer: "UsageRows" },
  "GET /admin/history": { id: "getHistory", answer: "History" },
  "GET /admin/audit": { id: "listAudit", answer: "AuditPage" },
  "GET /admin/audit/export": { id: "exportAudit" },
  "GET /admin/audit/verify": { id: "verifyAudit", answer: "AuditVerification" },
  "GET /admin/tokens": { id: "listTokens", answer: "AdminTokenList" },
  "POST /admin/tokens": {
    // No `adds`: whoever holds it has its rights, and a person should be asked before.
    id: "createToken",
    shownOnce: "token",
    body: "NewAdminToken",
    answer: "AdminTokenWithText",
    example: { name: "ci", role: "viewer" },
    refuses: { 409: "There is a token of this name already, or the name is the gateway's own." },
  },
  "DELETE /admin/tokens/{id}": {
    id: "revokeToken",
    refuses: { 409: "It is the last token with the role admin, or given by SLUICE_ADMIN_TOKEN." },
  },
  "GET /admin/session": { id: "getSession", answer: "WhoAmI" },
  "POST /admin/session": {
    id: "beginSession",
    isTool: false,
    body: "SignIn",
    answer: "Session",
    example: { token: "slat_3yGq0V7tUOZlD4NcX8aRkMwBhT2eJfP6sLi9Qx" },
    refuses: { 401: "This is no admin token, or the link does not work any more.", 403: "The console is not served here." },
  },
  "DELETE /admin/session": { id: "endSession", isTool: false },
  "GET /admin/session/options": {
    id: "getSignInOptions",
    isTool: false,
    answer: "SignInOptions",
    refuses: { 403: "The console is not served here." },
  },
  "GET /admin/logging": { id: "getLogging", answer: "Logging", refuses: { 409: "This gateway writes no log." } },
  "PATCH /admin/logging": {
    id: "updateLogging",
    body: "LoggingPatch",
    answer: "Logging",
    example: { level: "debug", ttl: "10m" },
    refuses: { 409: "This gateway writes no log." },
  },
  "DELETE /admin/logging": { id: "resetLogging", answer: "Logging", refuses: { 409: "This gateway writes no log." } },
  "GET /admin/config": { id: "getConfig", answer: "ConfigurationInForce" },
  "POST /admin/config/reload": {
    id: "reloadConfig",
    answer: "ReloadedConfiguration",
    refuses: { 422: "The file has faults: the configuration before stays in force." },
  },
  "GET /admin/config/schema": { id: "getConfigSchema" },
  "GET /admin/config/file": {
    id: "getConfigFile",
    answer: "ConfigurationFile",
    refuses: { 409: "There is no file, or it can't be read." },
  },
  "PUT /admin/config/file": {
    id: "writeConfigFile",
    body: "NewConfigurationFile",
    answer: "WrittenConfigurationFile",
    example: { text: "{}\n", note: "no routes for now" },
    refuses: {
      403: "The token's role is not admin, or `admin.editFile` is not set.",
      409: "There is no file, or it can't be written.",
      412: "The file was changed since you read it (`If-Match`).",
      422: "The text has faults, each with its line and column: nothing was changed.",
    },
  },
  "GET /admin/state": { id: "dumpState", answer: "DumpedState", refuses: { 409: "There is too much for one document." } },
  "PUT /admin/state": {
    id: "applyState",
    body: "StateToApply",
    answer: "AppliedState",
    example: { state: { tiers: { gold: { limits: [{ algorithm: "sliding-window", limit: 1000, window: "1m" }] } } }, note: "from git" },
    refuses: {
      409: "It deletes more than ten records, and `yes` does not say that this is meant.",
      422: "It has faults, or names a secret that is not there: nothing was changed.",
    },
  },
  "GET /admin/versions": { id: "listVersions", answer: "VersionPage" },
  "GET /admin/versions/{id}": { id: "getVersion", answer: "VersionWithState" },
  "GET /admin/versions/{id}/diff": { id: "compareVersions", answer: "VersionDifference" },
  "POST /admin/versions/{id}/restore": {
    id: "restoreVersion",
    body: "Restoration",
    answer: "RestoredVersion",
    example: { note: "back to before black friday", file: false },
    refuses: {
      403: "The token's role is not admin, or it takes `admin.editFile`.",
      409: "The configuration file was another: `difference` says how. Say what is to be done by `file`.",
      422: "It does not hold any more: `errors` names every fault, and nothing was changed.",
    },
  },
  "GET /admin/prices": { id: "listPrices", answer: "PriceList" },
  "GET /admin/stats": { id: "getStats", answer: "Stats" },
  "GET /admin/events": {
    id: "readEvents",
    refuses: { 429: "As many read events as may (code tooManyReaders), or your address is blocked." },
  },
  "POST /admin/mcp": {
    id: "callMcp",
    isTool: false,
    body: "RpcMessage",
    answer: "RpcAnswer",
    example: { jsonrpc: "2.0", id: 1, method: "tools/list" },
  },
  "POST /admin/mcp/secrets/{id}": { id: "seeSecret", isTool: false, answer: "SeenSecret" },
  "POST /admin/backup": { id: "createBackup" },
  "GET /health": { id: "isAlive", answer: "Liveness" },
  "GET /ready": { id: "isReady", answer: "Readiness" },
  "GET /metrics": { id: "getMetrics" },
  "GET /_metrics": { id: "getMetricsSummary", answer: "MetricsSummary" },
};

/** Values for path parameters: those of the records that the examples make. */
export const PARAMETER_EXAMPLES: Readonly<Record<string, string | number>> = {
  consumers: "acme",
  tiers: "gold",
  routes: "users",
  upstreams: "users",
  pools: "models",
  issuers: "main",
  webhooks: "alerts",
  keys: "key_0199f3a81c3b7c3e9d5e1f2a3b4c5d6e",
  limits: "acme",
  breakers: "http://127.0.0.1:8001",
  blocks: "203.0.113.9",
  activities: "0199f3a8-1c3b-7c3e-9d5e-1f2a3b4c5d6e:0",
  tokens: "tok_0199f3a81c3b7c3e9d5e1f2a3b4c5d6e",
  versions: 1,
  mcp: "hT4fV0tUOZlD4NcX8aRkMwBh",
};

/** The meaning of each tag, in the order in which people need them. */
export const TAGS: readonly (readonly [name: string, description: string])[] = [
  ["consumers", "Who calls: a person or program with a tier and keys"],
  ["keys", "API keys: create, import, rotate, revoke"],
  ["tiers", "Named sets of rate limits and quotas"],
  ["routes", "Path prefixes joined to upstreams, with their rules"],
  ["upstreams", "Backends: one or more targets, load balancing, health checks, circuit breaker"],
  ["pools", "Upstream credentials that are handed out or injected within their budgets"],
  ["models", "Virtual models: who answers to their names, and what became of that"],
  ["issuers", "Those whose signed tokens tell who calls"],
  ["webhooks", "Who is told what happens, by Standard Webhooks: receivers and deliveries"],
  ["limits", "Rate limits: what a consumer has used, and why a request was refused"],
  ["shadow", "Limits in shadow: what they would have refused, and how to put them in force"],
  ["health", "Liveness, readiness, and the system's status (NORMAL or DEGRADED)"],
  ["certificates", "Certificates that https is served with: until when each is valid, and what is wrong"],
  ["breakers", "Circuit breakers: see, open and close them"],
  ["cache", "Response cache: statistics and purge"],
  ["blocks", "Blocked addresses"],
  ["activities", "Validated ingestion: batches of changes to tables"],
  ["usage", "What consumers have used, by the hour or day"],
  ["history", "Rates, latencies and refusals over time, by the minute and the hour"],
  ["audit", "Audit log: what was done, by whom; hash-chained"],
  ["events", "Live events: requests, limits, breakers, changes"],
  ["metrics", "Prometheus metrics"],
  ["prices", "What models cost"],
  ["stats", "Numbers of this instance, as `sluice top` shows them"],
  ["logging", "The log's level, while the gateway runs"],
  ["tokens", "Admin tokens and their roles"],
  ["mcp", "The admin API as tools for assistants, by the Model Context Protocol"],
  ["session", "Signing in to the console, and out"],
  ["config", "The configuration in force: show, reload, JSON Schema, the file"],
  ["versions", "What changed, by whom and why: compare, restore"],
  ["backup", "Copies of the database"],
];
