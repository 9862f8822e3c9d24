/** Lines around a change that are shown with it. */
const CONTEXT = 3;
/** The most pairs of lines that are compared: beyond it the changed part is shown as a whole. A million take some ten milliseconds. */
const MAX_PAIRS = 4_000_000;

type Edit = { readonly sign: " " | "-" | "+"; readonly line: string };

/**
 * Gives the difference of two texts as a unified diff without the names of files, three lines around each change; "" where there is none.
 * The least one, unless the changed part has thousands of lines.
 *
 * @example
 * lineDiff("a\nb\n", "a\nc\n"); // "@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
 */
export function lineDiff(before: string, after: string): string {
  if (before === after) return "";
  return hunksOf(editsOf(linesOf(before), linesOf(after)));
}

function linesOf(text: string): string[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  else lines.push("\\ no end of line at the end");
  return lines;
}

function editsOf(a: readonly string[], b: readonly string[]): Edit[] {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const same = (lines: readonly string[]): Edit[] => lines.map((line) => ({ sign: " ", line }));
  return [
    ...same(a.slice(0, start)),
    ...middle(a.slice(start, a.length - end), b.slice(start, b.length - end)),
    ...same(end === 0 ? [] : a.slice(-end)),
  ];
}

/** Gives the edits by the longest common subsequence. */
function middle(a: readonly string[], b: readonly string[]): Edit[] {
  const edits: Edit[] = [];
  const width = b.length + 1;
  const isBounded = a.length * b.length <= MAX_PAIRS;
  const lengths = isBounded ? new Uint32Array((a.length + 1) * width) : null;
  const at = (i: number, j: number): number => lengths?.[i * width + j] ?? 0;
  if (lengths !== null)
    for (let i = a.length - 1; i >= 0; i--)
      for (let j = b.length - 1; j >= 0; j--)
        lengths[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const [was, is] = [a[i], b[j]];
    if (lengths !== null && was !== undefined && was === is) {
      edits.push({ sign: " ", line: was });
      i++;
      j++;
    } else if (was !== undefined && (is === undefined || at(i + 1, j) >= at(i, j + 1))) {
      edits.push({ sign: "-", line: was });
      i++;
    } else {
      edits.push({ sign: "+", line: is ?? "" });
      j++;
    }
  }
  return edits;
}

function hunksOf(edits: readonly Edit[]): string {
  const isShown = new Uint8Array(edits.length);
  for (const [i, { sign }] of edits.entries())
    if (sign !== " ") isShown.fill(1, Math.max(0, i - CONTEXT), Math.min(edits.length, i + CONTEXT + 1));
  let text = "";
  let [old, now] = [1, 1];
  for (let i = 0; i < edits.length; ) {
    if (isShown[i] === 0) {
      i++;
      old++;
      now++;
      continue;
    }
    let last = i;
    while (isShown[last] === 1) last++;
    const hunk = edits.slice(i, last);
    const [gone, come] = [hunk.filter(({ sign }) => sign !== "+").length, hunk.filter(({ sign }) => sign !== "-").length];
    text += `@@ -${gone === 0 ? old - 1 : old},${gone} +${come === 0 ? now - 1 : now},${come} @@\n`;
    for (const { sign, line } of hunk) text += `${sign}${line}\n`;
    old += gone;
    now += come;
    i = last;
  }
  return text;
}
