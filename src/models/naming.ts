import { eachName, type Place, valueBehind } from "../tokens/field-at.ts";
import { bufferOf } from "../values/buffer.ts";

const BACKSLASH = 92;
const MODEL = "model";

/**
 * Tells how a JSON text names its model. `once`: by one field that is written "model". `none`: by none. `unclear`: by several, or in a
 * spelling that some servers take for it and others do not (`"Model"`, `"mod\u0065l"`): whoever looks at one must not miss another.
 */
export function namingOf(json: Uint8Array): "once" | "none" | "unclear" {
  const bytes = bufferOf(json);
  let naming: "once" | "none" | "unclear" = "none";
  eachName(bytes, (from, to) => {
    // Nearly all names are of another length, and written plainly.
    if (to - from - 2 !== MODEL.length && !hasEscape(bytes, from, to)) return false;
    const name = bytes.toString("latin1", from + 1, to - 1);
    if (name === MODEL) naming = naming === "none" ? "once" : "unclear";
    else if (mayMeanModel(name)) naming = "unclear";
    return naming === "unclear";
  });
  return naming;
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
  eachName(bytes, (from, to, colon) => {
    if (to - from > MAX_WRITTEN) return false;
    const written = bytes.toString("utf8", from + 1, to - 1);
    const name = (written.includes("\\") ? String(JSON.parse(`"${written}"`)) : written).toLowerCase().replaceAll("\u017f", "s");
    if (names.has(name)) members.push({ name, isPlain: written === name, ...valueBehind(bytes, colon) });
    return false;
  });
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
