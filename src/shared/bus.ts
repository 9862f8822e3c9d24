/**
 * Joins the processes of one gateway: the keeper and the workers. What is told reaches every other process that is there, each once and in
 * the order of telling; who comes later asks for the state instead.
 * Nothing told is kept for a process that has died.
 */
export interface Bus {
  /** This process' part. */
  readonly role: Role;
  /** The name that tells this process from the others: "keeper", or a worker's number. */
  readonly self: string;
  /** Tells all others. `what` is JSON. */
  tell(topic: string, what: unknown): void;
  /** Hears what others tell of a topic; one hearer for each topic. */
  hear<T>(topic: string, hearer: (what: T, from: string) => void): void;
  /** Asks all others. Gives the answers of those who gave one within so many milliseconds; who dies meanwhile, or throws, gives none. */
  askAll<T>(topic: string, what: unknown, within: number): Promise<readonly T[]>;
  /**
   * Asks the keeper, which may be this process itself. While there is none it waits for the next. Rejects with `NoAnswer` after `within` milliseconds, and with the
   * error of an answerer that threw.
   */
  askKeeper<T>(topic: string, what: unknown, within: number): Promise<T>;
  /** Answers what others ask of a topic; one answerer for each topic. */
  answer<T>(topic: string, answerer: (what: T, from: string) => unknown): void;
}

/** A process' part in the gateway: all of it, what is done once, or serving requests. */
export type Role = "alone" | "keeper" | "worker";

/** Says that nobody answered in time. */
export class NoAnswer extends Error {}

/** Stands for the bus of a gateway of one process: there is nobody else to hear anything, and what the keeper is asked is answered here. */
export function aloneBus(): Bus {
  const answerers = new Map<string, (what: never, from: string) => unknown>();
  return {
    role: "alone",
    self: "keeper",
    tell: () => {},
    hear: () => {},
    askAll: async () => [],
    askKeeper: async <T>(topic: string, what: unknown): Promise<T> => {
      const answerer = answerers.get(topic);
      if (answerer === undefined) throw new NoAnswer(`nobody answers ${topic}`);
      return (await answerer(what as never, "keeper")) as T;
    },
    answer: (topic, answerer) => void answerers.set(topic, answerer as (what: never, from: string) => unknown),
  };
}
