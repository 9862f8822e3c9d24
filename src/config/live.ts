import { readFileSync, statSync } from "node:fs";
import type { StagedDocument } from "../records/staged.ts";
import type { Fault } from "../schema/faults.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { type Environment, loadConfig, placed } from "./load.ts";
import type { Config } from "./schema.ts";
import { configWarnings } from "./warnings.ts";

/** Names who asked for a reload. */
export type Trigger = "file" | "signal" | "admin";

/**
 * Makes a configuration ready, which may take a while, and puts it in force, whole or not at all, unless the gateway is stopping by then.
 * Gives the faults with which it conflicts; none when it is in force.
 */
export type Apply = (config: Config, text: string, isStopping: () => boolean, along?: Along) => Promise<readonly Fault[]>;

/** Says what comes into force in one step with another text of the file, which is not in the file yet. */
export interface Along {
  /** Documents of the admin API. */
  readonly documents: readonly StagedDocument[];
  /** Gives what is not allowed in the configuration; asked first. */
  readonly check: (next: Config) => readonly Fault[];
  /** Stores the documents and writes the file, or throws with neither done; `null`: all is only checked. */
  readonly commit: (() => void) | null;
}

/** Watches files that the configuration names, and that are read with it. */
export interface OtherFiles {
  /** Tells whether one of them is another than when they were looked at last. */
  isChanged(): boolean;
  /** Looks at them. */
  look(): void;
  /** What is hardly meant in those that are in force. Left out: nothing is told of them. */
  warnings?(): readonly Fault[];
}

/** Watches the files of several as one. */
export const together = (all: readonly OtherFiles[]): OtherFiles => ({
  isChanged: () => all.some((each) => each.isChanged()),
  look: () => {
    for (const each of all) each.look();
  },
  warnings: () => all.flatMap((each) => each.warnings?.() ?? []),
});

/** Tells what became of the last reload, or of the start. */
export interface LoadStatus {
  /** The time when the configuration in force was read, in milliseconds since 1970. */
  readonly loadedAt: number;
  /** The faults of the file as it is now; empty when it is in force. */
  readonly faults: readonly Fault[];
}

export interface LiveConfigDeps {
  /** The file's path; `null`: the embedded demo, which never changes. */
  readonly file: string | null;
  readonly env: Environment;
  readonly clock: Clock;
  /** Tells of each reload, and of what is hardly meant in a configuration that has come into force. */
  readonly emit: Emit;
  /** The host on which the main port listens. */
  readonly host: string;
  /** The files that are read again with it. */
  readonly others: OtherFiles;
  /** The faults that the file has already at the start, when the gateway was started with another configuration. */
  readonly faults: readonly Fault[];
  /** The text of the configuration in force; left out: that of the file. */
  readonly text?: string | undefined;
}

/**
 * The milliseconds between two looks at the file. Asking for its state works on every file system, also when an editor or an orchestrator
 * puts another file in its place.
 */
const LOOK_EVERY = 500;

const NOT_STARTED: readonly Fault[] = [{ path: [], message: "the gateway has not started yet" }];
const STOPPING: readonly Fault[] = [{ path: [], message: "the gateway is stopping" }];

/**
 * Follows the configuration file while the gateway runs: reads it again when it changes, and puts it in force if nothing is wrong with it.
 * One reload follows the other.
 */
export class LiveConfig {
  private current: LoadStatus;
  private seen: string;
  private timer: Timer | null = null;
  private apply: Apply = async () => NOT_STARTED;
  private isClosed = false;
  private textInForce: string | null;
  /** What is under way or waits, one thing after the other. */
  private line: Promise<unknown> = Promise.resolve();
  private inLine = 0;
  /** The reload that has not begun yet: whoever asks meanwhile gets that one's faults. */
  private waiting: Promise<readonly Fault[]> | null = null;

  constructor(private readonly deps: LiveConfigDeps) {
    this.current = { loadedAt: deps.clock.wall(), faults: deps.faults };
    this.textInForce = deps.text ?? null;
    // With faults it is read once more, so that the files are looked at that it names, and not only those in force; and where it was changed while
    // the process was away that looked at it before.
    this.seen = deps.faults.length === 0 && this.isInForce() ? this.look() : "";
  }

  get status(): LoadStatus {
    return this.current;
  }

  get file(): string | null {
    return this.deps.file;
  }

  /** Gives the text of the configuration in force; `null`: it has no file, or nobody has said. */
  get text(): string | null {
    return this.deps.file === null ? null : this.textInForce;
  }

  /** Gives the file's text as it is now. Throws what reading it throws. */
  onDisk(): string {
    return readFileSync(this.deps.file ?? "", "utf8");
  }

  /** Begins to watch the file. */
  start(apply: Apply): void {
    this.apply = apply;
    if (this.deps.file === null) return;
    this.timer = setInterval(() => {
      // What is under way looks at the files as well.
      if (this.inLine > 0 || (this.look() === this.seen && !this.deps.others.isChanged())) return;
      void this.reload("file");
    }, LOOK_EVERY);
  }

  /** Ends the watch. A reload that is asked for afterwards, or under way, changes nothing. */
  close(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.isClosed = true;
  }

  /** Reads the file and puts it in force. Gives the file's faults, with which the old configuration stays. */
  reload(trigger: Trigger): Promise<readonly Fault[]> {
    this.waiting ??= this.alone(() => {
      this.waiting = null;
      return this.once(trigger);
    });
    return this.waiting;
  }

  /**
   * Puts another text in force, with what comes along; `commit` writes it into the file. Gives the faults with which nothing is changed. Rejects with what
   * `commit` throws.
   */
  replace(text: string, along: Along): Promise<readonly Fault[]> {
    return this.alone(async () => {
      if (this.isClosed) return STOPPING;
      const loaded = loadConfig(text, this.deps.env, this.file);
      if ("faults" in loaded) return loaded.faults;
      const faults = placed(text, await this.apply(loaded.config, text, () => this.isClosed, along));
      if (faults.length > 0 || along.commit === null) return faults;
      this.seen = this.look();
      this.deps.others.look();
      this.entered(text, loaded.config, loaded.given);
      this.current = { loadedAt: this.deps.clock.wall(), faults };
      this.deps.emit({ type: "reload", trigger: "admin", faults });
      return faults;
    });
  }

  private alone<T>(work: () => Promise<T>): Promise<T> {
    this.inLine++;
    const turn = this.line.then(work).finally(() => {
      this.inLine--;
    });
    this.line = turn.catch(() => {});
    return turn;
  }

  private async once(trigger: Trigger): Promise<readonly Fault[]> {
    if (this.isClosed) return STOPPING;
    this.seen = this.look();
    this.deps.others.look();
    const faults = await this.read();
    if (this.isClosed) return STOPPING;
    this.current = faults.length === 0 ? { loadedAt: this.deps.clock.wall(), faults } : { ...this.current, faults };
    this.deps.emit({ type: "reload", trigger, faults });
    return faults;
  }

  private async read(): Promise<readonly Fault[]> {
    const { file, env } = this.deps;
    if (file === null) return [{ path: [], message: "this is the embedded demo, which has no file: start with a config.json" }];
    let text: string;
    try {
      text = readFileSync(file, "utf8");
    } catch (error) {
      return [{ path: [], message: `can't be read: ${error instanceof Error ? error.message : String(error)}` }];
    }
    const loaded = loadConfig(text, env, file);
    if ("faults" in loaded) return loaded.faults;
    const conflicts = await this.apply(loaded.config, text, () => this.isClosed);
    if (this.isClosed) return conflicts;
    if (conflicts.length > 0) return placed(text, conflicts);
    this.entered(text, loaded.config, loaded.given);
    return conflicts;
  }

  private entered(text: string, config: Config, given: unknown): void {
    this.textInForce = text;
    const { others, host, clock } = this.deps;
    const warnings = placed(text, [...configWarnings(config, given, host, clock.wall()), ...(others.warnings?.() ?? [])]);
    this.deps.emit({ type: "configurationWarnings", warnings });
  }

  /** Tells whether the file has the text that is in force. */
  private isInForce(): boolean {
    const { file, text } = this.deps;
    if (file === null || text === undefined) return true;
    try {
      return readFileSync(file, "utf8") === text;
    } catch {
      return false;
    }
  }

  /** Gives a text that changes when the file does. */
  private look(): string {
    if (this.deps.file === null) return "";
    try {
      const { mtimeMs, size, ino } = statSync(this.deps.file);
      return `${mtimeMs} ${size} ${ino}`;
    } catch {
      return "gone";
    }
  }
}
