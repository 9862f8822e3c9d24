import { type Static, Type } from "@sinclair/typebox";
import { Elysia, ParseError } from "elysia";
import { DurationField, etagOf, limitOf, Page, PageQuery, Source } from "../http/conventions.ts";
import { invalid } from "../http/refused.ts";
import { KINDS } from "../records/kinds.ts";
import { orderOf, placeOf, SortParameter } from "../records/listing.ts";
import { formsOf, SearchParameter } from "../records/search.ts";
import { schemaFaults } from "../schema/faults.ts";
import { KEY_SORTS, KeyImport, KeyPatch, KeyRecord, KeyStatus, type Keys, NewKey } from "./keys.ts";

// Not an intersection: Elysia closes the objects that it validates, the shared one as well.
const KeyWithSecret = Type.Object({
  ...KeyRecord.properties,
  key: Type.Optional(Type.String({ description: "The secret: here and nowhere else." })),
});
const ById = Type.Object({ id: Type.String({ description: "The key's id." }) });

const Rotation = Type.Object(
  {
    gracePeriod: Type.Optional(DurationField("How long the old secret stays good; not at all by default.", "24h")),
  },
  { additionalProperties: false },
);

const KeyQuery = Type.Object({
  ...PageQuery.properties,
  search: SearchParameter("their id, name, consumer, first or last characters"),
  sort: SortParameter(KEY_SORTS),
  consumer: Type.Optional(Type.String({ description: "Only this consumer's." })),
  status: Type.Optional({
    ...KeyStatus,
    description:
      "Only those whose own record has this status. A key that its holder made may be worse off by the key that it was made from: `status` in the answer says so, and this filter does not look there.",
  }),
  source: Type.Optional(Source),
});

const UPDATE = {
  summary: "Update a key",
  description: "One that its holder made takes no limits and no quota: it has those of the key from which it was made.",
};

const ROTATE = {
  summary: "Rotate a key: give it a new secret",
  description:
    "The id, limits and usage stay, and so do keys that its holder made from it: revoke those separately, or this key, which revokes all of them. The body may be left out.",
  requestBody: { required: false, content: { "application/json": { schema: Rotation } } },
};

/** Gives the grace period that the body asks for, if it has one. */
async function readRotation(request: Request): Promise<string | undefined> {
  const text = await request.text();
  if (text === "") return undefined;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new ParseError();
  }
  const faults = schemaFaults(Rotation, body);
  if (faults.length > 0) throw invalid(faults);
  return (body as Static<typeof Rotation>).gracePeriod;
}

/** Gives the endpoints of keys. A long function, since it is a list: each endpoint with what the API says of it. */
export const keysAdmin = (keys: Keys) =>
  new Elysia({ prefix: `/${KINDS.key.path}`, tags: ["keys"], normalize: false })
    .get(
      "/",
      async ({ query }) => {
        const { search, sort, cursor } = query;
        const order = orderOf(sort, KEY_SORTS);
        return await keys.page(query, {
          limit: limitOf(query),
          order,
          after: placeOf(cursor, order),
          forms: search === undefined ? null : formsOf(search),
        });
      },
      {
        query: KeyQuery,
        response: Page(KeyRecord),
        detail: { summary: "List keys" },
      },
    )
    .post(
      "/",
      ({ body, set }) => {
        const { record, secret, version } = keys.create(body);
        set.status = 201;
        set.headers.location = `/admin/keys/${record.id}`;
        set.headers.etag = etagOf(version);
        return secret === null ? record : { ...record, key: secret };
      },
      {
        parse: "json",
        body: NewKey,
        response: { 201: KeyWithSecret },
        detail: { summary: "Create or import a key" },
      },
    )
    .post(
      "/import",
      ({ body, set }) => {
        const ids = keys.import(body.keys);
        set.status = 201;
        return { imported: ids.length, ids };
      },
      {
        parse: "json",
        body: KeyImport,
        response: {
          201: Type.Object({
            imported: Type.Integer({ description: "How many." }),
            ids: Type.Array(Type.String(), { description: "In the order of the input." }),
          }),
        },
        detail: { summary: "Import many keys", description: "By key or by its SHA-256; all of them or none. The answer holds no secrets." },
      },
    )
    .get(
      "/:id",
      ({ params, set }) => {
        const { record, version } = keys.get(params.id);
        set.headers.etag = etagOf(version);
        return record;
      },
      { params: ById, response: KeyRecord, detail: { summary: "Get a key" } },
    )
    .patch(
      "/:id",
      ({ params, body, headers, set }) => {
        const { record, version } = keys.patch(params.id, body, headers["if-match"] ?? null);
        set.headers.etag = etagOf(version);
        return record;
      },
      {
        parse: "json",
        params: ById,
        body: KeyPatch,
        response: KeyRecord,
        detail: UPDATE,
      },
    )
    .delete(
      "/:id",
      ({ params, headers, set }) => {
        keys.revoke(params.id, headers["if-match"] ?? null);
        set.status = 204;
      },
      { params: ById, detail: { summary: "Revoke a key", description: "It is refused from the next request on; the record stays." } },
    )
    .post(
      "/:id/rotate",
      async ({ params, request, set }) => {
        const { record, secret, version } = keys.rotate(params.id, await readRotation(request));
        set.headers.etag = etagOf(version);
        return { ...record, key: secret };
      },
      {
        // Elysia has no word for a body that may be left out: it is read and checked in the handler.
        parse: "none",
        params: ById,
        response: KeyWithSecret,
        detail: ROTATE,
      },
    );
