import { RedisDown, type RedisLink } from "../../redis/link.ts";
import type { Clock } from "../../values/clock.ts";
import { slotOf } from "./keys.ts";
import { NUMBERS, OPERATIONS, type Operation, SCRIPT, widthOf } from "./script.ts";

export interface BatchesDeps {
  readonly link: RedisLink;
  readonly clock: Clock;
  /** The name that tells this instance from others. */
  readonly instance: string;
  readonly onFault: (error: unknown) => void;
  /** Gives the time, for tests; left out: Redis' own clock. */
  readonly now?: (() => number) | undefined;
}

interface Question {
  readonly operation: Operation;
  readonly keys: readonly string[];
  /** For each limit its terms and the charge; for a lease also the amount to take if that much is left, for a refund the time of the charge. */
  readonly args: readonly (string | number)[];
}

interface Asked extends Question {
  /** The time since which it waits. */
  readonly at: number;
  readonly resolve: (reply: readonly number[]) => void;
  readonly reject: (error: Error) => void;
}

interface RunScript {
  sluiceLimits(count: number, ...args: (string | number)[]): Promise<string>;
}

/** The number of requests that one call of the script is for: enough to share its cost, few enough not to hold Redis up. */
const MAX_TOGETHER = 64;
/** The number of calls that may be under way at the same time: while Redis is quick one is enough, and cheapest. */
const MAX_ON_THE_WAY = 16;
/** The time of what was taken a moment ago, for a refund: later than the beginning of every window. */
export const JUST_NOW = Number.MAX_SAFE_INTEGER;
/** Milliseconds for which a request waits at most to share a call with others. */
const WAIT_AT_MOST = 2;

/**
 * Asks the script in Redis; requests that come together share a call. On a cluster, where a script can only touch one slot, limits with
 * different subjects are taken one subject after the other, and given back when a later one denies: never too much is granted.
 */
export class Batches {
  private waiting: Asked[] = [];
  private isScheduled = false;
  private patience: Timer | null = null;
  /** Milliseconds by which Redis' clock is ahead of ours; `null` before its first answer. */
  private ahead: number | null = null;
  /** The number of calls that Redis has not answered. */
  private onTheWay = 0;

  constructor(private readonly deps: BatchesDeps) {
    deps.link.client.defineCommand("sluiceLimits", { lua: SCRIPT });
  }

  /** Tells whether nobody waits for an answer. */
  get isIdle(): boolean {
    return this.onTheWay === 0 && this.waiting.length === 0;
  }

  /**
   * Gives whether all limits allow it (1 or 0), then the numbers of each (see `widthOf`), then the time of the answer. Rejects with `RedisDown` when there is no answer
   * in time.
   */
  ask(operation: Operation, keys: readonly string[], args: readonly (string | number)[]): Promise<readonly number[]> {
    if (this.deps.link.isCluster) return this.askCluster(operation, keys, args);
    return new Promise((resolve, reject) => {
      this.waiting.push({ operation, keys, args, at: this.deps.clock.now(), resolve, reject });
      // What else arrives in this turn of the event loop, or while Redis is at work, goes along; but not for long.
      if (this.isScheduled) return;
      if (this.onTheWay === 0) {
        this.isScheduled = true;
        setImmediate(() => this.flush());
      } else if (this.onTheWay < MAX_ON_THE_WAY) {
        if (this.waiting.length >= MAX_TOGETHER) this.flush();
        else
          this.patience ??= setTimeout(() => {
            this.patience = null;
            if (this.waiting.length > 0 && this.onTheWay < MAX_ON_THE_WAY) this.flush();
          }, WAIT_AT_MOST);
      }
    });
  }

  /** Asks for something whose answer nobody waits for; does nothing while Redis is away. A refund is told by `tellRefund`. */
  tell(operation: Exclude<Operation, "refund" | "lease">, key: string, terms: string, cost: number): void {
    this.send(operation, key, [terms, cost]);
  }

  /** Gives back what was taken at the time `at` by Redis' clock, as `tell` does. */
  tellRefund(key: string, terms: string, cost: number, at: number): void {
    this.send("refund", key, [terms, cost, at]);
  }

  private send(operation: Operation, key: string, args: readonly (string | number)[]): void {
    if (!this.deps.link.isUp) return;
    this.ask(operation, [key], args).catch((error: unknown) => {
      if (!(error instanceof RedisDown)) this.deps.onFault(error);
    });
  }

  private flush(): void {
    this.isScheduled = false;
    const asked = this.waiting.splice(0, MAX_TOGETHER);
    if (asked.length === 0) return;
    // Who came first has waited longest: what is left of its time is what the call may take.
    const left = (asked[0] as Asked).at + this.deps.link.patience - this.deps.clock.now();
    if (left <= 0) {
      for (const { reject } of asked) reject(new RedisDown("Redis was too slow for those before"));
      this.flush();
      return;
    }
    this.call(asked, left).then(
      ({ time, reply }) => {
        this.flush();
        let at = 0;
        for (const { operation, keys: its, resolve } of asked) {
          const next = at + 1 + its.length * widthOf(operation);
          const part = reply.slice(at, next);
          part.push(time);
          resolve(part);
          at = next;
        }
      },
      (error: Error) => {
        this.flush();
        for (const { reject } of asked) reject(error);
      },
    );
  }

  /** Calls the script once, and gives its reply, and the time by Redis' clock. */
  private async call(asked: readonly Question[], patience = this.deps.link.patience): Promise<{ time: number; reply: number[] }> {
    const call = this.callOf(asked, patience);
    this.onTheWay++;
    try {
      const text = await this.deps.link.run((client) => (client as unknown as RunScript).sluiceLimits(...call), patience);
      const [time = 0, ...reply] = text.split(" ").map(Number);
      this.setClock(time);
      return { time, reply };
    } finally {
      this.onTheWay--;
    }
  }

  /** Gives the script's arguments: each key and each limit's terms once, and numbers that say which of them belong together. */
  private callOf(asked: readonly Question[], patience: number): [number, ...(string | number)[]] {
    const keys = new Map<string, number>();
    const terms = new Map<string, number>();
    let numbers = "";
    for (const { operation, keys: its, args } of asked) {
      numbers += `${numbers === "" ? "" : " "}${its.length} ${OPERATIONS[operation]}`;
      const width = operation === "lease" || operation === "refund" ? 3 : 2;
      for (let i = 0; i < its.length; i++) {
        const key = its[i] as string;
        let at = keys.get(key);
        if (at === undefined) {
          at = keys.size + 1;
          keys.set(key, at);
        }
        const text = args[i * width] as string;
        let which = terms.get(text);
        if (which === undefined) {
          which = terms.size + 1;
          terms.set(text, which);
        }
        numbers += ` ${at} ${which} ${args[i * width + 1]}`;
        if (width === 3) numbers += ` ${args[i * width + 2]}`;
      }
    }
    return [keys.size, ...keys.keys(), ...this.preamble(patience), `[${[...terms.keys()].join()}]`, numbers];
  }

  /**
   * Gives the time, the name of this instance, and the time until which anybody waits for the answer, by Redis' clock as far as it is
   * known.
   */
  private preamble(patience: number): (string | number)[] {
    const { now, instance, clock } = this.deps;
    if (now !== undefined) return [now(), instance, ""];
    return ["", instance, this.ahead === null ? "" : Math.ceil(clock.now() + this.ahead + patience)];
  }

  /** Notes the time by Redis' clock. A reply has been under way for a while: the greatest lead that was seen is nearest to the truth. */
  private setClock(time: number): void {
    const ahead = time - this.deps.clock.now();
    // Its clock may have been set, or another server have taken its place.
    if (this.ahead === null || Math.abs(ahead - this.ahead) > 1000) this.ahead = ahead;
    else this.ahead = Math.max(this.ahead, ahead);
  }

  /** Makes one call for each slot, which is one for each subject. */
  private async askCluster(operation: Operation, keys: readonly string[], args: readonly (string | number)[]): Promise<readonly number[]> {
    const groups = new Map<string, number[]>();
    for (const [i, key] of keys.entries()) {
      const slot = slotOf(key);
      const group = groups.get(slot);
      if (group === undefined) groups.set(slot, [i]);
      else group.push(i);
    }
    const reply: number[] = new Array(1 + keys.length * NUMBERS).fill(0);
    reply[0] = 1;
    let at = Number.POSITIVE_INFINITY;
    const taken: number[][] = [];
    const width = operation === "refund" ? 3 : 2;
    const run = (group: readonly number[], how: Operation): Promise<{ time: number; reply: number[] }> =>
      this.call([
        {
          operation: how,
          keys: group.map((i) => keys[i] as string),
          args: group.flatMap((i) => [
            ...args.slice(width * i, width * (i + 1)),
            // What is given back at once counts still.
            ...(how === "refund" && operation !== "refund" ? [JUST_NOW] : []),
          ]),
        },
      ]);
    const giveBack = (): void => {
      for (const group of taken) {
        // A limit in shadow that did not fit has taken nothing.
        const fitted = group.filter((i) => reply[1 + i * NUMBERS + 4] === 1);
        if (fitted.length > 0) run(fitted, "refund").catch(() => {});
      }
    };
    try {
      for (const group of groups.values()) {
        // After a denial the others are only looked at, for the headers.
        const { time, reply: part } = await run(group, operation === "take" && reply[0] === 0 ? "peek" : operation);
        // The slots' servers have clocks of their own: what counts as earlier is given back less readily.
        at = Math.min(at, time);
        if (part[0] === 0) reply[0] = 0;
        else if (operation === "take") taken.push(group);
        for (const [n, i] of group.entries())
          for (let k = 0; k < NUMBERS; k++) reply[1 + i * NUMBERS + k] = part[1 + n * NUMBERS + k] as number;
      }
    } catch (error) {
      giveBack();
      throw error;
    }
    if (reply[0] === 0) giveBack();
    reply.push(at);
    return reply;
  }
}
