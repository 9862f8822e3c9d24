import { type Answer, GONE } from "../exchange/answer.ts";
import type { Caller } from "../exchange/caller.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Answerer, Gate, Line, Stop } from "../exchange/line.ts";
import type { Otherwise } from "../identity/gate.ts";
import { type NamedCallers, wordFor } from "./callers.ts";
import { type Calls, Failed, type FaultOf, PLUGIN_FAILED } from "./calls.ts";
import { answerOfGiven, type Changeable, Draft } from "./draft.ts";
import { responseFault, taken } from "./given-response.ts";
import type { Hook } from "./hook.ts";
import { PluginResponse } from "./response.ts";
import { summaryOf } from "./summary.ts";
import type { Use } from "./use.ts";
import { type MetadataOf, type Visit, Visits } from "./visit.ts";

/** Holds the steps of a route's line that plug-ins have a part in. Those without a hook there are in none of them. */
export interface PluginSteps {
  /** The gates before all others. */
  readonly first: readonly Gate[];
  readonly request: readonly Gate[];
  /** Says who calls where no credential does; `null`: no plug-in says so. */
  readonly identify: Otherwise | null;
  readonly admit: readonly Gate[];
  /** Wraps what answers, so that plug-ins see the answers of backends and of the cache. */
  around(answer: Answerer): Answerer;
  /** Wraps what writes down what became of a request. */
  ending(ended: Line["ended"]): Line["ended"];
}

/** The steps of a route without plug-ins: none, so that it costs nothing. */
const NO_STEPS: PluginSteps = {
  first: [],
  request: [],
  identify: null,
  admit: [],
  around: (answer) => answer,
  ending: (ended) => ended,
};

const isNothing = (given: unknown): boolean => given === undefined || given === null;

/** Says what is wrong with what a hook gave that may answer by itself. */
const answerFault =
  (hook: Hook): FaultOf =>
  (given) => {
    if (isNothing(given)) return null;
    if (!(given instanceof Response)) return `${hook} gave ${wordFor(given)} in place of a Response, or nothing`;
    const fault = given instanceof PluginResponse ? "the Response that another hook was shown" : responseFault(given);
    return fault === null ? null : `${hook} gave ${fault}`;
  };

/** Says what is wrong with what a hook gave that was shown an answer. */
const responseHookFault =
  (shown: PluginResponse, draft: Draft): FaultOf =>
  (given) => {
    const isSame = isNothing(given) || given === shown;
    if (isSame) return draft.isTaken ? "response has read the body's stream, and gave no Response made of it" : null;
    return answerFault("response")(given);
  };

/** Tells whether an answer is one that plug-ins see: a backend's or the cache's, and no connection that has left HTTP. */
const isChangeable = (answer: Answer): answer is Changeable =>
  answer.kind === "reply" || (answer.kind === "forwarded" && answer.response.tunnel === null);

const asAnswer = (stop: Stop | null): Answer | null => (stop === null || "kind" in stop ? stop : { kind: "problem", problem: stop });

export interface StepsDeps {
  readonly calls: Calls;
  readonly callers: NamedCallers;
  readonly metadataOf: MetadataOf;
}

/** Makes the steps of a route. `uses`: its plug-ins, in the order in which they are asked. */
export function stepsOf(uses: readonly Use[], deps: StepsDeps): PluginSteps {
  if (uses.length === 0) return NO_STEPS;
  const steps = new Steps(uses, deps);
  return {
    first: [steps.enter],
    request: steps.gates("request"),
    identify: steps.otherwise,
    admit: steps.gates("admit"),
    around: (answer) => steps.around(answer),
    ending: (ended) => steps.ending(ended),
  };
}

class Steps {
  private readonly maxBody: number;

  constructor(
    private readonly uses: readonly Use[],
    private readonly deps: StepsDeps,
  ) {
    this.maxBody = Math.max(...uses.map((use) => use.maxBody));
  }

  /** Takes note that a request has begun: its plug-ins stay until it has ended. */
  readonly enter: Gate = (exchange) => {
    if (exchange.asker !== null) return null;
    exchange.visits = new Visits(exchange, this.maxBody, this.deps.metadataOf);
    for (const { instance } of this.uses) instance.enter();
    return null;
  };

  gates(hook: "request" | "admit"): Gate[] {
    const faultOf = answerFault(hook);
    return this.having(hook).map((use): Gate => {
      const { name } = use.instance;
      return (exchange) => {
        const { visits } = exchange;
        if (visits === null) {
          exchange.asker?.tell("plugin", `the plug-in ${name} would be asked (${hook})`, null);
          return null;
        }
        const visit = visits.of(use);
        const given = this.deps.calls.call(visit, hook, visit.request, faultOf);
        return given instanceof Promise
          ? given.then((outcome) => this.stopFor(visit, hook, outcome))
          : given === undefined
            ? null
            : this.stopFor(visit, hook, given);
      };
    });
  }

  /** Asks the plug-ins who calls, one after the other, until one says so. */
  get otherwise(): Otherwise | null {
    const uses = this.having("identify");
    if (uses.length === 0) return null;
    const ask = (exchange: Exchange<Arrival>, visits: Visits, from: number): ReturnType<Otherwise> => {
      for (let i = from; i < uses.length; i++) {
        const visit = visits.of(uses[i] as Use);
        const given = this.deps.calls.call(visit, "identify", visit.request, this.identityFault);
        const found = given instanceof Promise ? given.then((outcome) => this.found(visit, outcome)) : this.found(visit, given);
        if (found instanceof Promise)
          return found.then((named) => (named === null && !exchange.isOver ? ask(exchange, visits, i + 1) : named));
        if (found !== null) return found;
      }
      return null;
    };
    const names = uses.map(({ instance }) => instance.name).join(", ");
    return (exchange) => {
      if (exchange.visits !== null) return ask(exchange, exchange.visits, 0);
      exchange.asker?.tell("identify", `the plug-ins that say who calls would be asked (${names})`, null);
      // Whoever it is: what follows is told as for nobody.
      return GONE;
    };
  }

  around(answer: Answerer): Answerer {
    // Who was asked first about the request is the last to see the answer.
    const uses = this.having("response").reverse();
    if (uses.length === 0) return answer;
    return (exchange) => {
      const given = answer(exchange);
      return given instanceof Promise ? given.then((known) => this.shown(exchange, known, uses)) : this.shown(exchange, given, uses);
    };
  }

  ending(ended: Line["ended"]): Line["ended"] {
    const { uses } = this;
    return (exchange, elapsed) => {
      ended(exchange, elapsed);
      const { visits } = exchange;
      // A preflight is nobody's request.
      if (visits === null) return;
      for (const use of uses) {
        const { instance } = use;
        if (!instance.has("ended")) {
          instance.leave();
          continue;
        }
        const done = this.deps.calls.call(visits.of(use), "ended", summaryOf(exchange, elapsed), () => null);
        if (done instanceof Promise) void done.then(() => instance.leave());
        else instance.leave();
      }
    };
  }

  private having(hook: Hook): Use[] {
    return this.uses.filter(({ instance }) => instance.has(hook));
  }

  /** Gives that with which a hook stops a request; `null`: it goes on. */
  private stopFor(visit: Visit, hook: Hook, outcome: unknown): Stop | null | Promise<Stop | null> {
    if (outcome instanceof Failed) return outcome.refusal;
    return outcome instanceof Response ? this.answerOf(visit, hook, outcome) : null;
  }

  private readonly identityFault: FaultOf = (given) =>
    given instanceof Response ? answerFault("identify")(given) : isNothing(given) ? null : this.deps.callers.fault(given);

  /** Gives whom a plug-in names, or how it answers. */
  private found(visit: Visit, outcome: unknown): Caller | Answer | null | Promise<Caller | Answer | null> {
    if (outcome instanceof Failed) return outcome.refusal === null ? null : { kind: "problem", problem: outcome.refusal };
    if (outcome instanceof Response) return this.answerOf(visit, "identify", outcome).then((stop) => asAnswer(stop));
    if (typeof outcome !== "object" || outcome === null) return null;
    const caller = this.deps.callers.of(outcome);
    return "code" in caller ? { kind: "problem", problem: caller } : caller;
  }

  /** Makes an answer of a Response that a hook gave before a backend was asked. */
  private async answerOf(visit: Visit, hook: Hook, response: Response): Promise<Stop | null> {
    try {
      return answerOfGiven(visit.exchange, await taken(response, (error) => this.deps.calls.broken(visit, hook, error)));
    } catch (error) {
      return this.deps.calls.fail(visit, hook, "thrown", error).refusal;
    }
  }

  /** Shows an answer to the plug-ins, and gives what is sent. */
  private shown(exchange: Exchange, answer: Answer, uses: readonly Use[]): Answer | Promise<Answer> {
    const { visits } = exchange;
    if (visits === null || exchange.isOver || !isChangeable(answer)) return answer;
    return this.showTo(visits, new Draft(exchange, answer, this.maxBody), uses, 0);
  }

  private showTo(visits: Visits, draft: Draft, uses: readonly Use[], from: number): Answer | Promise<Answer> {
    let now = draft;
    for (let i = from; i < uses.length; i++) {
      const visit = visits.of(uses[i] as Use);
      const response = new PluginResponse(visit, now);
      const given = this.deps.calls.call(visit, "response", response, responseHookFault(response, now));
      const next =
        given instanceof Promise
          ? given.then((outcome) => this.draftOf(visit, now, response, outcome))
          : this.draftOf(visit, now, response, given);
      if (next instanceof Promise) return next.then((known) => (known instanceof Draft ? this.showTo(visits, known, uses, i + 1) : known));
      if (!(next instanceof Draft)) return next;
      now = next;
    }
    return now.result;
  }

  /** Gives the answer as it stands after a hook has seen it; an answer that no other hook sees where that failed. */
  private draftOf(visit: Visit, draft: Draft, shown: PluginResponse, outcome: unknown): Draft | Answer | Promise<Draft | Answer> {
    if (outcome instanceof Failed) {
      // What a plug-in has read away can't be sent.
      const refusal = outcome.refusal ?? (draft.isTaken ? PLUGIN_FAILED : null);
      if (refusal === null) return draft;
      draft.giveUp();
      return { kind: "problem", problem: refusal };
    }
    if (!(outcome instanceof Response) || outcome === (shown as unknown)) return draft;
    return taken(outcome, (error) => this.deps.calls.broken(visit, "response", error)).then(
      (given) => draft.replacedBy(given),
      (error: unknown) => this.draftOf(visit, draft, shown, this.deps.calls.fail(visit, "response", "thrown", error)),
    );
  }
}
