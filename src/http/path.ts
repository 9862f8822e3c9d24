/** Holds a parsed request target: the path that is forwarded, and the query as it was sent (with its `?`, or ""). */
export interface Target {
  readonly path: string;
  readonly query: string;
  /** The readings of a path that backends may read in more ways than one; `null` for nearly all. */
  readonly odd: OddPath | null;
}

/** Holds the readings of a path with encoded characters, `;parameters` or empty segments. */
export interface OddPath {
  /** The path that routes are matched by: decoded segments without their parameters, an encoded slash as a character of its own. */
  readonly match: string;
  /** The path with its empty segments, for routes that keep them. With those merged, it is the path that is forwarded. */
  readonly kept: string;
  readonly hasEncodedSlash: boolean;
  /** The readings of backends that decode before they split and cut, where these may differ. The route must be the same. */
  readonly decodedFirst: readonly string[];
}

/** Finds paths that are worth a second look: encoding, parameters, backslashes, empty segments, and segments that begin with a dot. */
const WORTH_A_LOOK = /[%\\;]|\/[/.]/;
/** Encoded forms that a backend may decode into a path that was never matched: backslash, NUL. */
const AMBIGUOUS = /%(?:5c|00)|\\/i;
const ENCODED = /%([0-9A-Fa-f]{2})/g;
const BROKEN_ENCODING = /%(?![0-9A-Fa-f]{2})/;
const ENCODED_SLASH = /%2f/i;
/** An encoded slash, semicolon, question mark or number sign: what divides or ends a path for backends that decode first. */
const ENCODED_BORDER = /%(?:2f|3b|3f|23)/i;
const ENCODED_END = /%(?:3f|23)/i;
const UNRESERVED = /[A-Za-z0-9\-._~]/;

/** More segments than any path has that is meant. A path of so many characters can't have more. */
const MAX_SEGMENTS = 512;
const LONG = 2 * MAX_SEGMENTS;

/** Stands for an encoded slash in the path that is matched: no path of a route holds it. */
const SLASH_WITHIN = "\0";

/**
 * Splits a request target (origin-form, or absolute-form with an http(s) scheme: RFC 9112 §3.2) and normalises its path: unreserved
 * characters are decoded (RFC 3986 §6.2.2.2), dot segments resolved (§5.2.4), empty segments merged. So what is matched is what is
 * forwarded. Gives a sentence instead when the target must be refused.
 */
export function parseTarget(target: string): Target | string {
  let rest = target;
  if (rest.charCodeAt(0) !== 47) {
    const absolute = /^https?:\/\/[^/?#]+/i.exec(rest);
    if (!absolute) return "The request target must be a path that begins with a slash.";
    rest = rest.slice(absolute[0].length);
    if (rest.charCodeAt(0) !== 47) rest = `/${rest}`;
  }
  if (rest.includes("#")) return "The request target must not hold a fragment.";
  const mark = rest.indexOf("?");
  const raw = mark < 0 ? rest : rest.slice(0, mark);
  const query = mark < 0 ? "" : rest.slice(mark);
  if (raw.length > LONG && slashesIn(raw) > MAX_SEGMENTS) return `The path must not have more than ${MAX_SEGMENTS} segments.`;
  return WORTH_A_LOOK.test(raw) ? normalised(raw, query) : { path: raw, query, odd: null };
}

function normalised(raw: string, query: string): Target | string {
  let text = raw;
  if (raw.includes("%") || raw.includes("\\")) {
    if (AMBIGUOUS.test(raw)) return "The path must not hold a backslash or a NUL, encoded or not.";
    if (BROKEN_ENCODING.test(raw)) return "The path holds a % that is not followed by two hexadecimal digits.";
    text = raw.replace(ENCODED, (whole, hex: string) => {
      const character = String.fromCharCode(Number.parseInt(hex, 16));
      return UNRESERVED.test(character) ? character : whole;
    });
  }
  const segments = withoutDotSegments(text);
  for (const segment of segments) {
    const semicolon = segment.indexOf(";");
    const name = semicolon < 0 ? segment : segment.slice(0, semicolon);
    if (semicolon >= 0 && (name === "" || isDots(name))) return 'The path must not hold a segment such as "..;" or ";x".';
  }
  const kept = `/${segments.join("/")}`;
  const merged = kept.includes("//") ? segments.filter((segment, i) => segment !== "" || i === segments.length - 1) : segments;
  const path = merged === segments ? kept : `/${merged.join("/")}`;
  const match = matchOf(path);
  const decodedFirst: string[] = [];
  if (ENCODED_BORDER.test(path)) {
    const end = path.search(ENCODED_END);
    const readings = end < 0 ? [path] : [path, path.slice(0, end)];
    // Some cut a segment's parameters before they decode: an encoded slash behind a semicolon goes with them.
    if (path.includes(";")) readings.push(...readings.map(withoutParameters));
    for (const reading of readings) {
      const pieces = piecesOf(reading);
      if (pieces.some(isDots)) return "The path must not hold dot segments before or behind an encoded border.";
      decodedFirst.push(`/${pieces.filter((piece) => piece !== "").join("/")}`);
    }
  }
  const hasEncodedSlash = ENCODED_SLASH.test(path);
  const isPlain = match === path && kept === path && decodedFirst.length === 0;
  return { path, query, odd: isPlain ? null : { match, kept, hasEncodedSlash, decodedFirst } };
}

/**
 * Resolves dot segments (RFC 3986 §5.2.4), with empty segments left in: one that goes back takes those before it along, as if they were
 * merged already.
 */
function withoutDotSegments(path: string): string[] {
  const kept: string[] = [];
  const segments = path.split("/");
  for (let i = 1; i < segments.length; i++) {
    const segment = segments[i] as string;
    if (segment === "..") {
      while (kept.at(-1) === "") kept.pop();
      kept.pop();
    }
    if (!isDots(segment)) kept.push(segment);
    else if (i === segments.length - 1) kept.push("");
  }
  return kept;
}

/** Finds a segment that is a dot or two, encoded or not, with parameters or without. */
const DOT_SEGMENT = /\/(?:\.|%2e){1,2}(?:[/;]|$)/i;

/** Tells whether a request target's path holds dot segments as it was sent: who resolves them otherwise reads another path. */
export function hasDotSegments(target: string): boolean {
  const mark = target.indexOf("?");
  return DOT_SEGMENT.test(mark < 0 ? target : target.slice(0, mark));
}

/** Gives the segments of a path, without their parameters, as a backend reads them that decodes before it splits. */
const piecesOf = (path: string): string[] => path.split(/\/|%2f/i).map((piece) => decodedBytes(piece.split(/;|%3b/i, 1)[0] ?? ""));

const isDots = (segment: string): boolean => segment === "." || segment === "..";

/** Removes the parameters of a path's segments. */
const withoutParameters = (path: string): string => path.replace(/;[^/]*/g, "");

/** Gives a normalised path as routes are matched by it: without parameters, and decoded, so that each way to write it is one. */
export function matchOf(path: string): string {
  let match = path;
  if (match.includes(";")) match = withoutParameters(match);
  return match.includes("%") ? decodedBytes(match) : match;
}

const decodedBytes = (text: string): string =>
  text.replace(ENCODED, (_, hex: string) => (hex.toLowerCase() === "2f" ? SLASH_WITHIN : String.fromCharCode(Number.parseInt(hex, 16))));

function slashesIn(text: string): number {
  let count = 0;
  for (let at = text.indexOf("/"); at >= 0; at = text.indexOf("/", at + 1)) count++;
  return count;
}

/** Gives the part of a path below its first `depth` segments, "" when there is none; empty segments don't count. */
export function below(path: string, depth: number): string {
  let at = 0;
  for (let i = 0; i < depth; i++) {
    while (path.charCodeAt(at) === 47) at++;
    at = path.indexOf("/", at);
    if (at < 0) return "";
  }
  return path.slice(at);
}

/** Gives the path with the empty segments that were sent below its first `depth` segments. */
export const withSlashes = (path: string, kept: string, depth: number): string =>
  path.slice(0, path.length - below(path, depth).length) + below(kept, depth);

/** Removes the parameter `name` from a query and leaves the rest untouched. */
export function withoutParameter(query: string, name: string): string {
  const kept = query
    .slice(1)
    .split("&")
    .filter((pair) => decoded(pair.split("=", 1)[0] ?? "") !== name);
  return kept.length === 0 ? "" : `?${kept.join("&")}`;
}

/** Gives the decoded value of the first parameter `name`, or `null`. */
export function parameter(query: string, name: string): string | null {
  for (const pair of query.slice(1).split("&")) {
    const equals = pair.indexOf("=");
    if (equals >= 0 && decoded(pair.slice(0, equals)) === name) return decoded(pair.slice(equals + 1));
  }
  return null;
}

/** Gives the query with only the parameters of these names, in the names' order: each as it was sent, with all its repetitions. */
export function onlyParameters(query: string, names: readonly string[]): string {
  if (query.length < 2 || names.length === 0) return "";
  const kept: string[][] = names.map(() => []);
  for (const pair of query.slice(1).split("&")) {
    const [name = ""] = pair.split("=", 1);
    kept[names.indexOf(name.includes("%") || name.includes("+") ? decoded(name) : name)]?.push(pair);
  }
  const text = kept.flat().join("&");
  return text === "" ? "" : `?${text}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return text;
  }
}
