import { OptionalKind, type TObject, type TProperties, type TSchema, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { etagOf, Force, jsonOf, Page, PageQuery, pageFrom, pageOf, Source, Time, timeText } from "../http/conventions.ts";
import { invalid } from "../http/refused.ts";
import { isObject } from "../values/json.ts";
import type { Documents, Item } from "./documents.ts";
import { type DocumentKind, KINDS, withArticle } from "./kinds.ts";
import { type NameRule, nameFaults } from "./names.ts";
import { formsOf, isFound, SearchParameter } from "./search.ts";

/** Says how the kinds of named documents differ in the API. */
export interface DocumentWords {
  readonly schema: TObject;
  /** True when the document itself holds its name (a route's). */
  readonly isNamedWithin: boolean;
  /** Gives the name of one that comes without; `words` say which that is. Left out: each must have one. */
  readonly unnamed?: { readonly words: string; readonly of: (input: Readonly<Record<string, unknown>>) => unknown };
  /** Takes over changes of other instances before a document is shown. */
  readonly refresh?: () => Promise<void>;
  /** Makes fields that a new record comes without. They may be left out, and are shown in the answer, secrets as well. */
  readonly made?: {
    readonly fields: readonly string[];
    readonly of: (input: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>;
  };
  /** Adds to each document what the API tells beside it, with the schema of that. */
  readonly more?: { readonly schema: TProperties; readonly of: (name: string) => object };
}

/** Says what `?search=` looks through beside the name. */
interface Searched<T> {
  /** Continues "their name". */
  readonly words: string;
  readonly of: (document: T) => readonly string[];
}

/** Gives the schemas of a kind's records: as they are told (`Record`), made (`Named`) and changed (`Patch`). */
function schemasOf(singular: DocumentKind, names: NameRule, { schema, isNamedWithin, unnamed, more, made }: DocumentWords) {
  const optional = ([field, each]: [string, TSchema]) => [field, made?.fields.includes(field) ? Type.Optional(each) : each];
  const name = `The ${singular}'s name${unnamed === undefined ? "" : `; ${unnamed.words} by default`}.`;
  const Name = Type.String({ ...(isNamedWithin ? { minLength: 1, maxLength: 128 } : { pattern: names.pattern }), description: name });
  return {
    // Open, unlike what is taken: a later version may tell more.
    Record: Type.Object({
      ...schema.properties,
      ...more?.schema,
      name: Type.String({ description: name }),
      source: Source,
      createdAt: Time("When it was created; null for what config.json declares."),
      updatedAt: Time("When it was last changed."),
    }),
    Named: Type.Object(
      {
        name: unnamed === undefined ? Name : Type.Optional(Name),
        ...(Object.fromEntries(Object.entries(withoutName(schema.properties)).map(optional)) as TProperties),
      },
      { additionalProperties: false },
    ),
    // RFC 7396: null takes a field away, and with it what was set there.
    Patch: Type.Partial(Type.Object(mayBeNull(withoutName(schema.properties)), { additionalProperties: false })),
    ById: Type.Object({ id: Type.String({ description: `The ${singular}'s name, with a slash written as %2F.` }) }),
  };
}

/** Gives the object in a body. The configuration's own rules check its fields. */
function read(body: unknown): Record<string, unknown> {
  if (!isObject(body)) throw invalid([{ path: [], message: "must be an object" }]);
  return body;
}

/** Gives the name that a new record asks for. */
function nameOf(input: Record<string, unknown>, names: NameRule, { isNamedWithin, unnamed }: DocumentWords): string {
  const key = input.name ?? unnamed?.of(input);
  if (typeof key !== "string" || key === "" || key.length > 128)
    throw invalid([{ path: ["name"], message: "is required: 1 to 128 characters" }]);
  // A route's own is checked with the rest of it.
  if (isNamedWithin) return key;
  const faults = nameFaults(names, key, ["name"]);
  if (faults.length > 0) throw invalid(faults);
  return key;
}

/**
 * Gives the endpoints of one kind of named document. Its capability validates a document as a whole, with the rules of the configuration
 * file. A long function, since it is a list: each endpoint with what the API says of it.
 */
export const documentsAdmin = <T extends object>(documents: Documents<T>, words: DocumentWords & { readonly searched?: Searched<T> }) => {
  const { isNamedWithin, refresh, searched } = words;
  const singular = documents.kind;
  /** The path below /admin, and the tag. */
  const plural = KINDS[singular].path;
  const one = withArticle(singular);
  const { Record, Named, Patch, ById } = schemasOf(singular, documents.nameRule, words);
  const toJson = (item: Item<T>) => ({
    ...documents.shown(item.document),
    ...words.more?.of(item.name),
    name: item.name,
    source: item.source,
    createdAt: timeText(item.createdAt),
    updatedAt: timeText(item.updatedAt),
  });
  // The body is checked by the configuration's own rules, which know more than a schema: here it is only described.
  const bodyOf = (body: TObject) => ({ required: true, content: { "application/json": { schema: body } } });
  return new Elysia({ prefix: `/${plural}`, tags: [plural], normalize: false })
    .get(
      "/",
      async ({ query }) => {
        await refresh?.();
        const { limit, after } = pageOf(query);
        const forms = query.search === undefined ? null : formsOf(query.search);
        const isWanted = ({ name, document }: Item<T>): boolean =>
          forms === null || isFound(forms, [name, ...(searched?.of(document) ?? [])]);
        return pageFrom(documents.page(after, limit, isWanted).map(toJson), limit, (item) => item.name);
      },
      {
        query: Type.Object({ ...PageQuery.properties, search: SearchParameter(`their name${searched?.words ?? ""}`) }),
        detail: { summary: `List ${plural}`, responses: { 200: jsonOf(Page(Record)) } },
      },
    )
    .post(
      "/",
      ({ body, set }) => {
        const input = read(body);
        const name = nameOf(input, documents.nameRule, words);
        const made = words.made?.of(input) ?? {};
        const item = documents.create(name, { ...(isNamedWithin ? input : withoutName(input)), ...made });
        set.status = 201;
        set.headers.location = `/admin/${plural}/${encodeURIComponent(item.name)}`;
        set.headers.etag = etagOf(item.version);
        return { ...toJson(item), ...made };
      },
      {
        parse: "json",
        detail: {
          requestBody: bodyOf(Named),
          summary: `Create ${one}`,
          description: "Takes effect at once.",
          responses: { 201: jsonOf(Record, "Created") },
        },
      },
    )
    .get(
      "/:id",
      async ({ params, set }) => {
        await refresh?.();
        const item = documents.require(params.id);
        set.headers.etag = etagOf(item.version);
        return toJson(item);
      },
      { params: ById, detail: { summary: `Get ${one}`, responses: { 200: jsonOf(Record) } } },
    )
    .patch(
      "/:id",
      ({ params, body, headers, set }) => {
        const { name, ...patch } = read(body);
        if (name !== undefined && name !== params.id)
          throw invalid([{ path: ["name"], message: "can't be changed: create another and delete this one" }]);
        const item = documents.patch(params.id, patch, headers["if-match"] ?? null);
        set.headers.etag = etagOf(item.version);
        return toJson(item);
      },
      {
        parse: "json",
        params: ById,
        detail: {
          requestBody: bodyOf(Patch),
          summary: `Update ${one}`,
          description: "A merge patch (RFC 7396). Takes effect at once.",
          responses: { 200: jsonOf(Record) },
        },
      },
    )
    .delete(
      "/:id",
      ({ params, query, headers, set }) => {
        documents.remove(params.id, query.force === "true", headers["if-match"] ?? null);
        set.status = 204;
      },
      {
        params: ById,
        query: Force("delete it though others use it"),
        detail: { summary: `Delete ${one}` },
      },
    );
};

const withoutName = <T>({ name: _, ...fields }: Readonly<Record<string, T>>): Record<string, T> => fields;

/** Gives the same properties, with null for whatever need not be there. */
const mayBeNull = (properties: TProperties): TProperties =>
  Object.fromEntries(
    Object.entries(properties).map(([name, field]) => {
      const isNeeded = field.default === undefined && !(OptionalKind in field);
      const isNullable = (field.anyOf as TSchema[] | undefined)?.some(({ type }) => type === "null") === true;
      return [
        name,
        isNeeded || isNullable
          ? field
          : Type.Union([field, Type.Null()], field.description === undefined ? {} : { description: field.description }),
      ];
    }),
  );
