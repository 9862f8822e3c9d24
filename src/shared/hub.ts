import type { FromProcess, ToProcess } from "./process-bus.ts";

/** Represents one process of the gateway as the hub knows it. */
export interface Member {
  /** "keeper", or a worker's number. */
  readonly name: string;
  /** Sends it a message; false, or a throw, where it is gone. */
  send(message: ToProcess): void;
}

interface Question {
  readonly from: Member;
  readonly id: number;
  readonly waitsFor: Set<Member>;
  readonly answers: unknown[];
  readonly patience: Timer;
}

/** A question to the keeper that waits for one to be there. */
interface Waiting {
  readonly from: Member;
  readonly id: number;
  readonly topic: string;
  readonly what: unknown;
  readonly patience: Timer;
}

/** The most questions that wait while there is no keeper: what they carry is kept in memory. */
const MAX_WAITING = 10_000;

/** Passes on what the processes of one gateway tell and ask each other; the supervisor has one. */
export class Hub {
  private readonly members = new Map<string, Member>();
  private readonly questions = new Map<number, Question>();
  private readonly waiting = new Set<Waiting>();
  private count = 0;

  /** Takes a process in that can hear from here on. What waited for a keeper goes to it. */
  join(member: Member): void {
    this.members.set(member.name, member);
    if (member.name !== KEEPER) return;
    for (const { from, id, topic, what, patience } of this.waiting) {
      clearTimeout(patience);
      // The time that is left is not known any more: who asks has its own.
      this.pose(from, id, topic, what, [member], LONGEST);
    }
    this.waiting.clear();
  }

  /** Takes a process out, since it has ended: nobody waits for it any more. */
  leave(member: Member): void {
    if (this.members.get(member.name) === member) this.members.delete(member.name);
    for (const waiting of this.waiting)
      if (waiting.from === member) {
        clearTimeout(waiting.patience);
        this.waiting.delete(waiting);
      }
    for (const [id, question] of this.questions) {
      if (question.from === member) this.drop(id, question);
      else if (question.waitsFor.delete(member) && question.waitsFor.size === 0) this.settle(id, question);
    }
  }

  /** Takes a message of a process. */
  take(from: Member, message: FromProcess): void {
    switch (message.kind) {
      case "tell":
        for (const member of this.members.values())
          if (member !== from) member.send({ kind: "told", topic: message.topic, what: message.what, from: from.name });
        break;
      case "ask":
        this.ask(from, message);
        break;
      case "answer": {
        const question = this.questions.get(message.id);
        if (question === undefined || !question.waitsFor.delete(from)) return;
        if (message.isGiven) question.answers.push(message.what);
        if (question.waitsFor.size === 0) this.settle(message.id, question);
      }
    }
  }

  private ask(from: Member, { id, to, topic, what, within }: Extract<FromProcess, { kind: "ask" }>): void {
    if (to === "all") {
      this.pose(
        from,
        id,
        topic,
        what,
        [...this.members.values()].filter((member) => member !== from),
        within,
      );
      return;
    }
    const keeper = this.members.get(KEEPER);
    if (keeper !== undefined) this.pose(from, id, topic, what, [keeper], within);
    else if (this.waiting.size >= MAX_WAITING) from.send({ kind: "answered", id, answers: [] });
    else {
      const waiting: Waiting = {
        ...{ from, id, topic, what },
        patience: setTimeout(() => {
          this.waiting.delete(waiting);
          from.send({ kind: "answered", id, answers: [] });
        }, within),
      };
      this.waiting.add(waiting);
    }
  }

  private pose(from: Member, id: number, topic: string, what: unknown, to: readonly Member[], within: number): void {
    const number = ++this.count;
    const question: Question = {
      ...{ from, id, waitsFor: new Set(to), answers: [] },
      patience: setTimeout(() => this.settle(number, question), within),
    };
    this.questions.set(number, question);
    if (to.length === 0) this.settle(number, question);
    for (const member of to) member.send({ kind: "asked", id: number, topic, what, from: from.name });
  }

  private settle(number: number, question: Question): void {
    this.drop(number, question);
    question.from.send({ kind: "answered", id: question.id, answers: question.answers });
  }

  private drop(number: number, { patience }: Question): void {
    clearTimeout(patience);
    this.questions.delete(number);
  }
}

/** The name of the process that does what is done once. */
export const KEEPER = "keeper";
/** Milliseconds after which an answer is not waited for any more, whoever asks. */
const LONGEST = 60_000;
