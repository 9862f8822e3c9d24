/** Says where a value stands in a text. */
export interface Spot {
  /** From 1. */
  readonly line: number;
  /** Characters from the text's beginning. */
  readonly at: number;
}

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/**
 * Finds where each value of a JSON text stands, by its path as the gateway writes it: `limits[0].window`. Of a text that is no JSON it gives
 * what comes before the fault.
 */
export function spotsOf(text: string): Map<string, Spot> {
  const spots = new Map<string, Spot>();
  /** For each object or list that is open: its path, and where in it we are. */
  const open: { readonly path: string; readonly isList: boolean; index: number; name: string | null }[] = [];
  let line = 1;
  let counted = 0;
  for (const { 0: token, index: at } of text.matchAll(TOKEN)) {
    line += text.slice(counted, at).split("\n").length - 1;
    counted = at;
    const within = open.at(-1);
    if (token === ",") {
      if (within !== undefined) {
        within.index++;
        within.name = null;
      }
    } else if (token === "}" || token === "]") open.pop();
    else if (token !== ":") {
      if (within !== undefined && !within.isList && within.name === null) {
        // Its name is what a fault of a field points to.
        within.name = nameOf(token);
        spots.set(pathIn(within), { line, at });
        continue;
      }
      const path = within === undefined ? "" : pathIn(within);
      if (!spots.has(path)) spots.set(path, { line, at });
      if (token === "{" || token === "[") open.push({ path, isList: token === "[", index: 0, name: null });
    }
  }
  return spots;
}

/** Finds where a path stands, or what of it is there. */
export function spotOf(spots: ReadonlyMap<string, Spot>, path: string): Spot {
  for (let part = path; ; part = part.replace(/(\.[^.[\]]*|\[[^\]]*\]|^[^.[\]]+)$/, "")) {
    const spot = spots.get(part);
    if (spot !== undefined) return spot;
    if (part === "") return { line: 1, at: 0 };
  }
}

const pathIn = ({ path, isList, index, name }: { path: string; isList: boolean; index: number; name: string | null }): string =>
  isList ? `${path}[${index}]` : path === "" ? (name ?? "") : `${path}.${name ?? ""}`;

function nameOf(token: string): string {
  try {
    return String(JSON.parse(token));
  } catch {
    return token;
  }
}

type Expected = "value" | "value or end" | "name" | "name or end" | "colon" | "comma or end" | "nothing";

/** Finds where a text stops being JSON: characters from its beginning; `null` where all of it is. Browsers don't say it of short texts. */
export function faultAt(text: string): number | null {
  const open: ("{" | "[")[] = [];
  let expected: Expected = "value";
  let end = 0;
  for (const { 0: token, index: at } of text.matchAll(TOKEN)) {
    const between = text.slice(end, at).search(/\S/);
    if (between !== -1) return end + between;
    const next = after(token, expected, open);
    if (next === null) return at;
    expected = next;
    end = at + token.length;
  }
  const rest = text.slice(end).search(/\S/);
  return rest !== -1 ? end + rest : expected === "nothing" ? null : text.length;
}

/** Gives what is expected behind a token; `null` where it is wrong. Follows what is open. */
function after(token: string, expected: Expected, open: ("{" | "[")[]): Expected | null {
  const within = open.at(-1);
  const isValue = expected === "value" || expected === "value or end";
  const isEnd = expected === "comma or end" || expected === (within === "{" ? "name or end" : "value or end");
  switch (token) {
    case "{":
    case "[":
      if (!isValue) return null;
      open.push(token);
      return token === "{" ? "name or end" : "value or end";
    case "}":
    case "]":
      if (!isEnd || within !== (token === "}" ? "{" : "[")) return null;
      open.pop();
      return open.length === 0 ? "nothing" : "comma or end";
    case ",":
      return expected !== "comma or end" ? null : within === "{" ? "name" : "value";
    case ":":
      return expected === "colon" ? "value" : null;
  }
  if (!isScalar(token)) return null;
  if (expected === "name" || expected === "name or end") return token.startsWith('"') ? "colon" : null;
  if (!isValue) return null;
  return open.length === 0 ? "nothing" : "comma or end";
}

function isScalar(token: string): boolean {
  try {
    JSON.parse(token);
    return true;
  } catch {
    return false;
  }
}
