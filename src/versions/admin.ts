import { type Static, Type } from "@sinclair/typebox";
import { Elysia, ParseError } from "elysia";
import { Page, PageQuery, pageFrom, pageOf, Since, timeText } from "../http/conventions.ts";
import { invalid, notFound } from "../http/refused.ts";
import { DOCUMENT_KINDS, KINDS } from "../records/kinds.ts";
import { schemaFaults } from "../schema/faults.ts";
import type { VersionHead } from "./journal.ts";
import { Note } from "./note.ts";
import type { Versions } from "./versions.ts";

const Names = (description: string) => Type.Array(Type.String(), { description, examples: [["route users"]] });

/** Names what a change has created, changed and deleted. */
export const SUMMARY = {
  created: Names('What it created, as in "route users"; "file" is the configuration file.'),
  changed: Names("What it changed."),
  deleted: Names("What it deleted."),
};

const HEAD = {
  number: Type.Integer({ description: "Its number; each version has the next one.", examples: [12] }),
  at: Since("When it was made."),
  actor: Type.String({ description: "The name of the admin token by which it was made, or `system`." }),
  source: Type.Union([Type.Literal("api"), Type.Literal("file"), Type.Literal("console"), Type.Literal("restore")], {
    description: "How: by this API, by the configuration file, in the console, or by restoring an earlier version.",
  }),
  note: Type.Union([Type.String(), Type.Null()], { description: "Why, in the words of whoever made it." }),
  restored: Type.Union([Type.Integer(), Type.Null()], { description: "The version that it restored." }),
  ...SUMMARY,
};

const VersionRecord = Type.Object(HEAD);

const FileText = Type.Union([Type.String(), Type.Null()], {
  description: "The configuration file's text, with secrets masked; null: there was no file, or its text is not kept.",
});

const VersionWithState = Type.Object({
  ...HEAD,
  documents: Type.Record(Type.String(), Type.Record(Type.String(), Type.Unknown()), {
    description: "What this API had made by then: tiers, routes and so on, each by its name. Secrets are masked.",
  }),
  file: FileText,
});

const FieldChange = Type.Object({
  path: Type.String({ description: "The field; empty for the whole document.", examples: ["limits[0].limit"] }),
  before: Type.Unknown({ description: "What it was; null: it was not there. Secrets are masked." }),
  after: Type.Unknown({ description: "What it is; null: it is not there." }),
});

const Difference = Type.Object({
  from: Type.Integer({ description: "The version that it begins with." }),
  to: Type.Union([Type.Integer(), Type.Null()], { description: "The version that it ends with; null: what is in force now." }),
  documents: Type.Array(
    Type.Object({
      kind: Type.String({ description: "What it is.", examples: ["route"] }),
      name: Type.String({ description: "Its name." }),
      change: Type.Union([Type.Literal("created"), Type.Literal("changed"), Type.Literal("deleted")], {
        description: "What became of it.",
      }),
      fields: Type.Array(FieldChange, { description: "The fields that differ." }),
    }),
    { description: "What differs of what this API makes." },
  ),
  file: Type.String({ description: "The difference of the configuration file's text, line by line (unified); empty: there is none." }),
});

/** Describes the body of a restore. */
const Restore = Type.Object(
  {
    note: Note,
    file: Type.Optional(
      Type.Boolean({
        description:
          "Whether the configuration file is written as well, where it was another: its text stays beside it as FILE.before. Left out: 409 with the difference.",
      }),
    ),
  },
  { additionalProperties: false },
);

const Restored = Type.Object({
  number: Type.Integer({ description: "The new version; the last one, where nothing differed." }),
  file: Type.Boolean({ description: "Whether the configuration file was written." }),
  ...SUMMARY,
});

const ById = Type.Object({ id: Type.String({ description: "The version's number.", shown: { type: "integer", minimum: 1 } }) });

/** Gives the number in a path or a query. Throws 404 for what is no number of a version. */
function numberOf(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw notFound("version", text);
  return Number(text);
}

const toJson = (head: VersionHead): Static<typeof VersionRecord> => ({
  ...head,
  at: timeText(head.at) ?? "",
  created: [...head.created],
  changed: [...head.changed],
  deleted: [...head.deleted],
});

/** Gives what the API had made by a version, by the paths of the kinds. */
function documentsAt(versions: Versions, number: number): Record<string, Record<string, unknown>> {
  const texts = versions.journal.textsAt(number);
  return Object.fromEntries(
    DOCUMENT_KINDS.map((kind) => [
      KINDS[kind].path,
      Object.fromEntries([...texts[kind]].map(([name, text]) => [name, versions.shown(kind, text)])),
    ]),
  );
}

/** Reads a body that may be left out. Throws 422. */
async function restoreIn(request: Request): Promise<Static<typeof Restore>> {
  const text = await request.text();
  let body: unknown = {};
  try {
    if (text.trim() !== "") body = JSON.parse(text);
  } catch {
    throw new ParseError();
  }
  const faults = schemaFaults(Restore, body);
  if (faults.length > 0) throw invalid(faults);
  // It has no faults: it is one.
  return body as Static<typeof Restore>;
}

/** Gives the endpoints of versions: what changed, by whom and why, and the way back. */
export const versionsAdmin = (versions: Versions) =>
  new Elysia({ prefix: "/versions", tags: ["versions"], normalize: false })
    .get(
      "/",
      ({ query }) => {
        const { limit, after } = pageOf(query);
        const before = after === "" ? Number.MAX_SAFE_INTEGER : Number(after);
        if (!Number.isInteger(before)) throw invalid([{ path: ["cursor"], message: "is not a cursor that a list gave" }]);
        return pageFrom(versions.journal.page(before, limit).map(toJson), limit, ({ number }) => String(number));
      },
      {
        query: PageQuery,
        response: Page(VersionRecord),
        detail: {
          summary: "List versions, the newest first",
          description: "Each change of what rules requests is one. The last 100 are kept.",
        },
      },
    )
    .get(
      "/:id",
      ({ params }) => {
        const number = numberOf(params.id);
        return { ...toJson(versions.require(number)), documents: documentsAt(versions, number), file: versions.fileAt(number) };
      },
      { params: ById, response: VersionWithState, detail: { summary: "Get a version, with what was in force then" } },
    )
    .get(
      "/:id/diff",
      ({ params, query }) => {
        const from = versions.require(numberOf(params.id)).number;
        const to = query.to === undefined ? null : versions.require(numberOf(query.to)).number;
        const { documents, file } = versions.diff(from, to);
        return { from, to, documents: documents.map((each) => ({ ...each, fields: [...each.fields] })), file };
      },
      {
        params: ById,
        query: Type.Object({
          to: Type.Optional(
            Type.String({ description: "The other version; left out: what is in force now.", shown: { type: "integer", minimum: 1 } }),
          ),
        }),
        response: Difference,
        detail: { summary: "Compare two versions", description: "What differs from this version to another, or to what is in force now." },
      },
    )
    .post(
      "/:id/restore",
      async ({ params, request }) => {
        const { note, file } = await restoreIn(request);
        const done = await versions.restore(numberOf(params.id), note ?? null, file ?? null);
        return { number: done.number, file: done.file, created: [...done.created], changed: [...done.changed], deleted: [...done.deleted] };
      },
      {
        // Elysia has no word for a body that may be left out: it is read and checked in the handler.
        parse: "none",
        params: ById,
        response: Restored,
        detail: {
          summary: "Restore a version",
          description:
            "Makes what this API had made what it was then, in one step: a new version. All faults are told, and nothing is changed, where it does not hold any more. The body may be left out.",
          requestBody: { required: false, content: { "application/json": { schema: Restore } } },
        },
      },
    );
