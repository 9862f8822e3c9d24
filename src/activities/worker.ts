import { RedisLink } from "../redis/link.ts";
import type { RedisConfig } from "../redis/settings.ts";
import { isWithoutRoom } from "../storage/faults.ts";
import { systemClock } from "../values/clock.ts";
import { type ActivityDatabase, openActivities } from "./database.ts";
import { ActivityEngine, type ActivityPolicy } from "./engine.ts";
import type { Answer, Question, Values } from "./protocol.ts";
import { RedisQueue } from "./redis-queue.ts";
import { SqliteQueue } from "./sqlite-queue.ts";
import { SqliteSink } from "./sqlite-sink.ts";

// Entry point of a thread of its own: commits that wait for the disk, and transactions of a thousand rows, would hold up requests.

declare const self: Worker & { postMessage(answer: Answer): void };

let engine: ActivityEngine | null = null;
let database: ActivityDatabase | null = null;
let link: RedisLink | null = null;
/** Bodies that came since the last commit: one commit is for all of them. */
let bodies: { readonly id: number; readonly text: string }[] = [];
let isCommitting = false;
let timer: Timer | null = null;
let isWorking = false;
let isClosed = false;
let opening: Promise<void> = Promise.resolve();
let wasWell = true;
/** True while there is no room to open the database. */
let isWaiting = false;
/** The milliseconds after which opening is tried again. */
const OPEN_AGAIN_AFTER = 1000;

const say = (answer: Answer): void => self.postMessage(answer);
const reply = <K extends keyof Values>(_to: K, id: number, value: Values[K]): void => say({ kind: "answer", id, value });
const said = (error: unknown): string => (error instanceof Error ? error.message : String(error));

self.onmessage = ({ data }: MessageEvent<Question>) => {
  answer(data).catch((error: unknown) => {
    if ("id" in data) say({ kind: "fault", id: data.id, message: said(error) });
  });
};

async function open(path: string, policy: ActivityPolicy, redis: RedisConfig | null): Promise<void> {
  try {
    database = openActivities(path);
    if (redis !== null) {
      link = new RedisLink({
        config: redis,
        clock: systemClock,
        onChange: (isUp, why) => {
          if (!isUp) say({ kind: "trouble", message: `Redis is lost: ${why}`, attempts: 0 });
          else say({ kind: "fine" });
          if (isUp) workSoon(0);
        },
      });
      await link.tried;
    }
    engine = new ActivityEngine({
      database,
      queue: link === null ? new SqliteQueue(database.durable, database.quick) : new RedisQueue(link),
      sink: new SqliteSink(database.quick),
      clock: systemClock,
      policy,
      onTrouble: (message, attempts) => say({ kind: "trouble", message, attempts }),
    });
    setInterval(prune, 60_000);
    say({ kind: "opened", fault: null });
    if (isWaiting) say({ kind: "fine" });
    isWaiting = false;
    workSoon(0);
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
    say({ kind: "trouble", message: said(error), attempts: 0 });
    setTimeout(() => {
      if (!isClosed) opening = open(path, policy, redis);
    }, OPEN_AGAIN_AFTER);
  }
}

async function answer(question: Question): Promise<void> {
  if (question.kind === "open") {
    opening = open(question.path, question.policy, question.redis);
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
      bodies.push({ id: question.id, text: question.body });
      if (!isCommitting) {
        isCommitting = true;
        // What else has arrived by then goes into the same commit.
        setImmediate(commit);
      }
      return;
    case "failures":
      reply("failures", question.id, engine.failures(question.before, question.limit));
      return;
    case "replay": {
      reply("replay", question.id, await engine.replay(question.of));
      workSoon(0);
      return;
    }
    case "stats":
      reply("stats", question.id, await engine.stats());
      return;
    case "close":
      await commit();
      isClosed = true;
      engine = null;
      link?.close();
      reply("close", question.id, database?.close() ?? true);
  }
}

async function commit(): Promise<void> {
  const taken = bodies;
  bodies = [];
  try {
    if (taken.length === 0 || engine === null) return;
    const admissions = await engine.take(taken.map(({ text }) => text));
    for (const [i, { id }] of taken.entries()) {
      const admission = admissions[i];
      if (admission !== undefined) reply("take", id, admission);
    }
    workSoon(0);
  } catch (error) {
    // Nothing of it was written: each is told so.
    for (const { id } of taken) say({ kind: "fault", id, message: said(error) });
  } finally {
    isCommitting = bodies.length > 0;
    if (isCommitting) setImmediate(commit);
  }
}

function workSoon(wait: number): void {
  if (isWorking || isClosed) return;
  if (timer !== null) clearTimeout(timer);
  timer = wait === 0 ? null : setTimeout(work, Math.min(wait, 60_000));
  if (wait === 0) {
    isWorking = true;
    setImmediate(work);
  }
}

function work(): void {
  isWorking = true;
  if (engine === null) return;
  engine.work().then(
    (wait) => {
      isWorking = false;
      const isWell = engine?.isWell ?? true;
      if (isWell && !wasWell) say({ kind: "fine" });
      wasWell = isWell;
      if (Number.isFinite(wait)) workSoon(wait);
    },
    (error: unknown) => {
      isWorking = false;
      say({ kind: "trouble", message: said(error), attempts: 0 });
      workSoon(1000);
    },
  );
}

function prune(): void {
  try {
    if (engine?.prune() === true) setTimeout(prune, 100);
  } catch (error) {
    say({ kind: "trouble", message: said(error), attempts: 0 });
  }
}
