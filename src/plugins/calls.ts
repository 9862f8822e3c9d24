import type { Problem } from "../http/problem.ts";
import { problem } from "../http/problem.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { Unreadable } from "./body-reader.ts";
import { tagsFault } from "./context.ts";
import type { FailureKind, HookCounts } from "./counts.ts";
import { Deadline } from "./deadline.ts";
import type { Hook } from "./hook.ts";
import type { Visit } from "./visit.ts";

/** The refusal of a request on whose way a plug-in failed. */
export const PLUGIN_FAILED: Problem = problem("pluginFailed", "A plug-in of the gateway failed; report the request id to whoever runs it.");

/** Milliseconds for which a hook may keep everything else waiting without a line in the log. */
const LONG_HOLD = 500;

/** Says that a hook gave nothing that counts: with what the request is refused; `null`: it goes on as if the hook were not there. */
export class Failed {
  constructor(readonly refusal: Problem | null) {}
}

/** Says what is wrong with what a hook gave; `null`: nothing is. */
export type FaultOf = (given: unknown) => string | null;

type AnyHook = (subject: unknown, context: unknown) => unknown;

export interface CallsDeps {
  readonly clock: Clock;
  readonly emit: Emit;
}

/** Calls hooks, each within its time, and tells what became of it. */
export class Calls {
  constructor(private readonly deps: CallsDeps) {}

  /** Calls a hook and gives what it gave, or that it failed; a promise only where the hook gave one. Never rejects. */
  call(visit: Visit, hook: Hook, subject: unknown, faultOf: FaultOf): unknown {
    const { clock } = this.deps;
    const { plugin, spanName } = visit.use.instance;
    visit.begin(hook);
    const begun = clock.now();
    visit.exchange.trace?.enter(spanName, begun);
    let given: unknown;
    let hasThrown = false;
    let waits = false;
    try {
      // A plug-in's hooks differ in their arguments, which the one who calls this has chosen by the hook's name.
      given = (plugin[hook] as AnyHook).call(plugin, subject, visit.context);
      waits = isPromise(given);
    } catch (error) {
      given = error;
      hasThrown = true;
    }
    const now = clock.now();
    this.gaveBack(visit, hook, now - begun);
    if (hasThrown) return this.ended(visit, hook, begun, now, this.threw(visit, hook, given));
    if (waits) return this.waitFor(visit, hook, begun, given, faultOf);
    return this.ended(visit, hook, begun, now, this.looked(visit, hook, given, faultOf));
  }

  /** Takes note of a hook that failed after all, in what came of its answer. */
  fail(visit: Visit, hook: Hook, kind: FailureKind, error: unknown): Failed {
    const { exchange, use } = visit;
    const { instance, skips } = use;
    (instance.counts.get(hook) as HookCounts).failures[kind]++;
    visit.undo();
    const { message, stack } = told(error);
    this.deps.emit({ type: "pluginFailed", plugin: instance.name, hook, kind, error: stack, requestId: exchange.id, skips });
    exchange.notes.trouble = `plug-in ${instance.name}, ${hook}: ${message}`;
    return new Failed(skips ? null : PLUGIN_FAILED);
  }

  /** Takes note of a Response of a plug-in's that broke off when a part of it was sent: the source of its stream may be to blame. */
  broken({ exchange, use }: Visit, hook: Hook, error: unknown): void {
    exchange.notes.trouble = `plug-in ${use.instance.name}, ${hook}: its Response broke off: ${told(error).message}`;
  }

  private async waitFor(visit: Visit, hook: Hook, begun: number, given: unknown, faultOf: FaultOf): Promise<unknown> {
    const late = Promise.withResolvers<typeof LATE>();
    const { timeout } = visit.use;
    const deadline = new Deadline(timeout, () => late.resolve(LATE));
    if (visit.isWaiting) deadline.pause();
    visit.deadline = deadline;
    let outcome: unknown;
    try {
      outcome = await Promise.race([given, late.promise]);
    } catch (error) {
      return this.ended(visit, hook, begun, this.deps.clock.now(), this.threw(visit, hook, error));
    } finally {
      deadline.close();
      visit.deadline = null;
    }
    const now = this.deps.clock.now();
    if (outcome !== LATE) return this.ended(visit, hook, begun, now, this.looked(visit, hook, outcome, faultOf));
    const failed = this.fail(visit, hook, "late", `it did not answer within ${timeout} ms`);
    visit.visits.leave(visit.use);
    return this.ended(visit, hook, begun, now, failed);
  }

  /** Takes note of the milliseconds after which a hook gave back control. */
  private gaveBack({ use, exchange }: Visit, hook: Hook, held: number): void {
    const { name, counts } = use.instance;
    const count = counts.get(hook) as HookCounts;
    if (held > count.longestHold) count.longestHold = held;
    if (held > LONG_HOLD) this.deps.emit({ type: "pluginHeldUp", plugin: name, hook, milliseconds: held, requestId: exchange.id });
  }

  /** Gives what a hook gave, or that it can't be. */
  private looked(visit: Visit, hook: Hook, given: unknown, faultOf: FaultOf): unknown {
    let fault: string | null;
    try {
      fault = faultOf(given) ?? (visit.hasTags ? tagsFault(visit.exchange.tags) : null);
    } catch (error) {
      // What is given is the plug-in's own, and may throw when it is looked at.
      return this.fail(visit, hook, "thrown", error);
    }
    return fault === null ? given : this.fail(visit, hook, "nonsense", fault);
  }

  private threw(visit: Visit, hook: Hook, error: unknown): Failed {
    if (visit.exchange.incoming.isAborted && isOfLeaving(error)) {
      visit.undo();
      // Nobody gets an answer.
      return new Failed(null);
    }
    if (!isUnreadable(error) || error.refusal === null) return this.fail(visit, hook, "thrown", error);
    // The plug-in has done nothing wrong.
    visit.undo();
    return new Failed(visit.use.skips ? null : error.refusal);
  }

  private ended(visit: Visit, hook: Hook, begun: number, now: number, outcome: unknown): unknown {
    const { instance } = visit.use;
    (instance.counts.get(hook) as HookCounts).observe(now - begun);
    const { trace } = visit.exchange;
    if (trace !== null) {
      const attributes = { "sluice.plugin": instance.name, "sluice.hook": hook };
      if (outcome instanceof Failed) trace.fail(now, "pluginFailed", attributes);
      else trace.leave(now, attributes);
    }
    return outcome;
  }
}

const LATE = Symbol("late");

const isUnreadable = (error: unknown): error is Unreadable => error instanceof Unreadable;

/** Tells whether an error is what a hook meets whose caller leaves: the bodies break off, and `request.signal` aborts. */
const isOfLeaving = (error: unknown): boolean => isUnreadable(error) || (error instanceof DOMException && error.name === "AbortError");

/** Says what was thrown, which may be anything. */
function told(error: unknown): { readonly message: string; readonly stack: string } {
  try {
    if (!(error instanceof Error)) return { message: String(error), stack: String(error) };
    return { message: String(error.message), stack: String(error.stack ?? error.message) };
  } catch {
    const message = "it threw what can't be shown";
    return { message, stack: message };
  }
}

const isPromise = (given: unknown): boolean =>
  typeof given === "object" && given !== null && "then" in given && typeof given.then === "function";
