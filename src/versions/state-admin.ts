import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { SUMMARY } from "./admin.ts";
import { Note } from "./note.ts";
import type { DumpedState, State } from "./state.ts";

const Dumped = Type.Record(Type.String(), Type.Record(Type.String(), Type.Unknown()), {
  description:
    'All that this API made, by kind and name: tiers, pools, issuers, upstreams, routes, consumers. In a secret\'s place stands `{ "$kept": NAME }`.',
});

const Applied = Type.Object({
  number: Type.Integer({ description: "The new version; the last one, where no version was made." }),
  ...SUMMARY,
});

/** Gives the endpoints behind `sluice dump`, `diff` and `apply`: all that the API made, as one document. */
export const stateAdmin = (state: State) =>
  new Elysia({ prefix: "/state", tags: ["versions"], normalize: false })
    .get("/", ({ query }) => ({ ...state.dump(query.keys === "true") }) as Record<string, Record<string, unknown>>, {
      query: Type.Object({
        keys: Type.Optional(
          Type.String({ description: "true: with each consumer's keys, as hash, start and end.", shown: { type: "boolean" } }),
        ),
      }),
      response: Dumped,
      detail: { summary: "Dump all that this API made" },
    })
    .put(
      "/",
      async ({ body, query }) => {
        const { number, created, changed, deleted } = await state.apply({
          state: body.state as DumpedState,
          prune: body.prune === true,
          yes: body.yes === true,
          note: body.note ?? null,
          isTrial: query.dryRun === "true",
        });
        return { number, created: [...created], changed: [...changed], deleted: [...deleted] };
      },
      {
        parse: "json",
        body: Type.Object(
          {
            state: Dumped,
            prune: Type.Optional(
              Type.Boolean({ description: "Whether what is not in it is deleted, of the kinds that it names. false by default." }),
            ),
            yes: Type.Optional(Type.Boolean({ description: "Whether more than ten deletions are meant." })),
            note: Note,
          },
          { additionalProperties: false },
        ),
        query: Type.Object({
          dryRun: Type.Optional(
            Type.String({ description: "true: nothing is changed; the answer is the same.", shown: { type: "boolean" } }),
          ),
        }),
        response: Applied,
        detail: {
          summary: "Apply a dump",
          description:
            'Makes what it says, in one step: all of it or nothing. `{ "$kept": NAME }` in a secret\'s place keeps the secret of this name that is there.',
        },
      },
    );
