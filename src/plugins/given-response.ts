import { type Body, StreamBody } from "../http/body.ts";
import { Fields } from "../http/fields.ts";

/** The bytes of a Response that are waited for to see where it ends; a longer one is sent as it comes. */
const MAX_WHOLE = 1_048_576;

/** Holds a Response of a plug-in's, ready to be sent. */
export interface GivenResponse {
  readonly status: number;
  readonly reason: string;
  readonly fields: Fields;
  readonly body: Uint8Array | Body | null;
}

/** Says what keeps a Response from being sent; `null`: nothing does. */
export function responseFault(response: Response): string | null {
  if (response.bodyUsed || response.body?.locked === true) return "a Response whose body was read already";
  // An error of fetch has the status 0.
  return response.status >= 200 && response.status <= 599 ? null : `a Response with the status ${response.status}`;
}

/**
 * Takes a Response apart. One that is there as a whole has a length; others go on as they come. Rejects when its body breaks off at once;
 * `onBroken` is told when it does so later.
 */
export async function taken(response: Response, onBroken: (error: unknown) => void): Promise<GivenResponse> {
  const { status, statusText, headers } = response;
  // What fetch gives has its URL, is decoded, and still says how it was encoded.
  const isDecoded = response.url !== "";
  const fields = new Fields();
  headers.forEach((value, name) => {
    if (!isDecoded || name.toLowerCase() !== "content-encoding") fields.add(name, name.toLowerCase(), value);
  });
  const isBodiless = status === 204 || status === 304;
  return {
    status,
    // It stands in the status line.
    reason: statusText.replace(/[^\t\x20-\x7e]/g, ""),
    fields,
    body: isBodiless || response.body === null ? null : await bodyOf(response.body, onBroken),
  };
}

type Read = { readonly done: boolean; readonly value?: unknown };

/** Reads a stream as far as it is there by now. */
async function bodyOf(stream: ReadableStream, onBroken: (error: unknown) => void): Promise<Uint8Array | Body> {
  // Two libraries describe readers, and differ in what this one has besides.
  const reader = stream.getReader() as unknown as { read(): Promise<Read>; cancel(reason?: unknown): Promise<void> };
  const parts: Uint8Array[] = [];
  for (let size = 0; ; ) {
    const next = reader.read();
    const read = size > MAX_WHOLE ? null : await Promise.race([next, nextTurn()]);
    if (read === null) return new StreamBody(goingOn(reader, parts, next, onBroken));
    if (read.done) return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts, size);
    const part = bytesOf(read.value);
    size += part.length;
    parts.push(part);
  }
}

/** Resolves to `null` when what is under way in this turn of the event loop has been done. */
const nextTurn = (): Promise<null> => new Promise((resolve) => setImmediate(() => resolve(null)));

/** Makes a stream of the parts that were read, and all that comes. `next`: the read under way. */
function goingOn(
  reader: { read(): Promise<Read>; cancel(reason?: unknown): Promise<void> },
  parts: readonly Uint8Array[],
  next: Promise<Read>,
  onBroken: (error: unknown) => void,
): ReadableStream<Uint8Array> {
  let reading: Promise<Read> | null = next;
  return new ReadableStream<Uint8Array>({
    start: (controller) => {
      for (const part of parts) controller.enqueue(part);
    },
    pull: async (controller) => {
      try {
        const { done, value } = await (reading ?? reader.read());
        reading = null;
        if (done) controller.close();
        else controller.enqueue(bytesOf(value));
      } catch (error) {
        onBroken(error);
        throw error;
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

function bytesOf(part: unknown): Uint8Array {
  if (part instanceof Uint8Array) return part;
  if (typeof part === "string") return Buffer.from(part);
  throw new TypeError("a Response's stream must give bytes");
}
