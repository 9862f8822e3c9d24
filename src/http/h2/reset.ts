import type { Http2Stream } from "node:http2";
import type { ErrorCode } from "./frames.ts";

/**
 * Ends a stream by RST_STREAM alone. `close` and `destroy` of Bun's node:http2 end the stream's content before that, with END_STREAM, by which a peer takes
 * what it has for the whole: they do not where the stream's content is ending already, so that it is said to be.
 */
export function resetStream(stream: Http2Stream, code: ErrorCode): void {
  if (stream.destroyed || stream.closed) return;
  const inner = stream as unknown as { _writableState: { ending: boolean }; rstCode: number };
  inner._writableState.ending = true;
  inner.rstCode = code;
  stream.destroy();
}
