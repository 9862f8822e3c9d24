import { RedisLink } from "../redis/link.ts";
import type { RedisConfig } from "../redis/settings.ts";
import { isWithoutRoom } from "../storage/faults.ts";
import { systemClock } from "../values/clock.ts";
import { type ActivityDatabase, openActivities } from "./database.ts";
import { ActivityEngine, type ActivityPolicy } from "./engine.ts";
import type { Post } from "./intake.ts";
import { Loop } from "./loop.ts";
import type { Answer, Opening, Question, Values } from "./protocol.ts";
import { KafkaQueue } from "./queues/kafka.ts";
import type { ActivityQueue } from "./queues/queue.ts";
import { RedisQueue } from "./queues/redis.ts";
import { SharedKeys } from "./queues/shared-keys.ts";
import { SqliteQueue } from "./queues/sqlite.ts";
import { openSinks } from "./sinks/open.ts";

// Entry point of a thread of its own: commits that wait for the disk, and transactions of a thousand rows, would hold up requests.

declare const self: Worker & { postMessage(answer: Answer): void };

let engine: ActivityEngine | null = null;
let database: ActivityDatabase | null = null;
let link: RedisLink | null = null;
/** One for each sink, and one that hands refused batches on. */
let loops: readonly Loop[] = [];
/** What came since the last commit: one commit is for all of it. */
let posts: { readonly id: number; readonly post: Post }[] = [];
let isCommitting = false;
let isClosed = false;
let opening: Promise<void> = Promise.resolve();
/** True while there is no room to open the database. */
let isWaiting = false;
/** The milliseconds after which opening is tried again. */
const OPEN_AGAIN_AFTER = 1000;
/** The milliseconds after which what went wrong unexpectedly is tried again. */
const AGAIN_AFTER = 1000;

const WEEK = 7 * 86_400_000;
/** The milliseconds that what is under way may take at the end. */
const STOP_WITHIN = 3000;

const say = (answer: Answer): void => self.postMessage(answer);
const reply = <K extends keyof Values>(_to: K, id: number, value: Values[K]): void => say({ kind: "answer", id, value });
const said = (error: unknown): string => (error instanceof Error ? error.message : String(error));

self.onmessage = ({ data }: MessageEvent<Question>) => {
  answer(data).catch((error: unknown) => {
    if ("id" in data) say({ kind: "fault", id: data.id, message: said(error) });
  });
};

async function open(where: Opening, policy: ActivityPolicy): Promise<void> {
  try {
    database = openActivities(where.path);
    const queue = await openQueue(where, database, policy.keepFor);
    const { path, databasePath } = where;
    const onTrouble = (sink: string, message: string): void => say({ kind: "notice", sink, message });
    engine = new ActivityEngine({
      database,
      queue,
      sharedKeys: where.queue === "embedded" || where.redis === null ? null : new SharedKeys(openLink(where.redis, () => {})),
      ...openSinks(where.sinks, { path, databasePath, database, queue, clock: systemClock, onTrouble }),
      clock: systemClock,
      policy,
      onTrouble: (sink, message, attempts) => say({ kind: "trouble", sink, message, attempts }),
    });
    loops = loopsOf(engine);
    setInterval(prune, 60_000);
    say({ kind: "opened", fault: null });
    if (isWaiting) say({ kind: "fine", sink: null });
    isWaiting = false;
    // It was away before there was anybody to tell.
    if (link !== null && !link.isUp) tellQueue(false, `Redis can't be reached${link.trouble === null ? "" : `: ${link.trouble}`}`);
    wake();
  } catch (error) {
    link?.close();
    link = null;
    database = null;
    if (!isWithoutRoom(error)) {
      say({ kind: "opened", fault: said(error) });
      return;
    }
    // Requests are served meanwhile; nothing is taken in until there is room.
    isWaiting = true;
    say({ kind: "trouble", sink: null, message: said(error), attempts: 0 });
    setTimeout(() => {
      if (!isClosed) opening = open(where, policy);
    }, OPEN_AGAIN_AFTER);
  }
}

async function openQueue({ queue, redis }: Opening, { durable, quick }: ActivityDatabase, keepFor: number | null): Promise<ActivityQueue> {
  if (queue !== "embedded")
    return new KafkaQueue({
      config: queue.kafka,
      // What a sink has not read by then is gone.
      keepFor: keepFor === null ? null : Math.max(keepFor, WEEK),
      onArrival: (sink) => loops[engine?.followers.findIndex(({ name }) => name === sink) ?? -1]?.wake(),
      onChange: tellQueue,
      onStrange: (message) => say({ kind: "notice", sink: null, message }),
    });
  if (redis === null) return new SqliteQueue(durable, quick);
  const shared = openLink(redis, (isUp, why) => tellQueue(isUp, `Redis is lost: ${why}`));
  await shared.tried;
  return new RedisQueue(shared);
}

function openLink(config: RedisConfig, onChange: (isUp: boolean, why: string) => void): RedisLink {
  link = new RedisLink({ config, clock: systemClock, onChange });
  return link;
}

/** Tells that the queue is lost, or is back. */
function tellQueue(isUp: boolean, why: string): void {
  if (engine !== null) engine.queueTrouble = isUp ? null : why;
  if (!isUp) say({ kind: "trouble", sink: null, message: why, attempts: 0 });
  else {
    say({ kind: "fine", sink: null });
    wake();
  }
}

/** Gives what goes on by itself: each sink follows the queue, and none waits for another. */
function loopsOf(engine: ActivityEngine): readonly Loop[] {
  const following = engine.followers.map((follower) => {
    let wasWell = true;
    return new Loop(
      async () => {
        const wait = await engine.workOf(follower);
        const isWell = follower.fault === null;
        if (isWell && !wasWell) say({ kind: "fine", sink: follower.name });
        wasWell = isWell;
        return wait;
      },
      (error) => {
        wasWell = false;
        say({ kind: "trouble", sink: follower.name, message: said(error), attempts: 0 });
        return AGAIN_AFTER;
      },
    );
  });
  // Whoever keeps the log says by itself that it is away.
  const handing = new Loop(
    async () => ((await engine.flush()) ? 0 : Number.POSITIVE_INFINITY),
    () => 10 * AGAIN_AFTER,
  );
  return [...following, handing];
}

function wake(): void {
  if (!isClosed) for (const loop of loops) loop.wake();
}

async function answer(question: Question): Promise<void> {
  if (question.kind === "open") {
    opening = open(question.opening, question.policy);
    return;
  }
  await opening;
  if (engine === null) {
    if (question.kind === "close") isClosed = true;
    throw new Error(isWaiting ? "the disk of the activities' database is full" : "the activities' database is not open");
  }
  switch (question.kind) {
    case "policy":
      engine.policy = question.policy;
      return;
    case "take":
      posts.push({ id: question.id, post: question.post });
      if (!isCommitting) {
        isCommitting = true;
        // What else has arrived by then goes into the same commit.
        setImmediate(commit);
      }
      return;
    case "failures":
      reply("failures", question.id, await engine.failures(question.sink, question.place, question.limit));
      return;
    case "replay": {
      reply("replay", question.id, await engine.replay(question.of, question.sink));
      wake();
      return;
    }
    case "stats":
      reply("stats", question.id, await engine.stats());
      return;
    case "close": {
      await commit();
      isClosed = true;
      const closing = engine;
      engine = null;
      // What hangs is delivered again after the next start.
      await Promise.race([Promise.all(loops.map((loop) => loop.stop())), Bun.sleep(STOP_WITHIN)]);
      await Promise.race([closing.close(), Bun.sleep(STOP_WITHIN)]);
      link?.close();
      reply("close", question.id, database?.close() ?? true);
    }
  }
}

async function commit(): Promise<void> {
  const taken = posts;
  posts = [];
  try {
    if (taken.length === 0 || engine === null) return;
    const admissions = await engine.take(taken.map(({ post }) => post));
    for (const [i, { id }] of taken.entries()) {
      const admission = admissions[i];
      if (admission !== undefined) reply("take", id, admission);
    }
    wake();
  } catch (error) {
    // Nothing of it was written: each is told so.
    for (const { id } of taken) say({ kind: "fault", id, message: said(error) });
  } finally {
    isCommitting = posts.length > 0;
    if (isCommitting) setImmediate(commit);
  }
}

let hasPruneFailed = false;

function prune(): void {
  engine?.prune().then(
    (hasMore) => {
      if (hasPruneFailed) say({ kind: "fine", sink: null });
      hasPruneFailed = false;
      if (hasMore) setTimeout(prune, 100);
    },
    (error: unknown) => {
      hasPruneFailed = true;
      say({ kind: "trouble", sink: null, message: said(error), attempts: 0 });
    },
  );
}
