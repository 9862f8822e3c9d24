import type { Answer } from "../exchange/answer.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { Answerer } from "../exchange/line.ts";
import { collect, TooLarge, WholeBody } from "../http/body.ts";
import { discard, type UpstreamResponse } from "../http/client.ts";
import { problem } from "../http/problem.ts";
import { isJsonType } from "../values/json.ts";
import type { RouteMcp } from "./route-mcp.ts";
import { ToolEvents } from "./tool-events.ts";
import { type Shows, shownTools } from "./tool-list.ts";

/** The most bytes of a list of tools that is not streamed. */
const MAX_LIST = 16_777_216;

const unreadable = (why: string): Answer => ({
  kind: "problem",
  problem: problem("upstreamFailed", `The server's list of tools can't be shown: ${why}. Tell whoever runs it.`),
});

/**
 * Wraps what answers the requests of a route to a server of the Model Context Protocol: callers see the tools that they may call. Older
 * versions' servers may also bring lists by the streams that clients open with GET.
 */
export function showingTools(mcp: RouteMcp, answer: Answerer): Answerer {
  if (!mcp.isRestricted) return answer;
  return (exchange) => {
    if (exchange.rpc?.listsTools !== true && exchange.incoming.head.method !== "GET") return answer(exchange);
    const given = answer(exchange);
    return given instanceof Promise ? given.then((known) => shown(exchange, mcp, known)) : shown(exchange, mcp, given);
  };
}

function shown(exchange: Exchange, mcp: RouteMcp, answer: Answer): Answer | Promise<Answer> {
  if (answer.kind !== "forwarded" || answer.response.body === null) return answer;
  const { response } = answer;
  const { fields } = response;
  const type = fields.mediaType;
  const isEvents = type === "text/event-stream";
  // Other answers of a GET are pages and errors.
  if (!isEvents && exchange.incoming.head.method === "GET" && !isJsonType(type)) return answer;
  const coding = fields.joined("content-encoding")?.trim().toLowerCase() ?? "identity";
  if (coding !== "identity" && coding !== "") {
    discard(response);
    return unreadable("it came compressed, which was not asked for");
  }
  const shows: Shows = (tool) => mcp.mayCall(exchange.caller, tool);
  return isEvents ? events(response, shows, mcp.isByCaller) : json(exchange, response, shows, mcp.isByCaller);
}

function events(response: UpstreamResponse, shows: Shows, isPrivate: boolean): Answer {
  const { body } = response;
  if (body === null) return { kind: "forwarded", response };
  const source = body instanceof Uint8Array ? new WholeBody(body) : body;
  return { kind: "forwarded", response: { ...response, body: new ToolEvents(source, shows, isPrivate), length: -1 } };
}

async function json(exchange: Exchange, response: UpstreamResponse, shows: Shows, isPrivate: boolean): Promise<Answer> {
  const bytes = await whole(exchange, response);
  if (bytes === null) return unreadable(`it is larger than ${MAX_LIST} bytes`);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
  const left = shownTools(text, shows, isPrivate);
  // What is no JSON lists nothing where it is an error, is empty, or says that the answer comes by another stream.
  if (left === null && response.status < 400 && response.status !== 202 && bytes.length > 0) return unreadable("it is no JSON");
  const body = left === null || left === text ? bytes : Buffer.from(left);
  return { kind: "forwarded", response: { ...response, body, length: body.length } };
}

/** Gives the whole body of an answer; `null`: it is too large. Rejects when it breaks off. */
async function whole(exchange: Exchange, { body }: UpstreamResponse): Promise<Uint8Array | null> {
  if (body === null || body instanceof Uint8Array) return body ?? new Uint8Array();
  let isRead = false;
  // Its caller may leave meanwhile.
  exchange.onEnded(() => {
    if (!isRead) body.cancel();
  });
  try {
    return await collect(body, MAX_LIST);
  } catch (error) {
    if (error instanceof TooLarge) return null;
    throw error;
  } finally {
    isRead = true;
  }
}
