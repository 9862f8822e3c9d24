/**
 * Reads a Dictionary of Structured Fields (RFC 9651 §4.2.2) as far as a targeted field needs it (RFC 9213 §2.1): names, and values as they are written; parameters and what is in
 * inner lists are checked and left out. Of a name that stands twice the last counts. Gives `null` for what is no dictionary, and for an empty one.
 */
export function parseDictionary(text: string): Map<string, string> | null {
  const members = new Map<string, string>();
  let at = 0;
  let end = text.length;
  while (text[at] === " ") at++;
  while (end > at && text[end - 1] === " ") end--;
  if (at >= end) return null;
  for (;;) {
    MEMBER.lastIndex = at;
    const member = MEMBER.exec(text);
    if (member === null) return null;
    const name = member[1] as string;
    members.delete(name);
    members.set(name, member[2] ?? "?1");
    at = MEMBER.lastIndex;
    if (at >= end) return members;
    COMMA.lastIndex = at;
    if (COMMA.exec(text) === null || COMMA.lastIndex >= end) return null;
    at = COMMA.lastIndex;
  }
}

const KEY = "[a-z*][a-z0-9_\\-.*]*";
const BARE = [
  "-?(?:\\d{1,12}\\.\\d{1,3}(?!\\d)|\\d{1,15}(?![\\d.]))",
  '"(?:[ !#-\\[\\]-~]|\\\\["\\\\])*"',
  "[A-Za-z*][!#$%&'*+\\-.^_`|~:/0-9A-Za-z]*",
  ":[A-Za-z0-9+/=]*:",
  "\\?[01]",
  "@-?\\d{1,15}",
].join("|");
const PARAMETERS = `(?:; *${KEY}(?:=(?:${BARE}))?)*`;
const INNER = `\\( *(?:(?:${BARE})${PARAMETERS}(?: +(?:${BARE})${PARAMETERS})* *)?\\)`;
const MEMBER = new RegExp(`(${KEY})(?:=(${BARE}|${INNER}))?${PARAMETERS}`, "y");
const COMMA = /[ \t]*,[ \t]*/y;
