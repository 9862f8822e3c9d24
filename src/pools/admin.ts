import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { notFound } from "../admin/refused.ts";
import type { Audit } from "../audit/audit.ts";
import type { Pools } from "./pools.ts";

/** What can be done with pools beside making and changing them. */
export const poolsAdmin = (pools: Pools, audit: Audit) =>
  new Elysia({ prefix: "/pools", tags: ["pools"], normalize: false }).post(
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
        summary: "Use a pool's keys again",
        description: "Lifts rests and quarantines, before the upstream is asked. What was spent stays.",
      },
    },
  );
