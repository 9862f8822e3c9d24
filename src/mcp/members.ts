/** The names of members that decide what a message is and does, by the object that they stand in. */
const OF_MESSAGE = ["jsonrpc", "id", "method", "params", "result", "error"];
const OF_PARAMS = ["name", "uri", "taskId", "_meta"];
/** The member of a request's metadata that says by which version it is meant. */
export const VERSION_KEY = "io.modelcontextprotocol/protocolVersion";

/**
 * Finds a member of a message that servers may read otherwise than Sluice does: one that stands there twice, or in other letter case, which
 * Go's servers take for the same. Gives the sentence that says so; `null`: there is none. `text`: JSON that was parsed without a fault.
 */
export function ambiguousMember(text: string): string | null {
  for (const from of messagesIn(text)) {
    const fault = ofMessage(text, from);
    if (fault !== null) return fault;
  }
  return null;
}

/** Gives the id of each message as it is written, `null` where there is none. `text`: JSON that was parsed without a fault. */
export const idTexts = (text: string): (string | null)[] =>
  [...messagesIn(text)].map((from) => {
    const id = membersAt(text, from).findLast(({ name }) => name === "id");
    return id === undefined ? null : text.slice(id.at, endOfValue(text, id.at)).trim();
  });

/** Gives the positions at which messages begin: the elements of a list, or what stands there by itself. */
function* messagesIn(text: string): Generator<number> {
  const from = skipSpace(text, 0);
  if (text.charCodeAt(from) !== Char.OpenArray) yield from;
  else for (let i = skipSpace(text, from + 1); text.charCodeAt(i) !== Char.CloseArray; i = nextElement(text, i)) yield i;
}

enum Char {
  Quote = 34,
  Comma = 44,
  OpenArray = 91,
  Backslash = 92,
  CloseArray = 93,
  OpenObject = 123,
  CloseObject = 125,
}

/** Holds the name of a member as it reads, and the position at which its value begins. */
interface Member {
  readonly name: string;
  readonly at: number;
}

function ofMessage(text: string, from: number): string | null {
  const members = membersAt(text, from);
  const params = members.find(({ name }) => name === "params");
  const ofParams = params === undefined ? [] : membersAt(text, params.at);
  const meta = ofParams.find(({ name }) => name === "_meta");
  const ofMeta = meta === undefined ? [] : membersAt(text, meta.at);
  return oddOne(members, OF_MESSAGE) ?? oddOne(ofParams, OF_PARAMS) ?? oddOne(ofMeta, [VERSION_KEY]);
}

function oddOne(members: readonly Member[], known: readonly string[]): string | null {
  const seen = new Set<string>();
  for (const { name } of members) {
    const meant = known.find((each) => fold(each) === fold(name));
    if (meant === undefined) continue;
    if (name !== meant) return `The member ${JSON.stringify(meant)} must be written so, not ${JSON.stringify(name.slice(0, 128))}.`;
    if (seen.has(name)) return `The member ${JSON.stringify(name)} must not stand there twice.`;
    seen.add(name);
  }
  return null;
}

/** Gives a name as those read it who take no notice of letter case: the long s (U+017F) is an s, and the sign for kelvin a k. */
const fold = (name: string): string => name.toLowerCase().replaceAll("\u017f", "s");

/** Gives the members of the object that begins at `from`; none where something else does. */
function membersAt(text: string, from: number): Member[] {
  const members: Member[] = [];
  if (text.charCodeAt(from) !== Char.OpenObject) return members;
  for (let i = skipSpace(text, from + 1); text.charCodeAt(i) !== Char.CloseObject; ) {
    const end = endOfString(text, i) + 1;
    const at = skipSpace(text, skipSpace(text, end) + 1);
    members.push({ name: JSON.parse(text.slice(i, end)), at });
    i = nextElement(text, at);
  }
  return members;
}

/** Gives where the next element or member begins after the value at `from`, or where the list or object ends that they stand in. */
function nextElement(text: string, from: number): number {
  const end = skipSpace(text, endOfValue(text, from));
  return text.charCodeAt(end) === Char.Comma ? skipSpace(text, end + 1) : end;
}

/** Gives the position behind the value that begins at `from`. */
function endOfValue(text: string, from: number): number {
  let depth = 0;
  for (let i = from; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case Char.Quote:
        i = endOfString(text, i);
        break;
      case Char.OpenArray:
      case Char.OpenObject:
        depth++;
        break;
      case Char.CloseArray:
      case Char.CloseObject:
        // One that nothing here has opened ends what the value stands in.
        if (depth === 0) return i;
        depth--;
        break;
      case Char.Comma:
        if (depth === 0) return i;
    }
  }
  return text.length;
}

/** Gives the position of the quote that ends the string which begins at `from`. */
function endOfString(text: string, from: number): number {
  for (let end = text.indexOf('"', from + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === Char.Backslash) backslashes++;
    if (backslashes % 2 === 0) return end;
  }
  return text.length;
}

function skipSpace(text: string, from: number): number {
  let i = from;
  while (i < text.length && text.charCodeAt(i) <= 32) i++;
  return i;
}
