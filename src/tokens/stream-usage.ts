import { bufferOf } from "../values/buffer.ts";
import type { Glance } from "./events.ts";
import { Kind, type NumbersAt } from "./number-at.ts";
import { searchFor } from "./search.ts";

const NAME = Buffer.from('"usage"');
const NULL = Buffer.from("null");

const COLON = 58;
/** The bytes of `:null`. */
const COLON_AND_NULL = 5;

/**
 * Makes a glance that skips events without a field of this name, in which nothing can be found, and those in which it is null: some providers
 * put it into each. `name` in quotes.
 */
export function without(name: Buffer): Glance {
  const lies = searchFor(name);
  return (bytes, from, until) => {
    const at = lies(bytes, from);
    return at >= until || (isNull(bytes, at + name.length) && lies(bytes, at + 1) >= until);
  };
}

/** Tells whether `:null` stands at this position. */
const isNull = (bytes: Buffer, at: number): boolean =>
  bytes[at] === COLON && bytes[at + 1] === 110 && bytes[at + 2] === 117 && bytes[at + 3] === 108 && bytes[at + 4] === 108;

/**
 * Makes a glance that skips events without a usage, and those whose only one is null and has nothing but plain fields behind it: then it is a
 * field of the outermost object, and that says all there is to know. `usage`: the place of the usage.
 */
export function withoutUsage(numbers: NumbersAt, usage: number): Glance {
  const lies = searchFor(NAME);
  return (bytes, from, until) => {
    const at = lies(bytes, from);
    if (at >= until) return true;
    const behind = at + NAME.length;
    if (!isNull(bytes, behind) || lies(bytes, at + 1) < until || !isLastOfObject(bytes, behind + COLON_AND_NULL, until)) return false;
    numbers.kinds[usage] = Kind.Other;
    return true;
  };
}

/** The most bytes behind a usage that are looked at. */
const MAX_BEHIND = 64;

/** Tells whether what stands from here to the end of the text is within one object, and ends it: it has no bracket but the last. */
function isLastOfObject(bytes: Buffer, from: number, until: number): boolean {
  if (until - from > MAX_BEHIND) return false;
  for (let i = from; i < until - 1; i++) {
    const byte = bytes[i];
    if (byte === 123 || byte === 125 || byte === 91 || byte === 93) return false;
  }
  return true;
}

/**
 * Makes the sieve for a stream of chat completions whose usage only we asked for, not the caller. It leaves out the event that brings
 * nothing else (`choices: []` with a usage, OpenAI's "include_usage"), and from the others the `"usage": null` that they have only because
 * we asked. `choices` and `usage`: the places of those.
 */
export const unaskedUsage =
  (numbers: NumbersAt, choices: number, usage: number) =>
  (event: Uint8Array): readonly Uint8Array[] | null => {
    const kind = numbers.kinds[usage];
    if (kind === Kind.Object && numbers.kinds[choices] === Kind.EmptyList) return null;
    return kind === Kind.Other ? withoutNull(event) : [event];
  };

/** Gives the event without its `"usage": null`; as it is when that can't be told from something else by its looks. */
function withoutNull(event: Uint8Array): readonly Uint8Array[] {
  const text = bufferOf(event);
  let from = -1;
  let to = -1;
  // A quote within a string has a backslash before it, so that a name in quotes with a colon behind it is a field's.
  for (let at = text.indexOf(NAME); at >= 0; at = text.indexOf(NAME, at + NAME.length)) {
    const colon = behindSpace(text, at + NAME.length);
    if (text[colon] !== 58) continue;
    if (from >= 0) return [event];
    const value = behindSpace(text, colon + 1);
    if (text.indexOf(NULL, value) !== value) return [event];
    from = at;
    to = value + NULL.length;
  }
  if (from < 0) return [event];
  let before = from - 1;
  while (before >= 0 && text[before] === 32) before--;
  if (text[before] === 44) return [text.subarray(0, before), text.subarray(to)];
  const after = behindSpace(text, to);
  if (text[after] === 44) return [text.subarray(0, from), text.subarray(behindSpace(text, after + 1))];
  // The comma stands on another line, or there is none.
  return text[before] === 123 && text[after] === 125 ? [text.subarray(0, from), text.subarray(to)] : [event];
}

function behindSpace(text: Uint8Array, from: number): number {
  let i = from;
  while (text[i] === 32) i++;
  return i;
}
