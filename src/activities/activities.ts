import type { ActivitiesConfig } from "../config/schema.ts";
import { parseDuration } from "../config/units.ts";
import { collect } from "../http/body.ts";
import type { Reply } from "../http/server.ts";
import type { Exchange } from "../proxy/exchange.ts";
import { type Problem, problem } from "../proxy/problem.ts";
import { jsonReply } from "../proxy/reply.ts";
import { StorageError } from "../storage/open.ts";
import type { Failure } from "./activity-log.ts";
import { openActivities } from "./database.ts";
import type { ActivityPolicy, ActivityStats, Admission } from "./engine.ts";
import type { Answer, Question } from "./protocol.ts";

export interface ActivitiesParts {
  readonly path: string;
  /** The address of the thread's entry point. */
  readonly worker: string;
  readonly policy: ActivityPolicy;
  /** Bytes that one batch may have. */
  readonly maxBodySize: () => number;
  /** The activities can't be applied for now; they are kept. */
  readonly onTrouble: (message: string, attempts: number) => void;
}

/** Bodies that are on their way into the queue, together: beyond it batches are refused. In bytes. */
const MOST_UNDER_WAY = 64 * 1024 * 1024;

/** Finds out at the start what would otherwise fail each batch. Throws `StorageError`. */
export function checkUsable(path: string): void {
  if (path === ":memory:") return;
  try {
    openActivities(path).close();
  } catch (error) {
    throw new StorageError(
      `${path}, where activities are kept, can't be used (${error instanceof Error ? error.message : String(error)}): check its folder's owner and permissions, or name another file by activities.path`,
    );
  }
}

export const compileActivities = (config: ActivitiesConfig): ActivityPolicy => ({
  maxBacklog: config.maxBacklog,
  attempts: config.attempts,
  baseDelay: parseDuration(config.baseDelay),
  maxDelay: parseDuration(config.maxDelay),
  keepFor: config.keepFor === null ? null : parseDuration(config.keepFor),
});

const fullBacklog = (): Problem =>
  problem("backlogFull", "Too many activities wait to be applied: send the batch again later.", { retryAfter: 5 }, [["Retry-After", "5"]]);

/** `POST /api/activities`, and what the admin API tells of it. The work is done by a thread of its own. */
export class Activities {
  private readonly worker: Worker;
  private readonly asked = new Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>();
  private next = 0;
  private underWay = 0;
  private failure: Error | null = null;

  /** Throws `StorageError` when the file can't be used. */
  constructor(private readonly parts: ActivitiesParts) {
    checkUsable(parts.path);
    this.worker = new Worker(parts.worker);
    this.worker.onmessage = ({ data }: MessageEvent<Answer>) => this.receive(data);
    this.worker.onerror = (event) => this.broke(new Error(event.message));
    this.worker.unref();
    this.post({ kind: "open", path: parts.path, policy: parts.policy });
  }

  configure(policy: ActivityPolicy): void {
    this.post({ kind: "policy", policy });
  }

  /** Answers one request, whose caller may call. Rejects when the body breaks off or the batch can't be written. */
  async answer(x: Exchange): Promise<Reply | Problem> {
    const { body, head } = x.incoming;
    if (this.underWay + Math.max(0, head.contentLength) > MOST_UNDER_WAY) return fullBacklog();
    const bytes = body === null ? new Uint8Array() : await collect(body, this.parts.maxBodySize());
    this.underWay += bytes.length;
    try {
      const answer = await this.ask({
        kind: "take",
        id: this.next++,
        body: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString(),
      });
      if (answer.kind !== "admission") throw new Error("an unexpected answer");
      return reply(answer.admission);
    } finally {
      this.underWay -= bytes.length;
    }
  }

  async stats(): Promise<ActivityStats> {
    const answer = await this.ask({ kind: "stats", id: this.next++ });
    if (answer.kind !== "stats") throw new Error("an unexpected answer");
    return answer.stats;
  }

  async failures(before: string, limit: number): Promise<readonly Failure[]> {
    const answer = await this.ask({ kind: "failures", id: this.next++, before, limit });
    if (answer.kind !== "failures") throw new Error("an unexpected answer");
    return answer.failures;
  }

  async replay(of: string): Promise<{ replayed: number; states: string[] } | null> {
    const answer = await this.ask({ kind: "replay", id: this.next++, of });
    if (answer.kind !== "replayed") throw new Error("an unexpected answer");
    return answer.result;
  }

  /** Whether batches can be taken: `null`, or why not. */
  get fault(): string | null {
    return this.failure === null ? null : this.failure.message;
  }

  /** Ends with what was accepted written down; what waits is applied after the next start. */
  async stop(): Promise<void> {
    if (this.failure === null) await this.ask({ kind: "close", id: this.next++ }).catch(() => {});
    this.worker.terminate();
  }

  private post(question: Question): void {
    this.worker.postMessage(question);
  }

  private ask(question: Question & { readonly id: number }): Promise<Answer> {
    if (this.failure !== null) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.asked.set(question.id, { resolve, reject });
      this.post(question);
    });
  }

  private receive(answer: Answer): void {
    if (answer.kind === "opened") {
      if (answer.fault !== null) this.broke(new Error(`${this.parts.path} can't be used: ${answer.fault}`));
      return;
    }
    if (answer.kind === "trouble") {
      this.parts.onTrouble(answer.message, answer.attempts);
      return;
    }
    const asked = this.asked.get(answer.id);
    this.asked.delete(answer.id);
    if (answer.kind === "fault") asked?.reject(new Error(`activities: ${answer.message}`));
    else asked?.resolve(answer);
  }

  private broke(error: Error): void {
    this.failure = error;
    this.parts.onTrouble(error.message, 0);
    for (const { reject } of this.asked.values()) reject(error);
    this.asked.clear();
  }
}

function reply(admission: Admission): Reply | Problem {
  if (admission.kind === "accepted")
    return jsonReply(202, { message: "ok", id: admission.id, accepted: admission.accepted }, "Cache-Control: no-store\r\n");
  if (admission.kind === "full") return fullBacklog();
  if (!admission.isJson) return problem("badRequest", 'The body is not JSON: send { "activities": [ … ] }.');
  return problem("validationFailed", "Nothing of the batch was accepted: mend what `errors` names, and send it again.", {
    errors: admission.faults,
  });
}
