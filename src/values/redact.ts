/** The text that takes a secret's place. */
const REDACTED = "[redacted]";

/** Keys and admin tokens of Sluice's own making, what an Authorization field holds, and user and password of a URL. */
// Without a word's border before them: within JSON a line break is a backslash and the letter n.
const OURS = /sl(?:c|at)_[0-9A-Za-z]{8,}/g;
const SHOWN = /(Bearer|Basic)\s+[\w.~+/=-]{4,}/gi;
const OF_URL = /(?<=:\/\/)[^\s/?#@"']+(?=@)/g;

/** The length of the shortest secret that is looked for: a shorter one could stand anywhere by chance. */
const SHORTEST = 8;

/** Removes keys and tokens that Sluice made from a text. Cheap where there is none, which is nearly always. */
export const withoutKeys = (text: string): string =>
  text.includes("slc_") || text.includes("slat_") ? text.replace(OURS, REDACTED) : text;

/** Control characters that JSON leaves as they are, although some terminals obey them. */
const UNESCAPED = /[\x7f-\x9f\u2028\u2029]/;
const ALL_UNESCAPED = /[\x7f-\x9f\u2028\u2029]/g;

/** Escapes the control characters in JSON that a terminal could obey. Cheap where there is none, which is nearly always. */
export const printable = (json: string): string =>
  UNESCAPED.test(json) ? json.replace(ALL_UNESCAPED, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`) : json;

/** Escapes all control characters of a text that somebody else chose, so that a terminal shows it and does nothing else; a line stays one. */
export const onTerminal = (text: string): string => printable(text.replace(/[\0-\x1f]/g, (each) => JSON.stringify(each).slice(1, -1)));

/** Tells whether a text holds something that looks like a key or a token of Sluice's. */
export const holdsKey = (text: string): boolean => withoutKeys(text) !== text;

/** Decodes the percent-encoded characters of a path, as far as they are UTF-8. */
function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text.replace(/%([0-7][0-9a-f])/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
  }
}

/** Removes secrets from lines that may hold anything, such as a library's error messages. */
export class Redactor {
  private readonly learnt = new Map<string, readonly string[]>();
  private exact: ReadonlySet<string> = new Set();
  /** The known secrets as two patterns: `any` tells whether there is one, `all` finds each. */
  private known: { readonly any: RegExp; readonly all: RegExp } | null = null;

  /** Learns secrets that have no form of their own; they replace those that this owner gave before. */
  learn(owner: string, secrets: readonly string[]): void {
    this.learnt.set(
      owner,
      // Of "Bearer TOKEN" the token by itself is one as well.
      secrets.flatMap((secret) => [secret, secret.slice(secret.lastIndexOf(" ") + 1)]).filter((secret) => secret.length >= SHORTEST),
    );
    this.exact = new Set([...this.learnt.values()].flat());
    // The longest first: one may be the beginning of another. Within JSON some of their characters look otherwise.
    const forms = [...new Set([...this.learnt.values()].flat().flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)]))];
    forms.sort((a, b) => b.length - a.length);
    const pattern = forms.map((form) => RegExp.escape(form)).join("|");
    this.known = forms.length === 0 ? null : { any: new RegExp(pattern), all: new RegExp(pattern, "g") };
  }

  /** Tells whether a text is a known secret, or looks like a key or a token of Sluice's. */
  isSecret(text: string): boolean {
    return this.exact.has(text) || holdsKey(text);
  }

  /** Removes secrets from a request's path or a similar text, which nearly always holds none. */
  clean(text: string): string {
    if (text.length < SHORTEST) return text;
    const rest = this.plain(text);
    if (!rest.includes("%")) return rest;
    const decoded = percentDecoded(rest);
    return this.plain(decoded) === decoded ? rest : REDACTED;
  }

  private plain(text: string): string {
    const rest = withoutKeys(text);
    return this.known === null || !this.known.any.test(rest) ? rest : rest.replaceAll(this.known.all, REDACTED);
  }

  /** Removes secrets from a line of the log that may hold anything. */
  redact(text: string): string {
    const rest = text.replace(OURS, REDACTED).replace(SHOWN, `$1 ${REDACTED}`).replace(OF_URL, REDACTED);
    return this.known === null ? rest : rest.replaceAll(this.known.all, REDACTED);
  }
}
