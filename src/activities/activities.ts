import type { Answer as ExchangeAnswer } from "../exchange/answer.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { type Body, collect, through } from "../http/body.ts";
import { type Problem, passing, problem } from "../http/problem.ts";
import { jsonReply } from "../http/reply.ts";
import type { Reply } from "../http/server.ts";
import { isWithoutRoom } from "../storage/faults.ts";
import { shareFiles } from "../storage/files.ts";
import { StorageError } from "../storage/open.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { parseDuration, parseSize } from "../values/units.ts";
import { RecentCallers } from "./callers.ts";
import { openActivities } from "./database.ts";
import type { ActivityPolicy, ActivityStats, Failures } from "./engine.ts";
import type { Admission } from "./intake.ts";
import type { Answer, Opening, Question, Values } from "./protocol.ts";
import type { ActivitiesConfig } from "./settings.ts";
import { nameOf } from "./sinks/names.ts";

export interface ActivitiesDeps {
  readonly opening: Opening;
  /** The address of the thread's entry point. */
  readonly worker: string;
  readonly policy: ActivityPolicy;
  /** Gives the bytes that one batch may have. */
  readonly maxBodySize: () => number;
  readonly clock: Clock;
  /** Tells that activities can't be applied for now, that there is no room for more, or that there is some again. */
  readonly emit: Emit;
}

/** The bytes of all bodies together that are on their way into the queue; beyond them batches are refused. */
const MAX_UNDER_WAY = 64 * 1024 * 1024;
/** The most characters that an Idempotency-Key may have. */
const MAX_KEY = 255;

/**
 * Finds out at the start what would otherwise fail each batch, and refuses the gateway's own database, in which whoever may send activities
 * could make themselves admin. Throws `StorageError`.
 */
export function checkUsable({ path, databasePath, sinks }: Pick<Opening, "path" | "databasePath" | "sinks">): void {
  checkFile(path, databasePath, "activities.path");
  for (const [i, sink] of sinks.entries())
    if (sink.type === "sqlite" && sink.path !== null) checkFile(sink.path, databasePath, `activities.sinks[${i}].path`);
}

function checkFile(path: string, databasePath: string, field: string): void {
  if (path === ":memory:") return;
  if (shareFiles(path, databasePath))
    throw new StorageError(`${path} leads to the gateway's own database (${databasePath}): name another file by ${field}`);
  try {
    openActivities(path).close();
  } catch (error) {
    // On a disk that is full the gateway serves without taking activities in, until there is room.
    if (isWithoutRoom(error)) return;
    throw new StorageError(
      `${path}, where activities are kept, can't be used (${error instanceof Error ? error.message : String(error)}): check its folder's owner and permissions, or name another file by ${field}`,
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

/** Says that the thread could not do what it was asked: the disk is full, a sink is away, or the like. */
export class Undone extends Error {}

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
  private readonly asked = new Map<number, { isPost: boolean; resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  private next = 0;
  private underWay = 0;
  private failure: Error | null = null;
  /** Why a part does not do its work for now: the queue ("") or a sink, by its name. */
  private readonly troubles = new Map<string, string>();
  private isFull = false;
  private readonly callers = new RecentCallers();

  /** Opens the file and starts the thread. Throws `StorageError` when the file can't be used. */
  constructor(private readonly deps: ActivitiesDeps) {
    checkUsable(deps.opening);
    this.worker = new Worker(deps.worker);
    this.worker.onmessage = ({ data }: MessageEvent<Answer>) => this.receive(data);
    this.worker.onerror = (event) => this.broke(new Error(event.message));
    this.worker.unref();
    this.post({ kind: "open", opening: deps.opening, policy: deps.policy });
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
    const given = head.fields.joined("idempotency-key");
    if (given !== null && (given === "" || given.length > MAX_KEY))
      return problem("badRequest", `Idempotency-Key must have 1 to ${MAX_KEY} characters.`);
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
      const caller = callerOf(exchange);
      this.callers.add(caller, this.deps.clock.now());
      const key = given === null ? null : keyOf(caller, given);
      const admission = await this.ask({ kind: "take", id: this.next++, post: { body: text, key } });
      // What is refused never was on its way into the queue.
      if (admission.kind === "accepted") this.fine(null);
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

  /** Gives what the thread counts, and how many callers posted a batch within the last minute. */
  async stats(): Promise<ActivityStats & { readonly callers: number }> {
    const stats = await this.ask({ kind: "stats", id: this.next++ });
    return { ...stats, callers: this.callers.count(this.deps.clock.now()) };
  }

  /** Gives what failed in a sink (`null`: the first) or was refused; `null` when there is no such sink. */
  failures(sink: string | null, place: string, limit: number): Promise<Failures | null> {
    return this.ask({ kind: "failures", id: this.next++, sink, place, limit });
  }

  replay(of: string, sink: string | null): Promise<{ replayed: number; states: string[] } | null> {
    return this.ask({ kind: "replay", id: this.next++, of, sink });
  }

  /** Gives the reason why batches are not taken; `null` when they are. */
  get queueFault(): string | null {
    return this.failure === null ? (this.troubles.get("") ?? null) : this.failure.message;
  }

  /** Gives the names of the sinks, in their order. */
  get sinks(): readonly string[] {
    return this.deps.opening.sinks.map(nameOf);
  }

  /** Gives the names of the sinks to which nothing can be applied for now. */
  get away(): readonly string[] {
    return [...this.troubles.keys()].filter((sink) => sink !== "");
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

  private fine(sink: string | null): void {
    if (this.troubles.delete(sink ?? "")) this.deps.emit({ type: "activitiesFine", sink });
  }

  private tellTrouble(sink: string | null, message: string, attempts: number): void {
    this.deps.emit({ type: "activitiesTrouble", sink, message, attempts });
  }

  private post(question: Question): void {
    this.worker.postMessage(question);
  }

  /** Asks the thread and gives its answer. Rejects with `Undone` when the thread could not do it. */
  private ask<K extends keyof Values>(question: Extract<Question, { id: number }> & { kind: K }): Promise<Values[K]> {
    if (this.failure !== null) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.asked.set(question.id, { isPost: question.kind === "take", resolve: resolve as (value: unknown) => void, reject });
      this.post(question);
    });
  }

  private receive(answer: Answer): void {
    if (answer.kind === "fine") {
      this.fine(answer.sink);
      return;
    }
    if (answer.kind === "opened") {
      if (answer.fault !== null) this.broke(new Error(`${this.deps.opening.path} can't be used: ${answer.fault}`));
      return;
    }
    if (answer.kind === "notice") {
      this.deps.emit({ type: "activitiesNotice", sink: answer.sink, message: answer.message });
      return;
    }
    if (answer.kind === "trouble") {
      this.troubles.set(answer.sink ?? "", answer.message);
      this.tellTrouble(answer.sink, answer.message, answer.attempts);
      return;
    }
    const asked = this.asked.get(answer.id);
    this.asked.delete(answer.id);
    if (answer.kind === "fault") {
      // Each batch that can't be taken would say the same.
      if (asked?.isPost && this.troubles.get("") !== answer.message) this.tellTrouble(null, answer.message, 0);
      if (asked?.isPost) this.troubles.set("", answer.message);
      asked?.reject(new Undone(answer.message));
    } else asked?.resolve(answer.value);
  }

  private broke(error: Error): void {
    this.failure = error;
    this.tellTrouble(null, error.message, 0);
    for (const { reject } of this.asked.values()) reject(error);
    this.asked.clear();
  }
}

/** Gives what tells callers apart: the consumer, however it is known, or the address of one without a name. */
const callerOf = ({ caller, ip }: Exchange): string =>
  caller.consumer.id !== "" ? `consumer ${caller.consumer.id}` : caller.id !== "" ? `caller ${caller.id}` : `address ${ip}`;

/** Hashes a caller with the Idempotency-Key that it sent. */
const keyOf = (caller: string, key: string): string => new Bun.CryptoHasher("sha256").update(`${caller}\n${key}`).digest("hex");

function reply(admission: Admission): Reply | Problem {
  if (admission.kind === "accepted")
    return jsonReply(202, { message: "ok", id: admission.id, accepted: admission.accepted }, "Cache-Control: no-store\r\n");
  if (admission.kind === "mismatch") return problem("validationFailed", "This Idempotency-Key was used for another batch: take a new one.");
  if (admission.kind === "tooLarge")
    return problem("bodyTooLarge", "One of the activities is larger than the queue takes: send less in one, or ask the operator.");
  if (admission.kind === "full") return admission.what === "database" ? fullDatabase() : fullBacklog();
  if (!admission.isJson) return problem("badRequest", 'The body is not JSON: send { "activities": [ … ] }.');
  return problem("validationFailed", "Nothing of the batch was accepted: mend what `errors` names, and send it again.", {
    errors: admission.faults,
  });
}
