import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { Elysia, ParseError } from "elysia";
import { jsonOf, Page, PageQuery, pageFrom, pageOf, Since, Time, timeText } from "../http/conventions.ts";
import { invalid } from "../http/refused.ts";
import type { Documents } from "../records/documents.ts";
import { KINDS } from "../records/kinds.ts";
import { IDENTIFIERS, nameFaults } from "../records/names.ts";
import { orNearest } from "../schema/faults.ts";
import { Shape } from "../schema/fields.ts";
import { fillIn } from "../schema/fill-in.ts";
import type { Deliveries, Delivery } from "./deliveries.ts";
import { EVENT_NAMES, type EventName, eventSchema } from "./event-types.ts";
import { type WebhookConfig, webhookNameOf } from "./settings.ts";
import { makeSecret } from "./signature.ts";
import type { Webhooks } from "./webhooks.ts";

const STATES = ["waiting", "delivered", "failed"] as const;

const State = Type.Union(
  STATES.map((state) => Type.Literal(state)),
  { description: "waiting: for its first try or the next one; failed: given up." },
);

/** What the API tells beside each webhook. */
export const WebhookState = Type.Object(
  {
    waiting: Type.Integer({ minimum: 0, description: "Events that wait for it on this instance." }),
    oldest: Time("When the oldest of them happened; null: none waits."),
    isGone: Type.Boolean({ description: "Whether its receiver wants no more events (410), so that nothing is sent." }),
  },
  { description: "How it stands on this instance." },
);

const OrNull = <T extends TSchema>(type: T, description: string) => Type.Union([type, Type.Null()], { description });

const Answer = {
  status: OrNull(Type.Integer(), "The status of the receiver's last answer; null: there was none."),
  answer: OrNull(Type.String(), "The first 4 KB of that answer's body."),
  error: OrNull(Type.String(), "Why the last try has failed; null: it has not, or there was none."),
};

const DeliveryRecord = Type.Object({
  id: Type.String({
    description: "Its id: the field webhook-id, the same at each try.",
    examples: ["msg_0199f3a81c3b7c3e9d5e1f2a3b4c5d6e"],
  }),
  webhook: Type.String({ description: "The webhook's name." }),
  type: Type.String({ description: "The type of the event." }),
  state: State,
  tries: Type.Integer({ minimum: 0, description: "How often it was tried." }),
  createdAt: Since("When the event happened."),
  triedAt: Time("When it was tried last."),
  nextAt: Time("When it is tried next; null: it is not."),
  endedAt: Time("When it was delivered or given up."),
  ...Answer,
  body: Type.Unsafe<unknown>({
    anyOf: EVENT_NAMES.map(eventSchema),
    description: "What is sent: `type`, `timestamp`, and `data` as that type has it.",
  }),
});

const shown = ({ id, webhook, type, state, tries, createdAt, lastAt, nextAt, endedAt, status, answer, error, body }: Delivery) => ({
  ...{ id, webhook, type, state, tries, createdAt: timeText(createdAt) ?? "", triedAt: timeText(lastAt), nextAt: timeText(nextAt) },
  ...{ endedAt: timeText(endedAt), status, answer, error, body: JSON.parse(body) as unknown },
});

const EventField = Type.String({
  default: "key.created",
  description: `The type of the event: ${EVENT_NAMES.join(", ")}.`,
});

const TestBody = Shape({ event: EventField }, "What to send a sample of.");
const RotationBody = Shape(
  {
    keepOld: Type.Boolean({
      default: true,
      description: "Whether the secret before goes on signing as well, until the next change. false: it has leaked.",
    }),
  },
  "How to change the secret.",
);

const TestResult = Type.Object({
  delivered: Type.Boolean({ description: "Whether the receiver took it, with a 2xx." }),
  event: Type.String({ description: "The type that was sent." }),
  milliseconds: Type.Integer({ minimum: 0, description: "How long it took." }),
  ...Answer,
});

const RotatedSecret = Type.Object({
  name: Type.String({ description: "The webhook's name." }),
  secret: Type.String({ description: "The new secret, shown only here." }),
});

const ById = Type.Object({ id: Type.String({ description: "The webhook's name." }) });
const Query = Type.Object({
  ...PageQuery.properties,
  state: Type.Optional(Type.String({ description: "Only deliveries in this state.", shown: { enum: STATES } })),
});

export interface WebhooksAdminDeps {
  readonly webhooks: Webhooks;
  readonly deliveries: Deliveries;
  readonly documents: Documents<WebhookConfig>;
}

/** The paths of what each instance has for itself: they are no changes of records. */
export const LOCAL_PATHS = /^\/admin\/webhooks\/[^/]+\/(test|[^/]+\/redeliver)\/?$/;

/** Gives what is made for a webhook that comes without it: its secret, which is shown once. */
export const madeForWebhook = {
  fields: ["secret"],
  of: ({ secret }: Readonly<Record<string, unknown>>): Record<string, unknown> => (secret === undefined ? { secret: makeSecret() } : {}),
} as const;

/** Gives the name of a webhook that comes without one, as in the file. */
export const UNNAMED_WEBHOOK = {
  words: "its URL's host",
  // What is wrong with its URL is told of the URL.
  of: ({ url }: Readonly<Record<string, unknown>>): string => {
    const name = webhookNameOf({ url: String(url) });
    return nameFaults(IDENTIFIERS, name, []).length === 0 ? name : "webhook";
  },
} as const;

/** Gives what the API tells beside a webhook. */
export const webhookState = (
  name: string,
  { webhooks, deliveries }: Pick<WebhooksAdminDeps, "webhooks" | "deliveries">,
): Static<typeof WebhookState> => ({
  waiting: deliveries.waiting(name),
  oldest: timeText(deliveries.oldest(name)),
  isGone: webhooks.isGone(name),
});

/** Gives the endpoints about deliveries; those of the records are as all records have them. */
export const webhooksAdmin = ({ webhooks, deliveries, documents }: WebhooksAdminDeps) =>
  new Elysia({ prefix: `/${KINDS.webhook.path}`, tags: ["webhooks"], normalize: false })
    .get(
      "/:id/deliveries",
      ({ params, query }) => {
        documents.require(params.id);
        const { limit, after } = pageOf(query);
        const before = after === "" ? Number.MAX_SAFE_INTEGER : Number(after);
        const found = deliveries.page(params.id, stateOf(query.state), Number.isSafeInteger(before) ? before : 0, limit);
        return pageFrom(
          found.map((delivery) => ({ ...shown(delivery), seq: delivery.seq })),
          limit,
          ({ seq }) => String(seq),
        );
      },
      {
        params: ById,
        query: Query,
        detail: {
          summary: "List a webhook's deliveries",
          description: "The newest first: what waits, and the last 1,000 that have ended within seven days. Of this instance.",
          responses: { 200: jsonOf(Page(DeliveryRecord)) },
        },
      },
    )
    .post(
      "/:id/test",
      async ({ params, request }) => {
        const event = eventNameOf((await readOptional(request, TestBody)).event);
        const { error, ...rest } = await webhooks.test(params.id, event);
        return { delivered: error === null, event, error, ...rest };
      },
      {
        // Elysia has no word for a body that may be left out: it is read and checked in the handler.
        parse: "none",
        params: ById,
        detail: {
          requestBody: optionalBody(TestBody),
          summary: "Send a sample of an event",
          description:
            "Signed as others are, sent once, at once, and kept nowhere. The answer tells the receiver's. The body may be left out.",
          responses: { 200: jsonOf(TestResult) },
        },
      },
    )
    .post(
      "/:id/rotate",
      async ({ params, request }) => {
        const { keepOld } = await readOptional(request, RotationBody);
        return { name: params.id, secret: webhooks.rotate(params.id, keepOld) };
      },
      {
        parse: "none",
        params: ById,
        detail: {
          requestBody: optionalBody(RotationBody),
          summary: "Give a webhook another secret",
          description:
            "The secret before signs as well, so that the receiver can be changed meanwhile: set the new one alone after that. `keepOld: false` ends the one before at once. The body may be left out.",
          responses: { 200: jsonOf(RotatedSecret) },
        },
      },
    )
    .post(
      "/deliveries/:id/redeliver",
      ({ params, set }) => {
        set.status = 202;
        return shown(webhooks.redeliver(params.id));
      },
      {
        params: Type.Object({ id: Type.String({ description: "The delivery's id." }) }),
        detail: {
          summary: "Deliver an event again",
          description: "With the same id and body, as if it had come now: up to eight tries.",
          responses: { 202: jsonOf(DeliveryRecord, "It is tried at once") },
        },
      },
    );

function stateOf(text: string | undefined): Delivery["state"] | null {
  if (text === undefined) return null;
  const state = STATES.find((each) => each === text);
  if (state === undefined) throw invalid([{ path: ["state"], message: `must be one of ${STATES.join(", ")}` }]);
  return state;
}

function eventNameOf(text: string): EventName {
  const name = EVENT_NAMES.find((each) => each === text);
  if (name === undefined)
    throw invalid([{ path: ["event"], message: `there is no event ${JSON.stringify(text)}${orNearest(text, EVENT_NAMES)}` }]);
  return name;
}

/** Reads a body that may be left out. Throws 400 for what is no JSON, 422 for what its schema does not take. */
async function readOptional<T extends TSchema>(request: Request, schema: T): Promise<Static<T>> {
  const text = await request.text();
  let body: unknown = {};
  try {
    if (text !== "") body = JSON.parse(text);
  } catch {
    throw new ParseError();
  }
  const { value, faults } = fillIn(schema, body);
  if (faults.length > 0) throw invalid(faults);
  // The schema has no faults to tell: it is what it describes.
  return value as Static<T>;
}

const optionalBody = (schema: TSchema) => ({ required: false, content: { "application/json": { schema } } });
