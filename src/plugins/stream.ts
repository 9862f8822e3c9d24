import type { Body } from "../http/body.ts";

/** Gives a body as a stream, which is pulled as fast as it is read. `take` gives the body, and is called when the first of it is read. */
export function streamOf(take: () => Body | Uint8Array | null): ReadableStream<Uint8Array> {
  let body: Body | Uint8Array | null = null;
  return new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        if (body !== null && !(body instanceof Uint8Array)) {
          body.resume();
          return;
        }
        body = take();
        if (body === null || body instanceof Uint8Array) {
          if (body !== null && body.length > 0) controller.enqueue(body);
          controller.close();
        } else
          body.start({
            write: (bytes) => {
              controller.enqueue(bytes);
              return (controller.desiredSize ?? 0) > 0;
            },
            end: () => controller.close(),
            fail: (reason) => controller.error(reason),
          });
      },
      cancel: () => {
        if (body !== null && !(body instanceof Uint8Array)) body.cancel();
      },
    },
    // Looking at a message's body takes nothing of it.
    { highWaterMark: 0 },
  );
}
