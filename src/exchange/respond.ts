import { kindOf } from "../grpc/call.ts";
import { encodeMessage } from "../grpc/message.ts";
import { ANSWER_TYPES } from "../grpc/refusal.ts";
import { type GrpcStatus, statusOf, statusOfHttp } from "../grpc/status.ts";
import { below } from "../http/path.ts";
import { problem } from "../http/problem.ts";
import { date, reasonOf } from "../http/reply.ts";
import type { Exchange } from "./exchange.ts";
import type { Answerer } from "./line.ts";
import type { LocationWord, RespondConfig } from "./respond-settings.ts";

/** Holds the answer that a route gives in a backend's place, made once. */
export interface FixedAnswer {
  readonly answer: Answerer;
  /** Says for people what it is, such as `301 to https://new.example.com{path}`. */
  readonly says: string;
}

/** The most characters of a text that a caller of gRPC is told as the message of its status. */
const MAX_MESSAGE = 512;

const NO_HOST = problem("badRequest", "Say by a Host field which host is meant: the answer leads there.");

/**
 * Compiles the answer that a route gives by itself. `dropped`: the lower-case names of fields that the route's own rules set or remove;
 * `depth`: the number of segments of its path.
 */
export function compileRespond(config: RespondConfig, dropped: ReadonlySet<string>, depth: number): FixedAnswer {
  const { status, body } = config;
  const text = body === null || typeof body === "string" ? body : JSON.stringify(body);
  const named = Object.entries(config.headers).filter(([name]) => !dropped.has(name.toLowerCase()));
  const has = (lower: string): boolean => dropped.has(lower) || named.some(([name]) => name.toLowerCase() === lower);
  const type = text === null || has("content-type") ? "" : `Content-Type: ${typeof body === "string" ? TEXT : JSON_TYPE}\r\n`;
  const location = named.find(([name, value]) => name.toLowerCase() === "location" && value.includes("{"));
  const lines = named.filter((entry) => entry !== location).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = type + lines.join("");
  const leads = location === undefined ? null : leading(location[1], depth);
  const forCalls = callHead(config, named);
  const reason = reasonOf(status);
  const to = Object.entries(config.headers).find(([name]) => name.toLowerCase() === "location")?.[1];
  return {
    says: `${status}${to === undefined ? "" : ` to ${to}`}`,
    answer: (exchange) => {
      const { fields } = exchange.incoming.head;
      const kind = kindOf(fields.get("content-type"));
      if (kind !== null) {
        // Its own libraries read nothing else.
        exchange.notes.grpcStatus = forCalls.status;
        const told = `Content-Type: ${ANSWER_TYPES[kind]}\r\n${date()}${forCalls.lines}`;
        return { kind: "reply", reply: { status: 200, reason: "OK", head: told, body: null, length: -1 } };
      }
      if (leads === null) return { kind: "reply", reply: { status, reason, head: date() + head, body: text, length: -1 } };
      const place = leads(exchange);
      if (place === null) return { kind: "problem", problem: NO_HOST };
      return { kind: "reply", reply: { status, reason, head: `${date()}${head}Location: ${place}\r\n`, body: text, length: -1 } };
    },
  };
}

const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json";

/** Makes the header lines that tell a caller of gRPC of the answer, as a client would take it that is told nothing else. */
function callHead(
  { status, body }: RespondConfig,
  named: readonly (readonly [name: string, value: string])[],
): { status: GrpcStatus; lines: string } {
  const code = status < 400 ? statusOf("UNIMPLEMENTED") : statusOfHttp(status);
  const message = typeof body === "string" ? body.slice(0, MAX_MESSAGE) : `The answer here is ${status}.`;
  const lines = named.filter(([name]) => !/^(content-.*|location)$/i.test(name)).map(([name, value]) => `${name}: ${value}\r\n`);
  return { status: code, lines: `${lines.join("")}grpc-status: ${code}\r\ngrpc-message: ${encodeMessage(message)}\r\n` };
}

/** Makes what fills in a Location for each request; it gives `null` where the request says no host, and one is wanted. */
function leading(template: string, depth: number): (exchange: Exchange) => string | null {
  const parts = template.split(/\{([a-z]+)\}/);
  const words = parts.filter((_, i) => i % 2 === 1) as LocationWord[];
  const texts = parts.filter((_, i) => i % 2 === 0);
  const first = texts[0] ?? "";
  const staysHere = template.startsWith("{path}") || /^\/(?!\/)/.test(template);
  return (exchange) => {
    let place = first;
    for (let i = 0; i < words.length; i++) {
      const word = words[i] as LocationWord;
      if (word === "host" && exchange.incoming.head.host === "") return null;
      place += wordIn(exchange, word, depth) + texts[i + 1];
    }
    // Browsers read what follows two slashes as another host.
    return staysHere && place.startsWith("//") ? place.replace(/^\/+/, "/") : place;
  };
}

function wordIn({ incoming, path, query }: Exchange, word: LocationWord, depth: number): string {
  switch (word) {
    case "host":
      return incoming.head.host;
    case "path":
      return path;
    case "rest":
      return below(path, depth);
    case "query":
      return query;
  }
}
