// Does random operations on the table until it is told to stop or is killed; says on stderr what it finds wrong.
// `bun worker.ts TABLE TICKET JOURNAL CONTROL MUTANT SITE HIT SUBJECTS`: kills itself when it comes to SITE for the HIT-th time.
import { Journal, LOG_KEYS, PLAIN_KEYS, VALUE_KEY } from "./journal.ts";
import { loadMarked, type Mutant } from "./marked.ts";

const [path = "", ticketText = "", journalPath = "", controlPath = "", mutant = "none", site = "-1", hit = "1", subjects = "400"] =
  Bun.argv.slice(2);
const journal = new Journal(journalPath);
const control = new Int32Array(Bun.mmap(controlPath, { shared: true }).buffer);
const killAt = Number(site);
let left = Number(hit);

const mark = (at: number): void => {
  if (at !== killAt || --left > 0) return;
  journal.site = at;
  process.kill(process.pid, "SIGKILL");
};
await loadMarked(mutant as Mutant, mark);

const { joinRegion } = await import("../../../src/shared/region.ts");
const { parseTicket } = await import("../../support/tickets.ts");
const { Table, LOCKED } = await import("../../../src/shared/table.ts");
const { Chunks, chunkOf, restOf, thirdOf } = await import("../../../src/shared/chunks.ts");
const { enterColumns, hold, inFlight, release } = await import("../../../src/shared/columns.ts");
const { SharedValue } = await import("../../../src/shared/value.ts");
const { LOG, PLAIN } = await import("../../../src/shared/layout.ts");

function wrong(what: string): never {
  console.error(what);
  process.exit(3);
}

const ticket = parseTicket(ticketText);
if (ticket === null) wrong("no ticket");
const region = joinRegion(path, ticket);
const table = new Table(region.memory, ticket);
const chunks = new Chunks(region, table, 2);
const key = table.keyOf("model");
const others = table.keyOf("others");
const limited = table.keyOf("limited");
const value = new SharedValue(table, chunks, key, "value", {
  initial: () => ({ n: 0, sum: 0 }),
  encode: JSON.stringify,
  decode: (text) => JSON.parse(text) as { n: number; sum: number },
});

const random = (below: number): number => Math.floor(Math.random() * below);
const FAR = 1e12;
const now = (): number => performance.timeOrigin + performance.now() - 1.7e12;

/** A log's ring has this many pairs, in a chunk so large that 31 leaks would be noticed. */
const PAIRS = 31;
const RING_BYTES = 128 * 1024 - 16;
const LENGTH = 2 ** 17;

/** Checks what the live state says, and writes the next one. */
function add(position: number, subject: number, number: number): void {
  const isNew = table.isNew(position);
  const live = table.live(position);
  const count = isNew ? 0 : (table.f64[live] as number);
  const sum = isNew ? 0 : (table.f64[live + 1] as number);
  const third = isNew ? 0 : (table.f64[live + 2] as number);
  const next = table.next(position);
  if (subject < PLAIN_KEYS) {
    if (!isNew && third !== count * 3 + sum) wrong(`torn: subject ${subject} says ${count}, ${sum}, ${third}`);
  }
  const nextThird = subject < PLAIN_KEYS ? (count + 1) * 3 + sum + number : append(position, subject, count, third, number);
  table.f64[next] = count + 1;
  mark(0);
  table.f64[next + 1] = sum + number;
  mark(0);
  table.f64[next + 2] = nextThird;
  mark(0);
  table.change(position, FAR, true);
}

/** Appends to a log, whose pairs are the numbers of the last changes and what they added; now and then into another chunk. */
function append(position: number, subject: number, count: number, third: number, number: number): number {
  let chunk = chunkOf(third);
  let head = Math.floor(restOf(third) / LENGTH);
  let length = restOf(third) % LENGTH;
  if (chunk > 0) {
    const ring = ringOf(chunk);
    for (let i = 0; i < length; i++)
      if (ring[((head + i) % PAIRS) * 2] !== count - length + 1 + i) wrong(`the log of ${subject} has another's pair at ${i} of ${length}`);
  }
  if (chunk === 0 || length === PAIRS || random(20) === 0) {
    const moved = chunks.claim(position, RING_BYTES, now());
    if (moved === 0) wrong("no chunk is free: they leak");
    const to = ringOf(moved);
    const kept = chunk === 0 ? 0 : Math.min(length, random(PAIRS - 1));
    for (let i = 0; i < kept; i++)
      for (const k of [0, 1]) to[i * 2 + k] = (ringOf(chunk)[((head + length - kept + i) % PAIRS) * 2 + k] as number) ?? 0;
    chunk = moved;
    head = 0;
    length = kept;
  }
  const ring = ringOf(chunk);
  const at = (head + length) % PAIRS;
  ring[at * 2] = count + 1;
  mark(0);
  ring[at * 2 + 1] = number;
  mark(0);
  // Some of the oldest go.
  const gone = Math.min(length, random(3));
  return thirdOf(chunk, ((head + gone) % PAIRS) * LENGTH + length + 1 - gone);
}

function ringOf(chunk: number): Float64Array {
  const memory = chunks.memoryOf(chunk);
  if (memory === null) wrong("a slab is gone");
  return memory.f64.subarray(chunks.offsetOf(chunk) / 8, chunks.offsetOf(chunk) / 8 + PAIRS * 2);
}

function step(): void {
  const wanted = 1 + random(4);
  let mask = 0;
  for (let i = 0; i < wanted; i++) mask |= 1 << random(PLAIN_KEYS + LOG_KEYS);
  const number = 1 + random(2 ** 30);
  journal.intend(mask, number);
  table.begin();
  for (let subject = 0; subject < PLAIN_KEYS + LOG_KEYS; subject++)
    if ((mask >> subject) & 1) table.enter(key, String(subject), subject < PLAIN_KEYS ? PLAIN : LOG);
  if (table.lock(now()) !== LOCKED) {
    journal.countBusy();
    journal.finish(false);
    return;
  }
  if (random(20) === 0) {
    table.abort();
    journal.finish(false);
    return;
  }
  for (let subject = 0, position = 0; subject < PLAIN_KEYS + LOG_KEYS; subject++)
    if ((mask >> subject) & 1) add(position++, subject, number);
  table.commit();
  journal.finish(true);
}

/** Counts for one of many subjects that have no room all at once: each state names its subject. */
function other(): void {
  const subject = random(Number(subjects));
  table.begin();
  const position = table.enter(others, `other ${subject}`, PLAIN);
  if (table.peek(position) && table.scratch[0] !== subject) wrong(`subject ${subject} reads the state of ${table.scratch[0]}`);
  if (table.lock(now()) !== LOCKED) {
    journal.countBusy();
    return;
  }
  const live = table.live(position);
  if (!table.isNew(position) && table.f64[live] !== subject) wrong(`subject ${subject} has the state of ${table.f64[live]}`);
  const next = table.next(position);
  table.f64[next] = subject;
  table.f64[next + 1] = table.isNew(position) ? 1 : (table.f64[live + 1] as number) + 1;
  table.f64[next + 2] = 0;
  table.change(position, now() + random(Number(subjects) * 10), false);
  table.commit();
}

const LIMIT = 4;
const held: number[] = [];

function holdOne(): void {
  const column = random(2) === 0 ? held.pop() : undefined;
  if (column !== undefined) {
    release(table, column, 1);
    return;
  }
  table.begin();
  const position = enterColumns(table, limited, "in flight");
  if (table.lock(now()) !== LOCKED) {
    journal.countBusy();
    return;
  }
  const inUse = inFlight(table, position);
  if (inUse > LIMIT) wrong(`${inUse} are in flight where ${LIMIT} may be`);
  if (inUse === LIMIT) table.abort();
  else {
    held.push(hold(table, position, 1));
    table.commit();
  }
}

function change(): void {
  const number = 1 + random(2 ** 30);
  journal.intend(1 << VALUE_KEY, number);
  const happened = value.change(now(), ({ n, sum }) => ({ n: n + 1, sum: sum + number }));
  if (!happened) journal.countBusy();
  journal.finish(happened);
}

console.log("begun");
while (Atomics.load(control, 0) === 0) {
  const kind = random(20);
  if (kind < 11) step();
  else if (kind < 16) other();
  else if (kind < 18) holdOne();
  else if (kind === 18) change();
  else {
    const { n, sum } = value.read();
    if (n === 0 && sum !== 0) wrong("the value is torn");
  }
}
for (const column of held) release(table, column, 1);
region.close();
