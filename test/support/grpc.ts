import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { framedMessage } from "../../src/grpc/messages.ts";
import { http2Server } from "./upstream-h2.ts";

/** One call as its service sees it. */
export interface ServedCall {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  /** Sends a message. */
  say(text: string): void;
  /** Ends with a status in trailers. */
  end(status: number, more?: Record<string, string>): void;
  /** Answers with a status alone ("Trailers-Only"). */
  refuse(status: number, more?: Record<string, string>): void;
  /** All of the messages that the caller has sent. */
  readonly heard: Promise<readonly string[]>;
}

/** Reads the messages of a body. */
export function messagesIn(body: Uint8Array): { readonly flag: number; readonly text: string }[] {
  const bytes = Buffer.from(body);
  const found: { flag: number; text: string }[] = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at + 1);
    found.push({ flag: bytes[at] as number, text: bytes.toString("latin1", at + 5, at + 5 + length) });
    at += 5 + length;
  }
  return found;
}

/** A server of gRPC without a library: so that it can break the rules. */
export const grpcServer = (handle: (call: ServedCall) => unknown) =>
  http2Server((stream, headers) => {
    let hasHead = false;
    const trailers: Record<string, string> = {};
    const head = () => {
      // A caller may have given up meanwhile.
      if (hasHead || stream.destroyed) return;
      hasHead = true;
      stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    };
    const parts: Buffer[] = [];
    stream.on("data", (part: Buffer) => parts.push(part));
    handle({
      stream,
      headers,
      say: (text) => {
        head();
        if (!stream.destroyed) stream.write(framedMessage(Buffer.from(text)));
      },
      end: (status, more = {}) => {
        head();
        Object.assign(trailers, { "grpc-status": String(status), ...more });
        if (!stream.destroyed) stream.end();
      },
      refuse: (status, more = {}) =>
        stream.destroyed ||
        stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": String(status), ...more }, { endStream: true }),
      heard: new Promise((resolve) => stream.on("end", () => resolve(messagesIn(Buffer.concat(parts)).map(({ text }) => text)))),
    });
  });

/** The answer to a call of a browser. */
export interface WebAnswer {
  readonly http: number;
  readonly headers: Headers;
  readonly messages: readonly string[];
  readonly trailers: Readonly<Record<string, string>>;
  /** From the trailers, or from the head where there are none. */
  readonly status: string | null;
}

/** Calls as a browser does, in bytes or in base64. */
export async function webCall(
  url: string,
  messages: readonly string[],
  { isText = false, headers = {}, signal }: { isText?: boolean; headers?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<WebAnswer> {
  const bytes = Buffer.concat(messages.map((text) => framedMessage(Buffer.from(text))));
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": `application/grpc-web${isText ? "-text" : ""}+proto`, "x-grpc-web": "1", ...headers },
    body: isText ? bytes.toString("base64") : bytes,
    ...(signal === undefined ? {} : { signal }),
  });
  const raw = Buffer.from(await response.arrayBuffer());
  const body = isText
    ? Buffer.concat((raw.toString().match(/[A-Za-z0-9+/]+={0,2}/g) ?? []).map((each) => Buffer.from(each, "base64")))
    : raw;
  const all = messagesIn(body);
  const trailers: Record<string, string> = {};
  for (const { flag, text } of all)
    if (flag === 0x80)
      for (const line of text.split("\r\n").filter((each) => each !== "")) {
        const [name = "", value = ""] = line.split(": ");
        trailers[name] = value;
      }
  return {
    http: response.status,
    headers: response.headers,
    messages: all.filter(({ flag }) => flag === 0).map(({ text }) => text),
    trailers,
    status: trailers["grpc-status"] ?? response.headers.get("grpc-status"),
  };
}
