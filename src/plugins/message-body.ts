import type { BodyReader } from "./body-reader.ts";
import type { Visit } from "./visit.ts";

/** Says what a body is read for. */
export interface BodyOf {
  readonly reader: BodyReader;
  /** The most bytes that this plug-in may have of it. */
  readonly max: number;
  /** The Content-Type; "" where there is none. */
  readonly type: () => string;
  /** Whose time stands still while the body is waited for. */
  readonly visit: Pick<Visit, "whileWaiting">;
}

const UTF8 = new TextDecoder();

/** Reads a body as the web's `Request` and `Response` do; as often as one likes. */
export class MessageBody {
  constructor(private readonly of: BodyOf) {}

  /** Gives a copy: what goes on must not change with it. */
  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return new Uint8Array(await this.read());
  }

  async text(): Promise<string> {
    return UTF8.decode(await this.read());
  }

  async json(): Promise<unknown> {
    const text = await this.text();
    try {
      return JSON.parse(text);
    } catch {
      throw this.of.reader.unreadable("is not valid JSON");
    }
  }

  async blob(): Promise<Blob> {
    return new Blob([await this.bytes()], { type: this.of.type() });
  }

  async formData(): Promise<FormData> {
    const form = new Response(await this.bytes(), { headers: { "content-type": this.of.type() } });
    try {
      return (await form.formData()) as FormData;
    } catch {
      throw this.of.reader.unreadable("is not the form that its Content-Type says");
    }
  }

  /** Gives the body as a stream, read when somebody wants it. */
  stream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const bytes = await this.bytes();
        if (bytes.length > 0) controller.enqueue(bytes);
        controller.close();
      },
    });
  }

  private read(): Promise<Uint8Array> {
    return this.of.visit.whileWaiting(this.of.reader.read(this.of.max));
  }
}
