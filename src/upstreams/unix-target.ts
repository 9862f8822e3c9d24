/** Describes a target that is a Unix socket: `unix:/run/app.sock`, or `unix:/run/app.sock:/base` with a base path. */
export interface UnixTarget {
  /** The socket's path. */
  readonly socket: string;
  /** The path that is put before every forwarded path, without a slash at its end. */
  readonly basePath: string;
}

/** What the address of a socket may hold, its closing zero not counted (`sun_path`: 108 bytes on Linux, 104 on macOS). */
const MAX_SOCKET_PATH = 103;

const FORM = /^unix:(\/[^:?#]*)(?::(\/[!-"$->@-~]*)?)?$/;
/** Segments that lead elsewhere than they say. */
const CROOKED = /\/(?:\.{0,2})(?:\/|$)/;

/** Tells whether a target is named by its address, and not by the name of an upstream. */
export const isAddress = (text: string): boolean => text.includes("://") || text.startsWith("unix:/");

/** Gives the parts of a Unix socket's address; `null` when the text is none. */
export function unixTargetOf(text: string): UnixTarget | null {
  const [, socket, base] = FORM.exec(text) ?? [];
  if (socket === undefined) return null;
  return { socket, basePath: base === undefined ? "" : new URL(base, "http://localhost").pathname.replace(/\/$/, "") };
}

/** Tells what is wrong with the address of a Unix socket, which begins with `unix:`; `null` when nothing is. */
export function unixFault(text: string): string | null {
  const target = unixTargetOf(text);
  if (target === null || text.endsWith(":"))
    return 'must be the whole path of a Unix socket, such as "unix:/run/app.sock", or "unix:/run/app.sock:/base" with a base path';
  const { socket } = target;
  if (socket.startsWith("//")) return `must have one slash at the beginning of the path: write ${JSON.stringify(text.replace(/\/+/, "/"))}`;
  if (CROOKED.test(socket)) return 'must name the socket without empty, "." and ".." segments';
  if (/[^ -~]/.test(socket)) return "must name the socket in printable ASCII";
  return socket.length > MAX_SOCKET_PATH
    ? `must name a socket of at most ${MAX_SOCKET_PATH} characters: systems take no longer ones`
    : null;
}
