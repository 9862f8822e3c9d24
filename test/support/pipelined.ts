/** Sends requests one behind the other on one connection, and waits until so many are answered. `firstLine`: how an answer begins. */
export async function pipelined(port: number, requests: string, count: number, firstLine = "HTTP/1.1 "): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let answered = 0;
  let rest = "";
  let waiting = Buffer.from(requests);
  const send = (socket: { write(bytes: Uint8Array): number }): void => {
    waiting = waiting.subarray(socket.write(waiting));
  };
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: send,
      drain: send,
      data: (_, bytes) => {
        // An answer's first line may come in two parts.
        const text = rest + bytes.toString();
        answered += text.split(firstLine).length - 1;
        rest = text.slice(-(firstLine.length - 1));
        if (answered >= count) resolve();
      },
    },
  });
  await promise;
  socket.terminate();
}
