import { bufferOf } from "../values/buffer.ts";

/** Says where bytes stand in a text. */
export interface Place {
  readonly from: number;
  readonly to: number;
}

const QUOTE = 34;
const BACKSLASH = 92;
const COLON = 58;

/**
 * Goes through the names of the outermost object's fields, quotes included, until `see` gives true. `colon`: the position of the one behind
 * the name. The text must be JSON.
 */
export function eachName(bytes: Buffer, see: (from: number, to: number, colon: number) => boolean): void {
  let depth = 0;
  for (let i = 0; i < bytes.length; i++) {
    switch (bytes[i]) {
      case 123:
      case 91:
        depth++;
        break;
      case 125:
      case 93:
        depth--;
        break;
      case QUOTE: {
        const end = endOfString(bytes, i);
        if (depth === 1) {
          const colon = behindSpace(bytes, end);
          // Else it is a value.
          if (bytes[colon] === COLON && see(i, end, colon)) return;
        }
        i = end - 1;
      }
    }
  }
}

/**
 * Finds the value of a field of the outermost object, quotes included: of several the last, as JSON.parse does. The text must be JSON.
 * `null`: there is none whose name is written without escapes.
 */
export function fieldAt(json: Uint8Array, name: string): Place | null {
  const bytes = bufferOf(json);
  const quoted = Buffer.from(JSON.stringify(name));
  let found: Place | null = null;
  eachName(bytes, (from, to, colon) => {
    if (to - from === quoted.length && bytes.compare(quoted, 0, quoted.length, from, to) === 0) found = valueBehind(bytes, colon);
    return false;
  });
  return found;
}

/** Gives the place of the value behind a colon. The text must be JSON. */
export const valueBehind = (bytes: Buffer, colon: number): Place => valueFrom(bytes, behindSpace(bytes, colon + 1));

/** Gives the place of the value that begins at `from`. The text must be JSON. */
function valueFrom(bytes: Buffer, from: number): Place {
  if (bytes[from] === QUOTE) return { from, to: endOfString(bytes, from) };
  let depth = 0;
  for (let i = from; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    if (byte === QUOTE) i = endOfString(bytes, i) - 1;
    else if (byte === 123 || byte === 91) depth++;
    else if (byte === 125 || byte === 93) {
      if (depth === 0) return { from, to: i };
      depth--;
    } else if (byte === 44 && depth === 0) return { from, to: i };
  }
  return { from, to: bytes.length };
}

/** Gives the position behind the string that begins at `from`. */
function endOfString(bytes: Buffer, from: number): number {
  for (let at = from + 1; ; ) {
    const quote = bytes.indexOf(QUOTE, at);
    if (quote < 0) return bytes.length;
    let backslashes = 0;
    while (bytes[quote - 1 - backslashes] === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}

function behindSpace(bytes: Uint8Array, from: number): number {
  let i = from;
  while (bytes[i] === 32 || bytes[i] === 9 || bytes[i] === 10 || bytes[i] === 13) i++;
  return i;
}
