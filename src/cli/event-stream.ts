/**
 * Reads Server-Sent Events out of a stream of bytes, and gives the data of each as it is complete (HTML Living Standard §9.2.6, without
 * ids and retry times, which Sluice does not send). Ends when the stream does.
 *
 * @example
 * for await (const data of eventsIn(response.body)) print(data);
 */
export async function* eventsIn(bytes: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  let data: string[] = [];
  for await (const chunk of bytes) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
      else if (line === "" && data.length > 0) {
        yield data.join("\n");
        data = [];
      }
    }
  }
}
