import { chmodSync, existsSync, linkSync, lstatSync, renameSync, type Stats, unlinkSync } from "node:fs";
import { dirname, join } from "node:path";

/** Says at which path to listen. */
export interface UnixPlace {
  readonly path: string;
  /** The rights of the file (as of chmod(2)): whoever may write it may connect. */
  readonly mode: number;
  /** True when another gateway that listens there may be relieved: who connects from then on comes here. */
  readonly mayReplace: boolean;
}

/** The most bytes of a path: what the system's address holds (unix(7)), without what a name of our own beside it may take more. */
export const MAX_UNIX_PATH = 96;

/**
 * Listens at a path. The socket is made beside it and put there when it is ready, in one step: nobody meets it with other rights, or half
 * made, and one that listens there already is replaced without a refused connection, or not at all (EEXIST). `begin`: listens at the path
 * that it is given. Call `clearStale` before.
 */
export function listenAt<L>({ path, mode, mayReplace }: UnixPlace, begin: (path: string) => L): { listener: L; leave: () => void } {
  const own = join(dirname(path), `.s${Math.random().toString(36).slice(2, 6)}`);
  const listener = begin(own);
  try {
    chmodSync(own, mode);
    const { ino, dev } = lstatSync(own);
    if (mayReplace || !isLinked(own, path)) renameSync(own, path);
    else unlinkSync(own);
    return { listener, leave: () => leave(path, ino, dev) };
  } catch (error) {
    (listener as { stop?: (closeActive: boolean) => void }).stop?.(true);
    quietly(() => unlinkSync(own));
    throw error;
  }
}

/** Gives a file a second name, unless that is taken (EEXIST). False where the file system knows no second names. */
function isLinked(own: string, path: string): boolean {
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST" || existsSync(path)) throw error;
    return false;
  }
}

/** Removes the file at a path, unless another listens there by now. */
function leave(path: string, ino: number, dev: number): void {
  quietly(() => {
    const there = lstatSync(path);
    if (there.ino === ino && there.dev === dev) unlinkSync(path);
  });
}

function quietly(work: () => void): void {
  try {
    work();
  } catch {
    // It is gone already, or may not be removed.
  }
}

/**
 * Removes a socket's file that nobody listens at any more, such as one that a gateway has left behind which was killed. Gives the sentence
 * that says why the path can't be used; `null`: it can.
 */
export async function clearStale(path: string, mayReplace: boolean): Promise<string | null> {
  let there: Stats;
  try {
    there = lstatSync(path);
  } catch (error) {
    return codeOf(error) === "ENOENT" ? null : `${path} can't be used: ${codeOf(error)}`;
  }
  if (!there.isSocket()) return `${path} is there and is no socket: name another path by server.unix, or remove it`;
  if (await isAnswered(path)) {
    // Another user's is no gateway that hands over.
    if (mayReplace && there.uid === process.getuid?.()) return null;
    return `${path} is taken: stop what listens there, or choose another path by server.unix`;
  }
  try {
    unlinkSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") return `${path} is left over, and can't be removed: ${codeOf(error)}`;
  }
  return null;
}

/** Tells whether anybody listens at a path: also who does not let us in, or has no room just now. */
async function isAnswered(path: string): Promise<boolean> {
  try {
    const socket = await Bun.connect({ unix: path, socket: { data: () => {} } });
    socket.terminate();
    return true;
  } catch (error) {
    return codeOf(error) !== "ECONNREFUSED" && codeOf(error) !== "ENOENT";
  }
}

const codeOf = (error: unknown): unknown => (error instanceof Error && "code" in error ? error.code : error);
