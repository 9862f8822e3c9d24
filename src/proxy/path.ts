/** A request target taken apart: the path that is matched and forwarded, and the query as it was sent (with its `?`, or ""). */
export interface Target {
  readonly path: string;
  readonly query: string;
}

/** Encoded forms that a backend may decode into a path that was never matched: slash, backslash, NUL. */
const AMBIGUOUS = /%(?:2f|5c|00)|\\/i;
const ENCODED = /%([0-9A-Fa-f]{2})/g;
const BROKEN_ENCODING = /%(?![0-9A-Fa-f]{2})/;
const DOT_SEGMENT = /\/\.{1,2}(?:\/|$)/;
const UNRESERVED = /[A-Za-z0-9\-._~]/;

/**
 * Splits a request target (origin-form, or absolute-form with an http(s) scheme: RFC 9112 §3.2) and normalises its path: unreserved characters are
 * decoded (RFC 3986 §6.2.2.2), dot segments resolved (§5.2.4). So what is matched is what is forwarded.
 * Gives a sentence instead when the target must be refused.
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
  let path = raw;
  if (raw.includes("%") || raw.includes("\\")) {
    if (AMBIGUOUS.test(raw)) return "The path must not hold an encoded slash, a backslash or a NUL.";
    if (BROKEN_ENCODING.test(raw)) return "The path holds a % that is not followed by two hexadecimal digits.";
    path = raw.replace(ENCODED, (whole, hex: string) => {
      const character = String.fromCharCode(Number.parseInt(hex, 16));
      return UNRESERVED.test(character) ? character : whole;
    });
  }
  return { path: path.includes("/.") && DOT_SEGMENT.test(path) ? withoutDotSegments(path) : path, query };
}

/** RFC 3986 §5.2.4. */
function withoutDotSegments(path: string): string {
  const kept: string[] = [];
  const segments = path.split("/");
  for (let i = 1; i < segments.length; i++) {
    const segment = segments[i] as string;
    const isLast = i === segments.length - 1;
    if (segment === "..") kept.pop();
    if (segment === "." || segment === "..") {
      if (isLast) kept.push("");
    } else kept.push(segment);
  }
  return `/${kept.join("/")}`;
}

/** The query without the parameter `name`, the rest untouched. */
export function withoutParameter(query: string, name: string): string {
  const kept = query
    .slice(1)
    .split("&")
    .filter((pair) => decoded(pair.split("=", 1)[0] ?? "") !== name);
  return kept.length === 0 ? "" : `?${kept.join("&")}`;
}

/** The decoded value of the first parameter `name`, or `null`. */
export function parameter(query: string, name: string): string | null {
  for (const pair of query.slice(1).split("&")) {
    const equals = pair.indexOf("=");
    if (equals >= 0 && decoded(pair.slice(0, equals)) === name) return decoded(pair.slice(equals + 1));
  }
  return null;
}

/** The query with only the parameters of these names, in the names' order: each as it was sent, all that there are of a name. */
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
