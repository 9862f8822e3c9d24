const KEY = /[a-z*][a-z0-9_\-.*]*/y;
/** Numbers, dates, strings, tokens, bytes and booleans (RFC 9651 §3.3). */
const BARE =
  /-?(?:\d{1,12}\.\d{1,3}(?!\d)|\d{1,15}(?![\d.]))|"[ !#-[\]-~]*(?:\\["\\][ !#-[\]-~]*)*"|[A-Za-z*][!#$%&'*+\-.^_`|~:/0-9A-Za-z]*|:[A-Za-z0-9+/=]*:|\?[01]|@-?\d{1,15}/y;
const SPACES = / */y;
const AROUND_COMMA = /[ \t]*/y;

/**
 * Reads a Dictionary of Structured Fields (RFC 9651 §4.2.2) as far as a targeted field needs it (RFC 9213 §2.1): names, and values as they are written; parameters and what is in
 * inner lists are checked and left out. Of a name that stands twice the last counts. Gives `null` for what is no dictionary, and for an empty one.
 */
export function parseDictionary(text: string): ReadonlyMap<string, string> | null {
  let at = 0;
  /** Gives the text that is next, or `null` when it is of another kind. */
  const next = (kind: RegExp): string | null => {
    kind.lastIndex = at;
    const found = kind.exec(text);
    if (found === null) return null;
    at = kind.lastIndex;
    return found[0];
  };
  const isNext = (character: string): boolean => {
    if (text[at] !== character) return false;
    at++;
    return true;
  };
  const skipsParameters = (): boolean => {
    while (isNext(";")) {
      next(SPACES);
      if (next(KEY) === null || (isNext("=") && next(BARE) === null)) return false;
    }
    return true;
  };
  const skipsList = (): boolean => {
    for (;;) {
      next(SPACES);
      if (isNext(")")) return true;
      if (next(BARE) === null || !skipsParameters() || (text[at] !== " " && text[at] !== ")")) return false;
    }
  };
  const members = new Map<string, string>();
  next(SPACES);
  for (;;) {
    const name = next(KEY);
    if (name === null) return null;
    // A name alone is true.
    let value: string | null = "?1";
    if (isNext("=")) {
      if (!isNext("(")) value = next(BARE);
      else value = skipsList() ? "()" : null;
    }
    if (value === null || !skipsParameters()) return null;
    members.set(name, value);
    const end = at;
    next(AROUND_COMMA);
    if (at >= text.length) return text.slice(end).includes("\t") ? null : members;
    if (!isNext(",")) return null;
    next(AROUND_COMMA);
  }
}
