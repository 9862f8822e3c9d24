import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Audit } from "../audit/audit.ts";
import { Time } from "../http/conventions.ts";
import { notFound } from "../http/refused.ts";
import { KINDS } from "../records/kinds.ts";
import type { Pools } from "./pools.ts";

/** Describes a pool, and what each of its keys has left. */
export const PoolState = Type.Object(
  {
    keys: Type.Array(
      Type.Object({
        id: Type.String({ description: "The key's id." }),
        status: Type.Union([Type.Literal("ready"), Type.Literal("resting"), Type.Literal("quarantined")], {
          description: "resting: the upstream limits it. quarantined: the upstream refuses it.",
        }),
        until: Time("Until when it rests, or when it is tried again."),
        lastError: Type.Union(
          [Type.Object({ status: Type.Integer({ description: "The upstream's status." }), at: Time("When it was.") }), Type.Null()],
          { description: "The last refusal by the upstream." },
        ),
        remaining: Type.Number({ description: "What is left in its tightest window." }),
        unit: Type.String({ description: "What remaining counts: tokens, usd (dollars) or requests." }),
        budgets: Type.Array(
          Type.Object({
            of: Type.String({ description: "What is counted: requests, tokens or usd." }),
            limit: Type.Number({ description: "How much it holds; of usd in dollars." }),
            window: Type.String({ description: "The window.", examples: ["60s"] }),
            used: Type.Number({ description: "What was taken; of usd in dollars." }),
            reset: Time("When the window ends; null when nothing was taken."),
          }),
          { description: "Each of its windows." },
        ),
      }),
      { description: "In the order of the configuration." },
    ),
  },
  { description: "What is left to each key." },
);

/** Gives the endpoints of pools beside those that make and change them. */
export const poolsAdmin = (pools: Pools, audit: Audit) =>
  new Elysia({ prefix: `/${KINDS.pool.path}`, tags: ["pools"], normalize: false }).post(
    "/:id/reset",
    async ({ params: { id }, query: { key }, set }) => {
      const pool = pools.get(id);
      if (pool === null) throw notFound("pool", id);
      if (!(await pools.reset(pool, key ?? null))) throw notFound("key", key ?? "");
      audit.note({ action: "pool.reset", subject: `pool ${id}`, after: { key: key ?? null } });
      set.status = 204;
    },
    {
      params: Type.Object({ id: Type.String({ description: "The pool's name." }) }),
      query: Type.Object({ key: Type.Optional(Type.String({ description: "Only this key." })) }),
      detail: {
        summary: "Reset a pool's rests and quarantines",
        description: "Its keys are used again at once. What was spent stays.",
      },
    },
  );
