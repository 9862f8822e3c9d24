import { WantedKey } from "../selfservice/own-keys.ts";

const json = (schema: object, description = "OK") => ({ description, content: { "application/json": { schema } } });

const SUMS = [
  ["requests_total", "Requests that have ended since the start."],
  ["requests_success", "Answered with less than 400."],
  ["requests_failed", "Answered with 5xx, or left by the caller before there was an answer."],
  ["requests_rate_limited", "Answered with 429."],
  ["cache_hits", "Requests answered from the cache."],
  ["cache_misses", "Requests that the cache had nothing for."],
  ["cache_size", "Responses in the cache."],
] as const;

const list = (description: string) => ({ type: "array", items: { type: "string" }, description });

const timeOrNull = (description: string) => ({ type: ["string", "null"], format: "date-time", description });

/** What is told of a limit or quota. */
const LEFT = {
  name: { type: "string", description: "Its name, as in the headers of limited answers.", examples: ["per-minute"] },
  unit: {
    type: "string",
    enum: ["requests", "units", "usd"],
    description: "The unit of both numbers: requests by their cost, units that responses report, or dollars.",
  },
  limit: { type: "number", description: "The number in force." },
  remaining: { type: "number", description: "What is left." },
  reset: timeOrNull("When more is left; of a limit that denies: when it lets the request through. null when nothing is used."),
};

const EXPIRES = timeOrNull("From when on it is refused; null: never.");
const PREVIOUS_EXPIRES = timeOrNull("Until when the secret before the last rotation is good; null: there is none.");
const OWN_LEFT = { ...LEFT, scope: { type: "string", description: "Whose limit it is.", examples: ["tier free"] } };

const text = (description: string) => ({ type: "string", description });

/** What is told of a key that its holder has rotated. */
const ROTATED = {
  type: "object",
  required: ["id", "key", "start", "end", "expiresAt", "previousExpiresAt"],
  properties: {
    id: text("The key's id, which stays."),
    key: text("The new secret: here and nowhere else."),
    start: text("Its first 8 characters."),
    end: text("Its last 4 characters."),
    expiresAt: EXPIRES,
    previousExpiresAt: PREVIOUS_EXPIRES,
  },
};

/** What is told of a key to its holder. */
const OWN_KEY = {
  id: text("The key's id."),
  name: { type: ["string", "null"], description: "A name for people." },
  start: text("Its first 8 characters; empty for one imported by hash."),
  end: text("Its last 4 characters."),
  status: {
    type: "string",
    enum: ["active", "disabled"],
    description: "Whether it is good. disabled: whoever runs the API turned it off.",
  },
  scopes: list("Its scopes."),
  routes: list("Names of the routes it may use; none means all."),
  ips: list("Addresses it may be used from; none means all."),
  expiresAt: EXPIRES,
  createdAt: timeOrNull("When it was created; null for what the gateway's configuration declares."),
  lastUsedAt: timeOrNull("When it was used last, within a minute; null: never."),
  previousExpiresAt: PREVIOUS_EXPIRES,
  madeFrom: { type: ["string", "null"], description: "The id of the key from which its holder made it; null: an operator made it." },
  may: {
    type: "object",
    description: "What you may do with it now.",
    required: ["rotate", "revoke", "makeFrom"],
    properties: {
      rotate: { type: "boolean", description: "Give it a new secret." },
      revoke: { type: "boolean", description: "Revoke it." },
      makeFrom: { type: "boolean", description: "Make another one from it, unless you have as many as your tier allows." },
    },
  },
};

const OWN_KEYS = {
  type: "object",
  required: ["items", "allowed"],
  properties: {
    items: {
      type: "array",
      description: "The keys, each before those made from it; 500 at most.",
      items: { type: "object", required: Object.keys(OWN_KEY), properties: OWN_KEY },
    },
    allowed: {
      type: "object",
      description: "What your tier allows.",
      required: ["rotate", "keys", "scopes", "routes"],
      properties: {
        rotate: { type: "boolean", description: "Whether you may rotate keys." },
        keys: { type: "integer", description: "While you have fewer good keys than this, you may make another." },
        scopes: list("The scopes that keys you make may have."),
        routes: list("Names of the routes that keys you make may use; none means all."),
      },
    },
  },
};

const OWN_KEY_ID = {
  ...{ name: "id", in: "path", required: true, description: "The key's id." },
  ...{ schema: { type: "string" }, example: "key_0199f3a81c3b7c3e9d5e1f2a3b4c5d6e" },
};
const IDEMPOTENCY = {
  description: "Repeats the same answer for 24 hours, where the answer to the first request was lost.",
  schema: { type: "string", minLength: 1, maxLength: 255 },
};

/** Gives the schema of what `/ready` says. */
const readiness = (status: string) => ({
  type: "object",
  required: ["status", "failing", "components", "configuration", "warnings"],
  properties: {
    status: { type: "string", enum: [status], description: "ready or unavailable." },
    failing: { type: "array", items: { type: "string" }, description: "Why it is not ready: components by name, or draining." },
    components: {
      type: "object",
      additionalProperties: { type: "string" },
      description: "ok, degraded, away or failing, for each part of the gateway.",
    },
    configuration: {
      type: "object",
      description: "The configuration's file.",
      required: ["status", "loadedAt"],
      properties: {
        status: { type: "string", enum: ["ok", "faulty"], description: "faulty: the one before the file's last change is in force." },
        loadedAt: { type: "string", format: "date-time", description: "When the configuration in force was read." },
        faults: {
          type: "array",
          items: { type: "object" },
          description: "What is wrong with the file: for loopback peers and holders of the admin token only.",
        },
      },
    },
    warnings: {
      type: "array",
      description: "What an operator must know though requests are served, oldest first.",
      items: {
        type: "object",
        required: ["code", "message", "since"],
        properties: {
          code: text("What kind of warning it is."),
          message: text("One sentence without names."),
          since: { type: "string", format: "date-time", description: "Since when." },
          detail: { type: ["string", "null"], description: "Names and files: for loopback peers and holders of the admin token only." },
        },
      },
    },
  },
});

/** Says of an endpoint when it is not there. */
const OFF = "The configuration does not turn it on.";

/**
 * The paths that Sluice serves itself beside its admin API: described here, since they do not go through the framework that describes that.
 * `x-refuses` becomes the refusals of an operation.
 */
export const OPEN_PATHS: Record<string, Record<string, object>> = {
  "/api/v1/api-key": {
    post: {
      tags: ["pools"],
      summary: "A key of a pool",
      description:
        "Hands out the first key whose budget holds what the service costs. Who may ask is the pool's `auth`: an API key, or nobody in particular.",
      security: [{ consumerKey: [] }, {}],
      requestBody: {
        required: true,
        content: {
          "application/json": {
            schema: {
              type: "object",
              required: ["type"],
              additionalProperties: false,
              properties: {
                type: {
                  type: "string",
                  description: "The service: what it costs is the pool's to say.",
                  examples: ["service_1"],
                },
                pool: { type: "string", description: "The pool; default when it is left out, or the only one.", examples: ["default"] },
              },
            },
          },
        },
      },
      responses: {
        200: {
          description: "OK",
          content: {
            "application/json": {
              schema: {
                type: "object",
                required: ["api_key"],
                properties: {
                  api_key: { type: "string", description: "The key; its id where it has no secret.", examples: ["api_key_1"] },
                },
              },
            },
          },
        },
      },
      "x-refuses": {
        400: null,
        401: "The pool's `auth` asks for an API key, and there is none, or not a good one.",
        403: "The API key is not for this.",
        413: "No key of the pool could ever hold the cost (code costTooHigh), or the body is too large.",
        422: "There is no such service or pool.",
        429: "No key holds the cost now (code poolExhausted): `Retry-After` says when the first window reopens. Or your address is blocked.",
      },
    },
  },

  "/v1/keys/verify": {
    post: {
      tags: ["keys"],
      summary: "Verify a key",
      description:
        "For services of your own that do not stand behind Sluice: tells whether the key that a caller has shown them is good, and charges its limits as if the request had been forwarded. A key that is no good is a 200 as well, with `valid: false` and a `code`. Only where `keyVerification` is turned on; for admin tokens (operator and admin) and for keys with the scope keys:verify. Keys of Sluice alone are verified, not tokens of issuers.",
      security: [{ adminToken: [] }, { consumerKey: [] }],
      requestBody: {
        required: true,
        content: {
          "application/json": {
            schema: {
              type: "object",
              required: ["key"],
              additionalProperties: false,
              properties: {
                key: { type: "string", description: "What the caller has shown." },
                cost: {
                  type: "integer",
                  minimum: 0,
                  maximum: 1e9,
                  description:
                    "What is taken from each limit; the route's cost where one is named, otherwise 1. With 0 nothing is charged or counted, and the key is good also when nothing is left.",
                },
                scopes: { ...list("Scopes that the key must carry, all of them."), maxItems: 64 },
                route: {
                  type: "string",
                  minLength: 1,
                  maxLength: 1024,
                  description: "A route's name: its tiers, scopes and limits hold as well, and the key must be allowed to use it.",
                },
                ip: {
                  anyOf: [
                    { type: "string", format: "ipv4" },
                    { type: "string", format: "ipv6" },
                  ],
                  description:
                    "The caller's address, for keys that are bound to addresses, which are forbidden without it, and for limits by ip, which are left out without it.",
                },
              },
            },
          },
        },
      },
      responses: {
        200: json({
          type: "object",
          required: ["valid", "code", "keyId", "consumer", "tier", "scopes", "metadata", "limits"],
          properties: {
            valid: { type: "boolean", description: "Whether the caller may be served." },
            code: {
              type: ["string", "null"],
              enum: ["notFound", "disabled", "expired", "revoked", "forbidden", "rateLimited", "quotaExceeded", null],
              description: "Why not; null for a key that is good.",
            },
            keyId: { type: ["string", "null"], description: "The key's id; null for a key that nobody has." },
            consumer: { type: ["string", "null"], description: "Whose it is." },
            tier: { type: ["string", "null"], description: "The consumer's tier." },
            scopes: list("The key's scopes."),
            metadata: {
              type: ["object", "null"],
              additionalProperties: true,
              description: "What you keep with the key; where that is nothing, with its consumer.",
            },
            limits: {
              type: "array",
              description: "The limits and quotas that were counted; empty where none was.",
              items: { type: "object", required: Object.keys(LEFT), properties: LEFT },
            },
          },
        }),
      },
      "x-refuses": {
        400: null,
        401: "There is neither a good admin token nor a good key.",
        403: "The admin token is a viewer's, or the key lacks the scope keys:verify.",
        404: OFF,
        413: null,
        422: "The body has faults, or there is no such route.",
        429: "Your address is blocked.",
        503: "Limits can't be checked (code limiterUnavailable).",
      },
    },
  },

  "/api/v1/me": {
    get: {
      tags: ["consumers"],
      summary: "What a caller has left and has used",
      description:
        "With a consumer's key: whose it is, what is left of each limit and quota, and what was used this month. Takes nothing from any limit. Only where `selfService` is turned on.",
      security: [{ consumerKey: [] }],
      responses: {
        200: json({
          type: "object",
          required: ["consumer", "tier", "key", "limits", "quotas", "usage"],
          properties: {
            consumer: { type: "string", description: "Who calls." },
            tier: { type: "string", description: "The consumer's tier." },
            key: {
              type: ["object", "null"],
              description: "The key that is shown; null with another kind of credential.",
              required: ["id", "name", "start", "end", "scopes", "routes", "expiresAt", "previousExpiresAt"],
              properties: {
                id: { type: "string", description: "The key's id." },
                name: { type: ["string", "null"], description: "A name for people." },
                start: { type: "string", description: "Its first 8 characters; empty for one imported by hash." },
                end: { type: "string", description: "Its last 4 characters." },
                scopes: list("Its scopes."),
                routes: list("Names of the routes it may use; none means all."),
                expiresAt: EXPIRES,
                previousExpiresAt: PREVIOUS_EXPIRES,
              },
            },
            limits: {
              type: "array",
              description:
                "The caller's limits, and those of the routes that it may use. Those that count each model or each tool by itself are not among them: what is left of them depends on the request, whose answer tells it.",
              items: { type: "object", required: Object.keys(OWN_LEFT), properties: OWN_LEFT },
            },
            quotas: {
              type: "array",
              description: "The caller's quotas.",
              items: { type: "object", required: Object.keys(OWN_LEFT), properties: OWN_LEFT },
            },
            usage: {
              type: "array",
              description: "This month's days (UTC) with requests, as this instance has counted them, some ten seconds ago.",
              items: {
                type: "object",
                required: ["time", "requests", "errors", "limited", "tokens"],
                properties: {
                  time: { type: "string", format: "date-time", description: "When the day begins." },
                  requests: { type: "integer", description: "Requests that have ended." },
                  errors: { type: "integer", description: "Answered with 5xx." },
                  limited: { type: "integer", description: "Refused with 429 by a limit or quota." },
                  tokens: { type: "integer", description: "Units that responses reported." },
                },
              },
            },
          },
        }),
      },
      "x-refuses": {
        400: null,
        401: "There is no key, or not a good one.",
        403: "The key may not be used from your address.",
        404: OFF,
        429: null,
      },
    },
  },

  "/api/v1/me/rotate": {
    post: {
      tags: ["keys"],
      summary: "Rotate one's own key",
      description:
        "Gives the key that is shown a new secret, which is in this answer and nowhere else. The old one stays good for an hour, but never past the key's expiry; meanwhile there is no other rotation. Nothing else of the key changes. Only where `selfService` is turned on.",
      security: [{ consumerKey: [] }],
      requestBody: { required: false, content: { "application/json": { schema: { type: "object", additionalProperties: false } } } },
      responses: {
        200: json(ROTATED),
      },
      "x-refuses": {
        400: null,
        401: "There is no key, or not a good one.",
        403: "The tier does not allow it, the key may not be used from your address, or you call without a key.",
        404: OFF,
        409: "The key stands in config.json, or an old secret of it is still good.",
        413: null,
        422: "The body is not empty.",
        429: "Your address is blocked.",
        503: "Nothing can be changed at the moment.",
      },
    },
  },

  "/api/v1/me/keys": {
    get: {
      tags: ["keys"],
      summary: "List one's own keys",
      description: "The consumer's keys that are neither revoked nor over, without secrets. Only where `selfService` is turned on.",
      security: [{ consumerKey: [] }],
      responses: { 200: json(OWN_KEYS) },
      "x-refuses": {
        400: null,
        401: "There is no key, or not a good one.",
        403: "The key may not be used from your address, or you call without a key.",
        404: OFF,
        429: "Your address is blocked.",
      },
    },
    post: {
      tags: ["keys"],
      summary: "Create a key from one's own",
      description:
        "Makes a key from the one that is shown, which an operator must have made. It can never do more than that one, is good no longer, and limits count both as one key. The secret is in this answer and nowhere else. Takes an `Idempotency-Key`. Only where `selfService` is turned on and the tier allows keys.",
      security: [{ consumerKey: [] }],
      parameters: [{ name: "Idempotency-Key", in: "header", required: false, ...IDEMPOTENCY }],
      requestBody: { required: false, content: { "application/json": { schema: WantedKey } } },
      responses: {
        201: json(
          {
            type: "object",
            required: ["id", "key", "start", "end", "name", "scopes", "routes", "ips", "expiresAt", "createdAt", "madeFrom"],
            properties: {
              id: OWN_KEY.id,
              key: text("The secret: here and nowhere else."),
              ...{ start: OWN_KEY.start, end: OWN_KEY.end, name: OWN_KEY.name, scopes: OWN_KEY.scopes, routes: OWN_KEY.routes },
              ...{ ips: OWN_KEY.ips, expiresAt: OWN_KEY.expiresAt, createdAt: OWN_KEY.createdAt, madeFrom: OWN_KEY.madeFrom },
            },
          },
          "Created",
        ),
      },
      "x-refuses": {
        400: null,
        401: "There is no key, or not a good one.",
        403: "The tier allows no keys, the key that is shown was made by its holder, or the secret that is shown is the one before a rotation.",
        404: OFF,
        409: "There are as many keys as the tier allows.",
        413: null,
        422: "The key would do more than the one from which it is made, or the body has other faults.",
        429: "Twenty keys were made within a day, or your address is blocked.",
        503: "Nothing can be changed at the moment.",
      },
    },
  },

  "/api/v1/me/keys/{id}": {
    delete: {
      tags: ["keys"],
      summary: "Revoke a key of one's own",
      description: "Revokes a key that was made from the one that is shown. Only where `selfService` is turned on.",
      security: [{ consumerKey: [] }],
      parameters: [OWN_KEY_ID],
      responses: { 204: { description: "It is refused from the next request on." } },
      "x-refuses": {
        400: null,
        401: "There is no key, or not a good one.",
        403: "An operator made the key, it was not made from the one that is shown, or the secret that is shown is the one before a rotation.",
        404: "The consumer has no such key, or the configuration does not turn it on.",
        409: "It is the key that is shown.",
        429: "Your address is blocked.",
        503: "Nothing can be changed at the moment.",
      },
    },
  },

  "/api/v1/me/keys/{id}/rotate": {
    post: {
      tags: ["keys"],
      summary: "Rotate a key of one's own",
      description:
        "As `POST /api/v1/me/rotate`, for the key that is shown or one that was made from it. Only where `selfService` is turned on.",
      security: [{ consumerKey: [] }],
      parameters: [OWN_KEY_ID],
      requestBody: { required: false, content: { "application/json": { schema: { type: "object", additionalProperties: false } } } },
      responses: { 200: json(ROTATED) },
      "x-refuses": {
        400: null,
        401: "There is no key, or not a good one.",
        403: "The tier does not allow it, the key was not made from the one that is shown, or the secret that is shown is the one before a rotation.",
        404: "The consumer has no such key, or the configuration does not turn it on.",
        409: "The key stands in config.json, is revoked, or an old secret of it is still good.",
        413: null,
        422: "The body is not empty.",
        429: "Your address is blocked.",
        503: "Nothing can be changed at the moment.",
      },
    },
  },

  "/api/activities": {
    post: {
      tags: ["activities"],
      summary: "Post a batch of changes",
      description:
        "202 when the whole batch is durable in the queue; it is then applied to tables, each change once. Both spellings of the lists are taken, `colNames` and `col_names`. After a lost answer or a 503 send the batch again under the same `Idempotency-Key`: it takes effect once. Where it is posted and who may is the configuration's (`activities`).",
      security: [{ consumerKey: [] }, {}],
      parameters: [
        {
          name: "Idempotency-Key",
          in: "header",
          required: false,
          description:
            "1 to 255 characters. The same key and body of the same caller take effect once within 24 hours; another body is 422.",
          schema: { type: "string", minLength: 1, maxLength: 255 },
        },
      ],
      requestBody: {
        required: true,
        content: {
          "application/json": {
            schema: {
              type: "object",
              required: ["activities"],
              additionalProperties: false,
              properties: {
                activities: {
                  type: "array",
                  minItems: 1,
                  maxItems: 10_000,
                  description: "Done in this order.",
                  items: {
                    type: "object",
                    required: ["operation", "table"],
                    properties: {
                      operation: { type: "string", enum: ["insert", "delete"], description: "What is done with the row." },
                      table: { type: "string", description: "Made when it is missing.", examples: ["orders"] },
                      colNames: {
                        type: "array",
                        items: { type: "string" },
                        description: "Columns; made when they are missing.",
                        examples: [["id", "price"]],
                      },
                      colTypes: {
                        type: "array",
                        items: { type: "string" },
                        description: "INTEGER, TEXT, VARCHAR(n), FLOAT, DOUBLE, BOOLEAN or DECIMAL(p,s).",
                        examples: [["INTEGER", "DECIMAL(10,2)"]],
                      },
                      colValues: { type: "array", items: {}, description: "Values beside the names.", examples: [[1, "12.30"]] },
                      oldValue: { type: "object", description: "Of a delete: the three lists. Rows that have all these values go." },
                    },
                  },
                },
              },
            },
          },
        },
      },
      responses: {
        202: {
          description: "Accepted",
          content: {
            "application/json": {
              schema: {
                type: "object",
                required: ["message", "id", "accepted"],
                properties: {
                  message: { type: "string", description: "Always this.", examples: ["ok"] },
                  id: { type: "string", description: "The batch; its activities are ID:0, ID:1 and so on." },
                  accepted: { type: "integer", description: "How many activities it holds." },
                },
              },
            },
          },
        },
      },
      "x-refuses": {
        400: null,
        401: "`activities.auth` asks for an API key, and there is none, or not a good one.",
        403: "The API key is not for this.",
        413: null,
        422: "Nothing was accepted: `errors` names every mistake, or the Idempotency-Key was used for another batch.",
        429: "A limit refuses it (codes rateLimited, quotaExceeded), or your address is blocked.",
        503: "Too much waits to be applied (code backlogFull), or nothing can be written at the moment (queueUnavailable).",
      },
    },
  },

  "/health": {
    get: {
      tags: ["health"],
      summary: "Liveness",
      description: "200 as long as the process answers. `/_health` is the same.",
      security: [],
      responses: {
        200: json({
          type: "object",
          required: ["status", "version", "uptime"],
          properties: {
            status: { type: "string", enum: ["healthy"], description: "Always this." },
            version: { type: "string", description: "Of Sluice.", examples: ["0.1.0"] },
            uptime: { type: "number", description: "Seconds since the start." },
          },
        }),
      },
      "x-refuses": { 400: null },
    },
  },

  "/ready": {
    get: {
      tags: ["health"],
      summary: "Readiness",
      description:
        "200 while requests are to be sent here, 503 while they are not: the gateway drains or a component that it can't do without fails. Everything else that an operator must know is in `warnings`.",
      security: [],
      responses: {
        200: json(readiness("ready")),
        503: json(readiness("unavailable"), "Not ready: `failing` says why."),
      },
      "x-refuses": { 400: null },
    },
  },

  "/metrics": {
    get: {
      tags: ["metrics"],
      summary: "Metrics for Prometheus",
      description:
        "For loopback peers and for holders of the admin token. OpenMetrics with exemplars for those who ask for it by `Accept`.",
      responses: {
        200: {
          description: "OK",
          content: {
            "text/plain": { schema: { type: "string" }, example: "# HELP http_requests_total Requests by route, method and status.\n" },
          },
        },
      },
      "x-refuses": { 401: null, 403: "`admin.allowFrom` does not name the address.", 429: null },
    },
  },

  "/_metrics": {
    get: {
      tags: ["metrics"],
      summary: "A few numbers as JSON",
      description: "For loopback peers and for holders of the admin token.",
      responses: {
        200: json({
          type: "object",
          required: [...SUMS.map(([name]) => name), "circuit_breakers"],
          properties: {
            ...Object.fromEntries(SUMS.map(([name, description]) => [name, { type: "integer", description }])),
            circuit_breakers: {
              type: "object",
              description: "By the target's URL.",
              additionalProperties: {
                type: "object",
                required: ["state", "failures"],
                properties: {
                  state: { type: "string", enum: ["closed", "open", "half-open"], description: "The breaker's state." },
                  failures: { type: "integer", description: "Failures in a row." },
                },
              },
            },
          },
        }),
      },
      "x-refuses": { 401: null, 403: "`admin.allowFrom` does not name the address.", 429: null },
    },
  },
};
