import type { Caller } from "../exchange/caller.ts";
import type { CellWriter } from "../shared/cell-folder.ts";
import { Cells } from "../shared/cells.ts";

/**
 * The cells of one counter: requests, errors, limited, tokens, and what they have cost in nano-dollars; then twice what of them is in the
 * database, of which the file's sequence there says which one holds. Versions before 0.21 have left files without the cost.
 */
export const COUNTS = 5;
/** How often the counts lie in a counter: themselves, and their two marks. */
export const TIMES = 3;
const CELLS = TIMES * COUNTS;
export const [REQUESTS, ERRORS, LIMITED, TOKENS, COST] = [0, 1, 2, 3, 4] as const;

/** Says what one counter counts; the text of its key is the JSON of it. */
export type CounterKey = readonly [
  /** Milliseconds since 1970 at which the hour begins. */
  hour: number,
  route: string,
  consumer: string,
  /** The key's id; "" for callers without one. */
  key: string,
  /** For a caller who is named by something that can name anybody: the name of all further ones. "" for others. */
  others: string,
  /** The model and the tool that were called; "" for none. Left out by older versions. */
  model?: string,
  tool?: string,
];

/** Bytes of the first block of an hour, and of the largest. */
const FIRST_SIZE = 256 * 1024;
const MAX_SIZE = 2 * 1024 * 1024;
/** The most blocks that wait to be written before counters are no longer forgotten to begin another. */
const MAX_WAITING = 8;

/** Tells whether a caller is named by something that can name anybody: a token, a certificate or a plug-in. */
const isNamedFreely = ({ via }: Caller): boolean => via === "token" || via === "certificate" || via === "plugin";

/** Gives the name under which callers beyond those that are told apart are counted. It has spaces, as no id of a consumer has. */
const othersOf = ({ via, issuer }: Caller): string =>
  issuer !== undefined ? `others of ${issuer}` : via === "certificate" ? "others by certificates" : "others by plug-ins";

/** Counters by route and caller; of those who are named freely, by their ids: each token makes another caller. */
type Counters = Map<string, Map<Caller | string, Float64Array>>;

interface Block {
  readonly cells: Cells;
  /** The file that it is; `null`: private memory. */
  readonly path: string | null;
}

/**
 * Counts what this process serves, by hour, route and caller, in blocks of cells. A block that is full, or of an hour that is over, is closed
 * and never counted in again, so that whoever writes it to the database can drop it.
 */
export class UsageBook {
  /** The counters of requests that call neither a model nor a tool: nearly all. */
  private readonly plain: Counters = new Map();
  /** Those of the others, by model and tool. */
  private readonly byModel = new Map<string, Map<string, Counters>>();
  /** The blocks that counters lie in. */
  private open: Block[] = [];
  /** The blocks in private memory that are not dropped yet. */
  readonly private = new Set<Cells>();
  /** The closed files that may be there still. */
  private closed: string[] = [];
  private hour: number;

  /** `writer`: makes files; `null`: everything is counted in private memory. `hourNow`: milliseconds since 1970. */
  constructor(
    private readonly writer: CellWriter | null,
    private readonly hourNow: () => number,
    private readonly fileExists: (path: string) => boolean,
  ) {
    this.hour = hourNow();
  }

  /** Gives the counter of this route and caller, and of the model and the tool that were called; "" for none. */
  counterOf(route: string, caller: Caller, model: string, tool: string): Float64Array {
    const by = isNamedFreely(caller) ? caller.consumer.id : caller;
    return this.countersOf(model, tool).get(route)?.get(by) ?? this.begin(route, caller, by, model, tool);
  }

  /** Begins anew when the hour is another; for a timer. What was counted in private memory, for want of room, goes into files now. */
  turn(): void {
    const now = this.hourNow();
    if (now !== this.hour) {
      this.close();
      this.hour = now;
    }
    if (this.writer !== null && this.private.size > 0) this.move(this.writer);
  }

  /** Closes what is counted in: what is counted from here on lies in another block. */
  close(): void {
    for (const { cells, path } of this.open) {
      cells.close();
      if (path !== null) this.closed.push(path);
    }
    this.open = [];
    this.forget();
  }

  /** Begins all counters anew: keys come and go, and who is silent from here on is forgotten. */
  private forget(): void {
    this.plain.clear();
    this.byModel.clear();
  }

  private countersOf(model: string, tool: string): Counters {
    if (model === "" && tool === "") return this.plain;
    let byTool = this.byModel.get(model);
    if (byTool === undefined) {
      byTool = new Map();
      this.byModel.set(model, byTool);
    }
    let counters = byTool.get(tool);
    if (counters === undefined) {
      counters = new Map();
      byTool.set(tool, counters);
    }
    return counters;
  }

  private begin(route: string, caller: Caller, by: Caller | string, model: string, tool: string): Float64Array {
    const { id } = caller.consumer;
    const [keyId, others] = [caller.via === "key" ? caller.id : "", typeof by === "string" ? othersOf(caller) : ""];
    const key: CounterKey = [this.hour, route, id, keyId, others, model, tool];
    const counter = this.add(JSON.stringify(key));
    // Only now: room may have been made by forgetting all counters.
    const byRoute = this.countersOf(model, tool);
    const counters = byRoute.get(route) ?? new Map<Caller | string, Float64Array>();
    byRoute.set(route, counters.set(by, counter));
    return counter;
  }

  private add(key: string): Float64Array {
    const found = this.open.at(-1)?.cells.add(key, CELLS) ?? null;
    if (found !== null) return found;
    const size = this.nextSize();
    // While nothing can be written, forgetting would only make the same counters again and again.
    if (this.open.length > 0 && this.waiting() < MAX_WAITING) this.close();
    const block = this.another(size);
    this.open.push(block);
    const added = block.cells.add(key, CELLS);
    if (added === null) throw new Error("a counter of usage found no room in a block that was made for it");
    return added;
  }

  private nextSize(): number {
    const last = this.open.at(-1);
    return last === undefined ? FIRST_SIZE : Math.min(2 * last.cells.size, MAX_SIZE);
  }

  private another(size: number): Block {
    const file = this.writer?.create("usage", size) ?? null;
    if (file !== null) return file;
    const cells = Cells.private(size);
    this.private.add(cells);
    return { cells, path: null };
  }

  /** Gives the number of closed blocks that are not dropped yet. */
  private waiting(): number {
    this.closed = this.closed.filter(this.fileExists);
    return this.closed.length + [...this.private].filter((cells) => cells.isClosed).length;
  }

  /** Moves what lies in private memory into files, as far as there is room for them. */
  private move(writer: CellWriter): void {
    for (const cells of this.private) {
      const file = writer.create("usage", cells.size);
      if (file === null) return;
      for (const { key, cells: counts } of cells.since(0)) file.cells.add(key, CELLS)?.set(counts.subarray(0, COUNTS));
      file.cells.close();
      this.closed.push(file.path);
      this.private.delete(cells);
      if (cells.isClosed) continue;
      // Its counters are in the file: they begin anew.
      this.open = this.open.filter((block) => block.cells !== cells);
      this.forget();
    }
  }
}
