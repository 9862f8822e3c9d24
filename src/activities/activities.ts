import type { Answer as ExchangeAnswer } from "../exchange/answer.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { type Body, collect, through } from "../http/body.ts";
import { type Problem, passing, problem } from "../http/problem.ts";
import { jsonReply } from "../http/reply.ts";
import type { Reply } from "../http/server.ts";
import type { RedisConfig } from "../redis/settings.ts";
import { isWithoutRoom } from "../storage/faults.ts";
import { shareFiles } from "../storage/files.ts";
import { StorageError } from "../storage/open.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import { parseDuration, parseSize } from "../values/units.ts";
import type { Failure } from "./activity-log.ts";
import { openActivities } from "./database.ts";
import type { ActivityPolicy, ActivityStats, Admission } from "./engine.ts";
import type { Answer, Question, Values } from "./protocol.ts";
import type { ActivitiesConfig } from "./settings.ts";

export interface ActivitiesDeps {
  readonly path: string;
  /** The path of the gateway's own database, which `path` may not lead to. */
  readonly databasePath: string;
  /** The address of the thread's entry point. */
  readonly worker: string;
  readonly policy: ActivityPolicy;
  /** Redis, which then holds the queue; `null`: the queue is in the file. */
  readonly redis: RedisConfig | null;
  /** Gives the bytes that one batch may have. */
  readonly maxBodySize: () => number;
  /** Tells that activities can't be applied for now, that there is no room for more, or that there is some again. */
  readonly emit: Emit;
}

/** The bytes of all bodies together that are on their way into the queue; beyond them batches are refused. */
const MAX_UNDER_WAY = 64 * 1024 * 1024;

/**
 * Finds out at the start what would otherwise fail each batch, and refuses the gateway's own database, in which whoever may send activities
 * could make themselves admin. `databasePath`: where that is. Throws `StorageError`.
 */
export function checkUsable(path: string, databasePath: string): void {
  if (path === ":memory:") return;
  if (shareFiles(path, databasePath))
    throw new StorageError(`${path} leads to the gateway's own database (${databasePath}): name another file by activities.path`);
  try {
    openActivities(path).close();
  } catch (error) {
    // On a disk that is full the gateway serves without taking activities in, until there is room.
    if (isWithoutRoom(error)) return;
    throw new StorageError(
      `${path}, where activities are kept, can't be used (${error instanceof Error ? error.message : String(error)}): check its folder's owner and permissions, or name another file by activities.path`,
    );
  }
}

export const compileActivities = (config: ActivitiesConfig): ActivityPolicy => ({
  maxBacklog: config.maxBacklog,
  maxBacklogSize: parseSize(config.maxBacklogSize),
  maxSize: config.maxSize === null ? null : parseSize(config.maxSize),
  attempts: config.attempts,
  baseDelay: parseDuration(config.baseDelay),
  maxDelay: parseDuration(config.maxDelay),
  keepFor: config.keepFor === null ? null : parseDuration(config.keepFor),
});

const fullBacklog = (): Problem => passing("backlogFull", "Too many activities wait to be applied: send the batch again later.", 5);

const fullDatabase = (): Problem =>
  passing("backlogFull", "There is no room for more activities: ask the operator, or send the batch again later.", 60);

const unavailable = (): Problem => passing("queueUnavailable", "The batch can't be written at the moment: send it again later.", 5);

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** Says that too many bytes are on their way at once. */
class Crowded extends Error {}

/** Says that the thread could not do what it was asked: the disk is full, or the like. */
class Undone extends Error {}

/** Gives a body whose bytes are counted as they come; it breaks off when `count` gives false. */
const counted = (body: Body, count: (bytes: number) => boolean): Body =>
  through(body, (bytes, sink) => {
    if (count(bytes.length)) return sink.write(bytes);
    body.cancel();
    sink.fail(new Crowded("too much at once"));
    return true;
  });

/** Answers `POST /api/activities`, and what the admin API asks about it. The work is done by a thread of its own. */
export class Activities {
  private readonly worker: Worker;
  private readonly asked = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  private next = 0;
  private underWay = 0;
  private failure: Error | null = null;
  private trouble: string | null = null;
  private isFull = false;

  /** Opens the file and starts the thread. Throws `StorageError` when the file can't be used. */
  constructor(private readonly deps: ActivitiesDeps) {
    checkUsable(deps.path, deps.databasePath);
    this.worker = new Worker(deps.worker);
    this.worker.onmessage = ({ data }: MessageEvent<Answer>) => this.receive(data);
    this.worker.onerror = (event) => this.broke(new Error(event.message));
    this.worker.unref();
    this.post({ kind: "open", path: deps.path, policy: deps.policy, redis: deps.redis });
  }

  configure(policy: ActivityPolicy): void {
    this.post({ kind: "policy", policy });
  }

  /** Answers one request, whose caller may call. Rejects when the body breaks off or the batch can't be written. */
  async answer(exchange: Exchange): Promise<ExchangeAnswer> {
    const answer = await this.admit(exchange);
    return "code" in answer ? { kind: "problem", problem: answer } : { kind: "reply", reply: answer };
  }

  private async admit(exchange: Exchange): Promise<Reply | Problem> {
    const { body } = exchange;
    const { head } = exchange.incoming;
    if (this.failure !== null) return unavailable();
    const stated = Math.max(0, head.contentLength);
    if (this.underWay + stated > MAX_UNDER_WAY) return fullBacklog();
    let size = stated;
    this.underWay += size;
    try {
      const bytes =
        body === null
          ? new Uint8Array()
          : await collect(
              counted(body, (more) => {
                // What was not stated beforehand is counted as it comes.
                if (stated > 0) return true;
                size += more;
                this.underWay += more;
                return this.underWay <= MAX_UNDER_WAY;
              }),
              this.deps.maxBodySize(),
            );
      let text: string;
      try {
        text = UTF8.decode(bytes);
      } catch {
        return problem("badRequest", "The body is not UTF-8, as JSON has to be (RFC 8259, section 8.1).");
      }
      const admission = await this.ask({ kind: "take", id: this.next++, body: text });
      this.trouble = null;
      if (admission.kind !== "invalid") this.sayFull(admission.kind === "full" && admission.what === "database");
      return reply(admission);
    } catch (error) {
      if (error instanceof Crowded) return fullBacklog();
      if (error instanceof Undone) return unavailable();
      throw error;
    } finally {
      this.underWay -= size;
    }
  }

  stats(): Promise<ActivityStats> {
    return this.ask({ kind: "stats", id: this.next++ });
  }

  failures(before: string, limit: number): Promise<readonly Failure[]> {
    return this.ask({ kind: "failures", id: this.next++, before, limit });
  }

  replay(of: string): Promise<{ replayed: number; states: string[] } | null> {
    return this.ask({ kind: "replay", id: this.next++, of });
  }

  /** Gives the reason why batches are not taken or not applied; `null` when they are. */
  get fault(): string | null {
    return this.failure === null ? this.trouble : this.failure.message;
  }

  /**
   * Ends when what was accepted is written down; what waits is applied after the next start. Gives true when the database is whole in its
   * one file.
   */
  async close(): Promise<boolean> {
    const isWhole = this.failure !== null || (await this.ask({ kind: "close", id: this.next++ }).catch(() => false));
    this.worker.terminate();
    return isWhole;
  }

  private sayFull(isFull: boolean): void {
    if (isFull === this.isFull) return;
    this.isFull = isFull;
    this.deps.emit({ type: "activitiesFull", isFull });
  }

  private tellTrouble(message: string, attempts: number): void {
    this.deps.emit({ type: "activitiesTrouble", message, attempts });
  }

  private post(question: Question): void {
    this.worker.postMessage(question);
  }

  /** Asks the thread and gives its answer. Rejects with `Undone` when the thread could not do it. */
  private ask<K extends keyof Values>(question: Extract<Question, { id: number }> & { kind: K }): Promise<Values[K]> {
    if (this.failure !== null) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.asked.set(question.id, { resolve: resolve as (value: unknown) => void, reject });
      this.post(question);
    });
  }

  private receive(answer: Answer): void {
    if (answer.kind === "fine") {
      this.trouble = null;
      return;
    }
    if (answer.kind === "opened") {
      if (answer.fault !== null) this.broke(new Error(`${this.deps.path} can't be used: ${answer.fault}`));
      return;
    }
    if (answer.kind === "trouble") {
      this.trouble = answer.message;
      this.tellTrouble(answer.message, answer.attempts);
      return;
    }
    const asked = this.asked.get(answer.id);
    this.asked.delete(answer.id);
    if (answer.kind === "fault") {
      // Each batch that can't be taken would say the same.
      if (this.trouble !== answer.message) this.tellTrouble(answer.message, 0);
      this.trouble = answer.message;
      asked?.reject(new Undone(answer.message));
    } else asked?.resolve(answer.value);
  }

  private broke(error: Error): void {
    this.failure = error;
    this.tellTrouble(error.message, 0);
    for (const { reject } of this.asked.values()) reject(error);
    this.asked.clear();
  }
}

function reply(admission: Admission): Reply | Problem {
  if (admission.kind === "accepted")
    return jsonReply(202, { message: "ok", id: admission.id, accepted: admission.accepted }, "Cache-Control: no-store\r\n");
  if (admission.kind === "full") return admission.what === "database" ? fullDatabase() : fullBacklog();
  if (!admission.isJson) return problem("badRequest", 'The body is not JSON: send { "activities": [ … ] }.');
  return problem("validationFailed", "Nothing of the batch was accepted: mend what `errors` names, and send it again.", {
    errors: admission.faults,
  });
}
