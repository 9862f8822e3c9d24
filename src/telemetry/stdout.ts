import { constants, openSync, writeSync } from "node:fs";
import type { LineSink } from "./output.ts";

/**
 * Writes all of `text` to stdout before it returns. A pipe takes 64 KB at a time, and a process that ends does not wait for text that
 * `process.stdout` still holds. A reader that has gone is no fault of ours.
 */
export function print(text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) return;
      Bun.sleepSync(1);
    }
  }
}

/** Milliseconds until a terminal that takes nothing is tried again. */
const RETRY_AFTER = 50;

/**
 * Opens stdout for lines that must not wait for whoever reads them. Bun writes to pipes and sockets as they take it, but waits for a
 * terminal that somebody has halted (Ctrl-S).
 */
export function lineSink(): LineSink {
  const fd = process.stdout.isTTY ? ownTerminal() : null;
  return fd === null ? Bun.stdout.writer({ highWaterMark: 65_536 }) : new TerminalSink(fd);
}

/** Opens the terminal anew, so that only our own writing does not wait; `null` where that can't be done. */
function ownTerminal(): number | null {
  try {
    return openSync("/proc/self/fd/1", constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return null;
  }
}

class TerminalSink implements LineSink {
  private rest: Uint8Array = new Uint8Array();

  constructor(private readonly fd: number) {}

  write(text: string): void {
    this.rest = Buffer.concat([this.rest, Buffer.from(text)]);
  }

  flush(): number | Promise<number> {
    if (this.isTaken()) return 0;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const again = (): void => {
      try {
        if (this.isTaken()) resolve(0);
        else setTimeout(again, RETRY_AFTER);
      } catch (error) {
        reject(error);
      }
    };
    setTimeout(again, RETRY_AFTER);
    return promise;
  }

  private isTaken(): boolean {
    try {
      while (this.rest.length > 0) this.rest = this.rest.subarray(writeSync(this.fd, this.rest));
      return true;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EAGAIN") return false;
      throw error;
    }
  }
}
