/** Names, and patterns of them in which `*` stands for any characters, none included. */
export const NAME_PATTERN = "^[!-~]{1,256}$";

/**
 * Tells whether a name is one that the pattern stands for. Small and capital letters are different ones. It takes time in proportion to
 * both lengths, whatever the pattern.
 *
 * @example
 * matchesName("gpt-5*", "gpt-5-mini"); // true
 */
export function matchesName(pattern: string, name: string): boolean {
  if (!pattern.includes("*")) return pattern === name;
  const parts = pattern.split("*");
  const first = parts[0] as string;
  const last = parts.at(-1) as string;
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false;
  const end = name.length - last.length;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/** Tells whether there can be a name that both patterns stand for. It takes time in proportion to the product of their lengths. */
function overlap(a: string, b: string): boolean {
  /** Of the pattern's beginnings so far: whether one name can match each together with the beginning of `b` of that length. */
  let meets = [true, ...Array.from(b, (_, j) => /^\*+$/.test(b.slice(0, j + 1)))];
  for (const character of a) {
    const next = [character === "*" && meets[0] === true];
    for (let j = 1; j <= b.length; j++) {
      const other = b[j - 1];
      if (character === "*" || other === "*") next.push(meets[j] === true || next[j - 1] === true || meets[j - 1] === true);
      else next.push(character === other && meets[j - 1] === true);
    }
    meets = next;
  }
  return meets[b.length] === true;
}

/** Holds names and patterns of them: a name is in it when one of them stands for it. */
export class NamePatterns {
  private readonly exact: ReadonlySet<string>;
  private readonly patterns: readonly string[];

  /** `besides`: others of which one must stand for a name as well; `null`: none. */
  constructor(
    readonly list: readonly string[],
    private readonly besides: NamePatterns | null = null,
  ) {
    this.exact = new Set(list.filter((each) => !each.includes("*")));
    this.patterns = list.filter((each) => each.includes("*"));
  }

  /** Tells whether a name is in it. */
  has(name: string): boolean {
    if (!this.exact.has(name) && !this.patterns.some((pattern) => matchesName(pattern, name))) return false;
    return this.besides === null || this.besides.has(name);
  }

  /** Tells whether a name is in it without a pattern having to stand for it: as it is written, or since every name is (`*`). */
  names(name: string): boolean {
    return (this.exact.has(name) || this.patterns.includes("*")) && (this.besides === null || this.besides.names(name));
  }

  /** Tells whether a name is in it, or all names that a pattern stands for: where it can't be told, they are not. */
  covers(pattern: string): boolean {
    // A star is taken for a character that stars alone stand for.
    return this.list.some((own) => matchesName(own, pattern)) && (this.besides === null || this.besides.covers(pattern));
  }

  /** Gives what is in both; with an empty list where nothing can be. */
  common(other: NamePatterns): NamePatterns {
    const both = [
      ...this.list.filter((own) => other.covers(own) || other.list.some((theirs) => overlap(own, theirs) && !matchesName(own, theirs))),
      ...other.list.filter((theirs) => this.covers(theirs)),
    ];
    return new NamePatterns(
      [...new Set(both)],
      new NamePatterns(this.list, new NamePatterns(other.list, commonNames(this.besides, other.besides))),
    );
  }
}

/** Gives the names that are in both; `null`: every name is. */
export const commonNames = (some: NamePatterns | null, others: NamePatterns | null): NamePatterns | null =>
  some === null ? others : others === null ? some : some.common(others);

/** Gives the names that a list allows; `null` for an empty one, which allows all. */
export const namesOf = (list: readonly string[] | null | undefined): NamePatterns | null =>
  list === null || list === undefined || list.length === 0 ? null : new NamePatterns(list);
