import { expect } from "bun:test";
import { join } from "node:path";
import { type Bill, PRICES } from "../../support/billing-provider.ts";
import type { Call, Task } from "./calls.ts";

/** Nano-dollars in a dollar. */
export const DOLLAR = 1_000_000_000;

/** Tells what the gateway has written down of a call. */
export interface Logged {
  readonly requestId: string;
  readonly status: number;
  /** Dollars; left out where the call was refused before anybody knew what it costs. */
  readonly cost?: number;
}

/** Lets callers of both languages at gateways, and gives what came of their calls. `python`: the interpreter that has the clients. */
export async function callAll(task: Task, python: { readonly program: string; readonly path: string }): Promise<Call[]> {
  const programs = [
    [process.execPath, join(import.meta.dir, "client.ts")],
    [python.program, join(import.meta.dir, "client.py")],
  ];
  const calls = await Promise.all(
    programs.map(async (program, i) => {
      const own: Task = { ...task, name: `${task.name}-${i}`, streams: task.streams / programs.length, seed: task.seed + i };
      const child = Bun.spawn([...program, JSON.stringify(own)], {
        env: { PATH: process.env.PATH ?? "", PYTHONPATH: python.path },
        stdout: "pipe",
        stderr: "pipe",
      });
      const [printed, faults] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
      if ((await child.exited) !== 0) throw new Error(faults);
      return printed
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Call);
    }),
  );
  return calls.flat();
}

/** Holds the accounts of a round, in nano-dollars. */
export interface Accounts {
  /** What the provider has billed. */
  readonly billed: number;
  /** What the gateway has charged for calls that it saw end. */
  readonly charged: number;
  /** What was billed beyond an estimate by what has come: of answers that reported nothing, or not to the end. */
  readonly missed: number;
  /** What was billed beyond what could be reserved: of answers that reported it. */
  readonly beyond: number;
}

/** Events of a stream that are no text, at most. */
const WITHOUT_TEXT = 4;

/** Reckons a round, and holds each call against the provider's books: of several attempts for one call the last has answered. */
export function accountsOf(bills: readonly Bill[], calls: ReadonlyMap<string, Call>, logged: ReadonlyMap<string, Logged>): Accounts {
  const sums = { billed: 0, charged: 0, missed: 0, beyond: 0 };
  for (const [id, attempts] of Map.groupBy(bills, (bill) => bill.id)) {
    const last = attempts.at(-1);
    if (last !== undefined) add(sums, { attempts, last, call: calls.get(id), line: logged.get(id) });
  }
  return sums;
}

/** Holds what is known of one call: what the provider says, what the caller says, and what the gateway says. */
interface Known {
  readonly attempts: readonly Bill[];
  readonly last: Bill;
  readonly call: Call | undefined;
  readonly line: Logged | undefined;
}

function add(sums: { -readonly [Sum in keyof Accounts]: number }, { attempts, last, call, line }: Known): void {
  const billed = attempts.reduce((sum, { cost }) => sum + cost, 0);
  const reserve = attempts.reduce((sum, each) => sum + each.reserve, 0);
  const estimate = estimateOf(last, call);
  sums.billed += billed;
  if (line === undefined) {
    // A process that was killed leaves what it had reserved.
    sums.missed += above(billed, Math.max(estimate, reserve));
    return;
  }
  const charged = Math.round((line.cost ?? 0) * DOLLAR);
  sums.charged += charged;
  const claim = (isRight: boolean, wanted: number): void => {
    const { id, model, end, events } = last;
    if (!isRight) expect({ id, model, end, events, charged }).toEqual({ id, model, end, events, charged: wanted });
  };
  if (isTold(last, call)) {
    // An attempt that is lost costs what was reserved for it: nobody says how much it was.
    claim(attempts.length === 1 ? charged === billed : charged >= billed, billed);
    if (!hasGrown(last)) sums.beyond += above(charged, reserve);
    return;
  }
  // Nobody is charged less than what has come to them, as far as it was reserved, or than it was billed where that was told in time.
  const least = Math.min(estimate, last.reserve, last.cost);
  claim(charged >= least, least);
  sums.missed += above(billed, Math.max(estimate, charged));
}

const above = (amount: number, bound: number): number => (amount > bound ? amount - bound : 0);

/** Gives what a call is to be estimated at, at least, by its text and by the events that have come to its caller. */
function estimateOf({ asked, end, events }: Bill, call: Call | undefined): number {
  const came = end === "complete" && isWhole(call) ? events : (call?.events ?? 0) - WITHOUT_TEXT;
  return came > 0 ? asked + came * PRICES.output : 0;
}

const isWhole = (call: Call | undefined): boolean => call?.status === 200 && !call.left;

/** Tells whether the gateway has read what the call has cost: then that is what it charges, to the nano-dollar. */
const isTold = ({ model, end }: Bill, call: Call | undefined): boolean =>
  end === "failed" || (end === "complete" && isWhole(call) && model !== "silent" && model !== "lumpy");

/** Tells whether what was reserved has grown for certain: of an answer without a bound, when more than that has passed. */
const hasGrown = ({ mayGrow, asked, events, reserve }: Bill): boolean => mayGrow && asked + events * PRICES.output > reserve;
