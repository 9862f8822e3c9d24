import type { Storage } from "../storage/open.ts";

/** What callers name freely, and rows of usage are told apart by. */
export type NamedColumn = "consumer" | "model" | "tool";

/** The most hours whose names are remembered: this one, and the one of which the last counts come in. */
const MAX_HOURS = 2;

/** Says which names are told apart in an hour. */
export interface NameRules {
  readonly column: NamedColumn;
  /** A condition of SQL for the rows whose names count; "": all do. */
  readonly rows: string;
  /** The most names that are told apart in an hour besides those that are known. */
  readonly max: number;
  /** Tells whether a name is told apart whatever callers name: it was made by an operator. */
  readonly isKnown: (name: string) => boolean;
  /** Tells whether it is no name, but stands for none or for all further ones. */
  readonly isNone: (name: string) => boolean;
}

/** Bounds the names that callers choose: so many of them are told apart in an hour, whichever process counts them. */
export class HourNames {
  private readonly byHour = new Map<number, Set<string>>();

  constructor(
    private readonly storage: Storage,
    private readonly rules: NameRules,
  ) {}

  /** Gives the name that a row of this hour goes by: its own, or that of all further ones. */
  of(name: string, hour: number, others: string): string {
    const { isNone, isKnown, max } = this.rules;
    if (isNone(name)) return name;
    const named = this.namedIn(hour);
    if (named.has(name) || isKnown(name)) return name;
    if (named.size >= max) return others;
    named.add(name);
    return name;
  }

  private namedIn(hour: number): Set<string> {
    let named = this.byHour.get(hour);
    if (named === undefined) {
      const { column, rows, isKnown, isNone } = this.rules;
      const before = this.storage.client
        .query<{ name: string }, [number]>(`SELECT DISTINCT ${column} AS name FROM usage WHERE hour = ?1${rows}`)
        .all(hour);
      named = new Set(before.map(({ name }) => name).filter((name) => !isNone(name) && !isKnown(name)));
      this.byHour.set(hour, named);
      if (this.byHour.size > MAX_HOURS) this.byHour.delete(Math.min(...this.byHour.keys()));
    }
    return named;
  }
}
