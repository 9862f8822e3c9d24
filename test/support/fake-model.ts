import { createServer, type Socket } from "node:net";

/** The interfaces of language models that are tried. */
export const APIS = ["chat", "responses", "messages"] as const;
export type Api = (typeof APIS)[number];

/** The paths of the interfaces, below the one of the provider. */
export const PATHS: Readonly<Record<Api, string>> = { chat: "/v1/chat/completions", responses: "/v1/responses", messages: "/v1/messages" };

/**
 * Says how a provider behaves: it is fine; answers 429; hangs after its head; sends keep-alives and empty events alone; begins as it should and
 * dies; refuses in its first event; says nothing at all; or, in one piece, sends its first part at once and the rest after 600 ms.
 */
export type Behaviour = "fine" | "429" | "hangs" | "keepsAlive" | "dies" | "refusesInStream" | "silent" | "slow";

/** The words of an answer. */
export const WORDS = ["Hello", " from", " here"];

const event = (api: Api, value: Record<string, unknown>): string =>
  `${api === "chat" ? "" : `event: ${value.type}\n`}data: ${JSON.stringify(value)}\n\n`;

/** The events of a stream before the first with content. */
const OPENING: Readonly<Record<Api, readonly Record<string, unknown>[]>> = {
  chat: [{ object: "chat.completion.chunk", choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }] }],
  responses: [
    { type: "response.created", response: { id: "r", status: "in_progress", error: null } },
    { type: "response.output_item.added", output_index: 0, item: { type: "message", role: "assistant", content: [] } },
    { type: "response.content_part.added", output_index: 0, part: { type: "output_text", text: "" } },
  ],
  messages: [
    { type: "message_start", message: { id: "m", role: "assistant", content: [], usage: { input_tokens: 3, output_tokens: 1 } } },
    { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
    { type: "ping" },
  ],
};

const word: Readonly<Record<Api, (text: string) => Record<string, unknown>>> = {
  chat: (content) => ({ object: "chat.completion.chunk", choices: [{ index: 0, delta: { content }, finish_reason: null }] }),
  responses: (delta) => ({ type: "response.output_text.delta", output_index: 0, content_index: 0, delta }),
  messages: (text) => ({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } }),
};

const ENDING: Readonly<Record<Api, string>> = {
  chat: `${event("chat", { object: "chat.completion.chunk", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}data: [DONE]\n\n`,
  responses: event("responses", {
    type: "response.completed",
    response: { status: "completed", usage: { input_tokens: 3, output_tokens: 3 } },
  }),
  messages: `${event("messages", { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 3 } })}${event("messages", { type: "message_stop" })}`,
};

const REFUSAL: Readonly<Record<Api, Record<string, unknown>>> = {
  chat: { error: { message: "too many", type: "requests", code: "rate_limit_exceeded" } },
  responses: { type: "error", code: "rate_limit_exceeded", message: "too many" },
  messages: { type: "error", error: { type: "rate_limit_error", message: "too many" } },
};

/** An answer in one piece. */
const WHOLE: Readonly<Record<Api, Record<string, unknown>>> = {
  chat: {
    object: "chat.completion",
    choices: [{ index: 0, message: { role: "assistant", content: WORDS.join("") }, finish_reason: "stop" }],
    usage: { prompt_tokens: 3, completion_tokens: 3, total_tokens: 6 },
  },
  responses: {
    object: "response",
    status: "completed",
    output: [{ type: "message", content: [{ type: "output_text", text: WORDS.join("") }] }],
    usage: { input_tokens: 3, output_tokens: 3, total_tokens: 6 },
  },
  messages: {
    type: "message",
    role: "assistant",
    content: [{ type: "text", text: WORDS.join("") }],
    stop_reason: "end_turn",
    usage: { input_tokens: 3, output_tokens: 3 },
  },
};

export interface FakeModel {
  readonly url: string;
  behaviour: Behaviour;
  /** The requests that arrived: their heads' lines and their bodies. */
  readonly seen: { readonly path: string; readonly headers: ReadonlyMap<string, string>; readonly body: string }[];
  /** The connections that are open. */
  readonly open: () => number;
  [Symbol.dispose](): void;
}

/** A provider of models on a free port that speaks all three interfaces, down to the byte, and misbehaves on demand. */
export async function fakeModel(behaviour: Behaviour = "fine"): Promise<FakeModel> {
  const seen: { path: string; headers: Map<string, string>; body: string }[] = [];
  const sockets = new Set<Socket>();
  const model = { behaviour };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    let pieces: Buffer[] = [];
    let size = 0;
    /** The bytes of the request in all; infinite until its head is there. */
    let wanted = Number.POSITIVE_INFINITY;
    socket.on("data", (bytes: Buffer) => {
      pieces.push(bytes);
      size += bytes.length;
      if (wanted === Number.POSITIVE_INFINITY) {
        const head = Buffer.concat(pieces).toString("latin1");
        const end = head.indexOf("\r\n\r\n");
        if (end >= 0) wanted = end + 4 + Number(/content-length: *(\d+)/i.exec(head.slice(0, end))?.[1] ?? 0);
      }
      if (size < wanted) return;
      const text = Buffer.concat(pieces).toString();
      pieces = [];
      size = 0;
      wanted = Number.POSITIVE_INFINITY;
      const end = text.indexOf("\r\n\r\n");
      const [line = "", ...lines] = text.slice(0, end).split("\r\n");
      const headers = new Map(lines.map((each) => [each.slice(0, each.indexOf(":")).toLowerCase(), each.slice(each.indexOf(":") + 2)]));
      const body = text.slice(end + 4);
      const path = line.split(" ")[1] ?? "";
      seen.push({ path, headers, body });
      answer(socket, model.behaviour, path, body.includes('"stream":true'));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${address.port}`,
    get behaviour() {
      return model.behaviour;
    },
    set behaviour(next) {
      model.behaviour = next;
    },
    seen,
    open: () => sockets.size,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

function answer(socket: Socket, behaviour: Behaviour, path: string, isStream: boolean): void {
  const api = APIS.find((each) => path.endsWith(PATHS[each])) ?? "chat";
  const chunk = (text: string) => socket.write(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
  if (behaviour === "silent") return;
  if (behaviour === "429") {
    const body = JSON.stringify({ error: { message: "too many", type: "rate_limit_error" } });
    socket.write(
      `HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 60\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    return;
  }
  const type = isStream ? "text/event-stream" : "application/json";
  socket.write(`HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n`);
  if (behaviour === "hangs") return;
  const opening = OPENING[api].map((value) => event(api, value)).join("");
  if (!isStream) {
    const whole = JSON.stringify(WHOLE[api]);
    if (behaviour === "keepsAlive") {
      const timer = setInterval(() => chunk("\n"), 20);
      socket.on("close", () => clearInterval(timer));
    } else if (behaviour === "dies") {
      chunk(whole.slice(0, 20));
      socket.end();
    } else {
      chunk(whole.slice(0, 20));
      const end = () => {
        chunk(whole.slice(20));
        socket.write("0\r\n\r\n");
      };
      if (behaviour === "slow") setTimeout(end, 600);
      else end();
    }
    return;
  }
  if (behaviour === "refusesInStream") chunk(event(api, REFUSAL[api]));
  else chunk(opening);
  if (behaviour === "keepsAlive") {
    const timer = setInterval(() => chunk(": keep-alive\n\n"), 20);
    socket.on("close", () => clearInterval(timer));
    return;
  }
  if (behaviour === "dies") {
    chunk(event(api, word[api](WORDS[0] ?? "")));
    // In the middle of an event.
    chunk(event(api, word[api](WORDS[1] ?? "")).slice(0, 30));
    socket.end();
    return;
  }
  if (behaviour !== "refusesInStream") {
    for (const text of WORDS) chunk(event(api, word[api](text)));
    chunk(ENDING[api]);
  }
  socket.write("0\r\n\r\n");
}
