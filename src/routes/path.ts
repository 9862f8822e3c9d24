/** Gives a path without a slash at its end. */
export const withoutEndSlash = (path: string): string => path.replace(/\/$/, "");

/** Tells what is wrong with the path of a route; `null` when nothing is. */
export function pathFault(path: string): string | null {
  const form = formFault(path);
  if (form !== null) return form;
  const pattern = /[*{}]|\/:/.exec(path);
  if (pattern !== null) {
    const prefix = withoutEndSlash(path.slice(0, pattern.index)) || "/";
    return `a path is a prefix: write ${JSON.stringify(prefix)}, which takes all paths below it as well`;
  }
  if (path.includes(";")) return 'must not hold ";": routes are matched without the parameters of a path';
  return segmentsFault(path);
}

/** Tells what is wrong with a path that is put before those that are forwarded; `null` when nothing is. */
export function prefixFault(prefix: string): string | null {
  const form = formFault(prefix) ?? segmentsFault(prefix);
  if (form !== null) return form;
  if (withoutEndSlash(prefix) === "") return "adds nothing: leave it out";
  if (/[*{}]|\/:/.test(prefix)) return "is put before each path as it stands: it must not hold a pattern";
  return null;
}

function formFault(path: string): string | null {
  if (!path.startsWith("/")) return 'must begin with "/"';
  if (!/^[\x21-\x7e]+$/.test(path)) return "must be printable ASCII without spaces; encode other characters with %";
  if (/[?#]/.test(path)) return 'must not hold "?" or "#": a route takes a path';
  return /%(?:2f|5c|00)|\\/i.test(path) ? "must not hold an encoded slash, a backslash or a NUL" : null;
}

function segmentsFault(path: string): string | null {
  if (path.includes("//")) return 'must not hold "//"';
  return /\/\.{1,2}(?:\/|$)/.test(path) ? 'must not hold "." or ".." segments' : null;
}
