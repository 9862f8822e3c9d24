import { connect } from "node:net";

/** A client that sends without reading. */
export interface ClosedReader {
  /** True when nothing of what it sends is taken any more. */
  readonly isStuck: boolean;
  /** Sends the rest, reads all there is, and gives how often `wanted` came. Ends when it came as often as requests were sent. */
  readAll(wanted: string): Promise<number>;
  close(): void;
}

/** Opens a connection and sends `packet` until `requests` requests have gone (200 in a packet), as far as the server takes them; reads nothing. */
export async function flood(port: number, packet: Uint8Array, requests: number): Promise<ClosedReader> {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  socket.on("error", () => {});
  socket.pause();
  let left = requests;
  let lastTaken = performance.now();
  const send = (): void => {
    while (left > 0) {
      left -= 200;
      const isTaken = socket.write(packet);
      lastTaken = performance.now();
      if (!isTaken) return;
    }
  };
  socket.on("drain", send);
  send();
  return {
    get isStuck() {
      return performance.now() - lastTaken > 300;
    },
    readAll: (wanted) =>
      new Promise((resolve) => {
        let count = 0;
        let tail = "";
        socket.on("data", (bytes: Buffer) => {
          const text = tail + bytes.toString("latin1");
          count += text.split(wanted).length - 1;
          tail = text.slice(-(wanted.length - 1));
          if (count >= requests) resolve(count);
        });
        socket.resume();
      }),
    close: () => socket.destroy(),
  };
}
