import type { Fault, Path, Step } from "../schema/faults.ts";
import { isObject } from "../values/json.ts";
import { bodyTooLarge } from "./problem.ts";
import { invalid, Refused } from "./refused.ts";

/** The levels that a body may be nested. Records are some ten levels deep; deeper ones only make whatever reads them recurse. */
const MAX_DEPTH = 64;
/** The bounds of one record: the largest, a pool of hundreds of keys, has a few thousand values. */
const RECORD = { bytes: 1024 * 1024, values: 20_000 };
/** The bounds of an import, of ten thousand keys at once, a hundred values each; and of all that the API made, and of the configuration file. */
const IMPORT = { bytes: 16 * 1024 * 1024, values: 1_000_000 };

const SIGN_IN_PATH = "/admin/session";
/** The bounds of what anybody may send there. */
const SIGN_IN = { bytes: 4096, values: 16 };

const boundsOf = (path: string): typeof RECORD =>
  /^\/admin\/(keys\/import|config\/file|state)\/?$/.test(path) ? IMPORT : path === SIGN_IN_PATH ? SIGN_IN : RECORD;

/** Tells whether a request is a sign-in, whose body is read whoever sends it. */
export const isSignIn = (method: string, path: string): boolean => method === "POST" && path === SIGN_IN_PATH;

/** Gives how many bytes a body sent to this path of the admin API may have. */
export const maxBodyOf = (path: string): number => boundsOf(path).bytes;

/**
 * Refuses a body that would keep the event loop busy, or means to change a prototype, before anything parses it: one that is too large
 * (413), nested too deep, of too many values, or with a field `__proto__` (422). Text that is not JSON passes: the parser says what is
 * wrong with it. Throws `Refused`.
 */
export function checkBody(text: string, path: string): void {
  const { bytes: max, values } = boundsOf(path);
  // A character takes one byte at least, and three at most.
  if (text.length > max || (text.length * 3 > max && Buffer.byteLength(text) > max)) throw new Refused(bodyTooLarge(max));
  const message = shapeFault(text, values);
  if (message !== null) throw invalid([{ path: [], message }]);
  // An escaped letter is rare enough to look closer.
  if (text.includes("__proto__") || text.includes("\\u00")) {
    const at = prototypeIn(text);
    if (at !== null) throw invalid([{ path: at, message: 'unknown field "__proto__"', isOfName: true }]);
  }
}

/** Counts brackets and commas outside of strings, and gives what is wrong with them; `null` when nothing is. */
export function shapeFault(text: string, max: number): string | null {
  let depth = 0;
  let values = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22:
        i = endOfString(text, i);
        break;
      case 0x5b:
      case 0x7b:
        values++;
        if (++depth > MAX_DEPTH) return `must not be nested more than ${MAX_DEPTH} deep`;
        break;
      case 0x5d:
      case 0x7d:
        depth--;
        break;
      case 0x2c:
        if (++values > max) return `must not hold more than ${max} values`;
    }
  }
  return null;
}

/** Gives the position of the quote that ends the string which begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === 0x5c) backslashes++;
    if (backslashes % 2 === 0) return end;
  }
  return text.length;
}

/** Gives the path of a field `__proto__` in an object, or `null`. */
function prototypeIn(text: string): Path | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const look = (here: unknown, at: Step[]): Path | null => {
    if (Array.isArray(here)) {
      for (const [i, each] of here.entries()) {
        const found = look(each, [...at, i]);
        if (found !== null) return found;
      }
    } else if (isObject(here)) {
      if (Object.hasOwn(here, "__proto__")) return [...at, "__proto__"];
      for (const [name, each] of Object.entries(here)) {
        const found = look(each, [...at, name]);
        if (found !== null) return found;
      }
    }
    return null;
  };
  return look(value, []);
}

/** The most bytes, as JSON, that somebody may keep beside a record. */
const MAX_METADATA = 16 * 1024;
const MAX_METADATA_DEPTH = 32;

/** Tells what is wrong with a record's metadata: it may take 16 KB as JSON and be 32 deep. */
export function metadataFaults(metadata: unknown, at: Path = []): Fault[] {
  if (metadata === null || metadata === undefined) return [];
  const path = [...at, "metadata"];
  if (isDeeper(metadata, MAX_METADATA_DEPTH)) return [{ path, message: `must not be nested more than ${MAX_METADATA_DEPTH} deep` }];
  const size = Buffer.byteLength(JSON.stringify(metadata));
  return size > MAX_METADATA ? [{ path, message: `must take at most ${MAX_METADATA} bytes as JSON, takes ${size}` }] : [];
}

const isDeeper = (value: unknown, depth: number): boolean =>
  typeof value === "object" && value !== null && (depth === 0 || Object.values(value).some((each) => isDeeper(each, depth - 1)));
