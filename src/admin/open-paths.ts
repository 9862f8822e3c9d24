import type openapi from "@elysiajs/openapi";

type Paths = NonNullable<NonNullable<NonNullable<Parameters<typeof openapi>[0]>["documentation"]>["paths"]>;

/** What Sluice serves to callers itself, beside its admin API: described here, since it does not go through the framework that describes that. */
export const OPEN_PATHS: Paths = {
  "/api/v1/api-key": {
    post: {
      tags: ["pools"],
      summary: "A key of a pool",
      description:
        "Hands out the first key whose budget holds what the service costs. Who may ask is the pool's `auth`: an API key, or nobody in particular.",
      security: [{ apiKey: [] }, {}],
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
                properties: { api_key: { type: "string", examples: ["api_key_1"] } },
              },
            },
          },
        },
        413: { description: "No key of the pool could ever hold the cost (code costTooHigh)." },
        422: { description: "There is no such service or pool." },
        429: { description: "No key holds the cost now (code poolExhausted): Retry-After says when the first window reopens." },
      },
    },
  },

  "/api/activities": {
    post: {
      tags: ["activities"],
      summary: "Post a batch of changes",
      description:
        "202 when the whole batch is durable in the queue; it is then applied to tables, each change once. Both spellings of the lists are taken, `colNames` and `col_names`. Where it is posted and who may is the configuration's (`activities`).",
      security: [{ apiKey: [] }, {}],
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
                      operation: { type: "string", enum: ["insert", "delete"] },
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
                  message: { type: "string", examples: ["ok"] },
                  id: { type: "string", description: "The batch; its activities are ID:0, ID:1 and so on." },
                  accepted: { type: "integer", description: "How many activities it holds." },
                },
              },
            },
          },
        },
        422: { description: "Nothing was accepted: `errors` names every mistake." },
        503: { description: "Too much waits to be applied (code backlogFull): Retry-After says when to come again." },
      },
    },
  },
};
