import { closeSync, ftruncateSync, openSync } from "node:fs";
import { join } from "node:path";
import { Chunks } from "../../../src/shared/chunks.ts";
import { enterColumns, inFlight } from "../../../src/shared/columns.ts";
import {
  FINGERPRINT,
  HEADER,
  LOG,
  OWNER_SHIFT,
  PLAIN,
  SLOT_WORDS,
  SLOTS,
  STRIPE_COUNT,
  STRIPE_WORDS,
  STRIPES,
} from "../../../src/shared/layout.ts";
import type { Ticket } from "../../../src/shared/members.ts";
import { openRegion, type Region } from "../../../src/shared/region.ts";
import { Table } from "../../../src/shared/table.ts";
import { SharedValue } from "../../../src/shared/value.ts";
import { ticketText } from "../../support/tickets.ts";
import { type Intent, JOURNAL_BYTES, Journal, KEYS, PLAIN_KEYS, VALUE_KEY } from "./journal.ts";
import type { Mutant } from "./marked.ts";

/** What has happened in some rounds. */
export interface Outcome {
  kills: number;
  operations: number;
  /** Operations that were under way at a kill: wholly there, or wholly absent. */
  whole: number;
  absent: number;
  /** Locks that were not had in time. */
  busy: number;
  takeovers: number;
  evictions: number;
  /** The levels of the table that were in use at the end. */
  levels: number;
  readonly faults: string[];
  /** The places in the source at which a process was killed. */
  readonly sites: Set<number>;
}

interface Options {
  readonly folder: string;
  readonly mutant: Mutant;
  readonly rounds: number;
  /** The subjects that the table has room for, and those that come besides the model's. */
  readonly maxSubjects: number;
  readonly subjects: number;
  /** Gives the place at which the next worker is to kill itself. */
  readonly nextSite: () => number;
}

const WORKERS = 3;
/** Kills of one round: what was under way at each may have happened or not, so that 2^8 cases are tried. */
const KILLS = 8;
/** The share of deaths of which the others are told late. */
const UNTOLD = 0.3;

type Totals = readonly (readonly [count: number, sum: number])[];

/** Runs rounds in which workers on one table are killed, and compares the table with what they had noted after each. */
export async function playRounds(options: Options): Promise<Outcome> {
  const { folder, mutant, rounds, maxSubjects } = options;
  const outcome: Outcome = {
    levels: 0,
    kills: 0,
    operations: 0,
    whole: 0,
    absent: 0,
    busy: 0,
    takeovers: 0,
    evictions: 0,
    faults: [],
    sites: new Set(),
  };
  const path = join(folder, `${mutant}.table`);
  const region = openRegion(path, { maxSubjects });
  if (region.path === null) throw new Error(`The table is private: ${region.why}`);
  const own = region.becomeWorker();
  if (own === null) throw new Error("There is no id left.");
  const table = new Table(region.memory, own);
  let before = totalsOf(region, table);
  for (let round = 0; round < rounds && outcome.faults.length === 0; round++) {
    const journals = await playRound(region, `${mutant}-${round}`, options, outcome);
    let after: Totals;
    try {
      after = totalsOf(region, table);
    } catch (error) {
      // What was half written may be no text at all.
      outcome.faults.push(`round ${round}: the table can't be read: ${String(error)}`);
      break;
    }
    compare(before, after, journals, outcome);
    outcome.faults.push(...leftovers(region, table).map((fault) => `round ${round}: ${fault}`));
    before = after;
  }
  Object.assign(outcome, { takeovers: table.counts().takeovers, evictions: table.counts().evictions, levels: table.i32[HEADER.levels] });
  region.close();
  return outcome;
}

function makeFile(path: string, size: number): string {
  const file = openSync(path, "w+", 0o600);
  ftruncateSync(file, size);
  closeSync(file);
  return path;
}

async function playRound(region: Region, name: string, options: Options, outcome: Outcome): Promise<Journal[]> {
  const { folder, mutant, nextSite, subjects } = options;
  const controlPath = makeFile(join(folder, `${name}.control`), 64);
  const control = new Int32Array(Bun.mmap(controlPath, { shared: true }).buffer);
  const journals: Journal[] = [];
  let kills = 0;
  const worker = async (): Promise<void> => {
    while (kills < KILLS && outcome.faults.length === 0) {
      const ticket = region.letWorker();
      if (ticket === null) throw new Error("There is no id left.");
      const journalPath = makeFile(join(folder, `${name}.${journals.length}.journal`), JOURNAL_BYTES);
      const journal = new Journal(journalPath);
      journals.push(journal);
      const program = [process.execPath, join(import.meta.dir, "worker.ts"), region.path as string, ticketText(ticket)];
      // Half of them kill themselves at a place of the source, unless they don't come there.
      const site = Math.random() < 0.7 ? nextSite() : -1;
      const hit = 1 + Math.floor(40 * Math.random() ** 3);
      const child = Bun.spawn([...program, journalPath, controlPath, mutant, String(site), String(hit), String(subjects)], {
        stdout: "pipe",
        stderr: "pipe",
      });
      const stderr = new Response(child.stderr).text();
      await child.stdout.getReader().read();
      const timer = setTimeout(() => child.kill("SIGKILL"), 1 + Math.random() * (site < 0 ? 60 : 400));
      await child.exited;
      clearTimeout(timer);
      const text = await stderr;
      if (child.signalCode === "SIGKILL") kills++;
      else if (child.exitCode !== 0) outcome.faults.push(`a worker ended with ${child.exitCode ?? child.signalCode}: ${text.trim()}`);
      if (journal.site >= 0) outcome.sites.add(journal.site);
      await bury(region, ticket, child.signalCode === "SIGKILL");
    }
    Atomics.store(control, 0, 1);
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
  outcome.kills += kills;
  return journals;
}

async function bury(region: Region, ticket: Ticket, wasKilled: boolean): Promise<void> {
  // The others then have to ask the kernel.
  if (wasKilled && Math.random() < UNTOLD) await Bun.sleep(30);
  region.declareDead(ticket);
}

/** What the table says of each key. */
function totalsOf(region: Region, table: Table): Totals {
  const key = table.keyOf("model");
  return Array.from({ length: KEYS }, (_, subject) => {
    if (subject === VALUE_KEY) {
      const codec = {
        initial: () => ({ n: 0, sum: 0 }),
        encode: JSON.stringify,
        decode: (text: string) => JSON.parse(text) as { n: number; sum: number },
      };
      const { n, sum } = new SharedValue(table, new Chunks(region, table, 2), key, "value", codec).read();
      return [n, sum] as const;
    }
    table.begin();
    const position = table.enter(key, String(subject), subject < PLAIN_KEYS ? PLAIN : LOG);
    return table.peek(position) ? ([table.scratch[0] ?? 0, table.scratch[1] ?? 0] as const) : ([0, 0] as const);
  });
}

/** Compares the table with the journals: each operation that was under way at a kill may be there or not, but wholly. */
function compare(before: Totals, after: Totals, journals: readonly Journal[], outcome: Outcome): void {
  const open: Intent[] = journals.map((journal) => journal.intent).filter(({ mask }) => mask !== 0);
  const missing = after.map(([count, sum], key) => {
    let [c, s] = [count - (before[key]?.[0] ?? 0), sum - (before[key]?.[1] ?? 0)];
    for (const journal of journals) {
      const [doneCount, doneSum] = journal.total(key);
      c -= doneCount;
      s -= doneSum;
    }
    return [c, s] as const;
  });
  outcome.operations += journals.reduce((sum, { done }) => sum + done, 0);
  outcome.busy += journals.reduce((sum, { busy }) => sum + busy, 0);
  for (let chosen = 0; chosen < 2 ** open.length; chosen++) {
    const fits = missing.every(([c, s], key) => {
      let [count, sum] = [0, 0];
      for (const [k, { mask, number }] of open.entries())
        if ((chosen >> k) & 1 && (mask >> key) & 1) {
          count++;
          sum += number;
        }
      return count === c && sum === s;
    });
    if (!fits) continue;
    const whole = open.filter((_, k) => (chosen >> k) & 1).length;
    outcome.whole += whole;
    outcome.absent += open.length - whole;
    return;
  }
  outcome.faults.push(
    `no choice of the ${open.length} operations under way gives what the table says: ${JSON.stringify({ missing, open })}`,
  );
}

/** What all workers' deaths should not have left. */
function leftovers(region: Region, table: Table): string[] {
  const { i32 } = region.memory;
  const faults: string[] = [];
  const seen = new Set<string>();
  for (let slot = 0; slot < (i32.length - SLOTS) / SLOT_WORDS; slot++) {
    const at = SLOTS + slot * SLOT_WORDS;
    if ((i32[at] ?? 0) >>> OWNER_SHIFT !== 0) faults.push(`slot ${slot} is locked by ${(i32[at] ?? 0) >>> OWNER_SHIFT}`);
    const [a, b] = [i32[at + FINGERPRINT], i32[at + FINGERPRINT + 1]];
    if (a !== 0 && seen.has(`${a} ${b}`)) faults.push(`a subject has two slots, one of them ${slot}`);
    if (a !== 0) seen.add(`${a} ${b}`);
  }
  for (let stripe = 0; stripe < STRIPE_COUNT; stripe++)
    if ((i32[STRIPES + stripe * STRIPE_WORDS] ?? 0) >>> OWNER_SHIFT !== 0) faults.push(`insert lock ${stripe} is locked`);
  table.begin();
  const held = inFlight(table, enterColumns(table, table.keyOf("limited"), "in flight"));
  if (held !== 0) faults.push(`${held} are in flight though nobody lives`);
  return faults;
}
