import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { WholeBody } from "../http/body.ts";
import { callerLeft, type UpstreamResponse } from "../http/client.ts";
import { type Problem, passing, problem, secondsOf } from "../http/problem.ts";
import { Refused } from "../http/refused.ts";
import type { Prompt } from "../tokens/prompt.ts";
import { orderOf } from "./attempt-order.ts";
import { type AttemptDeps, MadeAttempt } from "./made-attempt.ts";
import type { Failed } from "./outcome.ts";
import type { ModelAttempt, VirtualModel } from "./virtual-model.ts";

export interface VirtualModelsDeps extends AttemptDeps {
  /** Numbers from 0 up to 1. */
  readonly random: () => number;
}

/** Milliseconds that any attempt but the first must have at least: timers are no more exact, and nobody answers within them. */
const TOO_SHORT = 5;

/** Answers requests for virtual models: asks those who may answer one after the other, until one has something to read. */
export class VirtualModels {
  constructor(private readonly deps: VirtualModelsDeps) {}

  /**
   * Gives the answer of the first attempt that has one, or of one after which no other is made. Rejects with `Refused` where all have failed,
   * and with what the forwarder rejects with where no other attempt is made after that.
   */
  async send(exchange: Exchange<Arrival>, model: VirtualModel): Promise<UpstreamResponse> {
    const { clock, random } = this.deps;
    const { prompt } = exchange;
    if (prompt === null || prompt.modelAt === null) throw new Error("a request for a virtual model was let through unread");
    const giveUpAt = clock.now() + model.giveUpAfter;
    const failed: FailedAttempt[] = [];
    for (const attempt of orderOf(model.attempts, random)) {
      const now = clock.now();
      if (failed.length > 0 && now + TOO_SHORT >= giveUpAt) break;
      const made = await new MadeAttempt(this.deps, exchange, model, attempt, renamed(prompt, attempt.model)).run(
        Math.min(now + model.firstToken, giveUpAt),
        giveUpAt,
      );
      if ("answer" in made) return made.answer;
      if (exchange.isOver) throw callerLeft(true);
      failed.push({ attempt, outcome: made.failed, retryIn: made.retryIn });
    }
    exchange.notes.trouble = failed.map(({ attempt, outcome }) => `${attempt.model} at ${attempt.upstreamName}: ${outcome}`).join("; ");
    exchange.modelUsed = null;
    throw new Refused(nobodyAnswered(model.name, failed));
  }
}

/** Gives the same request for another model: nothing else of its body is touched. */
function renamed(prompt: Prompt, model: string): Prompt {
  const { bytes, modelAt } = prompt;
  if (bytes === null || modelAt === null) return prompt;
  const name = Buffer.from(JSON.stringify(model));
  const body = Buffer.concat([bytes.subarray(0, modelAt.from), name, bytes.subarray(modelAt.to)]);
  return {
    ...prompt,
    body: new WholeBody(body),
    bytes: body,
    length: body.length,
    modelAt: { from: modelAt.from, to: modelAt.from + name.length },
    // What it weighs is let go with the first one.
    weight: 0,
  };
}

interface FailedAttempt {
  readonly attempt: ModelAttempt;
  readonly outcome: Failed;
  /** Milliseconds; `null`: not known. */
  readonly retryIn: number | null;
}

/** Makes the 502 that tells what each attempt came to, and when the first of them may be made again, if any has said. */
function nobodyAnswered(name: string, failed: readonly FailedAttempt[]): Problem {
  const attempts = failed.map(({ attempt, outcome }) => ({ model: attempt.model, outcome: String(outcome) }));
  const told = attempts.map(({ model, outcome }) => `${model}: ${outcome}`).join(", ");
  const retryIn = Math.min(...failed.map((each) => each.retryIn ?? Number.POSITIVE_INFINITY));
  const isKnown = Number.isFinite(retryIn);
  const detail = `Nobody who may answer for ${name} did so (${told}); try again ${isKnown ? `in ${secondsOf(retryIn)} seconds` : "later"}.`;
  return isKnown ? passing("noModelAnswered", detail, secondsOf(retryIn), { attempts }) : problem("noModelAnswered", detail, { attempts });
}
