// A client that means no good, as a program of its own: `bun attacker.ts KIND PORT [COUNT] [SECONDS] [PATH]`. Prints what it could do as one line of JSON when it is over, or when its input ends.
// Only against this machine, and bounded in number and time.
import type { Socket } from "bun";

const [kind = "", port = "0", count = "1", seconds = "10", path = "/"] = process.argv.slice(2);
const until = performance.now() + Number(seconds) * 1000;
const tally = { opened: 0, refused: 0, closed: 0, sent: 0, answered: {} as Record<string, number> };

type Lane = { left: Buffer | null };
/** Goes on with what the other side has not taken yet; `more` gives what follows, or `null`. */
function pump(socket: Socket<Lane>, more: () => Buffer | null): void {
  for (;;) {
    const bytes = socket.data.left ?? more();
    if (bytes === null) return;
    const taken = Math.max(0, socket.write(bytes));
    tally.sent += taken;
    socket.data.left = taken < bytes.length ? bytes.subarray(taken) : null;
    if (taken < bytes.length) return;
  }
}

const open = async (more: () => Buffer | null, reads: boolean): Promise<Socket<Lane> | null> => {
  try {
    const socket = await Bun.connect<Lane>({
      hostname: "127.0.0.1",
      port: Number(port),
      data: { left: null },
      socket: {
        data: (_, bytes) => {
          const status = /^HTTP\/1\.1 (\d+)/.exec(bytes.toString("latin1"))?.[1];
          if (status !== undefined) tally.answered[status] = (tally.answered[status] ?? 0) + 1;
        },
        drain: (it) => pump(it, more),
        close: () => {
          tally.closed++;
        },
        error: () => {},
      },
    });
    tally.opened++;
    if (!reads) socket.pause();
    pump(socket, more);
    return socket;
  } catch {
    tally.refused++;
    return null;
  }
};

/** Opens all of them, fifty at a time. */
async function openAll(first: Buffer | null, reads = true): Promise<Socket<Lane>[]> {
  const sockets: Socket<Lane>[] = [];
  for (let i = 0; i < Number(count); i += 50) {
    const some = await Promise.all(
      Array.from({ length: Math.min(50, Number(count) - i) }, () => {
        let next = first;
        return open(() => {
          const bytes = next;
          next = null;
          return bytes;
        }, reads);
      }),
    );
    sockets.push(...some.filter((it) => it !== null));
  }
  return sockets;
}

const finish = (): never => {
  process.stdout.write(`${JSON.stringify(tally)}\n`);
  process.exit(0);
};
setTimeout(finish, Number(seconds) * 1000);

switch (kind) {
  case "crlf": {
    // `count` megabytes of empty lines on one connection.
    const packet = Buffer.from("\r\n".repeat(32_768));
    let left = Number(count) * 16;
    await open(() => (left-- > 0 ? packet : null), true);
    while (left > 0 && tally.closed === 0) await Bun.sleep(20);
    await Bun.sleep(200);
    finish();
    break;
  }
  case "unread": {
    const packet = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(500));
    await Promise.all(Array.from({ length: Number(count) }, () => open(() => packet, false)));
    break;
  }
  case "heads": {
    const sockets = await openAll(Buffer.from(`GET ${path} HTTP/1.1\r\nHost: x\r\nX-Slow: `));
    while (performance.now() < until) {
      await Bun.sleep(1000);
      for (const socket of sockets) if (socket.readyState === 1) socket.write("x");
    }
    break;
  }
  case "bodies": {
    const sockets = await openAll(Buffer.from(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n`));
    while (performance.now() < until) {
      await Bun.sleep(2000);
      for (const socket of sockets) if (socket.readyState === 1) socket.write("x");
    }
    break;
  }
  case "steady": {
    // Bodies of 2 kB a second: slow, but not too slow.
    const sockets = await openAll(Buffer.from(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n`));
    const piece = Buffer.alloc(2048, "x");
    while (performance.now() < until) {
      await Bun.sleep(1000);
      for (const socket of sockets) if (socket.readyState === 1) socket.write(piece);
    }
    break;
  }
  case "idle":
    await openAll(null);
    break;
  default:
    throw new Error(`there is no attack ${kind}`);
}
