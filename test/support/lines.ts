import { createServer } from "node:net";

/** A backend that keeps each request's head as it came, byte for byte, and answers with the text of its request line. */
export async function lines(): Promise<{ url: string; heads: string[]; [Symbol.dispose](): void }> {
  const heads: string[] = [];
  const server = createServer((socket) => {
    let text = "";
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
        const head = text.slice(0, end);
        text = text.slice(end + 4);
        heads.push(head);
        const [line = ""] = head.split("\r\n", 1);
        socket.write(
          `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Request-ID: req_of_the_backend\r\nContent-Length: ${line.length}\r\n\r\n${line}`,
          "latin1",
        );
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return { url: `http://127.0.0.1:${port}`, heads, [Symbol.dispose]: () => void server.close() };
}

/** The path of a request line. */
export const pathOf = (head: string): string => head.split(" ", 2)[1] ?? "";
