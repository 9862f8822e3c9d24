// Asks a gateway over HTTP/2 as Node's own client does, and tells as JSON what came back. Arguments: URL, file with the certificate to trust.
import { readFileSync } from "node:fs";
import http2 from "node:http2";

const [url, ca] = process.argv.slice(2);
const session = http2.connect(url, url.startsWith("https") ? { ca: readFileSync(ca) } : {});
const ask = (path, headers = {}, body = null) =>
  new Promise((resolve, reject) => {
    const stream = session.request({ ":path": path, ...headers }, { endStream: body === null });
    const told = { size: 0, text: "", trailer: undefined };
    stream.on("data", (part) => {
      told.size += part.length;
      if (told.text.length < 1000) told.text += part;
    });
    stream.on("trailers", (fields) => {
      told.trailer = fields["x-sum"];
    });
    stream.on("end", () => resolve(told));
    stream.on("error", reject);
    if (body !== null) stream.end(body);
  });

const many = await Promise.all(Array.from({ length: 200 }, (_, i) => ask(`/echo/status?body=${i}`)));
const uploaded = await ask("/upload", { ":method": "POST" }, Buffer.alloc(5_000_003));
const { trailer } = await ask("/chunked");
const cancelled = await new Promise((resolve) => {
  const stream = session.request({ ":path": "/echo/hang" });
  stream.on("close", () => resolve(stream.rstCode === http2.constants.NGHTTP2_CANCEL));
  stream.on("error", () => {});
  setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), 300);
});
const { size } = await ask("/echo/download?mb=50");
console.log(
  JSON.stringify({
    protocol: "HTTP/2.0",
    good: many.filter(({ text }, i) => text === String(i)).length,
    uploaded: uploaded.text.includes('"size":5000003'),
    trailer,
    cancelled,
    downloaded: size,
  }),
);
session.close();
