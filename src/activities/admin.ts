import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Audit } from "../audit/audit.ts";
import { PageQuery, pageFrom, pageOf, Since } from "../http/conventions.ts";
import { notFound, refused } from "../http/refused.ts";
import type { Activities } from "./activities.ts";

const count = (description: string) => Type.Integer({ description });
const rate = (description: string) => Type.Number({ description });
const ById = Type.Object({ id: Type.String({ description: "An activity's id, or a batch's for all that failed of it." }) });

const Failure = Type.Object({
  id: Type.String({ description: "The activity's id: its batch's, and its place in it." }),
  state: Type.String({
    description:
      "failed: it can be replayed. replaying: it waits to be tried again. rejected: the batch was refused when it came, and can't be.",
  }),
  payload: Type.Unknown({ description: "What was sent." }),
  createdAt: Since("When it was sent."),
  error: Type.Union([Type.String(), Type.Null()], { description: "What was wrong." }),
});

const QueueState = Type.Object({
  backlog: Type.Object(
    {
      activities: count("Activities that wait to be applied."),
      batches: count("Batches that they came in."),
      size: count("Bytes of those batches."),
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
  accepted: count("Activities accepted since the start."),
  applied: count("Activities that took effect since the start."),
  failed: count("Activities that failed since the start."),
  rejected: count("Batches that were refused as invalid since the start."),
  trouble: Type.Union([Type.String(), Type.Null()], { description: "Why nothing can be applied at the moment." }),
  items: Type.Array(Failure, { description: "What failed or was refused, the newest first." }),
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
        const [stats, failures] = await Promise.all([activities.stats(), activities.failures(after, limit)]);
        const { waiting, waitingBatches, waitingSize, lag, acceptedRate, appliedRate, failedRate, rejectedRate, ...counts } = stats;
        const page = pageFrom(failures, limit, (failure) => failure.id);
        return {
          backlog: { activities: waiting, batches: waitingBatches, size: waitingSize, lag },
          rates: { accepted: acceptedRate, applied: appliedRate, failed: failedRate, rejected: rejectedRate },
          ...counts,
          items: page.items.map((failure) => ({ ...failure, payload: parsed(failure.payload) })),
          nextCursor: page.nextCursor,
        };
      },
      {
        query: PageQuery,
        response: QueueState,
        detail: { summary: "The queue's state, and what failed" },
      },
    )
    .post(
      "/:id/replay",
      async ({ params: { id }, set }) => {
        const result = await required().replay(id);
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
        response: { 202: Type.Object({ replayed: count("Activities that will be tried again.") }) },
        detail: {
          summary: "Replay what failed",
          description: "An activity, or all that failed of a batch. It keeps its id, and takes effect once.",
        },
      },
    );
};

function parsed(payload: string): unknown {
  try {
    return JSON.parse(payload);
  } catch {
    return payload;
  }
}
