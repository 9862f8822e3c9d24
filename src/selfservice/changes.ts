import type { IdempotentAnswers, KeptAnswer } from "../admin/idempotency.ts";
import type { Actor, Audit } from "../audit/audit.ts";
import type { Answer } from "../exchange/answer.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { type Problem, passing } from "../http/problem.ts";
import { refused } from "../http/refused.ts";
import { date, reasonOf } from "../http/reply.ts";

export interface ChangesDeps {
  readonly audit: Audit;
  readonly answers: IdempotentAnswers;
  /** Takes over what other processes on the same database have changed. */
  readonly catchUp: () => void;
  /** Runs a change of records so that all instances that share them agree; `null` where there is one alone. */
  readonly write: (<T>(work: () => Promise<T>) => Promise<T>) | null;
  /** Waits until the other processes of this gateway have taken over what was changed. */
  readonly settled: () => Promise<unknown>;
  /** Gives what an error means to whoever asked for a change; `null` for a fault of Sluice's own. */
  readonly refusalOf: (error: unknown) => Problem | null;
}

/** Says what a change came to: a status, and the value of the answer's body; left out: it has none. */
export interface Outcome {
  readonly status: number;
  readonly value?: object;
  /** Further header fields; left out: none. */
  readonly headers?: KeptAnswer["headers"];
}

/** Describes a change that a consumer asks for. */
export interface Change {
  /** In whose name it is made; `null`: the work itself finds out, and says it to the audit. */
  readonly consumer: string | null;
  /** What lets the consumer in, which nobody else knows: answers are kept under it. `null`: it is in no header. */
  readonly credential: string | null;
  /** The body, as it was understood. */
  readonly asked: object;
  readonly work: () => Outcome;
}

/** Makes changes in consumers' names: one at a time among instances, once for an Idempotency-Key, and written down in the audit. */
export class Changes {
  constructor(private readonly deps: ChangesDeps) {}

  /** Reads what is asked for by `read`, makes the change and answers. What `read` throws is a refusal as well. */
  async answer(exchange: Exchange, read: () => Promise<Change>): Promise<Answer> {
    const { write, catchUp, settled, refusalOf } = this.deps;
    try {
      const change = await read();
      catchUp();
      const named = this.named(exchange, change);
      const once = async (): Promise<KeptAnswer> => this.once(exchange, change, named);
      const turn = () => (write === null ? once() : write(once));
      const answer = await (named === null ? turn() : this.deps.answers.oneAtATime(named, turn));
      await settled();
      return replyOf(answer);
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === null) throw error;
      return { kind: "problem", problem: forCallers(refusal) };
    }
  }

  /** Answers with what `read` gives, which changes nothing; what it throws is a refusal. */
  async look(read: () => object | Promise<object>): Promise<Answer> {
    try {
      this.deps.catchUp();
      return replyOf({ status: 200, headers: [], body: JSON.stringify(await read()) });
    } catch (error) {
      const refusal = this.deps.refusalOf(error);
      if (refusal === null) throw error;
      return { kind: "problem", problem: refusal };
    }
  }

  /** Gives by what a repetition of this request is known; `null`: it names itself by nothing. */
  private named({ incoming, path }: Exchange, { credential, asked }: Change) {
    const key = incoming.head.fields.get("idempotency-key");
    if (key === null || incoming.head.method !== "POST") return null;
    if (credential === null) throw refused("badRequest", "Send your key in a header where you send an Idempotency-Key.");
    return this.deps.answers.identify(key, credential, incoming.head.method, path, JSON.stringify(asked));
  }

  private async once(
    { ip, id: requestId }: Exchange,
    { consumer, work }: Change,
    named: ReturnType<Changes["named"]>,
  ): Promise<KeptAnswer> {
    const { audit, answers } = this.deps;
    const before = named === null ? null : await answers.find(named);
    if (before !== null) return { ...before, headers: [...before.headers, ["Idempotent-Replayed", "true"]] };
    const { status, value, headers = [] } = consumer === null ? work() : audit.as(actorOf(consumer, ip, requestId), work);
    const answer: KeptAnswer = { status, headers, body: value === undefined ? "" : JSON.stringify(value) };
    if (named !== null) await answers.keep(named, answer);
    return answer;
  }
}

/** Gives the consumer as the audit names it. No admin token can have a name with a space. */
export const actorOf = (consumer: string, ip: string, requestId: string): Actor => ({ name: `consumer ${consumer}`, ip, requestId });

function replyOf({ status, headers, body }: KeptAnswer): Answer {
  const type = body === "" ? "" : "Content-Type: application/json\r\n";
  const more = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const head = `${type}${date()}Cache-Control: no-store\r\n${more}`;
  return { kind: "reply", reply: { status, reason: reasonOf(status), head, body, length: -1 } };
}

/** Words what keeps changes from being stored for callers, who can do nothing about it and need not know what there is behind. */
const forCallers = (refusal: Problem): Problem =>
  refusal.status !== 503
    ? refusal
    : passing(
        refusal.code,
        "Nothing was changed: nothing can be changed at the moment. Try again later.",
        Number(refusal.members.retryAfter ?? 1),
      );
