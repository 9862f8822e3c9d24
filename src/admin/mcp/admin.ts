import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Audit } from "../../audit/audit.ts";
import { jsonOf } from "../../http/conventions.ts";
import { refused } from "../../http/refused.ts";
import type { Visits } from "../visits.ts";
import type { McpServer } from "./server.ts";
import type { UnseenSecrets } from "./unseen.ts";

export interface McpAdminDeps {
  readonly server: McpServer;
  readonly unseen: UnseenSecrets;
}

const Id = Type.Union([Type.String(), Type.Number()], { description: "The request's id, which its answer repeats." });
const Version = Type.Literal("2.0", { description: "The version of JSON-RPC." });

const RpcMessage = Type.Object(
  {
    jsonrpc: Version,
    id: Type.Optional(Id),
    method: Type.String({ description: "server/discover, initialize, ping, tools/list or tools/call." }),
    params: Type.Optional(Type.Object({}, { description: "As the method takes them.", additionalProperties: true })),
  },
  { description: "A message of the Model Context Protocol: a request, or without an id a notification." },
);
const RpcError = Type.Object(
  {
    code: Type.Integer({ description: "The code of JSON-RPC, or of the protocol." }),
    message: Type.String({ description: "What is wrong, and what to do." }),
    data: Type.Optional(Type.Unknown({ description: "More for programs, such as the versions that are supported." })),
  },
  { description: "Why there is no result." },
);
const RpcAnswer = Type.Object({
  jsonrpc: Version,
  id: Type.Optional(Id),
  result: Type.Optional(Type.Object({}, { description: "As the method gives it.", additionalProperties: true })),
  error: Type.Optional(RpcError),
});
const RpcRefusal = Type.Object({ jsonrpc: Version, id: Type.Optional(Id), error: RpcError });

const Seen = Type.Object({
  what: Type.String({ description: "What it is: key, token, secret or url.", examples: ["key"] }),
  subject: Type.String({ description: "The record that it belongs to.", examples: ["key key_0199f3a81c3b7c3e9d5e1f2a3b4c5d6e"] }),
  secret: Type.String({ description: "The secret: here and nowhere else." }),
});

/** Describes a refusal by the protocol, or by the API around it. */
const jsonOrProblem = (description: string) => ({
  description,
  content: {
    "application/json": { schema: RpcRefusal as object },
    "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
  },
});

/** Gives the endpoint of the Model Context Protocol, and the one at which people see the secrets that it left out. */
export const mcpAdmin = ({ server, unseen }: McpAdminDeps, visits: Visits, audit: Audit) =>
  new Elysia({ prefix: "/mcp", tags: ["mcp"], normalize: false })
    .post("/", ({ request }) => server.answer(request, visits.of(request)), {
      detail: {
        summary: "Use the admin API by MCP",
        description:
          'The admin API as tools of the Model Context Protocol, for assistants: one for each operation that the token may use. There where the configuration has `"admin": { "mcp": true }`. An admin token must be shown: the console\'s cookie does not count.',
        requestBody: { required: true, content: { "application/json": { schema: RpcMessage as object } } },
        responses: {
          200: jsonOf(RpcAnswer),
          202: { description: "Nothing is to be answered." },
          400: jsonOrProblem(
            "The message, or a header that says the same, is not as the protocol has it; a problem where another header is not.",
          ),
          404: jsonOrProblem("There is no such method; a problem where `admin.mcp` is not set."),
          415: jsonOrProblem("It is not JSON."),
        },
      },
    })
    .post(
      "/secrets/:id",
      ({ params, request }) => {
        const { holder } = visits.of(request);
        if (holder?.via !== "session")
          throw refused("forbidden", "Only a person sees this secret: open its page in the console and sign in.");
        const seen = unseen.take(params.id);
        if (seen === null)
          throw refused(
            "notFound",
            "There is no such secret any more: it was seen already, an hour has passed, or the gateway has started again. Make another one.",
          );
        audit.note({ action: "secret.see", subject: seen.subject });
        return seen;
      },
      {
        params: Type.Object({ id: Type.String({ description: "The last part of the address that the tool's result names." }) }),
        response: Seen,
        detail: {
          summary: "See a secret that an assistant had made",
          description: "Once, within an hour, by whoever is signed in to the console.",
        },
      },
    );
