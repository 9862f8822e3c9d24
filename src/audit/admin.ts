import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Page, PageQuery, pageFrom, pageOf, Since, TimeParameter, timeOf, timeText } from "../http/conventions.ts";
import { invalid } from "../http/refused.ts";
import type { Audit, AuditFilter, AuditRow } from "./audit.ts";

const Row = Type.Object({
  seq: Type.Integer({ description: "Its place in the chain, from 1." }),
  id: Type.String({ description: "The row's id." }),
  at: Since("When it was done."),
  actor: Type.String({ description: "The admin token's name, guard or system." }),
  ip: Type.String({ description: "The actor's address; empty for the gateway itself." }),
  action: Type.String({ description: "What was done.", examples: ["key.rotate"] }),
  subject: Type.String({ description: "To what.", examples: ["key key_0199f3a81c3b7c3e9d5e1f2a3b4c5d6e"] }),
  before: Type.Unknown({ description: "The record before; null where there was none." }),
  after: Type.Unknown({ description: "The record after; null where there is none." }),
  requestId: Type.String({ description: "Of the request that did it; empty for the gateway itself." }),
  hash: Type.String({ description: "SHA-256 of the row and of the hash before it." }),
});

const Filter = {
  actor: Type.Optional(Type.String({ description: "Only this actor's." })),
  action: Type.Optional(Type.String({ description: "Only this action.", examples: ["key.revoke"] })),
  subject: Type.Optional(Type.String({ description: "Only what was done to this.", examples: ["consumer acme"] })),
  from: TimeParameter("From this time on, RFC 3339."),
  to: TimeParameter("Before this time, RFC 3339."),
};
type Query = { [name in keyof typeof Filter]?: string };

const parsed = (text: string | null): unknown => (text === null ? null : JSON.parse(text));
const toJson = (row: AuditRow) => ({ ...row, at: timeText(row.at) ?? "", before: parsed(row.before), after: parsed(row.after) });

const filterOf = (query: Query): AuditFilter => ({
  ...{ actor: query.actor, action: query.action, subject: query.subject },
  ...{ from: timeOf(query, "from"), to: timeOf(query, "to") },
});

export const auditAdmin = (audit: Audit) =>
  new Elysia({ prefix: "/audit", tags: ["audit"], normalize: false })
    .get(
      "/",
      ({ query }) => {
        const { limit, after } = pageOf(query);
        const before = after === "" ? Number.MAX_SAFE_INTEGER : Number(after);
        if (!Number.isInteger(before)) throw invalid([{ path: ["cursor"], message: "is not a cursor that a list gave" }]);
        return pageFrom(audit.page(filterOf(query), before, limit).map(toJson), limit, ({ seq }) => String(seq));
      },
      {
        query: Type.Object({ ...PageQuery.properties, ...Filter }),
        response: Page(Row),
        detail: { summary: "The audit log, the newest row first" },
      },
    )
    .get(
      "/export",
      ({ query, set }) => {
        set.headers["content-type"] = "application/jsonl";
        let text = "";
        for (const rows of audit.pages(filterOf(query))) for (const row of rows) text += `${JSON.stringify(toJson(row))}\n`;
        return text;
      },
      {
        query: Type.Object(Filter),
        detail: {
          summary: "Export the audit log as JSON Lines, the oldest row first",
          responses: {
            200: { description: "A row of the audit log on each line.", content: { "application/jsonl": { schema: { type: "string" } } } },
          },
        },
      },
    )
    .get(
      "/verify",
      () => {
        const { rows, broken } = audit.verify();
        return { valid: broken === null, rows, broken };
      },
      {
        response: Type.Object({
          valid: Type.Boolean({ description: "Whether all rows are as they were written." }),
          rows: Type.Integer({ description: "Rows that are as they were written, up to the first broken one." }),
          broken: Type.Union(
            [
              Type.Object({
                seq: Type.Integer({ description: "Its place in the chain." }),
                id: Type.Union([Type.String(), Type.Null()], { description: "null when the row is gone." }),
                why: Type.String({ description: "What is wrong with it." }),
              }),
              Type.Null(),
            ],
            { description: "The first row that is not as it was written; null when there is none." },
          ),
        }),
        detail: {
          summary: "Verify the audit log",
          description: "Compares every row with its hash, and names the first one that is not as it was written.",
        },
      },
    );
