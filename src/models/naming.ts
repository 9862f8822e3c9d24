import { type Place, valueFrom } from "../tokens/field-at.ts";
import { bufferOf } from "../values/buffer.ts";

const QUOTE = 34;
const BACKSLASH = 92;
const COLON = 58;
const MODEL = "model";

/**
 * Tells how a JSON text names its model. `once`: by one field that is written "model". `none`: by none. `unclear`: by several, or in a
 * spelling that some servers take for it and others do not (`"Model"`, `"mod\u0065l"`): whoever looks at one must not miss another.
 */
export function namingOf(json: Uint8Array): "once" | "none" | "unclear" {
  const bytes = bufferOf(json);
  let depth = 0;
  let isNamed = false;
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
        if (depth === 1 && bytes[behindSpace(bytes, end)] === COLON) {
          // Nearly all names are of another length, and written plainly.
          if (end - i - 2 === MODEL.length || hasEscape(bytes, i, end)) {
            const name = bytes.toString("latin1", i + 1, end - 1);
            const isModel = name === MODEL;
            if ((isModel && isNamed) || (!isModel && mayMeanModel(name))) return "unclear";
            isNamed ||= isModel;
          }
        }
        i = end - 1;
      }
    }
  }
  return isNamed ? "once" : "none";
}

/** Says where the value of a field stands, `from` and `to` in bytes. */
export interface Member extends Place {
  /** Its name as those read it who take no notice of letter case. */
  readonly name: string;
  /** False where its name is written in other letter case, or with escapes. */
  readonly isPlain: boolean;
}

/** Gives the fields of the outermost object whose names, in small letters, are among these. The text must be JSON. */
export function membersOf(bytes: Buffer, names: ReadonlySet<string>): Member[] {
  const members: Member[] = [];
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
        const colon = depth === 1 && end - i <= MAX_WRITTEN ? behindSpace(bytes, end) : -1;
        if (colon >= 0 && bytes[colon] === COLON) {
          const written = bytes.toString("utf8", i + 1, end - 1);
          const name = (written.includes("\\") ? String(JSON.parse(`"${written}"`)) : written).toLowerCase().replaceAll("\u017f", "s");
          if (names.has(name)) members.push({ name, isPlain: written === name, ...valueFrom(bytes, behindSpace(bytes, colon + 1)) });
        }
        i = end - 1;
      }
    }
  }
  return members;
}

/** The most bytes of a name in quotes that is looked at: each character of a known one may be escaped. */
const MAX_WRITTEN = 64;

/** Tells whether a name that is not written "model" is read as that by somebody: Go's servers take capitals as well. */
function mayMeanModel(name: string): boolean {
  // With every character escaped it has thirty.
  if (name.length < 5 || name.length > 30) return false;
  const plain = name.includes("\\") ? String(JSON.parse(`"${name}"`)) : name;
  return plain.toLowerCase() === "model";
}

function hasEscape(bytes: Buffer, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (bytes[i] === BACKSLASH) return true;
  return false;
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
