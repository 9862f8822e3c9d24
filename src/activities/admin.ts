import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Audit } from "../audit/audit.ts";
import { PageQuery, pageFrom, pageOf, Since } from "../http/conventions.ts";
import { notFound, refused } from "../http/refused.ts";
import { type Activities, Undone } from "./activities.ts";
import type { SinkState } from "./follower.ts";

const count = (description: string) => Type.Integer({ description });
const rate = (description: string) => Type.Number({ description });
const ById = Type.Object({ id: Type.String({ description: "An activity's id, or a batch's for all that failed of it." }) });

const SinkQuery = { sink: Type.Optional(Type.String({ maxLength: 128, description: "The sink that is meant, by its name." })) };

const Failure = Type.Object({
  id: Type.String({ description: "The activity's id: its batch's, and its place in it." }),
  state: Type.String({
    description:
      "failed: it can be replayed. replaying: it waits to be tried again. rejected: the batch was refused when it came, and can't be.",
  }),
  payload: Type.Unknown({ description: "What was sent." }),
  createdAt: Since("When it was tried, or refused."),
  error: Type.Union([Type.String(), Type.Null()], { description: "What was wrong." }),
});

const SinkStateShape = Type.Object({
  name: Type.String({ description: "Its name." }),
  type: Type.String({ description: "sqlite, postgres, bigquery or kafka." }),
  delivery: Type.String({ description: "once: each activity takes effect once. atLeastOnce: it may be written twice, under one id." }),
  state: Type.String({
    description: "following. catchingUp: it reads what was accepted before it was there. away: nothing can be applied to it at the moment.",
  }),
  applied: count("Activities that took effect in it since the start."),
  failed: count("Activities that failed in it since the start."),
  waiting: Type.Union([count("Activities that wait for it."), Type.Null()], {
    description: "null: it is not known yet, since the queue could not be asked.",
  }),
  lag: Type.Union([rate("How long the oldest of them waits, in milliseconds."), Type.Null()], { description: "null: as of `waiting`." }),
  lastError: Type.Union(
    [Type.Object({ at: Since("When that was."), message: Type.String({ description: "What was wrong." }) }), Type.Null()],
    { description: "Why something could not be applied the last time; null: there was nothing since the start." },
  ),
});

const QueueState = Type.Object({
  backlog: Type.Object(
    {
      activities: count("Activities that wait for the slowest sink."),
      batches: Type.Union([count("Batches that they came in."), Type.Null()], { description: "null: the queue does not count them." }),
      size: Type.Union([count("Bytes of those batches."), Type.Null()], { description: "null: the queue does not count them." }),
      lag: rate("How long the oldest of them waits, in milliseconds."),
    },
    { description: "What waits." },
  ),
  rates: Type.Object(
    {
      accepted: rate("Accepted."),
      applied: rate("Took effect."),
      failed: rate("Failed."),
      rejected: rate("Batches that were refused as invalid."),
    },
    { description: "Activities a second, over the last minute." },
  ),
  callers: count("Callers that posted a batch within the last minute: consumers, and addresses of those who are nobody; 10,000 at most."),
  accepted: count("Activities accepted since the start."),
  applied: count("Activities that took effect since the start."),
  failed: count("Activities that failed since the start."),
  rejected: count("Batches that were refused as invalid since the start."),
  trouble: Type.Union([Type.String(), Type.Null()], { description: "Why nothing can be applied to one of the sinks at the moment." }),
  queue: Type.Object(
    {
      kind: Type.String({ description: "embedded, redis or kafka." }),
      trouble: Type.Union([Type.String(), Type.Null()], { description: "Why batches can't be put into it at the moment." }),
    },
    { description: "Where batches wait." },
  ),
  sinks: Type.Array(SinkStateShape, { description: "Where activities take effect, in the order of the configuration." }),
  items: Type.Array(Failure, { description: "What failed or was refused, the newest first." }),
  itemsTrouble: Type.Union([Type.String(), Type.Null()], { description: "Why that can't be listed at the moment." }),
  nextCursor: Type.Union([Type.String(), Type.Null()], { description: "For ?cursor= of the next page; null on the last one." }),
});

/** Gives the endpoints of activities. `current`: `null` while the configuration has none. */
export const activitiesAdmin = (current: () => Activities | null, audit: Audit) => {
  const required = (): Activities => {
    const activities = current();
    if (activities === null) throw refused("notFound", 'Activities are off: put "activities": {} into the configuration.');
    return activities;
  };
  return new Elysia({ prefix: "/activities", tags: ["activities"], normalize: false })
    .get(
      "/",
      async ({ query }) => {
        const activities = required();
        const { limit, after } = pageOf(query);
        const [stats, failures] = await Promise.all([activities.stats(), activities.failures(query.sink ?? null, after, limit + 1)]);
        if (failures === null) throw noSink(query.sink, activities);
        const { waiting, waitingBatches, waitingSize, lag, acceptedRate, appliedRate, failedRate, rejectedRate, sinks, ...counts } = stats;
        const page = pageFrom(failures.items, limit, (failure) => failure.place);
        return {
          backlog: { activities: waiting, batches: waitingBatches, size: waitingSize, lag },
          rates: { accepted: acceptedRate, applied: appliedRate, failed: failedRate, rejected: rejectedRate },
          ...counts,
          sinks: sinks.map(shown),
          items: page.items.map(({ place: _, payload, ...failure }) => ({ ...failure, payload: parsed(payload) })),
          itemsTrouble: failures.trouble,
          nextCursor: page.nextCursor,
        };
      },
      {
        query: Type.Object({ ...PageQuery.properties, ...SinkQuery }),
        response: QueueState,
        detail: {
          summary: "The state of queue and sinks, and what failed",
          description: "Lists what failed in the sink of ?sink=, or what failed or was refused by the log where none is named.",
        },
      },
    )
    .post(
      "/:id/replay",
      async ({ params: { id }, query, set }) => {
        const activities = required();
        if (query.sink !== undefined && !activities.sinks.includes(query.sink)) throw noSink(query.sink, activities);
        const result = await activities.replay(id, query.sink ?? null).catch((error: unknown) => {
          throw error instanceof Undone ? refused("queueUnavailable", `It can't be tried again at the moment: ${error.message}.`) : error;
        });
        if (result === null) throw notFound("activity", id);
        if (result.replayed === 0)
          throw refused(
            "conflict",
            result.states.includes("rejected")
              ? "The batch was refused when it came: send it again, mended."
              : result.states.includes("replaying")
                ? "It waits to be tried again already."
                : "It took effect already.",
          );
        audit.note({ action: "activities.replay", subject: `activity ${id}`, after: { replayed: result.replayed } });
        set.status = 202;
        return { replayed: result.replayed };
      },
      {
        params: ById,
        query: Type.Object(SinkQuery),
        response: { 202: Type.Object({ replayed: count("Activities that will be tried again.") }) },
        detail: {
          summary: "Replay what failed",
          description:
            "An activity, or all that failed of a batch, in the sink of ?sink= or wherever it failed. It keeps its id, and takes effect once.",
        },
      },
    );
};

const noSink = (name: string | undefined, { sinks }: Activities) =>
  refused("notFound", `There is no sink ${JSON.stringify(name)}: there are ${sinks.join(", ")}.`);

const shown = ({ name, type, delivery, state, applied, failed, waiting, lag, lastError }: SinkState) => ({
  name,
  type,
  delivery,
  state,
  applied,
  failed,
  waiting,
  lag,
  lastError: lastError === null ? null : { ...lastError, at: new Date(lastError.at).toISOString() },
});

function parsed(payload: string): unknown {
  try {
    return JSON.parse(payload);
  } catch {
    return payload;
  }
}
