import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { etagOf, Force, limitOf, Page, PageQuery, Source, Time, timeText } from "../http/conventions.ts";
import type { Keys } from "../keys/keys.ts";
import { KINDS } from "../records/kinds.ts";
import { orderOf, placeOf, SortParameter } from "../records/listing.ts";
import { formsOf, SearchParameter } from "../records/search.ts";
import { CONSUMER_SORTS, type Consumer, ConsumerPatch, type Consumers, NewConsumer } from "./consumers.ts";

const OrNull = (description: string) => Type.Union([Type.String(), Type.Null()], { description });

const ConsumerRecord = Type.Object({
  id: Type.String({ description: "The consumer's id." }),
  tier: Type.String({ description: "Its tier." }),
  name: OrNull("A name for people."),
  limits: Type.Union([Type.Array(Type.Unknown()), Type.Null()], { description: "Limits of its own, instead of the tier's." }),
  quota: Type.Union([Type.Array(Type.Unknown()), Type.Null()], { description: "Quotas of its own, instead of the tier's." }),
  models: Type.Union([Type.Array(Type.String()), Type.Null()], { description: "The models it may call; null: all." }),
  metadata: Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()], { description: "What you keep with it." }),
  enabled: Type.Boolean({ description: "Whether its keys are good." }),
  source: Source,
  createdAt: Time("When it was created; null for what config.json declares."),
  updatedAt: Time("When it was last changed."),
});
const ById = Type.Object({ id: Type.String({ description: "The consumer's id." }) });

const ConsumerQuery = Type.Object({
  ...PageQuery.properties,
  search: SearchParameter("their id or name"),
  sort: SortParameter(CONSUMER_SORTS),
  tier: Type.Optional(Type.String({ description: "Only those of this tier." })),
  enabled: Type.Optional(
    Type.Union([Type.Literal("true"), Type.Literal("false")], {
      description: "Only those that are enabled, or that are not.",
      shown: { anyOf: undefined, type: "boolean" },
    }),
  ),
  source: Type.Optional(Source),
});

const toJson = ({ version: _, ...consumer }: Consumer) => ({
  ...consumer,
  limits: consumer.limits === null ? null : [...consumer.limits],
  quota: consumer.quota === null ? null : [...consumer.quota],
  models: consumer.models === null ? null : [...consumer.models],
  createdAt: timeText(consumer.createdAt),
  updatedAt: timeText(consumer.updatedAt),
});

/** Gives the endpoints of consumers. */
export const consumersAdmin = (consumers: Consumers, keys: Keys) =>
  new Elysia({ prefix: `/${KINDS.consumer.path}`, tags: ["consumers"], normalize: false })
    .get(
      "/",
      async ({ query }) => {
        const { tier, enabled, source, search, sort, cursor } = query;
        const order = orderOf(sort, CONSUMER_SORTS);
        const { items, nextCursor } = await consumers.page(
          { tier, source, enabled: enabled === undefined ? undefined : enabled === "true" },
          { limit: limitOf(query), order, after: placeOf(cursor, order), forms: search === undefined ? null : formsOf(search) },
        );
        return { items: items.map(toJson), nextCursor };
      },
      { query: ConsumerQuery, response: Page(ConsumerRecord), detail: { summary: "List consumers" } },
    )
    .post(
      "/",
      ({ body, set }) => {
        const consumer = consumers.create(body);
        set.status = 201;
        set.headers.location = `/admin/consumers/${encodeURIComponent(consumer.id)}`;
        set.headers.etag = etagOf(consumer.version);
        return toJson(consumer);
      },
      { parse: "json", body: NewConsumer, response: { 201: ConsumerRecord }, detail: { summary: "Create a consumer" } },
    )
    .get(
      "/:id",
      ({ params, set }) => {
        const consumer = consumers.get(params.id);
        set.headers.etag = etagOf(consumer.version);
        return toJson(consumer);
      },
      { params: ById, response: ConsumerRecord, detail: { summary: "Get a consumer" } },
    )
    .patch(
      "/:id",
      ({ params, body, headers, set }) => {
        const consumer = consumers.patch(params.id, body, headers["if-match"] ?? null);
        set.headers.etag = etagOf(consumer.version);
        return toJson(consumer);
      },
      { parse: "json", params: ById, body: ConsumerPatch, response: ConsumerRecord, detail: { summary: "Update a consumer" } },
    )
    .delete(
      "/:id",
      ({ params, query, headers, set }) => {
        consumers.remove(params.id, query.force === "true", headers["if-match"] ?? null, (id) => keys.removeOf(id));
        set.status = 204;
      },
      {
        params: ById,
        query: Force("delete its keys as well"),
        detail: { summary: "Delete a consumer" },
      },
    );
