import type { Subprocess } from "bun";
import type { Hub, Member } from "../shared/hub.ts";
import { APART, type FromPart, type Part, type ToPart } from "./part.ts";
import { CannotStart } from "./running.ts";

/** Says how a process has ended. */
export interface ChildExit {
  readonly pid: number;
  /** The status or the signal. */
  readonly why: string;
  /** True when it had taken requests. */
  readonly hadServed: boolean;
  /** True when somebody, or the system for want of memory, has killed it: then it is not its own fault. */
  readonly wasKilled: boolean;
}

export interface ChildDeps {
  readonly hub: Hub;
  /** Gives what the process is to be, as it is now. */
  readonly part: () => Part;
  readonly onMessage: (message: FromPart) => void;
  /** Learns that it serves. `isFirst`: it is the first one of its name. */
  readonly onServing: (pid: number, isFirst: boolean) => void;
  readonly onExit: (exit: ChildExit) => void;
  /** Frees what the process held, whose end is certain now. */
  readonly onEnded: (part: Part) => void;
  /** Learns that the system did not let it begin: it is tried again. */
  readonly onNotBegun: (error: unknown) => void;
  /** Learns that it has ended too often before it served. */
  readonly onLeftOut: (exit: ChildExit) => void;
  readonly isStopping: () => boolean;
}

/** Who waits for the first one to serve. */
interface Awaiting {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** The times in a row that a process may end before it serves within `WITHIN` milliseconds; and milliseconds of the first wait before another try, doubled with each. */
const MAX_FAILED = 5;
const WITHIN = 60_000;
const FIRST_WAIT = 200;
/** Milliseconds until another try where the system did not let it begin: it has no memory, descriptors or processes left. */
const NOT_BEGUN_WAIT = 1000;

/** Keeps one process of the gateway running: one that had served is replaced at once, however often it ends. */
export class Child {
  isLeftOut = false;
  private running: Subprocess | null = null;
  /** The times at which it ended before it served. */
  private failed: number[] = [];

  constructor(
    private readonly name: string,
    private readonly descriptors: readonly number[],
    private readonly deps: ChildDeps,
  ) {}

  /** Starts it, for the first time. Resolves when it serves; rejects with `CannotStart`, or what its first messages throw, when it ends before. */
  run(): Promise<void> {
    return new Promise((resolve, reject) => this.spawn({ resolve, reject }));
  }

  send(message: ToPart): void {
    try {
      this.running?.send(message);
    } catch {
      // It has ended: its end is on its way.
    }
  }

  /** Asks it to stop, and ends it when it has not after so many milliseconds. */
  async stop(within: number): Promise<void> {
    const { running } = this;
    if (running === null) return;
    this.send({ kind: "stop" });
    const patience = setTimeout(() => running.kill("SIGKILL"), within);
    await running.exited;
    clearTimeout(patience);
  }

  /** Ends it at once. */
  async kill(): Promise<void> {
    this.running?.kill("SIGKILL");
    await this.running?.exited;
  }

  /** Starts another in its place. */
  private spawnNext(first: Awaiting | null): void {
    if (this.deps.isStopping()) return;
    try {
      this.spawn(first);
    } catch (error) {
      this.deps.onNotBegun(error);
      setTimeout(() => this.spawnNext(first), NOT_BEGUN_WAIT);
    }
  }

  private spawn(first: Awaiting | null): void {
    const own = this.deps.part();
    try {
      this.running = this.begun(own, first);
    } catch (error) {
      this.deps.onEnded(own);
      throw error;
    }
    this.send({ kind: "begin", part: own });
  }

  private begun(own: Part, first: Awaiting | null): Subprocess {
    const { hub, isStopping } = this.deps;
    const state = { isServing: false, isRefused: false };
    const member: Member = { name: this.name, send: (message) => this.send(message) };
    const child: Subprocess = Bun.spawn([...program(), "worker", this.name], {
      // systemd hears of the gateway by its supervisor.
      env: { ...process.env, NOTIFY_SOCKET: undefined },
      stdio: ["ignore", "inherit", "inherit", ...this.descriptors],
      serialization: "advanced",
      ipc: (message: FromPart) => {
        if (this.running !== child) return;
        try {
          if (message.kind === "tell" || message.kind === "ask" || message.kind === "answer") hub.take(member, message);
          else {
            this.deps.onMessage(message);
            if (message.kind === "ready") {
              state.isServing = true;
              this.deps.onServing(child.pid, first !== null);
              hub.join(member);
              first?.resolve();
            }
          }
        } catch (error) {
          state.isRefused = true;
          first?.reject(error);
        }
      },
      onExit: (_, status, signal) => {
        if (this.running !== child) return;
        this.running = null;
        hub.leave(member);
        this.deps.onEnded(own);
        const why = signal === null ? `status ${status}` : `signal ${signal}`;
        const exit: ChildExit = { pid: child.pid, why, hadServed: state.isServing, wasKilled: `${signal}` === "SIGKILL" };
        // One that lost a race with a change of the configuration does not end the start of all.
        const mayTryAgain = status === APART && !state.isRefused;
        if (first !== null && !state.isServing && !mayTryAgain) {
          // What it said on stderr tells why; who is killed says nothing.
          if (!state.isRefused)
            first.reject(
              status === null ? new CannotStart(`${told(this.name)} was ended by ${why} before it served`) : new Ended(this.name, status),
            );
          return;
        }
        this.deps.onExit(exit);
        if (!isStopping()) this.again(exit, state.isServing ? null : first);
      },
    });
    return child;
  }

  /** Starts another one, at once or after a while. `first`: who still waits for the first one to serve. */
  private again(exit: ChildExit, first: Awaiting | null): void {
    if (exit.hadServed) {
      this.failed = [];
      this.spawnNext(null);
      return;
    }
    const now = performance.now();
    this.failed = [...this.failed.filter((at) => now - at < WITHIN), now];
    if (this.failed.length >= MAX_FAILED && !exit.wasKilled && this.name !== "keeper") {
      this.isLeftOut = true;
      this.deps.onLeftOut(exit);
      first?.reject(new Ended(this.name, 1));
      return;
    }
    setTimeout(() => this.spawnNext(first), Math.min(exit.wasKilled ? FIRST_WAIT : 5000, FIRST_WAIT * 2 ** (this.failed.length - 1)));
  }
}

/** Says that a process has ended before it served, and has told why. */
export class Ended extends CannotStart {
  constructor(
    name: string,
    readonly status: number,
  ) {
    super(`${told(name)} could not start`);
  }
}

const told = (name: string): string => `the ${name === "keeper" ? "keeper" : `worker ${name}`}`;

/** Gives the command that runs this very program. */
const program = (): string[] => (Bun.isStandaloneExecutable ? [process.execPath] : [process.execPath, Bun.main]);
