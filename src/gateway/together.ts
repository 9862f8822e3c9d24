import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { PreparedPlugins } from "../plugins/plugins.ts";
import type { StagedDocument } from "../records/staged.ts";
import type { Fault } from "../schema/faults.ts";
import { NoAnswer } from "../shared/bus.ts";
import type { BackendFiles } from "../upstreams/tls-files.ts";
import type { Ground } from "./ground.ts";
import type { Services } from "./services.ts";

/** Milliseconds within which each process must have checked another configuration. */
const CHECK_WITHIN = 15_000;
/** Milliseconds that a worker's start waits for the keeper to say what is in force. */
const IN_FORCE_WITHIN = 5000;

/** Milliseconds that a worker takes over no changes of records while a configuration is on its way that belongs with them. */
const HELD_FOR = CHECK_WITHIN + 1000;

/** The times that a worker tries to begin with what is in force, and milliseconds between two of them. */
const FIRST_TRIES = 10;
const TRY_AGAIN_AFTER = 50;

/** A configuration on its way into force. */
interface Step {
  /** Tells one reload from the next. */
  readonly number: string;
  readonly text: string;
  /** Documents that come into force with it. */
  readonly documents: readonly StagedDocument[];
}

/** What a process says of a configuration that it has checked. */
interface Checked {
  readonly process: string;
  readonly faults: readonly Fault[];
}

/**
 * Has all other processes check a configuration, which each holds ready if nothing is wrong with it. Gives the faults that any of them has found. `enter` or
 * `drop` must follow.
 */
export async function checkedByAll({ bus }: Ground, step: Step): Promise<readonly Fault[]> {
  if (bus.role === "alone") return [];
  const answers = await bus.askAll<Checked>("reload.check", step, CHECK_WITHIN);
  return answers.flatMap(({ process, faults }) =>
    faults.map(({ path, message }) => ({ path, message: `${message} (so says ${process === "keeper" ? process : `worker ${process}`})` })),
  );
}

/** Tells all others to put in force what they hold ready, and who comes later what that is. */
export const enterWithAll = ({ bus }: Ground, step: Step): void => bus.tell("reload.enter", step);
/** Tells all others that it comes to nothing. */
export const dropWithAll = ({ bus }: Ground, { number }: Step): void => bus.tell("reload.drop", { number });

/** Answers, in the keeper, what is in force: for processes that begin while it changes. */
export function tellInForce({ bus }: Ground, text: () => string): void {
  bus.answer("reload.inForce", text);
}

/** Takes over from the other processes, before this one takes requests, what stood in files of upstreams that can't be used now; and tells others the same. */
export async function shareBackendFiles({ bus, emit }: Ground, { upstreams: { files } }: Pick<Services, "upstreams">): Promise<void> {
  bus.answer("upstreams.files", () => files.told());
  if (!files.hasFaults) return;
  const all = await bus.askAll<ReturnType<BackendFiles["told"]>>("upstreams.files", null, IN_FORCE_WITHIN);
  const changes = all.filter((told) => files.takeOver(told));
  if (changes.length > 0) emit({ type: "records", of: "all" });
}

/** Follows the keeper's reloads in a worker. What it was told to put in force and can't is told to `onApart`: another worker is to take its place. */
export class ReloadFollower {
  private ready: { readonly step: Step; readonly next: Config; readonly plugins: PreparedPlugins } | null = null;
  /** One thing after the other: plug-ins take a while to load. */
  private line: Promise<unknown> = Promise.resolve();
  private text: string;

  constructor(
    private readonly ground: Ground,
    private readonly own: {
      /** Gives the faults with which a configuration can't come into force now. */
      readonly faultsOf: (next: Config, documents: readonly StagedDocument[]) => readonly Fault[];
      /** Takes over what was changed of records. */
      readonly takeOverRecords: () => void;
      /** Puts a configuration in force whose faults were asked for, with these documents, which are stored by now. */
      readonly swap: (next: Config, plugins: PreparedPlugins, documents: readonly StagedDocument[]) => void;
    },
    private readonly onApart: (why: string) => void,
  ) {
    this.text = ground.options.text ?? "";
    const { bus } = ground;
    bus.answer<Step>("reload.check", (step) =>
      this.inLine(async () => ({ process: bus.self, faults: await this.check(step) }) satisfies Checked),
    );
    bus.hear<Step>("reload.enter", (step) => void this.inLine(() => this.enter(step)));
    bus.hear<Pick<Step, "number">>("reload.drop", ({ number }) => void this.inLine(async () => this.drop(number)));
  }

  /** Puts in force what the keeper has now, where that is no longer what this process began with; before it takes requests. */
  async catchUp(): Promise<void> {
    try {
      await this.inLine(() => this.enterPresent(FIRST_TRIES));
    } catch (error) {
      // While there is no keeper nothing else can have come into force.
      if (!(error instanceof NoAnswer)) throw error;
    }
  }

  /** The records and the configuration may be of two moments, when both were changed in between: then it is asked again. */
  private async enterPresent(triesLeft: number): Promise<void> {
    const text = await this.ground.bus.askKeeper<string>("reload.inForce", null, IN_FORCE_WITHIN);
    if (text === this.text) return;
    this.own.takeOverRecords();
    const step = { number: "start", text, documents: [] };
    const faults = await this.check(step);
    if (faults.length === 0 || triesLeft === 1) await this.enter(step);
    else {
      await Bun.sleep(TRY_AGAIN_AFTER);
      await this.enterPresent(triesLeft - 1);
    }
  }

  private async check(step: Step): Promise<readonly Fault[]> {
    this.drop(null);
    const { ground, own } = this;
    const loaded = loadConfig(step.text, ground.options.env ?? {});
    if ("faults" in loaded) return loaded.faults;
    const plugins = await ground.plugins.prepare(loaded.config);
    const faults = [...plugins.faults, ...own.faultsOf(loaded.config, step.documents)];
    if (faults.length > 0) plugins.drop();
    else {
      this.ready = { step, next: loaded.config, plugins };
      // What is stored before the word to enter comes would show between two states.
      if (step.documents.length > 0) ground.feed.hold(HELD_FOR);
    }
    return faults;
  }

  private async enter(step: Step): Promise<void> {
    // Who was busy while all others checked it does so now.
    const faults = this.ready?.step.number === step.number ? [] : await this.check({ ...step, documents: [] });
    const { ready } = this;
    this.ready = null;
    this.ground.feed.hold(0);
    if (ready === null) {
      this.onApart(faults.map(({ path, message }) => `${path.join(".")} ${message}`).join("; "));
      return;
    }
    this.text = step.text;
    this.own.swap(ready.next, ready.plugins, step.documents);
  }

  private drop(number: string | null): void {
    if (this.ready === null || (number !== null && number !== this.ready.step.number)) return;
    this.ground.feed.hold(0);
    this.ready.plugins.drop();
    this.ready = null;
  }

  private inLine<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.line.then(work);
    this.line = turn.catch((error: unknown) => this.ground.tell(error));
    return turn;
  }
}
