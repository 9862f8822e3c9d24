import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { checkMatch, etagOf } from "../http/conventions.ts";
import { SUMMARY } from "./admin.ts";
import { Note } from "./note.ts";
import type { Versions } from "./versions.ts";

/** The longest text that is taken for a configuration, in characters. */
const LONGEST = 8 * 1024 * 1024;

const FileRecord = Type.Object({
  file: Type.String({ description: "The file." }),
  text: Type.String({ description: "Its text as it is now; secrets that stand in it in the clear are masked." }),
  isInForce: Type.Boolean({ description: "false: it has faults, or was changed this very moment; `GET /admin/config` has the faults." }),
  isEditable: Type.Boolean({ description: "Whether this API may write it: `admin.editFile`." }),
});

const Written = Type.Object({
  number: Type.Integer({ description: "The new version; the last one, where nothing was written." }),
  diff: Type.String({ description: "What differs from the text before, line by line (unified)." }),
  ...SUMMARY,
});

/** Gives the endpoints of the configuration's file. */
export const configFileAdmin = (versions: Versions) =>
  new Elysia({ prefix: "/config", tags: ["config"], normalize: false })
    .get(
      "/file",
      ({ set }) => {
        const { tag, ...file } = versions.fileNow();
        set.headers.etag = etagOf(tag);
        return file;
      },
      { response: FileRecord, detail: { summary: "The configuration file's text" } },
    )
    .put(
      "/file",
      async ({ body, query, headers, set }) => {
        const done = await versions.editFile(body.text, body.note ?? null, {
          isTrial: query.dryRun === "true",
          check: (before) => checkMatch(headers["if-match"], versions.tagOf(before)),
        });
        set.headers.etag = etagOf(versions.tagOf(versions.fileText()));
        return { number: done.number, diff: done.diff, created: [...done.created], changed: [...done.changed], deleted: [...done.deleted] };
      },
      {
        parse: "json",
        body: Type.Object(
          {
            text: Type.String({ maxLength: LONGEST, description: "The whole text. A mask in a secret's place keeps that secret." }),
            note: Note,
          },
          { additionalProperties: false },
        ),
        query: Type.Object({
          dryRun: Type.Optional(
            Type.String({ description: "true: nothing is written; the answer is the same.", shown: { type: "boolean" } }),
          ),
        }),
        response: Written,
        detail: {
          summary: "Write the configuration file",
          description:
            "Checks the text as a whole, writes it and puts it in force in one step; the text before stays beside it as FILE.before. Takes `admin.editFile`. Send the `ETag` of what you read as `If-Match`. What belongs to the process can't be changed here.",
        },
      },
    );
