import { readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, extname, join } from "node:path";

/** The files that are followed from one plug-in: more are no plug-in but a whole program, and are read once. */
const MAX_FILES = 512;

const PROGRAMS: Readonly<Record<string, "ts" | "tsx" | "js" | "jsx">> = {
  ...{ ".ts": "ts", ".mts": "ts", ".cts": "ts", ".tsx": "tsx" },
  ...{ ".js": "js", ".mjs": "js", ".cjs": "js", ".jsx": "jsx" },
};
const ENDINGS: readonly string[] = ["", ...Object.keys(PROGRAMS), ".json", "/index.ts", "/index.js"];

/** Holds a plug-in's file and all that it imports by relative paths, each with a text that changes when the file does. */
export type Sources = ReadonlyMap<string, string>;

/**
 * Milliseconds within which a file that was just written may be written again without another time: file systems count by ticks of the
 * kernel, of ten milliseconds at most.
 */
const TICK = 50;

const GONE = "gone";

/** Gives a text that changes when the file does: its time and size, and what is in it where it was written this very moment. */
export function stampOf(file: string): string {
  const state = stateOf(file);
  if (state === null) return GONE;
  return Math.abs(Date.now() - state.at) > TICK ? state.text : `${state.text}#${contentOf(file)}`;
}

/** Tells whether a file is what it was when it had this stamp. */
function isAsBefore(file: string, stamp: string): boolean {
  const [before, content] = stamp.split("#", 2);
  return (stateOf(file)?.text ?? GONE) === before && (content === undefined || contentOf(file) === content);
}

/** Gives a file's time, size and number, and the time alone (milliseconds since 1970); `null` where there is none. */
function stateOf(file: string): { readonly text: string; readonly at: number } | null {
  try {
    const { mtimeMs, size, ino } = statSync(file);
    return { text: `${mtimeMs} ${size} ${ino}`, at: mtimeMs };
  } catch {
    return null;
  }
}

function contentOf(file: string): string {
  try {
    return Bun.hash(readFileSync(file)).toString(36);
  } catch {
    return "";
  }
}

/**
 * Finds a plug-in's file and what it imports by relative paths, as they are now. Where an import leads to no file, the places are among
 * them at which it would be found: it may come.
 */
export function sourcesOf(file: string): Sources {
  const found = new Map<string, string>();
  const open = [file];
  for (let next = open.pop(); next !== undefined && found.size < MAX_FILES; next = open.pop()) {
    if (found.has(next)) continue;
    // Before it is read: what changes meanwhile is seen as a change afterwards.
    found.set(next, stampOf(next));
    const paths = importedBy(next);
    // Bun looks for them from where a link leads.
    if (paths.length > 0) open.push(...paths.flatMap((path) => placesOf(path, dirname(realPathOf(next)))));
  }
  return found;
}

/** Tells whether the files are what they were. */
export const isUnchanged = (sources: Sources): boolean => [...sources].every(([file, stamp]) => isAsBefore(file, stamp));

/** Makes Bun read these files again when they are imported next. */
export function forget(files: Iterable<string>): void {
  for (const file of files) {
    delete require.cache[file];
    delete require.cache[realPathOf(file)];
  }
}

/** Gives where a path leads to by links; the path itself where there is nothing. */
export function realPathOf(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return file;
  }
}

/** Gives the relative paths that a file imports; none where it can't be read. */
function importedBy(file: string): string[] {
  const loader = PROGRAMS[extname(file)];
  if (loader === undefined) return [];
  try {
    return new Bun.Transpiler({ loader })
      .scanImports(readFileSync(file))
      .map(({ path }) => path)
      .filter((path) => path.startsWith("./") || path.startsWith("../"));
  } catch {
    // Whoever loads it says what is wrong.
    return [];
  }
}

function placesOf(path: string, folder: string): string[] {
  try {
    return [Bun.resolveSync(path, folder)];
  } catch {
    return ENDINGS.map((ending) => join(folder, path) + ending);
  }
}
