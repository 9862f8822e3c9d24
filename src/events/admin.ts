import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { invalid, refused } from "../http/refused.ts";
import { EVENT_TYPES, type EventFilter, type EventHub, type EventType, MAX_A_SECOND, MAX_READERS } from "./hub.ts";

/** Bytes that may wait for a reader before it counts as too slow. */
const MAX_WAITING = 256 * 1024;

const Query = Type.Object({
  type: Type.Optional(
    Type.String({
      description: `Only events of these types, joined by commas: ${EVENT_TYPES.join(", ")}.`,
      examples: ["limit,breaker"],
      shown: { pattern: `^(${EVENT_TYPES.join("|")})(,(${EVENT_TYPES.join("|")}))*$` },
    }),
  ),
  route: Type.Optional(Type.String({ description: "Only requests and limits of this route." })),
  consumer: Type.Optional(Type.String({ description: "Only requests and limits of this consumer." })),
  status: Type.Optional(
    Type.String({
      description: "Only requests with this status, or of this class; a limit counts as 429.",
      examples: ["429", "5xx"],
      shown: { pattern: "^[1-5]([0-9]{2}|xx)$" },
    }),
  ),
  sample: Type.Optional(
    Type.String({
      description: `The share of requests to show, 0 to 1 (1). Never more than ${MAX_A_SECOND} a second.`,
      examples: ["0.1"],
      shown: { type: "number", minimum: 0, maximum: 1, examples: [0.1] },
    }),
  ),
});

/** Gives the filter that a query asks for. Throws 422. */
function filterOf({ type, route, consumer, status, sample }: Static<typeof Query>): EventFilter {
  const types = type === undefined ? [] : type.split(",").map((each) => each.trim());
  const unknown = types.find((each) => !EVENT_TYPES.includes(each as EventType));
  if (unknown !== undefined)
    throw invalid([
      { path: ["type"], message: `there are no events of the type ${JSON.stringify(unknown)}: it must be ${EVENT_TYPES.join(", ")}` },
    ]);
  if (status !== undefined && !/^[1-5](\d\d|xx)$/i.test(status))
    throw invalid([{ path: ["status"], message: "must be a status such as 429, or a class of them such as 5xx" }]);
  const share = sample === undefined ? 1 : Number(sample);
  if (sample?.trim() === "" || !(share >= 0 && share <= 1)) throw invalid([{ path: ["sample"], message: "must be a number from 0 to 1" }]);
  return {
    types: types as EventType[],
    route: route ?? null,
    consumer: consumer ?? null,
    status: status === undefined ? null : Number.parseInt(status, 10),
    sample: share,
  };
}

/** Opens a stream of events for one reader. It breaks off when the reader is too slow, so that the gateway never waits for it. */
function streamOf(hub: EventHub, filter: EventFilter, mayStay: () => boolean): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let leave = (): void => {};
  return new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        // Something at once, so that the reader knows that it is heard.
        controller.enqueue(encoder.encode(":\n\n"));
        leave = hub.add(
          {
            filter,
            send: (text) => {
              if ((controller.desiredSize ?? 0) <= 0) {
                controller.error(new Error("the reader of the events is too slow"));
                return false;
              }
              controller.enqueue(encoder.encode(text));
              return true;
            },
            end: () => {
              // What a reader has not taken by now it never will.
              if (controller.desiredSize === MAX_WAITING) controller.close();
              else controller.error(new Error("the reader of the events is too slow"));
            },
          },
          mayStay,
        );
      },
      cancel: () => leave(),
    },
    new ByteLengthQueuingStrategy({ highWaterMark: MAX_WAITING }),
  );
}

/**
 * Gives the endpoint of live events. `watch` is called when somebody begins to read, with the request: what it gives tells, as
 * often as it is asked, whether they may still read.
 */
export const eventsAdmin = (hub: EventHub, watch: (request: Request) => () => boolean) =>
  new Elysia({ prefix: "/events", tags: ["events"], normalize: false }).get(
    "/",
    ({ query, request }) => {
      const filter = filterOf(query);
      if (hub.isFull)
        throw refused(
          "tooManyReaders",
          `Events are read by ${MAX_READERS} already, or the gateway stops: end one of them, or come again.`,
          [["Retry-After", "10"]],
        );
      return new Response(streamOf(hub, filter, watch(request)), {
        headers: { "content-type": "text/event-stream", "x-accel-buffering": "no" },
      });
    },
    {
      query: Query,
      detail: {
        responses: {
          200: {
            description: "Events, one after the other, until the reader leaves.",
            content: {
              "text/event-stream": {
                schema: { type: "string" },
                example:
                  'event: limit\ndata: {"type":"limit","at":"2026-11-21T11:12:27.269Z","requestId":"01a1fdce-be85-7755-8433-50e520793303","route":"shop","consumer":"acme","tier":"free","ip":"192.0.2.1","limits":[{"name":"per-minute","scope":"tier free","limit":20,"used":20,"shadow":false}]}\n\n',
              },
            },
          },
        },
        summary: "Live events (Server-Sent Events)",
        description:
          "Events of this instance: `request` (one that has ended), `limit` (a limit refused one, or would have in earnest), `breaker`, `target` (health checks), `health` (the system's status), `change` (what was done to the gateway, without the values), `pool` (a key rests, is refused, is back), `redis`. `skipped` counts the requests and limits left out since the last one shown. A reader that is too slow is dropped.",
      },
    },
  );
