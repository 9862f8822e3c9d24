import { bufferOf } from "../values/buffer.ts";

/** The whole of a media type that every server reads alike. */
const TYPE = /^multipart\/form-data *; *boundary=(?:"([\w'()+,./:=? -]{1,70})"|([\w'()+./:=?-]{1,70}))$/i;
/** The line that names a part, as browsers and clients write it (those of .NET without quotes): its name, and whether it is a file. */
const DISPOSITION =
  /^content-disposition: form-data; name=(?:"([^"\\]*)"|([\w.-]+))(; filename=(?:"(?:[^"\\]|\\.)*"|[\w.-]+))?(; filename\*=[^;\s]+)?$/i;
/** How a part's content may be said to be written: as it is. */
const PLAIN_CODING = /^content-transfer-encoding: *(?:7bit|8bit|binary)$/i;
/** The most bytes of a part's head. */
const MAX_HEAD = 4096;

/**
 * Gives the texts of a form's fields by their names, without its files; `null`: it is none, or some servers would read another "model" out
 * of it than others do.
 */
export function formOf(bytes: Uint8Array, contentType: string): ReadonlyMap<string, readonly string[]> | null {
  const [, quoted, plain] = TYPE.exec(contentType.trim()) ?? [];
  const boundary = quoted ?? plain;
  return boundary === undefined ? null : fieldsOf(bufferOf(bytes), Buffer.from(`--${boundary}`));
}

/** Gives the fields of a form whose parts are written so that servers agree on where they begin and what they are called. */
function fieldsOf(bytes: Buffer, delimiter: Buffer): ReadonlyMap<string, readonly string[]> | null {
  const fields = new Map<string, string[]>();
  // Some servers read what stands before the first part, or behind the last one.
  if (bytes.indexOf(delimiter) !== 0) return null;
  for (let at = 0; ; ) {
    const from = at + delimiter.length;
    const next = bytes.toString("latin1", from, from + 2);
    if (next === "--") return ["", "\r\n"].includes(bytes.toString("latin1", from + 2)) ? fields : null;
    const headEnd = bytes.indexOf("\r\n\r\n", from);
    if (next !== "\r\n" || headEnd < 0 || headEnd - from > MAX_HEAD) return null;
    const part = partOf(bytes.toString("latin1", from + 2, headEnd).split("\r\n"));
    at = bytes.indexOf(delimiter, headEnd + 4);
    if (part === null || at < headEnd + 6 || bytes.toString("latin1", at - 2, at) !== "\r\n") return null;
    if (part.isFile) continue;
    const text = bytes.toString("utf8", headEnd + 4, at - 2);
    const texts = fields.get(part.name);
    if (texts === undefined) fields.set(part.name, [text]);
    else texts.push(text);
  }
}

/** Gives what the head of a part says of it; `null`: that is not clear. */
function partOf(lines: readonly string[]): { readonly name: string; readonly isFile: boolean } | null {
  let part: { readonly name: string; readonly isFile: boolean } | null = null;
  for (const line of lines) {
    const lower = line.toLowerCase();
    // A line that goes on with the one before it, and one that some servers end earlier.
    if (/^[ \t]|[\r\n]/.test(line)) return null;
    if (lower.startsWith("content-transfer-encoding") && !PLAIN_CODING.test(line)) return null;
    if (!lower.startsWith("content-disposition")) continue;
    const [whole, quoted, plain = "", file, encodedFile] = DISPOSITION.exec(line) ?? [];
    if (whole === undefined || part !== null) return null;
    part = { name: quoted ?? plain, isFile: file !== undefined || encodedFile !== undefined };
    if (part.name.toLowerCase() === "model" && (part.name !== "model" || part.isFile)) return null;
  }
  return part;
}
