import { type Bus, NoAnswer, type Role } from "./bus.ts";

/** What a process of the gateway says to the supervisor's hub. */
export type FromProcess =
  | { readonly kind: "tell"; readonly topic: string; readonly what: unknown }
  | {
      readonly kind: "ask";
      readonly id: number;
      readonly to: "all" | "keeper";
      readonly topic: string;
      readonly what: unknown;
      /** Milliseconds. */
      readonly within: number;
    }
  | { readonly kind: "answer"; readonly id: number; readonly isGiven: boolean; readonly what: unknown };

/** What the hub says to a process. */
export type ToProcess =
  | { readonly kind: "told"; readonly topic: string; readonly what: unknown; readonly from: string }
  | { readonly kind: "asked"; readonly id: number; readonly topic: string; readonly what: unknown; readonly from: string }
  | { readonly kind: "answered"; readonly id: number; readonly answers: readonly unknown[] };

/** An answer as it goes over the bus. */
type Given = { readonly value: unknown } | { readonly error: string };

type Hearer = (what: never, from: string) => unknown;

/** Milliseconds by which a process waits longer than the hub, so that the hub's word comes first. */
const MARGIN = 500;

/**
 * Joins a process to the others by messages to and from the supervisor. An answer that is an error's reaches `askKeeper` as an `Error` with its
 * message. What was asked and not answered when the process that was asked dies is `NoAnswer`: it may have been done.
 */
export class ProcessBus implements Bus {
  private readonly hearers = new Map<string, Hearer>();
  private readonly answerers = new Map<string, Hearer>();
  private readonly asked = new Map<number, (answers: readonly unknown[]) => void>();
  private count = 0;

  constructor(
    readonly role: Role,
    readonly self: string,
    private readonly deps: { readonly send: (message: FromProcess) => void; readonly onFault: (error: unknown) => void },
  ) {}

  tell(topic: string, what: unknown): void {
    this.deps.send({ kind: "tell", topic, what });
  }

  hear<T>(topic: string, hearer: (what: T, from: string) => void): void {
    this.hearers.set(topic, hearer as Hearer);
  }

  answer<T>(topic: string, answerer: (what: T, from: string) => unknown): void {
    this.answerers.set(topic, answerer as Hearer);
  }

  async askAll<T>(topic: string, what: unknown, within: number): Promise<readonly T[]> {
    const answers = await this.ask("all", topic, what, within);
    return answers.flatMap((given) => ("value" in (given as Given) ? [(given as { value: T }).value] : []));
  }

  async askKeeper<T>(topic: string, what: unknown, within: number): Promise<T> {
    // The keeper may ask itself, so that nobody has to know where he is.
    const given = this.role === "keeper" ? await this.answerOf(topic, what, this.self) : (await this.ask("keeper", topic, what, within))[0];
    if (given === undefined || given === null) throw new NoAnswer(`the keeper has not answered ${topic}`);
    if ("error" in (given as Given)) throw new Error((given as { error: string }).error);
    return (given as { value: T }).value;
  }

  /** Takes a message of the hub. */
  take(message: ToProcess): void {
    switch (message.kind) {
      case "told":
        this.guarded(() => this.hearers.get(message.topic)?.(message.what as never, message.from));
        break;
      case "asked":
        void this.answerOf(message.topic, message.what, message.from).then((what) =>
          this.deps.send({ kind: "answer", id: message.id, isGiven: what !== null, what }),
        );
        break;
      case "answered": {
        const done = this.asked.get(message.id);
        this.asked.delete(message.id);
        done?.(message.answers);
      }
    }
  }

  private ask(to: "all" | "keeper", topic: string, what: unknown, within: number): Promise<readonly unknown[]> {
    const id = ++this.count;
    return new Promise((resolve) => {
      const patience = setTimeout(() => {
        this.asked.delete(id);
        resolve([]);
      }, within + MARGIN);
      this.asked.set(id, (answers) => {
        clearTimeout(patience);
        resolve(answers);
      });
      this.deps.send({ kind: "ask", id, to, topic, what, within });
    });
  }

  /** Gives the answer of this process; `null`: it has none. */
  private async answerOf(topic: string, what: unknown, from: string): Promise<Given | null> {
    const answerer = this.answerers.get(topic);
    if (answerer === undefined) return null;
    try {
      return { value: (await answerer(what as never, from)) ?? null };
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) };
    }
  }

  private guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.deps.onFault(error);
    }
  }
}
