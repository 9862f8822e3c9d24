import { existsSync } from "node:fs";
import { join } from "node:path";
import { type CellFile, CellFolder } from "../shared/cell-folder.ts";
import { Cells, drop } from "../shared/cells.ts";
import type { Storage } from "../storage/open.ts";
import { OTHER } from "../values/called-name.ts";
import type { Clock } from "../values/clock.ts";
import { COST, type CounterKey, ERRORS, LIMITED, REQUESTS, TIMES, TOKENS } from "./book.ts";
import { HeavyHitters } from "./heavy-hitters.ts";
import { HourNames } from "./names.ts";

/**
 * The most ids without a record that are told apart in an hour. Tokens and plug-ins may name anybody: an issuer with a million users is
 * ten thousand rows an hour for each route, not a million.
 */
export const MAX_NAMED = 10_000;
/** The most models, and the most tools, that are told apart in an hour besides those that the configuration names: callers may name any. */
export const MAX_CALLED = 1000;
/** Milliseconds between two looks whether a process has died. */
const LOOK_AT_LIVES_EVERY = 5000;
/** The most processes of which it is remembered whether they live. */
const MAX_LIVES = 1000;

interface Counter {
  readonly cells: Float64Array;
  readonly hour: number;
  readonly route: string;
  readonly consumer: string;
  readonly key: string;
  readonly model: string;
  readonly tool: string;
  /** The part of it that is known to be in the database. */
  readonly written: Float64Array;
  /** The part of it that the heavy hitters know of already. */
  told: number;
  toldLimited: number;
}

/** Is a block of cells that counts come from. */
interface Source {
  readonly cells: Cells;
  /** The file that it is; `null`: private memory of this process. */
  readonly file: CellFile | null;
  readonly counters: Counter[];
  /** The bytes that `counters` are from. */
  read: number;
}

export interface IntakeDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  /** Tells whether a consumer with this id was made, by the file or the admin API. */
  readonly hasRecord: (consumer: string) => boolean;
  /** Tells whether the configuration names this model or tool. */
  readonly isConfigured: (column: "model" | "tool", name: string) => boolean;
  /** The blocks in private memory in which this process counts. */
  readonly private: Set<Cells>;
  /** Learns of what was written, each count once. */
  readonly onWritten?: OnWritten;
}

/** Learns what a consumer ("" for callers whom nothing names) has used more, by the places that `book.ts` names. */
export type OnWritten = (consumer: string, more: Float64Array) => void;

/**
 * Puts what all processes have counted into the database, each count once: also those of processes that were killed, and when this one is.
 *
 * Each counter in a file has two marks of what is in the database. The one that holds is told by a number that each transaction raises: the
 * transaction writes the other marks first, so that a kill before its commit leaves those that held, and one after it those that do.
 */
export class UsageIntake {
  private readonly folder: CellFolder | null;
  private readonly files = new Map<string, Source>();
  private readonly privates = new Map<Cells, Source>();
  private readonly hitters = new HeavyHitters();
  private readonly consumers: HourNames;
  private readonly models: HourNames;
  private readonly tools: HourNames;
  private readonly lives = new Map<string, { isDead: boolean; lookedAt: number }>();

  constructor(private readonly deps: IntakeDeps) {
    const { storage, hasRecord, isConfigured } = deps;
    this.folder = storage.path === ":memory:" ? null : new CellFolder(storage.path);
    // Names that stand for others, such as those of all further ones, have spaces, which no id has.
    const isNone = (id: string): boolean => id === "" || id.includes(" ");
    this.consumers = new HourNames(storage, { column: "consumer", rows: " AND key = ''", max: MAX_NAMED, isKnown: hasRecord, isNone });
    const called = (column: "model" | "tool"): HourNames =>
      new HourNames(storage, {
        ...{ column, rows: "", max: MAX_CALLED },
        isKnown: (name) => isConfigured(column, name),
        isNone: (name) => name === "" || name === OTHER,
      });
    [this.models, this.tools] = [called("model"), called("tool")];
    this.forgetDropped();
  }

  /** Gives the number of requests in private memory that wait to be written: a crash loses them. */
  get waiting(): number {
    return [...this.privates.values()]
      .flatMap(({ counters }) => counters)
      .reduce((sum, { cells, written }) => sum + at(cells, REQUESTS) - at(written, REQUESTS), 0);
  }

  /** Writes what has come since the last call. Throws `SQLiteError` when the database can't be written. */
  take(): void {
    const sources = this.look();
    // Before anything is read: what is closed, or of a process that is dead, gets no more.
    const final = new Set(sources.filter((source) => this.isFinal(source)));
    for (const source of sources) this.readCounters(source);
    const changed = sources.filter((source) => final.has(source) || source.counters.some(({ cells, written }) => isBehind(written, cells)));
    if (changed.length > 0) {
      const taken = this.deps.storage.client.transaction(() => changed.map((source) => this.write(source))).immediate();
      for (const counts of taken)
        for (const [counter, count, more] of counts) {
          counter.written.set(count);
          if (more !== null) this.deps.onWritten?.(counter.consumer, more);
        }
    }
    this.tell(sources);
    for (const source of final) this.drop(source);
  }

  /** Gives who calls most at the moment. */
  heaviest(count: number) {
    const sources = this.look();
    for (const source of sources) this.readCounters(source);
    this.tell(sources);
    return this.hitters.top(count, this.deps.clock.now());
  }

  /** Looks for files and blocks that have come, or are gone. */
  private look(): Source[] {
    const { folder, files, privates } = this;
    const there = folder?.files("usage") ?? [];
    for (const file of there) if (!files.has(file.file)) this.openFile(file);
    const names = new Set(there.map(({ file }) => file));
    for (const name of files.keys()) if (!names.has(name)) files.delete(name);
    for (const cells of this.deps.private) if (!privates.has(cells)) privates.set(cells, { cells, file: null, counters: [], read: 0 });
    for (const cells of privates.keys()) if (!this.deps.private.has(cells)) privates.delete(cells);
    return [...files.values(), ...privates.values()];
  }

  private openFile(file: CellFile): void {
    const cells = existsSync(file.path) ? Cells.open(file.path) : "unready";
    if (cells instanceof Cells) this.files.set(file.file, { cells, file, counters: [], read: 0 });
    // What a power loss, or another version, has left can't be told from what is in the database already.
    else if (this.isDead(file.process)) drop(file.path);
  }

  private readCounters(source: Source): void {
    const { cells, file } = source;
    const { used } = cells;
    if (used === source.read) return;
    const sequence = file === null ? 0 : this.sequenceOf(file);
    for (const { key: text, cells: counts } of cells.since(source.read, used)) {
      const [hour, route, id, key, others, model = "", tool = ""] = JSON.parse(text) as CounterKey;
      const written = file === null ? new Float64Array(counts.length / TIMES) : markOf(counts, sequence).slice();
      const [told, toldLimited] = [at(written, REQUESTS), at(written, LIMITED)];
      source.counters.push({
        ...{ cells: counts, hour, route, key, written, told, toldLimited },
        consumer: others === "" ? id : this.consumers.of(id, hour, others),
        model: this.models.of(model, hour, OTHER),
        tool: this.tools.of(tool, hour, OTHER),
      });
    }
    source.read = used;
  }

  /** Writes what a source has counted, within a transaction. Gives what is then written, and how much of it was not before. */
  private write({ file, counters }: Source): [Counter, counts: Float64Array, more: Float64Array | null][] {
    const { client } = this.deps.storage;
    const add = client.query(
      "INSERT INTO usage (hour, consumer, key, route, model, tool, requests, errors, limited, tokens, cost) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO UPDATE SET requests = requests + ?7, errors = errors + ?8, limited = limited + ?9, tokens = tokens + ?10, cost = cost + ?11",
    );
    const sequence = file === null ? 0 : this.sequenceOf(file);
    const taken: [Counter, Float64Array, Float64Array | null][] = [];
    // Another gateway on this database has taken all of it meanwhile, and its number may be gone.
    if (file !== null && !existsSync(file.path)) return taken;
    for (const counter of counters) {
      const { cells, hour, consumer, key, route, model, tool } = counter;
      const counts = cells.slice(0, cells.length / TIMES);
      const written = file === null ? counter.written : markOf(cells, sequence);
      const more = isBehind(written, counts) ? counts.map((count, i) => count - at(written, i)) : null;
      const names = [hour, consumer, key, route, model, tool] as const;
      if (more !== null) add.run(...names, ...[REQUESTS, ERRORS, LIMITED, TOKENS, COST].map((count) => at(more, count)));
      if (file !== null) markOf(cells, sequence + 1).set(counts);
      if (isBehind(counter.written, counts)) taken.push([counter, counts, more]);
    }
    if (file !== null)
      client
        .query("INSERT INTO usage_files (file, sequence) VALUES (?1, 1) ON CONFLICT DO UPDATE SET sequence = sequence + 1")
        .run(file.file);
    return taken;
  }

  private sequenceOf({ file }: CellFile): number {
    const row = this.deps.storage.client
      .query<{ sequence: number }, [string]>("SELECT sequence FROM usage_files WHERE file = ?1")
      .get(file);
    return row?.sequence ?? 0;
  }

  /** Adds the requests since the last call to the heavy hitters. */
  private tell(sources: readonly Source[]): void {
    const now = this.deps.clock.now();
    for (const { counters } of sources)
      for (const counter of counters) {
        const [requests, limited] = [at(counter.cells, REQUESTS), at(counter.cells, LIMITED)];
        if (requests === counter.told) continue;
        this.hitters.add(counter.consumer, requests - counter.told, limited - counter.toldLimited, now);
        counter.told = requests;
        counter.toldLimited = limited;
      }
  }

  private isFinal({ cells, file }: Source): boolean {
    return cells.isClosed || (file !== null && this.isDead(file.process));
  }

  private drop({ cells, file }: Source): void {
    if (file === null) {
      this.deps.private.delete(cells);
      return;
    }
    drop(file.path);
    this.files.delete(file.file);
    // Only now: without its number a file that is there would be counted from the wrong mark.
    this.deps.storage.client.query("DELETE FROM usage_files WHERE file = ?1").run(file.file);
    this.folder?.sweep();
  }

  /** Removes the numbers of files that are gone. */
  private forgetDropped(): void {
    const { folder, deps } = this;
    if (folder === null) return;
    const { client } = deps.storage;
    const all = client.query<{ file: string }, []>("SELECT file FROM usage_files").all();
    for (const { file } of all) if (!existsSync(join(folder.path, file))) client.query("DELETE FROM usage_files WHERE file = ?1").run(file);
  }

  private isDead(process: string): boolean {
    const now = this.deps.clock.now();
    const known = this.lives.get(process);
    if (known !== undefined && (known.isDead || now - known.lookedAt < LOOK_AT_LIVES_EVERY)) return known.isDead;
    if (this.lives.size > MAX_LIVES) this.lives.clear();
    const isDead = this.folder?.isDead(process) ?? true;
    this.lives.set(process, { isDead, lookedAt: now });
    return isDead;
  }
}

const at = (counts: Float64Array, i: number): number => counts[i] ?? 0;

/** Gives the marks that hold at this number of a file. */
function markOf(cells: Float64Array, sequence: number): Float64Array {
  const counts = cells.length / TIMES;
  return sequence % 2 === 0 ? cells.subarray(counts, 2 * counts) : cells.subarray(2 * counts);
}

/** Tells whether less is written than was counted. */
function isBehind(written: Float64Array, counts: Float64Array): boolean {
  for (let i = 0; i < written.length; i++) if (written[i] !== counts[i]) return true;
  return false;
}
