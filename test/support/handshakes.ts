// Opens new connections with TLS, so many a second, and asks one question by each. Prints what became of them as JSON.
// Arguments: port, name, connections a second, seconds.
import { connect } from "node:tls";

const [port = 0, , rate = 100, seconds = 1] = process.argv.slice(2).map(Number);
const servername = process.argv[3] ?? "";
const outcome = { answered: 0, failures: {} as Record<string, number>, certificates: 0 };
const seen = new Set<string>();
let open = 0;

const failed = (why: string): void => {
  outcome.failures[why] = (outcome.failures[why] ?? 0) + 1;
};

function ask(): void {
  open++;
  let text = "";
  const socket = connect({ host: "127.0.0.1", port, servername, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] }, () => {
    seen.add(socket.getPeerCertificate().fingerprint256);
    socket.write(`GET /health HTTP/1.1\r\nHost: ${servername}\r\nConnection: close\r\n\r\n`);
  });
  socket.on("data", (bytes) => {
    text += bytes;
  });
  socket.on("error", (error) => failed(error.message));
  socket.on("close", () => {
    open--;
    if (text.startsWith("HTTP/1.1 200 ") && text.endsWith("}")) outcome.answered++;
    else if (text !== "") failed("a cut answer");
  });
}

const began = performance.now();
let asked = 0;
const timer = setInterval(() => {
  const elapsed = performance.now() - began;
  for (; asked < Math.min(elapsed / 1000, seconds) * rate; asked++) ask();
  if (elapsed > seconds * 1000 && open === 0) {
    clearInterval(timer);
    console.log(JSON.stringify({ ...outcome, asked, certificates: seen.size }));
  }
}, 2);
