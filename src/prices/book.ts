import { readFileSync } from "node:fs";
import { dirname, isAbsolute, relative, resolve } from "node:path";
import { findNodeAtLocation, getNodeValue, type Node, type ParseError, parseTree } from "jsonc-parser";
import { reasonOf } from "../edge/judge.ts";
import { isUnchanged, type Sources, stampOf } from "../plugins/source.ts";
import { type Fault, formatPath, schemaFaults } from "../schema/faults.ts";
import { syntaxFault } from "../schema/syntax.ts";
import { Prices } from "./prices.ts";
import { PriceTable, priceFaults, priceWarnings } from "./settings.ts";

/** Holds the parts of a configuration that say what models cost. */
export interface PricesConfig {
  readonly prices: string | PriceTable | null;
  readonly unpriced: "deny" | "zero";
}

/** The largest file of prices, in bytes. */
const MAX_FILE = 16_777_216;

/** The faults of a file that are told at most. */
const MAX_FAULTS = 20;

/**
 * Keeps the prices in force. Those of a file are read with the configuration, and again when the file changes.
 *
 * @example
 * const book = new PriceBook("config.json");
 * if (book.faultsOf(config).length === 0) book.enter(config);
 */
export class PriceBook {
  private inForce: Prices | null = null;
  private empty = new Prices({}, false);
  private unmeant: readonly Fault[] = [];
  /** The file that was looked at last, as it was then. */
  private watched: Sources = new Map();
  private readonly folder: string;

  /** Takes the configuration's file; `null`: there is none, and paths lead from the working directory. */
  constructor(file: string | null) {
    this.folder = file === null ? process.cwd() : dirname(resolve(file));
  }

  /** The prices in force; `null`: nothing has a price. */
  get current(): Prices | null {
    return this.inForce;
  }

  /** What is known of models where nothing has a price: whether they count as free. */
  get none(): Prices {
    return this.empty;
  }

  /** Gives what keeps the prices of a configuration from coming into force, at their place in it. */
  faultsOf(config: PricesConfig): readonly Fault[] {
    return this.examine(config).faults;
  }

  /** Gives the faults of the file that a configuration names, and what is hardly meant in it. */
  examine({ prices }: PricesConfig): { readonly faults: readonly Fault[]; readonly warnings: readonly Fault[] } {
    if (typeof prices !== "string") {
      this.watched = new Map();
      return { faults: [], warnings: [] };
    }
    const path = resolve(this.folder, prices);
    // Before it is read: what changes meanwhile is seen as a change afterwards.
    this.watched = new Map([[path, stampOf(path)]]);
    const shown = this.shown(path);
    const read = readTable(path, shown);
    if ("faults" in read) return { faults: read.faults, warnings: [] };
    return { faults: [], warnings: fileWarnings(read.table, shown) };
  }

  /** Puts the prices of a configuration in force. A file that can't be read any more leaves those that were read before. */
  enter({ prices, unpriced }: PricesConfig): void {
    const isFree = unpriced === "zero";
    this.empty = new Prices({}, isFree);
    this.unmeant = [];
    if (typeof prices !== "string") {
      this.inForce = prices === null || Object.keys(prices).length === 0 ? null : new Prices(prices, isFree);
      return;
    }
    const path = resolve(this.folder, prices);
    const shown = this.shown(path);
    const read = readTable(path, shown);
    if (!("table" in read)) return;
    this.inForce = new Prices(read.table, isFree);
    this.unmeant = fileWarnings(read.table, shown);
  }

  /** Gives what is hardly meant in the file that is in force. */
  warnings(): readonly Fault[] {
    return this.unmeant;
  }

  /** Tells whether the file that was looked at is another by now. */
  isChanged(): boolean {
    return !isUnchanged(this.watched);
  }

  /** Takes the file as it is now for the one that was looked at. */
  look(): void {
    this.watched = new Map([...this.watched.keys()].map((file) => [file, stampOf(file)]));
  }

  /** Gives a path as people read it: from the configuration's folder where it is in there. */
  private shown(file: string): string {
    const path = relative(this.folder, file);
    return path.startsWith("..") || isAbsolute(path) ? file : path;
  }
}

/** Gives what is hardly meant in a file of prices, at the place where the configuration names it. */
const fileWarnings = (table: PriceTable, shown: string): readonly Fault[] =>
  priceWarnings(table, []).map(({ path, message }) => ({ path: ["prices"], message: `${shown} ${formatPath(path)}: ${message}` }));

type Read = { readonly table: PriceTable } | { readonly faults: readonly Fault[] };

/** Gives the table of a file, or its faults at the place where the configuration names it. `shown`: the file as people read its path. */
function readTable(file: string, shown: string): Read {
  const text = textOf(file);
  if (text instanceof Error) return faulty(`${shown} can't be read: ${text.message}`);
  if (text.length > MAX_FILE) return faulty(`${shown} is larger than ${MAX_FILE} bytes`);
  if (text.trim() === "") return faulty(`${shown} is empty`);
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true });
  const [wrong] = errors;
  if (wrong !== undefined || root === undefined) {
    const why = wrong === undefined ? "this is not JSON" : syntaxFault(wrong);
    return faulty(`${shown}${placeAt(text, wrong?.offset ?? 0)}: ${why}`);
  }
  const table = getNodeValue(root) as PriceTable;
  const ofSchema = schemaFaults(PriceTable, table);
  const faults = ofSchema.length > 0 ? ofSchema : [...twice(root), ...priceFaults(table, [])];
  if (faults.length === 0) return { table };
  const told = faults.slice(0, MAX_FAULTS).map(({ path, message }) => {
    const at = placeAt(text, (findNodeAtLocation(root, [...path]) ?? root).offset);
    return `${shown}${at}${path.length === 0 ? "" : ` ${formatPath(path)}`}: ${message}`;
  });
  return { faults: told.map((message) => ({ path: ["prices"], message })) };
}

const faulty = (message: string): Read => ({ faults: [{ path: ["prices"], message }] });

function textOf(file: string): string | Error {
  try {
    return readFileSync(file, "utf8").replace(/^\uFEFF/, "");
  } catch (error) {
    return new Error(reasonOf(error));
  }
}

/** Gives a fault for each model that stands there a second time. */
function twice({ children = [] }: Node): Fault[] {
  const seen = new Set<unknown>();
  return children.flatMap(({ children: [name] = [] }) => {
    const isKnown = seen.has(name?.value);
    seen.add(name?.value);
    return isKnown ? [{ path: [String(name?.value)], message: "stands here twice" }] : [];
  });
}

/** Writes line and column of a place, both from 1. */
function placeAt(text: string, offset: number): string {
  const before = text.slice(0, offset);
  return `:${before.split("\n").length}:${offset - before.lastIndexOf("\n")}`;
}
