import { matchesName } from "../values/name-patterns.ts";
import { Price } from "./price.ts";
import type { PriceTable } from "./settings.ts";

/** The names whose price is remembered at most: callers choose them. */
const MAX_REMEMBERED = 1024;

/** Knows what models cost, by their names. */
export class Prices {
  private readonly exact = new Map<string, Price>();
  /** The longest first. */
  private readonly patterns: readonly { readonly pattern: string; readonly price: Price }[];
  private readonly remembered = new Map<string, Price | null>();

  /** Takes the table, and whether a model without a price counts as free. */
  constructor(
    readonly table: PriceTable,
    readonly isFreeOtherwise: boolean,
  ) {
    const patterns: { pattern: string; price: Price }[] = [];
    for (const [pattern, config] of Object.entries(table)) {
      const price = new Price(config);
      if (pattern.includes("*")) patterns.push({ pattern, price });
      else this.exact.set(pattern, price);
    }
    patterns.sort((a, b) => b.pattern.length - a.pattern.length);
    this.patterns = patterns;
  }

  /** Gives the name or the pattern by which a model has its price; `null`: it has none. */
  patternOf(model: string): string | null {
    return this.exact.has(model) ? model : (this.patterns.find(({ pattern }) => matchesName(pattern, model))?.pattern ?? null);
  }

  /** Gives the price of a model: of the exact name, else of the longest pattern that it matches. `null`: it has none, or "": it is not known. */
  of(model: string): Price | null {
    if (model === "") return null;
    const exact = this.exact.get(model);
    if (exact !== undefined) return exact;
    const known = this.remembered.get(model);
    if (known !== undefined) return known;
    const price = this.patterns.find(({ pattern }) => matchesName(pattern, model))?.price ?? null;
    if (this.remembered.size >= MAX_REMEMBERED) this.remembered.clear();
    this.remembered.set(model, price);
    return price;
  }
}
