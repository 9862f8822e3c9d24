import type { Clock } from "../../values/clock.ts";
import { SinkAway } from "../sinks/sink.ts";
import { type BigQueryClient, type ErrorProto, type Job, Refused } from "./client.ts";
import { type Entry, parts } from "./entry.ts";
import type { Stream } from "./stream.ts";
import type { KnownTable, Tables } from "./tables.ts";

/** The most that one job loads: the bytes are held in memory. */
const MAX_BYTES = 32_000_000;
/** The jobs that are tried for the same rows, when BigQuery fails or rows are refused. More are not worth their part of the day's 1,500. */
const MAX_JOBS = 5;
/** The time for which a job is waited for, in milliseconds; then it is looked for again later. */
const PATIENCE = 15 * 60_000;
const MAX_REMEMBERED = 1000;
/** Ends of jobs that another job may not have. */
const PASSING = /^(backendError|internalError|jobBackendError|jobInternalError|rateLimitExceeded|jobRateLimitExceeded|timeout|stopped)$/;

export interface LoadDeps {
  readonly client: BigQueryClient;
  readonly tables: Tables;
  /** Takes rows that a job refuses without saying which. */
  readonly stream: Stream;
  readonly clock: Clock;
  readonly pause: (milliseconds: number) => Promise<void>;
}

/** Loads rows into tables by jobs. Rows are stored when it is done. A job has an id made of its rows' ids: the same rows are loaded once. */
export class Load {
  private location: string | null = null;
  /** The number of the next job for the same rows, by the first one's id, where earlier ones failed. */
  private readonly numbers = new Map<string, number>();

  constructor(private readonly deps: LoadDeps) {}

  /** Gives the jobs that store these rows; they can be done in any order. `mayRepeat`: there may be one of them already. */
  jobs(table: KnownTable, entries: readonly Entry[], mayRepeat: boolean): (() => Promise<void>)[] {
    return parts(entries, Number.POSITIVE_INFINITY, MAX_BYTES).map((part) => () => this.load(table, part, mayRepeat));
  }

  private async load(table: KnownTable, rows: readonly Entry[], mayRepeat: boolean): Promise<void> {
    let left = rows;
    for (let jobs = 0; jobs < MAX_JOBS && left.length > 0; jobs++) {
      const errors = await this.run(table, left, mayRepeat);
      if (errors === null) return;
      const bad = refusedBy(errors, left);
      if (bad.size === 0) break;
      for (const [entry, why] of bad) entry.fail(`BigQuery does not take the row: ${why}`);
      left = left.filter((entry) => !bad.has(entry));
    }
    // Streaming says of each row what is wrong with it.
    for (const request of this.deps.stream.requests(table, left)) await request();
  }

  /** Runs the job for these rows, or finds it. Gives what is wrong with the rows; `null`: they are loaded. */
  private async run(table: KnownTable, rows: readonly Entry[], mayRepeat: boolean): Promise<readonly ErrorProto[] | null> {
    this.location ??= await this.deps.client.location();
    const first = idOf(table, rows);
    for (let begun = 0; begun < MAX_JOBS; ) {
      const number = this.numbers.get(first) ?? 0;
      const id = number === 0 ? first : `${first}_${number}`;
      let job = mayRepeat ? await this.deps.client.job(id, this.location) : null;
      if (job === null) {
        begun++;
        job = await this.begin(id, this.location, table, rows);
      }
      const { errorResult, errors = [] } = (await this.ended(id, this.location, job)).status ?? {};
      if (errorResult === undefined) {
        this.numbers.delete(first);
        return null;
      }
      const { reason = "", message = reason } = errorResult;
      if (reason === "invalid") return [errorResult, ...errors];
      // A job of this id has failed: the next one has another.
      if (this.numbers.size >= MAX_REMEMBERED) this.numbers.clear();
      this.numbers.set(first, number + 1);
      if (reason === "notFound") this.deps.tables.forget(table.name);
      // One that failed before, and is only found, says nothing about now.
      if (!PASSING.test(reason) && begun > 0)
        throw new SinkAway(`BigQuery's job for the table ${table.name} failed (${reason}): ${message}`);
      if (begun > 0) await this.deps.pause(1000 * 2 ** begun);
    }
    throw new SinkAway(`BigQuery's jobs for the table ${table.name} fail for now`);
  }

  private async begin(id: string, location: string, table: KnownTable, rows: readonly Entry[]): Promise<Job> {
    try {
      return await this.deps.client.load(id, location, table.name, rows.map(({ json }) => json).join("\n"));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const there = error.status === 409 ? await this.deps.client.job(id, location) : null;
      if (there !== null) return there;
      // What it holds is read later: no row is to blame, and rows tried one by one would use up the day's jobs.
      this.deps.tables.forget(table.name);
      throw new SinkAway(`BigQuery refuses a job for the table ${table.name}: ${error.message}`);
    }
  }

  private async ended(id: string, location: string, begun: Job): Promise<Job> {
    const until = this.deps.clock.now() + PATIENCE;
    let job = begun;
    for (let pause = 500; job.status?.state !== "DONE"; pause = Math.min(5000, pause * 1.5)) {
      if (this.deps.clock.now() > until) throw new SinkAway(`BigQuery's job ${id} has not ended yet`);
      await this.deps.pause(pause);
      job = (await this.deps.client.job(id, location)) ?? job;
    }
    return job;
  }
}

/** Gives the id of the job for these rows. Those that failed, and are replayed, have another: what is wrong may have been mended. */
function idOf(table: KnownTable, rows: readonly Entry[]): string {
  const hasher = new Bun.CryptoHasher("sha256").update(table.name);
  for (const { id, position } of rows) hasher.update(`\n${id} ${position}`);
  return `sluice_${table.name}_${hasher.digest("hex").slice(0, 40)}`;
}

/** Finds the rows that a job says it can't read, by the places of their first bytes. */
function refusedBy(errors: readonly ErrorProto[], rows: readonly Entry[]): Map<Entry, string> {
  const bad = new Map<Entry, string>();
  const at = new Map<number, string>();
  for (const { message = "" } of errors) {
    const place = /starting at position (\d+)/.exec(message)?.[1];
    if (place !== undefined) at.set(Number(place), message);
  }
  let position = 0;
  for (const entry of rows) {
    const why = at.get(position);
    if (why !== undefined) bad.set(entry, why);
    position += entry.size + 1;
  }
  return bad;
}
