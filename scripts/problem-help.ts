import type { ProblemCode } from "../src/http/problem.ts";

/** What a code means, who can do something about it, and what: for the reference of error codes. */
export const PROBLEM_HELP: Readonly<Record<ProblemCode, { readonly meaning: string; readonly who: string; readonly fix: string }>> = {
  badRequest: { meaning: "The path, a header or the JSON is malformed.", who: "caller", fix: "Read `detail`, correct the request." },
  keyMissing: {
    meaning: "The route needs a key and the request has none.",
    who: "caller",
    fix: "Send the key in `X-API-Key`, or as a bearer token.",
  },
  keyMalformed: {
    meaning: "This can't be a key: its form or its checksum is wrong.",
    who: "caller",
    fix: "Check for typing errors and missing characters. It counts towards no block.",
  },
  keyInvalid: {
    meaning: "Nobody has this key.",
    who: "caller",
    fix: "Check which key you send. Ten of these within five minutes block your address for a while.",
  },
  keyExpired: { meaning: "The key was good until its date.", who: "caller", fix: "Ask for a new key." },
  keyRevoked: { meaning: "The key, or its consumer, was revoked or disabled.", who: "caller", fix: "Ask for a new key." },
  tokenInvalid: {
    meaning: "The token is malformed, wrongly signed, not for this API, or its caller is disabled.",
    who: "caller",
    fix: "Get another token. Operators: `GET /admin/explain?token=` says which check failed. Malformed and wrongly signed ones count towards a block.",
  },
  tokenExpired: { meaning: "The token was good until its `exp`, or is older than `maxAge`.", who: "caller", fix: "Get another token." },
  issuerUnknown: {
    meaning: "No issuer of this gateway has the token's `iss`.",
    who: "caller",
    fix: "Send a token of the right issuer. Operators: `iss` is compared with `issuer` exactly, a slash at the end included.",
  },
  certificateInvalid: {
    meaning:
      "The connection shows a client certificate that does not hold: no known authority has signed it, it is over, revoked, not for clients, or names nobody. Or its caller is disabled.",
    who: "caller",
    fix: "Use another certificate, with the ones between it and the authority, or send a key. Operators: the log's line says whose certificate it is and what was found.",
  },
  forbidden: {
    meaning:
      "The key is good, but not for this: tier, scope, route or address. Or the route, or the admin API, takes no requests from your address.",
    who: "operator",
    fix: "Give the key what `detail` says it lacks, or use another key. Operators: the route's `ips`, `admin.allowFrom`.",
  },
  modelUnknown: {
    meaning: "The route has no model of this name, or your key may not use it.",
    who: "caller",
    fix: "Ask `GET` the route's path and `/models` for the names that you may use, and put one into the body's `model`.",
  },
  modelUnpriced: {
    meaning: "A budget in dollars applies, and nothing says what this model costs.",
    who: "operator",
    fix: "Add the model to `prices`, or set `unpriced` to `zero`.",
  },
  toolUnknown: {
    meaning:
      "The route has no tool of this name, or lets nobody call it. Clients of the Model Context Protocol get it as an error of JSON-RPC, with status 200.",
    who: "caller",
    fix: "Ask `tools/list` for the tools that you may call. Operators: the route's `mcp.tools`.",
  },
  routeNotFound: {
    meaning: "No route takes this path (and host).",
    who: "caller",
    fix: "Check the path. Operators: `GET /admin/routes` lists what there is.",
  },
  notFound: { meaning: "The admin API has no such record.", who: "operator", fix: "Check the id." },
  methodNotAllowed: { meaning: "The route does not take this method.", who: "caller", fix: "Use one of those in `Allow`." },
  requestTimeout: {
    meaning: "The request's head or body came too slowly.",
    who: "caller",
    fix: "Send again over a better connection. Operators: `server.bodyRate`.",
  },
  conflict: {
    meaning: "The change does not fit what is there.",
    who: "operator",
    fix: "Read `detail`: a name that is taken, a record that others use, or that the configuration file owns.",
  },
  preconditionFailed: {
    meaning: "Somebody changed the record since you read it.",
    who: "operator",
    fix: "Read it again, and send your change with the new `ETag`.",
  },
  bodyTooLarge: {
    meaning: "The body is larger than the server or the route takes.",
    who: "caller",
    fix: "Send less. Operators: `maxBodySize`.",
  },
  costTooHigh: {
    meaning: "This request may cost more than any key of the pool, or than a limit in dollars, ever holds.",
    who: "caller",
    fix: "Make the request smaller. Trying again does not help.",
  },
  unsupportedMediaType: {
    meaning: "A tool server takes JSON that is not compressed.",
    who: "caller",
    fix: "Send `Content-Type: application/json`, without `Content-Encoding`.",
  },
  expectationFailed: { meaning: "`Expect` asks for something other than `100-continue`.", who: "caller", fix: "Leave the header out." },
  validationFailed: { meaning: "Fields are wrong; `errors` names each.", who: "caller", fix: "Correct what `errors` names." },
  rateLimited: { meaning: "A limit is used up.", who: "caller", fix: "Wait for `Retry-After`. `violatedPolicies` names the limits." },
  quotaExceeded: {
    meaning: "A quota of a day, week or month is used up, or a limit in dollars is spent.",
    who: "caller",
    fix: "Wait for the next period, or ask for a larger quota.",
  },
  poolExhausted: {
    meaning: "All keys of the pool are used up or resting.",
    who: "caller",
    fix: "Wait for `Retry-After`. Operators: `GET /admin/pools/NAME`.",
  },
  ipBlocked: {
    meaning: "Your address is blocked: too many unknown keys came from it, or an operator blocked it.",
    who: "operator",
    fix: "Wait, use a good key, or ask the operator to lift it: `DELETE /admin/blocks/ADDRESS`.",
  },
  tooManyReaders: { meaning: "As many readers follow the events as there may be.", who: "operator", fix: "End one of them." },
  headersTooLarge: {
    meaning: "The request line and headers are larger than the server takes.",
    who: "caller",
    fix: "Send less. Operators: `server.maxHeaderSize`.",
  },
  pluginFailed: {
    meaning: "A plug-in of the operator's threw, took too long, or gave what means nothing.",
    who: "operator",
    fix: "Look in the log for the request id: the line names the plug-in, its hook and the error.",
  },
  internal: { meaning: "A fault of Sluice's own.", who: "operator", fix: "Look in the log for the request id, and report it." },
  notImplemented: { meaning: "A transfer coding that is not spoken here.", who: "caller", fix: "Send the body as it is, or chunked." },
  upstreamFailed: {
    meaning: "The backend could not be reached, broke off, or did not speak HTTP.",
    who: "operator",
    fix: "The log line of the request has `error`; check the backend.",
  },
  noModelAnswered: {
    meaning: "None of the upstreams behind this model gave an answer in time.",
    who: "operator",
    fix: "Try again later, after `Retry-After` where it is there. Operators: the log says why each attempt failed.",
  },
  circuitOpen: {
    meaning: "The backend failed too often and is not asked for now.",
    who: "operator",
    fix: "Check the backend: `GET /admin/breakers`. It is tried again by itself.",
  },
  noHealthyTarget: {
    meaning: "The route has no backend that can be asked.",
    who: "operator",
    fix: "Check health checks and targets: `GET /admin/upstreams`.",
  },
  authorizeFailed: {
    meaning: "The service that decides whether requests on this route may pass gave no answer.",
    who: "operator",
    fix: "Callers: wait for `Retry-After`. Operators: the log says why it does not answer; `authorize` of the route says whom Sluice asks.",
  },
  backlogFull: {
    meaning: "Too many activities wait to be applied.",
    who: "operator",
    fix: "Send later. Operators: `GET /admin/activities`.",
  },
  queueUnavailable: {
    meaning: "Activities can't be stored at the moment.",
    who: "operator",
    fix: "Send again. Operators: look at the disk, or at Redis.",
  },
  storageReadOnly: {
    meaning: "The database can't be written at the moment; requests go on.",
    who: "operator",
    fix: "Make room on the disk, check its permissions; it is tried again by itself.",
  },
  outOfDescriptors: {
    meaning: "The gateway has no file descriptor left for a connection to the backend.",
    who: "operator",
    fix: "Raise the limit of open files (`LimitNOFILE`), or lower `server.maxConnections`.",
  },
  draining: { meaning: "This instance is shutting down.", who: "caller", fix: "Send again: another instance answers." },
  keeperUnavailable: {
    meaning:
      "With several workers: the process that does what is done once for all of them is starting again. Proxied requests go on meanwhile.",
    who: "caller",
    fix: "Send again after `Retry-After`.",
  },
  keysUnavailable: {
    meaning:
      "The key, or its consumer, was not used lately, and the database can't be read. Keys in use go on. It counts towards no block.",
    who: "operator",
    fix: "Try again after `Retry-After`. Operators: the log says why the database can't be read.",
  },
  issuerUnavailable: {
    meaning:
      "The token can't be checked: its issuer's keys were never there, or it is away and has to be asked. It counts towards no block.",
    who: "operator",
    fix: "Try again after `Retry-After`. Operators: the log and `/ready` say why the issuer can't be asked.",
  },
  limiterUnavailable: {
    meaning:
      "Redis is away, and `redis.onFailure` is `deny`; or, without Redis, a process that was counting has been stopped for a quarter of a second. On routes of models also: more than 128 MB of large requests are being read at once.",
    who: "operator",
    fix: "Large requests: send it again after `Retry-After`. Otherwise: bring Redis back. Without Redis: see which of the gateway's processes does not go on (SIGSTOP, a debugger, want of memory).",
  },
  notCached: {
    meaning: "The request takes only what is cached, and nothing is.",
    who: "caller",
    fix: "Leave `Cache-Control: only-if-cached` out.",
  },
  upstreamTimeout: {
    meaning: "The backend did not answer within the route's `timeout`.",
    who: "operator",
    fix: "Check the backend, or give the route more time.",
  },
  versionNotSupported: { meaning: "Another version of HTTP.", who: "caller", fix: "Speak HTTP/1.1." },
};
