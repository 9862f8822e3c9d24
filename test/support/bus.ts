import { type Bus, NoAnswer, type Role } from "../../src/shared/bus.ts";

/** A process' bus, which can be made to die. */
export interface LinkedBus extends Bus {
  /** Hears and answers nothing any more, as a process that was killed. */
  die(): void;
}

type Hearer = (what: unknown, from: string) => unknown;

interface Member {
  readonly bus: LinkedBus;
  readonly hearers: Map<string, Hearer>;
  readonly answerers: Map<string, Hearer>;
}

/** Milliseconds between two looks of one who waits for a keeper. */
const LOOK_EVERY = 5;

/** The buses of a keeper and so many workers, linked within this process: what is told arrives in a later turn, in order, as JSON. */
export function busOf(workers: number) {
  const members = new Map<string, Member>();
  const later = (work: () => void): void => void setImmediate(work);
  const copied = <T>(what: T): T => (what === undefined ? what : (JSON.parse(JSON.stringify(what)) as T));
  const answerOf = async (member: Member, topic: string, what: unknown, from: string): Promise<unknown> => {
    await new Promise<void>((resolve) => later(resolve));
    const answerer = member.answerers.get(topic);
    if (answerer === undefined || members.get(member.bus.self) !== member) throw new NoAnswer(`nobody answers ${topic}`);
    return copied(await answerer(what, from));
  };
  const within = <T>(milliseconds: number, asked: Promise<T>): Promise<T> =>
    Promise.race([asked, Bun.sleep(milliseconds).then(() => Promise.reject(new NoAnswer("no answer in time")))]);

  /** Lets a process join; one of the same name must have died. */
  const join = (role: Role, self: string): LinkedBus => {
    const others = (): Member[] => [...members.values()].filter((each) => each.bus.self !== self);
    const isThere = (): boolean => members.get(self)?.bus === bus;
    const hearers = new Map<string, Hearer>();
    const answerers = new Map<string, Hearer>();
    const bus: LinkedBus = {
      role,
      self,
      tell: (topic, what) => {
        if (!isThere()) return;
        const text = JSON.stringify(what);
        for (const other of others())
          later(() => {
            if (members.get(other.bus.self) === other) other.hearers.get(topic)?.(JSON.parse(text), self);
          });
      },
      hear: (topic, hearer) => void hearers.set(topic, hearer as Hearer),
      askAll: async <T>(topic: string, what: unknown, milliseconds: number): Promise<readonly T[]> => {
        const asked = others().map((other) => within(milliseconds, answerOf(other, topic, copied(what), self)));
        return (await Promise.allSettled(asked)).flatMap((each) => (each.status === "fulfilled" ? [each.value as T] : []));
      },
      askKeeper: async <T>(topic: string, what: unknown, milliseconds: number): Promise<T> => {
        const until = performance.now() + milliseconds;
        while (!members.has("keeper")) {
          if (performance.now() >= until) throw new NoAnswer("there is no keeper");
          await Bun.sleep(LOOK_EVERY);
        }
        const keeper = members.get("keeper") as Member;
        return (await within(until - performance.now(), answerOf(keeper, topic, copied(what), self))) as T;
      },
      answer: (topic, answerer) => void answerers.set(topic, answerer as Hearer),
      die: () => {
        if (isThere()) members.delete(self);
      },
    };
    if (members.has(self)) throw new Error(`${self} is there already`);
    members.set(self, { bus, hearers, answerers });
    return bus;
  };
  const keeper = join("keeper", "keeper");
  return { keeper, workers: Array.from({ length: workers }, (_, i) => join("worker", String(i + 1))), join };
}
