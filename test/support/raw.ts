import { connect, type Socket } from "node:net";

/** One TCP connection, for what `fetch` would never send. */
export class RawConnection {
  private received = Buffer.alloc(0);
  private isClosed = false;
  private wake: (() => void) | null = null;

  private constructor(readonly socket: Socket) {
    socket.on("data", (bytes: Buffer) => {
      this.received = Buffer.concat([this.received, bytes]);
      this.wake?.();
    });
    const closed = () => {
      this.isClosed = true;
      this.wake?.();
    };
    socket.on("close", closed);
    socket.on("end", closed);
    socket.on("error", closed);
  }

  static open(port: number): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port, noDelay: true });
      socket.once("connect", () => resolve(new RawConnection(socket)));
      socket.once("error", reject);
    });
  }

  write(text: string | Uint8Array): void {
    this.socket.write(typeof text === "string" ? Buffer.from(text, "latin1") : text);
  }

  /** All text received so far, once it holds `wanted`; fails when the connection closes before. */
  async until(wanted: string): Promise<string> {
    while (!this.text.includes(wanted)) {
      if (this.isClosed) throw new Error(`closed before ${JSON.stringify(wanted)}: ${this.text.slice(0, 500)}`);
      await this.more();
    }
    return this.text;
  }

  /** All text received until the other side closed. */
  async untilClosed(): Promise<string> {
    while (!this.isClosed) await this.more();
    return this.text;
  }

  get text(): string {
    return this.received.toString("latin1");
  }

  close(): void {
    this.socket.destroy();
  }

  private more(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }
}

/** Sends one request as raw text on its own connection and gives all that comes back until it closes. */
export async function exchange(port: number, text: string | Uint8Array): Promise<string> {
  const connection = await RawConnection.open(port);
  connection.write(text);
  try {
    return await connection.untilClosed();
  } finally {
    connection.close();
  }
}
