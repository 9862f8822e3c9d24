// Callers who do nothing wrong, as a program of its own: `bun callers.ts URL SECONDS`. Four at a time, half of them on kept connections. Prints one line of JSON.
import { connect, type Socket } from "node:net";

const [url = "", seconds = "5"] = process.argv.slice(2);
const { port, pathname, host } = new URL(url);
const until = performance.now() + Number(seconds) * 1000;
const times: number[] = [];
const failures: Record<string, number> = {};

function ask(socket: Socket, keeps: boolean): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const end = (result: string): void => {
      socket.removeAllListeners("data").removeAllListeners("close").removeAllListeners("error");
      socket.on("error", () => {});
      clearTimeout(patience);
      resolve(result);
    };
    const patience = setTimeout(() => end("no answer within 10 s"), 10_000);
    socket.on("data", (bytes: Buffer) => {
      text += bytes.toString("latin1");
      const head = text.indexOf("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (head > 0 && text.length >= head + 4 + length) end(text.slice(9, 12));
    });
    socket.on("close", () => end("closed"));
    socket.on("error", (error: Error) => end(error.message));
    socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\n${keeps ? "" : "Connection: close\r\n"}\r\n`);
  });
}

async function call(keeps: boolean): Promise<void> {
  let socket: Socket | null = null;
  while (performance.now() < until) {
    const began = performance.now();
    socket ??= await new Promise<Socket>((resolve) => {
      const it = connect({ host: "127.0.0.1", port: Number(port), noDelay: true }, () => resolve(it));
      it.on("error", () => resolve(it));
    });
    const result = await ask(socket, keeps);
    times.push(performance.now() - began);
    if (result !== "200") failures[result] = (failures[result] ?? 0) + 1;
    if (!keeps || result !== "200") {
      socket.destroy();
      socket = null;
    }
    await Bun.sleep(5);
  }
  socket?.destroy();
}

await Promise.all([call(true), call(false), call(true), call(false)]);
times.sort((a, b) => a - b);
const at = (share: number): number => Math.round((times[Math.floor(times.length * share)] ?? 0) * 10) / 10;
process.stdout.write(`${JSON.stringify({ calls: times.length, failures, p50: at(0.5), p99: at(0.99), max: at(0.9999) })}\n`);
process.exit(0);
