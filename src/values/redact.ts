/** What stands in a secret's place. */
const REDACTED = "[redacted]";

/** Keys and admin tokens of Sluice's own making, what an Authorization field holds, and user and password of a URL. */
// Without a word's border before them: within JSON a line break is a backslash and the letter n.
const OURS = /sl(?:c|at)_[0-9A-Za-z]{8,}/g;
const SHOWN = /(Bearer|Basic)\s+[\w.~+/=-]{4,}/gi;
const OF_URL = /(?<=:\/\/)[^\s/?#@"']+(?=@)/g;

/** A shorter word could stand anywhere by chance. */
const SHORTEST = 8;

/** The text without keys and tokens that Sluice made. Cheap where there is none: nearly always. */
export const withoutKeys = (text: string): string =>
  text.includes("slc_") || text.includes("slat_") ? text.replace(OURS, REDACTED) : text;

/** Control characters that JSON lets stand as they are: some terminals obey them. */
const UNESCAPED = /[\x7f-\x9f\u2028\u2029]/;
const ALL_UNESCAPED = /[\x7f-\x9f\u2028\u2029]/g;

/** JSON without a control character that a terminal could obey. Cheap where there is none: nearly always. */
export const printable = (json: string): string =>
  UNESCAPED.test(json) ? json.replace(ALL_UNESCAPED, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`) : json;

/** Whether a text holds something that looks like a key or a token of Sluice's. */
export const holdsKey = (text: string): boolean => withoutKeys(text) !== text;

/** A path with what is encoded in it decoded, as far as it is UTF-8. */
function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text.replace(/%([0-7][0-9a-f])/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
  }
}

/** Takes secrets out of lines that may hold anything, such as what a library says of its failure. */
export class Redactor {
  private readonly learnt = new Map<string, readonly string[]>();
  private exact: ReadonlySet<string> = new Set();
  /** For a look, and for all of them. */
  private known: { readonly any: RegExp; readonly all: RegExp } | null = null;

  /** Secrets that have no form of their own, in place of what this owner had before. */
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

  /** Whether a text is one of them, or looks like one of Sluice's own. */
  isSecret(text: string): boolean {
    return this.exact.has(text) || holdsKey(text);
  }

  /** A path or the like, of a request: nearly always there is nothing in it. */
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

  /** A line of the log that may hold anything. */
  redact(text: string): string {
    const rest = text.replace(OURS, REDACTED).replace(SHOWN, `$1 ${REDACTED}`).replace(OF_URL, REDACTED);
    return this.known === null ? rest : rest.replaceAll(this.known.all, REDACTED);
  }
}
